//! The store's write path on PostgreSQL, beside plain `COPY` of the same rows into the same table and beside the shape of a JDBC
//! sink; and what it costs to go on for a day.

use crate::rows::Rows;
use anyhow::ensure;
use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt, future::try_join_all, pin_mut};
use model::UnixMs;
use std::time::{Duration, Instant, SystemTime};
use store::{Keep, Settings, Store, Written};
use testkit::{Postgres, TestDatabase};
use tokio_postgres::{Client, NoTls, types::ToSql};
use tokio_util::sync::CancellationToken;

/// Rows of a batch, and batches of a round.
const BATCH: u64 = 20_000;
const ROUND: u64 = 30;
/// What a JDBC sink sends in one transaction.
const JDBC: usize = 3_000;

/// Everything about the store, as a table of ratios.
pub fn all(rounds: usize, sustained: u64) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let server = Postgres::start().await;
        write_path(&server, rounds).await?;
        if sustained > 0 {
            go_on(&server, sustained * 1_000_000).await?;
        }
        Ok(())
    })
}

/// The beginning of today: everything falls into one partition that is there.
fn begin() -> UnixMs {
    let now = UnixMs::from_system(SystemTime::now()).0;
    UnixMs(now - now % 86_400_000)
}

fn keep() -> Keep {
    Keep { now: UnixMs::from_system(SystemTime::now()), checks: Duration::from_secs(400 * 86_400) }
}

async fn open(database: &TestDatabase) -> anyhow::Result<(Store, Client)> {
    Ok((open_store(database).await?, connect(database).await?))
}

pub async fn open_store(database: &TestDatabase) -> anyhow::Result<Store> {
    Ok(Store::open_postgres(&database.url().parse()?, Settings::default(), &CancellationToken::new()).await?)
}

/// As another program.
pub async fn connect(database: &TestDatabase) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn write_path(server: &Postgres, rounds: usize) -> anyhow::Result<()> {
    let database = server.database().await;
    let (mut store, client) = open(&database).await?;
    let rows = Rows::of(10_000, begin());
    let (mut stored, mut copied, mut upserted) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds as u64 {
        let batches: Vec<_> =
            (0..ROUND).map(|n| (round * ROUND + n) * BATCH).map(|n| rows.batch(n..n + BATCH)).collect();
        client.batch_execute("truncate checks; checkpoint").await?;
        let begun = Instant::now();
        for batch in &batches {
            let written = store.write(batch, &keep()).await?;
            ensure!(matches!(written, Written::Committed(counts) if counts.stored == BATCH), "{written:?}");
        }
        let took = begun.elapsed();
        if round == 0 {
            continue; // names and partitions are made once
        }
        stored.push(rate(ROUND * BATCH, took));
        let files = in_arrival_order(&client, &batches).await?;
        client.batch_execute("truncate checks; checkpoint").await?;
        copied.push(copy(&client, files).await?);
        upserted.push(upsert(&client).await?);
    }
    // Of each round by itself: what else the machine does at that time slows both.
    let ratio = |beside: &[f64]| median(stored.iter().zip(beside).map(|(ours, theirs)| ours / theirs).collect());
    let (to_copy, to_upserts) = (ratio(&copied), ratio(&upserted));
    let (stored, copied, upserted) = (median(stored), median(copied), median(upserted));
    println!(
        "store, decoded results -> committed, {BATCH} a batch: {stored:.0} rows/s; plain binary COPY of the same rows: {copied:.0}; ratio {to_copy:.2} (goal: at least 0.95)"
    );
    println!(
        "prepared single-row upserts, {JDBC} a transaction, pipelined: {upserted:.0} rows/s; ratio {to_upserts:.1} (goal: at least 7)"
    );
    store.close().await;
    Ok(())
}

/// The rows that are stored, batch by batch as a binary `COPY`, in the order in which they had come.
async fn in_arrival_order(client: &Client, batches: &[model::batch::Batch]) -> anyhow::Result<Vec<Vec<Bytes>>> {
    // Which batch a row was of shows in its time alone: a stretch of jitter is much shorter than a batch.
    let mut files = Vec::new();
    for n in 0..batches.len() {
        let query = format!(
            "copy (select * from (select * from checks order by due_at, target offset {} limit {BATCH}) part order by lag_us) to stdout (format binary)",
            n as u64 * BATCH
        );
        let stream = client.copy_out(&query).await?;
        pin_mut!(stream);
        let mut file = Vec::new();
        while let Some(bytes) = stream.try_next().await? {
            file.push(bytes);
        }
        files.push(file);
    }
    Ok(files)
}

