//! Certificates of every kind, good and bad, made once per test process. ECDSA P-256 throughout.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// The certificates of this process.
pub fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(Pki::new)
}

/// A leaf is valid for `localhost`, `one.test`, `two.test`, `*.wild.test`, `127.0.0.1` and `::1`, from yesterday for 90 days, and
/// signed by the root, unless its line says otherwise. Clients are meant to trust `root` and, for one of them, `short_root`.
#[derive(Debug)]
pub struct Pki {
    pub root: Authority,
    /// Signed by the root.
    pub intermediate: Authority,
    /// Signed by the root; ends in 3 days.
    pub short_intermediate: Authority,
    /// A root that ends in 3 days.
    pub short_root: Authority,
    /// A root that nobody trusts.
    pub other_root: Authority,

    pub good: Identity,
    /// Signed by the intermediate, which is sent along.
    pub by_intermediate: Identity,
    /// Signed by the intermediate, which is not sent.
    pub intermediate_missing: Identity,
    /// Signed by the intermediate that ends in 3 days.
    pub by_short_intermediate: Identity,
    /// Signed by the root that ends in 3 days, which is sent along.
    pub by_short_root: Identity,
    /// Sends the intermediate that ends in 3 days, which has no part in its path.
    pub extra_intermediate: Identity,
    /// Ended a year ago.
    pub expired: Identity,
    /// Begins in a year.
    pub not_yet_valid: Identity,
    /// Ended a year ago, and signed by the root that nobody trusts.
    pub expired_unknown: Identity,
    /// For `other.example` alone.
    pub wrong_host: Identity,
    /// For `localhost` alone, no address.
    pub name_only: Identity,
    /// `CN=localhost` and no alternative names.
    pub common_name_only: Identity,
    /// Signed by the root that nobody trusts.
    pub unknown_ca: Identity,
    /// Signed by itself, as an end entity.
    pub self_signed: Identity,
    /// Signed by itself, as an authority: what `openssl req -x509` makes.
    pub self_signed_ca: Identity,
    /// Ends in 3 days.
    pub soon: Identity,
    /// 10 of its 100 days are left.
    pub aged: Identity,
    /// For a client.
    pub client: Identity,
    /// For a client, signed by the root that nobody trusts.
    pub unknown_client: Identity,
}

impl Pki {
    fn new() -> Self {
        let root = Authority::new("Testkit Root", None, FAR);
        let intermediate = Authority::new("Testkit Intermediate", Some(&root), FAR);
        let short_intermediate = Authority::new("Testkit Short Intermediate", Some(&root), 3);
        let short_root = Authority::new("Testkit Short Root", None, 3);
        let other_root = Authority::new("Testkit Other Root", None, FAR);
        let leaf = |name| Leaf { name, ..Leaf::by(&root) };
        let by = |issuer, name| Leaf { name, ..Leaf::by(issuer) };
        Self {
            good: leaf("good").make(),
            by_intermediate: by(&intermediate, "by_intermediate").send(&intermediate).make(),
            intermediate_missing: by(&intermediate, "intermediate_missing").make(),
            by_short_intermediate: by(&short_intermediate, "by_short_intermediate").send(&short_intermediate).make(),
            by_short_root: by(&short_root, "by_short_root").send(&short_root).make(),
            extra_intermediate: leaf("extra_intermediate").send(&short_intermediate).make(),
            expired: leaf("expired").days(-730, -365).make(),
            not_yet_valid: leaf("not_yet_valid").days(365, 730).make(),
            expired_unknown: by(&other_root, "expired_unknown").days(-730, -365).make(),
            wrong_host: leaf("wrong_host").names(&["other.example"]).make(),
            name_only: leaf("name_only").names(&["localhost"]).make(),
            common_name_only: leaf("common_name_only").names(&[]).make(),
            unknown_ca: by(&other_root, "unknown_ca").make(),
            self_signed: leaf("self_signed").signer(Signer::Itself).make(),
            self_signed_ca: leaf("self_signed_ca").signer(Signer::ItselfAsAuthority).make(),
            soon: leaf("soon").days(-1, 3).make(),
            aged: leaf("aged").days(-90, 10).make(),
            client: leaf("client").for_client().make(),
            unknown_client: by(&other_root, "unknown_client").for_client().make(),
            root,
            intermediate,
            short_intermediate,
            short_root,
            other_root,
        }
    }

    /// Writes `root.pem`, `short_root.pem`, `other_root.pem`, and for every identity `NAME.pem` (the chain) and `NAME.key`, where
    /// the name is that of the field.
    pub fn write(&self, folder: &Path) {
        let authorities = [("root", &self.root), ("short_root", &self.short_root), ("other_root", &self.other_root)];
        for (name, authority) in authorities {
            write(&folder.join(format!("{name}.pem")), &authority.pem);
        }
        for identity in self.identities() {
            write(&folder.join(format!("{}.pem", identity.name)), &identity.chain_pem);
            write(&folder.join(format!("{}.key", identity.name)), &identity.key_pem);
        }
    }

