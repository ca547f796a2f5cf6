//! The ground of Lapwing: its words and its rules, as plain values and plain functions.
//!
//! Nothing here reads a clock, opens a socket, or can fail for reasons of the world: time is an argument, being down is a
//! value. Every other crate stands on this one, and this one on none of ours.

pub mod answer;
pub mod batch;
pub mod cel;
pub mod flood;
pub mod guard;
pub mod id;
pub mod judge;
pub mod kafka;
pub mod mark;
pub mod pattern;
pub mod record;
pub mod result;
pub mod schedule;
pub mod slot;
pub mod target;
pub mod text;
pub mod time;
pub mod trouble;
pub mod words;

pub use id::{Location, TargetId};
pub use result::CheckResult;
pub use target::Target;
pub use time::UnixMs;
pub use words::{Phase, Reason, Verdict};
