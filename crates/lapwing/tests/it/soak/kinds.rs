//! Every kind of behaviour that the kit can script, and the one thing that a check of it must say.

use std::{any::Any, collections::HashMap, io::Write, sync::Mutex};
use testkit::{
    Backlog, Refused, Site, Step, Tls, Version, http2,
    names::{NameServer, Reply, ResponseCode, Strange},
    pki,
    step::*,
};

/// What a target meets, and what it has earned.
pub struct Kind {
    pub name: &'static str,
    /// `verdict reason phase`
    pub want: &'static str,
    /// `{id}` in it is that of the target.
    pub url: String,
    /// Further keys of the target, as flow mappings have them.
    pub keys: String,
}

/// All kinds, and the sites that make them.
#[derive(Default)]
pub struct World {
    pub kinds: Vec<Kind>,
    kept: Vec<Box<dyn Any>>,
}

/// The keys of a check that must meet its timeout. The others have as long as their interval.
const SOON: &str = "timeout: 2s";
/// The address that the soak's guard refuses.
pub const DENIED: &str = "127.0.0.99";

impl World {
    pub fn new() -> Self {
        let mut world = Self::default();
        world.plain();
        world.greetings();
        world.ports();
        world.certificates();
        world.handshakes();
        world.frames();
        world.proxies();
        world.names();
        world
    }

    fn add(&mut self, name: &'static str, want: &'static str, url: String, keys: impl Into<String>) {
        self.kinds.push(Kind { name, want, url, keys: keys.into() });
    }

    /// A site for this kind alone.
    fn site(&mut self, name: &'static str, want: &'static str, site: Site, keys: impl Into<String>) {
        self.add(name, want, site.url("/"), keys);
        self.kept.push(Box::new(site));
    }

    /// Over plain HTTP/1.1, a path each.
    fn plain(&mut self) {
        let rows = [up(), expected(), transfers(), timeouts()].concat();
        let paths: Vec<_> = rows.iter().map(|(name, ..)| format!("/{name}")).collect();
        let steps = paths.iter().zip(&rows).map(|(path, (.., steps))| (path.as_str(), steps.clone()));
        let further = [("/end", vec![resp(200, "the end")])];
        let site = Site::routes(steps.chain(further));
        for ((name, want, keys, _), path) in rows.iter().zip(&paths) {
            self.add(name, want, site.url(path), *keys);
        }
        self.kept.push(Box::new(site));
        // Reset at first, and fine when the same target asks again.
        let asked: Mutex<HashMap<String, usize>> = Mutex::default();
        let flaky = Site::answer(move |request| {
            let mut asked = asked.lock().unwrap();
            let times = asked.entry(request.path().to_owned()).or_default();
            *times += 1;
            if *times % 2 == 1 { vec![reset()] } else { vec![resp(200, "fine")] }
        });
        let always = Site::serve([reset()]);
        self.site("retry_of_a_broken_site", "down closed wait", always, "retries: 1");
        self.add("retry_of_a_flaky_site", "up", flaky.url("/{id}"), "retries: 1");
        self.kept.push(Box::new(flaky));
    }

    /// Who speaks before it was asked.
    fn greetings(&mut self) {
        self.site("smtp", "down bad_response wait", Site::greet([send("220 mail.example ESMTP\r\n"), hold()]), "");
        self.site("ssh", "down bad_response wait", Site::greet([send("SSH-2.0-OpenSSH_9.9\r\n"), hold()]), "");
        self.site("refuses_at_once", "down closed wait", Site::greet([receive(), reset()]), "");
    }

    /// Who can't be connected to, or may not be.
    fn ports(&mut self) {
        let (refused, full) = (Refused::new(), Backlog::new());
        self.add("closed_port", "down connect_refused connect", refused.url("/"), "");
        self.add("full_queue", "down timeout connect", full.url("/"), SOON);
        self.add("metadata", "down blocked connect", "http://169.254.169.254/latest/".into(), "");
        self.add("denied", "down blocked connect", refused.at(DENIED, "/"), "");
        self.kept.push(Box::new((refused, full)));
    }

