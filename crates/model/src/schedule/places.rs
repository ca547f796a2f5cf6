//! The places in which checks run, and who waits for one: by turns over hosts, so that no host's crowd is in another's way.

use super::{Key, Limits};
use std::collections::{HashMap, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostId(usize);

/// A place that a check holds.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    host: HostId,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Healthy,
    /// The host's last check timed out.
    Suspect,
}

#[derive(Debug)]
struct Host {
    kind: Kind,
    waiting: VecDeque<Key>,
    in_flight: usize,
    /// Stands in a line.
    in_line: bool,
}

/// Hosts with somebody waiting and a place of their own free, and how many places their kind holds.
#[derive(Debug, Default)]
struct Line {
    hosts: VecDeque<HostId>,
    in_flight: usize,
}

#[derive(Debug)]
pub struct Places {
    limits: Limits,
    hosts: Vec<Host>,
    by_name: HashMap<String, HostId>,
    healthy: Line,
    suspect: Line,
    /// Whose turn it is: the kinds take turns, so that neither starves.
    turn: Kind,
}

impl Places {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            hosts: Vec::new(),
            by_name: HashMap::new(),
            healthy: Line::default(),
            suspect: Line::default(),
            turn: Kind::Healthy,
        }
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        for i in 0..self.hosts.len() {
            self.line_up(HostId(i));
        }
    }

    pub fn in_flight(&self) -> usize {
        self.healthy.in_flight + self.suspect.in_flight
    }

    pub fn host(&mut self, name: &str) -> HostId {
        if let Some(&id) = self.by_name.get(name) {
            return id;
        }
        let id = HostId(self.hosts.len());
        self.hosts.push(Host { kind: Kind::Healthy, waiting: VecDeque::new(), in_flight: 0, in_line: false });
        self.by_name.insert(name.to_owned(), id);
        id
    }

    /// Somebody waits for a place of this host.
    pub fn queue(&mut self, host: HostId, key: Key) {
        self.hosts[host.0].waiting.push_back(key);
        self.line_up(host);
    }

    /// Gives the next place away, if one is free and somebody waits for it.
    pub fn take(&mut self) -> Option<(Key, Place)> {
        if self.in_flight() >= self.limits.concurrency {
            return None;
        }
        let turn = self.turn;
        self.take_of(turn).or_else(|| self.take_of(turn.other()))
    }

    fn take_of(&mut self, kind: Kind) -> Option<(Key, Place)> {
        loop {
            if kind == Kind::Suspect && self.suspect.in_flight >= (self.limits.concurrency / 2).max(1) {
                return None;
            }
            let host = self.line(kind).hosts.pop_front()?;
            let h = &mut self.hosts[host.0];
            h.in_line = false;
            if h.kind != kind || h.in_flight >= self.limits.per_host {
                self.line_up(host); // it changed while it stood in line
                continue;
            }
            let Some(key) = h.waiting.pop_front() else { continue };
            h.in_flight += 1;
            self.line(kind).in_flight += 1;
            self.line_up(host);
            self.turn = kind.other();
            return Some((key, Place { host, kind }));
        }
    }

    /// The check that held the place has ended.
    pub fn leave(&mut self, place: Place, timed_out: bool) {
        self.hosts[place.host.0].kind = if timed_out { Kind::Suspect } else { Kind::Healthy };
        self.give_back(place);
    }

    /// The place was not used.
    pub fn give_back(&mut self, place: Place) {
        self.hosts[place.host.0].in_flight -= 1;
        self.line(place.kind).in_flight -= 1;
        self.line_up(place.host);
    }

    fn line_up(&mut self, host: HostId) {
        let h = &mut self.hosts[host.0];
        if !h.in_line && !h.waiting.is_empty() && h.in_flight < self.limits.per_host {
            h.in_line = true;
            let kind = h.kind;
            self.line(kind).hosts.push_back(host);
        }
    }

    fn line(&mut self, kind: Kind) -> &mut Line {
        match kind {
            Kind::Healthy => &mut self.healthy,
            Kind::Suspect => &mut self.suspect,
        }
    }
}

impl Kind {
    fn other(self) -> Self {
        match self {
            Self::Healthy => Self::Suspect,
            Self::Suspect => Self::Healthy,
        }
    }
}
