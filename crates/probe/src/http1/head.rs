//! The head of a response: from bytes as they arrive to a status and headers.

use bytes::{Buf, BytesMut};
use httparse::{EMPTY_HEADER, Error, Header, ParserConfig, Response, Status};
use model::{
    answer::{Head, Headers},
    result::HttpVersion,
};
use std::borrow::Cow;

/// More than any browser takes; a head that goes on is an attack or a mistake. Interim (1xx) heads count too.
pub const MAX_HEAD: usize = 256 << 10;
const MAX_HEADERS: usize = 1024;
/// How often a head is parsed after a line of it, whatever it has grown by.
const OFTEN: usize = 100;

/// Why bytes are no head of a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("the response is not HTTP/1: {0}")]
    NotHttp(&'static str),
    #[error("the head of the response is larger than 256 KiB or has more than 1,024 headers")]
    TooLarge,
}

/// Finds the final head in what has come so far.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Bytes of the buffer that were there when it was last read, and when it was last parsed.
    seen: usize,
    parsed: usize,
    /// How often it was.
    parses: usize,
    /// Bytes of interim heads that were taken off the buffer.
    interim: usize,
}

impl HeadReader {
    /// The final head, taken off the buffer, once it is complete. 1xx heads are dropped, except 101: what follows it is not
    /// HTTP any more.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<Head>, HeadError> {
        loop {
            if !self.is_due(buffer) {
                return self.not_yet(buffer);
            }
            (self.parsed, self.parses) = (buffer.len(), self.parses + 1);
            let Some((head, size)) = parse(buffer)? else { return self.not_yet(buffer) };
            buffer.advance(size);
            (self.seen, self.parsed) = (0, 0);
            if self.interim + size > MAX_HEAD {
                return Err(HeadError::TooLarge);
            }
            if (100..200).contains(&head.status) && head.status != 101 {
                self.interim += size;
                continue;
            }
            return Ok(Some(head));
        }
    }

    /// Whether to parse what has come. A head is whole when an empty line has; that it is none, a line may tell. After each line of a head
    /// of many, which drips, it would be quadratic: so that is done some times, and then when there is an eighth more.
    fn is_due(&self, buffer: &[u8]) -> bool {
        let seen = self.seen.min(buffer.len());
        if seen == 0 {
            return true;
        }
        let (new, tail) = (&buffer[seen..], &buffer[seen.saturating_sub(2)..]);
        let is_whole = || tail.windows(2).any(|w| w == b"\n\n") || tail.windows(3).any(|w| w == b"\n\r\n");
        new.contains(&b'\n') && (self.parses < OFTEN || buffer.len() - self.parsed > self.parsed / 8 || is_whole())
    }

    fn not_yet(&mut self, buffer: &BytesMut) -> Result<Option<Head>, HeadError> {
        self.seen = buffer.len();
        if self.interim + buffer.len() > MAX_HEAD { Err(HeadError::TooLarge) } else { Ok(None) }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    // The usual head has few lines; room for many is only made when they come.
    match parse_into(bytes, &mut [EMPTY_HEADER; 64]) {
        Err(Error::TooManyHeaders) => named(parse_into(bytes, &mut vec![EMPTY_HEADER; MAX_HEADERS])),
        parsed => named(parsed),
    }
}

fn named(parsed: Result<Option<(Head, usize)>, Error>) -> Result<Option<(Head, usize)>, HeadError> {
    parsed.map_err(|e| match e {
        Error::TooManyHeaders => HeadError::TooLarge,
        Error::Version => HeadError::NotHttp("it does not begin with HTTP/1.0 or HTTP/1.1"),
        Error::Status => HeadError::NotHttp("its status line is malformed"),
        Error::HeaderName | Error::HeaderValue => HeadError::NotHttp("a header line is malformed"),
        Error::NewLine | Error::Token => HeadError::NotHttp("a line is malformed"),
    })
}

fn parse_into<'b>(bytes: &'b [u8], lines: &mut [Header<'b>]) -> Result<Option<(Head, usize)>, Error> {
    let mut response = Response::new(lines);
    let mut config = ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true).allow_spaces_after_header_name_in_responses(true);
    let Status::Complete(size) = config.parse_response(&mut response, bytes)? else { return Ok(None) };
    let mut headers = Headers::default();
    for h in response.headers.iter() {
        headers.push(h.name, &unfolded(h.value));
    }
    let http = if response.version == Some(0) { HttpVersion::V1_0 } else { HttpVersion::V1_1 };
    let status = response.code.filter(|s| *s >= 100).ok_or(Error::Status)?;
    Ok(Some((Head { status, http, headers }, size)))
}

