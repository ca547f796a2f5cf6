//! How Kafka is reached, as the clients of one role hear and see it: what `/readyz` tells, and what is logged.

use super::error::{Error, class_of};
use crate::Class;
use model::trouble::{Lasting, Say};
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Reach(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The last trouble of each connection, by its name, since anything was reached.
    heard: BTreeMap<String, Heard>,
    trouble: Option<Arc<str>>,
    lasting: Lasting,
    /// Reached, and yet nothing moves.
    stalled: Option<Arc<str>>,
}

#[derive(Debug)]
struct Heard {
    refused: bool,
    said: String,
}

impl Reach {
    /// Why Kafka can't be used at the moment, for `/readyz`; `None` when all is well.
    pub fn trouble(&self) -> Option<Arc<str>> {
        let state = self.state();
        state.trouble.clone().or_else(|| state.stalled.clone())
    }

    /// It answered.
    pub(crate) fn is_fine(&self) {
        let mut state = self.state();
        state.heard.clear();
        state.trouble = None;
        if let Some(Say::Over(lasted)) = state.lasting.gone(Instant::now()) {
            tracing::info!(?lasted, "Kafka is reached again");
        }
    }

    /// It did not answer, or not as it should. What the connections said explains it best.
    pub(crate) fn is_missed(&self, error: &Error) {
        let mut state = self.state();
        let heard: Vec<_> = state.heard.values().map(|heard| &*heard.said).collect();
        let error = if heard.is_empty() || error.class() != Class::Transient {
            error.to_string()
        } else {
            format!("Kafka can't be reached: {}", heard.join("; "))
        };
        state.trouble = Some(error.as_str().into());
        match state.lasting.met(Instant::now()) {
            Some(Say::Begins | Say::Over(_)) => tracing::warn!(%error, "Kafka is away; results wait"),
            Some(Say::Lasts(lasted)) => tracing::warn!(%error, ?lasted, "Kafka is still away; results wait"),
            None => {}
        }
    }

    /// What a connection was refused for, when it is nothing that waiting would mend.
    pub(super) fn refusal(&self) -> Option<String> {
        self.state().heard.values().find(|heard| heard.refused).map(|heard| heard.said.clone())
    }

    pub(crate) fn set_stalled(&self, why: Option<Arc<str>>) {
        self.state().stalled = why;
    }

    fn hear(&self, code: Code, said: &str) {
        // `ssl://10.0.0.1:9092/bootstrap: Connect to … failed`; a sentence about all of them names none.
        if code == Code::AllBrokersDown {
            return;
        }
        let connection = said.split_once(": ").map_or(said, |(name, _)| name);
        // librdkafka's guess; a broker that has just gone looks the same until it is tried again.
        let plain_text = said.contains("SSL listener?");
        let refused = plain_text || class_of(code) == Class::Systemic;
        let said =
            if plain_text { format!("{said} (set kafka.tls if the broker speaks TLS there)") } else { said.to_owned() };
        self.state().heard.insert(connection.to_owned(), Heard { refused, said });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reach {
    /// What matters comes as an error as well, and is said once.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, message, "librdkafka says");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "librdkafka has an error");
        if let Some(code) = error.rdkafka_error_code() {
            self.hear(code, reason);
        }
    }
}

impl ConsumerContext for Reach {}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Error {
        Error::transient("describe topic t", "timed out")
    }

    #[test]
    fn what_the_connections_said_explains_why_kafka_is_away() {
        let reach = Reach::default();
        reach.is_missed(&away());
        assert_eq!(reach.trouble().as_deref(), Some("can't describe topic t: timed out"));
        reach.hear(Code::BrokerTransportFailure, "b:1/bootstrap: Connection refused");
        reach.hear(Code::AllBrokersDown, "1/1 brokers are down");
        reach.is_missed(&away());
        assert_eq!(reach.trouble().as_deref(), Some("Kafka can't be reached: b:1/bootstrap: Connection refused"));
        reach.is_fine();
        assert_eq!(reach.trouble(), None);
    }

    #[test]
    fn only_what_waiting_does_not_mend_is_a_refusal() {
        let reach = Reach::default();
        reach.hear(Code::BrokerTransportFailure, "b:1/bootstrap: Connection refused");
        assert_eq!(reach.refusal(), None);
        reach.hear(Code::Authentication, "b:2/bootstrap: SASL authentication error");
        assert_eq!(reach.refusal().as_deref(), Some("b:2/bootstrap: SASL authentication error"));
        reach.is_fine();
        assert_eq!(reach.refusal(), None);
    }

    #[test]
    fn a_broker_that_goes_while_it_is_greeted_is_no_refusal() {
        let reach = Reach::default();
        reach.hear(
            Code::BrokerTransportFailure,
            "b:1/bootstrap: Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol \
             configuration (connecting to a SSL listener?) or broker version is < 0.10",
        );
        assert!(reach.refusal().expect("one").contains("set kafka.tls"));
        reach.hear(Code::BrokerTransportFailure, "b:1/bootstrap: Connection refused");
        assert_eq!(reach.refusal(), None);
    }

    #[test]
    fn a_stall_is_told_while_kafka_is_reached() {
        let reach = Reach::default();
        reach.set_stalled(Some("nothing is acknowledged".into()));
        assert_eq!(reach.trouble().as_deref(), Some("nothing is acknowledged"));
        reach.is_missed(&away());
        assert!(reach.trouble().expect("one").contains("timed out"));
    }
}
