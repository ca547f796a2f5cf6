//! The stage that stores what a log delivers, be it the queue or Kafka.

use crate::{
    admin::Admin, exit::Exit, letters::Letters, metrics::Metrics, ready::Ready, reload::InForce, stages::Ends,
};
use bus::{
    Class, Log,
    log::{LogError, Read, Started},
};
use model::{
    UnixMs,
    batch::{Batch, Content, Source},
    flood::{Count, Flood},
    trouble::{Lasting, Say},
};
use std::{
    collections::HashMap,
    fmt::Display,
    future::pending,
    sync::Arc,
    time::{Duration, SystemTime},
};
use store::{Gap, Keep, Position, Store, StoreError, Written};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Before the same is tried again: when the trouble may pass by itself, and when a person must act.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_SYSTEMIC: Duration = Duration::from_secs(30);
/// Records with which a flooded source is tried.
const TRIAL: usize = 100;
/// How often the store is looked at when there is nothing to store.
const LOOK: Duration = Duration::from_secs(1);
/// For what comes, when there are more letters to be tried again.
const BETWEEN_LETTERS: Duration = Duration::from_millis(20);
/// How long it may take for something before that is a trouble: `/readyz` has 5 s to tell.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct Writer {
    log: Log,
    store: Store,
    ready: Ready,
    metrics: Arc<Metrics>,
    /// Its `retention.checks` says which results are too old to be stored.
    in_force: InForce,
    /// What the store, and the log as a whole, are troubled with.
    storing: Lasting,
    reading: Lasting,
    stopped: HashMap<Source, Stopped>,
    letters: Letters,
    floods: HashMap<Source, Flood>,
    /// Is told of new dead letters.
    buried: Arc<Notify>,
}

/// A source that is not read at the moment.
#[derive(Debug)]
struct Stopped {
    again_at: Instant,
    /// Where the batch began that could not be stored; `None`: reading has not begun.
    from: Option<i64>,
    trouble: Lasting,
}

/// read -> store -> release, until nothing more can come and all is stored, or until it is to give up.
///
/// The batch knows its source and its next offset, and the store commits both with the rows: a crash repeats work, loses none
/// and doubles none. Releasing lets the queue delete and lag tools see; nothing depends on it.
///
/// # Errors
/// When the log can't be read any more in this process.
pub async fn writer(mut writer: Writer, ends: Ends) -> Result<(), Exit> {
    let ended = tokio::select! {
        ended = writer.run(&ends.no_more) => ended,
        () = ends.give_up.cancelled() => {
            tracing::warn!("results wait for the next start");
            Ok(())
        }
    };
    writer.log.close().await;
    writer.store.close().await;
    ended.map_err(Exit::failed)
}

impl Writer {
    pub fn new(log: Log, store: Store, admin: Admin, in_force: InForce, buried: Arc<Notify>) -> Self {
        let Admin { ready, metrics } = admin;
        let (storing, reading, stopped) = (Lasting::default(), Lasting::default(), HashMap::new());
        Self {
            log,
            store,
            ready,
            metrics,
            in_force,
            storing,
            reading,
            stopped,
            letters: Letters::default(),
            floods: HashMap::new(),
            buried,
        }
    }

    async fn run(&mut self, no_more: &CancellationToken) -> Result<(), LogError> {
        loop {
            let mut rest = LOOK;
            if self.letters.are_due() {
                self.retry_letters().await;
                if self.letters.are_due() {
                    rest = BETWEEN_LETTERS;
                }
            }
            let read = tokio::select! {
                read = self.log.read(no_more) => read,
                () = due(&self.stopped) => {
                    self.try_again().await;
                    continue;
                }
                () = sleep(rest) => {
                    self.look().await;
                    continue;
                }
            };
            match read {
                Ok(Some(read)) => self.take(read).await,
                Ok(None) => break,
                Err(e) => self.unreadable(e).await?,
            }
        }
        loop {
            match self.log.read_rest().await {
                Ok(Some(read)) => self.take(read).await,
                Ok(None) => return Ok(()),
                Err(e) => self.unreadable(e).await?,
            }
        }
    }

    async fn take(&mut self, read: Read) {
        if let Some(Say::Over(lasted)) = self.reading.gone(now()) {
            tracing::info!(?lasted, "results can be read again");
        }
        self.ready.has("log");
        match read {
            Read::Opened(source) => self.begin(&source).await,
            Read::Batch(batch) => self.keep_unless_flooded(batch).await,
            Read::Closed(source) => {
                self.stopped.remove(&source);
                self.floods.remove(&source);
                self.ready.has(&part(&source));
            }
        }
    }

