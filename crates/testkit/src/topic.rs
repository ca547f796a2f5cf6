//! A topic of Kafka as a test sees it: records are put into it by hand, and everything that is in it is read.

use crate::fail::fail;
use crate::services::unique;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// More than anything of a healthy broker takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A topic of brokers that are reached without TLS and without a login.
#[derive(Clone, Debug)]
pub struct Topic {
    brokers: String,
    pub name: String,
}

/// A record as it is on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnWire {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl OnWire {
    pub fn value(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// As text.
    pub fn key(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// The queue and the n of `lapwing-seq`; fails the test when there is none.
    #[track_caller]
    pub fn sequence(&self) -> (String, i64) {
        let header = self.headers.iter().find(|(name, _)| name == "lapwing-seq");
        let text = header.and_then(|(_, value)| String::from_utf8(value.clone()?).ok());
        let split = text.as_deref().and_then(|text| text.split_once('/'));
        let Some((queue, n)) = split.and_then(|(queue, n)| Some((queue.to_owned(), n.parse().ok()?))) else {
            fail(&format!("a record without a lapwing-seq: {:?}", self.headers))
        };
        (queue, n)
    }
}

impl Topic {
    /// One of these brokers, `host:port`, more of them after commas. It need not be there.
    pub fn at(brokers: &str, name: &str) -> Self {
        Self { brokers: brokers.to_owned(), name: name.to_owned() }
    }

    /// Creates it, with these settings.
    pub async fn create(&self, partitions: i32, settings: &[(&str, &str)]) {
        let topic = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let created = self.admin().create_topics([&topic], &patience()).await.expect("the brokers answer");
        created.into_iter().for_each(|created| drop(created.expect("the topic can be created")));
        self.wait_for(partitions).await;
    }

    pub async fn delete(&self) {
        let deleted = self.admin().delete_topics(&[&self.name], &patience()).await.expect("the brokers answer");
        deleted.into_iter().for_each(|deleted| drop(deleted.expect("the topic can be deleted")));
        crate::eventually("the topic is gone", LIMIT, async || self.partitions().is_none()).await;
    }

    /// Has so many partitions from now on.
    pub async fn grow(&self, partitions: usize) {
        let more = NewPartitions::new(&self.name, partitions);
        let grown = self.admin().create_partitions([&more], &patience()).await.expect("the brokers answer");
        grown.into_iter().for_each(|grown| drop(grown.expect("partitions can be added")));
        self.wait_for(i32::try_from(partitions).expect("a handful")).await;
    }

    /// Deletes what is below these offsets, as if it had expired.
    pub async fn expire(&self, partition: i32, below: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(below)).expect("an offset");
        self.admin().delete_records(&list, &patience()).await.expect("records can be deleted");
    }

    /// Puts records into it, in their order.
    pub fn put(&self, records: &[OnWire]) {
        let producer: BaseProducer =
            self.client().set("message.max.bytes", "16000000").create().expect("a producer can be made");
        for record in records {
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                headers = headers.insert(Header { key, value: value.as_ref() });
            }
            let mut message: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(&self.name).partition(record.partition).headers(headers);
            if let Some(key) = &record.key {
                message = message.key(key);
            }
            if let Some(value) = &record.value {
                message = message.payload(value);
            }
            producer.send(message).map_err(|(e, _)| e).expect("there is room for it");
        }
        producer.flush(LIMIT).expect("the broker takes it");
    }

    /// Everything that is in it, partition by partition.
    pub fn all(&self) -> Vec<OnWire> {
        let consumer: BaseConsumer =
            self.client().set("group.id", unique("reader")).create().expect("a consumer can be made");
        let mut records = Vec::new();
        for partition in 0..self.partitions().unwrap_or(0) {
            let (first, end) = self.bounds(&consumer, partition);
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&self.name, partition, Offset::Offset(first)).expect("an offset");
            consumer.assign(&list).expect("it can be assigned");
            let (mut next, mut came) = (first, Instant::now());
            while next < end {
                let message = match consumer.poll(LIMIT) {
                    Some(Ok(message)) => message,
                    // A broker that can't keep up is shut out for a while by its controller.
                    _ if came.elapsed() < LIMIT => continue,
                    nothing => {
                        let nothing = nothing.map(|message| message.map(|_| ()));
                        fail(&format!("{}/{partition} ends at {end}, and at {next} came {nothing:?}", self.name))
                    }
                };
                (next, came) = (message.offset() + 1, Instant::now());
                records.push(OnWire {
                    partition,
                    offset: message.offset(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: message.headers().map_or_else(Vec::new, |headers| {
                        headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect()
                    }),
                });
            }
        }
        records
    }

    /// Its first offset, and the one behind its last.
    fn bounds(&self, consumer: &BaseConsumer, partition: i32) -> (i64, i64) {
        let started = Instant::now();
        loop {
            match consumer.fetch_watermarks(&self.name, partition, LIMIT) {
                Ok(bounds) => return bounds,
                // It has another leader now, or none: a broker that can't keep up is shut out for a while by its controller.
                Err(KafkaError::MetadataFetch(_)) if started.elapsed() < LIMIT => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => fail(&format!("{}/{partition} has no bounds: {error}", self.name)),
            }
        }
    }

    /// `None`: it is not there.
    fn partitions(&self) -> Option<i32> {
        let consumer: BaseConsumer = self.client().create().expect("a client can be made");
        let metadata = consumer.fetch_metadata(Some(&self.name), LIMIT).expect("the brokers answer");
        let topic = metadata.topics().first().filter(|topic| topic.error().is_none())?;
        i32::try_from(topic.partitions().len()).ok()
    }

    async fn wait_for(&self, partitions: i32) {
        crate::eventually("the topic is there", LIMIT, async || self.partitions() == Some(partitions)).await;
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("a client can be made")
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Asking for a topic must not make it.
        config.set("bootstrap.servers", &self.brokers).set("allow.auto.create.topics", "false");
        config
    }
}

fn patience() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))
}
