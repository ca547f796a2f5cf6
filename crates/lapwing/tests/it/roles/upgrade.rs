//! A rolling upgrade: programs of the last version and of this one at once, on one topic and one database.
//!
//! `make upgrade` builds the last version, says where it is, and runs this.

use super::stage::{Role, Stage};
use super::torture::{History, targets};
use crate::at_work::{LIMIT, stop};
use testkit::{OnWire, Program, Site, eventually, free_port, step::resp, until};

/// The program of the last version.
fn before() -> Program {
    Program::new(std::env::var("LAPWING_BEFORE").expect("LAPWING_BEFORE names the last version's program"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it needs the last version: make upgrade"]
async fn writers_and_then_probers_are_replaced_while_all_of_them_work() {
    let stage = Stage::new().await;
    let site = Site::serve([resp(200, "fine")]);
    let prober_section = format!("{}{}", stage.kafka(), targets(&site, 12));
    let writer_section = format!("{}{}", stage.kafka(), stage.store());
    let old_prober = Role::of(before(), "probe", &prober_section);
    let old_writer = Role::of(before(), "write", &writer_section);
    let (old_probing, old_writing) = (old_prober.started(), old_writer.started());
    stage.wait_for_rows(20).await;
    let poison = |partition| OnWire { partition, ..OnWire::value("poison") };
    stage.topic.put(&[poison(0)]);

    // The new one brings the database to its version, and both write.
    let writer = stage.writer();
    let writing = writer.started();
    let version = stage.select("select version from schema_version").await[0]["version"].as_i64().unwrap();
    assert!(version >= 2);
    let rows = stage.stored().await;
    stage.wait_for_rows(rows + 40).await;
    stage.topic.put(&[poison(0), poison(1), poison(2)]);
    eventually("there are four letters, whoever has written them", LIMIT, async || {
        stage.select("select id from dead_letters").await.len() == 4
    })
    .await;
    // Of a database that is newer the old one says so, when it is started.
    let refused = old_writer.at.program.run(&["write", "--listen", &format!("127.0.0.1:{}", free_port())]);
    assert!(refused.code == 3 && refused.stderr.contains("newer"), "{refused}");

    drop(old_writing.kill9());
    let rows = stage.stored().await;
    stage.wait_for_rows(rows + 40).await;
    // Writers before probers: those of the last version are understood.
    let prober = stage.prober(&targets(&site, 12));
    let probing = prober.started();
    assert_eq!(stop(old_probing).code, 0);
    until("the new prober's results go to Kafka", LIMIT, || prober.at.metric("lapwing_checks_total") > 30.0);
    assert_eq!(stop(probing).code, 0);
    let records = stage.all_is_stored().await;
    assert_eq!(stop(writing).code, 0);
    let history = History::of(&stage, records, &[&old_prober, &prober]).await;
    history.verify().unwrap();
    assert_eq!(history.letters.len(), 4);
}
