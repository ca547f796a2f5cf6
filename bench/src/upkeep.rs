//! What keeping a store in order costs those who use it: a whole day dropped beside writers and readers, and letters replayed.

use crate::{
    rows::Rows,
    store::{connect, open_store},
};
use anyhow::{Context, ensure};
use model::UnixMs;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};
use store::{Keep, Step, Written};
use testkit::{Kafka, Postgres, Program, TestDatabase, free_port, unique};
use tokio::{task::JoinHandle, time::sleep};

const DAY_MS: i64 = 86_400_000;
const BATCH: u64 = 20_000;
/// What writers and readers do while a day goes: a batch of so many rows, a few times a second.
const SMALL: u64 = 1_000;
const LIMIT: Duration = Duration::from_secs(900);

/// `millions` of rows in the day that is dropped.
pub fn all(bin: &Path, millions: f64, letters: u64) -> anyhow::Result<()> {
    let bin = &crate::pipeline::built(bin)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let server = Postgres::start().await;
        drop_a_day(&server, (millions * 1e6) as u64).await?;
        replay(&server, bin, letters).await
    })
}

fn now() -> UnixMs {
    UnixMs::from_system(SystemTime::now())
}

fn keep(days: u64) -> Keep {
    Keep { now: now(), checks: Duration::from_secs(days * 86_400) }
}

async fn drop_a_day(server: &Postgres, rows: u64) -> anyhow::Result<()> {
    let database = server.database().await;
    let mut keeper = open_store(&database).await?;
    let today = now().0 - now().0 % DAY_MS;
    let old = Rows::of(100_000, UnixMs(today - 40 * DAY_MS));
    for n in 0..rows / BATCH {
        let written = keeper.write(&old.batch(n * BATCH..(n + 1) * BATCH), &keep(400)).await?;
        ensure!(matches!(written, Written::Committed(counts) if counts.stored == BATCH), "{written:?}");
    }
    let begun = Instant::now();
    ensure!(matches!(keeper.upkeep(&keep(400)).await?, Step::Indexed { .. }), "an index by target comes first");
    println!(
        "a day of {:.1} M rows: its index by target took {:.1} s",
        rows as f64 / 1e6,
        begun.elapsed().as_secs_f64()
    );

    // The same work beside nothing, for as long as the drop is watched.
    let quiet = beside(&database, async || {
        sleep(Duration::from_secs(10)).await;
        Ok(())
    })
    .await?;
    let mut took = Duration::ZERO;
    let busy = beside(&database, async || {
        sleep(Duration::from_secs(3)).await;
        let begun = Instant::now();
        let step = keeper.upkeep(&keep(30)).await?;
        took = begun.elapsed();
        ensure!(matches!(step, Step::Dropped { .. }), "{step:?}");
        sleep(Duration::from_secs(3)).await;
        Ok(())
    })
    .await?;
    println!(
        "  its drop took {:.0} ms; meanwhile the slowest write took {:.0} ms and the slowest read {:.0} ms (goal: under 100); without it {:.0} and {:.0}",
        ms(took),
        ms(busy[0]),
        ms(busy[1]),
        ms(quiet[0]),
        ms(quiet[1])
    );
    keeper.close().await;
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The longest that one of two writers, and one of two readers, has waited while something was done.
async fn beside(
    database: &TestDatabase,
    done: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<[Duration; 2]> {
    let told = Arc::new(AtomicBool::new(false));
    let mut writing: Vec<JoinHandle<anyhow::Result<Duration>>> = Vec::new();
    let mut reading: Vec<JoinHandle<anyhow::Result<Duration>>> = Vec::new();
    let today = now().0 - now().0 % DAY_MS;
    for n in 0..2 {
        let (mut store, over) = (open_store(database).await?, Arc::clone(&told));
        let rows = Rows::of(1_000, UnixMs(today));
        let log = unique("log");
        writing.push(tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for batch in 0.. {
                let mut batch = rows.batch(batch * SMALL..(batch + 1) * SMALL);
                batch.source.log = log.as_str().into();
                let begun = Instant::now();
                store.write(&batch, &keep(400)).await?;
                if batch.from > 0 {
                    slowest = slowest.max(begun.elapsed()); // names and statements come with the first
                }
                if over.load(Relaxed) {
                    break;
                }
                sleep(Duration::from_millis(100 + n)).await;
            }
            store.close().await;
            Ok(slowest)
        }));
        let (client, over) = (connect(database).await?, Arc::clone(&told));
        reading.push(tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            let query = "select count(*), max(total_us) from results where due_at > now() - interval '1 hour'";
            while !over.load(Relaxed) {
                let begun = Instant::now();
                client.query(query, &[]).await?;
                slowest = slowest.max(begun.elapsed());
                sleep(Duration::from_millis(20)).await;
            }
            Ok(slowest)
        }));
    }
    let done = done().await;
    told.store(true, Relaxed);
    let mut slowest = [Duration::ZERO; 2];
    for (slowest, tasks) in slowest.iter_mut().zip([writing, reading]) {
        for task in tasks {
            *slowest = (*slowest).max(task.await??);
        }
    }
    done?;
    Ok(slowest)
}

