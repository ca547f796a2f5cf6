//! A target made of what a test says, looked at once; and what holds of every result, whatever the test is about.

use http::{HeaderName, HeaderValue, Method};
use model::{
    CheckResult, Location, Phase, Reason, Target, TargetId, Verdict,
    cel::Expression,
    guard::Guard,
    pattern::{HeaderPattern, Patterns},
    result::Look,
    target::{
        CertificateLimit, ClientCertificate, Http, IncidentRule, Limits, PrivateKey, Proxy, Request, StatusSet,
        TlsSettings, TlsVersion,
    },
};
use probe::{Due, Prober, Settings};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use testkit::{Authority, Identity};

/// A noisy moment may spoil one look, a mistake spoils all of them.
const LOOKS: usize = 6;

pub const AGENT: &str = "lapwing-test/1";

/// A target on its way; every method says one thing about it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub target: Target,
    texts: Vec<String>,
    guard: Guard,
    online_check: Vec<(String, u16)>,
}

/// A plain GET, with a timeout that only a check that hangs would meet.
pub fn ask(url: &str) -> Ask {
    let request = Request {
        method: Method::GET,
        headers: Vec::new(),
        body: None,
        authorization: None,
        redirects: 10,
        lookup: model::target::Lookup::default(),
        http: Http::default(),
        proxy: None,
        tls: Arc::default(),
        max_body: 10 << 20,
        secrets: [].into(),
    };
    let expect = Limits { status: Some(StatusSet(vec![200..=299])), ..Limits::default() };
    let target = Target {
        id: TargetId::new("t").unwrap(),
        name: "T".into(),
        group: None,
        labels: Arc::default(),
        enabled: true,
        locations: None,
        interval_ms: 60_000,
        timeout: Duration::from_secs(20),
        retries: 0,
        url: Arc::new(url.parse().unwrap()),
        request: Arc::new(request),
        expect: Arc::new(expect),
        warn: Arc::default(),
        patterns: None,
        incident: IncidentRule::default(),
    };
    Ask { target, texts: Vec::new(), guard: Guard::default(), online_check: Vec::new() }
}

impl Ask {
    pub fn timeout(mut self, ms: u64) -> Self {
        self.target.timeout = Duration::from_millis(ms);
        self
    }

    pub fn retries(mut self, n: u32) -> Self {
        self.target.retries = n;
        self
    }

