//! Asks the brokers about themselves, beside the records: is the topic there, which one is it, where does it begin and end.
//! Makes topics that are missing.

use super::{
    error::{Error, class_of},
    hello::{speaks_plain_text, speaks_tls},
    native::{self, Described},
    reach::Reach,
    rights::{Deed, explained},
    settings,
};
use crate::Class;
use model::kafka::KafkaSetting;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode as Code,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries to reach Kafka at start, and between two looks for a topic that was just made.
const AGAIN: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(100);
/// How long what was said meanwhile is listened to.
const HEARING: Duration = Duration::from_millis(10);
/// A dead letter is a record with headers that say why: so much larger than the record at most.
const ROOM_FOR_HEADERS: i64 = 64 << 10;

pub(crate) struct Cluster {
    client: BaseConsumer<Reach>,
    setting: KafkaSetting,
    reach: Reach,
}

/// A topic that has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    Results,
    /// Takes what the results' topic takes.
    Dead,
}

impl Cluster {
    /// Waits until Kafka answers and the topic of the results is there. `None`: the stop came first.
    ///
    /// # Errors
    /// What waiting does not mend: refused authentication or TLS, settings that librdkafka does not take, a topic that is
    /// missing and may not be made.
    pub async fn open(
        setting: &KafkaSetting,
        reach: &Reach,
        stop: &CancellationToken,
    ) -> Result<Option<(Arc<Self>, Described)>, Error> {
        let cluster = Self::of(setting, reach).await?;
        loop {
            let ensured = tokio::select! {
                ensured = cluster.ensure(Needed::Results) => ensured,
                () = stop.cancelled() => return Ok(None),
            };
            match ensured {
                Ok(topic) => {
                    reach.is_fine();
                    return Ok(Some((cluster, topic)));
                }
                Err(error) if error.class() != Class::Transient => return Err(error),
                Err(error) => reach.is_missed(&error),
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stop.cancelled() => return Ok(None),
            }
        }
    }

    /// Asks nobody yet.
    pub async fn of(setting: &KafkaSetting, reach: &Reach) -> Result<Arc<Self>, Error> {
        let (setting, reach) = (setting.clone(), reach.clone());
        blocking("set up the client of Kafka", move || {
            let client = BaseConsumer::from_config_and_context(&settings::asking(&setting), reach.clone());
            let client = client.map_err(|e| Error::of_settings(&e))?;
            Ok(Arc::new(Self { client, setting, reach }))
        })
        .await
    }

    /// The topic of the results, `None` when there is none. Blocks.
    pub fn describe(&self) -> Result<Option<Described>, Error> {
        self.describe_topic(&self.setting.topic)
    }

    /// Whether Kafka answers, and the topic of the results is there.
    pub async fn look(self: &Arc<Self>) -> Result<(), Error> {
        match self.look_for(Needed::Results).await? {
            Some(_) => Ok(()),
            None => Err(Error::transient(format!("find topic {}", self.setting.topic), "it is not there")),
        }
    }

    /// Where a partition begins and ends: its first record's offset, and that of the record to come. Blocks.
    pub fn bounds(&self, partition: i32) -> Result<(i64, i64), Error> {
        let topic = &self.setting.topic;
        let bounds = self.client.fetch_watermarks(topic, partition, PATIENCE);
        let deed = || format!("find the first and last record of {topic}/{partition}");
        bounds.map_err(|e| Error::of_right(&self.setting, Deed::Read, deed(), &e))
    }

    fn describe_topic(&self, topic: &str) -> Result<Option<Described>, Error> {
        let ask = || {
            let described = native::describe(self.client.client(), topic, PATIENCE);
            // What the connections had to say meanwhile. (A poll without a timeout ends at the first line of log.)
            while self.client.poll(HEARING).is_some() {}
            described
        };
        let mut described = ask();
        if described.is_err() && self.reach.is_to_ask_again() {
            described = ask();
        }
        described.map_err(|(code, why)| match self.refusal() {
            Some(why) => Error::systemic(format!("talk to Kafka at {}", self.setting.brokers.join(", ")), why),
            None => {
                let deed = if *topic == *self.setting.topic { Deed::DescribeResults } else { Deed::DescribeDead };
                let why = explained(&self.setting, code, deed, why);
                Error::new(format!("describe topic {topic}"), class_of(code), why)
            }
        })
    }

