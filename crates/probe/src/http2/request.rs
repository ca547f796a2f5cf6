//! A request in the words of HTTP/2 (RFC 9113, section 8.3.1).

use crate::{
    hop::Hop,
    request::{Asking, Line},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use url::Position;

/// # Errors
/// A URL that the library can't ask for: one of 64 KiB, to which only a redirect can lead.
pub fn request(asking: &Asking<'_>, hop: &Hop, cookies: Option<HeaderValue>) -> Result<Request<()>, http::Error> {
    let host = asking.host(hop);
    let authority = match Authority::try_from(host.as_bytes()) {
        Ok(authority) => authority,
        // A configured host that is none: whoever writes one wants to see it arrive.
        Err(_) => Authority::try_from(&hop.url[Position::BeforeHost..Position::AfterPort])?,
    };
    let mut headers = HeaderMap::new();
    if host.as_bytes() != authority.as_str().as_bytes() {
        headers.insert(header::HOST, host);
    }
    for (name, value) in asking.lines(hop, cookies).into_iter().filter(is_for_http2) {
        headers.try_append(name, value)?;
    }
    let uri = Uri::builder()
        .scheme(if hop.is_https() { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(authority)
        .path_and_query(PathAndQuery::try_from(&hop.url[Position::BeforePath..Position::AfterQuery])?)
        .build()?;
    let mut request = Request::builder().method(hop.method.clone()).uri(uri).version(Version::HTTP_2).body(())?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// What speaks of one connection has no place in HTTP/2 (section 8.2.2).
fn is_for_http2((name, value): &Line) -> bool {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    let of_connection = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, KEEP_ALIVE, PROXY_CONNECTION];
    !of_connection.contains(name) && (*name != header::TE || value == "trailers")
}
