//! The closed lists: verdicts, phases, reasons. One word each, the same on the wire, in tables, metrics and pages.

use std::fmt;

/// Writes an enum whose values are words, with both directions and the whole list.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// What a check concludes.
    Verdict {
        Up = "up",
        /// Works, but outside a `warn` limit.
        Degraded = "degraded",
        Down = "down",
        /// *We* could not look: never counted as the target's failure.
        Unknown = "unknown",
    }
}

words! {
    /// Where in a check something happened. `Body` is the phase whose time is called `transfer`.
    Phase {
        Dns = "dns",
        Connect = "connect",
        Tls = "tls",
        Wait = "wait",
        Body = "body",
        Expect = "expect",
    }
}

words! {
    /// Why a result is not `up`: the contract's closed list.
    Reason {
        DnsNotFound = "dns_not_found",
        DnsNoAddress = "dns_no_address",
        DnsFailed = "dns_failed",
        ConnectRefused = "connect_refused",
        ConnectUnreachable = "connect_unreachable",
        ConnectFailed = "connect_failed",
        /// The guard refused every address.
        Blocked = "blocked",
        TlsExpired = "tls_expired",
        TlsNotYetValid = "tls_not_yet_valid",
        TlsWrongHost = "tls_wrong_host",
        TlsUntrusted = "tls_untrusted",
        TlsFailed = "tls_failed",
        /// Reset, or ended before a full response head.
        Closed = "closed",
        /// Not HTTP, or a head that is too large.
        BadResponse = "bad_response",
        TooManyRedirects = "too_many_redirects",
        BadRedirect = "bad_redirect",
        /// A body shorter than announced, a chunk cut or malformed, a reset after the head.
        Truncated = "truncated",
        BadEncoding = "bad_encoding",
        BodyTooLarge = "body_too_large",
        Timeout = "timeout",
        Status = "status",
        Header = "header",
        BodyNoMatch = "body_no_match",
        BodyMatch = "body_match",
        Cel = "cel",
        Slow = "slow",
        CertificateExpiring = "certificate_expiring",
        ProberOverloaded = "prober_overloaded",
        ProberFailed = "prober_failed",
        ProberOffline = "prober_offline",
        Late = "late",
        Stopping = "stopping",
    }
}

impl Verdict {
    /// The site works, if not as well as asked for.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }
}

impl Reason {
    /// Reasons of the prober itself, whose verdict is `unknown` and which have no phase.
    pub fn is_ours(self) -> bool {
        match self {
            Self::ProberOverloaded | Self::ProberFailed | Self::ProberOffline | Self::Late | Self::Stopping => true,
            Self::DnsNotFound
            | Self::DnsNoAddress
            | Self::DnsFailed
            | Self::ConnectRefused
            | Self::ConnectUnreachable
            | Self::ConnectFailed
            | Self::Blocked
            | Self::TlsExpired
            | Self::TlsNotYetValid
            | Self::TlsWrongHost
            | Self::TlsUntrusted
            | Self::TlsFailed
            | Self::Closed
            | Self::BadResponse
            | Self::TooManyRedirects
            | Self::BadRedirect
            | Self::Truncated
            | Self::BadEncoding
            | Self::BodyTooLarge
            | Self::Timeout
            | Self::Status
            | Self::Header
            | Self::BodyNoMatch
            | Self::BodyMatch
            | Self::Cel
            | Self::Slow
            | Self::CertificateExpiring => false,
        }
    }

    /// The phase that the reason always has; `None` for `timeout`, which has the one where it struck, and for ours.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::DnsNotFound | Self::DnsNoAddress | Self::DnsFailed => Some(Phase::Dns),
            Self::ConnectRefused | Self::ConnectUnreachable | Self::ConnectFailed | Self::Blocked => {
                Some(Phase::Connect)
            }
            Self::TlsExpired | Self::TlsNotYetValid | Self::TlsWrongHost | Self::TlsUntrusted | Self::TlsFailed => {
                Some(Phase::Tls)
            }
            Self::Closed | Self::BadResponse | Self::TooManyRedirects | Self::BadRedirect => Some(Phase::Wait),
            Self::Truncated | Self::BadEncoding | Self::BodyTooLarge => Some(Phase::Body),
            Self::Status
            | Self::Header
            | Self::BodyNoMatch
            | Self::BodyMatch
            | Self::Cel
            | Self::Slow
            | Self::CertificateExpiring => Some(Phase::Expect),
            Self::Timeout
            | Self::ProberOverloaded
            | Self::ProberFailed
            | Self::ProberOffline
            | Self::Late
            | Self::Stopping => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_as_itself() {
        assert!(Reason::ALL.iter().all(|&r| Reason::from_word(r.word()) == Some(r)));
        assert!(Verdict::ALL.iter().all(|&v| Verdict::from_word(v.word()) == Some(v)));
        assert_eq!(Reason::from_word("Timeout"), None);
    }

    #[test]
    fn only_timeout_and_our_own_reasons_have_no_fixed_phase() {
        let without: Vec<_> = Reason::ALL.iter().filter(|r| r.phase().is_none()).copied().collect();
        assert!(without.iter().all(|&r| r == Reason::Timeout || r.is_ours()), "{without:?}");
        assert_eq!(without.len(), 6);
    }
}
