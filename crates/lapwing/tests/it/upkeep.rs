//! What is stored does not grow for ever, and people can see what there is: `db status`, `db prune`, and retention by itself.

use crate::at_work::{LIMIT, Lapwing, stop, targets};
use std::{thread::sleep, time::Duration};
use testkit::{Output, Site, step::*, until};

fn ok(output: Output) -> Output {
    assert_eq!(output.code, 0, "{output}");
    output
}

#[test]
fn status_and_prune_work_beside_a_lapwing_at_work() {
    let site = Site::serve([resp(200, "fine")]);
    let targets = targets([("fine", site.url("/"))]);
    let lapwing = Lapwing::with(&targets);
    let running = lapwing.started();
    lapwing.wait_for_results("fine", 3);
    let text = ok(lapwing.program.run(&["db", "status"])).stdout;
    for part in ["lapwing.db", "schema 3", "results", "no letters", "queue"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let status = &ok(lapwing.program.run(&["db", "status", "--json"])).json()[0];
    assert!(status["results"].as_u64().unwrap() >= 3 && status["results_exact"] == true, "{status}");
    assert_eq!((&status["targets"], &status["dead_letters"]), (&1.into(), &serde_json::json!([])));
    assert_eq!(status["offsets"][0]["topic"], "queue");

    let dry = ok(lapwing.program.run(&["db", "prune", "--dry-run"])).stdout;
    assert!(dry.contains("0 results, due before") && dry.contains("nothing was changed"), "{dry}");
    assert!(ok(lapwing.program.run(&["db", "prune"])).stdout.starts_with("every result that is left"));

    sleep(Duration::from_secs(2)); // until those have expired
    lapwing.configure(&format!("retention: {{checks: 1s}}\n{targets}"));
    ok(lapwing.program.run(&["db", "prune"]));
    let left = lapwing.results("fine");
    assert!(left.iter().all(|row| row["due_at"].as_str() > status["newest"].as_str()), "{left:?}");
    assert_eq!(stop(running).code, 0);
}

#[test]
fn what_has_expired_goes_by_itself() {
    let site = Site::serve([resp(200, "fine")]);
    let targets = targets([("fine", site.url("/"))]);
    let lapwing = Lapwing::with(&targets);
    let running = lapwing.started();
    let old = lapwing.wait_for_results("fine", 3);
    assert_eq!(stop(running).code, 0);
    sleep(Duration::from_secs(2)); // until all of them have expired
    lapwing.configure(&format!("retention: {{checks: 1s}}\n{targets}"));
    let running = lapwing.started();
    let last = old.last().unwrap()["due_at"].as_str().unwrap().to_owned();
    until("the results of before are gone", LIMIT, || {
        lapwing.results("fine").iter().all(|row| row["due_at"].as_str() > Some(&last))
    });
    assert_eq!(stop(running).code, 0);
}
