//! A log as the writer sees it, be it the queue or Kafka: sources come and go, and each is read from where the store says.

#[cfg(feature = "kafka")]
use crate::kafka;
use crate::{
    Class, QueueError,
    queue::{Gauge, Most, Reader},
};
use model::batch::{Batch, Source};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Where results are read.
#[derive(Debug)]
pub enum Log {
    Queue(Box<QueueLog>),
    #[cfg(feature = "kafka")]
    Kafka(Box<kafka::Consumer>),
}

/// What reading brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// The source has become ours: [`Log::start`] says where it is read from.
    Opened(Source),
    Batch(Batch),
    /// It is no longer ours. What was read of it and is not stored is void: somebody else reads it again.
    Closed(Source),
}

/// Where reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// `from` of the first batch.
    pub next: i64,
    /// Records that have expired unread. The store keeps them in `gaps` and moves its offset to the end of them.
    pub gap: Option<Gap>,
}

/// Records that are gone: `from`, and all up to `to`, without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: i64,
    pub to: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(#[from] kafka::Error),
}

impl LogError {
    /// What is to be done about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Queue(e) => e.class(),
            #[cfg(feature = "kafka")]
            Self::Kafka(e) => e.class(),
        }
    }
}

impl Log {
    pub fn queue(reader: Reader, gauge: Gauge, most: Most) -> Self {
        Self::Queue(Box::new(QueueLog { reader, gauge, most, state: State::New, told: None }))
    }

    #[cfg(feature = "kafka")]
    pub fn kafka(consumer: kafka::Consumer) -> Self {
        Self::Kafka(Box::new(consumer))
    }

    /// Waits for what happens next. `None`: the stop came first.
    ///
    /// Reading changes nothing: an error or a dropped future costs nothing. After an error it may be called again.
    pub async fn read(&mut self, stop: &CancellationToken) -> Result<Option<Read>, LogError> {
        match self {
            Self::Queue(queue) => Ok(queue.read(stop, false).await?),
            #[cfg(feature = "kafka")]
            Self::Kafka(consumer) => Ok(consumer.read(stop).await?),
        }
    }

    /// What is there at this moment, without waiting for more: for the end, when nothing more can come. `None`: no more. Kafka's
    /// records are left to whoever comes next.
    pub async fn read_rest(&mut self) -> Result<Option<Read>, LogError> {
        match self {
            Self::Queue(queue) => Ok(queue.read(&CancellationToken::new(), true).await?),
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => Ok(None),
        }
    }

    /// Reads a source that was opened from where the store stands; without a stored offset from its first record. `None`: it is
    /// no longer ours, and [`Read::Closed`] tells.
    ///
    /// # Errors
    /// It may be tried again: at once when the cause may pass, later when a person must act. Until then the source is not read.
    pub async fn start(&mut self, source: &Source, stored: Option<i64>) -> Result<Option<Started>, LogError> {
        match self {
            Self::Queue(queue) => Ok(queue.start(source, stored).await?),
            #[cfg(feature = "kafka")]
            Self::Kafka(consumer) => Ok(consumer.start(source, stored).await?),
        }
    }

    /// Goes on reading elsewhere, also a source that was held; what was read and not handed out is void.
    pub fn seek(&mut self, source: &Source, next: i64) {
        match self {
            Self::Queue(queue) => queue.seek(source, next),
            #[cfg(feature = "kafka")]
            Self::Kafka(consumer) => consumer.seek(source, next),
        }
    }

    /// Stops reading a source. It stays ours, the others are read on.
    pub fn hold(&mut self, source: &Source) {
        match self {
            Self::Queue(queue) => queue.hold(source),
            #[cfg(feature = "kafka")]
            Self::Kafka(consumer) => consumer.hold(source),
        }
    }

    /// Reads a source that was held on, behind the last batch that was handed out.
    pub fn go_on(&mut self, source: &Source) {
        match self {
            Self::Queue(queue) => queue.go_on(source),
            #[cfg(feature = "kafka")]
            Self::Kafka(consumer) => consumer.go_on(source),
        }
    }

    /// The batch is stored: the queue may delete it, and tools that show Kafka's lag see it. Nothing depends on it.
    pub fn release(&mut self, batch: &Batch) {
        match self {
            Self::Queue(queue) => queue.release(batch),
            #[cfg(feature = "kafka")]
            Self::Kafka(consumer) => consumer.release(batch),
        }
    }

