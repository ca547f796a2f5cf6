//! Kinds of values that several keys have.

use super::{Content, Kind, Numbers};
use crate::rules;
use std::time::Duration;

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub const DAY: u64 = 86_400_000;
pub const EVER: Duration = ms(1000 * 365 * DAY);
pub const ANY_TIME: Kind = Kind::Duration { min: ms(1), max: EVER };
pub const COUNT: Kind = Kind::Whole { min: 1, max: u32::MAX as u64 };
pub const ID: Kind = Kind::spelled(rules::id, "^[a-z0-9][a-z0-9._-]{0,127}$", Numbers::Any);
pub const NAME: Kind = Kind::text(rules::name);
pub const ANY: Kind = Kind::text(rules::any);
/// What is wrong with it is found when it is read ([`crate::target`]): once for each of many targets.
pub const URL: Kind = Kind::spelled(rules::any, "^\\s*[Hh][Tt][Tt][Pp][Ss]?:", Numbers::No);
pub const LISTEN: Kind = Kind::spelled(|s| rules::listen(s).map(drop), ":[0-9]+$", Numbers::No);
pub const HOST_PORT: Kind = Kind::spelled(|s| rules::host_port(s).map(drop), "^.+:[0-9]+$", Numbers::No);
pub const RESOLVER: Kind = Kind::spelled(|s| rules::resolver(s).map(drop), "^[0-9a-fA-F.:\\[\\]%]+$", Numbers::No);
pub const NETWORK: Kind = Kind::spelled(|s| rules::network(s).map(drop), "^[0-9a-fA-F.:]+(/[0-9]+)?$", Numbers::No);
pub const STATUS: Kind =
    Kind::spelled(|s| rules::status(s).map(drop), "^[1-9][0-9]{2}(-[1-9][0-9]{2})?$", Numbers::Within(100, 999));
pub const HEADER_VALUE: Kind = Kind::text(|s| rules::header_value(s).map(drop));
pub const TOPIC: Kind = Kind::spelled(rules::topic, "^[A-Za-z0-9._-]{1,249}$", Numbers::Any);
pub const PATTERN: Kind = Kind::BodyPattern;
pub const FILE: Kind = Kind::text(rules::not_empty);

pub const CERTIFICATES: Kind = Kind::File(Content::Certificates);
pub const PRIVATE_KEY: Kind = Kind::File(Content::PrivateKey);
pub const USERNAME_FILE: Kind = Kind::File(Content::Value(rules::username));
pub const PASSWORD_FILE: Kind = Kind::File(Content::Value(rules::no_control));
pub const TOKEN_FILE: Kind = Kind::File(Content::Value(rules::token));

pub const CREDENTIALS: &[&[&str]] = &[&["username", "username_file"], &["password", "password_file"]];
