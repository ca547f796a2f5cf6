//! Real services for a test: a PostgreSQL and an Apache Kafka of this machine, started as plain processes.
//!
//! Two ways. Most tests share one of each: `make test` starts them (`src/bin/services.rs`) and names them in the environment,
//! [`postgres_url`] and [`kafka_brokers`] read that, [`TestDatabase`] and [`unique`] keep tests apart. A test that stops, kills or
//! configures a server starts its own [`Postgres`] or [`Kafka`].
//!
//! No service outlives the process that started it, however that ends: a drop ends it, and when the process is killed the kernel
//! does (`daemon.rs`).

mod daemon;
mod database;
mod folder;
mod kafka;
mod postgres;
mod trouble;

pub use database::TestDatabase;
pub use folder::Lasting;
pub use kafka::{Kafka, KafkaOptions};
pub use postgres::{Postgres, PostgresOptions};
pub use trouble::ServiceError;

use crate::fail::fail;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Names the shared PostgreSQL: a URL of a superuser, `postgres://user:password@host:port/postgres`.
pub const POSTGRES_VARIABLE: &str = "LAPWING_TEST_POSTGRES";

/// Names the shared Kafka: `host:port`, more of them after commas.
pub const KAFKA_VARIABLE: &str = "LAPWING_TEST_KAFKA";

/// The shared PostgreSQL. Fails the test when there is none: a test that can't look must not pass.
#[track_caller]
pub fn postgres_url() -> String {
    shared(POSTGRES_VARIABLE, "a PostgreSQL, such as postgres://user:password@127.0.0.1:5432/postgres")
}

/// The shared Kafka. Fails the test when there is none.
#[track_caller]
pub fn kafka_brokers() -> String {
    shared(KAFKA_VARIABLE, "a Kafka, such as 127.0.0.1:9092")
}

/// A name that nothing else has, on a service that many tests share, also after this run: for topics, groups, databases.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let (process, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("{name}-{now:x}-{process:x}-{n}")
}

#[track_caller]
fn shared(variable: &str, what: &str) -> String {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => value,
        _ => fail(&format!(
            "{variable} is not set. Run the tests with `make test`, or let `make services` run beside you and set what it \
             prints, or set {variable} to {what}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_fails_the_test_and_says_what_to_do() {
        let panic =
            std::panic::catch_unwind(|| shared("LAPWING_TEST_OF_NOTHING", "a thing")).expect_err("it is not set");
        let text = panic.downcast::<String>().map_or_else(|_| String::new(), |text| *text);
        assert!(text.contains("LAPWING_TEST_OF_NOTHING") && text.contains("`make test`"), "{text}");
    }

    #[test]
    fn unique_names_differ_and_may_name_a_topic() {
        let (a, b) = (unique("name"), unique("name"));
        assert_ne!(a, b);
        assert!(a.starts_with("name-") && a.len() < 60, "{a}");
        assert!(a.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{a}");
    }
}
