//! What was handed to Kafka and is not acknowledged, in the order of the queue. Never more than a fixed number of records and
//! bytes.

use std::collections::VecDeque;

/// Records in flight at most, and about so many bytes of them.
const MOST_RECORDS: usize = 20_000;
const MOST_BYTES: usize = 16 << 20;

#[derive(Debug, Default)]
pub(super) struct Window {
    flying: VecDeque<Flying>,
    bytes: usize,
    /// Where the records come from that are handed over next.
    next: i64,
}

#[derive(Debug)]
struct Flying {
    n: i64,
    bytes: usize,
    is_acknowledged: bool,
}

impl Window {
    pub fn new(next: i64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Whether one more may be handed over. What one partition holds up counts whole, with what has passed it.
    pub fn has_room(&self) -> bool {
        self.flying.len() < MOST_RECORDS && self.bytes < MOST_BYTES
    }

    /// A record is handed over. Numbers go up, not always by one: some may have been dropped.
    pub fn sent(&mut self, n: i64, bytes: usize) {
        debug_assert!(n >= self.next, "{n} after {}", self.next);
        self.flying.push_back(Flying { n, bytes, is_acknowledged: false });
        self.bytes += bytes;
        self.next = n + 1;
    }

    /// It was not handed over after all.
    pub fn not_sent(&mut self) {
        if let Some(last) = self.flying.pop_back() {
            self.bytes -= last.bytes;
            self.next = last.n;
        }
    }

    /// Kafka has a record. True: there is a new lowest.
    pub fn acknowledged(&mut self, n: i64) -> bool {
        if let Ok(at) = self.flying.binary_search_by_key(&n, |flying| flying.n) {
            self.flying[at].is_acknowledged = true;
        }
        let before = self.flying.len();
        while let Some(front) = self.flying.pop_front_if(|front| front.is_acknowledged) {
            self.bytes -= front.bytes;
        }
        self.flying.len() < before
    }

    /// Everything below it is acknowledged.
    pub fn lowest(&self) -> i64 {
        self.flying.front().map_or(self.next, |front| front.n)
    }

    pub fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    pub fn len(&self) -> usize {
        self.flying.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(numbers: &[i64]) -> Window {
        let mut window = Window::new(0);
        numbers.iter().for_each(|n| window.sent(*n, 10));
        window
    }

    #[test]
    fn only_what_has_nothing_in_flight_below_it_may_leave_the_queue() {
        let mut window = window(&[0, 1, 2, 3]);
        assert_eq!((window.acknowledged(2), window.lowest()), (false, 0));
        assert_eq!((window.acknowledged(0), window.lowest()), (true, 1));
        assert_eq!((window.acknowledged(1), window.lowest()), (true, 3));
        assert_eq!((window.acknowledged(3), window.lowest(), window.is_empty()), (true, 4, true));
    }

    #[test]
    fn what_was_dropped_leaves_no_hole() {
        let mut window = window(&[5, 9]);
        assert_eq!(window.lowest(), 5);
        assert_eq!((window.acknowledged(5), window.lowest()), (true, 9));
        assert_eq!((window.acknowledged(9), window.lowest()), (true, 10));
    }

    #[test]
    fn a_report_of_something_else_changes_nothing() {
        let mut window = window(&[5, 9]);
        assert!(!window.acknowledged(7) && !window.acknowledged(10));
        assert_eq!((window.lowest(), window.len(), window.bytes()), (5, 2, 20));
    }

    #[test]
    fn what_librdkafka_has_no_room_for_is_not_in_flight() {
        let mut window = window(&[5, 9]);
        window.not_sent();
        assert_eq!((window.len(), window.bytes()), (1, 10));
        window.sent(9, 10);
        assert!(window.acknowledged(5) && window.acknowledged(9));
        assert_eq!(window.lowest(), 10);
    }

    #[test]
    fn records_and_bytes_are_bounded() {
        let mut window = Window::new(0);
        let mut n = 0;
        while window.has_room() {
            window.sent(n, 0);
            n += 1;
        }
        assert_eq!(n, MOST_RECORDS as i64);
        let mut window = Window::new(0);
        let mut n = 0;
        while window.has_room() {
            window.sent(n, 64 << 10);
            n += 1;
        }
        assert_eq!(n, (MOST_BYTES / (64 << 10)) as i64);
    }
}
