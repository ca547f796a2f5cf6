//! One partition as it is read: what has come of it and is not yet a batch.

use super::native;
use crate::record::decode;
use bytes::{Bytes, BytesMut};
use model::{
    UnixMs,
    batch::{Batch, Content, Entry, Envelope, Source},
};
use rdkafka::{
    consumer::{ConsumerContext, base_consumer::PartitionQueue},
    error::KafkaError,
    message::{BorrowedMessage, Message},
};
use std::{
    mem,
    ops::Range,
    time::{Duration, Instant},
};

/// How large a batch becomes, and how often there is one.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    pub records: usize,
    /// Bytes of values, keys and headers; with one record it may be more.
    pub bytes: usize,
    /// Between two batches of a partition that are smaller than that: each costs the store a commit.
    pub pace: Duration,
}

impl Default for Most {
    fn default() -> Self {
        Self { records: 20_000, bytes: 8 << 20, pace: Duration::from_millis(250) }
    }
}

pub(super) struct Part<C: ConsumerContext> {
    queue: PartitionQueue<C>,
    source: Source,
    /// Which reading of the partition this is: a batch of an earlier one is void.
    turn: u64,
    /// Where the next batch begins.
    from: i64,
    buffer: BytesMut,
    records: Vec<Record>,
    /// When a batch may come that is not full.
    due: Instant,
}

/// Where in the buffer a record is.
struct Record {
    offset: i64,
    value: Range<usize>,
    /// Written behind it.
    envelope: Range<usize>,
}

impl<C: ConsumerContext> Part<C> {
    pub fn new(queue: PartitionQueue<C>, source: Source, turn: u64, from: i64) -> Self {
        let (buffer, records) = (BytesMut::new(), Vec::new());
        Self { queue, source, turn, from, buffer, records, due: Instant::now() }
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// Takes what has come, up to a full batch.
    ///
    /// # Errors
    /// What ends the reading; what came before it is a batch nevertheless.
    pub fn fill(&mut self, most: &Most) -> Result<(), KafkaError> {
        while !self.is_full(most) {
            match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Err(error)) => return Err(error),
                // What was fetched for an earlier reading and comes late; librdkafka sorts it out, but no result rests on that.
                Some(Ok(message)) if message.offset() < self.next() => {}
                Some(Ok(message)) => {
                    let record = copy(&message, &mut self.buffer);
                    drop(message);
                    self.records.push(record);
                }
            }
        }
        Ok(())
    }

    pub fn is_full(&self, most: &Most) -> bool {
        self.records.len() >= most.records || self.buffer.len() >= most.bytes
    }

    pub fn is_due(&self, most: &Most) -> bool {
        !self.records.is_empty() && (self.is_full(most) || self.due <= Instant::now())
    }

    /// When it becomes due, if it is not and something waits.
    pub fn due(&self) -> Option<Instant> {
        (!self.records.is_empty()).then_some(self.due)
    }

    /// Where reading goes on.
    fn next(&self) -> i64 {
        self.records.last().map_or(self.from, |last| last.offset + 1)
    }

    /// What has come, decoded.
    pub fn batch(&mut self, most: &Most, now: UnixMs) -> Batch {
        let (from, next) = (self.from, self.next());
        let buffer = mem::take(&mut self.buffer).freeze();
        let entries = mem::take(&mut self.records).into_iter().map(|record| entry(&record, &buffer, now)).collect();
        self.from = next;
        self.due = Instant::now() + most.pace;
        Batch { source: self.source.clone(), from, next, entries }
    }
}

fn copy(message: &BorrowedMessage<'_>, buffer: &mut BytesMut) -> Record {
    let start = buffer.len();
    buffer.extend_from_slice(message.payload().unwrap_or_default());
    let end = buffer.len();
    let headers = native::headers(message);
    Envelope::write(message.key(), headers.iter().map(|(name, value)| (&**name, &**value)), buffer);
    Record { offset: message.offset(), value: start..end, envelope: end..buffer.len() }
}

fn entry(record: &Record, buffer: &Bytes, now: UnixMs) -> Entry {
    let value = buffer.slice(record.value.clone());
    let envelope = Envelope::read(buffer.slice(record.envelope.clone()));
    let mut content = decode(&value, now);
    if let Content::Dead(letter) = &mut content {
        letter.key = envelope.key();
        letter.headers = envelope.headers();
    }
    Entry { offset: record.offset, value, envelope, content }
}