    pub fn method(self, method: &str) -> Self {
        self.request(|r| r.method = method.parse().unwrap())
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        let line = (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self.request(|r| r.headers.push(line))
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        self.request(|r| r.body = Some(body.into().into()))
    }

    pub fn authorization(self, value: &str) -> Self {
        self.request(|r| r.authorization = Some(value.parse().unwrap()))
    }

    pub fn redirects(self, n: u32) -> Self {
        self.request(|r| r.redirects = n)
    }

    pub fn http(self, version: Http) -> Self {
        self.request(|r| r.http = version)
    }

    pub fn proxy(self, host: &str, port: u16) -> Self {
        self.request(|r| r.proxy = Some(Arc::new(Proxy { host: host.into(), port, authorization: None })))
    }

    /// With credentials for the proxy, as a header has them.
    pub fn proxy_authorization(self, value: &str) -> Self {
        self.request(|r| {
            let proxy = r.proxy.as_mut().expect("there is a proxy");
            Arc::make_mut(proxy).authorization = Some(value.parse().unwrap());
        })
    }

    pub fn max_body(self, bytes: u64) -> Self {
        self.request(|r| r.max_body = bytes)
    }

    pub fn secrets(self, secrets: &[&str]) -> Self {
        self.request(|r| r.secrets = secrets.iter().map(|&s| s.into()).collect())
    }

    pub fn trust(self, authority: &Authority) -> Self {
        self.ca(authority.der.to_vec())
    }

    /// As if this leaf were the `ca_file`.
    pub fn pin(self, identity: &Identity) -> Self {
        self.ca(identity.chain[0].to_vec())
    }

    fn ca(self, der: Vec<u8>) -> Self {
        self.tls(|t| t.ca = Some([der].into()))
    }

    pub fn insecure(self) -> Self {
        self.tls(|t| t.verify = false)
    }

    pub fn server_name(self, name: &str) -> Self {
        self.tls(|t| t.server_name = Some(name.to_owned()))
    }

    pub fn only_tls13(self) -> Self {
        self.tls(|t| t.min_version = TlsVersion::V1_3)
    }

    pub fn client(self, identity: &Identity) -> Self {
        let chain = identity.chain.iter().map(|c| c.to_vec()).collect();
        let key = PrivateKey::Pkcs8(identity.key_der().secret_der().into());
        self.tls(|t| t.client = Some(ClientCertificate { chain, key }))
    }

    pub fn status(self, ranges: &[std::ops::RangeInclusive<u16>]) -> Self {
        self.expect(|e| e.status = Some(StatusSet(ranges.to_vec())))
    }

    pub fn expect_header(self, name: &str, pattern: &str) -> Self {
        let item = (name.parse().unwrap(), HeaderPattern::new(pattern).unwrap());
        self.expect(|e| e.headers.push(item))
    }

    pub fn matches(self, pattern: &str) -> Self {
        let (ask, i) = self.pattern(pattern);
        ask.expect(|e| e.matches.push(i))
    }

    pub fn not_matches(self, pattern: &str) -> Self {
        let (ask, i) = self.pattern(pattern);
        ask.expect(|e| e.not_matches.push(i))
    }

    pub fn warn_matches(self, pattern: &str) -> Self {
        let (ask, i) = self.pattern(pattern);
        ask.warn(|w| w.matches.push(i))
    }

    pub fn cel(self, text: &str) -> Self {
        let expression = Arc::new(Expression::new(text).unwrap());
        self.expect(|e| e.cel = Some(expression))
    }

    pub fn warn_cel(self, text: &str) -> Self {
        let expression = Arc::new(Expression::new(text).unwrap());
        self.warn(|w| w.cel = Some(expression))
    }

    pub fn within(self, ms: u64) -> Self {
        self.expect(|e| e.time = Some(Duration::from_millis(ms)))
    }

    pub fn warn_within(self, ms: u64) -> Self {
        self.warn(|w| w.time = Some(Duration::from_millis(ms)))
    }

    pub fn valid_for_days(self, days: u64) -> Self {
        self.expect(|e| e.certificate = Some(CertificateLimit::Remaining(Duration::from_secs(days * 86_400))))
    }

    pub fn valid_share(self, percent: f64) -> Self {
        self.expect(|e| e.certificate = Some(CertificateLimit::Share(percent)))
    }

    pub fn warn_valid_share(self, percent: f64) -> Self {
        self.warn(|w| w.certificate = Some(CertificateLimit::Share(percent)))
    }

    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Another place that must be reached, as `host:port`.
    pub fn online_check(mut self, place: &str) -> Self {
        let (host, port) = place.rsplit_once(':').unwrap();
        self.online_check.push((host.to_owned(), port.parse().unwrap()));
        self
    }

    fn pattern(mut self, text: &str) -> (Self, usize) {
        self.texts.push(text.to_owned());
        self.target.patterns = Some(Arc::new(Patterns::new(&self.texts).unwrap()));
        let index = self.texts.len() - 1;
        (self, index)
    }

    fn request(mut self, change: impl FnOnce(&mut Request)) -> Self {
        change(Arc::make_mut(&mut self.target.request));
        self
    }

    fn tls(self, change: impl FnOnce(&mut TlsSettings)) -> Self {
        self.request(|r| change(Arc::make_mut(&mut r.tls)))
    }

    fn expect(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(Arc::make_mut(&mut self.target.expect));
        self
    }

    fn warn(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(Arc::make_mut(&mut self.target.warn));
        self
    }

    pub fn prober(&self) -> Prober {
        Prober::new(Settings {
            guard: self.guard.clone(),
            user_agent: HeaderValue::from_static(AGENT),
            resolvers: vec![],
            online_check: self.online_check.clone(),
        })
    }

    pub async fn check(&self) -> Seen {
        self.check_by(&self.prober()).await
    }

    /// Where the machine was too busy for a look to count, it looks again.
    pub async fn check_by(&self, prober: &Prober) -> Seen {
        let mut looks = 0;
        loop {
            looks += 1;
            let begun = Instant::now();
            let result = prober.check(&self.target, due()).await;
            let took = begun.elapsed();
            let was_busy = result.finding.as_ref().is_some_and(|f| f.reason == Reason::ProberOverloaded);
            let seen = Seen::of(result);
            sound(&self.target, &seen, took);
            if !was_busy || looks == LOOKS {
                return seen;
            }
        }
    }
}

pub fn due() -> Due {
    Due { location: Location::new("here").unwrap(), at: None, lag: Duration::ZERO }
}

/// A result, and the parts of it that tests ask for.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Verdict, reason, phase: `down closed wait`.
    pub said: String,
    /// Empty if it is up.
    pub message: String,
    pub look: Look,
    pub result: CheckResult,
}

