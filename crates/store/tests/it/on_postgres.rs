//! The promises of every store, on a PostgreSQL server.

use crate::stage::Kind;

const KIND: Kind = Kind::Postgres;

#[path = "promises/mod.rs"]
mod promises;