/// So many letters whose cause is gone: from `dead replay` to the last row, by one writer at work.
async fn replay(server: &Postgres, bin: &Path, letters: u64) -> anyhow::Result<()> {
    let (database, kafka) = (server.database().await, Kafka::start().await);
    open_store(&database).await?.close().await;
    let client = connect(&database).await?;
    let rows = Rows::of(10_000, UnixMs(now().0 - now().0 % DAY_MS));
    let insert = "insert into dead_letters (reason, message, topic, partition, \"offset\", key, value, headers, failed_at, attempts)
        select 'refused', 'refused by a rule that is gone', 'elsewhere', 0, n, 't', value, '[]', now(), 1
        from unnest($1::bytea[]) with ordinality as letters (value, n)";
    for from in (0..letters).step_by(5_000) {
        let values: Vec<_> = (from..(from + 5_000).min(letters)).map(|n| rows.json(n).1).collect();
        client.execute(insert, &[&values]).await?;
    }
    let program = Program::new(bin.display().to_string());
    let (brokers, topic, url) = (kafka.brokers(), unique("replay"), database.url());
    let config = format!(
        "kafka: {{brokers: '{brokers}', topic: {topic}}}\nstore: '{url}'\nmetrics: {{listen: '127.0.0.1:{}'}}\ntargets: []\n",
        free_port()
    );
    program.write("lapwing.yaml", config);
    let mut running = program.spawn(&["write", "-q"]);
    let begun = Instant::now();
    let replayed = program.run(&["dead", "replay", "--all"]);
    ensure!(replayed.code == 0, "{replayed}");
    let made_due = begun.elapsed();
    let left = async || -> anyhow::Result<i64> {
        Ok(client.query_one("select count(*) from dead_letters where resolved_at is null", &[]).await?.get(0))
    };
    while left().await? > 0 {
        ensure!(running.lives() && begun.elapsed() < LIMIT, "{} letters are left\n{}", left().await?, running.stderr());
        sleep(Duration::from_millis(200)).await;
    }
    let took = begun.elapsed();
    let stored: i64 = client.query_one("select count(*) from checks", &[]).await?.get(0);
    ensure!(u64::try_from(stored).context("count rows")? == letters, "{stored} rows of {letters} letters");
    println!(
        "replay of {letters} letters: {:.1} s until the last row ({:.0} letters/s), of which `dead replay` took {:.1} s; peak memory of the writer {} MiB",
        took.as_secs_f64(),
        letters as f64 / took.as_secs_f64(),
        made_due.as_secs_f64(),
        running.peak_memory_kib() >> 10
    );
    Ok(())
}
