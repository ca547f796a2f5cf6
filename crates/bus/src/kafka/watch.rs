//! Looks at the topic every other second, whether anything is read of it or not: is Kafka reached, is the topic still the same
//! one, and how far behind its ends is the store.

use super::{
    cluster::{Cluster, blocking},
    error::Error,
    native::Described,
    reach::Reach,
};
use model::batch::Source;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const LOOK: Duration = Duration::from_secs(2);

/// The topic and our partitions of it, as last seen.
#[derive(Debug)]
pub(super) struct Watched {
    name: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    id: Arc<str>,
    parts: BTreeMap<i32, Standing>,
}

/// How a partition of ours stands.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// What the store wants next.
    next: i64,
    /// The record to come, in Kafka.
    end: i64,
}

impl Watched {
    pub fn new(name: &str, topic: &Described) -> Self {
        let state = State { id: identity(name, topic), parts: BTreeMap::new() };
        Self { name: name.into(), state: Mutex::new(state) }
    }

    pub fn id(&self) -> Arc<str> {
        Arc::clone(&self.state().id)
    }

    /// A partition of the topic that is there now.
    pub fn source(&self, partition: i32) -> Source {
        Source { log: self.id(), name: Arc::clone(&self.name), partition }
    }

    /// Asks the brokers which topic it is now, and returns its identity. Blocks.
    pub fn look(&self, cluster: &Cluster) -> Result<Arc<str>, Error> {
        let topic = cluster.describe()?;
        let topic = topic.ok_or_else(|| Error::transient(format!("read topic {}", self.name), "it is not there"))?;
        if self.see(&topic) {
            tracing::error!(
                topic = &*self.name,
                id = topic.id,
                "the topic was made anew: its partitions stop (lapwing db offsets --set is the way out)"
            );
        }
        Ok(self.id())
    }

    /// This is the topic now. True: it is another one than before.
    fn see(&self, topic: &Described) -> bool {
        let id = identity(&self.name, topic);
        let mut state = self.state();
        let is_new = state.id != id;
        state.id = id;
        is_new
    }

    /// The store wants this next; the topic ends at least there.
    pub fn stands(&self, partition: i32, next: i64) {
        let mut state = self.state();
        let standing = state.parts.entry(partition).or_insert(Standing { next, end: next });
        *standing = Standing { next, end: standing.end.max(next) };
    }

    pub fn ends(&self, partition: i32, end: i64) {
        if let Some(standing) = self.state().parts.get_mut(&partition) {
            standing.end = end;
        }
    }

    pub fn forget(&self, partition: i32) {
        self.state().parts.remove(&partition);
    }

    fn parts(&self) -> Vec<i32> {
        self.state().parts.keys().copied().collect()
    }

    /// Records that wait, of each partition that is ours and has been started.
    pub fn lag(&self) -> Vec<(i32, u64)> {
        let lag = |(partition, s): (&i32, &Standing)| (*partition, u64::try_from(s.end - s.next).unwrap_or(0));
        self.state().parts.iter().map(lag).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under what the store keeps offsets: the topic's id; its name where the brokers are too old to have ids.
fn identity(name: &str, topic: &Described) -> Arc<str> {
    const NONE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    if topic.id.is_empty() || topic.id == NONE { name.into() } else { topic.id.as_str().into() }
}

/// Looks until it is told to stop.
pub(super) async fn watch(cluster: Arc<Cluster>, watched: Arc<Watched>, reach: Reach, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        let (asked, seen) = (Arc::clone(&cluster), Arc::clone(&watched));
        match blocking("look at the topic", move || look(&asked, &seen)).await {
            Ok(()) => reach.is_fine(),
            Err(error) => reach.is_missed(&error),
        }
    }
}

fn look(cluster: &Cluster, watched: &Watched) -> Result<(), Error> {
    watched.look(cluster)?;
    for partition in watched.parts() {
        watched.ends(partition, cluster.bounds(partition)?.1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(id: &str) -> Described {
        Described { id: id.to_owned(), partitions: 1 }
    }

    #[test]
    fn a_topic_made_anew_is_another_source() {
        let watched = Watched::new("t", &described("one"));
        let before = watched.source(0);
        assert!(!watched.see(&described("one")) && watched.see(&described("two")));
        let after = watched.source(0);
        assert_eq!((&*before.log, &*after.log, &*after.name), ("one", "two", "t"));
    }

    #[test]
    fn where_brokers_have_no_ids_the_name_is_the_identity() {
        assert_eq!(&*Watched::new("t", &described("AAAAAAAAAAAAAAAAAAAAAA")).id(), "t");
    }

    #[test]
    fn lag_is_what_the_store_has_not_got_yet() {
        let watched = Watched::new("t", &described("one"));
        watched.stands(1, 5);
        assert_eq!(watched.lag(), [(1, 0)]);
        watched.ends(1, 9);
        assert_eq!(watched.lag(), [(1, 4)]);
        watched.stands(1, 12); // stored before the topic was looked at again
        assert_eq!(watched.lag(), [(1, 0)]);
        watched.forget(1);
        watched.ends(1, 20);
        assert_eq!(watched.lag(), []);
    }
}
