//! What a store promises, on real files and on a real server. One text for both stores; beside it what is promised of one alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::duplicate_mod, reason = "the promises are one text, held against each store")]

mod stage;

mod on_postgres;
mod on_sqlite;

mod postgres;
mod sqlite;
