//! The first step of the pipeline: what a person wrote becomes what Lapwing means.
//!
//! YAML, variables and included files become a tree in which every value knows its line ([`tree`]); the tree is held
//! against the grammar ([`grammar`], [`walk`]), merged ([`merge`]) and read as values of `model` ([`meant`],
//! [`target`]). Every mistake is found in one go and named with its place. The grammar is one table, from which the
//! JSON Schema ([`schema`]) and the effective config ([`show`]) come too.

mod alike;
mod bare;
mod diff;
mod environment;
mod files;
mod grammar;
mod include;
mod intern;
mod kafka;
mod limits;
mod load;
mod meant;
mod merge;
mod mistakes;
mod patterns;
mod place;
mod request;
mod rules;
mod schema;
mod secrets;
mod show;
mod spot;
mod store;
mod substitute;
mod target;
mod tree;
mod units;
mod view;
mod walk;
mod yaml;

pub use bare::{BareFlags, bare_targets};
pub use diff::{Difference, difference};
pub use environment::Environment;
pub use load::{Parsed, load, parse};
pub use meant::{Config, MetricsSetting, ProbeSetting, QueueSetting, Retention, WebSetting};
pub use mistakes::{Mistake, Mistakes};
pub use rules::{Listen, NotListen};
pub use schema::schema;
pub use show::show;
pub use store::StoreSetting;
pub use units::duration;

/// The commented file that `lapwing config init` writes.
pub fn starter() -> &'static str {
    include_str!("starter.yaml")
}
