//! Dead letters as rows: what both databases write into table `dead_letters`.

use crate::Keep;
use base64::{Engine, prelude::BASE64_STANDARD};
use model::{
    UnixMs,
    batch::{DeadLetter, DeadReason, Entry},
};
use std::time::Duration;

/// How long after its first failure a letter that may still become a result is tried again.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// When to try the letter again by itself. A newer version waits for a newer program; the others will not change.
pub(crate) fn next_retry(reason: DeadReason, keep: &Keep) -> Option<UnixMs> {
    match reason {
        DeadReason::Refused => Some(keep.now + FIRST_RETRY),
        DeadReason::NotJson | DeadReason::NotAResult | DeadReason::NewerVersion => None,
    }
}

/// The headers as they are stored: a JSON array of `[name, base64]`, in their order, repeats included.
pub(crate) fn headers(letter: &DeadLetter) -> Vec<u8> {
    let pairs: Vec<_> = letter.headers.iter().map(|(name, value)| (name, BASE64_STANDARD.encode(value))).collect();
    serde_json::to_vec(&pairs).expect("texts are JSON")
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
