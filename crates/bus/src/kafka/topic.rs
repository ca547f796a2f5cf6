//! The topic of the results at a moment, for people who look after it.

use super::{
    cluster::{Cluster, Needed, blocking},
    error::Error,
    native::Described,
    reach::Reach,
    watch::Watched,
};
use model::{batch::Source, kafka::KafkaSetting};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What is in the topic.
#[derive(Clone, Debug)]
pub struct Topic {
    pub partitions: Vec<Partition>,
}

#[derive(Clone, Debug)]
pub struct Partition {
    /// Under this the store keeps its offset.
    pub source: Source,
    /// The first record that is there, and the one to come.
    pub first: i64,
    pub end: i64,
}

/// Looks at the topic; makes it when it is missing, and waits for brokers that are away. `None`: the stop came first.
///
/// # Errors
/// What waiting does not mend: see [`Error`].
pub async fn look(setting: &KafkaSetting, stop: &CancellationToken) -> Result<Option<Topic>, Error> {
    match Cluster::open(setting, &Reach::new(), stop).await? {
        Some((cluster, topic)) => of(cluster, setting, topic).await.map(Some),
        None => Ok(None),
    }
}

/// Looks at the topic, changes nothing and waits for nobody. `None`: there is no such topic.
///
/// # Errors
/// Also that the brokers are away.
pub async fn peek(setting: &KafkaSetting) -> Result<Option<Topic>, Error> {
    let cluster = Cluster::of(setting, &Reach::new()).await?;
    match cluster.look_for(Needed::Results).await? {
        Some(topic) => of(cluster, setting, topic).await.map(Some),
        None => Ok(None),
    }
}

async fn of(cluster: Arc<Cluster>, setting: &KafkaSetting, topic: Described) -> Result<Topic, Error> {
    let watched = Arc::new(Watched::new(&setting.topic, &topic));
    blocking("look at the topic", move || {
        let partition = |partition| {
            let (first, end) = cluster.bounds(partition)?;
            Ok(Partition { source: watched.source(partition), first, end })
        };
        let count = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
        Ok(Topic { partitions: (0..count).map(partition).collect::<Result<_, Error>>()? })
    })
    .await
}
