//! The framing of a body: where it ends, and which bytes are it (RFC 9112, sections 6 and 7).

use http::Method;
use model::answer::Head;

/// Chunk lines and trailers are small; one that goes on is an attack or a mistake.
const MAX_LINE: usize = 16 << 10;

/// A body that is not what its framing announced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// How a body's end is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes are still to come.
    Length {
        announced: u64,
        left: u64,
    },
    Chunked(Chunked),
    UntilClose,
}

impl Body {
    /// By RFC 9112, section 6.3: no body after HEAD, 1xx, 204 and 304; chunked; a length; else all until the end.
    ///
    /// # Errors
    /// A head whose framing can't be understood.
    pub fn of(method: &Method, head: &Head) -> Result<Self, Malformed> {
        if *method == Method::HEAD || matches!(head.status, 100..200 | 204 | 304) {
            return Ok(Self::none());
        }
        if head.headers.first("transfer-encoding").is_some() {
            return Self::of_transfer_encoding(head);
        }
        let mut length = None;
        for part in head.headers.all("content-length").flat_map(|v| v.split(|&c| c == b',')) {
            let bad = || Malformed(format!("content-length {:?} is no length", String::from_utf8_lossy(part)));
            let part = part.trim_ascii();
            let digits = std::str::from_utf8(part).ok().filter(|s| s.bytes().all(|c| c.is_ascii_digit()));
            let n: u64 = digits.and_then(|s| s.parse().ok()).ok_or_else(bad)?;
            if length.is_some_and(|l| l != n) {
                return Err(Malformed("two different content-length".into()));
            }
            length = Some(n);
        }
        Ok(length.map_or(Self::UntilClose, |n| Self::Length { announced: n, left: n }))
    }

    fn of_transfer_encoding(head: &Head) -> Result<Self, Malformed> {
        let values = head.headers.all("transfer-encoding").map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
        let codings: Vec<_> =
            values.split(',').map(|c| c.trim().to_ascii_lowercase()).filter(|c| !c.is_empty()).collect();
        match codings.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["chunked"] => Ok(Self::Chunked(Chunked::default())),
            ["identity"] => Ok(Self::UntilClose),
            _ => Err(Malformed(format!("transfer-encoding {values:?} was not asked for"))),
        }
    }

    fn none() -> Self {
        Self::Length { announced: 0, left: 0 }
    }

    pub fn is_complete(&self) -> bool {
        match self {
            Self::Length { left, .. } => *left == 0,
            Self::Chunked(c) => c.state == ChunkState::Done,
            Self::UntilClose => false,
        }
    }

    /// Takes the next bytes of the connection. `Taken` says how many belong to the message, and which of them are body;
    /// call again with the rest until all are used or the body is complete.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Taken, Malformed> {
        match self {
            Self::Length { left, .. } => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= n as u64;
                Ok(Taken { used: n, body: n })
            }
            Self::UntilClose => Ok(Taken { used: bytes.len(), body: bytes.len() }),
            Self::Chunked(chunked) => chunked.take(bytes),
        }
    }

    /// The connection ended. A body that ends with it is complete; of any other something is missing.
    pub fn end(&self, read: u64) -> Result<(), Malformed> {
        match self {
            Self::UntilClose => Ok(()),
            _ if self.is_complete() => Ok(()),
            Self::Length { announced, .. } => {
                Err(Malformed(format!("{read} of {announced} bytes came, then the connection ended")))
            }
            Self::Chunked(_) => {
                Err(Malformed(format!("the connection ended before the last chunk ({read} bytes came)")))
            }
        }
    }
}

/// What [`Body::take`] made of its bytes: `used` of them are done with, and the last `body` of those are body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub used: usize,
    pub body: usize,
}

/// Where in a chunked body we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunked {
    state: ChunkState,
    /// Length of the line that is being read: bounded.
    line: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Start,
    /// Hex digits so far.
    Size(u64),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    Done,
}

impl Chunked {
    fn take(&mut self, bytes: &[u8]) -> Result<Taken, Malformed> {
        let mut used = 0;
        while let Some(&c) = bytes.get(used) {
            if let ChunkState::Data(left) = self.state {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - used);
                let left = left - n as u64;
                self.state = if left == 0 { ChunkState::DataCr } else { ChunkState::Data(left) };
                return Ok(Taken { used: used + n, body: n });
            }
            if self.state == ChunkState::Done {
                break;
            }
            self.state = self.step(c)?;
            used += 1;
        }
        Ok(Taken { used, body: 0 })
    }

    fn step(&mut self, c: u8) -> Result<ChunkState, Malformed> {
        use ChunkState as S;
        self.line += 1;
        if self.line > MAX_LINE {
            return Err(Malformed("a chunk's first line or the trailers go on and on".into()));
        }
        let bad = |what: &str| Err(Malformed(format!("chunked body is malformed: {what}")));
        match (&self.state, c) {
            (S::Start, _) => match hex(c) {
                Some(d) => Ok(S::Size(d)),
                None => bad("a chunk does not begin with its size"),
            },
            (S::Size(n), _) if hex(c).is_some() => match n.checked_mul(16) {
                Some(n) => Ok(S::Size(n + hex(c).unwrap_or(0))),
                None => bad("the size of a chunk is larger than any body"),
            },
            (S::Size(n), b';' | b' ' | b'\t') => Ok(S::Extension(*n)),
            (S::Size(n) | S::Extension(n), b'\r') => Ok(S::SizeLf(*n)),
            (S::Size(_), _) => bad("the size of a chunk is no number"),
            (S::Extension(_), b'\n') => bad("a line ends without a carriage return"),
            (S::Extension(n), _) => Ok(S::Extension(*n)),
            (S::SizeLf(0), b'\n') => Ok(S::TrailerStart),
            (S::SizeLf(n), b'\n') => {
                self.line = 0;
                Ok(S::Data(*n))
            }
            (S::DataCr, b'\r') => Ok(S::DataLf),
            (S::DataLf, b'\n') => Ok(S::Start),
            (S::DataCr | S::DataLf, _) => bad("a chunk is longer than its size"),
            (S::TrailerStart, b'\r') => Ok(S::LastLf),
            (S::Trailer, b'\r') => Ok(S::TrailerLf),
            (S::TrailerStart | S::Trailer, _) => Ok(S::Trailer),
            (S::TrailerLf, b'\n') => Ok(S::TrailerStart),
            (S::LastLf, b'\n') => Ok(S::Done),
            (S::SizeLf(_) | S::TrailerLf | S::LastLf, _) => bad("a line ends without a line feed"),
            (S::Data(_) | S::Done, _) => Ok(self.state.clone()),
        }
    }
}

