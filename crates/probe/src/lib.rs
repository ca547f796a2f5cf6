//! One look at one target: `Target` in, `CheckResult` out. Never an `Err`: what goes wrong is what a check is about.
//!
//! Between the schedule, which says when, and the log, which keeps what was found. The steps are our own (resolve, guard,
//! connect, TLS, request, head, body), each timed where it happens, each failure named where it is seen: nothing is guessed
//! afterwards from a library's error. Every attempt and every hop is a fresh look-up on a fresh connection: no pool, no TLS
//! resumption, no DNS cache, for they skip what a monitor exists to test.

mod arrival;
mod attempt;
mod clock;
mod connect;
mod content;
mod cookies;
mod deadline;
mod delay;
mod dns;
mod expressions;
mod hop;
mod http1;
mod http2;
mod online;
mod request;
mod routes;
mod shortage;
mod stream;
mod tcp;
mod tcp_info;
mod tls;

pub use tls::TlsTrouble;

use attempt::Attempt;
use http::HeaderValue;
use model::{
    CheckResult, Location, Target, UnixMs, answer::Answer, guard::Guard, judge, result::Look, text::masked_url,
};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// What every check of a process shares.
#[derive(Debug)]
pub struct Prober {
    guard: Guard,
    user_agent: HeaderValue,
    resolver: dns::Resolver,
    tls: tls::Configs,
    delays: delay::Delays,
    expressions: expressions::Expressions,
    online: online::Online,
    _stamping: arrival::Stamping,
}

/// What a process says of all its checks.
#[derive(Clone, Debug)]
pub struct Settings {
    pub guard: Guard,
    /// Where a target sets none.
    pub user_agent: HeaderValue,
    /// Name servers of targets that have none of their own; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Host and port of places that this machine can connect to unless it is cut off.
    pub online_check: Vec<(String, u16)>,
}

/// For which slot a check is made.
#[derive(Clone, Debug)]
pub struct Due {
    pub location: Location,
    /// `None`: at the moment at which it starts.
    pub at: Option<UnixMs>,
    /// How late it starts against its slot.
    pub lag: Duration,
}

/// A result, and the answer that it was judged by, for those who want to show more than the record.
#[derive(Debug)]
pub struct Report {
    pub result: CheckResult,
    /// Of the last attempt.
    pub answer: Answer,
}

impl Prober {
    pub fn new(settings: Settings) -> Self {
        let Settings { guard, user_agent, resolvers, online_check } = settings;
        let resolver = dns::Resolver::new(resolvers);
        Self {
            guard,
            user_agent,
            resolver,
            tls: tls::Configs::default(),
            delays: delay::Delays::default(),
            expressions: expressions::Expressions::default(),
            online: online::Online::new(online_check),
            _stamping: arrival::Stamping::hold(),
        }
    }

    /// Builds what the target's TLS settings need, so that a key that does not fit its certificate is found before the first
    /// check.
    ///
    /// # Errors
    /// What is wrong with the client certificate or its key.
    pub fn prepare(&self, target: &Target) -> Result<(), TlsTrouble> {
        if target.url.scheme() == "https" || target.request.tls.client.is_some() {
            self.tls.get(&target.request.tls)?;
        }
        Ok(())
    }

    /// Looks at a target once: as many attempts as it takes and the target allows.
    pub async fn check(&self, target: &Target, due: Due) -> CheckResult {
        self.report(target, due).await.result
    }

    /// As [`Prober::check`], with the last answer.
    pub async fn report(&self, target: &Target, due: Due) -> Report {
        let started_at = UnixMs::from_system(SystemTime::now());
        self.delays.watch();
        let mut attempts = 1;
        loop {
            let mut look = Look::begun(started_at, due.lag, attempts);
            let begun = Instant::now();
            let mut answer = Attempt::new(self, target, &mut look).run().await;
            let ours = self.delays.since(begun);
            self.expressions.evaluate(target, &mut answer).await;
            let (verdict, finding) = judge::doubt(target, &answer, ours, judge::judge(target, &answer));
            let failed = finding.as_ref().is_some_and(|_| !verdict.is_up());
            if failed && attempts <= target.retries {
                attempts += 1;
                continue;
            }
            let (verdict, finding) = self.online.doubt((verdict, finding), target, look.peer, &self.resolver).await;
            let finding = finding.map(|f| f.sealed(target.request.secrets.iter().map(AsRef::as_ref)));
            let result = CheckResult {
                target: target.id.clone(),
                name: Arc::clone(&target.name),
                group: target.group.clone(),
                url: masked_url(&target.url).into(),
                location: due.location,
                due_at: due.at.unwrap_or(started_at),
                interval_ms: target.interval_ms,
                verdict,
                finding,
                look: Some(look),
            };
            return Report { result, answer };
        }
    }
}
