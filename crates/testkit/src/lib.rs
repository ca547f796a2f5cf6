//! For tests only: a site and a name server that can be told how to fail, certificates of every kind, a runner for the built program, real
//! PostgreSQL and Kafka, and a proxy that can cut.
//!
//! Nothing here is simulated. A [`Site`] speaks over real sockets, a [`Pki`] makes real certificates, a [`Program`] is a real process;
//! what they show a test is what the world would. What stands in a variable is stopped when the variable goes, also when the test fails.

#[cfg(feature = "kafka")]
mod acl;
mod fail;
pub mod names;
mod net;
mod pki;
mod process;
mod program;
mod proxy;
mod running;
mod services;
mod site;
#[cfg(feature = "kafka")]
mod topic;
mod wait;

#[cfg(feature = "kafka")]
pub use acl::Acl;
pub use net::{Answer, free_port, get, has_ipv6};
pub use pki::{Authority, Identity, Pki, pki};
pub use program::{Output, Program};
pub use proxy::{Claim, Moment, PostgresProxy, Trap};
pub use running::{Running, Signal};
pub use services::{
    KAFKA_VARIABLE, Kafka, KafkaOptions, Lasting, POSTGRES_VARIABLE, Postgres, PostgresOptions, ServiceError,
    TestDatabase, kafka_brokers, postgres_url, unique,
};
pub use site::{Backlog, Refused, Request, Session, Setup, Site, Step, Tls, Version, http2, step};
#[cfg(feature = "kafka")]
pub use topic::{OnWire, Topic};
pub use wait::{eventually, until};
