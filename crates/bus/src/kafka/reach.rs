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

/// librdkafka's own advice: it names a property that nobody of ours sets.
const NOT_OURS: &str = ": broker certificate could not be verified, verify that ssl.ca.location is correctly configured or root CA \
                        certificates are installed (install ca-certificates package)";

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Reach(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The last trouble at each address, since anything was reached.
    heard: BTreeMap<String, Heard>,
    trouble: Option<Arc<str>>,
    lasting: Lasting,
    /// Reached, and yet nothing moves.
    stalled: Option<Arc<str>>,
}

#[derive(Debug)]
struct Heard {
    refused: Refused,
    said: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Refused {
    No,
    /// Or it has just gone.
    Perhaps,
    Yes,
}

impl Reach {
    /// Of a client that has not been heard of yet.
    pub fn new() -> Self {
        let trouble = Some("Kafka has not answered yet".into());
        Self(Arc::new(Mutex::new(State { trouble, ..State::default() })))
    }

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

    /// What a connection was refused for, when it is nothing that waiting would mend. What may be a refusal counts when the brokers were
    /// asked again since.
    pub(super) fn refusal(&self) -> Option<String> {
        self.state().refused().filter(|heard| heard.refused > Refused::No).map(|heard| heard.said.clone())
    }

    /// Whether a broker has closed a connection as if it refused us: asked again, one that has just gone says otherwise.
    pub(super) fn is_to_ask_again(&self) -> bool {
        self.state().refused().is_some_and(|heard| heard.refused == Refused::Perhaps)
    }

    /// Addresses that took a connection and closed it before they said a word, and whether we spoke TLS there.
    pub(super) fn silent(&self) -> Vec<(String, bool)> {
        let state = self.state();
        let silent = state.heard.iter().filter(|(_, heard)| is_silence(&heard.said));
        let address = |name: &str| {
            let (scheme, address) = name.split_once("://").unwrap_or(("", name));
            (address.to_owned(), scheme.ends_with("ssl"))
        };
        silent.map(|(name, _)| address(name)).collect()
    }

    /// It does not answer.
    pub(super) fn is_away(&self) -> bool {
        self.state().trouble.is_some()
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
        let address = connection.rsplit_once('/').map_or(connection, |(address, _)| address);
        let advice = advice(said);
        let refused = advice.is_some() || !is_silence(said) && (class_of(code) == Class::Systemic || is_alert(said));
        let guess = nameless(said).filter(|_| !refused);
        let refused = match guess {
            Some(_) => Refused::Perhaps,
            None if refused => Refused::Yes,
            None => Refused::No,
        };
        let said = said.replace(NOT_OURS, "") + advice.or(guess).unwrap_or_default();
        self.state().heard.insert(address.to_owned(), Heard { refused, said });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What was heard that is most of a refusal.
    fn refused(&self) -> Option<&Heard> {
        self.heard.values().max_by_key(|heard| heard.refused)
    }
}

/// What to do about what a connection ended of, where waiting does not mend it.
fn advice(said: &str) -> Option<&'static str> {
    let has = |words: &str| said.contains(words);
    Some(match () {
        () if has("SASL") && has("uthentication fail") => " (check kafka.sasl: mechanism, user and password)",
        () if has("mechanism handshake failed") => {
            " (the brokers do not take kafka.sasl.mechanism here, or want no login: check it, and the port)"
        }
        // librdkafka does not say which.
        () if has("certificate verify failed") => {
            " (one of three: kafka.tls.ca_file does not hold the authority that has signed the certificate, it has expired, or it is \
             for other names than kafka.brokers has)"
        }
        () if is_alert(said) => {
            " (the brokers want a certificate that they know: check kafka.tls.cert_file and kafka.tls.key_file)"
        }
        () => return None,
    })
}

/// What it may mean that a broker closes the connection as soon as it hears us. One that has just gone looks the same, until it
/// is asked again.
fn nameless(said: &str) -> Option<&'static str> {
    let after_ms = || said.rsplit_once("(after ")?.1.split_once("ms in state UP")?.0.parse::<u32>().ok();
    let is_unknown = !said.starts_with("sasl") && said.contains("Disconnected");
    (is_unknown && after_ms().is_some_and(|ms| ms < 1000))
        .then_some(" (set kafka.sasl if the broker wants to know who we are)")
}

/// The connection was closed before anything was said: by somebody who speaks something else, or who has nothing to say now.
fn is_silence(said: &str) -> bool {
    said.contains("Disconnected") && (said.contains("state APIVERSION_QUERY") || said.contains("state SSL_HANDSHAKE"))
}

/// The broker ended TLS with a reason: it does not take our certificate, or wants one.
fn is_alert(said: &str) -> bool {
    said.contains("SSL routines") && said.contains("alert")
}

impl ClientContext for Reach {
    /// What matters comes as an error as well, and is said once, but for the guesses.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, message, "librdkafka says");
        // `[thrd:...]: b:1/bootstrap: Disconnected: ...`; what is worse than that comes as an error.
        let said = message.strip_prefix('[').and_then(|m| m.split_once("]: ")).map_or(message, |(_, said)| said);
        if facility == "FAIL" && said.contains("Disconnected") {
            self.hear(Code::BrokerTransportFailure, said);
        }
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

    fn log(reach: &Reach, said: &str) {
        reach.log(RDKafkaLogLevel::Info, "FAIL", &format!("[thrd:b:1/bootstrap]: b:1/bootstrap: {said}"));
    }

    #[test]
    fn a_broker_that_closes_what_it_hears_may_want_to_know_who_we_are() {
        let reach = Reach::default();
        log(&reach, "Disconnected: connection closed by peer (after 90000ms in state UP)");
        assert_eq!(reach.refusal(), None);
        log(&reach, "Disconnected: connection closed by peer (after 2ms in state UP, 1 identical error(s) suppressed)");
        assert!(reach.is_to_ask_again() && reach.refusal().expect("one").contains("set kafka.sasl"));
        // It was only going, as another connection to it finds.
        reach.hear(Code::BrokerTransportFailure, "b:1/7: Connection refused");
        assert_eq!((reach.refusal(), reach.is_to_ask_again()), (None, false));
    }

    #[test]
    fn a_broker_that_closes_before_it_says_a_word_may_speak_something_else() {
        let reach = Reach::default();
        log(
            &reach,
            "Disconnected: connection closed by peer: receive 0 after POLLIN (after 2ms in state APIVERSION_QUERY)",
        );
        assert_eq!((reach.refusal(), reach.silent()), (None, vec![("b:1".to_owned(), false)]));
        reach.hear(Code::BrokerTransportFailure, "b:1/bootstrap: Connection refused");
        assert_eq!(reach.silent(), []);
        let said = "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? (after 0ms in state SSL_HANDSHAKE)";
        reach.hear(Code::SSL, &format!("sasl_ssl://b:2/bootstrap: {said}"));
        assert_eq!((reach.refusal(), reach.silent()), (None, vec![("b:2".to_owned(), true)]));
    }

    #[test]
    fn a_broker_that_does_not_take_our_certificate_refuses_us() {
        let reach = Reach::default();
        reach.hear(
            Code::BrokerTransportFailure,
            "ssl://b:1/bootstrap: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate",
        );
        assert!(reach.refusal().is_some());
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
