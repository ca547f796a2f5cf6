//! Everything is killed, whenever, and what came of it is proved from outside: by what is in the topic, and what in the database.
//!
//! `make test` has some rounds, `make torture` as many as `ROUNDS` says.

mod acts;
mod history;
mod house;

use super::stage::Stage;
use crate::at_work::stop;
use crate::dice::Dice;
pub use history::History;
use house::House;
pub use house::targets;
use std::time::{Duration, Instant};
use testkit::{OnWire, Site, step::resp};

/// How many rounds somebody asked for; `None`: it is an ordinary test.
fn rounds() -> Option<usize> {
    std::env::var("ROUNDS").ok().map(|rounds| rounds.parse().expect("ROUNDS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_and_whenever_each_result_is_one_row() {
    let mut dice = Dice::new();
    let mut house = House::new().await;
    let acts = acts::list(rounds().unwrap_or(34).max(34), &mut dice);
    let begun = Instant::now();
    for (round, act) in acts.into_iter().enumerate() {
        println!("after {:.1} s round {round}: {act:?}", begun.elapsed().as_secs_f32());
        // Two of three strike while something is stored; the third one anywhere, also while what was killed before still starts.
        if round % 3 > 0 {
            house.waits_for_progress(&format!("before round {round}, {act:?}"));
        }
        tokio::time::sleep(Duration::from_millis(dice.below(700))).await;
        house.perform(act, &mut dice).await;
        house.is_whole(round, act);
    }
    println!("after {:.1} s the end", begun.elapsed().as_secs_f32());
    let (history, tally) = house.end().await;
    println!("after {:.1} s the proof", begun.elapsed().as_secs_f32());
    history.verify().unwrap();
    let (records, rows, letters) = (history.records.len(), history.rows.len(), history.letters.len());
    println!("{records} records, {rows} rows, {letters} letters; {tally:?}");
    assert!(letters > 0, "nothing was buried");
    tally.has_seen_everything();
}

/// A short history without any trouble, of which everything is stored.
async fn short_history(stage: &Stage) -> History {
    let site = Site::serve([resp(200, "fine")]);
    let (prober, writer) = (stage.prober(&targets(&site, 12)), stage.writer());
    let (probing, writing) = (prober.started(), writer.started());
    stage.wait_for_rows(20).await;
    assert_eq!(stop(probing).code, 0);
    let records = stage.all_is_stored().await;
    assert_eq!(stop(writing).code, 0);
    History::of(stage, records, &[&prober]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_would_notice_rows_that_are_doubled_changed_or_lost() {
    let stage = Stage::new().await;
    let history = short_history(&stage).await;
    history.verify().unwrap();
    let looked_at_again =
        async || History { rows: history::rows(&stage).await, ..history.clone() }.verify().unwrap_err();

    // Without its key and its fence nothing keeps a writer from storing everything once more.
    stage.database.execute("alter table checks drop constraint checks_pkey; update offsets set next = 0").await;
    let writer = stage.writer();
    let writing = writer.started();
    stage.wait_for_rows(2 * history.records.len() as u64).await;
    assert_eq!(stop(writing).code, 0);
    let noticed = looked_at_again().await;
    assert!(noticed.contains(&format!("{} rows too many", history.records.len())), "{noticed}");

    let one = "select ctid, tableoid from checks order by due_at desc limit 1";
    let doubled = "delete from checks a using checks b
                   where (a.due_at, a.target, a.location) = (b.due_at, b.target, b.location) and a.ctid > b.ctid";
    stage.database.execute(doubled).await;
    stage.database.execute(&format!("update checks set lag_us = lag_us + 1 where (ctid, tableoid) in ({one})")).await;
    let noticed = looked_at_again().await;
    assert!(noticed.contains("1 not as its first record"), "{noticed}");
    stage.database.execute(&format!("delete from checks where (ctid, tableoid) in ({one})")).await;
    let noticed = looked_at_again().await;
    assert!(noticed.contains("1 lost") && !noticed.contains("too many"), "{noticed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_would_notice_what_never_came_to_the_topic() {
    let stage = Stage::new().await;
    let mut history = short_history(&stage).await;
    let (queue, last) = history.records.iter().map(OnWire::sequence).max().unwrap();
    let without = |n: i64| History {
        records: history.records.iter().filter(|record| record.sequence().1 != n).cloned().collect(),
        ..history.clone()
    };
    for n in [0, last / 2, last] {
        let noticed = without(n).verify().unwrap_err();
        assert!(noticed.contains(&format!("of queue {queue} 1 never came: {n}")), "{noticed}");
        assert!(noticed.contains("1 rows of no record"), "{noticed}");
    }
    let again = history.records[0].clone();
    history.records.push(again);
    history.verify().expect("a record that came twice is no harm");
    history.letters.push((0, 1));
    assert!(history.verify().unwrap_err().contains("1 dead letters of 0 records"));
    history.poison.push((0, 1));
    assert_eq!(history.verify(), Err("1 letters, and copies of 0".to_owned()));
    history.copies.extend([(0, 1), (0, 1)]);
    history.verify().expect("two copies are no harm");
    history.letters.push((0, 1));
    assert!(history.verify().unwrap_err().contains("2 dead letters of 1 records"));
}
