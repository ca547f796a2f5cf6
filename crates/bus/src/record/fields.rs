//! The fields of a record, once: how each is read, and what a schema says of it.

use super::{
    json::Json,
    kinds::{Conclusion, Due, Kind, Moment, Place, Status, Target, Text, Version, Whole, Word, keywords},
};
use model::{Phase, Reason, record::RecordTls, result::HttpVersion};
use serde_json::{Map, Value, json};

/// A field, for a schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub name: &'static str,
    doc: &'static [&'static str],
    kind: fn() -> Map<String, Value>,
}

impl Field {
    /// For people.
    pub fn doc(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// The keywords of JSON Schema; `type` is one word.
    pub fn schema(&self) -> Map<String, Value> {
        (self.kind)()
    }
}

/// A list of fields: key, kind, and what it is called in the structure that takes them, which is made of the list if it is none of
/// the model's.
macro_rules! fields {
    ($(#[$of:meta])* $list:ident of struct $into:ident {
        $($(#[doc = $doc:literal])+ $key:literal: $kind:ty => $name:ident,)+
    }) => {
        /// The fields as far as they were read.
        #[derive(Default)]
        pub(super) struct $into { $(pub $name: Option<<$kind as Kind>::Value>),+ }

        fields! { $(#[$of])* $list of $into { $($(#[doc = $doc])+ $key: $kind => $name,)+ } }
    };
    ($(#[$of:meta])* $list:ident of $into:ident { $($(#[doc = $doc:literal])+ $key:literal: $kind:ty => $name:ident,)+ }) => {
        $(#[$of])*
        pub(super) const $list: &[Field] =
            &[$(Field { name: $key, doc: &[$($doc),+], kind: <$kind as Kind>::schema }),+];

        impl Takes for $into {
            fn take(&mut self, key: &str, value: Json<'_>) -> Result<(), &'static str> {
                match key {
                    $($key => self.$name = Some(<$kind as Kind>::read(value)?),)+
                    _ => {} // unknown fields are not judged
                }
                Ok(())
            }
        }
    };
}

/// What takes one field after the other.
pub(super) trait Takes {
    /// The value is not null. The error says what it should be.
    fn take(&mut self, key: &str, value: Json<'_>) -> Result<(), &'static str>;
}

fields! {
    /// In the order in which they are written.
    FIELDS of struct Draft {
        /// The version of the record.
        "v": Version => version,
        /// The id of the target that was looked at: the key of its results, for ever.
        "target": Target => target,
        /// The target's name; its id where nobody gave it one.
        "name": Text => name,
        /// The target's group.
        "group": Text => group,
        /// The target's URL, without user info and values of its query.
        "url": Text => url,
        /// The place that looked.
        "location": Place => location,
        /// The slot: the moment at which the check was due. With target and location the identity of a result.
        /// Readers refuse one that is more than a day ahead.
        "due_at": Due => due_at,
        /// When the check began. Absent for `late`.
        "started_at": Moment => started_at,
        /// For how long the result stands: the time from one slot to the next, in milliseconds.
        "interval_ms": Whole => interval_ms,
        /// What the check concludes. `unknown`: the prober could not look; it is not the target's failure.
        "verdict": Conclusion => verdict,
        /// Why the verdict is not `up`. The list of words may grow: keep one that you don't know as it is.
        "reason": Word<Reason> => reason,
        /// Where in the check the reason was seen. Absent for the prober's own reasons.
        "phase": Word<Phase> => phase,
        /// The reason in words, for people: one line, no secrets, at most 500 bytes.
        "message": Text => message,
        /// How many attempts were made; the other fields are of the last one.
        "attempts": Whole => attempts,
        /// The status of the final response.
        "status": Status => status,
        /// The version of HTTP that was spoken.
        "http": Word<HttpVersion> => http,
        /// The last address that was connected to or tried, with its port.
        "peer": Text => peer,
        /// Where redirects ended. Absent without any.
        "final_url": Text => final_url,
        /// How many redirects were followed.
        "redirects": Whole => redirects,
        /// Time to look the name up, in microseconds, over all hops. As with every phase, the time until a failure is in the
        /// phase that failed, and a phase that was not entered is absent.
        "dns_us": Whole => dns_us,
        /// Time to connect, in microseconds, over all hops.
        "connect_us": Whole => connect_us,
        /// Time of the TLS handshake, in microseconds, over all hops.
        "tls_us": Whole => tls_us,
        /// Time to send the request and until the head of the final response is complete, in microseconds, over all hops.
        "wait_us": Whole => wait_us,
        /// Time until the last byte of the body, in microseconds.
        "transfer_us": Whole => transfer_us,
        /// The sum of the phases, in microseconds.
        "total_us": Whole => total_us,
        /// Bytes of the body that were read, after decompression.
        "body_bytes": Whole => body_bytes,
        /// The certificate that was presented, also one that was refused.
        "tls": Certificate => tls,
        /// The smoothed round trip of the last connection, as the kernel measured it, in microseconds.
        "rtt_us": Whole => rtt_us,
        /// Retransmissions on the last connection, as the kernel counted them.
        "retransmits": Whole => retransmits,
        /// How late the check began against its slot, in microseconds.
        "lag_us": Whole => lag_us,
    }
}

fields! {
    TLS_FIELDS of RecordTls {
        /// The version of TLS; absent when the handshake did not get that far.
        "version": Word<RecordTls> => version,
        /// Who signed the certificate (RFC 4514, most specific first).
        "issuer": Text => issuer,
        /// Whose certificate it is (RFC 4514, most specific first).
        "subject": Text => subject,
        /// From when on it is valid.
        "not_before": Moment => not_before,
        /// Until when it is valid.
        "not_after": Moment => not_after,
    }
}

pub(super) struct Certificate;

impl Kind for Certificate {
    type Value = RecordTls;

    fn read(value: Json<'_>) -> Result<RecordTls, &'static str> {
        let Json::Object(fields) = value else { return Err("an object") };
        let refused = |_| "an object with texts `version issuer subject` and times `not_before not_after`";
        let mut tls = RecordTls::default();
        for (key, value) in fields.into_iter().filter(|(_, value)| *value != Json::Null) {
            tls.take(&key, value).map_err(refused)?;
        }
        Ok(tls)
    }

    fn schema() -> Map<String, Value> {
        let properties = super::schema::properties(TLS_FIELDS, &[]);
        keywords(json!({ "type": "object", "properties": properties }))
    }
}

impl super::kinds::List for RecordTls {
    /// Those that are ever written.
    fn known() -> Vec<&'static str> {
        vec!["1.2", "1.3"]
    }
}
