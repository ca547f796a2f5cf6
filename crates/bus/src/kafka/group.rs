//! The consumer of librdkafka in the group of the writers: which partitions are ours, and which of them are read.
//!
//! A partition that becomes ours joins librdkafka's assignment when it is started, at the offset that the store has named, and
//! leaves it to be held. Nothing is ever paused: a partition that is not to be read is not assigned.

use super::{admission::Admission, error::Error, part::Part, reach::Reach, settings};
use model::{batch::Source, kafka::KafkaSetting};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError,
    statistics::Statistics,
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaRespErr,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The consumer of librdkafka, and what was read with it.
pub(super) struct Group {
    pub parts: BTreeMap<i32, Part<Rebalances>>,
    /// And under which identity of the topic each was offered.
    pub ours: BTreeMap<i32, Arc<str>>,
    /// Partitions that failed, and when each is offered again.
    pub reopen: BTreeMap<i32, Instant>,
    pub stored: BTreeMap<i32, i64>,
    pub committed_at: Instant,
    /// Dropped last: its queues must be gone before.
    pub consumer: Arc<BaseConsumer<Rebalances>>,
}

impl Group {
    /// `partitions`: how many the topic has.
    pub fn join(setting: &KafkaSetting, partitions: usize, reach: &Reach) -> Result<Self, Error> {
        let admission = Admission::new(&setting.group, reach);
        let context = Rebalances { reach: reach.clone(), admission, moved: Mutex::default(), read: Mutex::default() };
        let consumer = BaseConsumer::from_config_and_context(&settings::consumer(setting, partitions), context)
            .map_err(|e| Error::of_settings(&e))?;
        consumer
            .subscribe(&[&setting.topic])
            .map_err(|e| Error::systemic(format!("join group {}", setting.group), e.to_string()))?;
        Ok(Self {
            parts: BTreeMap::new(),
            ours: BTreeMap::new(),
            reopen: BTreeMap::new(),
            stored: BTreeMap::new(),
            committed_at: Instant::now(),
            consumer: Arc::new(consumer),
        })
    }

    pub fn start(
        &mut self,
        topic: &str,
        source: Source,
        turn: u64,
        next: i64,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<(), String> {
        let partition = source.partition;
        self.stop(partition);
        let queue = self.consumer.split_partition_queue(topic, partition);
        let mut queue = queue.ok_or("librdkafka has no such partition")?;
        queue.set_nonempty_callback(wake);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(next)).map_err(|e| e.to_string())?;
        self.consumer.incremental_assign(&list).map_err(|e| e.to_string())?;
        self.consumer.context().read().insert(partition);
        self.parts.insert(partition, Part::new(queue, source, turn, next));
        Ok(())
    }

    pub fn stop(&mut self, partition: i32) {
        let Some(part) = self.parts.remove(&partition) else { return };
        if self.consumer.context().read().remove(&partition) {
            let mut list = TopicPartitionList::new();
            list.add_partition(&part.source().name, partition);
            if let Err(error) = self.consumer.incremental_unassign(&list) {
                tracing::debug!(partition, %error, "a partition that ends was not assigned");
            }
        }
    }

    /// The partition is another's.
    pub fn forget(&mut self, partition: i32) {
        self.parts.remove(&partition);
        self.ours.remove(&partition);
        self.reopen.remove(&partition);
        self.stored.remove(&partition);
    }

    pub fn commit(&mut self, topic: &str) {
        self.committed_at = Instant::now();
        let mut list = TopicPartitionList::new();
        for (partition, next) in mem::take(&mut self.stored) {
            if let Err(error) = list.add_partition_offset(topic, partition, Offset::Offset(next)) {
                tracing::debug!(partition, next, %error, "an offset can't be committed");
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "offsets for lag tools can't be committed");
        }
    }
}

/// What a rebalance did.
#[derive(Debug)]
pub(super) enum Moved {
    Ours(Vec<i32>),
    Lost(Vec<i32>),
}

/// Hears the group, within a poll.
pub(super) struct Rebalances {
    reach: Reach,
    admission: Admission,
    moved: Mutex<Vec<Moved>>,
    /// Partitions in librdkafka's assignment: those that are started.
    read: Mutex<BTreeSet<i32>>,
}

impl Rebalances {
    pub fn take(&self) -> Vec<Moved> {
        mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, moved: Moved) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).push(moved);
    }

    /// Of these partitions, those that are read; they are so no more.
    fn end(&self, partitions: &TopicPartitionList) -> TopicPartitionList {
        let mut ending = TopicPartitionList::new();
        let mut read = self.read();
        for element in partitions.elements() {
            if read.remove(&element.partition()) {
                ending.add_partition(element.topic(), element.partition());
            }
        }
        ending
    }
}

impl ClientContext for Rebalances {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.reach.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reach.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        if let Some(group) = statistics.cgrp {
            self.admission.see(&group.state, &group.join_state, Instant::now());
        }
    }
}

impl ConsumerContext for Rebalances {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let numbers = partitions.elements().iter().map(TopicPartitionListElem::partition).collect();
        let (answered, moved) = if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // They are assigned one by one, when the store has said where each begins.
            (consumer.incremental_assign(&TopicPartitionList::new()), Moved::Ours(numbers))
        } else {
            (consumer.incremental_unassign(&self.end(partitions)), Moved::Lost(numbers))
        };
        if let Err(error) = answered {
            tracing::warn!(%error, ?moved, "the group does not take our answer");
        }
        self.note(moved);
    }
}