/// A value that goes on in the next line, the break and the blanks around it as one space (RFC 9112, section 5.2).
fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'\n') {
        return Cow::Borrowed(value);
    }
    let parts: Vec<_> = value.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|part| !part.is_empty()).collect();
    Cow::Owned(parts.join(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Read = Result<Option<(u16, usize, Vec<u8>)>, HeadError>;

    /// Feeds the bytes in pieces of the given size; says status, header lines and what is left.
    fn read(bytes: &[u8], step: usize) -> Read {
        let (mut reader, mut buffer) = (HeadReader::default(), BytesMut::new());
        let mut pieces = bytes.chunks(step.max(1));
        for piece in pieces.by_ref() {
            buffer.extend_from_slice(piece);
            if let Some(head) = reader.read(&mut buffer)? {
                buffer.extend_from_slice(&pieces.collect::<Vec<_>>().concat());
                return Ok(Some((head.status, head.headers.iter().count(), buffer.to_vec())));
            }
        }
        Ok(None)
    }

    fn check(bytes: &[u8], want: &Read) {
        for step in [1, 2, 7, bytes.len()] {
            assert_eq!(&read(bytes, step), want, "{:?} in steps of {step}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_head_is_read_whatever_the_pieces() {
        check(b"HTTP/1.1 200 OK\r\nA: 1\r\nb:2\r\n\r\nbody", &Ok(Some((200, 2, b"body".to_vec()))));
        check(b"HTTP/1.1 200\r\n\r\n", &Ok(Some((200, 0, vec![]))));
        check(b"HTTP/1.0 404 Not\r\n\r\n", &Ok(Some((404, 0, vec![]))));
        check(b"HTTP/1.1 200 OK\r\nA: 1\r\n", &Ok(None));
        check(b"HTTP/1.1 20", &Ok(None));
    }

    #[test]
    fn a_value_that_goes_on_in_the_next_line_is_one_line() {
        for (lines, want) in [
            ("one\r\n two", "one two"),
            ("one \r\n\t  two\n three", "one two three"),
            ("\r\n two", "two"),
            ("a  b", "a  b"),
        ] {
            let bytes = format!("HTTP/1.1 200 OK\r\nX-A: {lines}\r\nB: c\r\n\r\n");
            let (head, _) = parse(bytes.as_bytes()).expect("a head").expect("a whole one");
            let values: Vec<_> = head.headers.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
            assert_eq!(values, [want, "c"]);
        }
    }

    #[test]
    fn interim_heads_are_dropped_but_switching_protocols_is_final() {
        check(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
            &Ok(Some((204, 0, vec![]))),
        );
        check(b"HTTP/1.1 101 Switching\r\n\r\n", &Ok(Some((101, 0, vec![]))));
    }

    #[test]
    fn garbage_is_named() {
        for bytes in [
            &b"\0\0\0\0"[..],
            b"220 mail.example ESMTP\r\n",
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"HTTP/1.1 099 Low\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            let got = read(bytes, bytes.len());
            assert!(matches!(got, Err(HeadError::NotHttp(_))), "{:?}: {got:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_head_without_end_is_too_large() {
        let endless = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &vec![b'v'; MAX_HEAD]].concat();
        assert_eq!(read(&endless, 65_536), Err(HeadError::TooLarge));
        let interims = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000);
        assert_eq!(read(&interims, 65_536), Err(HeadError::TooLarge));
        let lines = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"a: b\r\n".repeat(2000), b"\r\n"].concat();
        assert_eq!(read(&lines, 65_536), Err(HeadError::TooLarge));
        let many = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"a: b\r\n".repeat(300), b"\r\n"].concat();
        assert_eq!(read(&many, 65_536), Ok(Some((200, 300, vec![]))));
    }

    /// The steps are single lines, and single bytes: an empty line must not be missed where it comes in two pieces.
    #[test]
    fn a_head_of_many_lines_that_drips_is_not_parsed_at_each() {
        for end in [&b"\r\n"[..], b"\n"] {
            let lines = [b"HTTP/1.1 200 OK\r\nx: y".as_slice(), &b"\r\n y".repeat(30_000), b"\r\n", end].concat();
            for step in [1, 4] {
                let (mut reader, mut buffer, mut head) = (HeadReader::default(), BytesMut::new(), None);
                for piece in lines.chunks(step) {
                    buffer.extend_from_slice(piece);
                    head = head.or(reader.read(&mut buffer).expect("a head"));
                }
                assert_eq!(head.map(|head| head.status), Some(200), "in steps of {step}");
                assert!(reader.parses < 2 * OFTEN, "{} times", reader.parses);
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_pieces_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..200), begin in any::<bool>(), step in 1usize..50) {
            let bytes = if begin { [b"HTTP/1.1 200 OK\r\n".as_slice(), &bytes].concat() } else { bytes };
            let (whole, pieces) = (read(&bytes, bytes.len()), read(&bytes, step));
            // Garbage may be seen before or after the point at which a head was complete, but a head is the same head.
            if let (Ok(Some(a)), Ok(Some(b))) = (whole, pieces) {
                prop_assert_eq!(a, b);
            }
        }
    }
}
