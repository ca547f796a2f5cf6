//! `kill -9` is an ordinary way to stop: what the queue acknowledged is stored, once, whenever the process was killed.

use crate::at_work::{LIMIT, Lapwing, every_second, stop};
use crate::dice::Dice;
use crate::ledger::{Ledger, TALKATIVE};
use crate::tables::{self, Locked};
use std::time::Duration;
use testkit::{Site, step::resp, until};

/// Many targets of a fast site, each due every second.
fn busy(site: &Site, targets: usize) -> Lapwing {
    let lines: String = (0..targets).map(|n| every_second(&format!("t{n}"), &site.url(&format!("/{n}")))).collect();
    Lapwing::with(&format!("targets:\n{lines}"))
}

/// Starts it, stops it in good order, and takes note of both.
fn orderly_run(lapwing: &Lapwing, ledger: &mut Ledger) {
    let running = lapwing.program.spawn(&TALKATIVE);
    running.wait_for_line(LIMIT, |line| line.contains("results are durable"));
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
    ledger.add(&output, &lapwing.queue());
}

#[test]
fn what_the_queue_acknowledged_is_stored_once_however_often_the_process_is_killed() {
    let site = Site::serve([resp(200, "fine")]);
    let lapwing = busy(&site, 40);
    let (mut ledger, mut dice) = (Ledger::default(), Dice::new());
    orderly_run(&lapwing, &mut ledger);
    for round in 0..12 {
        let running = lapwing.program.spawn(&TALKATIVE);
        if round % 3 > 0 {
            // Two of three are killed while they work; the third one anywhere, also while it starts.
            running.wait_for_line(LIMIT, |line| line.contains("results are durable"));
        }
        std::thread::sleep(Duration::from_millis(dice.below(1000)));
        ledger.add(&running.kill9(), &lapwing.queue());
    }
    orderly_run(&lapwing, &mut ledger);
    assert!(ledger.acknowledgements() > 12, "{} acknowledgements", ledger.acknowledgements());
    assert!(ledger.acknowledged() > 300, "{} results acknowledged", ledger.acknowledged());
    ledger.verify(&lapwing.store()).unwrap();

    let copy = lapwing.program.folder().join("copy.db");
    std::fs::copy(lapwing.store(), &copy).unwrap();
    ledger.verify(&copy).unwrap();
    tables::execute(&copy, &format!("delete from checks where {ONE_OF_THEM}"));
    let noticed = ledger.verify(&copy).unwrap_err();
    assert!(noticed.contains("1 lost"), "{noticed}");
}

/// Some row in the middle.
const ONE_OF_THEM: &str = "(due_at, target, location) in \
     (select due_at, target, location from checks limit 1 offset (select count(*) / 2 from checks))";

/// A queue that holds results which are not stored: the process was killed while the store was locked. And what must be stored of it.
fn killed_before_storing(lapwing: &Lapwing) -> Ledger {
    let mut ledger = Ledger::default();
    orderly_run(lapwing, &mut ledger);
    let running = lapwing.program.spawn(&TALKATIVE);
    lapwing.wait_until_ready();
    let locked = Locked::hold(&lapwing.store());
    let before = commits(&running.stderr());
    // A start begins with the current slots, so the first of these repeat what is stored, and the last will be repeated: those in
    // the middle are found nowhere else.
    until("forty commits of the queue", LIMIT, || commits(&running.stderr()) >= before + 40);
    ledger.add(&running.kill9(), &lapwing.queue());
    drop(locked);
    ledger
}

fn commits(stderr: &str) -> usize {
    stderr.matches("results are durable").count()
}

/// What a process left in its folder, in a folder of its own.
fn copied(lapwing: &Lapwing) -> Lapwing {
    let copy = Lapwing::with("");
    for name in ["lapwing.yaml", "lapwing.db", "lapwing.db-wal", "lapwing-queue.db", "lapwing-queue.db-wal"] {
        let from = lapwing.program.folder().join(name);
        if from.exists() {
            std::fs::copy(from, copy.program.folder().join(name)).unwrap();
        }
    }
    copy
}

#[test]
fn what_waited_in_the_queue_when_the_process_was_killed_is_stored_by_the_next_and_the_harness_would_notice() {
    let site = Site::serve([resp(200, "fine")]);
    let lapwing = busy(&site, 10);
    let mut ledger = killed_before_storing(&lapwing);
    let waiting = ledger.verify(&lapwing.store()).unwrap_err();
    assert!(waiting.contains("lost"), "nothing waited: {waiting}");
    let (broken, mut broken_ledger) = (copied(&lapwing), ledger.clone());

    orderly_run(&lapwing, &mut ledger);
    ledger.verify(&lapwing.store()).unwrap();

    let next = tables::value(&broken.store(), "select next from offsets");
    let one = format!("select first from batches where first >= {next} order by first limit 1 offset 15");
    tables::execute(&broken.queue(), &format!("delete from batches where first = ({one})"));
    orderly_run(&broken, &mut broken_ledger);
    let noticed = broken_ledger.verify(&broken.store()).unwrap_err();
    assert!(noticed.contains("lost"), "{noticed}");
}
