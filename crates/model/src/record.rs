//! A result as a reader of a log sees it: the fields of the contract's section 4, one for one.
//!
//! Unlike [`CheckResult`](crate::CheckResult) it holds words as text, since a newer prober may know more of them than we do.

use crate::{Location, TargetId, UnixMs, Verdict};

/// The record, as read. Whole numbers are 0 to 2^31-1; durations are microseconds unless the name says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub target: TargetId,
    pub name: Option<String>,
    pub group: Option<String>,
    pub url: Option<String>,
    pub location: Location,
    pub due_at: UnixMs,
    pub started_at: Option<UnixMs>,
    pub interval_ms: Option<i32>,
    pub verdict: Verdict,
    pub reason: Option<String>,
    pub phase: Option<String>,
    pub message: Option<String>,
    pub attempts: Option<i32>,
    pub status: Option<i32>,
    pub http: Option<String>,
    pub peer: Option<String>,
    pub final_url: Option<String>,
    pub redirects: Option<i32>,
    pub dns_us: Option<i32>,
    pub connect_us: Option<i32>,
    pub tls_us: Option<i32>,
    pub wait_us: Option<i32>,
    pub transfer_us: Option<i32>,
    pub total_us: Option<i32>,
    pub body_bytes: Option<i32>,
    pub tls: Option<RecordTls>,
    pub rtt_us: Option<i32>,
    pub retransmits: Option<i32>,
    pub lag_us: Option<i32>,
}

/// The field `tls` of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordTls {
    pub version: Option<String>,
    pub issuer: Option<String>,
    pub subject: Option<String>,
    pub not_before: Option<UnixMs>,
    pub not_after: Option<UnixMs>,
}
