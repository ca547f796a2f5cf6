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
use crate::{
    Class,
    log::{Gap, Read, Started},
};
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
    sync::{Semaphore, mpsc as channel, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Batches that wait to be taken: one, so that the next is decoded while the last is stored.
const WAITING: usize = 1;
/// Before Kafka is asked again whether the topic is still the same.
const AGAIN: Duration = Duration::from_secs(1);
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
    /// A batch of which nobody has seen yet that it is of the topic that we mean.
    unconfirmed: Option<Batch>,
    /// Counts readings; see [`Ours`].
    turns: u64,
    stop: CancellationToken,
    watching: JoinHandle<()>,
    /// Tells when the member has left the group; an error: it crashed.
    left: oneshot::Receiver<()>,
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
            partitions: topic.partitions,
            most,
            watched: Arc::clone(&watched),
            reach: reach.clone(),
            orders: ordered,
            wake: orders.clone(),
            events: told,
            room: Arc::clone(&room),
        })?;
        let (leaving, left) = oneshot::channel();
        let run = move || {
            member.run();
            let _ = leaving.send(()); // nobody may wait any more
        };
        let member = thread::Builder::new().name("kafka-member".to_owned()).spawn(run);
        member.map_err(|e| Error::transient("start a thread for Kafka", e.to_string()))?;
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
            unconfirmed: None,
            turns: 0,
            stop,
            watching: tokio::spawn(watching),
            left,
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
            if let Some(source) = self.unconfirmed.as_ref().map(|batch| batch.source.clone()) {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(None),
                    confirmed = self.confirm(&source) => if !confirmed? { continue },
                }
                return Ok(self.unconfirmed.take().map(|batch| self.hand_out(batch)));
            }
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
                self.unconfirmed =
                    self.ours.get(&batch.source.partition).filter(|ours| ours.turn == turn).map(|_| batch);
                None
            }
            Event::Lost(partition) => {
                self.watched.forget(partition);
                self.unconfirmed.take_if(|batch| batch.source.partition == partition);
                self.ours.remove(&partition).map(|ours| Read::Closed(ours.source))
            }
            Event::Failed(error) => return Err(error),
        })
    }

    /// Whether the topic is still the one that a batch was asked of. A fetch names it by its name alone, so the records may be those
    /// of another topic of that name; the answer to a question that is asked after they came tells, since ids never come again.
    async fn confirm(&mut self, source: &Source) -> Result<bool, Error> {
        let (cluster, watched) = (Arc::clone(&self.cluster), Arc::clone(&self.watched));
        match blocking("describe the topic", move || watched.look(&cluster)).await {
            Ok(id) if id == source.log => Ok(true),
            Ok(_) => {
                self.unconfirmed = None;
                self.order(Order::Wake); // it ends what is read of the old topic
                Ok(false)
            }
            Err(error) if error.class() == Class::Transient => {
                self.reach.is_missed(&error);
                tokio::time::sleep(AGAIN).await;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn hand_out(&mut self, batch: Batch) -> Read {
        if let Some(ours) = self.ours(&batch.source) {
            ours.next = batch.next;
        }
        Read::Batch(batch)
    }

    /// Reads a partition from where the store stands; without a stored offset from its first record. `None`: it is no longer
    /// ours, and [`Read::Closed`] tells.
    pub async fn start(&mut self, source: &Source, stored: Option<i64>) -> Result<Option<Started>, Error> {
        let (cluster, watched, partition) = (Arc::clone(&self.cluster), Arc::clone(&self.watched), source.partition);
        let looked = blocking("look at a partition", move || Ok((watched.look(&cluster)?, cluster.bounds(partition)?)));
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
        self.void(source);
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

    /// Whether the thread that reads is gone, so that nothing will come any more.
    pub fn has_ended(&self) -> bool {
        self.events.is_closed() && self.events.is_empty()
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
        // Nobody joins the thread: closing a consumer of librdkafka may never end when the brokers have just gone.
        match tokio::time::timeout(LEAVING, &mut self.left).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the thread that reads Kafka crashed; this is a mistake in lapwing"),
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
        self.void(source);
        let Some(ours) = self.ours(source) else { return false };
        (ours.turn, ours.next) = (turn, next);
        self.order(Order::Start { source: source.clone(), turn, next });
        true
    }

    /// What was read of it and not handed out is void.
    fn void(&mut self, source: &Source) {
        self.unconfirmed.take_if(|batch| batch.source == *source);
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
        assert_eq!(error.class(), Class::Systemic);
        assert!(error.to_string().contains("t/3") && error.to_string().contains("21"), "{error}");
    }
}
