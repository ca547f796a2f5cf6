//! The bus from outside: records on the wire, the queue on real files, the stage that appends, and Kafka, on a real broker.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod results;

mod append;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod logs;
mod queue;
mod record_read;
mod record_schema;
mod record_written;
