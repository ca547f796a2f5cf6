//! Copies of dead letters on their way to the dead topic. The table of the store is the truth; the topic is for those who want to
//! hear of letters.

use super::{
    cluster::{Cluster, Needed, blocking},
    error::{Error, class_of},
    reach::Reach,
    rights::{Deed, explained},
    settings,
};
use model::{UnixMs, kafka::KafkaSetting};
use rdkafka::{
    ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};
use tokio::sync::oneshot;

/// A letter as it is copied. (The contract, section 7.)
#[derive(Clone, Copy, Debug)]
pub struct Copy<'l> {
    pub id: i64,
    pub reason: &'l str,
    /// Where the record came from.
    pub topic: &'l str,
    pub partition: i32,
    pub offset: i64,
    /// When it became a letter.
    pub at: UnixMs,
    pub attempts: i32,
    pub key: Option<&'l [u8]>,
    pub value: &'l [u8],
    /// In their order, repeats included.
    pub headers: &'l [(String, Vec<u8>)],
}

/// Brings letters to the dead topic.
pub struct Copier {
    producer: ThreadedProducer<Deliveries>,
    setting: KafkaSetting,
}

impl Copier {
    /// Makes the dead topic if it is missing.
    ///
    /// # Errors
    /// The brokers', of whatever class: the table has the letters, and who copies them tries again later.
    pub async fn open(setting: &KafkaSetting) -> Result<Self, Error> {
        let reach = Reach::new();
        Cluster::of(setting, &reach).await?.ensure(Needed::Dead).await?;
        let (of, context) = (settings::copier(setting), Deliveries { reach });
        let producer = blocking("set up the producer of Kafka", move || {
            ThreadedProducer::from_config_and_context(&of, context).map_err(|e| Error::of_settings(&e))
        });
        Ok(Self { producer: producer.await?, setting: setting.clone() })
    }

    /// The ids of those that the brokers have acknowledged, and why others are not among them.
    pub async fn copy(&self, letters: &[Copy<'_>]) -> (Vec<i64>, Option<Error>) {
        let (mut arrived, mut failed) = (Vec::new(), None);
        let sent: Vec<_> = letters.iter().map(|letter| (letter.id, self.send(letter))).collect();
        for (id, sent) in sent {
            let landed = match sent {
                Ok(landing) => landing.await.unwrap_or(Err(KafkaError::Canceled)),
                Err(e) => Err(e),
            };
            match landed {
                Ok(()) => arrived.push(id),
                Err(e) => {
                    let deed = format!("copy letter {id} to topic {}", self.setting.dead_topic);
                    failed = Some(match self.producer.client().fatal_error() {
                        // Of that the record says no more than that it was ended.
                        Some((code, why)) => {
                            Error::new(deed, class_of(code), explained(&self.setting, code, Deed::Copy, why))
                        }
                        None => Error::of_right(&self.setting, Deed::Copy, deed, &e),
                    });
                }
            }
        }
        (arrived, failed)
    }

    fn send(&self, letter: &Copy<'_>) -> Result<oneshot::Receiver<Result<(), KafkaError>>, KafkaError> {
        let (landed, landing) = oneshot::channel();
        let message = BaseRecord::with_opaque_to(&self.setting.dead_topic, Box::new(landed));
        let mut message = message.payload(letter.value).headers(headers(letter));
        if let Some(key) = letter.key {
            message = message.key(key);
        }
        self.producer.send(message).map_err(|(e, _)| e)?;
        Ok(landing)
    }
}

impl std::fmt::Debug for Copier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copier").field("topic", &self.setting.dead_topic).finish_non_exhaustive()
    }
}

/// The record's own, and behind them why it is here.
fn headers(letter: &Copy<'_>) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(letter.headers.len() + 6);
    for (name, value) in letter.headers {
        headers = headers.insert(Header { key: name, value: Some(value) });
    }
    for (key, value) in [
        ("lapwing-dead-reason", letter.reason),
        ("lapwing-dead-topic", letter.topic),
        ("lapwing-dead-partition", &letter.partition.to_string()),
        ("lapwing-dead-offset", &letter.offset.to_string()),
        ("lapwing-dead-at", &letter.at.to_string()),
        ("lapwing-dead-attempts", &letter.attempts.to_string()),
    ] {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    headers
}

/// Hears of deliveries, on the producer's own thread.
struct Deliveries {
    reach: Reach,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.reach.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reach.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), KafkaError>>>;

    fn delivery(&self, report: &DeliveryResult<'_>, landed: Self::DeliveryOpaque) {
        let result = report.as_ref().map(drop).map_err(|(error, _)| error.clone());
        // Who gave up waiting copies it again.
        landed.send(result).ok();
    }
}