    fn certificates(&mut self) {
        let pki = pki();
        let trusted = "request: {tls: {ca_file: root.pem}}";
        let root = |more: &str| format!("{trusted}, {more}");
        let fine = || [resp(200, "fine")];
        for (name, want, identity, keys) in [
            ("https", "up", &pki.good, trusted.to_owned()),
            ("intermediate", "up", &pki.by_intermediate, trusted.into()),
            ("insecure", "up", &pki.expired, "request: {tls: {verify: false}}".into()),
            ("pinned", "up", &pki.self_signed, "request: {tls: {ca_file: self_signed.pem}}".into()),
            ("expired", "down tls_expired tls", &pki.expired, trusted.into()),
            ("not_yet_valid", "down tls_not_yet_valid tls", &pki.not_yet_valid, trusted.into()),
            ("wrong_host", "down tls_wrong_host tls", &pki.wrong_host, trusted.into()),
            ("unknown_ca", "down tls_untrusted tls", &pki.unknown_ca, trusted.into()),
            ("self_signed", "down tls_untrusted tls", &pki.self_signed, trusted.into()),
            ("intermediate_missing", "down tls_untrusted tls", &pki.intermediate_missing, trusted.into()),
            ("ends_soon", "down certificate_expiring expect", &pki.soon, root("expect: {certificate: 7d}")),
            ("ends_soon_warned", "degraded certificate_expiring expect", &pki.soon, root("warn: {certificate: 7d}")),
            ("aged", "degraded certificate_expiring expect", &pki.aged, root("warn: {certificate: 33%}")),
        ] {
            self.site(name, want, Site::tls(Tls::with(identity), fine()), keys);
        }
        let truncated = Site::tls(Tls::with(&pki.good), [announced(), send("hello"), cut()]);
        self.site("https_truncated", "down truncated body", truncated, trusted);
        let unfinished = Site::tls(Tls::with(&pki.good), [head(200, &[]), send("hello"), cut()]);
        self.site("https_without_close_notify", "up", unfinished, trusted);
        self.site("https_closed", "down closed wait", Site::tls(Tls::with(&pki.good), [cut()]), trusted);
    }

    fn handshakes(&mut self) {
        let failed = "down tls_failed tls";
        let alert = b"\x15\x03\x03\x00\x02\x02\x28";
        let instead = |steps: Vec<Step>| Site::setup().https().greet(steps);
        self.site("handshake_fin", failed, instead(vec![receive(), close()]), "");
        self.site("handshake_rst", failed, instead(vec![receive(), reset()]), "");
        self.site("handshake_alert", failed, instead(vec![receive(), send(alert), close()]), "");
        self.site("handshake_in_plain", failed, instead(vec![receive(), resp(400, "plain"), hold()]), "");
        self.site("handshake_hangs", "down timeout tls", instead(vec![hold()]), SOON);
        let fine = || [resp(200, "fine")];
        let demanding = Site::tls(Tls::with(&pki().good).demand_client(&pki().root), fine());
        self.site("client_certificate", failed, demanding, "request: {tls: {ca_file: root.pem}}");
        let known = Site::tls(Tls::with(&pki().good).demand_client(&pki().root), fine());
        let keys = "request: {tls: {ca_file: root.pem, cert_file: client.pem, key_file: client.key}}";
        self.site("client_certificate_shown", "up", known, keys);
        let old = Site::tls(Tls::with(&pki().good).only(Version::Tls12), fine());
        self.site("version_too_old", failed, old, "request: {tls: {ca_file: root.pem, min_version: \"1.3\"}}");
        let declines = Site::tls(Tls::with(&pki().good), fine());
        self.site("http2_declined", failed, declines, "request: {http: 2, tls: {ca_file: root.pem}}");
    }

