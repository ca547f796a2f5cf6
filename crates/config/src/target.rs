//! One target: what the file says over `defaults`, as the model wants it.

use crate::{
    files::Files,
    grammar::{Privacy, target::TARGET},
    intern::Interned,
    limits::{Judging, judging},
    merge::merge,
    mistakes::Report,
    patterns::PatternCache,
    place::{Path, Place, Sources},
    request::request,
    rules,
    secrets::Secrets,
    spot::Spot,
    tree::{Entry, Node},
    units,
    view::View,
    walk,
};
use model::{
    Target, TargetId,
    target::{IncidentRule, StatusSet},
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use url::Url;

/// What targets are made with, and share.
pub(crate) struct Workshop<'a> {
    pub sources: &'a Sources,
    pub files: &'a mut Files,
    pub patterns: &'a mut PatternCache,
    pub interned: &'a mut Interned,
    pub report: &'a mut Report,
}

/// A target as written: checked, not merged. Every text of it may be secret.
#[derive(Clone)]
pub(crate) struct Written {
    pub node: Node,
    /// Its number among the `targets` of its file.
    pub index: usize,
}

impl Written {
    /// Over these defaults.
    pub fn merged(&self, defaults: &Node) -> Node {
        merge(defaults, &self.node, &TARGET)
    }
}

impl Workshop<'_> {
    /// The file that a key names, from the folder of the config that says so.
    pub fn path(&self, view: View<'_>, key: &str) -> Option<PathBuf> {
        let node = view.node(key)?;
        Some(self.sources.folder(node.place.source).join(node.as_text()?))
    }

    /// `None` when a mistake, which is reported, stands in its way.
    pub fn target(&mut self, written: &Written, defaults: &Node) -> Option<Target> {
        let targets = Path::ROOT.key("targets");
        let spot = Spot { own: &written.node, path: targets.index(written.index) };
        let own = View::new(&written.node, &TARGET);
        let url = self.url(own, &spot);
        let mut secrets = Secrets::default();
        if let Some(url) = &url {
            secrets.url(url);
        }
        // A request with secrets of its URL is that target's alone.
        if !secrets.is_empty() {
            return self.made_anew(written, &spot, defaults, url, secrets);
        }
        if let Some(first) = self.interned.alike.find(&written.node).cloned() {
            let url = url?;
            let id = self.id(own, &url, &spot)?;
            return Some(Target { name: name(own, &id), id, url: Arc::new(url), ..first });
        }
        let found = self.report.count();
        let target = self.made_anew(written, &spot, defaults, url, secrets)?;
        if self.report.count() == found {
            self.interned.alike.remember(&written.node, &target);
        }
        Some(target)
    }

    fn made_anew(
        &mut self,
        written: &Written,
        spot: &Spot<'_>,
        defaults: &Node,
        url: Option<Url>,
        secrets: Secrets,
    ) -> Option<Target> {
        let own = View::new(&written.node, &TARGET);
        let merged = written.merged(defaults);
        let view = View::new(&merged, &TARGET);
        let times = self.times(view, spot);
        let request = request(self, view.map("request"), secrets, spot);
        let Judging { mut expect, warn, patterns } = judging(self, view, spot);
        let (url, request, times) = (url?, request?, times?);
        let id = self.id(own, &url, spot)?;
        expect.status.get_or_insert_with(|| usual_status(request.redirects));
        Some(Target {
            name: name(own, &id),
            id,
            group: view.text("group").map(Into::into),
            labels: self.labels(view),
            enabled: view.flag("enabled"),
            locations: view.node("locations").map(|_| view.list("locations", rules::location).into()),
            interval_ms: times.interval_ms,
            timeout: times.timeout,
            retries: times.retries,
            url: Arc::new(url),
            request: self.interned.requests.share(request),
            expect: self.interned.limits.share(expect),
            warn: self.interned.limits.share(warn),
            patterns,
            incident: incident(view.map("incident")),
        })
    }

    /// It has not been looked at before, so that it is read once.
    fn url(&mut self, own: View<'_>, spot: &Spot<'_>) -> Option<Url> {
        let node = own.node("url")?;
        match rules::web_url(node.as_text()?) {
            Ok(url) => Some(url),
            Err(why) => {
                let message = format!("{} {why}", walk::shown(node, Privacy::Url));
                self.report.add(node.place, &spot.path.key("url"), message);
                None
            }
        }
    }

    /// An id names the results of one target, for ever.
    pub fn same_id(&mut self, written: &Written, id: &TargetId, first: Place) {
        let (node, shown) = match written.node.get("id") {
            Some(node) if node.origin.is_some() => (node, node.shown()),
            Some(node) => (node, format!("`{id}`")),
            None if written.node.get("name").or(written.node.get("url")).is_some_and(|n| n.origin.is_some()) => {
                (&written.node, "of this target".to_owned())
            }
            None => (&written.node, format!("`{id}`")),
        };
        let other = format!("{}:{}", self.sources.name(first.source), first.line);
        let message = format!("the id {shown} is also that of the target at {other}; give one of them another `id`");
        let targets = Path::ROOT.key("targets");
        self.report.add(node.place, &targets.index(written.index).key("id"), message);
    }

    fn labels(&mut self, view: View<'_>) -> Arc<BTreeMap<String, String>> {
        let label = |e: &Entry| Some((e.key.to_string(), e.node.as_text()?.to_owned()));
        self.interned.labels.share(view.named("labels").filter_map(label).collect())
    }

    fn id(&mut self, view: View<'_>, url: &Url, spot: &Spot<'_>) -> Option<TargetId> {
        if let Some(node) = view.node("id") {
            return TargetId::new(node.as_text()?).ok();
        }
        let (slug, of) = match view.node("name") {
            Some(name) => (model::id::slug(name.as_text()?), name),
            None => {
                let node = view.node("url")?;
                (slug_of_url(node.as_text()?, url), node)
            }
        };
        if slug.is_none() && !view.is_broken("id") {
            let key = if view.node("name").is_some() { "name" } else { "url" };
            let message = format!("no id can be made of the {key}, for a slug of it is empty; give the target an `id`");
            spot.report(self.report, &[key], of.place, message);
        }
        TargetId::new(&slug?).ok()
    }

    fn times(&mut self, view: View<'_>, spot: &Spot<'_>) -> Option<Times> {
        if TIMES.iter().any(|k| view.is_broken(k)) {
            return None;
        }
        let (interval, retries) = (view.duration("interval"), view.whole_u32("retries"));
        let interval_ms = u32::try_from(interval.as_millis()).ok()?;
        let usual = || Duration::from_millis(u64::from(interval_ms / (retries + 1))).min(USUAL_TIMEOUT);
        let timeout = view.read("timeout", units::duration).unwrap_or_else(usual);
        if timeout * (retries + 1) > interval {
            self.too_long(view, spot);
            return None;
        }
        Some(Times { interval_ms, timeout, retries })
    }

    /// Reported where the target says one of the three; else in `defaults`, and so once for all targets.
    fn too_long(&mut self, view: View<'_>, spot: &Spot<'_>) {
        let at = TIMES.into_iter().find(|k| spot.is_own(&[k])).or(TIMES.into_iter().find(|k| view.node(k).is_some()));
        let Some((key, node)) = at.and_then(|k| Some((k, view.node(k)?))) else { return };
        let shown = |key| match view.node(key) {
            Some(node) if node.origin.is_some() => node.shown(),
            Some(_) | None => view.text(key).unwrap_or_default().to_owned(),
        };
        let [timeout, retries, interval] = TIMES.map(shown);
        let message = format!(
            "timeout × (retries + 1) must not exceed the interval: {timeout} × ({retries} + 1) is more than {interval}"
        );
        spot.report(self.report, &[key], node.place, message);
    }
}

