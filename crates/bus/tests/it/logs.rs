//! The contract of a log, over both: the queue on a file, and Kafka on a broker.

use crate::kafka::stage::{self, OnWire, next, next_batch, opened, results};
use bus::{
    Log, Queue,
    log::Read,
    queue::{Gauge, Options, Tail},
};
use model::{
    batch::{Batch, Content, Source},
    kafka::KafkaSetting,
};
use std::{path::PathBuf, time::Duration};
use tempfile::TempDir;
use testkit::eventually;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A log that is filled by hand, and its reader.
struct Stage {
    place: Place,
    log: Option<Log>,
    /// A batch is so many records at most. The queue reads whole commits, and the tests append so many at a time.
    records: usize,
}

enum Place {
    Queue { _folder: TempDir, path: PathBuf, open: Option<(Tail, Gauge)> },
    Kafka(KafkaSetting),
}

impl Stage {
    async fn both(records: usize) -> [Self; 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let queue = Place::Queue { _folder: folder, path, open: None };
        let mut stages = [queue, Place::Kafka(stage::setting())].map(|place| Self { place, log: None, records });
        for stage in &mut stages {
            stage.open().await;
        }
        stages
    }

    async fn open(&mut self) {
        let pace = Duration::ZERO;
        self.log = Some(match &mut self.place {
            Place::Queue { path, open, .. } => {
                let queue = Queue::open(path, Options::new(1 << 30), &CancellationToken::new()).await.unwrap();
                let most = bus::queue::Most { records: self.records, bytes: 1 << 30, pace };
                let log = Log::queue(queue.reader, queue.gauge.clone(), most);
                *open = Some((queue.tail, queue.gauge));
                log
            }
            Place::Kafka(setting) => {
                stage::join(setting, bus::kafka::Most { records: self.records, bytes: 1 << 30, pace }).await
            }
        });
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    async fn append(&mut self, values: &[Vec<u8>]) {
        match &mut self.place {
            Place::Queue { open, .. } => {
                for values in values.chunks(self.records) {
                    open.as_mut().unwrap().0.append(values).await.unwrap();
                }
            }
            Place::Kafka(setting) => {
                put(setting, values);
            }
        }
    }

    /// The process dies and starts again.
    async fn crash(&mut self) {
        drop(self.log.take());
        if let Place::Queue { open, .. } = &mut self.place {
            open.take().unwrap().0.close().await;
        }
        self.open().await;
    }

    async fn start(&mut self, stored: Option<i64>) -> Source {
        let source = opened(self.log()).await;
        let started = self.log().start(&source, stored).await.unwrap().unwrap();
        assert_eq!((started.next, started.gap), (stored.unwrap_or(0), None));
        source
    }

    /// Batches that follow one another, up to this offset; all entries of them.
    async fn read_to(&mut self, from: i64, next: i64) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        while batches.last().is_none_or(|last| last.next < next) {
            let batch = next_batch(self.log()).await;
            assert_eq!(batch.from, batches.last().map_or(from, |last| last.next));
            batches.push(batch);
        }
        batches
    }

    async fn nothing_comes(&mut self) {
        let stop = CancellationToken::new();
        let read = timeout(Duration::from_millis(700), self.log().read(&stop)).await;
        assert!(read.is_err(), "{read:?}");
    }
}

fn put(setting: &KafkaSetting, values: &[Vec<u8>]) {
    let records: Vec<_> = values.iter().map(|value| OnWire::value(value.clone())).collect();
    stage::put(setting, &records);
}

fn values(batches: &[Batch]) -> Vec<Vec<u8>> {
    batches.iter().flat_map(|batch| &batch.entries).map(|entry| entry.value.to_vec()).collect()
}

