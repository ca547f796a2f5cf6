//! The queue on a real file: what is acknowledged is there, whatever happens; what goes is counted.

use crate::results::down;
use bus::{
    OpenError, Queue,
    queue::{Most, Options, Reader},
    record::encode,
};
use model::{
    CheckResult, TargetId,
    batch::{Batch, Content},
};
use sqlx::{Connection as _, Row as _, SqliteConnection, raw_sql};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const LARGE: u64 = 1 << 30;
const AT_ONCE: Most = Most { records: 10_000, bytes: 64 << 20, pace: Duration::ZERO };

struct Place {
    _folder: TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place { path: folder.path().join("queue.db"), _folder: folder }
}

async fn open(path: &Path) -> Queue {
    open_sized(path, LARGE).await
}

async fn open_sized(path: &Path, max_size: u64) -> Queue {
    Queue::open(path, Options::new(max_size), &CancellationToken::new()).await.unwrap()
}

async fn close(queue: Queue) {
    queue.tail.close().await;
    queue.reader.close().await;
}

/// Records of targets t<from> to t<to - 1>.
fn records(from: usize, to: usize) -> Vec<Vec<u8>> {
    let record = |n: usize| {
        let result = CheckResult { target: TargetId::new(&format!("t{n}")).unwrap(), ..down() };
        let mut out = Vec::new();
        encode(&result, &mut out);
        out
    };
    (from..to).map(record).collect()
}

async fn read(reader: &mut Reader, from: i64, most: &Most) -> Batch {
    let stop = CancellationToken::new();
    let reading = reader.read(from, most, &stop);
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap().unwrap().unwrap()
}

