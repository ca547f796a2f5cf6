//! A closed loop: so many workers, each making one check after another, and what that cost this process.

use clap::Args;
use rustix::time::{ClockId, clock_gettime};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The pattern that matches in the last 90 bytes of the page, and nowhere else.
pub const PATTERN: &str = "Copyright [0-9]{4} Lapwing";

#[derive(Clone, Debug, Args)]
pub struct Load {
    #[arg(long)]
    pub url: String,
    #[arg(long, default_value_t = 8)]
    pub seconds: u64,
    #[arg(long, default_value_t = 32)]
    pub workers: usize,
    /// The site's certificate is verified, up to this root (PEM)
    #[arg(long)]
    pub ca: Option<PathBuf>,
}

/// One thing that makes checks.
pub trait Check: Clone + Send + 'static {
    /// One check on a fresh connection; an error ends the run: a figure of failures is none.
    fn check(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// User and system time of the process that makes the checks.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let t = clock_gettime(ClockId::ProcessCPUTime);
        Ok(Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or(0)))
    }
}

impl Load {
    /// Runs the loop and prints `checks cpu_us wall_us`.
    pub fn run<C: Check>(&self, new: impl FnOnce(&Self) -> anyhow::Result<C>) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let checker = new(self)?;
        runtime.block_on(async {
            self.stretch(checker.clone(), Duration::from_secs(1)).await?; // warm
            let (cpu, wall) = (checker.cpu()?, Instant::now());
            let checks = self.stretch(checker.clone(), Duration::from_secs(self.seconds)).await?;
            println!("{checks} {} {}", (checker.cpu()? - cpu).as_micros(), wall.elapsed().as_micros());
            Ok(())
        })
    }

    async fn stretch<C: Check>(&self, checker: C, how_long: Duration) -> anyhow::Result<u64> {
        let (done, end) = (Arc::new(AtomicU64::new(0)), Instant::now() + how_long);
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..self.workers {
            let (mut checker, done) = (checker.clone(), Arc::clone(&done));
            workers.spawn(async move {
                while Instant::now() < end {
                    checker.check().await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        Ok(done.load(Ordering::Relaxed))
    }
}