async fn copy(client: &Client, files: Vec<Vec<Bytes>>) -> anyhow::Result<f64> {
    let statement = client.prepare("copy checks from stdin (format binary)").await?;
    let begun = Instant::now();
    let mut rows = 0;
    for file in files {
        let sink = client.copy_in(&statement).await?;
        pin_mut!(sink);
        for bytes in file {
            sink.feed(bytes).await?;
        }
        rows += sink.finish().await?;
    }
    ensure!(rows == ROUND * BATCH, "{rows} rows were copied");
    Ok(rate(rows, begun.elapsed()))
}

type Upsert = (SystemTime, Option<SystemTime>, [i32; 3], [Option<i32>; 9], Option<String>);

/// The shape of Kafka Connect's JDBC sink, over the rows that are there.
async fn upsert(client: &Client) -> anyhow::Result<f64> {
    let rows = client.query("select * from checks order by due_at, target limit $1", &[&(JDBC as i64 * 20)]).await?;
    let rows: Vec<Upsert> = rows
        .iter()
        .map(|row| {
            (
                row.get(0),
                row.get(1),
                [2, 3, 4].map(|n| row.get(n)),
                [5, 6, 7, 8, 9, 10, 11, 12, 13].map(|n| row.get(n)),
                row.get(14),
            )
        })
        .collect();
    client.batch_execute("truncate checks; checkpoint").await?;
    let statement = client
        .prepare(
            "insert into checks values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
             on conflict (due_at, target, location) do update set total_us = excluded.total_us",
        )
        .await?;
    let begun = Instant::now();
    for part in rows.chunks(JDBC) {
        client.batch_execute("begin").await?;
        let values: Vec<Vec<&(dyn ToSql + Sync)>> = part
            .iter()
            .map(|(due_at, started_at, ids, numbers, message)| {
                let mut values: Vec<&(dyn ToSql + Sync)> = vec![due_at, started_at];
                values.extend(ids.iter().map(|id| id as &(dyn ToSql + Sync)));
                values.extend(numbers.iter().map(|number| number as &(dyn ToSql + Sync)));
                values.push(message);
                values
            })
            .collect();
        try_join_all(values.iter().map(|values| client.execute(&statement, values))).await?;
        client.batch_execute("commit").await?;
    }
    Ok(rate(rows.len() as u64, begun.elapsed()))
}

/// A day's worth: does it stay as fast, and what does a row cost?
async fn go_on(server: &Postgres, rows: u64) -> anyhow::Result<()> {
    let database = server.database().await;
    let (mut store, client) = open(&database).await?;
    let all = Rows::of(100_000, begin());
    // Names once, beside the measure: every target is new only once in its life.
    store.write(&all.batch(0..100_000), &keep()).await?;
    let wal = "select (pg_current_wal_lsn() - '0/0')::bigint";
    let before: i64 = client.query_one(wal, &[]).await?.get(0);
    let mut took = Vec::new();
    let first = 100_000;
    for n in 0..rows / BATCH {
        let batch = all.batch(first + n * BATCH..first + (n + 1) * BATCH);
        let begun = Instant::now();
        let written = store.write(&batch, &keep()).await?;
        took.push(begun.elapsed());
        ensure!(matches!(written, Written::Committed(counts) if counts.stored == BATCH), "{written:?}");
    }
    let after: i64 = client.query_one(wal, &[]).await?.get(0);
    let part = |took: &[Duration]| rate(took.len() as u64 * BATCH, took.iter().sum());
    let len = took.len().min(ROUND as usize);
    let (first, last) = (part(&took[..len]), part(&took[took.len() - len..]));
    let size = "select sum(pg_table_size(inhrelid))::bigint, sum(pg_indexes_size(inhrelid))::bigint, (select count(*) from checks)
                from pg_inherits where inhparent = 'checks'::regclass";
    let size = client.query_one(size, &[]).await?;
    let (heap, index, count): (i64, i64, i64) = (size.get(0), size.get(1), size.get(2));
    let per_row = |bytes: i64| bytes as f64 / count as f64;
    println!(
        "{:.1} M rows of 100,000 targets: first 0.6 M {first:.0} rows/s, last 0.6 M {last:.0}; ratio {:.2} (goal: at least 0.9)",
        count as f64 / 1e6,
        last / first
    );
    println!(
        "  WAL {:.0} B a row (goal: at most 200); heap {:.1} + index {:.1} = {:.1} B a row (goal: at most 145)",
        (after - before) as f64 / (took.len() as u64 * BATCH) as f64,
        per_row(heap),
        per_row(index),
        per_row(heap + index)
    );
    store.close().await;
    drop(client);
    drop(database);
    Ok(())
}

fn rate(rows: u64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
