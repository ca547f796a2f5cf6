//! The bytes of a request.

use crate::hop::Hop;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{BufMut, BytesMut};
use http::{HeaderName, HeaderValue, Method, header};
use model::Target;
use percent_encoding::percent_decode_str;
use url::Position;

/// The head of a request. Sent by default: host, user-agent, `accept: */*` and `connection: close`; a configured header
/// replaces the default one of its name. No accept-encoding, no referer.
pub fn request(hop: &Hop, target: &Target, user_agent: &HeaderValue) -> BytesMut {
    let mut out = BytesMut::with_capacity(512);
    out.put_slice(hop.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(hop.url[Position::BeforePath..Position::AfterQuery].as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    let asked = &target.request;
    let configured = || asked.headers.iter().filter(|(name, _)| goes_along(name, hop));
    let is_configured = |name: HeaderName| configured().any(|(n, _)| *n == name);
    if !is_configured(header::HOST) {
        out.put_slice(b"host: ");
        out.put_slice(hop.url[Position::BeforeHost..Position::AfterPort].as_bytes());
        out.put_slice(b"\r\n");
    }
    if !is_configured(header::USER_AGENT) {
        line(&mut out, &header::USER_AGENT, user_agent.as_bytes());
    }
    if !is_configured(header::ACCEPT) {
        line(&mut out, &header::ACCEPT, b"*/*");
    }
    if !is_configured(header::CONNECTION) {
        line(&mut out, &header::CONNECTION, b"close");
    }
    for (name, value) in configured() {
        line(&mut out, name, value.as_bytes());
    }
    if hop.with_credentials && !is_configured(header::AUTHORIZATION) {
        if let Some(value) = &asked.authorization {
            line(&mut out, &header::AUTHORIZATION, value.as_bytes());
        } else if let Some(value) = of_user_info(target) {
            line(&mut out, &header::AUTHORIZATION, value.as_bytes());
        }
    }
    let body = asked.body.as_deref().filter(|_| hop.with_body);
    // RFC 9110 8.6: a request whose method gives a body a meaning says its length, also when there is none.
    if body.is_some() || [Method::POST, Method::PUT, Method::PATCH].contains(&hop.method) {
        line(&mut out, &header::CONTENT_LENGTH, body.map_or(0, <[u8]>::len).to_string().as_bytes());
    }
    out.put_slice(b"\r\n");
    out
}

fn line(out: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Which configured headers this hop carries. The framing is never theirs to say.
fn goes_along(name: &HeaderName, hop: &Hop) -> bool {
    match *name {
        header::AUTHORIZATION | header::COOKIE | header::PROXY_AUTHORIZATION => hop.with_credentials,
        header::HOST => hop.same_host,
        header::CONTENT_LENGTH | header::TRANSFER_ENCODING => false,
        header::CONTENT_TYPE
        | header::CONTENT_ENCODING
        | header::CONTENT_LANGUAGE
        | header::CONTENT_LOCATION
        | header::EXPECT => hop.with_body,
        _ => true,
    }
}

/// The user info of the target's URL as basic authentication (RFC 7617).
fn of_user_info(target: &Target) -> Option<String> {
    let url = &target.url;
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
}
