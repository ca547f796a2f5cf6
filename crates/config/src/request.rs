//! How to ask: the `request` of a merged target, as the model wants it.

use crate::{
    grammar::target::is_open_header, rules, secrets::Secrets, spot::Spot, target::Workshop, tree::Node, view::View,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use model::target::{ClientCertificate, Family, Http, Lookup, Proxy, Request, TlsSettings, TlsVersion};
use std::{
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

/// Beside the secrets that the URL has. `None` when a mistake, which is reported, stands in its way.
pub(crate) fn request(
    workshop: &mut Workshop<'_>,
    view: View<'_>,
    mut secrets: Secrets,
    spot: &Spot<'_>,
) -> Option<Request> {
    let tls = tls(workshop, view.map("tls"), spot);
    let mut headers = headers(view, &mut secrets);
    let authorization = authorization(workshop, view, spot, &mut secrets);
    let body = body(workshop, view, &mut secrets);
    let proxy = proxy(view, &mut secrets);
    // A header that was written beats what would be made.
    let written = headers.iter().position(|(name, _)| name == AUTHORIZATION).map(|i| headers.remove(i).1);
    Some(Request {
        method: view.read("method", rules::method)?,
        headers,
        body,
        authorization: written.or(authorization),
        redirects: view.whole_u32("redirects"),
        lookup: lookup(view),
        http: http(view),
        proxy,
        tls: tls?,
        max_body: view.size("max_body"),
        secrets: secrets.into_list(),
    })
}

fn lookup(view: View<'_>) -> Lookup {
    let family = match view.text("ip") {
        Some("4") => Family::V4,
        Some("6") => Family::V6,
        _ => Family::Auto,
    };
    Lookup { resolvers: view.list("resolver", rules::resolver).into(), family }
}

fn http(view: View<'_>) -> Http {
    match view.text("http") {
        Some("1.1") => Http::V1_1,
        Some("2") => Http::V2,
        _ => Http::Auto,
    }
}

fn proxy(view: View<'_>, secrets: &mut Secrets) -> Option<Arc<Proxy>> {
    let url = view.read("proxy", rules::proxy_url)?;
    secrets.url(&url);
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').into();
    let authorization = crate::secrets::basic_of(&url).and_then(|text| {
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    Some(Arc::new(Proxy { host, port: url.port_or_known_default()?, authorization }))
}

fn headers(view: View<'_>, secrets: &mut Secrets) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for entry in view.named("headers") {
        let Ok(name) = rules::header_name(&entry.key) else { continue };
        for text in entry.node.items().iter().filter_map(Node::as_text) {
            let Ok(mut value) = rules::header_value(text) else { continue };
            if !is_open_header(&entry.key) {
                value.set_sensitive(true);
                secrets.header(&entry.key, text);
            }
            headers.push((name.clone(), value));
        }
    }
    headers
}

fn authorization(
    workshop: &mut Workshop<'_>,
    view: View<'_>,
    spot: &Spot<'_>,
    secrets: &mut Secrets,
) -> Option<HeaderValue> {
    let text = if let Some(auth) = view.node("basic_auth") {
        spot.needs_username(workshop.report, auth, &["request", "basic_auth"]);
        let auth = view.map("basic_auth");
        let username = text_or_file(workshop, auth, ["username", "username_file"])?;
        if auth.node("username_file").is_some() {
            secrets.add(&username);
        }
        let password = text_or_file(workshop, auth, ["password", "password_file"]).unwrap_or_default();
        secrets.add(&password);
        let encoded = BASE64_STANDARD.encode(format!("{username}:{password}"));
        secrets.add(&encoded);
        format!("Basic {encoded}")
    } else {
        let token = text_or_file(workshop, view, ["bearer_token", "bearer_token_file"])?;
        secrets.add(&token);
        format!("Bearer {token}")
    };
    let mut value = rules::header_value(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn text_or_file(workshop: &mut Workshop<'_>, view: View<'_>, [text, file]: [&str; 2]) -> Option<Arc<str>> {
    match view.node(text) {
        Some(node) => node.as_shared_text(),
        None => workshop.files.value(&workshop.path(view, file)?).ok(),
    }
}

fn body(workshop: &mut Workshop<'_>, view: View<'_>, secrets: &mut Secrets) -> Option<Arc<[u8]>> {
    if let Some(text) = view.text("body") {
        return Some(text.as_bytes().into());
    }
    let body = workshop.files.body(&workshop.path(view, "body_file")?).ok()?;
    secrets.body(&body);
    Some(body)
}

/// The settings in the words of the config: what they are known by before any file of theirs is looked at.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct WrittenTls {
    verify: bool,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
    newest_only: bool,
}

fn tls(workshop: &mut Workshop<'_>, view: View<'_>, spot: &Spot<'_>) -> Option<Arc<TlsSettings>> {
    spot.both_or_none(workshop.report, view, &["request", "tls"], ["cert_file", "key_file"]);
    let written = WrittenTls {
        verify: view.flag("verify"),
        ca: workshop.path(view, "ca_file"),
        cert: workshop.path(view, "cert_file"),
        key: workshop.path(view, "key_file"),
        server_name: view.text("server_name").map(str::to_owned),
        newest_only: view.text("min_version") == Some("1.3"),
    };
    if let Some(known) = workshop.interned.tls_as_written.get(&written) {
        return Some(known.clone());
    }
    let settings = TlsSettings {
        verify: written.verify,
        ca: certificates(workshop, written.ca.as_deref())?,
        client: client(workshop, written.cert.as_deref(), written.key.as_deref())?,
        server_name: written.server_name.clone(),
        min_version: if written.newest_only { TlsVersion::V1_3 } else { TlsVersion::V1_2 },
    };
    let shared = workshop.interned.tls.share(settings);
    workshop.interned.tls_as_written.insert(written, shared.clone());
    Some(shared)
}

type Der = Arc<[Vec<u8>]>;

/// The outer `None`: the file is a mistake.
fn certificates(workshop: &mut Workshop<'_>, path: Option<&FilePath>) -> Option<Option<Der>> {
    path.map(|p| workshop.files.certificates(p).ok()).map_or(Some(None), |read| read.map(Some))
}

fn client(
    workshop: &mut Workshop<'_>,
    cert: Option<&FilePath>,
    key: Option<&FilePath>,
) -> Option<Option<ClientCertificate>> {
    let (Some(cert), Some(key)) = (cert, key) else { return Some(None) };
    let chain = workshop.files.certificates(cert).ok()?;
    Some(Some(ClientCertificate { chain, key: workshop.files.key(key).ok()? }))
}
