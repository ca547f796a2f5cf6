//! What rarely changes from check to check of a target: kept once for all of them, under the digest of all of it.

use model::record::Record;
use sha2::{Digest as _, Sha256};

/// The first half of a SHA-256: nobody makes two facts with the same one by accident, and what is told apart by it is not secret.
pub(crate) type Digest = [u8; 16];

/// Every field that is a fact, with its length, so that no two records share a digest by running together. `more` is what one
/// database counts among the facts beside those of all.
pub(crate) fn digest(record: &Record, more: &[Option<i32>]) -> Digest {
    fn text(hash: &mut Sha256, text: Option<&str>) {
        let len = text.map_or(u32::MAX, |text| text.len() as u32); // at most 64 KiB
        hash.update(len.to_le_bytes());
        hash.update(text.unwrap_or_default());
    }
    fn number(hash: &mut Sha256, number: Option<i64>) {
        hash.update([u8::from(number.is_some())]);
        hash.update(number.unwrap_or_default().to_le_bytes());
    }
    let mut hash = Sha256::new();
    let tls = record.tls.as_ref();
    for part in [
        Some(record.verdict.word()),
        record.reason.as_deref(),
        record.phase.as_deref(),
        record.http.as_deref(),
        record.peer.as_deref(),
        record.final_url.as_deref(),
        tls.and_then(|tls| tls.version.as_deref()),
        tls.and_then(|tls| tls.issuer.as_deref()),
        tls.and_then(|tls| tls.subject.as_deref()),
    ] {
        text(&mut hash, part);
    }
    for part in [record.interval_ms, record.attempts, record.status, record.redirects] {
        number(&mut hash, part.map(i64::from));
    }
    for part in [tls.and_then(|tls| tls.not_before), tls.and_then(|tls| tls.not_after)] {
        number(&mut hash, part.map(|time| time.0));
    }
    for part in more {
        number(&mut hash, part.map(i64::from));
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}
