//! What a store promises, on real files. The promises are those of every store; PostgreSQL will be held to the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod stage;

mod dead_letters;
mod exactly_once;
mod others;
mod target_texts;
mod view;
