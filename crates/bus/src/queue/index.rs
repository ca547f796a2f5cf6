//! What the queue holds, in memory: one small entry a row, so that nobody asks the file what could be read, what may be
//! deleted, or how much there is. A queue of 1 GiB has some hundred thousand rows.

use model::UnixMs;
use std::{collections::VecDeque, ops::Range};

/// A row of `batches`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Sequence number of its first record.
    pub first: i64,
    pub count: u32,
    /// Bytes in the file.
    pub size: u64,
    /// Bytes unpacked.
    pub raw: u32,
    pub appended_at: UnixMs,
}

impl Row {
    /// Bytes beside the blob: the columns, the row's and the pages' own.
    pub const OVERHEAD: u64 = 40;

    pub fn end(&self) -> i64 {
        self.first + i64::from(self.count)
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    rows: VecDeque<Row>,
    /// Sequence number of the next record.
    next: i64,
    /// Everything below is stored elsewhere.
    released: i64,
    size: u64,
    /// Results that were given up, in all.
    dropped: u64,
    /// Of these, how many the file knows of.
    dropped_saved: u64,
    /// What the reader has in hand: about to be stored, so it does not go, whatever the room.
    lent: Range<i64>,
    /// What is being dropped at this moment, so that nobody takes it in hand any more.
    going: Range<i64>,
}

/// Rows to be deleted: those at the front, and some behind what the reader has in hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Deletion {
    pub rows: usize,
    /// Every row that begins below this.
    pub below: i64,
    /// Then so many stay.
    held: usize,
    more_rows: usize,
    /// Then every row that begins in this.
    pub more: Range<i64>,
    /// How many results in all of them were never released.
    pub dropped: u64,
}

impl Deletion {
    pub fn is_empty(&self) -> bool {
        self.rows + self.more_rows == 0
    }
}

/// As many rows are deleted in one transaction at most, unless they must make room.
const MOST_DELETED: usize = 500;

impl Index {
    pub fn new(rows: VecDeque<Row>, next: i64, dropped: u64) -> Self {
        let next = rows.back().map_or(next, |last| last.end().max(next));
        let size = rows.iter().map(|row| row.size).sum();
        Self { rows, next, size, dropped, dropped_saved: dropped, ..Self::default() }
    }

    pub fn next(&self) -> i64 {
        self.next
    }

    /// Where reading begins when nobody knows better.
    pub fn oldest(&self) -> i64 {
        self.rows.front().map_or(self.next, |row| row.first)
    }

    pub fn append(&mut self, row: Row) {
        self.next = row.end();
        self.size += row.size;
        self.rows.push_back(row);
    }

    /// Whole rows from the one that holds `from`, at least one if there is any, until they hold as much as asked for.
    /// The flag says that they do.
    pub fn read(&self, from: i64, records: usize, raw: usize) -> (Vec<Row>, bool) {
        let start = self.rows.partition_point(|row| row.end() <= from);
        let (mut rows, mut count, mut bytes) = (Vec::new(), 0, 0);
        for row in self.rows.range(start..) {
            count += row.count as usize;
            bytes += row.raw as usize;
            if !rows.is_empty() && (count > records || bytes > raw) {
                return (rows, true);
            }
            rows.push(*row);
        }
        (rows, count >= records || bytes >= raw)
    }

    /// Everything below `next` is stored elsewhere.
    pub fn release(&mut self, next: i64) {
        self.released = self.released.max(next.min(self.next));
    }

    /// What to delete: what is released, and the oldest rows while there is no room for `incoming` bytes within `max`.
    pub fn deletion(&self, incoming: u64, max: u64) -> Deletion {
        let mut deletion = Deletion::default();
        let mut size = self.size + incoming;
        for row in &self.rows {
            let free = row.end() <= self.released && deletion.rows < MOST_DELETED;
            if !free && size <= max {
                break;
            }
            if !free && overlap(row, &self.lent) {
                deletion.held += 1;
                continue;
            }
            size -= row.size;
            if deletion.held == 0 {
                deletion.rows += 1;
                deletion.below = row.end();
            } else {
                let from = if deletion.more_rows == 0 { row.first } else { deletion.more.start };
                deletion.more = from..row.end();
                deletion.more_rows += 1;
            }
            deletion.dropped += u64::try_from(row.end() - row.first.max(self.released)).unwrap_or(0);
        }
        deletion
    }

    /// The deletion begins: what it drops can't be lent until it is done, or given up.
    pub fn begin(&mut self, deletion: &Deletion) {
        self.going = if deletion.dropped > 0 { self.released..deletion.below.max(deletion.more.end) } else { 0..0 };
    }

    pub fn give_up(&mut self) {
        self.going = 0..0;
    }

    /// The deletion was committed.
    pub fn delete(&mut self, deletion: &Deletion) {
        let behind = deletion.rows + deletion.held;
        let more: u64 = self.rows.drain(behind..behind + deletion.more_rows).map(|row| row.size).sum();
        let gone: u64 = self.rows.drain(..deletion.rows).map(|row| row.size).sum();
        self.size -= gone + more;
        self.dropped += deletion.dropped;
        self.going = 0..0;
    }