    /// Reads a source from where the store stands.
    async fn begin(&mut self, source: &Source) {
        let stored = match self.store.position(source).await {
            Ok(Position::At(next)) => Some(next),
            Ok(Position::New) => None,
            // A queue that was restored is a new one, and what is in it is new.
            Ok(Position::Remade { .. }) if self.log.is_made_anew_by_itself() => None,
            Ok(Position::Remade { log, next }) => {
                let why = format!(
                    "it was created anew: the store has read topic id {log} up to {next}, and the topic there now is {} \
                     (lapwing db offsets --set says where to go on)",
                    source.log
                );
                return self.stop(source, None, Class::Systemic, &why);
            }
            Err(e) => return self.stop(source, None, e.class(), &e),
        };
        match self.log.start(source, stored).await {
            Ok(None) => {}
            Ok(Some(Started { gap: None, .. })) => self.goes_on(source),
            Ok(Some(Started { gap: Some(gap), .. })) => {
                let at = UnixMs::from_system(SystemTime::now());
                let gap = Gap { source: source.clone(), from: gap.from, to: gap.to, at };
                match self.store.record_gap(&gap).await {
                    Ok(Written::Committed(_)) => self.goes_on(source),
                    Ok(Written::Behind { next }) => {
                        self.log.seek(source, next);
                        self.goes_on(source);
                    }
                    Err(e) => {
                        self.log.hold(source);
                        self.stop(source, None, e.class(), &e);
                    }
                }
            }
            Err(e) => self.stop(source, None, e.class(), &e),
        }
    }

    /// Writes the batch, unless so much of what comes is dead that the source is stopped instead. One that was stopped is tried with
    /// a few records, and goes on if they are fine.
    async fn keep_unless_flooded(&mut self, batch: Batch) {
        let source = batch.source.clone();
        let flood = self.floods.entry(source.clone()).or_default();
        let was_on = flood.is_on();
        let (batch, has_rest) = if was_on { first_of(batch) } else { (batch, false) };
        let dead = batch.entries.iter().filter(|entry| matches!(entry.content, Content::Dead(_))).count() as u64;
        let count = Count { read: batch.entries.len() as u64, dead };
        let is_flood = if was_on { count.is_bad() } else { flood.would_be(now(), count) };
        if is_flood {
            flood.begins();
            return self.stop_flooded(&source);
        }
        let Some(count) = self.keep(&batch).await else { return };
        let flood = self.floods.entry(source.clone()).or_default();
        if was_on && !count.is_bad() {
            flood.ends();
            self.goes_on(&source);
        } else if flood.note(now(), count) {
            return self.stop_flooded(&source);
        }
        if has_rest {
            self.log.seek(&source, batch.next);
        }
    }

    fn stop_flooded(&mut self, source: &Source) {
        self.log.hold(source);
        let why = "too many of its records become dead letters: it stops, rather than drain into them (lapwing dead list says \
                   what is wrong; it goes on by itself when the next records are results)";
        // From where the store stands then: a person may have said where to go on.
        self.stop(source, None, Class::Systemic, &why);
    }

    /// Writes the batch, however long it takes, unless a person must act: then its source is stopped. What was read and became dead
    /// letters, if it was this that wrote it.
    async fn keep(&mut self, batch: &Batch) -> Option<Count> {
        let source = &batch.source;
        loop {
            match self.write(batch).await {
                Ok(Written::Committed(counts)) => {
                    self.log.release(batch);
                    self.goes_on(source);
                    let dead = counts.dead.by_reason().iter().map(|(_, n)| n).sum();
                    if dead > 0 {
                        self.buried.notify_one();
                    }
                    return Some(Count { read: batch.entries.len() as u64, dead });
                }
                Ok(Written::Behind { next }) => {
                    let (part, from) = (part(source), batch.from);
                    tracing::warn!(part, from, next, "the store stands elsewhere; reading goes on there");
                    self.log.seek(source, next);
                    self.goes_on(source);
                    return None;
                }
                Err(e) if e.class() == Class::Transient => {
                    self.cannot_store(&e);
                    sleep(RETRY).await;
                }
                Err(e) => {
                    self.log.hold(source);
                    self.stop(source, Some(batch.from), e.class(), &e);
                    return None;
                }
            }
        }
    }

    async fn write(&mut self, batch: &Batch) -> Result<Written, StoreError> {
        let (keep, begun) = (self.keeping(), Instant::now());
        let written = patient(&self.ready, self.store.write(batch, &keep)).await?;
        if let Written::Committed(counts) = &written {
            self.metrics.stored(counts, begun.elapsed());
        }
        self.can_store();
        Ok(written)
    }

    /// With nothing to store: would it work?
    async fn look(&mut self) {
        match timeout(PATIENCE, self.store.look()).await {
            Ok(Ok(())) => self.can_store(),
            Ok(Err(e)) => self.cannot_store(&e),
            Err(_) => self.cannot_store(&unanswered()),
        }
    }