impl Seen {
    fn of(result: CheckResult) -> Self {
        let words = result.finding.as_ref().map(|f| (f.reason.word(), f.phase.map_or("", Phase::word)));
        let (reason, phase) = words.unwrap_or_default();
        let said = format!("{} {reason} {phase}", result.verdict).trim_end().to_owned();
        let message = result.finding.as_ref().map(|f| f.message.clone()).unwrap_or_default();
        Self { said, message, look: result.look.clone().expect("somebody looked"), result }
    }

    #[track_caller]
    pub fn is(&self, want: &str) -> &Self {
        assert_eq!(self.said, want, "{} {:#?}", self.message, self.look);
        self
    }

    /// The time of a phase; zero if it was not entered.
    pub fn time(&self, phase: Phase) -> Duration {
        time(&self.look, phase).unwrap_or_default()
    }
}

pub const PHASES: [Phase; 5] = [Phase::Dns, Phase::Connect, Phase::Tls, Phase::Wait, Phase::Body];

pub fn time(look: &Look, phase: Phase) -> Option<Duration> {
    let p = &look.phases;
    match phase {
        Phase::Dns => p.dns,
        Phase::Connect => p.connect,
        Phase::Tls => p.tls,
        Phase::Wait => p.wait,
        Phase::Body | Phase::Expect => p.transfer,
    }
}

/// What the contract says of every record.
#[track_caller]
fn sound(target: &Target, seen: &Seen, took: Duration) {
    let (look, result) = (&seen.look, &seen.result);
    assert_eq!(look.total, Some(look.phases.sum()), "the phases add up: {look:#?}");
    assert!(look.phases.sum() <= took, "no time is invented: {look:#?} in {took:?}");
    assert_eq!(result.finding.is_none(), result.verdict == Verdict::Up, "{result:#?}");
    assert_eq!(look.phases.transfer.is_some(), look.body_bytes.is_some(), "{look:#?}");
    assert_eq!(look.final_url.is_some(), look.redirects > 0, "{look:#?}");
    assert!((1..=target.retries + 1).contains(&look.attempts), "{look:#?}");
    let complete = result.finding.as_ref().is_none_or(|f| f.phase == Some(Phase::Expect));
    if complete || look.phases.transfer.is_some() {
        assert!(look.status.is_some() && look.http.is_some() && look.peer.is_some(), "{look:#?}");
        assert!(look.rtt.is_some() && look.retransmits.is_some(), "the kernel was asked: {look:#?}");
    }
    if let Some(finding) = &result.finding {
        assert!(!finding.message.is_empty() && finding.message.len() <= 500, "{finding:?}");
        assert!(!finding.message.contains(char::is_control), "{finding:?}");
        assert_eq!(finding.reason.is_ours(), result.verdict == Verdict::Unknown, "{finding:?}");
        let own = finding.reason == Reason::Timeout || finding.phase == finding.reason.phase();
        assert!(own, "{finding:?}");
    }
    if look.redirects == 0 {
        entered(target, seen, complete);
    }
}

/// Of one hop: the phases up to the one that failed, and no others.
#[track_caller]
fn entered(target: &Target, seen: &Seen, complete: bool) {
    let failed = seen.result.finding.as_ref().and_then(|f| f.phase).filter(|_| !complete);
    let last = failed.and_then(|f| PHASES.iter().position(|&p| p == f));
    for (i, phase) in PHASES.into_iter().enumerate() {
        let due = match phase {
            Phase::Dns => match &target.request.proxy {
                Some(proxy) => proxy.host.parse::<std::net::IpAddr>().is_err(),
                None => target.url.domain().is_some(),
            },
            Phase::Tls => target.url.scheme() == "https",
            Phase::Connect | Phase::Wait | Phase::Body | Phase::Expect => true,
        };
        let want = due && last.is_none_or(|l| i <= l);
        let unknown = seen.result.verdict == Verdict::Unknown;
        assert!(unknown || time(&seen.look, phase).is_some() == want, "{phase} {want} {} {:#?}", seen.said, seen.look);
    }
}