fn hex(c: u8) -> Option<u64> {
    char::from(c).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{answer::Headers, result::HttpVersion};
    use proptest::prelude::*;

    fn head(status: u16, lines: &[(&str, &str)]) -> Head {
        let mut headers = Headers::default();
        for (n, v) in lines {
            headers.push(n, v.as_bytes());
        }
        Head { status, http: HttpVersion::V1_1, headers }
    }

    fn framing(status: u16, lines: &[(&str, &str)]) -> Result<Body, Malformed> {
        Body::of(&Method::GET, &head(status, lines))
    }

    /// The body in the bytes, given in pieces; whether it is complete; how many bytes were not its own.
    fn read(mut body: Body, bytes: &[u8], step: usize) -> Result<(Vec<u8>, bool, usize), Malformed> {
        let (mut out, mut left) = (vec![], bytes.len());
        for mut piece in bytes.chunks(step.max(1)) {
            while !piece.is_empty() && !body.is_complete() {
                let taken = body.take(piece)?;
                out.extend_from_slice(&piece[taken.used - taken.body..taken.used]);
                piece = &piece[taken.used..];
                left -= taken.used;
            }
        }
        Ok((out, body.is_complete(), left))
    }

    #[test]
    fn the_framing_follows_rfc_9112() {
        let length = |n| Ok(Body::Length { announced: n, left: n });
        let chunked = Ok(Body::Chunked(Chunked::default()));
        for (status, lines, want) in [
            (200, &[("Content-Length", "5")][..], length(5)),
            (200, &[("content-length", "5"), ("content-length", "5")], length(5)),
            (200, &[("content-length", "5, 5")], length(5)),
            (204, &[("content-length", "5")], length(0)),
            (304, &[("content-length", "5")], length(0)),
            (200, &[("transfer-encoding", "Chunked"), ("content-length", "5")], chunked),
            (200, &[], Ok(Body::UntilClose)),
        ] {
            assert_eq!(framing(status, lines), want, "{status} {lines:?}");
        }
        assert_eq!(Body::of(&Method::HEAD, &head(200, &[("content-length", "77")])), length(0));
        for lines in [
            &[("content-length", "5"), ("content-length", "6")][..],
            &[("content-length", "-1")],
            &[("content-length", "+5")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked, chunked")],
        ] {
            assert!(framing(200, lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn chunks_extensions_and_trailers_are_taken_apart() {
        let bytes = b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\nrest";
        for step in 1..bytes.len() {
            let got = read(Body::Chunked(Chunked::default()), bytes, step);
            assert_eq!(got, Ok((b"hello world".to_vec(), true, 4)), "in steps of {step}");
        }
    }

    #[test]
    fn a_malformed_chunk_is_named() {
        for bytes in
            ["x\r\n", "5\nhello", "5\r\nhello!\r\n", "ffffffffffffffffff\r\nhello", "5\r\nhelloXX", "0\r\n\rX", "\r\n"]
        {
            assert!(read(Body::Chunked(Chunked::default()), bytes.as_bytes(), 3).is_err(), "{bytes:?}");
        }
        assert!(
            read(Body::Chunked(Chunked::default()), &b"5;".repeat(20_000), 4096).is_err(),
            "an extension without end"
        );
    }

    #[test]
    fn bytes_beyond_the_length_are_not_the_body() {
        assert_eq!(
            read(framing(200, &[("content-length", "5")]).expect("a length"), b"helloWORLD", 3),
            Ok((b"hello".to_vec(), true, 5))
        );
    }

    #[test]
    fn an_early_end_is_missed_bytes_unless_the_end_is_the_framing() {
        assert!(framing(200, &[("content-length", "5")]).expect("a length").end(3).is_err());
        assert!(Body::Chunked(Chunked::default()).end(3).is_err());
        assert!(Body::UntilClose.end(3).is_ok());
    }

    proptest! {
        #[test]
        fn any_body_in_any_chunks_comes_back(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6), step in 1usize..30
        ) {
            let mut wire = vec![];
            for c in &chunks {
                wire.extend(format!("{:x}\r\n", c.len()).bytes());
                wire.extend(c);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            prop_assert_eq!(read(Body::Chunked(Chunked::default()), &wire, step), Ok((chunks.concat(), true, 0)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
            let whole = read(Body::Chunked(Chunked::default()), &bytes, bytes.len());
            prop_assert_eq!(read(Body::Chunked(Chunked::default()), &bytes, step), whole);
        }
    }
}
