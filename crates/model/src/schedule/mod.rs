//! What is checked next: the slots of all targets, and the places in which checks run. A plain state machine; the time is an
//! argument.
//!
//! Places are bounded over all and per host. A host whose last check timed out is suspect, and all suspect hosts together
//! hold at most half of the places, so that a class of dead sites never makes healthy ones late.

mod places;

use crate::{Location, Target, TargetId, UnixMs, slot::Slots};
use places::{HostId, Place, Places};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// The first checks after a start are spread over at most this, when they are more than there are places.
const START_SPREAD: Duration = Duration::from_secs(30);

/// A stretch in which nobody asked what is next: the process was stopped or suspended, or the clock jumped. Whoever runs the
/// schedule asks at least every second.
const GAP: Duration = Duration::from_secs(5);

/// How many checks may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub concurrency: usize,
    /// To one host and port.
    pub per_host: usize,
}

/// One slot of a target.
#[derive(Clone, Debug)]
pub struct Slot {
    pub target: Arc<Target>,
    pub due_at: UnixMs,
}

/// A slot that holds a place.
#[derive(Debug)]
pub struct Job {
    pub slot: Slot,
    entry: usize,
    place: Place,
}

/// What to do now.
#[derive(Debug)]
pub enum Next {
    /// Check this now, and say [`Schedule::done`] when it is.
    Start(Job),
    /// This slot passed without a place for it: report it as `late`.
    Late(Slot),
    /// Nothing before this moment, unless a check ends. `None`: no target is waiting for a slot.
    Wait(Option<UnixMs>),
}

/// An entry, and which target it stood for: after a reload it may be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    entry: usize,
    generation: u32,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    /// `None`: free, or gone while its check still runs.
    target: Option<Arc<Target>>,
    slots: Slots,
    host: HostId,
    running: bool,
    /// The slot that waits for a place.
    ready: Option<UnixMs>,
    /// The last slot that was started: it has its result.
    last: Option<UnixMs>,
    /// Slots up to this moment passed before anybody watched.
    since: UnixMs,
}

/// When an entry is to be looked at, and for which slot.
type Alarm = Reverse<(UnixMs, UnixMs, Key)>;

#[derive(Debug)]
pub struct Schedule {
    location: Location,
    entries: Vec<Entry>,
    free: Vec<usize>,
    by_id: HashMap<TargetId, usize>,
    alarms: BinaryHeap<Alarm>,
    late: VecDeque<Slot>,
    places: Places,
    asked_at: Option<UnixMs>,
}

impl Schedule {
    pub fn new(location: Location, limits: Limits) -> Self {
        Self {
            location,
            entries: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            alarms: BinaryHeap::new(),
            late: VecDeque::new(),
            places: Places::new(limits),
            asked_at: None,
        }
    }

    pub fn in_flight(&self) -> usize {
        self.places.in_flight()
    }

    /// Takes over the targets of a configuration, at the start and at a reload. Those that are as they were keep their
    /// schedule; what is new or changed is due at its current slot if that has no result yet, else at its next.
    ///
    /// Another location has other slots, of which none has a result.
    pub fn set(&mut self, location: &Location, limits: Limits, targets: &[Arc<Target>], now: UnixMs) {
        self.places.set_limits(limits);
        if *location != self.location {
            self.location = location.clone();
            self.forget();
        }
        let wanted: Vec<_> = targets.iter().filter(|t| t.is_watched_from(location)).collect();
        if !self.by_id.is_empty() {
            let ids: HashSet<&TargetId> = wanted.iter().map(|t| &t.id).collect();
            let gone: Vec<TargetId> = self.by_id.keys().filter(|id| !ids.contains(id)).cloned().collect();
            for id in gone {
                self.remove(&id);
            }
        }
        let fresh: Vec<_> = wanted.into_iter().filter(|t| !self.is_unchanged(t)).collect();
        let count = fresh.len();
        self.entries.reserve(count);
        self.by_id.reserve(count);
        self.alarms.reserve(count);
        for (i, target) in fresh.into_iter().enumerate() {
            let share = if count > limits.concurrency { i as f64 / count as f64 } else { 0.0 };
            self.insert(target, now, share);
        }
    }

    /// All targets go; what runs of them ends as it likes.
    fn forget(&mut self) {
        let all: Vec<TargetId> = self.by_id.keys().cloned().collect();
        for id in all {
            self.remove(&id);
        }
        self.entries.iter_mut().for_each(|e| e.last = None);
    }

    fn is_unchanged(&self, target: &Target) -> bool {
        let entry = self.by_id.get(&target.id).and_then(|&i| self.entries[i].target.as_deref());
        entry.is_some_and(|t| t == target)
    }

