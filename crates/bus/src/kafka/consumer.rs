//! The end of the topic that is read, as the writer sees it: partitions come and go, and each is read from where the store
//! says.

use super::{
    cluster::{Cluster, Needed, blocking},
    error::Error,
    member::{Event, Member, Order, Setup},
    native::Described,
    part::Most,
    reach::Reach,
    watch::{Watched, watch},
};
use crate::log::{Gap, Read, Started};
use model::{
    batch::{Batch, Source},
    kafka::KafkaSetting,
};
use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc as channel},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Batches that wait to be taken: one, so that the next is decoded while the last is stored.
const WAITING: usize = 1;
/// How long leaving the group may take.
const LEAVING: Duration = Duration::from_secs(5);

/// A member of the writers' group.
#[derive(Debug)]
pub struct Consumer {
    cluster: Arc<Cluster>,
    watched: Arc<Watched>,
    reach: Reach,
    orders: mpsc::Sender<Order>,
    events: channel::UnboundedReceiver<Event>,
    room: Arc<Semaphore>,
    /// The partitions that are ours.
    ours: HashMap<i32, Ours>,
    /// Counts readings; see [`Ours`].
    turns: u64,
    stop: CancellationToken,
    watching: JoinHandle<()>,
    member: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Ours {
    source: Source,
    /// The reading that counts. Every start and hold begins a new one, and what an earlier one brought is void.
    turn: u64,
    /// Where the last batch that was handed out ended.
    next: i64,
}

impl Consumer {
    /// Waits until Kafka answers, makes the topics if they are missing, and joins the group. `None`: the stop came first.
    /// `reach` tells meanwhile, and ever after, how Kafka is reached.
    ///
    /// # Errors
    /// What waiting does not mend: see [`Error`].
    pub async fn open(
        setting: &KafkaSetting,
        most: Most,
        reach: Reach,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, Error> {
        let Some((cluster, topic)) = Cluster::open(setting, &reach, stop).await? else { return Ok(None) };
        if let Err(error) = cluster.ensure(Needed::Dead).await {
            tracing::warn!(%error, "dead letters stay in the database until their topic is there");
        }
        Self::join(setting, most, reach, cluster, &topic).map(Some)
    }

    fn join(
        setting: &KafkaSetting,
        most: Most,
        reach: Reach,
        cluster: Arc<Cluster>,
        topic: &Described,
    ) -> Result<Self, Error> {
        let watched = Arc::new(Watched::new(&setting.topic, topic));
        let (orders, ordered) = mpsc::channel();
        let (told, events) = channel::unbounded_channel();
        let room = Arc::new(Semaphore::new(WAITING));
        let member = Member::new(Setup {
            setting: setting.clone(),
            most,
            watched: Arc::clone(&watched),
            reach: reach.clone(),
            orders: ordered,
            wake: orders.clone(),
            events: told,
            room: Arc::clone(&room),
        })?;
        let member = thread::Builder::new().name("kafka-member".to_owned()).spawn(move || member.run());
        let member = member.map_err(|e| Error::transient("start a thread for Kafka", e.to_string()))?;
        let stop = CancellationToken::new();
        let watching = watch(Arc::clone(&cluster), Arc::clone(&watched), reach.clone(), stop.clone());
        Ok(Self {
            cluster,
            watched,
            reach,
            orders,
            events,
            room,
            ours: HashMap::new(),
            turns: 0,
            stop,
            watching: tokio::spawn(watching),
            member: Some(member),
        })
    }

    /// How Kafka is reached.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Waits for what happens next. `None`: the stop came first. An error is told at most once in a while; reading goes on
    /// when its cause is mended.
    pub async fn read(&mut self, stop: &CancellationToken) -> Result<Option<Read>, Error> {
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(None),
                event = self.events.recv() => event,
            };
            let Some(event) = event else {
                return Err(Error::systemic("read from Kafka", "the thread that reads has ended; start again"));
            };
            if let Some(read) = self.hear(event)? {
                return Ok(Some(read));
            }
        }
    }

    fn hear(&mut self, event: Event) -> Result<Option<Read>, Error> {
        Ok(match event {
            Event::Ours(source) => {
                let turn = self.next_turn();
                self.ours.insert(source.partition, Ours { source: source.clone(), turn, next: 0 });
                Some(Read::Opened(source))
            }
            Event::Batch { turn, batch } => {
                self.room.add_permits(1);
                self.order(Order::Wake);
                let ours = self.ours.get_mut(&batch.source.partition).filter(|ours| ours.turn == turn);
                ours.map(|ours| {
                    ours.next = batch.next;
                    Read::Batch(batch)
                })
            }
            Event::Lost(partition) => {
                self.watched.forget(partition);
                self.ours.remove(&partition).map(|ours| Read::Closed(ours.source))
            }
            Event::Failed(error) => return Err(error),
        })
    }

    /// Reads a partition from where the store stands; without a stored offset from its first record. `None`: it is no longer
    /// ours, and [`Read::Closed`] tells.
    pub async fn start(&mut self, source: &Source, stored: Option<i64>) -> Result<Option<Started>, Error> {
        let (cluster, watched, partition) = (Arc::clone(&self.cluster), Arc::clone(&self.watched), source.partition);
        let looked = blocking("look at a partition", move || {
            let topic = cluster.describe()?;
            let topic = topic.ok_or_else(|| Error::transient(deed(&watched.source(partition)), "it is not there"))?;
            watched.see(&topic);
            Ok((watched.id(), cluster.bounds(partition)?))
        });
        let (id, (first, end)) = looked.await?;
        if id != source.log {
            self.order(Order::Wake); // it ends what is read of the old topic
            return Ok(None);
        }
        let started = begin(source, stored, first, end)?;
        self.watched.stands(partition, started.next);
        self.watched.ends(partition, end);
        Ok(self.read_from(source, started.next).then_some(started))
    }