    fn frames(&mut self) {
        let (closed, bad, cut_off) = ("down closed wait", "down bad_response wait", "down truncated body");
        let begun = || vec![http2::begin(), http2::head(200, &[]), http2::data("hello")];
        let rows: [(_, _, Vec<Step>, _); 9] = [
            ("h2_reset", closed, vec![http2::begin(), http2::reset_stream(2), hold()], ""),
            ("h2_go_away", closed, vec![http2::begin(), http2::go_away(0, 0), hold()], ""),
            ("h2_fin", closed, vec![http2::begin(), close()], ""),
            ("h2_nonsense", bad, vec![send([0; 64]), hold()], ""),
            (
                "h2_head_on_stream_0",
                bad,
                vec![http2::begin(), http2::frame(http2::HEADERS, http2::END_HEADERS, 0, [0x88]), hold()],
                "",
            ),
            ("h2_truncated", cut_off, [begun(), vec![http2::reset_stream(2), hold()]].concat(), ""),
            ("h2_fin_inside", cut_off, [begun(), vec![close()]].concat(), ""),
            ("h2_hangs", "down timeout wait", vec![http2::begin(), hold()], SOON),
            ("h2_stalls", "down timeout body", [begun(), vec![hold()]].concat(), SOON),
        ];
        for (name, want, steps, keys) in rows {
            let keys =
                if keys.is_empty() { "request: {http: 2}".to_owned() } else { format!("request: {{http: 2}}, {keys}") };
            self.site(name, want, Site::setup().frames(steps), keys);
        }
        let tls = Tls::with(&pki().good).alpn(&["h2"]);
        let fine = Site::setup().tls(tls).http2(|_| http2::Reply::new(200, "fine").trailer("x", "y"));
        self.site("h2", "up", fine, "request: {tls: {ca_file: root.pem}}, expect: {body: fine}");
    }

    fn proxies(&mut self) {
        let site = Site::tls(Tls::with(&pki().good), [resp(200, "fine")]);
        let through = |proxy: &Site, more: &str| {
            format!("request: {{proxy: \"http://127.0.0.1:{}\", tls: {{ca_file: root.pem}}}}{more}", proxy.port())
        };
        let secure = site.at("one.test", "/");
        for (name, want, url, steps, more) in [
            ("proxy_http", "up", "http://shop.test/", vec![resp(200, "fine")], ""),
            ("proxy_tunnel", "up", secure.as_str(), vec![head(200, &[]), tunnel(site.port())], ""),
            ("proxy_refuses", "down connect_failed connect", &secure, vec![resp(403, "no")], ""),
            ("proxy_ends", "down connect_failed connect", &secure, vec![close()], ""),
            ("proxy_hangs", "down timeout connect", &secure, vec![hold()], ", timeout: 2s"),
            ("proxy_says_502", "down status expect", "http://shop.test/", vec![resp(502, "bad gateway")], ""),
        ] {
            let proxy = Site::serve(steps);
            self.add(name, want, url.to_owned(), through(&proxy, more));
            self.kept.push(Box::new(proxy));
        }
        self.kept.push(Box::new(site));
    }

