//! The engine as `lapwing` runs it: a whole check with its result.

use crate::load::{Check, Load, PATTERN};
use anyhow::ensure;
use http::{HeaderValue, Method};
use model::{
    Location, Target, TargetId, Verdict,
    guard::Guard,
    pattern::Patterns,
    target::{IncidentRule, Limits, Request, StatusSet, TlsSettings},
};
use probe::{Due, Prober, Settings};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{sync::Arc, time::Duration};

#[derive(Clone)]
pub struct Engine {
    prober: Arc<Prober>,
    target: Arc<Target>,
    location: Location,
}

impl Engine {
    pub fn new(load: &Load) -> anyhow::Result<Self> {
        let tls = TlsSettings { verify: load.ca.is_some(), ca: roots(load)?, ..TlsSettings::default() };
        let request = Request {
            method: Method::GET,
            headers: vec![],
            body: None,
            authorization: None,
            redirects: 10,
            lookup: model::target::Lookup::default(),
            http: model::target::Http::default(),
            proxy: None,
            tls: Arc::new(tls),
            max_body: 10 << 20,
            secrets: Arc::from([]),
        };
        let expect = Limits { status: Some(StatusSet(vec![200..=299])), matches: vec![0], ..Limits::default() };
        let target = Target {
            id: TargetId::new("page")?,
            name: "page".into(),
            group: None,
            labels: Arc::default(),
            enabled: true,
            locations: None,
            interval_ms: 60_000,
            timeout: Duration::from_secs(10),
            retries: 0,
            url: Arc::new(load.url.parse()?),
            request: Arc::new(request),
            expect: Arc::new(expect),
            warn: Arc::default(),
            patterns: Some(Arc::new(Patterns::new(&[PATTERN.into()])?)),
            incident: IncidentRule::default(),
        };
        let prober = Prober::new(Settings {
            guard: Guard::default(),
            user_agent: HeaderValue::from_static("lapwing/bench"),
            resolvers: vec![],
            online_check: Vec::new(),
        });
        Ok(Self { prober: Arc::new(prober), target: Arc::new(target), location: Location::new("bench")? })
    }
}

fn roots(load: &Load) -> anyhow::Result<Option<Arc<[Vec<u8>]>>> {
    let Some(file) = &load.ca else { return Ok(None) };
    let roots = CertificateDer::pem_file_iter(file)?.map(|root| root.map(|root| root.to_vec()));
    Ok(Some(roots.collect::<Result<_, _>>()?))
}

impl Check for Engine {
    async fn check(&mut self) -> anyhow::Result<()> {
        let due = Due { location: self.location.clone(), at: None, lag: Duration::ZERO };
        let result = self.prober.check(&self.target, due).await;
        ensure!(result.verdict == Verdict::Up, "{:?}", result.finding);
        Ok(())
    }
}
