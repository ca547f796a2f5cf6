//! Least rights in the database: what `packaging/postgres/roles.sql` grants suffices, and nothing more is granted.

use super::{
    changes::result,
    stage::{Role, Stage, select},
};
use crate::at_work::{LIMIT, stop};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use testkit::{OnWire, Output, Postgres, eventually, kafka_brokers, until};

const ROLES: &str = include_str!("../../../../../packaging/postgres/roles.sql");
const PASSWORD: &str = "hunter2-of-a-role";
const DAY: i64 = 86_400;

/// A database whose administrator is no superuser, as that of a managed service.
struct Managed {
    stage: Stage,
    admin: String,
    port: u16,
}

impl Managed {
    async fn on(server: &Postgres) -> Self {
        let stage = Stage::on(kafka_brokers(), server.database().await);
        let admin = stage.database.role().await;
        let name = admin.split_once("://").and_then(|(_, rest)| rest.split_once(':')).unwrap().0;
        stage.database.execute(&format!("alter role {name} createrole")).await;
        stage.database.execute(&format!("alter database {} owner to {name}", stage.database.name())).await;
        Self { stage, admin, port: server.port() }
    }

    async fn grant(&self) {
        run(&self.admin, ROLES).await.expect("the file can be run");
    }

    fn url(&self, role: &str) -> String {
        format!("postgres://lapwing_{role}:{PASSWORD}@127.0.0.1:{}/{}", self.port, self.stage.database.name())
    }

    /// A writer, or a person with its configuration, as one of the roles.
    fn lapwing(&self, role: &str) -> Role {
        Role::new("write", &format!("{}store: \"{}\"\n", self.stage.kafka(), self.url(role)))
    }

    /// Refused, for a right that is missing.
    async fn refused(&self, role: &str, sql: &str) {
        let code = match run(&self.url(role), sql).await {
            Err(sqlx::Error::Database(error)) => error.code().map(std::borrow::Cow::into_owned),
            other => panic!("{role}: {sql}: {other:?}"),
        };
        assert_eq!(code.as_deref(), Some("42501"), "{role}: {sql}");
    }
}

async fn run(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
    connection.close().await
}

#[track_caller]
fn ok(output: Output) -> Output {
    assert_eq!(output.code, 0, "{output}");
    output
}

fn day(days_ago: i64) -> String {
    let due: serde_json::Value = serde_json::from_slice(&result("t", days_ago * DAY)).unwrap();
    due["due_at"].as_str().unwrap()[..10].replace('-', "")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_of_the_file_can_do_its_work_and_nothing_else() {
    let server = Postgres::start().await;
    let managed = Managed::on(&server).await;
    let stage = &managed.stage;
    let (owner, writer) = (managed.lapwing("owner"), managed.lapwing("writer"));
    managed.grant().await;
    for role in ["owner", "writer", "reader"] {
        run(&managed.admin, &format!("alter role lapwing_{role} password '{PASSWORD}'")).await.unwrap();
    }
    let early = writer.at.program.run(&["write"]);
    assert!(early.code == 3 && early.stderr.contains("run `lapwing db migrate` as the owner"), "{early}");
    ok(owner.at.program.run(&["db", "migrate"]));
    let early = writer.at.program.run(&["write"]);
    assert!(early.code == 3 && early.stderr.contains("docs/managed-services.md"), "{early}");
    managed.grant().await;

    // Results, letters and their copies, a retry, a gap.
    stage.database.execute("alter table checks add constraint no_t1 check (body_bytes is distinct from 13)").await;
    stage.topic.create(1, &[]).await;
    let writing = writer.started();
    let mut refused: serde_json::Value = serde_json::from_slice(&result("t1", 5)).unwrap();
    refused["body_bytes"] = 13.into();
    let twice = result("t", 5);
    let records = [twice.clone(), twice, refused.to_string().into_bytes(), b"junk".to_vec(), result("t", DAY)];
    stage.topic.put(&records.map(OnWire::value));
    stage.wait_for_rows(2).await;
    eventually("two letters are copied", LIMIT, async || stage.dead_topic().all().len() == 2).await;
    stage.database.execute("alter table checks drop constraint no_t1").await;
    ok(writer.at.program.run(&["dead", "replay", "--reason", "refused"]));
    stage.wait_for_rows(3).await;
    ok(writer.at.program.run(&["dead", "list", "--all"]));
    let purge = &["dead", "purge", "--resolved"];
    let refused = writer.at.program.run(purge);
    assert!(refused.code == 3 && refused.stderr.contains("or do this as the owner of the tables"), "{refused}");
    ok(owner.at.program.run(purge));
    ok(writer.at.program.run(&["db", "status"]));
    assert_eq!(stop(writing).code, 0);
    stage.topic.put(&(10..20).map(|s| OnWire::value(result("later", s))).collect::<Vec<_>>());
    stage.topic.expire(0, 8).await;
    let writing = writer.started();
    stage.wait_for_rows(10).await;
    assert_eq!(stage.select("select from_offset, to_offset from gaps").await.len(), 1);

    // A day that nobody has made. (It takes the writer half a minute to try again.)
    stage.database.execute(&format!("drop table checks_{}", day(3))).await;
    stage.topic.put(&[OnWire::value(result("late", 3 * DAY))]);
    until("/readyz says what to do", LIMIT, || writer.at.readiness().1.contains("run `lapwing db prune` as the owner"));
    let pruned = ok(owner.at.program.run(&["db", "prune"]));
    assert!(pruned.stdout.contains("has its partition"), "{pruned}");
    stage.wait_for_rows(11).await;
    until("/readyz says 200 again", LIMIT, || writer.at.readiness().0 == 200);
    let not_ours = writer.at.program.run(&["db", "prune"]);
    assert!(not_ours.code == 3 && not_ours.stderr.contains("does not own"), "{not_ours}");
    let output = stop(writing);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(output.stderr.matches("this user does not own the tables").count(), 1, "{output}");
    assert!(!output.stderr.contains("can't be made yet") && !output.stderr.contains(PASSWORD), "{output}");

    let rows = select(&managed.url("reader"), "select target, verdict from results").await;
    assert_eq!(rows.len(), 11);
    let today = day(0);
    for sql in [
        "drop table checks",
        "alter table checks add more integer",
        "create table mine (n integer)",
        "create index on checks (target)",
        "delete from checks",
        "update checks set target = 1",
        "truncate checks",
        "delete from dead_letters",
        "delete from offsets",
        "update facts set verdict = 'up'",
        "update gaps set at = now()",
        "update schema_version set version = 0",
        &format!("drop table checks_{today}"),
        &format!("delete from checks_{today}"),
        "set role lapwing_owner",
    ] {
        managed.refused("writer", sql).await;
        managed.refused("reader", sql).await;
    }
    for sql in [
        "select * from dead_letters",
        "select * from checks",
        "select * from offsets",
        "insert into locations (location) values ('x')",
        "update targets set name = 'x'",
    ] {
        managed.refused("reader", sql).await;
    }
    // Who adds a table to the schema has to say what the writer may do with it.
    let forgotten = "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
        and not relispartition and not has_table_privilege('lapwing_writer', oid, 'select')";
    assert_eq!(stage.select(forgotten).await, []);
}
