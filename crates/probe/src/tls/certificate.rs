//! What a certificate says of itself.

use model::{UnixMs, answer::Validity, result::TlsSeen, text::shortened};
use x509_parser::{
    objects::{oid_registry, oid2abbrev},
    prelude::{FromDer, GeneralName, X509Certificate, X509Name},
};

/// A record is limited, a certificate's names are not.
const MAX_NAME: usize = 1 << 10;

/// The leaf for the record; `None` when it is no certificate that can be read.
pub fn seen(der: &[u8], version: Option<&'static str>) -> Option<TlsSeen> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    Some(TlsSeen {
        version,
        issuer: name(cert.issuer()),
        subject: name(cert.subject()),
        not_before: UnixMs::from_seconds(cert.validity().not_before.timestamp()),
        not_after: UnixMs::from_seconds(cert.validity().not_after.timestamp()),
    })
}

pub fn validity(der: &[u8]) -> Option<Validity> {
    let seen = seen(der, None)?;
    Some(Validity { subject: seen.subject, not_before: seen.not_before, not_after: seen.not_after })
}

/// The host names and addresses that a certificate is for, at most ten of them.
pub fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, cert)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(Some(san)) = cert.subject_alternative_name() else { return Vec::new() };
    let text = |n: &GeneralName<'_>| match n {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => Some(std::net::Ipv4Addr::from(v4).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string()),
        },
        _ => None,
    };
    san.value.general_names.iter().filter_map(text).take(10).collect()
}

/// A name by RFC 4514: the most specific part first, parts joined by commas, special characters escaped.
fn name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for rdn in name.iter_rdn() {
        let attributes = rdn.iter().map(|a| {
            let kind =
                oid2abbrev(a.attr_type(), oid_registry()).map_or_else(|_| a.attr_type().to_id_string(), str::to_owned);
            let value = a.as_str().map_or_else(|_| String::from_utf8_lossy(a.as_slice()).into_owned(), str::to_owned);
            format!("{kind}={}", escaped(&value))
        });
        parts.push(attributes.collect::<Vec<_>>().join("+"));
    }
    parts.reverse();
    shortened(parts.join(","), MAX_NAME)
}

/// RFC 4514, section 2.4.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let edge = (i == 0 && matches!(c, ' ' | '#')) || (i == last && c == ' ');
        if edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            out.push('\\');
        }
        if c == '\0' { out.push_str("\\00") } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use testkit::pki;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..2000, with in any::<u8>(), cut in 0usize..2000) {
            let mut der = pki().good.chain[0].to_vec();
            let at = at % der.len();
            der[at] = with;
            if let Some(seen) = seen(&der, None) {
                prop_assert!(seen.subject.len() <= MAX_NAME && seen.issuer.len() <= MAX_NAME);
            }
            names(&der);
            prop_assert!(seen(&der[..cut % der.len()], None).is_none());
        }
    }

    #[test]
    fn special_characters_of_a_name_are_escaped() {
        assert_eq!(escaped("Let's Encrypt"), "Let's Encrypt");
        assert_eq!(escaped(" a, b+c "), "\\ a\\, b\\+c\\ ");
        assert_eq!(escaped("#1"), "\\#1");
    }
}