    /// `share`: where in the spread of a start this target is.
    fn insert(&mut self, target: &Arc<Target>, now: UnixMs, share: f64) {
        let slots = Slots::new(target.id.as_str(), self.location.as_str(), target.interval_ms);
        let host = self.places.host(&host_of(target));
        let entry = self.by_id.get(&target.id).copied().or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 0,
                target: None,
                slots,
                host,
                running: false,
                ready: None,
                last: None,
                since: now,
            });
            self.entries.len() - 1
        });
        let e = &mut self.entries[entry];
        let generation = e.generation + 1;
        // What runs goes on and a slot that has its result keeps it, also when the target has changed since.
        *e = Entry {
            generation,
            target: Some(Arc::clone(target)),
            slots,
            host,
            running: e.running,
            ready: None,
            last: e.last,
            since: now,
        };
        let last = e.last;
        let key = Key { entry, generation };
        let current = slots.current(now);
        let (at, due_at) = if last.is_some_and(|l| l >= current) {
            (slots.after(now), slots.after(now))
        } else {
            let room = slots.after(now).since(now).min(START_SPREAD);
            (now + room.mul_f64(share), current)
        };
        self.by_id.insert(target.id.clone(), entry);
        self.alarms.push(Reverse((at, due_at, key)));
    }

    fn remove(&mut self, id: &TargetId) {
        let Some(&entry) = self.by_id.get(id) else { return };
        let e = &mut self.entries[entry];
        *e = Entry { generation: e.generation + 1, target: None, ready: None, ..*e };
        self.free_if_over(entry, id);
    }

    /// An entry is free when its target is gone and nothing of it runs: a target that comes back meanwhile is not checked
    /// twice at once.
    fn free_if_over(&mut self, entry: usize, id: &TargetId) {
        let e = &mut self.entries[entry];
        if e.target.is_none() && !e.running {
            e.last = None;
            self.by_id.remove(id);
            self.free.push(entry);
        }
    }

    /// What to do at this moment. `now` never goes back.
    pub fn next(&mut self, now: UnixMs) -> Next {
        if self.asked_at.is_some_and(|before| now.since(before) > GAP) {
            self.skip_missed(now);
        }
        self.asked_at = Some(now);
        self.wake(now);
        if let Some(job) = self.late.pop_front() {
            return Next::Late(job);
        }
        while let Some((key, place)) = self.places.take() {
            match self.start(key) {
                Some(slot) => return Next::Start(Job { slot, entry: key.entry, place }),
                None => self.places.give_back(place),
            }
        }
        Next::Wait(self.alarms.peek().map(|Reverse((at, ..))| *at))
    }

    /// A check has ended. `timed_out`: its host is suspect until it answers.
    pub fn done(&mut self, job: &Job, timed_out: bool) {
        self.places.leave(job.place, timed_out);
        let e = &mut self.entries[job.entry];
        e.running = false;
        if e.target.is_some() && e.ready.is_some() {
            self.places.queue(e.host, Key { entry: job.entry, generation: e.generation });
        }
        self.free_if_over(job.entry, &job.slot.target.id);
    }

    /// Slots that passed in a gap are missing: nobody looked, and nobody could have.
    fn skip_missed(&mut self, now: UnixMs) {
        let mut kept = Vec::new();
        while let Some(&Reverse((at, due_at, key))) = self.alarms.peek() {
            if at > now {
                break;
            }
            self.alarms.pop();
            if let Some(e) = self.live(key) {
                let next = e.slots.after(now.max(due_at));
                kept.push(Reverse((next, next, key)));
            }
        }
        self.alarms.extend(kept);
    }

    /// Moves what has come due to the places' queues.
    fn wake(&mut self, now: UnixMs) {
        while let Some(&Reverse((at, due_at, key))) = self.alarms.peek() {
            if at > now {
                break;
            }
            self.alarms.pop();
            let Some(e) = self.live(key) else { continue };
            let next = e.slots.after(due_at);
            let passed = e.ready.replace(due_at);
            let (running, host, since) = (e.running, e.host, e.since);
            let target = e.target.clone();
            self.alarms.push(Reverse((next, next, key)));
            match (passed, target) {
                (Some(passed), Some(target)) if passed > since => self.late.push_back(Slot { target, due_at: passed }),
                (None, _) if !running => self.places.queue(host, key),
                _ => {} // it waits for a place, or for its own check to end
            }
        }
    }

    fn start(&mut self, key: Key) -> Option<Slot> {
        let e = self.live(key)?;
        if e.running {
            return None;
        }
        let due_at = e.ready.take()?;
        (e.running, e.last) = (true, Some(due_at));
        Some(Slot { target: Arc::clone(e.target.as_ref()?), due_at })
    }

    fn live(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries.get_mut(key.entry).filter(|e| e.generation == key.generation && e.target.is_some())
    }
}

fn host_of(target: &Target) -> String {
    format!("{}:{}", target.url.host_str().unwrap_or_default(), target.url.port_or_known_default().unwrap_or(0))
}

#[cfg(test)]
mod tests;
