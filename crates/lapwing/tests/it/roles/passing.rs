//! What a prober finds passes through Kafka and is a row, field by field.

use super::stage::{Role, Stage, as_row, present};
use crate::at_work::{LIMIT, every_second, stop, targets};
use crate::tables::{self, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::{Program, Site, free_port, step::*, until};
use tokio::task::block_in_place;

fn identity(row: &Row) -> (String, String) {
    ["target", "due_at"].map(|key| row[key].as_str().unwrap().to_owned()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_result_is_one_row_equal_to_its_record_field_by_field() {
    let (up, down) = (Site::serve([resp(200, "fine")]), Site::serve([resp(500, "broken")]));
    let asked = AtomicU32::new(0);
    let flapping =
        Site::answer(move |_| vec![resp([200, 503][asked.fetch_add(1, Ordering::Relaxed) as usize % 2], "")]);
    let stage = Stage::new().await;
    let sites = [("up", &up), ("down", &down), ("flapping", &flapping)];
    let prober = stage.prober(&format!(
        "{}  - {{id: named, name: With a name, group: Group, url: \"{}\", interval: 1s, expect: {{body: nothing}}}}\n",
        targets(sites.map(|(id, site)| (id, site.url("/page?token=secret")))),
        up.url("/")
    ));
    let writer = stage.writer();
    let (probing, writing) = (prober.started(), writer.started());
    stage.wait_for_rows(20).await;
    let output = stop(probing);
    assert_eq!(output.code, 0, "{output}");
    let records = stage.all_is_stored().await;
    let output = stop(writing);
    assert_eq!(output.code, 0, "{output}");

    let rows = stage.select("select * from results").await;
    let rows: BTreeMap<_, _> = rows.iter().map(|row| (identity(row), row)).collect();
    assert_eq!(rows.len(), records.len());
    for record in &records {
        let expected = as_row(record);
        assert_eq!(present(rows[&identity(&expected)]), expected);
        assert_eq!(record.key(), expected["target"]);
        assert!(!expected["url"].as_str().unwrap().contains("secret"));
    }
    let verdicts: BTreeSet<_> =
        rows.values().map(|row| (row["target"].clone(), row["verdict"].clone())).map(|p| format!("{p:?}")).collect();
    assert_eq!(verdicts.len(), 5, "{verdicts:?}");
    let mut numbers: Vec<_> = records.iter().map(|record| record.sequence().1).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..numbers.len() as i64), "a gap in {numbers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_low_rate_a_result_is_visible_within_a_second_and_metrics_tell_of_both_roles() {
    let site = Site::serve([resp(200, "fine")]);
    let stage = Stage::new().await;
    let (prober, writer) = (stage.prober(&format!("targets:\n{}", every_second("t", &site.url("/")))), stage.writer());
    let (probing, writing) = (prober.started(), writer.started());
    stage.wait_for_rows(3).await;
    until("the relay has acknowledged everything", LIMIT, || prober.at.metric("lapwing_queue_results") <= 1.0);
    let text = |role: &Role| role.at.get("/metrics").unwrap().body;
    let (of_prober, of_writer) = (text(&prober), text(&writer));
    for sample in ["{stage=\"probe\"}", "{stage=\"queue\"}", "{stage=\"relay\"}"] {
        assert!(of_prober.contains(&format!("lapwing_last_progress_timestamp_seconds{sample}")), "{of_prober}");
    }
    for sample in
        ["lapwing_last_progress_timestamp_seconds{stage=\"write\"}", "lapwing_consumer_lag_records{partition=\"2\"}"]
    {
        assert!(of_writer.contains(sample), "{of_writer}");
    }
    assert!(writer.at.metric("lapwing_results_stored_total") >= 3.0);
    drop((probing, writing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_without_a_store_takes_sqlite_and_says_so() {
    let site = Site::serve([resp(200, "fine")]);
    let stage = Stage::new().await;
    let prober = stage.prober(&format!("targets:\n{}", every_second("t", &site.url("/"))));
    let writer = Role::new("write", &stage.kafka());
    let (_probing, writing) = (prober.started(), writer.started());
    let said = writing.wait_for_line(LIMIT, |line| line.contains("no `store` is named"));
    assert!(said.contains("lapwing.db"), "{said}");
    block_in_place(|| writer.at.wait_for_results("t", 2));
    assert_eq!(stop(writing).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_with_a_section_kafka_is_both_halves_in_one_process() {
    let site = Site::serve([resp(200, "fine")]);
    let stage = Stage::new().await;
    let (program, port) = (Program::new(env!("CARGO_BIN_EXE_lapwing")), free_port());
    let listens = format!("location: test\nweb: {{listen: \"127.0.0.1:{port}\"}}\n");
    program.write("lapwing.yaml", format!("{listens}{}targets:\n{}", stage.kafka(), every_second("t", &site.url("/"))));
    let running = program.spawn(&["run"]);
    let store = program.folder().join("lapwing.db");
    let stored = || tables::try_select(&store, "select * from results").map_or(0, |rows| rows.len());
    block_in_place(|| until("three results are stored", LIMIT, || stored() >= 3));
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
    let records = stage.topic.all();
    assert!(records.len() >= 3 && records.iter().all(|record| record.key() == "t"), "{records:?}");
}
