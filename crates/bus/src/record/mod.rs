//! The record on the wire: the JSON object of the contract's section 4, one function in each direction.
//!
//! Writing begins with a [`model::CheckResult`], whose words are ours. Reading ends with a [`model::record::Record`], whose
//! words may be those of a newer prober, and never with an error: what is no result is content too.

mod asyncapi;
mod decode;
mod encode;
mod fields;
mod json;
mod kinds;
mod schema;

pub use asyncapi::asyncapi;
pub use decode::decode;
pub use encode::encode;
pub use schema::schema;

/// What Lapwing writes is never longer.
pub const MAX_LEN: usize = 64 << 10;
