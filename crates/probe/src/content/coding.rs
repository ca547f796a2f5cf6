//! The codings that are undone, behind one form: bytes are pushed in, and come out in a buffer that is not ours to grow.

use super::gzip::Gzip;
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// Windows of up to 8 MiB, as RFC 8878 says for HTTP: what a body may make us hold.
const ZSTD_WINDOW_LOG: u32 = 23;

pub enum Coding {
    Gzip(Box<Gzip>),
    Deflate(Deflate),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(Box<Decoder<'static>>),
}

/// What one push did: so much of the input is used, so much of the output is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Push {
    pub used: usize,
    pub made: usize,
    /// The data has come to its end.
    pub ended: bool,
}

/// What is wrong with the data, in few words.
#[derive(Debug)]
pub struct Corrupt(pub String);

impl Coding {
    /// `None`: not known.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "gzip" | "x-gzip" => Some(Self::Gzip(Box::default())),
            "deflate" => Some(Self::Deflate(Deflate::default())),
            "br" => {
                let [a, b, c] = [(); 3].map(|()| StandardAlloc::default());
                Some(Self::Brotli(Box::new(BrotliState::new(a, b, c))))
            }
            "zstd" => {
                let mut decoder = Decoder::new().ok()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
                Some(Self::Zstd(Box::new(decoder)))
            }
            _ => None,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Gzip(_) => "gzip",
            Self::Deflate(_) => "deflate",
            Self::Brotli(_) => "br",
            Self::Zstd(_) => "zstd",
        }
    }

    /// Whether another member of the same coding follows the one that has ended; `None`: more of it tells.
    pub fn begins_again(&self, input: &[u8]) -> Option<bool> {
        let (alike, long) = match self {
            Self::Gzip(_) => (begins_like(input, &[0x1f, 0x8b]), 2),
            // A frame, or one that is to be skipped (RFC 8878, section 3.1.2).
            Self::Zstd(_) => {
                let skipped = (0x50..0x60).any(|first| begins_like(input, &[first, 0x2a, 0x4d, 0x18]));
                (skipped || begins_like(input, &[0x28, 0xb5, 0x2f, 0xfd]), 4)
            }
            Self::Deflate(_) | Self::Brotli(_) => (false, 0),
        };
        if alike && input.len() < long { None } else { Some(alike) }
    }

    pub fn push(&mut self, input: &[u8], out: &mut [u8]) -> Result<Push, Corrupt> {
        match self {
            Self::Gzip(gzip) => gzip.push(input, out),
            Self::Deflate(deflate) => deflate.push(input, out),
            Self::Brotli(state) => brotli(state, input, out),
            Self::Zstd(decoder) => zstd(decoder, input, out),
        }
    }
}

/// As far as it has come.
fn begins_like(input: &[u8], magic: &[u8]) -> bool {
    input.iter().zip(magic).all(|(a, b)| a == b)
}

impl fmt::Debug for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `deflate` means zlib (RFC 9110, section 8.4.1.2), and some servers send it raw: the first two bytes tell.
#[derive(Default)]
pub struct Deflate {
    first: Option<u8>,
    inner: Option<Decompress>,
}

impl Deflate {
    fn push(&mut self, input: &[u8], out: &mut [u8]) -> Result<Push, Corrupt> {
        let Some(inner) = &mut self.inner else { return self.begin(input, out) };
        inflate(inner, input, out)
    }

    fn begin(&mut self, input: &[u8], out: &mut [u8]) -> Result<Push, Corrupt> {
        let (first, rest) = match (self.first, input) {
            (Some(first), rest) => (first, rest),
            (None, [first, rest @ ..]) => (*first, rest),
            (None, []) => return Ok(Push { used: 0, made: 0, ended: false }),
        };
        self.first = Some(first);
        let taken = input.len() - rest.len();
        let Some(&second) = rest.first() else { return Ok(Push { used: taken, made: 0, ended: false }) };
        let is_zlib = first & 0x0f == 8 && first >> 4 <= 7 && (u16::from(first) << 8 | u16::from(second)) % 31 == 0;
        let inner = self.inner.insert(Decompress::new(is_zlib));
        inflate(inner, &[first], out)?; // a byte of a header makes nothing yet
        let push = inflate(inner, rest, out)?;
        Ok(Push { used: taken + push.used, ..push })
    }
}

pub(super) fn inflate(inner: &mut Decompress, input: &[u8], out: &mut [u8]) -> Result<Push, Corrupt> {
    let (before_in, before_out) = (inner.total_in(), inner.total_out());
    let status = inner.decompress(input, out, FlushDecompress::None).map_err(|e| Corrupt(e.to_string()))?;
    let step = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
    Ok(Push {
        used: step(inner.total_in(), before_in),
        made: step(inner.total_out(), before_out),
        ended: status == Status::StreamEnd,
    })
}

fn brotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    out: &mut [u8],
) -> Result<Push, Corrupt> {
    let (mut left, mut used, mut room, mut made, mut total) = (input.len(), 0, out.len(), 0, 0);
    match BrotliDecompressStream(&mut left, &mut used, input, &mut room, &mut made, out, &mut total, state) {
        BrotliResult::ResultSuccess => Ok(Push { used, made, ended: true }),
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok(Push { used, made, ended: false }),
        BrotliResult::ResultFailure => Err(Corrupt("it is not what brotli makes".into())),
    }
}

fn zstd(decoder: &mut Decoder<'static>, input: &[u8], out: &mut [u8]) -> Result<Push, Corrupt> {
    let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(out));
    let hint = decoder.run(&mut from, &mut to).map_err(|e| Corrupt(e.to_string()))?;
    Ok(Push { used: from.pos, made: to.pos(), ended: hint == 0 })
}
