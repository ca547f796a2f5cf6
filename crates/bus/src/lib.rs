//! Logs of results, between the prober and the writer: written at one end, read from an offset at the other.
//!
//! A check's result becomes a [`record`], one line of JSON; [`append`] gathers records and commits them to the [`queue`], a
//! durable log in an SQLite file; the writer reads the queue in batches of decoded records and says how far the store holds
//! them. Every log delivers [`model::batch::Batch`], so that whoever reads does not see which one it is.

pub mod append;
pub mod queue;
pub mod record;

pub use queue::Queue;

pub use sqlite::{Cause, Class, Error as QueueError, OpenError, Waits};