    /// Takes rows in hand, instead of those before but for what is at or after `held`. False when one of them is just being dropped: look again.
    pub fn lend(&mut self, rows: &[Row], held: i64) -> bool {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return true };
        if rows.iter().any(|row| overlap(row, &self.going)) {
            return false;
        }
        self.lent = first.first.min(held)..last.end();
        true
    }

    /// Counts results that were lost outside the rows: in memory, or in a row that can't be read.
    pub fn lost(&mut self, results: u64) {
        self.dropped += results;
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub fn dropped_is_saved(&self) -> bool {
        self.dropped == self.dropped_saved
    }

    pub fn saved_dropped(&mut self, dropped: u64) {
        self.dropped_saved = dropped;
    }

    /// What is not released: results, bytes, and since when the oldest of them waits.
    pub fn waiting(&self) -> (u64, u64, Option<UnixMs>) {
        let free = self.rows.partition_point(|row| row.end() <= self.released);
        let waiting = self.rows.range(free..);
        let freed: u64 = self.rows.range(..free).map(|row| row.size).sum(); // a few: they are deleted every second
        let first = waiting.clone().next();
        let results: i64 = waiting.map(|row| row.end() - row.first.max(self.released)).sum();
        (u64::try_from(results).unwrap_or(0), self.size - freed, first.map(|row| row.appended_at))
    }
}

fn overlap(row: &Row, range: &Range<i64>) -> bool {
    row.first < range.end && row.end() > range.start
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of 10 records and 100 bytes each, appended at 0, 1, 2…
    fn index(rows: i64) -> Index {
        let mut index = Index::default();
        for n in 0..rows {
            index.append(Row { first: n * 10, count: 10, size: 100, raw: 1000, appended_at: UnixMs(n) });
        }
        index
    }

    fn firsts((rows, full): (Vec<Row>, bool)) -> (Vec<i64>, bool) {
        (rows.iter().map(|row| row.first).collect(), full)
    }

    #[test]
    fn reading_takes_whole_rows_and_at_least_one() {
        let index = index(5);
        assert_eq!(firsts(index.read(0, 20, 1 << 20)), (vec![0, 10], true));
        assert_eq!(firsts(index.read(9, 25, 1 << 20)), (vec![0, 10], true));
        assert_eq!(firsts(index.read(10, 1, 1 << 20)), (vec![10], true));
        assert_eq!(firsts(index.read(30, 1000, 1500)), (vec![30], true));
        assert_eq!(firsts(index.read(30, 1000, 1 << 20)), (vec![30, 40], false));
        assert_eq!(firsts(index.read(50, 1000, 1 << 20)), (vec![], false));
    }

    #[test]
    fn what_is_released_is_deleted_and_not_counted_as_dropped() {
        let mut index = index(5);
        index.release(25);
        let deletion = index.deletion(0, 1000);
        assert_eq!(deletion, Deletion { rows: 2, below: 20, ..Deletion::default() });
        index.delete(&deletion);
        assert_eq!((index.oldest(), index.next(), index.dropped()), (20, 50, 0));
        assert_eq!(index.waiting(), (25, 300, Some(UnixMs(2))));
    }

    #[test]
    fn the_oldest_make_room_and_only_what_was_not_released_counts() {
        let mut index = index(5);
        index.release(15);
        let deletion = index.deletion(100, 300);
        assert_eq!(deletion, Deletion { rows: 3, below: 30, dropped: 15, ..Deletion::default() });
        index.delete(&deletion);
        assert_eq!(index.dropped(), 15);
    }

    #[test]
    fn what_alone_is_too_large_leaves_an_empty_queue() {
        let all = Deletion { rows: 3, below: 30, dropped: 30, ..Deletion::default() };
        assert_eq!(index(3).deletion(1000, 300), all);
    }

    #[test]
    fn what_is_about_to_be_stored_stays_and_the_oldest_behind_it_go() {
        let mut index = index(6);
        index.release(10);
        assert!(index.lend(&index.read(10, 20, 1 << 20).0, 10));
        let deletion = index.deletion(100, 400);
        assert_eq!(deletion, Deletion { rows: 1, below: 10, held: 2, more_rows: 2, more: 30..50, dropped: 20 });
        index.delete(&deletion);
        assert_eq!(firsts(index.read(0, 1000, 1 << 20)).0, [10, 20, 50]);
        assert_eq!(index.waiting(), (30, 300, Some(UnixMs(1))));
        index.release(30);
        assert_eq!((index.deletion(0, 300).below, index.dropped()), (30, 20));
    }

    #[test]
    fn what_is_just_being_dropped_is_not_taken_in_hand() {
        let mut index = index(5);
        let deletion = index.deletion(100, 300);
        index.begin(&deletion);
        assert!(!index.lend(&index.read(0, 10, 1 << 20).0, 0));
        assert!(index.lend(&index.read(30, 10, 1 << 20).0, 30));
        index.give_up();
        assert!(index.lend(&index.read(0, 10, 1 << 20).0, 0));
        index.begin(&deletion);
        index.delete(&deletion);
        assert!(index.lend(&index.read(0, 10, 1 << 20).0, 0), "the oldest that is left");
    }

    #[test]
    fn waiting_is_what_is_not_released_deleted_or_not() {
        let mut index = index(3);
        assert_eq!(index.waiting(), (30, 300, Some(UnixMs(0))));
        index.release(12);
        assert_eq!(index.waiting(), (18, 200, Some(UnixMs(1))));
        index.release(1000); // nobody can hold what does not exist yet
        assert_eq!(index.waiting(), (0, 0, None));
        index.append(Row { first: 30, count: 1, size: 7, raw: 9, appended_at: UnixMs(9) });
        assert_eq!(index.waiting(), (1, 7, Some(UnixMs(9))));
    }

    #[test]
    fn counting_goes_on_where_the_file_says_also_when_it_is_empty() {
        assert_eq!(Index::new(VecDeque::new(), 77, 5).next(), 77);
        let row = Row { first: 70, count: 10, size: 1, raw: 1, appended_at: UnixMs(0) };
        assert_eq!(Index::new([row].into(), 77, 0).next(), 80);
    }
}
