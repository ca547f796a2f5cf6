//! The crate from outside: text in, targets or mistakes out.

#[cfg(test)]
mod bare;
#[cfg(test)]
mod diff;
#[cfg(test)]
mod files;
#[cfg(test)]
mod helper;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod merging;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod show;
#[cfg(test)]
mod targets;
