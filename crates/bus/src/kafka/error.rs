//! What can be wrong with Kafka, sorted by what has to be done about it.

use super::rights::{Deed, explained};
use crate::Class;
use model::kafka::KafkaSetting;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode as Code},
    types::RDKafkaConfRes,
};

/// Something that was asked of Kafka failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("can't {deed}: {why}")]
pub struct Error {
    /// In the imperative: `describe topic lapwing.results`.
    deed: String,
    why: String,
    class: Class,
}

impl Error {
    pub(super) fn new(deed: impl Into<String>, class: Class, why: impl Into<String>) -> Self {
        Self { deed: deed.into(), why: one_line(&why.into()), class }
    }

    /// It may pass: a broker that is away, slow, full or starting.
    pub(super) fn transient(deed: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(deed, Class::Transient, why)
    }

    /// A person must act.
    pub(super) fn systemic(deed: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(deed, Class::Systemic, why)
    }

    pub(super) fn of(deed: impl Into<String>, error: &KafkaError) -> Self {
        let class = error.rdkafka_error_code().map_or(Class::Transient, class_of);
        Self::new(deed, class, said(error))
    }

    /// The same of what a right may be missing for.
    pub(super) fn of_right(
        setting: &KafkaSetting,
        right: Deed<'_>,
        deed: impl Into<String>,
        error: &KafkaError,
    ) -> Self {
        match error.rdkafka_error_code() {
            Some(code) => Self::new(deed, class_of(code), explained(setting, code, right, said(error))),
            None => Self::of(deed, error),
        }
    }

    /// librdkafka does not take what it is set up with.
    pub(crate) fn of_settings(error: &KafkaError) -> Self {
        let why = match error {
            // Without the value, which may be a secret.
            KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
                format!("kafka.properties: librdkafka knows no property {name}")
            }
            KafkaError::ClientConfig(_, _, name, _) => format!("kafka.properties: the value of {name} is none for it"),
            KafkaError::ClientCreation(why) => why.clone(),
            other => said(other),
        };
        Self::systemic("set up the client of Kafka", why)
    }

    pub fn class(&self) -> Class {
        self.class
    }
}

/// What is to be done when the brokers, or librdkafka, say this.
pub(super) fn class_of(code: Code) -> Class {
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SecurityDisabled
        | Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidConfig
        | Code::PolicyViolation
        | Code::InconsistentGroupProtocol
        | Code::InvalidGroupId
        | Code::UnsupportedVersion
        | Code::InvalidArgument
        | Code::Fatal => Class::Systemic,
        _ => Class::Transient, // the list is Kafka's, and it waits for most of it
    }
}

fn said(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

fn one_line(text: &str) -> String {
    model::text::message(text.trim())
}
