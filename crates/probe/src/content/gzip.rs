//! gzip members (RFC 1952): a head of several optional parts, raw deflate, a checksum and a length.

use super::coding::{Corrupt, Push, inflate};
use flate2::{Crc, Decompress};

/// A name or comment in the head that goes on and on is an attack or a mistake.
const MAX_HEAD: usize = 64 << 10;

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
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
    Head(Head),
    Data,
    Trailer(Vec<u8>),
    Ended,
}

/// How far a head has come. Nothing of it is kept.
#[derive(Default)]
struct Head {
    part: Part,
    flags: u8,
    extra: usize,
    /// Bytes of it, and of the part, so far.
    read: usize,
    at: usize,
}

/// In their order.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    #[default]
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    Crc,
}

impl Default for Gzip {
    fn default() -> Self {
        Self { state: State::Head(Head::default()), inner: Decompress::new(false), crc: Crc::new() }
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
                    used += 1;
                    if head.ends_with(byte)? {
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

impl Head {
    /// Takes its next byte, and says whether that was the last one.
    fn ends_with(&mut self, byte: u8) -> Result<bool, Corrupt> {
        let at = self.at;
        self.at += 1;
        self.read += 1;
        if self.read > MAX_HEAD {
            return Err(Corrupt("its head goes on and on".into()));
        }
        let is_last = match self.part {
            Part::Fixed => {
                if MAGIC.get(at).is_some_and(|magic| *magic != byte) {
                    return Err(Corrupt("it does not begin as gzip does".into()));
                }
                if at == 3 {
                    self.flags = byte;
                    if byte & RESERVED != 0 {
                        return Err(Corrupt("its head has flags that do not exist".into()));
                    }
                }
                at == 9
            }
            Part::ExtraLength => {
                self.extra |= usize::from(byte) << (8 * at);
                at == 1
            }
            Part::Extra => self.at == self.extra,
            Part::Name | Part::Comment => byte == 0,
            Part::Crc => at == 1,
        };
        Ok(is_last && !self.goes_on())
    }

    /// Goes to the next part that is there, if there is one.
    fn goes_on(&mut self) -> bool {
        let has = |flag| self.flags & flag != 0;
        let parts = [
            (Part::ExtraLength, has(HAS_EXTRA)),
            (Part::Extra, self.extra > 0),
            (Part::Name, has(HAS_NAME)),
            (Part::Comment, has(HAS_COMMENT)),
            (Part::Crc, has(HAS_CRC)),
        ];
        let next = parts.iter().find(|(part, is_there)| *is_there && *part > self.part).map(|(part, _)| *part);
        self.at = 0;
        self.part = next.unwrap_or(self.part);
        next.is_some()
    }
}
