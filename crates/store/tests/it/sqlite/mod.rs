//! What is promised of the embedded store alone.

mod migration;
mod others;
mod trouble;
mod upkeep;
