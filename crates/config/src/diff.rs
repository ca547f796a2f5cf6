//! What a reload changes: the difference of two configs.

use crate::meant::Config;
use model::{Target, TargetId};
use std::{collections::HashMap, sync::Arc};

/// What is new, other or gone. Targets are compared by value: one that only moved in the file is unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Keys that changed and have no effect before a restart.
    pub restart: Vec<&'static str>,
    /// Other settings that changed.
    pub settings: Vec<&'static str>,
    pub added: Vec<Arc<Target>>,
    /// As they are now.
    pub changed: Vec<Arc<Target>>,
    pub removed: Vec<TargetId>,
    /// All that are watched now, in the order of the new config; an unchanged one is the old value itself.
    pub targets: Vec<Arc<Target>>,
}

impl Difference {
    /// Nothing has to be done.
    pub fn is_empty(&self) -> bool {
        let Self { restart, settings, added, changed, removed, targets: _ } = self;
        restart.is_empty() && settings.is_empty() && added.is_empty() && changed.is_empty() && removed.is_empty()
    }
}

pub fn difference(old: &Config, new: &Config) -> Difference {
    let mut difference =
        Difference { restart: restart(old, new), settings: settings(old, new), ..Difference::default() };
    let mut left: HashMap<&TargetId, &Arc<Target>> = old.targets.iter().map(|t| (&t.id, t)).collect();
    for target in &new.targets {
        let now = match left.remove(&target.id) {
            Some(before) if before == target => before,
            Some(_) => {
                difference.changed.push(target.clone());
                target
            }
            None => {
                difference.added.push(target.clone());
                target
            }
        };
        difference.targets.push(now.clone());
    }
    difference.removed = old.targets.iter().map(|t| &t.id).filter(|id| left.contains_key(id)).cloned().collect();
    difference
}

fn restart(old: &Config, new: &Config) -> Vec<&'static str> {
    changed([
        ("store", old.store != new.store),
        ("kafka", old.kafka != new.kafka),
        ("queue", old.queue != new.queue),
        ("data_dir", old.data_dir != new.data_dir),
        ("web.listen", old.web.listen != new.web.listen),
        ("metrics.listen", old.metrics != new.metrics),
    ])
}

fn settings(old: &Config, new: &Config) -> Vec<&'static str> {
    changed([
        ("location", old.location != new.location),
        ("web.title", old.web.title != new.web.title),
        ("retention", old.retention != new.retention),
        ("shutdown_grace", old.shutdown_grace != new.shutdown_grace),
        ("probe", old.probe != new.probe),
        ("guard", old.guard != new.guard),
    ])
}

fn changed<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}
