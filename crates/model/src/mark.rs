//! What of a record comes again with the next one of its target, as short marks: a store that has seen a mark before need not look at
//! the texts behind it, which lie scattered in memory and cost more than all else that is done with a record.

use crate::record::{Record, RecordTls};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    ops::Deref,
    sync::LazyLock,
};

/// 128 bits of a hash with a key that this process alone has: equal for equal values, and nobody outside can make two values
/// with the same one. It means nothing to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(u128);

impl Mark {
    pub fn of(value: impl Hash) -> Self {
        static KEYED: LazyLock<SipHasher13> = LazyLock::new(|| {
            let random = || RandomState::new().build_hasher().finish();
            SipHasher13::new_with_keys(random(), random())
        });
        let mut hasher = *KEYED;
        value.hash(&mut hasher);
        Self(hasher.finish128().into())
    }

    /// Of what the latest result says that its target is called.
    pub fn of_names(name: Option<&str>, group: Option<&str>, url: Option<&str>) -> Self {
        Self::of((name, group, url))
    }
}

/// What is remembered of marks. They are hashes already, and nobody outside can choose them: they are not hashed again.
pub type ByMark<T> = HashMap<Mark, T, BuildHasherDefault<AsItIs>>;

/// Takes half of a mark for its hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write_u128(&mut self, mark: u128) {
        self.0 = mark as u64; // the lower half
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |all, byte| all.rotate_left(8) ^ u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The marks of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    pub target: Mark,
    pub location: Mark,
    pub names: Mark,
    /// Of what rarely changes from check to check, the number of retransmits included.
    pub facts: Mark,
}

impl Marks {
    fn of(r: &Record) -> Self {
        let tls = |RecordTls { version, issuer, subject, not_before, not_after }: &RecordTls| {
            Mark::of((version, issuer, subject, not_before, not_after))
        };
        let words = (r.verdict, &r.reason, &r.phase, &r.http, &r.peer, &r.final_url);
        let numbers = (r.interval_ms, r.attempts, r.status, r.redirects, r.retransmits);
        // Of no TLS and of TLS of which nothing is known a store keeps the same: nothing.
        let seen = r.tls.as_ref().filter(|tls| **tls != RecordTls::default());
        Self {
            target: Mark::of(&r.target),
            location: Mark::of(&r.location),
            names: Mark::of_names(r.name.as_deref(), r.group.as_deref(), r.url.as_deref()),
            facts: Mark::of((words, numbers, seen.map(tls))),
        }
    }
}

/// A record with its marks. It can't be changed, so they stay true.
#[derive(Clone, Debug, PartialEq)]
pub struct Marked {
    marks: Marks,
    record: Record,
}

impl Marked {
    pub fn marks(&self) -> &Marks {
        &self.marks
    }
}

impl From<Record> for Marked {
    fn from(record: Record) -> Self {
        Self { marks: Marks::of(&record), record }
    }
}

impl Deref for Marked {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Location, TargetId, UnixMs, Verdict};

    fn record() -> Record {
        let text = |text: &str| Some(text.to_owned());
        Record {
            target: TargetId::new("shop").expect("an id"),
            name: text("Shop"),
            group: text("g"),
            url: text("https://shop.example/"),
            location: Location::new("home").expect("an id"),
            due_at: UnixMs(0),
            started_at: Some(UnixMs(1)),
            interval_ms: Some(1000),
            verdict: Verdict::Down,
            reason: text("status"),
            phase: text("wait"),
            message: text("status 503"),
            attempts: Some(1),
            status: Some(503),
            http: text("1.1"),
            peer: text("10.0.0.1:443"),
            final_url: text("https://shop.example/home"),
            redirects: Some(1),
            dns_us: Some(1),
            connect_us: Some(2),
            tls_us: Some(3),
            wait_us: Some(4),
            transfer_us: Some(5),
            total_us: Some(15),
            body_bytes: Some(6),
            tls: Some(RecordTls { version: text("1.3"), ..RecordTls::default() }),
            rtt_us: Some(7),
            retransmits: Some(0),
            lag_us: Some(8),
        }
    }

    /// The marks of the record, changed in one place.
    fn marks(change: fn(&mut Record)) -> Marks {
        let mut changed = record();
        change(&mut changed);
        *Marked::from(changed).marks()
    }

    #[test]
    fn what_differs_from_check_to_check_is_in_no_mark() {
        let usual = marks(|_| {});
        let another = marks(|r| {
            (r.due_at, r.started_at, r.lag_us, r.rtt_us, r.message) = (UnixMs(9), None, None, None, None);
            (r.dns_us, r.connect_us, r.tls_us, r.wait_us) = (None, None, None, None);
            (r.transfer_us, r.total_us, r.body_bytes) = (None, None, None);
        });
        assert_eq!(usual, another);
    }

    #[test]
    fn each_other_field_changes_the_mark_that_it_is_part_of() {
        let usual = marks(|_| {});
        let target = marks(|r| r.target = TargetId::new("other").expect("an id"));
        assert_eq!(Marks { target: usual.target, ..target }, usual);
        assert_ne!(target.target, usual.target);
        let location = marks(|r| r.location = Location::new("other").expect("an id"));
        assert_eq!(Marks { location: usual.location, ..location }, usual);
        assert_ne!(location.location, usual.location);
        let names: [fn(&mut Record); 4] =
            [|r| r.name = None, |r| r.group = None, |r| r.url = None, |r| r.name = Some("Shop ".to_owned())];
        for change in names {
            let changed = marks(change);
            assert_eq!(Marks { names: usual.names, ..changed }, usual);
            assert_ne!(changed.names, usual.names);
        }
        let facts: [fn(&mut Record); 13] = [
            |r| r.verdict = Verdict::Up,
            |r| r.reason = None,
            |r| r.phase = None,
            |r| r.http = None,
            |r| r.peer = None,
            |r| r.final_url = None,
            |r| r.interval_ms = None,
            |r| r.attempts = None,
            |r| r.status = None,
            |r| r.redirects = None,
            |r| r.retransmits = None,
            |r| r.tls = None,
            |r| r.tls.as_mut().expect("there").not_after = Some(UnixMs(0)),
        ];
        for (n, change) in facts.into_iter().enumerate() {
            let changed = marks(change);
            assert_eq!(Marks { facts: usual.facts, ..changed }, usual);
            assert_ne!(changed.facts, usual.facts, "change {n}");
        }
    }

    #[test]
    fn tls_of_which_nothing_is_known_is_as_none() {
        assert_eq!(marks(|r| r.tls = None), marks(|r| r.tls = Some(RecordTls::default())));
    }

    #[test]
    fn texts_that_run_together_are_told_apart() {
        assert_ne!(Mark::of_names(Some("ab"), Some("c"), None), Mark::of_names(Some("a"), Some("bc"), None));
        assert_ne!(Mark::of_names(None, Some("a"), None), Mark::of_names(Some("a"), None, None));
    }
}