    /// Dead letters that are due.
    async fn retry_letters(&mut self) {
        let keep = self.keeping();
        match patient(&self.ready, self.letters.retry_due(&mut self.store, &keep)).await {
            Ok(()) => self.can_store(),
            Err(e) => self.cannot_store(&e),
        }
    }

    /// Which results are kept at this moment.
    fn keeping(&self) -> Keep {
        Keep { now: UnixMs::from_system(SystemTime::now()), checks: self.in_force.borrow().retention.checks }
    }

    fn cannot_store(&mut self, why: &impl Display) {
        self.ready.lacks("store", why.to_string());
        match self.storing.met(now()) {
            Some(Say::Lasts(lasted)) => {
                tracing::error!(error = %why, ?lasted, "results still can't be stored; they wait");
            }
            Some(Say::Begins | Say::Over(_)) => tracing::error!(error = %why, "results can't be stored; they wait"),
            None => {}
        }
    }

    fn can_store(&mut self) {
        if let Some(Say::Over(lasted)) = self.storing.gone(now()) {
            tracing::info!(?lasted, "results can be stored again");
        }
        self.ready.has("store");
    }

    /// A source can't be read, or what is in it not be stored: the others go on.
    fn stop(&mut self, source: &Source, from: Option<i64>, class: Class, why: &impl Display) {
        let wait = match class {
            Class::Transient => RETRY,
            Class::Systemic | Class::Record => RETRY_SYSTEMIC,
        };
        let part = part(source);
        self.ready.lacks(part.clone(), why.to_string());
        let trouble = self.stopped.remove(source).map(|stopped| stopped.trouble);
        let mut trouble = trouble.unwrap_or_default();
        match trouble.met(now()) {
            Some(Say::Lasts(lasted)) => tracing::error!(part, error = %why, ?lasted, "its results still wait"),
            Some(Say::Begins | Say::Over(_)) => tracing::error!(part, error = %why, ?wait, "its results wait"),
            None => {}
        }
        self.stopped.insert(source.clone(), Stopped { again_at: Instant::now() + wait, from, trouble });
    }

    fn goes_on(&mut self, source: &Source) {
        if self.floods.get(source).is_some_and(Flood::is_on) {
            return; // what comes will show
        }
        let Some(mut stopped) = self.stopped.remove(source) else { return };
        let part = part(source);
        self.ready.has(&part);
        if let Some(Say::Over(lasted)) = stopped.trouble.gone(now()) {
            tracing::info!(part, ?lasted, "its results are stored again");
        }
    }

    /// Those whose time has come. Whether they go on now shows when a batch of theirs is stored.
    async fn try_again(&mut self) {
        let now = Instant::now();
        let due: Vec<Source> =
            self.stopped.iter().filter(|(_, s)| s.again_at <= now).map(|(source, _)| source.clone()).collect();
        for source in due {
            let Some(stopped) = self.stopped.get_mut(&source) else { continue };
            stopped.again_at = now + RETRY_SYSTEMIC;
            match stopped.from {
                Some(from) => self.log.seek(&source, from),
                None => self.begin(&source).await,
            }
        }
    }

    /// Nothing can be read at the moment, or never again.
    async fn unreadable(&mut self, error: LogError) -> Result<(), LogError> {
        if self.log.has_ended() {
            return Err(error);
        }
        self.ready.lacks("log", error.to_string());
        match self.reading.met(now()) {
            Some(Say::Lasts(lasted)) => tracing::error!(%error, ?lasted, "results still can't be read; they wait"),
            Some(Say::Begins | Say::Over(_)) => tracing::error!(%error, "results can't be read; they wait"),
            None => {}
        }
        sleep(RETRY).await;
        Ok(())
    }
}

/// The first records of a batch, and whether there are others.
fn first_of(mut batch: Batch) -> (Batch, bool) {
    let Some(behind) = batch.entries.get(TRIAL).map(|entry| entry.offset) else { return (batch, false) };
    batch.entries.truncate(TRIAL);
    batch.next = behind;
    (batch, true)
}

/// What a source is called in logs and on `/readyz`.
fn part(source: &Source) -> String {
    format!("partition {}/{}", source.name, source.partition)
}

/// Waits until the first of them is to be tried again.
async fn due(stopped: &HashMap<Source, Stopped>) {
    match stopped.values().map(|stopped| stopped.again_at).min() {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Says on `/readyz` when something takes the store too long, and goes on waiting for it.
async fn patient<T>(ready: &Ready, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = sleep(PATIENCE) => {}
    }
    ready.lacks("store", unanswered());
    work.await
}

fn unanswered() -> String {
    format!("the store has not answered for {} s", PATIENCE.as_secs())
}

fn now() -> std::time::Instant {
    std::time::Instant::now()
}
