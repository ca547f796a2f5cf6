//! Where records wait for the queue. It takes every record at once, and holds so many bytes of them: the oldest make room.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The way in, for every check that ends. Cheap to clone; when the last clone goes, the stage ends.
#[derive(Clone, Debug)]
pub struct Entrance(Arc<Door>);

#[derive(Debug)]
struct Door(Arc<Room>);

impl Entrance {
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self(Arc::new(Door(room)))
    }

    /// Leaves a record to be made durable. Never waits: what there is no room for is counted as dropped, oldest first.
    pub fn push(&self, record: Vec<u8>) {
        self.0.0.push(record);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.waiting().closed = true;
        self.0.changed.notify_one();
    }
}

#[derive(Debug)]
pub(super) struct Room {
    waiting: Mutex<Waiting>,
    changed: Notify,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<Vec<u8>>,
    /// What the records cost, those in hand included.
    bytes: usize,
    /// What the records cost that were taken and are not durable yet.
    in_hand: usize,
    dropped: u64,
    closed: bool,
}

impl Room {
    pub fn new(most_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), changed: Notify::new(), most_bytes }
    }

    /// Waits for a record; false when none is there and none can come.
    pub async fn has_records(&self) -> bool {
        loop {
            {
                let waiting = self.waiting();
                if !waiting.records.is_empty() || waiting.closed {
                    return !waiting.records.is_empty();
                }
            }
            self.changed.notified().await;
        }
    }

    /// Takes records from the front, about so many bytes of them and at most a quarter of the room. They count as being here until one of the next two.
    pub fn take(&self, most_bytes: usize) -> Vec<Vec<u8>> {
        let most_bytes = most_bytes.min(self.most_bytes / 4);
        let mut waiting = self.waiting();
        let mut bytes = 0;
        let fits = |record: &&Vec<u8>| {
            let fits = bytes < most_bytes;
            bytes += if fits { cost(record) } else { 0 };
            fits
        };
        let count = waiting.records.iter().take_while(fits).count();
        waiting.in_hand = bytes;
        waiting.records.drain(..count).collect()
    }

    /// What was taken is durable.
    pub fn done(&self) {
        let mut waiting = self.waiting();
        waiting.bytes -= waiting.in_hand;
        waiting.in_hand = 0;
    }

    /// What was taken could not be made durable.
    pub fn put_back(&self, records: Vec<Vec<u8>>) {
        let mut waiting = self.waiting();
        waiting.in_hand = 0;
        for record in records.into_iter().rev() {
            waiting.records.push_front(record);
        }
        waiting.make_room(self.most_bytes);
    }

    pub fn len(&self) -> usize {
        self.waiting().records.len()
    }

    pub fn is_closed(&self) -> bool {
        self.waiting().closed
    }

    /// How many records were dropped since this was last asked.
    pub fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.waiting().dropped)
    }

    fn push(&self, record: Vec<u8>) {
        let first = {
            let mut waiting = self.waiting();
            waiting.bytes += cost(&record);
            waiting.records.push_back(record);
            waiting.make_room(self.most_bytes);
            waiting.records.len() == 1
        };
        if first {
            self.changed.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that holds it panics half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn make_room(&mut self, most_bytes: usize) {
        while self.bytes > most_bytes {
            let Some(oldest) = self.records.pop_front() else { return };
            self.bytes -= cost(&oldest);
            self.dropped += 1;
        }
    }
}

/// What a record takes in memory.
fn cost(record: &Vec<u8>) -> usize {
    size_of::<Vec<u8>>() + record.capacity()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for that many records of 100 bytes.
    fn room(records: usize) -> Arc<Room> {
        Arc::new(Room::new(records * cost(&Vec::with_capacity(100))))
    }

    fn record(n: u8) -> Vec<u8> {
        let mut record = Vec::with_capacity(100);
        record.push(n);
        record
    }

    fn held(room: &Room) -> Vec<u8> {
        room.waiting().records.iter().map(|record| record[0]).collect()
    }

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        let room = room(3);
        (0..5).for_each(|n| room.push(record(n)));
        assert_eq!(held(&room), [2, 3, 4]);
        assert_eq!((room.take_dropped(), room.take_dropped()), (2, 0));
    }

    #[test]
    fn what_is_in_hand_takes_room_until_it_is_durable() {
        let room = room(3);
        (0..3).for_each(|n| room.push(record(n)));
        assert_eq!(room.take(1), [[0]]);
        room.push(record(3));
        assert_eq!(held(&room), [2, 3]);
        room.done();
        room.push(record(4));
        assert_eq!(held(&room), [2, 3, 4]);
        assert_eq!(room.take_dropped(), 1);
    }

    #[test]
    fn what_comes_back_is_the_oldest_again() {
        let room = room(8);
        (0..8).for_each(|n| room.push(record(n)));
        let taken = room.take(usize::MAX);
        room.push(record(8)); // what is in hand may be durable already: the oldest of the others goes
        room.put_back(taken);
        assert_eq!(held(&room), [0, 1, 3, 4, 5, 6, 7, 8]);
        room.push(record(9));
        assert_eq!(held(&room), [1, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(room.take_dropped(), 2);
    }

    #[tokio::test]
    async fn an_empty_room_without_an_entrance_ends() {
        let room = room(3);
        let entrance = Entrance::new(room.clone());
        entrance.clone().push(record(1));
        drop(entrance);
        assert!(room.has_records().await);
        room.take(1);
        assert!(!room.has_records().await);
    }
}
