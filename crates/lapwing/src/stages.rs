//! The stages behind the checker: started in the order in which results pass them, watched over while they work, and ended in
//! that order, so that what is in one gets into the next.

use crate::{exit::Exit, stop::Stop};
use std::time::Duration;
use tokio::{
    task::{JoinError, JoinHandle},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// What was checked gets at least so long to reach the last stage, also when checks took all of the grace.
const FLUSH: Duration = Duration::from_secs(2);

/// The stages of a process, in their order.
#[derive(Debug, Default)]
pub struct Stages {
    list: Vec<Stage>,
    give_up: CancellationToken,
    an_end: CancellationToken,
}

#[derive(Debug)]
struct Stage {
    name: &'static str,
    no_more: CancellationToken,
    task: JoinHandle<Result<(), Exit>>,
}

/// How a stage is told to end.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The stage before it has ended: nothing more will come.
    pub no_more: CancellationToken,
    /// What is not done by now waits for the next start.
    pub give_up: CancellationToken,
}

impl Stages {
    /// Starts the next stage.
    pub fn add<F>(&mut self, name: &'static str, stage: impl FnOnce(Ends) -> F)
    where
        F: Future<Output = Result<(), Exit>> + Send + 'static,
    {
        let ends = Ends { no_more: CancellationToken::new(), give_up: self.give_up.clone() };
        let no_more = ends.no_more.clone();
        let (stage, ended) = (stage(ends), self.an_end.clone().drop_guard());
        let task = tokio::spawn(async move {
            let _ended = ended; // also when it crashes
            stage.await
        });
        self.list.push(Stage { name, no_more, task });
    }

    /// Waits until one has ended that nobody asked to.
    pub async fn an_end(&self) {
        self.an_end.cancelled().await;
    }

    /// Nothing more comes: lets each stage finish what it has, one after the other. What is not done when the grace is over, or at
    /// once when the stop is an impatient one, waits for the next start.
    ///
    /// # Errors
    /// Why a stage had ended before it was asked to.
    pub async fn drain(self, grace: Duration, stop: &Stop) -> Result<(), Exit> {
        let Self { list, give_up, an_end } = self;
        let was_early = an_end.is_cancelled();
        let all = async {
            let mut ended = Ok(());
            for Stage { name, no_more, task } in list {
                no_more.cancel();
                let this = task.await.unwrap_or_else(|e| Err(crashed(name, &e)));
                ended = ended.and(this);
            }
            ended
        };
        tokio::pin!(all);
        let too_late = async {
            tokio::select! {
                _ = async { tokio::join!(stop.given_up(grace), sleep(FLUSH)) } => {}
                () = stop.at_once.cancelled() => {}
            }
        };
        let ended = tokio::select! {
            ended = &mut all => ended,
            () = too_late => {
                give_up.cancel();
                all.await
            }
        };
        if was_early && ended.is_ok() {
            return Err(Exit::failure("lapwing: a stage ended before it was asked to; this is a mistake in lapwing"));
        }
        ended
    }
}

fn crashed(stage: &str, error: &JoinError) -> Exit {
    Exit::failure(format!("lapwing: the {stage} crashed: {error}; this is a mistake in lapwing"))
}
