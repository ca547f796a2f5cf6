//! A topic, a group and a database of a test's own, and programs of both roles on them.

use crate::at_work::{LIMIT, Lapwing, program};
use crate::tables::Row;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use testkit::{OnWire, Program, Running, TestDatabase, Topic, eventually, free_port, kafka_brokers, unique};

pub struct Stage {
    pub database: TestDatabase,
    pub topic: Topic,
    pub group: String,
    brokers: String,
}

impl Stage {
    /// On the shared services.
    pub async fn new() -> Self {
        Self::on(kafka_brokers(), TestDatabase::new().await)
    }

    pub fn on(brokers: String, database: TestDatabase) -> Self {
        let topic = Topic::at(&brokers, &unique("results"));
        Self { database, topic, group: unique("writer"), brokers }
    }

    /// A topic of one partition, and a writer at work on it.
    pub async fn with_writer() -> (Self, Role, Running) {
        let stage = Self::new().await;
        stage.topic.create(1, &[]).await;
        let writer = stage.writer();
        let writing = writer.started();
        (stage, writer, writing)
    }

    /// The section `kafka`.
    pub fn kafka(&self) -> String {
        self.kafka_with("partitions: 3")
    }

    /// The same, with more of its keys.
    pub fn kafka_with(&self, more: &str) -> String {
        let (topic, group, brokers) = (&self.topic.name, &self.group, &self.brokers);
        format!("kafka: {{brokers: \"{brokers}\", topic: {topic}, dead_topic: {topic}.dead, group: {group}, {more}}}\n")
    }

    /// Where letters are copied to.
    pub fn dead_topic(&self) -> Topic {
        Topic::at(&self.brokers, &format!("{}.dead", self.topic.name))
    }

    pub fn store(&self) -> String {
        format!("store: \"{}\"\n", self.database.url())
    }

    /// Not started yet.
    pub fn prober(&self, targets: &str) -> Role {
        Role::new("probe", &format!("{}{targets}", self.kafka()))
    }

    /// Not started yet.
    pub fn writer(&self) -> Role {
        Role::new("write", &format!("{}{}", self.kafka(), self.store()))
    }

    /// Rows of a query, by the names of their columns; times as in the record.
    pub async fn select(&self, sql: &str) -> Vec<Row> {
        select(&self.database.url(), sql).await
    }

    /// How many rows there are; 0 while there is no table.
    pub async fn stored(&self) -> u64 {
        let Ok(mut connection) = PgConnection::connect(&self.database.url()).await else { return 0 };
        let count = sqlx::query_scalar::<_, i64>("select count(*) from checks").fetch_one(&mut connection).await;
        count.ok().and_then(|n| n.try_into().ok()).unwrap_or(0)
    }

    /// Waits until so many rows are stored, or more.
    pub async fn wait_for_rows(&self, count: u64) {
        eventually(&format!("{count} rows are stored"), LIMIT, async || self.stored().await >= count).await;
    }

    /// Waits until everything that is in the topic now has been read: every partition's stored offset is at its end.
    pub async fn all_is_stored(&self) -> Vec<OnWire> {
        let records = self.topic.all();
        eventually("everything in the topic is stored", 2 * LIMIT, async || {
            let stored = self.select("select sum(next)::bigint as next from offsets").await;
            stored[0]["next"].as_u64() == Some(records.len() as u64)
        })
        .await;
        records
    }
}

/// A record as the view shows it: without what is absent, `tls` flattened.
pub fn as_row(record: &OnWire) -> Row {
    let Value::Object(record) = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap() else { panic!() };
    let mut row = Row::new();
    for (name, value) in record {
        match value {
            Value::Object(tls) => row.extend(tls.into_iter().map(|(part, value)| (format!("{name}_{part}"), value))),
            value => drop(row.insert(name, value)),
        }
    }
    row
}

/// A row without what is absent.
pub fn present(row: &Row) -> Row {
    row.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub async fn select(url: &str, sql: &str) -> Vec<Row> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("set timezone = 'UTC'").execute(&mut connection).await.unwrap();
    let sql = format!("select to_jsonb(r)::text from ({sql}) r");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| row_of(&row.get::<String, _>(0))).collect()
}

fn row_of(json: &str) -> Row {
    let row: Row = serde_json::from_str(json).unwrap();
    row.into_iter().map(|(name, value)| (name.clone(), as_in_the_record(&name, value))).collect()
}

/// PostgreSQL leaves zeros at the end of a fraction out.
fn as_in_the_record(column: &str, value: Value) -> Value {
    let is_time = column.ends_with("_at") || column.ends_with("_before") || column.ends_with("_after");
    match value.as_str().and_then(|text| text.strip_suffix("+00:00")) {
        Some(time) if is_time => {
            let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
            format!("{seconds}.{fraction:0<3}Z").into()
        }
        _ => value,
    }
}

/// A folder, a configuration and a port for a role.
pub struct Role {
    role: &'static str,
    pub at: Lapwing,
}

impl Role {
    pub fn new(role: &'static str, config: &str) -> Self {
        Self::of(program(), role, config)
    }

    /// A role of another program than this version's.
    pub fn of(program: Program, role: &'static str, config: &str) -> Self {
        let role = Self { role, at: Lapwing { program, port: free_port() } };
        role.configure(config);
        role
    }

    /// Writes the configuration anew, in place, with `location` and `metrics.listen` before it.
    pub fn configure(&self, config: &str) {
        let listens = format!("location: test\nmetrics: {{listen: \"127.0.0.1:{}\"}}\n", self.at.port);
        let targets = if config.contains("targets:") { "" } else { "targets: []\n" };
        self.at.program.write("lapwing.yaml", format!("{listens}{config}{targets}"));
    }

    pub fn name(&self) -> &'static str {
        self.role
    }

    pub fn start(&self) -> Running {
        self.at.program.spawn(&[self.role, "-v"])
    }

    /// How many partitions a writer reads; 0 while it starts.
    pub fn partitions(&self) -> usize {
        self.at.get("/metrics").map_or(0, |answer| answer.body.matches("lapwing_consumer_lag_records{").count())
    }

    /// Started, and ready.
    pub fn started(&self) -> Running {
        let running = self.start();
        self.at.wait_until_ready();
        running
    }
}
