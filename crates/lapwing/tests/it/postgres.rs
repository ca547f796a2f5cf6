//! `lapwing run` on PostgreSQL: the same pipeline over another store.

use sqlx::{Connection as _, PgConnection, Row as _};
use std::time::Duration;
use testkit::{Program, Site, TestDatabase, free_port, get, step::*, until};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn results_are_rows_of_a_postgres_database_and_a_restart_goes_on_where_it_stood() {
    let (database, site) = (TestDatabase::new().await, Site::serve([resp(200, "fine")]));
    let (program, port) = (Program::new(env!("CARGO_BIN_EXE_lapwing")), free_port());
    program.write(
        "lapwing.yaml",
        format!(
            "store: \"{}\"\nweb: {{listen: \"127.0.0.1:{port}\"}}\ntargets: [{{url: \"{}\", id: page, interval: 1s}}]\n",
            database.url(),
            site.url("/")
        ),
    );
    let stored = |port| {
        let text = get(&format!("http://127.0.0.1:{port}/metrics")).map(|a| a.body).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("lapwing_results_stored_total "));
        line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    for _ in 0..2 {
        let running = program.spawn(&["run"]);
        until("results are stored", LIMIT, || stored(port) >= 2);
        assert_eq!(get(&format!("http://127.0.0.1:{port}/readyz")).unwrap().status, 200);
        running.kill9();
    }
    let mut db = PgConnection::connect(&database.url()).await.unwrap();
    let sql = "select count(*), count(distinct due_at), count(*) filter (where verdict = 'up' and target = 'page') from results";
    let row = sqlx::query(sql).fetch_one(&mut db).await.unwrap();
    let (all, slots, up): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert!(all >= 4 && slots == all && up == all, "{all} rows, {slots} slots, {up} up");
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_the_end_and_is_not_shown() {
    let database = TestDatabase::new().await;
    let url = url_with_password(&database.role().await, "hunter2-swordfish");
    let program = Program::new(env!("CARGO_BIN_EXE_lapwing"));
    program.write(
        "lapwing.yaml",
        format!("store: \"{url}\"\nweb: {{listen: \"127.0.0.1:{}\"}}\ntargets: []\n", free_port()),
    );
    let out = program.run(&["run"]);
    assert_eq!(out.code, 3, "{out}");
    assert!(out.stderr.contains("refuses the login") && !out.stderr.contains("hunter2"), "{out}");
}

fn url_with_password(url: &str, password: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (login, host) = rest.split_once('@').unwrap();
    let user = login.split(':').next().unwrap();
    format!("{scheme}://{user}:{password}@{host}")
}
