//! The kit tested with plain clients of the standard library, so that a site which does not do what it says is not believed.

#[cfg(test)]
mod client;
mod frames;
mod pki;
mod ports;
mod program;
mod requests;
#[cfg(test)]
mod services;
mod steps;
mod tls;
mod wait;