    fn names(&mut self) {
        let here = |owner: &str| Reply::Records(vec![(owner.to_owned(), "127.0.0.1".to_owned())]);
        let alias = |from: &str, to: &str| Reply::Records(vec![(from.to_owned(), to.to_owned())]);
        let server = NameServer::new(move |q| match q.name.as_str() {
            "missing.test" => Reply::Code(ResponseCode::NXDomain),
            "empty.test" => Reply::Records(vec![]),
            "broken.test" => Reply::Code(ResponseCode::ServFail),
            "silent.test" => Reply::Silence,
            "hangup.test" if q.tcp => Reply::Hangup,
            "large.test" if q.tcp => here(&q.name),
            "hangup.test" | "large.test" => Reply::Truncated,
            "alias.test" => alias("alias.test", "end.test"),
            "circle.test" => alias("circle.test", "circle.test"),
            "late_name.test" => Reply::Late(std::time::Duration::from_millis(300), Box::new(here(&q.name))),
            "spoofed.test" => Reply::After(Strange::WrongId, Box::new(here(&q.name))),
            _ => here(&q.name),
        });
        let site = Site::serve([resp(200, "fine")]);
        let keys = format!("request: {{resolver: \"127.0.0.1:{}\"}}", server.port);
        for (name, want) in [
            ("missing", "down dns_not_found dns"),
            ("empty", "down dns_no_address dns"),
            ("broken", "down dns_failed dns"),
            ("hangup", "down dns_failed dns"),
            ("circle", "down dns_failed dns"),
            ("large", "up"),
            ("alias", "up"),
            ("late_name", "up"),
            ("spoofed", "up"),
        ] {
            self.add(name, want, site.at(&format!("{name}.test"), "/"), &*keys);
        }
        self.add("silent", "down timeout dns", site.at("silent.test", "/"), format!("{keys}, {SOON}"));
        self.kept.push(Box::new((server, site)));
    }
}