/// Offsets and targets of a batch: `0:t0 1:t1`.
fn shown(batch: &Batch) -> String {
    let entry = |entry: &model::batch::Entry| match &entry.content {
        Content::Result(record) => format!("{}:{}", entry.offset, record.target),
        other => format!("{}:{other:?}", entry.offset),
    };
    batch.entries.iter().map(entry).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn what_was_appended_is_read_in_order_and_byte_for_byte() {
    let p = place();
    let mut q = open(&p.path).await;
    let first = q.tail.append(&records(0, 2)).await.unwrap();
    let second = q.tail.append(&records(2, 3)).await.unwrap();
    assert_eq!((first.first, first.next, second.first, second.next), (0, 2, 2, 3));
    let batch = read(&mut q.reader, 0, &AT_ONCE).await;
    assert_eq!((batch.from, batch.next, shown(&batch).as_str()), (0, 3, "0:t0 1:t1 2:t2"));
    assert_eq!((&*batch.source.name, batch.source.partition), ("queue", 0));
    let values: Vec<_> = batch.entries.iter().map(|entry| entry.value.to_vec()).collect();
    assert_eq!(values, records(0, 3));
    let from_the_middle = read(&mut q.reader, 1, &AT_ONCE).await;
    assert_eq!((from_the_middle.from, shown(&from_the_middle).as_str()), (1, "1:t1 2:t2"));
}

#[tokio::test]
async fn what_is_no_result_keeps_its_place() {
    let p = place();
    let mut q = open(&p.path).await;
    q.tail.append(&[b"{}".to_vec(), records(1, 2).remove(0), b"{\"kind\":\"x\"}".to_vec()]).await.unwrap();
    let batch = read(&mut q.reader, 0, &AT_ONCE).await;
    assert!(matches!(&batch.entries[0].content, Content::Dead(letter) if letter.value == b"{}"));
    assert!(matches!(&batch.entries[1].content, Content::Result(_)));
    assert!(matches!(&batch.entries[2].content, Content::UnknownKind));
    assert_eq!(batch.entries[2].offset, 2);
}

#[tokio::test]
async fn reading_waits_for_the_next_record_or_the_stop() {
    let p = place();
    let Queue { mut tail, mut reader, .. } = open(&p.path).await;
    let waiting = tokio::spawn(async move { shown(&read(&mut reader, 0, &Most::default()).await) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    tail.append(&records(0, 1)).await.unwrap();
    assert_eq!(waiting.await.unwrap(), "0:t0");

    let p = place();
    let Queue { mut reader, .. } = open(&p.path).await;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let waiting = tokio::spawn(async move { reader.read(0, &AT_ONCE, &stopped).await });
    stop.cancel();
    assert!(waiting.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn small_reads_keep_their_pace_and_full_ones_do_not_wait() {
    let p = place();
    let mut q = open(&p.path).await;
    let most = Most { records: 4, bytes: 1 << 20, pace: Duration::from_secs(3600) };
    for n in 0..5 {
        q.tail.append(&records(n * 2, n * 2 + 2)).await.unwrap();
    }
    let first = read(&mut q.reader, 0, &most).await;
    let second = read(&mut q.reader, first.next, &most).await;
    assert_eq!((first.next, second.next), (4, 8));
    let stop = CancellationToken::new();
    let third = q.reader.read(8, &most, &stop);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), third).await.is_err(),
        "two records, and no hour has passed"
    );
}

#[tokio::test]
async fn numbers_never_come_again_also_when_everything_was_deleted() {
    let p = place();
    let mut q = open(&p.path).await;
    let id = q.reader.source().clone();
    q.tail.append(&records(0, 7)).await.unwrap();
    q.reader.release(7);
    q.tail.sweep().await.unwrap();
    close(q).await;
    let mut q = open(&p.path).await;
    assert_eq!(q.reader.source(), &id);
    assert_eq!(q.reader.resume(Some(7)).await.unwrap(), 7);
    assert_eq!(q.gauge.stats().results, 0);
    assert_eq!(q.tail.append(&records(7, 8)).await.unwrap().first, 7);
    let other = place();
    assert_ne!(open(&other.path).await.reader.source(), &id);
}

#[tokio::test]
async fn what_is_not_released_is_there_after_a_restart() {
    let p = place();
    let mut q = open(&p.path).await;
    for n in 0..4 {
        q.tail.append(&records(n * 2, n * 2 + 2)).await.unwrap();
    }
    q.reader.release(3); // in the middle of the second commit
    q.tail.sweep().await.unwrap();
    drop(q); // as a kill leaves it: nothing is closed
    let mut q = loop {
        match Queue::open(&p.path, Options::new(LARGE), &CancellationToken::new()).await {
            Ok(queue) => break queue,
            Err(OpenError::Held { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(e) => panic!("{e}"),
        }
    };
    let from = q.reader.resume(Some(3)).await.unwrap();
    assert_eq!(shown(&read(&mut q.reader, from, &AT_ONCE).await), "3:t3 4:t4 5:t5 6:t6 7:t7");
    assert_eq!(q.gauge.stats().results, 5);
}

#[tokio::test]
async fn a_store_that_knows_nothing_gets_all_there_is() {
    let p = place();
    let mut q = open(&p.path).await;
    q.tail.append(&records(0, 3)).await.unwrap();
    q.reader.release(3);
    q.tail.append(&records(3, 5)).await.unwrap(); // deletes what was released
    assert_eq!(q.reader.resume(None).await.unwrap(), 3);
}

#[tokio::test]
async fn a_queue_from_an_older_copy_becomes_another_log() {
    let p = place();
    let mut q = open(&p.path).await;
    q.tail.append(&records(0, 3)).await.unwrap();
    close(q).await;
    let mut q = open(&p.path).await;
    let id = q.reader.source().clone();
    // Appended before anybody could ask the store; by number it would pass for stored.
    q.tail.append(&records(3, 9)).await.unwrap();
    assert_eq!(q.reader.resume(Some(5)).await.unwrap(), 0);
    let new_id = q.reader.source().clone();
    assert_ne!(new_id, id);
    assert_eq!(read(&mut q.reader, 0, &AT_ONCE).await.entries.len(), 9);
    assert_eq!(read(&mut q.reader, 0, &AT_ONCE).await.source, new_id);
    // Later the store knows more than the queue had at the start, and nothing is wrong with that.
    assert_eq!(q.reader.resume(Some(9)).await.unwrap(), 9);
    assert_eq!(q.reader.source(), &new_id);
    close(q).await;
    assert_eq!(open(&p.path).await.reader.source(), &new_id);
}

#[tokio::test]
async fn beyond_its_size_the_oldest_go_and_are_counted() {
    let p = place();
    let mut q = open_sized(&p.path, 4_000).await;
    let mut dropped = 0;
    for n in 0..20 {
        dropped += q.tail.append(&records(n * 10, n * 10 + 10)).await.unwrap().dropped;
    }
    let stats = q.gauge.stats();
    assert!(stats.bytes <= 4_000 && stats.bytes > 2_000, "{stats:?}");
    assert_eq!((stats.dropped_total, stats.results + dropped), (dropped, 200));
    let batch = read(&mut q.reader, 0, &AT_ONCE).await;
    assert_eq!((batch.from, batch.next), (0, 200));
    assert_eq!(batch.entries[0].offset as u64, dropped);
    assert_eq!(batch.entries.last().map(|entry| entry.offset), Some(199));
    close(q).await;
    let stats = open_sized(&p.path, 4_000).await.gauge.stats();
    assert_eq!((stats.dropped_total, stats.results), (dropped, 200 - dropped));
}

#[tokio::test]
async fn what_the_reader_has_in_hand_is_not_dropped_and_so_never_both_stored_and_counted() {
    let p = place();
    let mut q = open_sized(&p.path, 4_000).await;
    q.tail.append(&records(0, 10)).await.unwrap();
    q.tail.append(&records(10, 20)).await.unwrap();
    let in_hand = read(&mut q.reader, 0, &AT_ONCE).await;
    let mut dropped = 0;
    for n in 2..20 {
        dropped += q.tail.append(&records(n * 10, n * 10 + 10)).await.unwrap().dropped;
    }
    assert!(dropped > 0 && q.gauge.stats().bytes <= 4_000, "{:?}", q.gauge.stats());
    // A crash before it is stored loses none of it.
    close(q).await;
    let mut q = open_sized(&p.path, 4_000).await;
    assert_eq!(q.reader.resume(Some(0)).await.unwrap(), 0);
    let again = read(&mut q.reader, 0, &Most { records: 1, ..AT_ONCE }).await;
    assert_eq!(again.entries[..], in_hand.entries[..10]);
    q.reader.release(in_hand.next);
    let rest = read(&mut q.reader, in_hand.next, &AT_ONCE).await;
    assert_eq!(in_hand.entries.len() + rest.entries.len() + dropped as usize, 200);
    assert_eq!(rest.entries[0].offset as u64, 20 + dropped);
    assert_eq!(q.gauge.stats().results, rest.entries.len() as u64);
}

#[tokio::test]
async fn what_is_stored_makes_room_without_being_dropped() {
    let p = place();
    let mut q = open_sized(&p.path, 4_000).await;
    for n in 0..20 {
        let appended = q.tail.append(&records(n * 10, n * 10 + 10)).await.unwrap();
        assert_eq!(appended.dropped, 0);
        q.reader.release(appended.next);
    }
    assert_eq!(q.gauge.stats().dropped_total, 0);
}

#[tokio::test]
async fn the_gauge_shows_what_waits() {
    let p = place();
    let mut q = open(&p.path).await;
    let before = q.gauge.stats();
    assert_eq!((before.results, before.oldest_at, before.committed_at), (0, None, None));
    q.tail.append(&records(0, 5)).await.unwrap();
    let stats = q.gauge.stats();
    assert_eq!(stats.results, 5);
    assert!(stats.bytes > 100 && stats.oldest_at.is_some() && stats.committed_at >= stats.oldest_at, "{stats:?}");
    q.reader.release(5);
    assert_eq!((q.gauge.stats().results, q.gauge.stats().bytes), (0, 0));
}

#[tokio::test]
async fn the_file_does_not_grow_while_the_store_keeps_up() {
    let p = place();
    let mut q = open(&p.path).await;
    for n in 0..300 {
        let appended = q.tail.append(&records(n * 10, n * 10 + 10)).await.unwrap();
        q.reader.release(appended.next - 20);
    }
    close(q).await;
    let size = fs::metadata(&p.path).unwrap().len();
    assert!(size < 64 << 10, "{size} bytes");
}

#[tokio::test]
async fn after_a_long_outage_the_file_shrinks_again() {
    let p = place();
    let mut q = open(&p.path).await;
    let mut next = 0;
    for _ in 0..400 {
        let noise: Vec<_> = (0..20).flat_map(|n| incompressible(next * 20 + n)).collect();
        next = q.tail.append(&noise).await.unwrap().next;
    }
    q.tail.shrink().await.unwrap();
    q.reader.release(next - 200);
    q.tail.sweep().await.unwrap();
    let kept = read(&mut q.reader, next - 200, &AT_ONCE).await;
    q.tail.shrink().await.unwrap();
    assert_eq!(read(&mut q.reader, next - 200, &AT_ONCE).await, kept);
    close(q).await;
    let size = fs::metadata(&p.path).unwrap().len();
    assert!(size < 1 << 20, "{size} bytes");
    assert_eq!(open(&p.path).await.tail.append(&records(0, 1)).await.unwrap().first, next);
}

async fn another_program(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(path.to_str().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_damaged_row_is_counted_and_passed_over() {
    let p = place();
    let mut q = open(&p.path).await;
    for n in 0..3 {
        q.tail.append(&records(n * 2, n * 2 + 2)).await.unwrap();
    }
    let mut theirs = another_program(&p.path).await;
    raw_sql("update batches set records = zeroblob(50) where first = 2").execute(&mut theirs).await.unwrap();
    for _ in 0..2 {
        let batch = read(&mut q.reader, 0, &AT_ONCE).await;
        assert_eq!((batch.next, shown(&batch).as_str()), (6, "0:t0 1:t1 4:t4 5:t5"));
        assert_eq!(q.gauge.stats().dropped_total, 2);
    }
    let nothing_but_damage = read(&mut q.reader, 2, &Most { records: 1, ..AT_ONCE }).await;
    assert_eq!((nothing_but_damage.next, nothing_but_damage.entries.len()), (4, 0));
    q.tail.append(&records(6, 7)).await.unwrap();
    close(q).await;
    assert_eq!(open(&p.path).await.gauge.stats().dropped_total, 2);
}

#[tokio::test]
async fn a_damaged_page_spoils_its_row_and_no_other() {
    let p = place();
    let mut q = open(&p.path).await;
    for n in 0..3 {
        q.tail.append(&records(n * 200, n * 200 + 200)).await.unwrap();
    }
    close(q).await;
    let mut bytes = fs::read(&p.path).unwrap();
    let mut theirs = another_program(&p.path).await;
    let query = sqlx::query("select records from batches where first = 200");
    let blob: Vec<u8> = query.fetch_one(&mut theirs).await.unwrap().get(0);
    theirs.close().await.unwrap();
    // The middle of the blob lies in a chain of pages, each of which begins with the number of the next: cut it there.
    let found = (blob.len() / 2..).find_map(|at| bytes.windows(40).position(|w| w == &blob[at..at + 40])).unwrap();
    let page = found / 1024 * 1024;
    bytes[page..page + 4].copy_from_slice(&0xffff_0000u32.to_be_bytes());
    let q = open(&p.path).await; // before the damage: a file this small is looked through when it is opened
    fs::write(&p.path, bytes).unwrap();
    let Queue { mut reader, tail: _tail, .. } = q;
    assert_eq!(read(&mut reader, 0, &Most { records: 1, ..AT_ONCE }).await.entries.len(), 200);
    let batch = read(&mut reader, 200, &Most { records: 1, ..AT_ONCE }).await;
    assert_eq!((batch.next, batch.entries.len()), (400, 0));
    assert_eq!(read(&mut reader, 400, &AT_ONCE).await.entries.len(), 200);
}

#[tokio::test]
async fn an_append_is_one_transaction() {
    let p = place();
    let mut q = open(&p.path).await;
    q.tail.append(&records(0, 2)).await.unwrap();
    let mut theirs = another_program(&p.path).await;
    raw_sql("begin immediate").execute(&mut theirs).await.unwrap();
    let e = q.tail.append(&records(2, 9000)).await.unwrap_err();
    assert_eq!(e.cause(), bus::Cause::Locked, "{e}");
    raw_sql("rollback").execute(&mut theirs).await.unwrap();
    assert_eq!(q.gauge.stats().results, 2);
    assert_eq!(q.tail.append(&records(2, 9000)).await.unwrap().first, 2);
    let rows: i64 = sqlx::query("select count(*) from batches").fetch_one(&mut theirs).await.unwrap().get(0);
    assert!(rows > 2, "{rows}");
    assert_eq!(read(&mut q.reader, 0, &AT_ONCE).await.entries.len(), 9000);
}

#[tokio::test]
async fn an_append_that_is_given_up_anywhere_can_be_tried_again() {
    let p = place();
    let mut q = open(&p.path).await;
    let mut next = 0;
    for round in 0..80 {
        // Large and small ones: several statements, and one.
        let some = records(next, next + if round % 2 == 0 { 6000 } else { 5 });
        let patience = Duration::from_micros(round * 300 % 17_000);
        if tokio::time::timeout(patience, q.tail.append(&some)).await.is_err() {
            assert_eq!(q.tail.append(&some).await.unwrap().first, next as i64);
        }
        next += some.len();
        q.reader.release(next as i64 - 7000);
    }
    close(q).await;
    let mut q = open(&p.path).await;
    let from = next as i64 - 7000;
    let batch = read(&mut q.reader, from, &AT_ONCE).await;
    let targets: Vec<_> = (from..next as i64).map(|n| format!("{n}:t{n}")).collect();
    assert_eq!(shown(&batch), targets.join(" "));
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_passes() {
    let p = place();
    let options = Options { max_pages: Some(40), ..Options::new(LARGE) };
    let mut q = Queue::open(&p.path, options, &CancellationToken::new()).await.unwrap();
    let mut kept = 0;
    let e = loop {
        match q.tail.append(&incompressible(kept)).await {
            Ok(appended) => kept = appended.next,
            Err(e) => break e,
        }
    };
    assert_eq!((e.cause(), e.class()), (bus::Cause::Full, bus::Class::Transient), "{e}");
    assert!(e.to_string().contains("queue.db") && e.to_string().contains("make room"), "{e}");
    assert_eq!(read(&mut q.reader, 0, &AT_ONCE).await.entries.len() as i64, kept);
    q.reader.release(kept);
    assert_eq!(q.tail.append(&incompressible(kept)).await.unwrap().first, kept);
}

fn incompressible(seed: i64) -> Vec<Vec<u8>> {
    let mut x = seed.unsigned_abs() * 2 + 1;
    let mut byte = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) as u8
    };
    (0..10).map(|_| (0..300).map(|_| byte()).collect()).collect()
}

#[tokio::test]
async fn the_queue_belongs_to_one_lapwing() {
    let p = place();
    let _q = open(&p.path).await;
    let e = Queue::open(&p.path, Options::new(LARGE), &CancellationToken::new()).await.unwrap_err();
    assert!(e.to_string().contains(&format!("held by another Lapwing (pid {})", std::process::id())), "{e}");
}

/// Appends until it is killed, and says on stdout how far it was told that it got. Run by the next test.
#[tokio::test]
#[ignore = "run by another test"]
async fn appends_until_it_is_killed() {
    let Ok(path) = std::env::var("QUEUE_FILE") else { return };
    let Queue { mut tail, .. } = open(Path::new(&path)).await;
    let mut next = 0;
    loop {
        next = tail.append(&records(next, next + 3)).await.unwrap().next as usize;
        println!("next={next}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    use std::io::{BufRead, BufReader};
    let p = place();
    for round in 0..5 {
        let _ = fs::remove_file(&p.path);
        let _ = fs::remove_file(p.path.with_file_name("queue.db-wal"));
        let _ = fs::remove_file(p.path.with_file_name("queue.db-shm"));
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "queue::appends_until_it_is_killed"])
            .env("QUEUE_FILE", &p.path)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.map_while(Result::ok).filter_map(|l| l.strip_prefix("next=")?.parse::<i64>().ok());
        let reached = told.take(20 + round * 13).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let mut q = open(&p.path).await;
        let batch = read(&mut q.reader, 0, &AT_ONCE).await;
        assert!(batch.next >= reached, "{} acknowledged, {} there", reached, batch.next);
        let offsets: Vec<_> = batch.entries.iter().map(|entry| entry.offset).collect();
        assert_eq!(offsets, (0..batch.next).collect::<Vec<_>>());
        close(q).await;
    }
}
