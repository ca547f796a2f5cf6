//! How Lapwing opens an SQLite file. Stands below `bus` (the queue) and `store`, which must meet a damaged, newer, held or
//! locked file with the same words and must not know each other.
//!
//! Whose file it is, which version, who else has it: all that is settled in [`open`], before anything is written. What the
//! tables mean is the business of the two crates above.

mod connection;
mod error;
mod lock;
mod open;

pub use connection::Connection;
pub use error::{Cause, Class, Error, OpenError};
pub use open::{Kind, OpenFile, Settings, Waits, open};
