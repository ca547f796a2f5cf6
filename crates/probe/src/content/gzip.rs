//! gzip members (RFC 1952): a head of several optional parts, raw deflate, a checksum and a length.

use super::coding::{Corrupt, Push, inflate};
use flate2::{Crc, Decompress};

/// A name or comment in the head that goes on and on is an attack or a mistake.
const MAX_HEAD: usize = 64 << 10;

const HAS_CRC: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

pub struct Gzip {
    state: State,
    inner: Decompress,
    crc: Crc,
}

enum State {
    /// The head so far: it is small, and looked at again with every byte that comes.
    Head(Vec<u8>),
    Data,
    Trailer(Vec<u8>),
    Ended,
}

impl Default for Gzip {
    fn default() -> Self {
        Self { state: State::Head(Vec::new()), inner: Decompress::new(false), crc: Crc::new() }
    }
}

impl Gzip {
    pub fn push(&mut self, input: &[u8], out: &mut [u8]) -> Result<Push, Corrupt> {
        if matches!(self.state, State::Ended) && !input.is_empty() {
            *self = Self::default(); // the next member
        }
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            match &mut self.state {
                State::Head(head) => {
                    head.push(byte);
                    used += 1;
                    if is_complete(head)? {
                        self.state = State::Data;
                    }
                }
                State::Data => break,
                State::Trailer(trailer) => {
                    trailer.push(byte);
                    used += 1;
                    if let Some((crc, size)) =
                        trailer.first_chunk::<4>().zip(trailer.get(4..).and_then(|t| t.first_chunk::<4>()))
                    {
                        if u32::from_le_bytes(*crc) != self.crc.sum() || u32::from_le_bytes(*size) != self.crc.amount()
                        {
                            return Err(Corrupt("its checksum is wrong".into()));
                        }
                        self.state = State::Ended;
                        return Ok(Push { used, made: 0, ended: true });
                    }
                }
                State::Ended => break,
            }
        }
        if !matches!(self.state, State::Data) {
            return Ok(Push { used, made: 0, ended: matches!(self.state, State::Ended) });
        }
        let push = inflate(&mut self.inner, &input[used..], out)?;
        self.crc.update(&out[..push.made]);
        if push.ended {
            self.state = State::Trailer(Vec::with_capacity(8));
        }
        Ok(Push { used: used + push.used, made: push.made, ended: false })
    }
}

/// Whether these bytes are a whole head.
fn is_complete(head: &[u8]) -> Result<bool, Corrupt> {
    if !b"\x1f\x8b\x08".starts_with(&head[..head.len().min(3)]) {
        return Err(Corrupt("it does not begin as gzip does".into()));
    }
    if head.len() > MAX_HEAD {
        return Err(Corrupt("its head goes on and on".into()));
    }
    let Some(&flags) = head.get(3) else { return Ok(false) };
    if flags & RESERVED != 0 {
        return Err(Corrupt("its head has flags that do not exist".into()));
    }
    let mut at = 10;
    if flags & HAS_EXTRA != 0 {
        let Some(length) = head.get(at..at + 2) else { return Ok(false) };
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    for part in [HAS_NAME, HAS_COMMENT] {
        if flags & part != 0 {
            let Some(end) = head.get(at..).and_then(|rest| rest.iter().position(|&c| c == 0)) else { return Ok(false) };
            at += end + 1;
        }
    }
    Ok(head.len() >= at + if flags & HAS_CRC != 0 { 2 } else { 0 })
}