#[tokio::test]
async fn what_was_appended_is_read_in_order_and_byte_for_byte() {
    for mut s in Stage::both(10).await {
        let records = results(0..35, 3);
        s.append(&records).await;
        let source = s.start(None).await;
        let batches = s.read_to(0, 35).await;
        assert_eq!(values(&batches), records);
        assert!(batches.iter().all(|batch| batch.source == source));
        let offsets: Vec<_> = batches.iter().flat_map(|batch| &batch.entries).map(|entry| entry.offset).collect();
        assert_eq!(offsets, (0..35).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_batch_is_bounded() {
    for mut s in Stage::both(10).await {
        s.append(&results(0..35, 3)).await;
        s.start(None).await;
        let batches = s.read_to(0, 35).await;
        assert!(batches.len() >= 4 && batches.iter().all(|batch| batch.entries.len() <= 10));
    }
}

#[tokio::test]
async fn reading_begins_where_the_store_says() {
    for mut s in Stage::both(10).await {
        let records = results(0..30, 3);
        s.append(&records).await;
        s.crash().await; // a store that knows more than a queue had when it was opened knows another queue
        s.start(Some(17)).await;
        assert_eq!(values(&s.read_to(17, 30).await), records[17..]);
    }
}

#[tokio::test]
async fn nothing_is_read_before_the_store_has_spoken() {
    for mut s in Stage::both(10).await {
        s.append(&results(0..5, 3)).await;
        let source = opened(s.log()).await;
        s.nothing_comes().await;
        s.log().start(&source, None).await.unwrap();
        s.read_to(0, 5).await;
    }
}

#[tokio::test]
async fn a_seek_voids_what_was_read_ahead() {
    for mut s in Stage::both(10).await {
        let records = results(0..40, 3);
        s.append(&records).await;
        let source = s.start(None).await;
        for (next, to) in [(0, 10), (25, 40), (3, 13), (12, 40)] {
            s.log().seek(&source, next);
            let batches = s.read_to(next, to).await;
            let read = values(&batches);
            assert_eq!(read, records[next as usize..next as usize + read.len()]);
        }
    }
}

#[tokio::test]
async fn what_was_not_stored_comes_again_after_a_crash() {
    for mut s in Stage::both(10).await {
        let records = results(0..30, 3);
        s.append(&records).await;
        s.start(None).await;
        s.read_to(0, 30).await;
        s.crash().await;
        s.start(Some(20)).await;
        assert_eq!(values(&s.read_to(20, 30).await), records[20..]);
    }
}

#[tokio::test]
async fn a_source_that_is_held_brings_nothing_and_goes_on_where_it_stood() {
    for mut s in Stage::both(10).await {
        let records = results(0..30, 3);
        s.append(&records).await;
        let source = s.start(None).await;
        let first = next_batch(s.log()).await;
        s.log().hold(&source);
        s.nothing_comes().await;
        s.log().go_on(&source);
        assert_eq!(values(&s.read_to(first.next, 30).await), records[first.next as usize..]);
        s.log().hold(&source);
        s.append(&results(30..31, 3)).await;
        s.nothing_comes().await;
        s.log().seek(&source, 29);
        s.read_to(29, 31).await;
    }
}

#[tokio::test]
async fn a_stop_ends_a_read_that_waits() {
    for mut s in Stage::both(10).await {
        s.start(None).await;
        let stop = CancellationToken::new();
        let (mut log, stopped) = (s.log.take().unwrap(), stop.clone());
        let waiting = tokio::spawn(async move { log.read(&stopped).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        stop.cancel();
        assert_eq!(timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap().unwrap(), None);
    }
}

#[tokio::test]
async fn what_is_no_result_keeps_its_place() {
    for mut s in Stage::both(10).await {
        let good = results(1..2, 3).remove(0);
        s.append(&[b"{}".to_vec(), good, br#"{"v":1,"kind":"x"}"#.to_vec()]).await;
        s.start(None).await;
        let entries: Vec<_> = s.read_to(0, 3).await.into_iter().flat_map(|batch| batch.entries).collect();
        assert!(matches!(&entries[0].content, Content::Dead(letter) if letter.value == b"{}"));
        assert!(matches!(&entries[1].content, Content::Result(record) if record.target.as_str() == "t1"));
        assert_eq!((&entries[2].content, entries[2].offset), (&Content::UnknownKind, 2));
    }
}

#[tokio::test]
async fn what_waits_is_told_and_what_is_released_does_not_wait() {
    for mut s in Stage::both(10).await {
        let lag = s.log().lag();
        s.append(&results(0..20, 3)).await;
        s.start(None).await;
        eventually("20 wait", stage::LIMIT, async || lag.now() == [(0, 20)]).await;
        let batches = s.read_to(0, 20).await;
        s.log().release(&batches[0]);
        eventually("fewer wait", stage::LIMIT, async || lag.now() == [(0, 20 - batches[0].next as u64)]).await;
        s.log().release(&batches[batches.len() - 1]);
        eventually("none waits", stage::LIMIT, async || lag.now() == [(0, 0)]).await;
    }
}

#[tokio::test]
async fn a_single_record_is_read_within_a_second() {
    for mut s in Stage::both(10).await {
        s.start(None).await;
        for n in 0..3 {
            s.append(&results(n..n + 1, 3)).await;
            let read = timeout(Duration::from_secs(1), next(s.log())).await.expect("within a second");
            assert!(matches!(read, Read::Batch(batch) if batch.entries.len() == 1));
        }
    }
}

#[tokio::test]
async fn the_rest_of_the_queue_is_read_without_waiting_and_kafkas_is_left_to_others() {
    for mut s in Stage::both(10).await {
        s.append(&results(0..15, 3)).await;
        let source = s.start(None).await;
        s.log().seek(&source, 0);
        let mut read = 0;
        while let Some(Read::Batch(batch)) = s.log().read_rest().await.unwrap() {
            read = batch.next;
        }
        assert_eq!(read, if matches!(s.place, Place::Queue { .. }) { 15 } else { 0 });
    }
}
