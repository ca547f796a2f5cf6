//! Checks of real sites over real sockets: every reason, every phase with its time, and what a site gets to see.

#[cfg(test)]
mod alone;
#[cfg(test)]
mod ask;
#[cfg(test)]
mod body;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod connecting;
#[cfg(test)]
mod cookies;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod expectations;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod handshakes;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod phases;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod redirects;
#[cfg(test)]
mod request;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sending;
