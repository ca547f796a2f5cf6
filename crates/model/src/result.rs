//! What a check found.

use crate::{Location, Phase, Reason, Target, TargetId, UnixMs, Verdict};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// One look at one target from one location for one slot. Its identity is `(target, location, due_at)`.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckResult {
    pub target: TargetId,
    pub name: Arc<str>,
    pub group: Option<Arc<str>>,
    /// The target's URL, masked.
    pub url: Arc<str>,
    pub location: Location,
    pub due_at: UnixMs,
    pub interval_ms: u32,
    pub verdict: Verdict,
    /// There whenever the verdict is not `up`.
    pub finding: Option<Finding>,
    /// `None` only for `late`: nobody looked.
    pub look: Option<Look>,
}

impl CheckResult {
    /// A result for a slot at which nobody could look, for a reason of ours.
    pub fn unknown(target: &Target, location: Location, due_at: UnixMs, finding: Finding) -> Self {
        Self {
            target: target.id.clone(),
            name: Arc::clone(&target.name),
            group: target.group.clone(),
            url: crate::text::masked_url(&target.url).into(),
            location,
            due_at,
            interval_ms: target.interval_ms,
            verdict: Verdict::Unknown,
            finding: Some(finding),
            look: None,
        }
    }
}

/// Why a result is not `up`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub reason: Reason,
    /// Absent for reasons of ours.
    pub phase: Option<Phase>,
    /// For people. As found, until [`Finding::sealed`] made it fit for a record.
    pub message: String,
}

impl Finding {
    /// A finding in the reason's own phase. Not for `timeout`, whose phase is where it struck.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, phase: reason.phase(), message: message.into() }
    }

    pub fn timeout(phase: Phase, message: impl Into<String>) -> Self {
        Self { reason: Reason::Timeout, phase: Some(phase), message: message.into() }
    }

    /// With a message that is one line of at most 500 bytes and shows none of the secrets.
    ///
    /// Secrets go first: cutting the text before could leave the first half of one.
    pub fn sealed<'s>(mut self, secrets: impl IntoIterator<Item = &'s str>) -> Self {
        self.message = crate::text::message(&crate::text::redact(&self.message, secrets));
        self
    }
}

/// What was seen in the last attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    pub started_at: UnixMs,
    /// How late the check started against its slot.
    pub lag: Duration,
    /// 0 when it was given up before it began.
    pub attempts: u32,
    pub phases: Phases,
    /// Set once an attempt was made; the phases add up to it.
    pub total: Option<Duration>,
    pub status: Option<u16>,
    pub http: Option<HttpVersion>,
    /// The last address that a connection was made to or tried.
    pub peer: Option<SocketAddr>,
    /// Masked; only with redirects.
    pub final_url: Option<String>,
    pub redirects: u32,
    /// Bytes of the body that were read, after decompression.
    pub body_bytes: Option<u64>,
    pub tls: Option<TlsSeen>,
    /// Smoothed round trip of the last connection, measured by the kernel.
    pub rtt: Option<Duration>,
    pub retransmits: Option<u32>,
}

impl Look {
    pub fn begun(started_at: UnixMs, lag: Duration, attempts: u32) -> Self {
        Self {
            started_at,
            lag,
            attempts,
            phases: Phases::default(),
            total: None,
            status: None,
            http: None,
            peer: None,
            final_url: None,
            redirects: 0,
            body_bytes: None,
            tls: None,
            rtt: None,
            retransmits: None,
        }
    }
}

/// Time of each phase, summed over the hops of one attempt. `None`: not entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    pub dns: Option<Duration>,
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    pub wait: Option<Duration>,
    pub transfer: Option<Duration>,
}

impl Phases {
    pub fn sum(&self) -> Duration {
        [self.dns, self.connect, self.tls, self.wait, self.transfer].into_iter().flatten().sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    V1_0,
    V1_1,
    V2,
}

impl HttpVersion {
    pub fn word(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V2 => "2",
        }
    }
}

/// The certificate that was presented, also when it was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSeen {
    /// `1.2` or `1.3`; absent when the handshake did not get that far.
    pub version: Option<&'static str>,
    /// RFC 4514, most specific first: `CN=R11,O=Let's Encrypt,C=US`.
    pub issuer: String,
    pub subject: String,
    pub not_before: UnixMs,
    pub not_after: UnixMs,
}