/// Name, what it has earned, further keys, and what the site does.
type Rows = Vec<(&'static str, &'static str, &'static str, Vec<Step>)>;

fn announced() -> Step {
    head(200, &[("content-length", "100")])
}

fn in_chunks() -> Step {
    head(200, &[("transfer-encoding", "chunked")])
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    to.write_all(bytes).and_then(|()| to.finish()).unwrap()
}

fn up() -> Rows {
    vec![
        ("fine", "up", "expect: {body: \"^fi(n|m)e$\"}", vec![resp(200, "fine")]),
        ("chunks", "up", "expect: {body: needle}", vec![chunked(200, ["one nee", "dle two"])]),
        ("no_length", "up", "", vec![head(200, &[]), send("fine"), close()]),
        ("no_content", "up", "", vec![head(204, &[]), hold()]),
        ("head", "up", "request: {method: HEAD}", vec![head(200, &[("content-length", "77")]), hold()]),
        ("post", "up", "request: {method: POST, body: abc}", vec![resp(200, "fine")]),
        ("interim", "up", "", vec![head(103, &[]), pause(20), resp(200, "fine")]),
        ("much", "up", "", vec![head(200, &[]), fill(300_000)]),
        ("zipped", "up", "expect: {body: needle}", vec![gzip(b"a needle")]),
        ("redirected", "up", "expect: {body: the end}", vec![redirect(302, "/end")]),
        ("not_followed", "up", "request: {redirects: 0}", vec![redirect(302, "/end")]),
        ("json", "up", "expect: {cel: \"body.json.ok && status == 200\"}", vec![resp(200, "{\"ok\":true}")]),
        ("takes_a_while", "up", "", vec![pause(300), resp(200, "fine")]),
        ("comfort", "degraded slow expect", "warn: {time: 100ms}", vec![pause(300), resp(200, "fine")]),
        ("warned", "degraded body_no_match expect", "warn: {body: moon}", vec![resp(200, "sun")]),
    ]
}

fn expected() -> Rows {
    let page = || vec![resp_with(200, &[("content-type", "text/html")], "hello world")];
    vec![
        ("error", "down status expect", "", vec![resp(503, "no")]),
        ("error_and_cut", "down status expect", "", vec![head(500, &[("content-length", "9")]), send("x"), close()]),
        ("header", "down header expect", "expect: {headers: {content-type: json}}", page()),
        ("pattern", "down body_no_match expect", "expect: {body: \"m(oo|u)n\"}", page()),
        ("forbidden", "down body_match expect", "expect: {body: {not_matches: w.rld}}", page()),
        ("cel", "down cel expect", "expect: {cel: status == 201}", page()),
        ("cel_of_no_json", "down cel expect", "expect: {cel: body.json.ok}", page()),
        ("slow", "down slow expect", "expect: {time: 100ms}", vec![pause(300), resp(200, "fine")]),
        ("redirect_loop", "down too_many_redirects wait", "", vec![redirect(302, "/redirect_loop")]),
        ("redirect_elsewhere", "down bad_redirect wait", "", vec![redirect(302, "ftp://h.example/")]),
    ]
}

fn transfers() -> Rows {
    let (closed, bad, cut_off) = ("down closed wait", "down bad_response wait", "down truncated body");
    let (encoding, too_large) = ("down bad_encoding body", "down body_too_large body");
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n";
    let labelled = |coding: &str, body: &[u8]| resp_with(200, &[("content-encoding", coding)], body);
    let limited = "request: {max_body: 256KiB}";
    vec![
        ("fin", closed, "", vec![close()]),
        ("rst", closed, "", vec![reset()]),
        ("fin_inside_the_head", closed, "", vec![send(half), close()]),
        ("rst_inside_the_head", closed, "", vec![send(half), pause(20), reset()]),
        ("nul", bad, "", vec![send([0; 64]), hold()]),
        ("html", bad, "", vec![send("<html><body>hello</body></html>\n"), hold()]),
        ("no_colon", bad, "", vec![send("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), hold()]),
        ("endless_head", bad, "", vec![send("HTTP/1.1 200 OK\r\nx: "), endless([b'v'; 4096], 0)]),
        ("cut", cut_off, "", vec![announced(), send("hello"), close()]),
        ("cut_by_reset", cut_off, "", vec![announced(), send("hello"), pause(20), reset()]),
        ("cut_before_the_pattern", cut_off, "expect: {body: world}", vec![announced(), send("hello"), close()]),
        ("cut_before_the_last_chunk", cut_off, "", vec![in_chunks(), chunk("hello"), close()]),
        ("malformed_chunk", cut_off, "", vec![in_chunks(), chunk("hello"), send("zz\r\n"), hold()]),
        ("not_zipped", encoding, "", vec![labelled("gzip", b"hello")]),
        ("zipped_in_part", encoding, "", vec![labelled("gzip", &gzipped(b"hello world")[..15])]),
        ("not_brotli", encoding, "", vec![labelled("br", b"\xffhello")]),
        ("endless", too_large, limited, vec![head(200, &[]), endless([b'x'; 4096], 0)]),
        ("endless_chunks", too_large, limited, vec![in_chunks(), endless(chunk_of(4096), 0)]),
        ("bomb", too_large, limited, vec![gzip(&vec![0; 16 << 20])]),
    ]
}

fn timeouts() -> Rows {
    let (wait, body) = ("down timeout wait", "down timeout body");
    vec![
        ("hangs", wait, SOON, vec![hold()]),
        ("hangs_inside_the_head", wait, SOON, vec![send("HTTP/1.1 20"), hold()]),
        ("drips", wait, SOON, vec![send("HTTP/1.1 200 OK\r\n"), endless("x: y\r\n", 50)]),
        ("interim_for_ever", wait, SOON, vec![endless("HTTP/1.1 100 Continue\r\n\r\n", 50)]),
        ("stalls", body, SOON, vec![announced(), send("hello"), hold()]),
        ("trickles", body, SOON, vec![head(200, &[]), endless("x", 50)]),
        ("last_chunk_missing", body, SOON, vec![in_chunks(), chunk("hello"), hold()]),
    ]
}

fn gzip(bytes: &[u8]) -> Step {
    resp_with(200, &[("content-encoding", "gzip")], gzipped(bytes))
}

fn chunk_of(size: usize) -> Vec<u8> {
    [format!("{size:x}\r\n").into_bytes(), vec![b'x'; size], b"\r\n".to_vec()].concat()
}
