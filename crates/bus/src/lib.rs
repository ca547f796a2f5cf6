//! Logs of results, between the prober and the writer: written at one end, read from an offset at the other.
//!
//! A check's result becomes a [`record`], one line of JSON; [`append`] gathers records and commits them to the [`queue`], a
//! durable log in an SQLite file. With Kafka the relay takes them from there to a topic. The writer reads either [`log`],
//! in batches of decoded records, and says how far the store holds them.

pub mod append;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod log;
pub mod queue;
pub mod record;
#[cfg(feature = "kafka")]
pub mod relay;

pub use log::Log;
pub use queue::Queue;

pub use sqlite::{Cause, Class, Error as QueueError, OpenError, Waits};
