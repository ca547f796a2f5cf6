//! The promises of every store, on an SQLite file.

use crate::stage::Kind;

const KIND: Kind = Kind::Sqlite;

#[path = "promises/mod.rs"]
mod promises;