    /// Why nobody answers, when waiting does not mend it.
    fn refusal(&self) -> Option<String> {
        self.reach.refusal().or_else(|| {
            self.reach.silent().into_iter().find_map(|(address, over_tls)| match over_tls {
                false if speaks_tls(&address) => Some(format!("{address} speaks TLS, and we do not (set kafka.tls)")),
                true if speaks_plain_text(&address) => Some(format!(
                    "{address} speaks plain text, and we speak TLS (take kafka.tls out, or name another port)"
                )),
                _ => None,
            })
        })
    }

    /// Makes the topic if it is missing.
    pub async fn ensure(self: &Arc<Self>, needed: Needed) -> Result<Described, Error> {
        if let Some(topic) = self.look_for(needed).await? {
            return Ok(topic);
        }
        let max_message = match needed {
            Needed::Results => None,
            Needed::Dead => self.max_message().await.map(|bytes| bytes.saturating_add(ROOM_FOR_HEADERS)),
        };
        self.create(needed, max_message).await?;
        let until = Instant::now() + 2 * PATIENCE;
        while Instant::now() < until {
            if let Some(topic) = self.look_for(needed).await? {
                return Ok(topic);
            }
            tokio::time::sleep(SOON).await;
        }
        Err(Error::transient(format!("create topic {}", self.name(needed)), "it does not appear"))
    }

    fn name(&self, needed: Needed) -> &str {
        match needed {
            Needed::Results => &self.setting.topic,
            Needed::Dead => &self.setting.dead_topic,
        }
    }

    /// A topic, `None` when there is none.
    pub async fn look_for(self: &Arc<Self>, needed: Needed) -> Result<Option<Described>, Error> {
        let cluster = Arc::clone(self);
        blocking("describe a topic", move || cluster.describe_topic(cluster.name(needed))).await
    }

    async fn create(self: &Arc<Self>, needed: Needed, max_message: Option<i64>) -> Result<(), Error> {
        let name = self.name(needed);
        let deed = format!("create topic {name}");
        let copies = self.setting.replication.copies(self.brokers().await?);
        let max_message = max_message.map(|bytes| bytes.to_string());
        let mut topic = NewTopic::new(name, self.setting.partitions, TopicReplication::Fixed(copies));
        if copies >= 3 {
            // One broker may be away without stopping us, and a second one without losing anything.
            topic = topic.set("min.insync.replicas", "2");
        }
        if let Some(bytes) = &max_message {
            topic = topic.set("max.message.bytes", bytes);
        }
        let created = self.admin()?.create_topics([&topic], &options()).await.map_err(|e| Error::of(&deed, &e))?;
        match created.into_iter().next() {
            Some(Ok(_)) => {
                tracing::info!(topic = name, partitions = self.setting.partitions, copies, "the topic was created");
                Ok(())
            }
            // By another Lapwing, at the same moment.
            Some(Err((_, Code::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(Error::new(
                deed,
                class_of(code),
                explained(
                    &self.setting,
                    code,
                    Deed::Create(name),
                    format!("it is missing, and the brokers say: {code}"),
                ),
            )),
            None => Err(Error::transient(deed, "the answer is empty")),
        }
    }

    async fn brokers(self: &Arc<Self>) -> Result<usize, Error> {
        let cluster = Arc::clone(self);
        blocking("count the brokers", move || {
            let metadata = cluster.client.fetch_metadata(Some(&cluster.setting.topic), PATIENCE);
            metadata.map(|m| m.brokers().len()).map_err(|e| Error::of("count the brokers", &e))
        })
        .await
    }

    /// The largest record batch that the results' topic takes, where the brokers let us know.
    async fn max_message(&self) -> Option<i64> {
        let resource = ResourceSpecifier::Topic(&self.setting.topic);
        let described = self.admin().ok()?.describe_configs([&resource], &options()).await.ok()?;
        let config = described.into_iter().next()?.ok()?;
        config.get("max.message.bytes")?.value.as_deref()?.parse().ok()
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Error> {
        let config: ClientConfig = settings::asking(&self.setting);
        AdminClient::from_config_and_context(&config, DefaultClientContext).map_err(|e| Error::of_settings(&e))
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("setting", &self.setting).finish_non_exhaustive()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

/// Off the threads that serve sockets.
pub(super) async fn blocking<T: Send + 'static>(
    deed: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(Error::systemic(deed, e.to_string())))
}
