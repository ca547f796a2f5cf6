//! `lapwing run` in fair weather: results of real sites in the store, changes told to people, itself shown to machines.

use crate::at_work::{LIMIT, Lapwing, ms, stop, targets};
use crate::ledger::is_slot;
use crate::tables::Row;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::{Refused, Site, Tls, pki, step::*, until};

#[test]
fn a_first_result_is_in_the_store_within_seconds_of_the_start() {
    let site = Site::serve([resp(200, "fine")]);
    // Due once a day: a start looks at once, not at the next slot.
    let lapwing = Lapwing::with(&format!("targets: [{{url: \"{}\", id: daily, interval: 24h}}]", site.url("/")));
    let started = Instant::now();
    let _running = lapwing.start();
    let results = lapwing.wait_for_results("daily", 1);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(results[0]["verdict"], "up");
    assert!(is_slot(&results[0]), "{results:?}");
}

/// Holds the columns against what is expected, and the rest against the rules for every result.
#[track_caller]
fn check(lapwing: &Lapwing, target: &str, want: &Value) {
    let row = &lapwing.wait_for_results(target, 1)[0];
    for (column, want) in want.as_object().unwrap() {
        assert_eq!(&row[column], want, "{column} of {row:?}");
    }
    assert_eq!((&row["v"], &row["location"], &row["interval_ms"]), (&json!(1), &json!("test"), &json!(60_000)));
    let (due, started) = (ms(row, "due_at"), ms(row, "started_at"));
    assert!(is_slot(row) && started >= due && started - due < 60_000, "{row:?}");
    // Started as late as it says; one is rounded to milliseconds, the other is of another clock.
    let lag = row["lag_us"].as_i64().unwrap() / 1000;
    assert!((started - due - lag).abs() <= 50, "{row:?}");
    let phases: i64 = phases(row).iter().filter_map(|(_, us)| *us).sum();
    assert!((row["total_us"].as_i64().unwrap() - phases).abs() <= 1000, "{row:?}");
}

fn phases(row: &Row) -> Vec<(&'static str, Option<i64>)> {
    ["dns_us", "connect_us", "tls_us", "wait_us", "transfer_us"].map(|p| (p, row[p].as_i64())).into()
}

fn entered(row: &Row) -> Vec<&'static str> {
    phases(row).iter().filter(|(_, us)| us.is_some()).map(|(name, _)| *name).collect()
}