    pub fn identities(&self) -> [&Identity; 19] {
        [
            &self.good,
            &self.by_intermediate,
            &self.intermediate_missing,
            &self.by_short_intermediate,
            &self.by_short_root,
            &self.extra_intermediate,
            &self.expired,
            &self.not_yet_valid,
            &self.expired_unknown,
            &self.wrong_host,
            &self.name_only,
            &self.common_name_only,
            &self.unknown_ca,
            &self.self_signed,
            &self.self_signed_ca,
            &self.soon,
            &self.aged,
            &self.client,
            &self.unknown_client,
        ]
    }
}

/// Who signs: its certificate, and the key that stays inside.
pub struct Authority {
    pub pem: String,
    pub der: CertificateDer<'static>,
    /// To the second, as the certificate has it.
    pub not_after: SystemTime,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(common_name: &str, signed_by: Option<&Self>, ends_in_days: i64) -> Self {
        let mut params = params(common_name, &[], (-400, ends_in_days));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::OrganizationName, "Lapwing Testkit");
        params.distinguished_name.push(DnType::CountryName, "XX");
        let key = key();
        let certificate = match signed_by {
            None => params.self_signed(&key),
            Some(parent) => params.signed_by(&key, &parent.issuer),
        };
        let certificate = certificate.expect("the parameters are fit for an authority");
        let not_after = params.not_after.into();
        Self { pem: certificate.pem(), der: certificate.der().clone(), not_after, issuer: Issuer::new(params, key) }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate with what is sent along with it, and its key.
#[derive(Clone)]
pub struct Identity {
    /// The name of its field in [`Pki`].
    pub name: &'static str,
    pub chain: Vec<CertificateDer<'static>>,
    pub chain_pem: String,
    pub key_pem: String,
    /// To the second, as the certificate has it.
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    key: Vec<u8>,
}

impl Identity {
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.name).finish()
    }
}

/// A leaf that has not been made yet.
struct Leaf<'a> {
    name: &'static str,
    names: &'a [&'a str],
    days: (i64, i64),
    usage: ExtendedKeyUsagePurpose,
    signer: Signer<'a>,
    sent_along: Option<&'a Authority>,
}

enum Signer<'a> {
    Authority(&'a Authority),
    Itself,
    ItselfAsAuthority,
}

const NAMES: [&str; 6] = ["localhost", "one.test", "two.test", "*.wild.test", "127.0.0.1", "::1"];
/// Ten years, in days.
const FAR: i64 = 3650;

impl<'a> Leaf<'a> {
    fn by(authority: &'a Authority) -> Self {
        Self {
            name: "",
            names: &NAMES,
            days: (-1, 90),
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            signer: Signer::Authority(authority),
            sent_along: None,
        }
    }

    fn send(self, authority: &'a Authority) -> Self {
        Self { sent_along: Some(authority), ..self }
    }

    /// From and until so many days from now.
    fn days(self, from: i64, until: i64) -> Self {
        Self { days: (from, until), ..self }
    }

    fn names(self, names: &'a [&'a str]) -> Self {
        Self { names, ..self }
    }

    fn signer(self, signer: Signer<'a>) -> Self {
        Self { signer, ..self }
    }

    fn for_client(self) -> Self {
        Self { usage: ExtendedKeyUsagePurpose::ClientAuth, names: &[], ..self }
    }

    fn make(self) -> Identity {
        let mut params = params("localhost", self.names, self.days);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.usage];
        let key = key();
        let certificate = match self.signer {
            Signer::Authority(authority) => params.signed_by(&key, &authority.issuer),
            Signer::Itself => params.self_signed(&key),
            Signer::ItselfAsAuthority => {
                // openssl says nothing of usages here.
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages.clear();
                params.extended_key_usages.clear();
                params.self_signed(&key)
            }
        };
        let certificate = certificate.expect("the parameters are fit for a leaf");
        let along = self.sent_along;
        Identity {
            name: self.name,
            chain: [certificate.der()].into_iter().chain(along.map(|a| &a.der)).cloned().collect(),
            chain_pem: certificate.pem() + along.map_or("", |a| &a.pem),
            key_pem: key.serialize_pem(),
            not_before: params.not_before.into(),
            not_after: params.not_after.into(),
            key: key.serialize_der(),
        }
    }
}

fn params(common_name: &str, names: &[&str], (from, until): (i64, i64)) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&n| n.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are well-formed");
    params.not_before = day(from).into();
    params.not_after = day(until).into();
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// So many days from now, in whole seconds, because a certificate knows no others.
fn day(days: i64) -> SystemTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970").as_secs();
    let at = now.checked_add_signed(days * 24 * 60 * 60).expect("tests stay near the present");
    SystemTime::UNIX_EPOCH + Duration::from_secs(at)
}

fn key() -> KeyPair {
    KeyPair::generate().expect("ring makes P-256 keys")
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a test's folder can be written");
}