const TIMES: [&str; 3] = ["timeout", "retries", "interval"];
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);

struct Times {
    interval_ms: u32,
    timeout: Duration,
    retries: u32,
}

/// Of host, port and path; never of user info or query. The port if it was written, be it the usual one, of which the URL as
/// read knows nothing.
pub(crate) fn slug_of_url(written: &str, url: &Url) -> Option<String> {
    let port = if has_port(written) { url.port_or_known_default() } else { None };
    let port = port.map(|p| format!(":{p}")).unwrap_or_default();
    model::id::slug(&format!("{}{port}{}", url.host_str()?, url.path()))
}

/// Of a text that is a URL.
fn has_port(written: &str) -> bool {
    let behind_scheme = written.split_once(':').map_or("", |(_, rest)| rest.trim_start_matches(['/', '\\']));
    let authority = behind_scheme.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port.trim_end());
    !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit())
}

fn name(own: View<'_>, id: &TargetId) -> Arc<str> {
    own.text("name").unwrap_or(id.as_str()).into()
}

/// A redirect that is not followed is an answer.
fn usual_status(redirects: u32) -> StatusSet {
    StatusSet(if redirects == 0 { vec![200..=299, 300..=399] } else { vec![200..=299] })
}

fn incident(view: View<'_>) -> IncidentRule {
    IncidentRule {
        after: view.whole_u32("after"),
        recover: view.whole_u32("recover"),
        locations: view.read("locations", rules::quorum).unwrap_or(IncidentRule::default().locations),
    }
}
