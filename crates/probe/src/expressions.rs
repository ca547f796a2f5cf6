//! Expressions over a complete answer are work of ours that may take long: it is done off the threads of the sockets, no more of
//! it at once than this machine does without starving them, and its time is in no phase.

use model::{
    Target,
    answer::Answer,
    cel::{self, Outcome},
};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task};

/// How long the expressions of one check may take. Real ones take milliseconds.
const LONGEST: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Expressions {
    places: Arc<Semaphore>,
}

impl Default for Expressions {
    /// As many at once as half of the cores, for the sockets need the rest.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { places: Arc::new(Semaphore::new((cores / 2).max(1))) }
    }
}

impl Expressions {
    /// Writes down what the target's expressions say of a complete answer, and lets go of the body.
    pub async fn evaluate(&self, target: &Target, answer: &mut Answer) {
        let body = answer.kept.take();
        let list: Vec<_> = target.expressions().cloned().collect();
        let (Some(head), None, false) = (&answer.head, &answer.failure, list.is_empty()) else { return };
        let (head, total, all) = (head.clone(), answer.total, list.clone());
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the places are never closed");
        // The place goes along: what nobody waits for any more still takes it.
        let done = task::spawn_blocking(move || {
            let _place = place;
            let begun = Instant::now();
            cel::evaluate(list, &head, body.as_ref(), total, &|| begun.elapsed() > LONGEST)
        });
        answer.outcomes = done.await.unwrap_or_else(|e| {
            tracing::error!(id = %target.id, error = %e, "an expression crashed; this is a mistake in lapwing");
            let crashed = || Outcome::Failed("a mistake in lapwing".into());
            all.into_iter().map(|e| (e, crashed())).collect()
        });
    }
}
