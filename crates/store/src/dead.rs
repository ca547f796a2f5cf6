//! Dead letters as rows: what both databases write into table `dead_letters`.

use crate::{Keep, letters};
use base64::{Engine, prelude::BASE64_STANDARD};
use model::{
    UnixMs,
    batch::{DeadLetter, DeadReason, Entry},
};

/// When to try the letter again by itself, after its first failure.
pub(crate) fn next_retry(reason: DeadReason, keep: &Keep) -> Option<UnixMs> {
    letters::next_retry(reason.word(), 1, keep.now)
}

/// The headers as they are stored: a JSON array of `[name, base64]`, in their order, repeats included.
pub(crate) fn headers(letter: &DeadLetter) -> Vec<u8> {
    let pairs: Vec<_> = letter.headers.iter().map(|(name, value)| (name, BASE64_STANDARD.encode(value))).collect();
    serde_json::to_vec(&pairs).expect("texts are JSON")
}

/// What [`headers`] has written. What somebody else has put there is none.
pub(crate) fn read_headers(stored: &[u8]) -> Vec<(String, Vec<u8>)> {
    let pairs: Vec<(String, String)> = serde_json::from_slice(stored).unwrap_or_default();
    let decode = |(name, value): (String, String)| Some((name, BASE64_STANDARD.decode(value).ok()?));
    pairs.into_iter().filter_map(decode).collect()
}

/// The letter of a record that the database refuses, and what it says.
pub(crate) fn refused(entry: &Entry, why: String) -> DeadLetter {
    DeadLetter {
        reason: DeadReason::Refused,
        message: why,
        key: entry.envelope.key(),
        value: entry.value.to_vec(),
        headers: entry.envelope.headers(),
    }
}
