//! Measures Lapwing beside what it is compared with, in one run on one machine: figures of different machines are no ratio.
//!
//! `bench all` starts nginx on loopback and then itself, once for each thing that is measured, so that every figure is that of
//! a whole process. `docs/performance.md` has the results and what they mean.

mod accuracy;
mod engine;
mod exporter;
mod floor;
mod load;
mod nginx;
mod pipeline;
mod report;
mod roles;
mod rows;
mod scale;
mod store;
mod upkeep;

use clap::{Parser, Subcommand};
use load::Load;
use std::{path::PathBuf, time::Duration};

#[derive(Debug, Parser)]
#[command(about = "Measures Lapwing beside its floor")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything, as a table of ratios
    All {
        /// The built `lapwing`
        #[arg(long, default_value = "target/release/lapwing")]
        bin: PathBuf,
        /// How long each closed loop runs
        #[arg(long, default_value_t = 8)]
        seconds: u64,
        /// How often each pair is measured; the median counts
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// The store's write path on PostgreSQL, beside COPY and beside prepared upserts
    Store {
        /// How often each is measured; the median of the rounds' ratios counts
        #[arg(long, default_value_t = 9)]
        rounds: usize,
        /// Million rows to go on for; 0: don't
        #[arg(long, default_value_t = 14)]
        sustained: u64,
    },
    /// `lapwing probe` -> Kafka -> `lapwing write` -> PostgreSQL
    Roles {
        /// The built `lapwing`
        #[arg(long, default_value = "target/release/lapwing")]
        bin: PathBuf,
        /// Million results that wait
        #[arg(long, default_value_t = 10.0)]
        millions: f64,
        /// Of the topic
        #[arg(long, default_value_t = 6)]
        partitions: u32,
    },
    /// A day dropped beside writers and readers, and dead letters replayed
    Upkeep {
        /// The built `lapwing`
        #[arg(long, default_value = "target/release/lapwing")]
        bin: PathBuf,
        /// Million rows in the day
        #[arg(long, default_value_t = 14.4)]
        millions: f64,
        #[arg(long, default_value_t = 100_000)]
        letters: u64,
    },
    /// 100,000 targets in one process, and 2,000 slow checks at a time
    Scale {
        /// The built `lapwing`
        #[arg(long, default_value = "target/release/lapwing")]
        bin: PathBuf,
    },
    /// Each phase of a thousand checks a second against delays that the servers measure
    Accuracy {
        /// The built `lapwing`
        #[arg(long, default_value = "target/release/lapwing")]
        bin: PathBuf,
    },
    /// The floor program: hyper's connection and a lazy DFA, no result, no expectations
    Floor(Load),
    /// The engine: `Prober::check` in a closed loop
    Engine(Load),
    /// Prometheus' blackbox exporter, asked in a closed loop
    Exporter(Load),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::All { bin, seconds, rounds } => report::all(&bin, Duration::from_secs(seconds), rounds),
        Command::Store { rounds, sustained } => store::all(rounds, sustained),
        Command::Roles { bin, millions, partitions } => roles::all(&bin, millions, partitions),
        Command::Upkeep { bin, millions, letters } => upkeep::all(&bin, millions, letters),
        Command::Scale { bin } => scale::all(&bin),
        Command::Accuracy { bin } => accuracy::all(&bin),
        Command::Floor(load) => load.run(floor::Floor::new),
        Command::Engine(load) => load.run(engine::Engine::new),
        Command::Exporter(load) => load.run(exporter::Exporter::new),
    }
}
