//! The bus from outside: records on the wire, the queue on real files, the stage that appends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod results;

mod append;
mod queue;
mod record_read;
mod record_written;
