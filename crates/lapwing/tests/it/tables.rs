//! The database files as any other program sees them: read, changed behind Lapwing's back, locked.

use serde_json::{Map, Value};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection as _, Row as _, SqliteConnection, TypeInfo, ValueRef, query,
    raw_sql,
};
use std::path::Path;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// A row by its columns' names.
pub type Row = Map<String, Value>;

/// Every row of a query, over a connection that can't write.
#[track_caller]
pub fn select(file: &Path, sql: &str) -> Vec<Row> {
    try_select(file, sql).unwrap_or_else(|e| panic!("{sql} in {}: {e}", file.display()))
}

/// The same; an error while there is no file yet, or no table in it.
pub fn try_select(file: &Path, sql: &str) -> sqlx::Result<Vec<Row>> {
    let options = options(file).read_only(true);
    runtime().block_on(async {
        let mut connection = options.connect().await?;
        let rows = query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await;
        connection.close().await?;
        Ok(rows?.iter().map(row).collect())
    })
}

/// The only value of a query.
#[track_caller]
pub fn value(file: &Path, sql: &str) -> Value {
    let rows = select(file, sql);
    let mut values: Vec<_> = rows.iter().flat_map(Map::values).cloned().collect();
    assert_eq!(values.len(), 1, "{sql} has one value");
    values.remove(0)
}

/// Changes a file that no Lapwing is using.
#[track_caller]
pub fn execute(file: &Path, sql: &str) {
    let (runtime, mut connection) = connect(file);
    runtime.block_on(raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection)).unwrap();
    runtime.block_on(connection.close()).unwrap();
}

/// Another program has the file locked against writing; until it is dropped.
pub struct Locked {
    runtime: Runtime,
    connection: Option<SqliteConnection>,
}

impl Locked {
    #[track_caller]
    pub fn hold(file: &Path) -> Self {
        let (runtime, mut connection) = connect(file);
        runtime.block_on(raw_sql("begin immediate").execute(&mut connection)).unwrap();
        Self { runtime, connection: Some(connection) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // A connection that is only dropped lets go at some later moment.
        let connection = self.connection.take().expect("it is there until now");
        self.runtime.block_on(connection.close()).unwrap();
    }
}

fn connect(file: &Path) -> (Runtime, SqliteConnection) {
    let runtime = runtime();
    let connection = runtime.block_on(options(file).connect()).unwrap();
    (runtime, connection)
}

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(20)).disable_statement_logging()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn row(row: &SqliteRow) -> Row {
    let value = |i: usize| {
        let raw = row.try_get_raw(i).unwrap();
        match raw.type_info().name() {
            _ if raw.is_null() => Value::Null,
            "INTEGER" => row.get::<i64, _>(i).into(),
            "TEXT" => row.get::<String, _>(i).into(),
            other => panic!("{} is {other}", row.column(i).name()),
        }
    };
    row.columns().iter().enumerate().map(|(i, column)| (column.name().to_owned(), value(i))).collect()
}
