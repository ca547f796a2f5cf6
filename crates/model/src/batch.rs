//! What a log hands to the writer, and the writer to the store: the border between `bus` and `store`.

use crate::mark::Marked;
use bytes::Bytes;
use std::sync::Arc;

/// Where records come from: one partition of one log. Offsets are kept under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The identity of the log, not its name: the queue's own id, or the topic's id. A log that was made anew is another one.
    pub log: Arc<str>,
    /// For people and for dead letters: `queue`, or the topic's name.
    pub name: Arc<str>,
    pub partition: i32,
}

/// Records that were read in one go, in the order of their offsets.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub source: Source,
    /// Where reading stood before this batch: what the store must hold as the next offset for the batch to be written.
    pub from: i64,
    /// Where reading goes on: what the store holds once the batch is written.
    pub next: i64,
    pub entries: Vec<Entry>,
}

/// One record of a log, and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub offset: i64,
    /// The record as it came: what a dead letter holds when it is the store that refuses it.
    pub value: Bytes,
    /// What came around it; likewise.
    pub envelope: Envelope,
    pub content: Content,
}

/// The key and the headers of a record, as they came. The queue's records have none.
///
/// They are wanted when a record becomes a dead letter, so once in a million: until then they are one slice of a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope(Bytes);

impl Envelope {
    /// Appends an envelope to a buffer; what was appended is one, for [`Self::read`].
    pub fn write<'h>(
        key: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        to: &mut impl Extend<u8>,
    ) {
        let mut part = |bytes: &[u8]| {
            to.extend((bytes.len() as u64).to_le_bytes());
            to.extend(bytes.iter().copied());
        };
        part(key.map_or(&[], |_| &[1]));
        part(key.unwrap_or_default());
        for (name, value) in headers {
            part(name.as_bytes());
            part(value);
        }
    }

    /// Takes what [`Self::write`] has appended.
    pub fn read(written: Bytes) -> Self {
        Self(written)
    }

    pub fn key(&self) -> Option<Vec<u8>> {
        let mut parts = self.parts();
        let there = parts.next().is_some_and(|flag| !flag.is_empty());
        parts.next().filter(|_| there).map(<[u8]>::to_vec)
    }

    /// In their order, repeats included.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let parts: Vec<&[u8]> = self.parts().skip(2).collect();
        let pair = |pair: &[&[u8]]| (String::from_utf8_lossy(pair[0]).into_owned(), pair[1].to_vec());
        parts.chunks_exact(2).map(pair).collect()
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (len, behind) = rest.split_first_chunk::<8>()?;
            let (part, behind) = behind.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
            rest = behind;
            Some(part)
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Result(Box<Marked>),
    /// Not a result of ours to judge: skipped and counted.
    UnknownKind,
    /// Becomes a dead letter.
    Dead(Box<DeadLetter>),
}

/// A record that can't be stored, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub reason: DeadReason,
    /// For people, one line.
    pub message: String,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Why a record became a dead letter. (The contract, section 7.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadReason {
    NotJson,
    NotAResult,
    NewerVersion,
    /// The database refuses it for its content.
    Refused,
}

impl DeadReason {
    pub const ALL: [Self; 4] = [Self::NotJson, Self::NotAResult, Self::NewerVersion, Self::Refused];

    pub fn word(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotAResult => "not_a_result",
            Self::NewerVersion => "newer_version",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(key: Option<&[u8]>, headers: &[(&str, &[u8])]) -> Envelope {
        let mut buffer = b"before".to_vec();
        Envelope::write(key, headers.iter().copied(), &mut buffer);
        Envelope::read(Bytes::from(buffer).slice(6..))
    }

    #[test]
    fn key_and_headers_come_back_byte_for_byte() {
        let headers: [(&str, &[u8]); 3] = [("a", &[0, 255]), ("", b""), ("a", b"x")];
        for key in [None, Some(&b""[..]), Some(&[0, 10, 255][..])] {
            let envelope = through(key, &headers);
            assert_eq!(envelope.key().as_deref(), key);
            let back = envelope.headers();
            assert!(back.iter().map(|(name, value)| (&**name, &**value)).eq(headers), "{back:?}");
            assert_eq!(through(key, &[]).headers(), []);
        }
    }

    #[test]
    fn an_empty_envelope_has_neither_key_nor_headers() {
        assert_eq!((Envelope::default().key(), Envelope::default().headers()), (None, Vec::new()));
    }
}