    /// Whether a log of another identity under the same name is new by itself, and read from its first record. A topic that was
    /// made anew is not: a person says what is to become of it.
    pub fn is_made_anew_by_itself(&self) -> bool {
        match self {
            Self::Queue(_) => true,
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => false,
        }
    }

    /// Whether nothing can be read any more in this process, whatever is mended.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Queue(_) => false,
            #[cfg(feature = "kafka")]
            Self::Kafka(consumer) => consumer.has_ended(),
        }
    }

    /// Records that wait to be stored, by partition.
    pub fn lag(&self) -> Lag {
        match self {
            Self::Queue(queue) => {
                let gauge = queue.gauge.clone();
                Lag(Arc::new(move || vec![(0, gauge.stats().results)]))
            }
            #[cfg(feature = "kafka")]
            Self::Kafka(consumer) => Lag(Arc::new(consumer.lag_gauge())),
        }
    }

    /// Leaves the log in order: closes the file, or leaves the group.
    pub async fn close(self) {
        match self {
            Self::Queue(queue) => queue.reader.close().await,
            #[cfg(feature = "kafka")]
            Self::Kafka(consumer) => consumer.close().await,
        }
    }
}

/// Tells, at any time and from anywhere, how many records wait. Cheap to clone.
#[derive(Clone)]
pub struct Lag(Arc<dyn Fn() -> Vec<(i32, u64)> + Send + Sync>);

impl Lag {
    /// Of each partition that is ours, and has been started.
    pub fn now(&self) -> Vec<(i32, u64)> {
        (self.0)()
    }
}

impl std::fmt::Debug for Lag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lag").field(&self.now()).finish()
    }
}

/// The queue as a log: one source, ours from the beginning to the end.
#[derive(Debug)]
pub struct QueueLog {
    reader: Reader,
    gauge: Gauge,
    most: Most,
    state: State,
    /// The source that was opened.
    told: Option<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has said where to read.
    New,
    Reading {
        next: i64,
    },
    Held {
        next: i64,
    },
}

impl QueueLog {
    /// `at_once`: what is there, or nothing.
    async fn read(&mut self, stop: &CancellationToken, at_once: bool) -> Result<Option<Read>, QueueError> {
        if let Some(change) = self.change() {
            return Ok(Some(change));
        }
        let State::Reading { next } = self.state else {
            if !at_once {
                stop.cancelled().await;
            }
            return Ok(None);
        };
        let batch = if at_once {
            self.reader.read_rest(next, &self.most).await?
        } else {
            self.reader.read(next, &self.most, stop).await?
        };
        if let Some(batch) = &batch {
            self.state = State::Reading { next: batch.next };
        }
        Ok(batch.map(Read::Batch))
    }

    /// A queue that was found to be older than the store knows is another one, under another identity.
    fn change(&mut self) -> Option<Read> {
        let now = self.reader.source();
        match self.told.take() {
            Some(told) if told != *now => {
                self.state = State::New;
                Some(Read::Closed(told))
            }
            Some(told) => {
                self.told = Some(told);
                None
            }
            None => {
                self.told = Some(now.clone());
                Some(Read::Opened(now.clone()))
            }
        }
    }

    async fn start(&mut self, source: &Source, stored: Option<i64>) -> Result<Option<Started>, QueueError> {
        if self.told.as_ref() != Some(source) {
            return Ok(None);
        }
        let next = self.reader.resume(stored).await?;
        if self.reader.source() != source {
            return Ok(None);
        }
        self.state = State::Reading { next };
        Ok(Some(Started { next, gap: None }))
    }

    fn seek(&mut self, source: &Source, next: i64) {
        if self.told.as_ref() == Some(source) {
            self.state = State::Reading { next };
        }
    }

    fn hold(&mut self, source: &Source) {
        if let State::Reading { next } = self.state
            && self.told.as_ref() == Some(source)
        {
            self.state = State::Held { next };
        }
    }

    fn go_on(&mut self, source: &Source) {
        if let State::Held { next } = self.state
            && self.told.as_ref() == Some(source)
        {
            self.state = State::Reading { next };
        }
    }

    fn release(&self, batch: &Batch) {
        if self.told.as_ref() == Some(&batch.source) {
            self.reader.release(batch.next);
        }
    }
}
