//! Services that are away, or refuse: what can pass is waited for, what a person must mend is the end, and both are said.

use super::{
    changes::result,
    stage::{Role, Stage, select},
};
use crate::at_work::{LIMIT, WITHIN_5_S, every_second, program, stop};
use std::time::Duration;
use testkit::{Kafka, OnWire, Postgres, Running, Site, TestDatabase, eventually, free_port, step::*, until};

fn not_ready(role: &Role, because: &str) {
    until(&format!("/readyz says 503 and names {because}"), WITHIN_5_S, || {
        let (status, body) = role.at.readiness();
        status == 503 && body.contains(because)
    });
}

fn ready_again(role: &Role) {
    until("/readyz says 200 again", LIMIT, || role.at.readiness().0 == 200);
}

#[test]
fn a_configuration_without_kafka_is_refused_by_both_roles() {
    for role in ["probe", "write"] {
        let program = program();
        program.write("lapwing.yaml", "targets: []\n");
        let output = program.run(&[role]);
        assert_eq!(output.code, 2, "{output}");
        assert!(output.stderr.contains("kafka") && output.stderr.contains("lapwing.yaml"), "{output}");
    }
}

#[test]
fn without_a_broker_both_roles_wait_say_so_and_stop_in_good_order() {
    let site = Site::serve([resp(200, "fine")]);
    let kafka = format!("kafka: {{brokers: \"127.0.0.1:{}\"}}\n", free_port());
    let prober = Role::new("probe", &format!("{kafka}targets:\n{}", every_second("t", &site.url("/"))));
    let writer = Role::new("write", &kafka);
    let (probing, writing) = (prober.start(), writer.start());
    not_ready(&prober, "kafka: ");
    not_ready(&writer, "kafka group: ");
    until("checks go on", LIMIT, || prober.at.metric("lapwing_queue_results") >= 2.0);
    for running in [probing, writing] {
        let output = stop(running);
        assert_eq!(output.code, 0, "{output}");
        assert!(output.stderr.contains("Kafka is away"), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_either_service_loses_nothing_and_calls_nothing_down() {
    let (mut kafka, mut postgres) = tokio::join!(Kafka::start(), Postgres::start());
    let stage = Stage::on(kafka.brokers(), TestDatabase::on(&postgres.url()).await);
    let site = Site::serve([resp(200, "fine")]);
    let prober = stage.prober(&format!("targets:\n{}", every_second("t", &site.url("/"))));
    let writer = stage.writer();
    let (probing, writing) = (prober.started(), writer.started());
    stage.wait_for_rows(2).await;

    postgres.stop().await;
    not_ready(&writer, "store: ");
    lasts().await;
    postgres.restart().await;
    ready_again(&writer);

    kafka.stop().await;
    not_ready(&prober, "kafka: ");
    not_ready(&writer, "kafka group: ");
    lasts().await;
    kafka.restart().await;
    ready_again(&prober);

    tokio::join!(kafka.stop(), postgres.stop());
    lasts().await;
    tokio::join!(kafka.restart(), postgres.restart());
    ready_again(&prober);
    ready_again(&writer);
    assert_eq!(stop(probing).code, 0);
    let records = stage.all_is_stored().await;
    let rows = stage.select("select verdict from results").await;
    assert_eq!(rows.len(), records.len());
    assert!(rows.iter().all(|row| row["verdict"] == "up"), "{rows:?}");
    let mut numbers: Vec<_> = records.iter().map(|record| record.sequence().1).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.iter().copied().eq(0..numbers.len() as i64), "a gap in {numbers:?}");
    assert_eq!(stage.select("select id from dead_letters").await, []);
    let writing: Running = writing;
    assert!(writing.peak_memory_kib() < 200 << 10, "{} KiB", writing.peak_memory_kib());
    assert_eq!(stop(writing).code, 0);
}

/// Longer than a session of the group and than any request.
async fn lasts() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_stops_the_partitions_until_somebody_gives_it_back() {
    let site = Site::serve([resp(200, "fine")]);
    let stage = Stage::new().await;
    let prober = stage.prober(&format!("targets:\n{}", every_second("t", &site.url("/"))));
    let writer = stage.writer();
    let (probing, writing) = (prober.started(), writer.started());
    stage.wait_for_rows(2).await;
    stage.database.execute("alter table checks rename to hidden").await;
    not_ready(&writer, "partition results");
    let before = select(&stage.database.url(), "select count(*) as n from hidden").await[0]["n"].as_u64();
    stage.database.execute("alter table hidden rename to checks").await;
    eventually("results are stored again", 2 * LIMIT, async || Some(stage.stored().await) > before.map(|n| n + 30))
        .await;
    ready_again(&writer);
    assert_eq!(stop(probing).code, 0);
    let records = stage.all_is_stored().await;
    assert_eq!(stage.stored().await, records.len() as u64);
    assert_eq!(stage.select("select id from dead_letters").await, []);
    assert_eq!(stop(writing).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_disk_is_full_is_waited_for_and_no_record_is_blamed() {
    let (stage, writer, writing) = Stage::with_writer().await;
    let put = |from: i64| {
        let records = (from..from + 50).map(|n| OnWire::value(result("t", n)));
        stage.topic.put(&records.collect::<Vec<_>>());
    };
    put(0);
    stage.wait_for_rows(50).await;
    // What a server says whose disk is full, of every row.
    let full = "create function is_full() returns trigger language plpgsql as $$ begin
            raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';
        end $$;
        create trigger is_full before insert on checks for each row execute function is_full()";
    stage.database.execute(full).await;
    put(1000);
    not_ready(&writer, "No space left on device (53100)");
    stage.database.execute("drop trigger is_full on checks").await;
    stage.wait_for_rows(100).await;
    ready_again(&writer);
    assert_eq!(stage.select("select id from dead_letters").await, []);
    let output = stop(writing);
    assert_eq!(output.code, 0, "{output}");
    assert!(output.stderr.contains("results can't be stored; they wait"), "{output}");
    assert!(output.stderr.contains("results can be stored again"), "{output}");
}
