//! Equal values share one `Arc` over the whole config: 100,000 targets are usual, 100,000 ways to ask are not.

use crate::{alike::Alike, request::WrittenTls};
use model::target::{CertificateLimit, Limits, Request, TlsSettings};
use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

#[derive(Default)]
pub(crate) struct Interned {
    pub tls: Pool<TlsSettings>,
    /// Settings that name certificates are known by the names, so that no bundle is compared with itself for every
    /// target.
    pub tls_as_written: HashMap<WrittenTls, Arc<TlsSettings>>,
    pub requests: Pool<Request>,
    pub limits: Pool<Limits>,
    pub labels: Pool<BTreeMap<String, String>>,
    pub alike: Alike,
}

/// Values by the hash of what tells most of them apart.
pub(crate) struct Pool<T>(HashMap<u64, Vec<Arc<T>>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: PartialEq + Fingerprint> Pool<T> {
    pub fn share(&mut self, value: T) -> Arc<T> {
        let mut hasher = DefaultHasher::new();
        value.fingerprint(&mut hasher);
        let alike = self.0.entry(hasher.finish()).or_default();
        if let Some(same) = alike.iter().find(|v| ***v == value) {
            return same.clone();
        }
        let value = Arc::new(value);
        alike.push(value.clone());
        value
    }
}

/// Equal values have equal fingerprints.
pub(crate) trait Fingerprint {
    fn fingerprint(&self, into: &mut DefaultHasher);
}

impl Fingerprint for TlsSettings {
    fn fingerprint(&self, into: &mut DefaultHasher) {
        self.hash(into);
    }
}

impl Fingerprint for BTreeMap<String, String> {
    fn fingerprint(&self, into: &mut DefaultHasher) {
        self.hash(into);
    }
}

impl Fingerprint for Request {
    fn fingerprint(&self, into: &mut DefaultHasher) {
        (&self.method, &self.headers, &self.authorization, self.redirects, self.max_body, &self.secrets).hash(into);
        self.body.as_ref().map(|b| b.len()).hash(into);
        (self.http, &self.proxy).hash(into);
        Arc::as_ptr(&self.tls).hash(into); // shared already, so equal settings have one address
    }
}

impl Fingerprint for Limits {
    fn fingerprint(&self, into: &mut DefaultHasher) {
        self.status.as_ref().map(|s| &s.0).hash(into);
        for (name, pattern) in &self.headers {
            (name, pattern.text()).hash(into);
        }
        self.cel.as_ref().map(|e| e.text()).hash(into);
        (&self.matches, &self.not_matches, self.time).hash(into);
        match self.certificate {
            None => {}
            Some(CertificateLimit::Remaining(left)) => left.hash(into),
            Some(CertificateLimit::Share(share)) => share.to_bits().hash(into),
        }
    }
}
