//! Kafka: the log between probers and writers on several machines, each partition a source of its own.
//!
//! [`Consumer`] is a member of the writers' group. Where a partition is read from, the store says: Kafka's own offsets are
//! written for lag tools and never read. [`crate::relay`] is the other end, which fills the topic.

mod admission;
mod cluster;
mod consumer;
mod copier;
mod error;
mod group;
mod hello;
mod member;
mod native;
mod part;
mod reach;
mod rights;
mod settings;
mod topic;
mod watch;

pub use consumer::Consumer;
pub use copier::{Copier, Copy};
pub use error::Error;
pub use part::Most;
pub use reach::Reach;
pub use topic::{Topic, look, peek};

pub(crate) use cluster::{Cluster, Needed};
pub(crate) use rights::{Deed, explained};
pub(crate) use settings::producer as producer_settings;
