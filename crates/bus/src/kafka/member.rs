//! Our membership in the group of the writers, on a thread of its own: it answers the group, reads the partitions that were
//! started, and makes batches while there is room for them.
//!
//! Back-pressure is that nobody reads a partition's queue. Nothing waits here but the rest between two rounds, so the group is
//! answered whatever the store does.

use super::{
    error::{Error, class_of},
    group::{Group, Moved},
    part::{Most, Part},
    reach::Reach,
    rights::{Deed, explained},
    watch::Watched,
};
use crate::Class;
use model::{
    UnixMs,
    batch::{Batch, Source},
    kafka::KafkaSetting,
};
use rdkafka::{
    Message,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::{Semaphore, mpsc::UnboundedSender};

/// What the member is told.
#[derive(Debug)]
pub(super) enum Order {
    Start {
        source: Source,
        turn: u64,
        next: i64,
    },
    /// Do not read it; stay in the group.
    Stop(i32),
    /// Everything below is stored.
    Stored {
        partition: i32,
        next: i64,
    },
    /// There is room for a batch, or something to read.
    Wake,
    Leave,
}

/// What the member tells.
#[derive(Debug)]
pub(super) enum Event {
    Ours(Source),
    Batch {
        turn: u64,
        batch: Batch,
    },
    Lost(i32),
    /// Nothing comes until this is mended.
    Failed(Error),
}

/// The longest rest between two polls.
const POLL: Duration = Duration::from_millis(100);
/// How long the group is listened to in each round. (A poll without a timeout ends at the first line of log.)
const HEARING: Duration = Duration::from_millis(1);
/// Between two commits of offsets to Kafka.
const COMMIT: Duration = Duration::from_secs(1);
/// Before a partition that failed is offered again, and before a consumer that failed at once is made again.
const REOPEN: Duration = Duration::from_secs(1);
const REMAKE: Duration = Duration::from_secs(30);
/// Between two reports of an error that only a person can mend.
const REPORT: Duration = Duration::from_secs(30);

pub(super) struct Member {
    setting: KafkaSetting,
    /// Of the topic, when it was first seen.
    partitions: usize,
    most: Most,
    watched: Arc<Watched>,
    reach: Reach,
    orders: Receiver<Order>,
    /// For the partitions' queues, which wake us.
    wake: Sender<Order>,
    /// Without bound: a handful at each change of the group.
    events: UnboundedSender<Event>,
    /// Batches that were sent and not yet taken.
    room: Arc<Semaphore>,
    group: Option<Group>,
    made: Instant,
    reported: Option<Instant>,
    /// The partition whose batch went last.
    served: i32,
    /// It may have had more.
    is_busy: bool,
}

pub(super) struct Setup {
    pub setting: KafkaSetting,
    pub partitions: usize,
    pub most: Most,
    pub watched: Arc<Watched>,
    pub reach: Reach,
    pub orders: Receiver<Order>,
    pub wake: Sender<Order>,
    pub events: UnboundedSender<Event>,
    pub room: Arc<Semaphore>,
}

impl Member {
    /// Joins the group. The first member's settings are tried here, so that a mistake in them is known at start.
    pub fn new(setup: Setup) -> Result<Self, Error> {
        let Setup { setting, partitions, most, watched, reach, orders, wake, events, room } = setup;
        let group = Some(Group::join(&setting, partitions, &reach)?);
        let made = Instant::now();
        Ok(Self {
            setting,
            partitions,
            most,
            watched,
            reach,
            orders,
            wake,
            events,
            room,
            group,
            made,
            reported: None,
            served: -1,
            is_busy: false,
        })
    }

    /// Runs until it is told to leave, or nobody is left to tell it.
    pub fn run(mut self) {
        loop {
            self.poll();
            self.note_a_new_topic();
            self.reopen();
            self.read();
            self.commit();
            if !self.obey() {
                break;
            }
        }
        self.leave();
    }

    /// Answers the group.
    fn poll(&mut self) {
        let Some(group) = &self.group else { return self.remake() };
        let consumer = Arc::clone(&group.consumer);
        let mut fatal = None;
        // Nothing is read here: every partition has a queue of its own before it is assigned.
        while let Some(polled) = consumer.poll(HEARING) {
            match polled {
                Ok(message) => self.fail_part(message.partition(), "a record came on the wrong queue"),
                Err(KafkaError::MessageConsumptionFatal(code)) => fatal = Some(code.to_string()),
                Err(error) => self.hear(&error),
            }
        }
        for moved in consumer.context().take() {
            self.moved(moved);
        }
        drop(consumer);
        if let Some(why) = fatal {
            self.is_fatal(&why);
        }
    }

    fn moved(&mut self, moved: Moved) {
        let Some(group) = &mut self.group else { return };
        match moved {
            Moved::Ours(partitions) => {
                tracing::info!(?partitions, "partitions have become ours");
                for partition in partitions {
                    self.offer(partition);
                }
            }
            Moved::Lost(partitions) => {
                tracing::info!(?partitions, "partitions are no longer ours");
                for partition in partitions {
                    group.forget(partition);
                    let _ = self.events.send(Event::Lost(partition)); // nobody listens at the end
                }
            }
        }
    }

    /// What the group or the brokers say about us. What may pass is in the reach already.
    fn hear(&mut self, error: &KafkaError) {
        let Some(code) = error.rdkafka_error_code().filter(|code| class_of(*code) == Class::Systemic) else { return };
        if self.reported.is_some_and(|at| at.elapsed() < REPORT) {
            return;
        }
        self.reported = Some(Instant::now());
        let (topic, group) = (&self.setting.topic, &self.setting.group);
        let why = explained(&self.setting, code, Deed::Read, code.to_string());
        let error = Error::systemic(format!("read topic {topic} as a member of group {group}"), why);
        self.reach.is_missed(&error);
        self.tell(Event::Failed(error));
    }

    fn is_fatal(&mut self, why: &str) {
        tracing::error!(why, "the consumer of Kafka has failed for good; a new one takes its place");
        let Some(group) = self.group.take() else { return };
        for partition in group.ours.keys() {
            self.tell(Event::Lost(*partition));
        }
        // It may never end, and nobody needs that it does.
        if let Err(error) = thread::Builder::new().name("kafka-closing".to_owned()).spawn(move || drop(group)) {
            tracing::error!(%error, "a consumer that has failed can't be closed");
        }
        if self.made.elapsed() < REMAKE {
            let deed = format!("read topic {} as a member of group {}", self.setting.topic, self.setting.group);
            self.tell(Event::Failed(Error::systemic(deed, why)));
        } else {
            self.remake();
        }
    }

    /// Joins again, not more often than every so often.
    fn remake(&mut self) {
        if self.group.is_none() && self.made.elapsed() >= REMAKE {
            self.made = Instant::now();
            match Group::join(&self.setting, self.partitions, &self.reach) {
                Ok(group) => self.group = Some(group),
                Err(error) => self.tell(Event::Failed(error)),
            }
        }
    }

    /// A topic of the same name that was made anew is another log: what was offered of the old one, read or not, ends.
    fn note_a_new_topic(&mut self) {
        let Some(group) = &self.group else { return };
        let id = self.watched.id();
        let old: Vec<i32> =
            group.ours.iter().filter(|(_, offered)| **offered != id).map(|(partition, _)| *partition).collect();
        for partition in old {
            self.fail_part(partition, "the topic was made anew");
        }
    }

    /// Ends the reading of a partition. It stays ours, and is offered again.
    fn fail_part(&mut self, partition: i32, why: &str) {
        if self.end_part(partition, REOPEN) {
            let topic = &self.setting.topic;
            tracing::warn!(topic, partition, why, "reading a partition has failed; it begins again");
        }
    }

    /// The same when a person must act before it can be read again.
    fn refuse_part(&mut self, partition: i32, code: Code) {
        if self.end_part(partition, REPORT) {
            let why = explained(&self.setting, code, Deed::Read, code.to_string());
            let deed = format!("read {}/{partition}", self.setting.topic);
            self.tell(Event::Failed(Error::systemic(deed, why)));
        }
    }

    /// False: it had ended.
    fn end_part(&mut self, partition: i32, again: Duration) -> bool {
        let Some(group) = &mut self.group else { return false };
        if !group.ours.contains_key(&partition) || group.reopen.contains_key(&partition) {
            return false;
        }
        group.stop(partition);
        group.reopen.insert(partition, Instant::now() + again);
        self.tell(Event::Lost(partition));
        true
    }

    fn reopen(&mut self) {
        let Some(group) = &self.group else { return };
        let now = Instant::now();
        let due: Vec<i32> =
            group.reopen.iter().filter(|(_, at)| **at <= now).map(|(partition, _)| *partition).collect();
        for partition in due {
            self.offer(partition);
        }
    }

    fn offer(&mut self, partition: i32) {
        let Some(group) = &mut self.group else { return };
        let source = self.watched.source(partition);
        group.reopen.remove(&partition);
        group.ours.insert(partition, Arc::clone(&source.log));
        self.tell(Event::Ours(source));
    }

    /// Makes batches of what has come, while somebody takes them.
    fn read(&mut self) {
        self.is_busy = false;
        let Some(group) = &mut self.group else { return };
        let mut failed = Vec::new();
        // In turn, beginning behind the one that was served last.
        let last = self.served;
        let order: Vec<i32> =
            group.parts.range(last + 1..).chain(group.parts.range(..=last)).map(|(partition, _)| *partition).collect();
        for partition in order {
            let Some(part) = group.parts.get_mut(&partition) else { continue };
            // What nobody takes yet stays in librdkafka's queues, which have a bound: only the batch that is next is copied.
            let Ok(permit) = self.room.try_acquire() else { break };
            let filled = part.fill(&self.most);
            if part.is_due(&self.most) {
                permit.forget();
                self.is_busy |= part.is_full(&self.most);
                self.served = partition;
                let batch = part.batch(&self.most, UnixMs::from_system(SystemTime::now()));
                let _ = self.events.send(Event::Batch { turn: part.turn(), batch }); // nobody listens at the end
            }
            if let Err(error) = filled {
                failed.push((partition, error));
            }
        }
        for (partition, error) in failed {
            match error.rdkafka_error_code().filter(|code| class_of(*code) == Class::Systemic) {
                Some(code) => self.refuse_part(partition, code),
                None => self.fail_part(partition, &error.to_string()),
            }
        }
    }

    /// Tells Kafka how far the store is, for tools that show lag.
    fn commit(&mut self) {
        if let Some(group) = self.group.as_mut().filter(|group| group.committed_at.elapsed() >= COMMIT) {
            group.commit(&self.setting.topic);
        }
    }

    /// Waits for orders until there is something else to do. False: it is to leave.
    fn obey(&mut self) -> bool {
        let mut wait = self.rest();
        loop {
            match self.orders.recv_timeout(wait) {
                Ok(Order::Leave) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
                Ok(Order::Wake) => {}
                Ok(Order::Start { source, turn, next }) => self.start(source, turn, next),
                Ok(Order::Stop(partition)) => {
                    if let Some(group) = &mut self.group {
                        group.stop(partition);
                    }
                }
                Ok(Order::Stored { partition, next }) => {
                    if let Some(group) = self.group.as_mut().filter(|group| group.ours.contains_key(&partition)) {
                        group.stored.insert(partition, next);
                    }
                }
            }
            wait = Duration::ZERO; // the others that are there
        }
    }

    fn rest(&self) -> Duration {
        if self.is_busy && self.room.available_permits() > 0 {
            return Duration::ZERO;
        }
        let parts = self.group.iter().flat_map(|group| group.parts.values());
        let due = if self.room.available_permits() > 0 { parts.filter_map(Part::due).min() } else { None };
        due.map_or(POLL, |due| due.saturating_duration_since(Instant::now()).min(POLL))
    }

    fn start(&mut self, source: Source, turn: u64, next: i64) {
        let Some(group) = &mut self.group else { return };
        let partition = source.partition;
        if !group.ours.contains_key(&partition) || group.reopen.contains_key(&partition) {
            return; // it was lost meanwhile, and that is told
        }
        let wake = self.wake.clone();
        let started = group.start(&self.setting.topic, source, turn, next, move || {
            let _ = wake.send(Order::Wake); // nobody waits at the end
        });
        if let Err(why) = started {
            self.fail_part(partition, &why);
        }
    }

    fn leave(mut self) {
        if let Some(mut group) = self.group.take() {
            group.commit(&self.setting.topic);
        }
    }

    fn tell(&self, event: Event) {
        let _ = self.events.send(event); // nobody listens at the end
    }
}
