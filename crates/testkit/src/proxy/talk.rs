//! What is said on one connection: which of the messages matter, by the statements of a writer (`store`).

use std::collections::HashMap;

/// A message that a test may want to know of, before it is passed on. In the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// `begin`: nothing of the batch is there.
    Begin,
    /// The compare-and-set on the offset.
    Claim,
    /// The answer that the offset stands elsewhere.
    Refused,
    /// The end of a `COPY`: its rows have passed, and are not yet a table's.
    CopyDone,
    /// The answer that a row is there already (23505).
    Double,
    /// The table for rows of which some are there already.
    Staging,
    /// `commit`, of a transaction with a compare-and-set.
    Commit,
    /// The answer that this was done.
    Committed,
    /// The question what became of a `commit` that was not answered.
    Doubt,
}

/// A stretch of a log that is to be stored: the parameters of the compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    pub log: String,
    pub partition: i32,
    pub from: i64,
    pub next: i64,
}

#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Whether a prepared statement is the compare-and-set.
    statements: HashMap<Vec<u8>, bool>,
    /// The answer to the compare-and-set has not come yet.
    is_claiming: bool,
    has_claimed: bool,
    is_committing: bool,
    /// Of the message that was looked at last.
    pub claim: Option<Claim>,
}

impl Talk {
    /// A whole message of the client.
    pub fn ask(&mut self, message: &[u8]) -> Option<Moment> {
        let body = message.get(5..)?;
        match message[0] {
            b'Q' => self.query(text(body)),
            b'P' => {
                let (name, query) = string(body)?;
                let query = text(query);
                self.statements.insert(name.to_vec(), query.starts_with("insert into offsets "));
                query.contains("pg_xact_status").then_some(Moment::Doubt)
            }
            b'B' => {
                let (_portal, rest) = string(body)?;
                let (name, parameters) = string(rest)?;
                if !self.statements.get(name).is_some_and(|is_claim| *is_claim) {
                    return None;
                }
                self.claim = claim(parameters);
                (self.is_claiming, self.has_claimed) = (true, true);
                Some(Moment::Claim)
            }
            b'c' => Some(Moment::CopyDone),
            _ => None,
        }
    }

    fn query(&mut self, text: &str) -> Option<Moment> {
        match text {
            "begin" => Some(Moment::Begin),
            "rollback" => {
                self.has_claimed = false;
                None
            }
            "commit" if self.has_claimed => {
                (self.has_claimed, self.is_committing) = (false, true);
                Some(Moment::Commit)
            }
            text => text.contains("temp table if not exists staging").then_some(Moment::Staging),
        }
    }

    /// A whole message of the server.
    pub fn answer(&mut self, message: &[u8]) -> Option<Moment> {
        let body = message.get(5..)?;
        match message[0] {
            b'C' if std::mem::take(&mut self.is_claiming) => (text(body) == "INSERT 0 0").then_some(Moment::Refused),
            b'C' if std::mem::take(&mut self.is_committing) => (text(body) == "COMMIT").then_some(Moment::Committed),
            b'E' => {
                (self.is_claiming, self.is_committing) = (false, false);
                body.windows(7).any(|field| field == b"C23505\0").then_some(Moment::Double)
            }
            _ => None,
        }
    }
}

/// A text that ends with a zero, and what is behind it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// As much of it as is one.
fn text(bytes: &[u8]) -> &str {
    let bytes = string(bytes).map_or(bytes, |(text, _)| text);
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Formats, and then values with their lengths: log, partition, name, next, from.
fn claim(parameters: &[u8]) -> Option<Claim> {
    let number = |at: usize| Some(usize::from(u16::from_be_bytes(parameters.get(at..at + 2)?.try_into().ok()?)));
    let mut rest = parameters.get(4 + 2 * number(0)?..)?;
    let mut value = || {
        let (length, behind) = rest.split_at_checked(4)?;
        let length = usize::try_from(i32::from_be_bytes(length.try_into().ok()?)).ok()?;
        let (value, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some(value)
    };
    let log = String::from_utf8(value()?.to_vec()).ok()?;
    let partition = i32::from_be_bytes(value()?.try_into().ok()?);
    let _name = value()?;
    let next = i64::from_be_bytes(value()?.try_into().ok()?);
    let from = i64::from_be_bytes(value()?.try_into().ok()?);
    Some(Claim { log, partition, from, next })
}
