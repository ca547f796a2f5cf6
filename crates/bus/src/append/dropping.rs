//! Results are being given up: said at once, then at most every ten seconds, and once when it is over.

use model::trouble::{Lasting, Say};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// At the limit some commits drop and some don't: it is over when none has dropped for so long.
const CALM: Duration = Duration::from_secs(10);

/// For so long after the last one that was dropped it is a trouble still.
const SHOWN: Duration = Duration::from_secs(3);

/// One way to lose results.
#[derive(Debug)]
pub(super) struct Dropping {
    what: &'static str,
    lasting: Lasting,
    last: Option<Instant>,
    unsaid: u64,
}

impl Dropping {
    pub fn new(what: &'static str) -> Self {
        Self { what, lasting: Lasting::default(), last: None, unsaid: 0 }
    }

    pub fn dropped(&mut self, results: u64) {
        let now = Instant::now();
        self.last = Some(now);
        self.unsaid += results;
        let Some(say) = self.lasting.met(now) else { return };
        let (what, dropped) = (self.what, std::mem::take(&mut self.unsaid));
        match say {
            Say::Begins => tracing::error!(dropped, "{what}"),
            Say::Lasts(lasted) | Say::Over(lasted) => tracing::error!(dropped, ?lasted, "{what}"),
        }
    }

    /// Nothing was dropped this time.
    pub fn calm(&mut self) {
        if self.last.is_none_or(|last| last.elapsed() < CALM) {
            return;
        }
        self.last = None;
        let dropped = std::mem::take(&mut self.unsaid);
        if let Some(Say::Over(lasted)) = self.lasting.gone(Instant::now()) {
            tracing::warn!(dropped, ?lasted, "no longer: {}", self.what);
        }
    }

    /// For `/readyz`, which tells of the end sooner than the log.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.last.filter(|last| last.elapsed() < SHOWN).map(|_| self.what.into())
    }
}