#[test]
fn the_stored_results_are_what_the_sites_did_field_by_field() {
    let site = Site::routes([
        ("/page", vec![resp(200, "Add to basket")]),
        ("/gone", vec![resp(404, "no")]),
        ("/moved", vec![redirect(302, "/page?session=abc")]),
        ("/page?session=abc", vec![resp(200, "Add to basket")]),
        ("/silent", vec![hold()]),
    ]);
    let (refused, secure) = (Refused::new(), Site::tls(Tls::with(&pki().expired), [resp(200, "never")]));
    let lapwing = Lapwing::with(&format!(
        "targets:\n\
         - {{url: \"{}\", id: page, name: Shop, group: Sites, expect: {{body: Add to (basket|cart)}}}}\n\
         - {{url: \"{}\", id: gone}}\n\
         - {{url: \"{}\", id: moved}}\n\
         - {{url: \"{}\", id: silent, timeout: 2s, retries: 1}}\n\
         - {{url: \"{}\", id: refused}}\n\
         - {{url: \"{}\", id: expired, request: {{tls: {{ca_file: root.pem}}}}}}\n",
        site.url("/page"),
        site.url("/gone"),
        site.url("/moved"),
        site.url("/silent"),
        refused.url("/"),
        secure.url("/"),
    ));
    pki().write(lapwing.program.folder());
    let running = lapwing.start();
    let peer = |port: u16| format!("127.0.0.1:{port}");
    let nothing = Value::Null;
    check(
        &lapwing,
        "page",
        &json!({"name": "Shop", "group": "Sites", "url": site.url("/page"), "verdict": "up", "reason": nothing,
            "phase": nothing, "message": nothing, "attempts": 1, "status": 200, "http": "1.1", "peer": peer(site.port()),
            "final_url": nothing, "redirects": 0, "body_bytes": 13, "tls_subject": nothing, "tls_version": nothing}),
    );
    check(
        &lapwing,
        "gone",
        &json!({"name": "gone", "group": nothing, "verdict": "down", "reason": "status", "phase": "expect", "status": 404,
            "attempts": 1}),
    );
    check(
        &lapwing,
        "moved",
        &json!({"verdict": "up", "url": site.url("/moved"), "final_url": site.url("/page?session=***"), "redirects": 1,
            "status": 200}),
    );
    check(
        &lapwing,
        "silent",
        &json!({"verdict": "down", "reason": "timeout", "phase": "wait", "attempts": 2, "status": nothing,
            "http": nothing, "peer": peer(site.port()), "transfer_us": nothing, "body_bytes": nothing}),
    );
    check(
        &lapwing,
        "refused",
        &json!({"verdict": "down", "reason": "connect_refused", "phase": "connect", "peer": peer(refused.port()),
            "status": nothing, "wait_us": nothing}),
    );
    let at = |time: std::time::SystemTime| model::UnixMs::from_system(time).to_string();
    let expired = &pki().expired;
    check(
        &lapwing,
        "expired",
        &json!({"verdict": "down", "reason": "tls_expired", "phase": "tls", "tls_subject": "CN=localhost",
            "tls_not_before": at(expired.not_before), "tls_not_after": at(expired.not_after), "wait_us": nothing}),
    );
    assert_eq!(entered(&lapwing.results("page")[0]), ["connect_us", "wait_us", "transfer_us"]);
    assert_eq!(entered(&lapwing.results("silent")[0]), ["connect_us", "wait_us"]);
    assert_eq!(entered(&lapwing.results("refused")[0]), ["connect_us"]);
    assert_eq!(entered(&lapwing.results("expired")[0]), ["connect_us", "tls_us"]);
    let silent = lapwing.results("silent")[0]["wait_us"].as_i64().unwrap();
    assert!((1_990_000..4_500_000).contains(&silent), "the silence of the last attempt is in wait: {silent}");
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_target_has_one_result_for_each_of_its_slots() {
    let site = Site::serve([resp(200, "fine")]);
    let lapwing = Lapwing::with(&targets([("tick", site.url("/"))]));
    let running = lapwing.start();
    let results = lapwing.wait_for_results("tick", 4);
    assert!(results.iter().all(is_slot), "{results:?}");
    let due: Vec<_> = results.iter().map(|row| ms(row, "due_at")).collect();
    assert!(due.windows(2).all(|w| w[1] - w[0] == 1000), "{due:?}");
    assert_eq!(stop(running).code, 0);
}

#[test]
fn each_change_of_a_targets_state_is_one_plain_line_on_stderr() {
    let site = Site::serve([resp(200, "fine")]);
    let lapwing = Lapwing::with(&targets([("flapping", site.url("/"))]));
    let running = lapwing.start();
    let told = |what: &str| {
        let what = format!(" flapping is {what}");
        running.wait_for_line(LIMIT, |line| line.contains(&what));
    };
    told("up: 200 in ");
    site.change([resp(500, "sorry")]);
    told("down (was up): status: ");
    let fails = site.requests().len();
    until("it fails more than once", LIMIT, || site.requests().len() > fails + 1);
    site.change([resp(200, "fine")]);
    told("up (was down): 200 in ");
    let output = stop(running);
    assert_eq!(output.stderr.matches(" flapping is ").count(), 3, "{output}");
    assert_eq!(output.stdout, "", "stdout is for data");
    assert!(!output.stderr.contains('\x1b'), "colours are for terminals: {output}");
}

#[test]
fn health_readiness_and_metrics_answer_before_the_first_check_ends() {
    let site = Site::serve([hold()]);
    let lapwing =
        Lapwing::with(&format!("targets: [{{url: \"{}\", id: endless, interval: 1h, timeout: 15m}}]", site.url("/")));
    let _running = lapwing.started();
    until("the check has begun", LIMIT, || site.requests().len() == 1);
    let health = lapwing.get("/healthz").unwrap();
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let ready = lapwing.get("/readyz").unwrap();
    assert_eq!((ready.status, ready.header("content-type")), (200, Some("application/json")));
    assert_eq!(serde_json::from_str::<Value>(&ready.body).unwrap(), json!({"ready": true}));
    let metrics = lapwing.get("/metrics").unwrap();
    assert_eq!(metrics.status, 200);
    assert_eq!(metrics.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(metrics.body.ends_with("# EOF\n"), "{}", metrics.body);
    assert_eq!(lapwing.metric("lapwing_checks_in_flight"), 1.0);
    assert_eq!(lapwing.metric("lapwing_check_lag_seconds_count"), 1.0);
    assert_eq!(lapwing.results("endless"), [] as [Row; 0], "nothing has ended");
}

#[test]
fn the_metrics_have_the_names_of_the_contract_from_the_start() {
    let lapwing = Lapwing::with("targets: []");
    let _running = lapwing.started();
    let text = lapwing.get("/metrics").unwrap().body;
    let samples = [
        r#"lapwing_checks_total{verdict="up",reason=""} "#,
        r#"lapwing_check_lag_seconds_bucket{le="+Inf"} "#,
        "lapwing_checks_in_flight ",
        "lapwing_queue_results ",
        "lapwing_queue_bytes ",
        "lapwing_queue_oldest_seconds ",
        "lapwing_queue_dropped_total ",
        "lapwing_results_stored_total ",
        r#"lapwing_results_skipped_total{cause="duplicate"} "#,
        r#"lapwing_results_skipped_total{cause="too_old"} "#,
        r#"lapwing_results_skipped_total{cause="unknown_kind"} "#,
        r#"lapwing_store_commit_seconds_bucket{le="+Inf"} "#,
        r#"lapwing_dead_letters_total{reason="not_json"} "#,
        r#"lapwing_dead_letters_total{reason="not_a_result"} "#,
        r#"lapwing_dead_letters_total{reason="newer_version"} "#,
        r#"lapwing_dead_letters_total{reason="refused"} "#,
        "lapwing_config_last_reload_successful 1",
    ];
    for sample in samples {
        assert!(text.lines().any(|line| line.starts_with(sample)), "{sample} is missing from\n{text}");
    }
}

#[test]
fn the_metrics_count_what_was_checked_and_stored() {
    let (site, refused) = (Site::serve([resp(200, "fine")]), Refused::new());
    let lapwing = Lapwing::with(&targets([("fine", site.url("/")), ("refused", refused.url("/"))]));
    let _running = lapwing.started();
    lapwing.wait_for_results("fine", 2);
    lapwing.wait_for_results("refused", 2);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    for stage in ["probe", "queue", "write"] {
        let at = lapwing.metric(&format!("lapwing_last_progress_timestamp_seconds{{stage=\"{stage}\"}}"));
        assert!((now - at).abs() < 20.0, "{stage} got on at {at}, it is {now}");
    }
    assert!(lapwing.metric("lapwing_checks_total{verdict=\"up\",reason=\"\"}") >= 2.0);
    assert!(lapwing.metric("lapwing_checks_total{verdict=\"down\",reason=\"connect_refused\"}") >= 2.0);
    assert!(lapwing.metric("lapwing_results_stored_total") >= 4.0);
    assert!(lapwing.metric("lapwing_store_commit_seconds_count") >= 1.0);
    assert_eq!(lapwing.metric("lapwing_results_skipped_total") + lapwing.metric("lapwing_queue_dropped_total"), 0.0);
}

#[test]
fn quiet_says_only_what_somebody_should_look_at_and_rust_log_says_it_in_detail() {
    let lapwing = Lapwing::with("targets: []");
    let said = |lapwing: &Lapwing, arguments: &[&str]| {
        let running = lapwing.program.spawn(&[&["run"], arguments].concat());
        lapwing.wait_until_ready();
        stop(running).stderr
    };
    assert!(said(&lapwing, &[]).contains("health and metrics on"));
    assert_eq!(said(&lapwing, &["-q"]), "");
    let lines = said(&lapwing, &["--log-format", "json"]);
    assert!(lines.lines().count() > 0);
    assert!(lines.lines().all(|line| serde_json::from_str::<Row>(line).is_ok()), "{lines}");
    let program = lapwing.program.env("RUST_LOG", "lapwing=error");
    assert_eq!(said(&Lapwing { program, ..lapwing }, &[]), "");
}