    /// Goes on reading elsewhere; what was read and not handed out is void.
    pub fn seek(&mut self, source: &Source, next: i64) {
        self.watched.stands(source.partition, next);
        self.read_from(source, next);
    }

    /// Stops reading a partition. It stays ours.
    pub fn hold(&mut self, source: &Source) {
        let turn = self.next_turn();
        if let Some(ours) = self.ours(source) {
            ours.turn = turn;
            self.order(Order::Stop(source.partition));
        }
    }

    /// Goes on behind the last batch that was handed out.
    pub fn go_on(&mut self, source: &Source) {
        if let Some(next) = self.ours(source).map(|ours| ours.next) {
            self.read_from(source, next);
        }
    }

    /// The batch is stored. Kafka is told for tools that show lag; nothing depends on it.
    pub fn release(&mut self, batch: &Batch) {
        if self.ours(&batch.source).is_some() {
            let (partition, next) = (batch.source.partition, batch.next);
            self.watched.stands(partition, next);
            self.order(Order::Stored { partition, next });
        }
    }

    /// Records that wait, of each partition that is read; for metrics.
    pub fn lag(&self) -> Vec<(i32, u64)> {
        self.watched.lag()
    }

    /// How far behind the store is, to be asked from elsewhere.
    pub(crate) fn lag_gauge(&self) -> impl Fn() -> Vec<(i32, u64)> + Send + Sync + 'static {
        let watched = Arc::clone(&self.watched);
        move || watched.lag()
    }

    /// Leaves the group, so that another member takes over at once.
    pub async fn close(mut self) {
        self.order(Order::Leave);
        let member = self.member.take();
        let left = tokio::task::spawn_blocking(move || member.map(thread::JoinHandle::join));
        match tokio::time::timeout(LEAVING, left).await {
            Ok(Ok(Some(Err(_)))) => {
                tracing::error!("the thread that reads Kafka crashed; this is a mistake in lapwing");
            }
            Ok(_) => {}
            Err(_) => tracing::warn!("the group was not left in time; its other members notice within 10 s"),
        }
        self.stop.cancel();
        self.watching.abort();
    }

    fn ours(&mut self, source: &Source) -> Option<&mut Ours> {
        self.ours.get_mut(&source.partition).filter(|ours| ours.source == *source)
    }

    /// False: it is not ours.
    fn read_from(&mut self, source: &Source, next: i64) -> bool {
        let turn = self.next_turn();
        let Some(ours) = self.ours(source) else { return false };
        (ours.turn, ours.next) = (turn, next);
        self.order(Order::Start { source: source.clone(), turn, next });
        true
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn order(&self, order: Order) {
        let _ = self.orders.send(order); // a member that has ended is told by `read`
    }
}

impl Drop for Consumer {
    /// Without [`Self::close`] the group is left as well, but nobody waits for it.
    fn drop(&mut self) {
        self.order(Order::Leave);
        self.stop.cancel();
    }
}

fn deed(source: &Source) -> String {
    format!("read {}/{}", source.name, source.partition)
}

/// Where reading begins, given what the store holds and what the partition holds.
fn begin(source: &Source, stored: Option<i64>, first: i64, end: i64) -> Result<Started, Error> {
    match stored {
        None => Ok(Started { next: first, gap: None }),
        Some(stored) if stored > end => Err(Error::systemic(
            deed(source),
            format!(
                "the store has records up to {stored} of it, and it ends at {end}: the brokers have lost some \
                 (lapwing db offsets --set is the way out)"
            ),
        )),
        Some(stored) if stored < first => {
            let gap = Gap { from: stored, to: first };
            let Gap { from, to } = gap;
            tracing::error!(
                topic = &*source.name,
                partition = source.partition,
                from,
                to,
                "records have expired unread"
            );
            Ok(Started { next: first, gap: Some(gap) })
        }
        Some(stored) => Ok(Started { next: stored, gap: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a partition that holds 10 to 19.
    fn begun(stored: Option<i64>) -> Result<Started, Error> {
        begin(&Source { log: "id".into(), name: "t".into(), partition: 3 }, stored, 10, 20)
    }

    #[test]
    fn reading_begins_where_the_store_stands_and_at_the_first_record_where_it_knows_nothing() {
        for (stored, next) in [(None, 10), (Some(10), 10), (Some(15), 15), (Some(20), 20)] {
            assert_eq!(begun(stored).unwrap(), Started { next, gap: None }, "{stored:?}");
        }
    }

    #[test]
    fn expired_records_are_a_gap() {
        assert_eq!(begun(Some(4)).unwrap(), Started { next: 10, gap: Some(Gap { from: 4, to: 10 }) });
    }

    #[test]
    fn a_store_that_is_ahead_of_the_partition_stops_it() {
        let error = begun(Some(21)).unwrap_err();
        assert_eq!(error.class(), crate::Class::Systemic);
        assert!(error.to_string().contains("t/3") && error.to_string().contains("21"), "{error}");
    }
}
