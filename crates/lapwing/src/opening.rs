//! Opens what results pass through: first the queue, without which nothing goes, then the store, and Kafka where it is between
//! the two.

use crate::{
    exit::Exit,
    ready::Ready,
    stop::{self, Stop},
};
use anyhow::Context;
use bus::{
    Log, OpenError, Waits,
    queue::{Options, Queue},
};
use config::{Config, StoreSetting};
#[cfg(feature = "kafka")]
use model::kafka::KafkaSetting;
use model::text::masked_url;
use std::{future::Future, pin::Pin, time::Duration};
use store::{Settings, Store};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long the first check waits for the store. One that is fine is open by then; what can't be waited for is known.
const PATIENCE: Duration = Duration::from_secs(1);

/// The store, when it is open; `None`: the stop came first.
pub type Opening = Pin<Box<dyn Future<Output = Result<Option<Store>, Exit>> + Send>>;

/// Opens the queue; waits for what may pass. `None`: the stop came first.
pub async fn queue(config: &Config, ready: &Ready, stop: &Stop) -> Result<Option<Queue>, Exit> {
    let folder = &config.data_dir;
    std::fs::create_dir_all(folder)
        .map_err(|e| Exit::failure(format!("lapwing: data_dir {} can't be made: {e}", folder.display())))?;
    let path = &config.queue.path;
    let waits = Some(waits("queue", &path.display().to_string(), ready));
    let options = Options { waits, ..Options::new(config.queue.max_size) };
    let queue = opened(Queue::open(path, options, &stop.asked).await)?;
    ready.has("queue");
    Ok(queue)
}

/// Begins to open the store. While one that is locked or whose disk is full is waited for, checks can go on: the queue holds
/// their results.
pub async fn store(config: &Config, ready: &Ready, migrate: bool, stop: &Stop) -> Result<Opening, Exit> {
    let waits = waits("store", &shown(&config.store), ready);
    let settings = Settings { migrate, waits: Some(waits), ..Settings::default() };
    let (setting, ready, stop) = (config.store.clone(), ready.clone(), stop.asked.clone());
    let mut opening: Opening = Box::pin(async move {
        let store = open_store(&setting, settings, &stop).await?;
        ready.has("store");
        Ok(store)
    });
    tokio::select! {
        store = &mut opening => {
            let store = store?;
            Ok(Box::pin(async { Ok(store) }))
        }
        () = sleep(PATIENCE) => Ok(opening),
    }
}

/// The stage that takes the queue's results to Kafka.
#[cfg(feature = "kafka")]
pub fn relay(queue: bus::queue::Reader, kafka: &KafkaSetting, ready: &Ready) -> bus::relay::Relay {
    bus::relay::Relay::new(queue, kafka, reach(ready, "kafka"))
}

/// Joins the writers' group; waits until Kafka answers. `None`: the stop came first.
#[cfg(feature = "kafka")]
pub async fn kafka(config: &Config, ready: &Ready, stop: &Stop) -> Result<Option<Log>, Exit> {
    let Some(kafka) = &config.kafka else { return Ok(None) };
    let opened =
        bus::kafka::Consumer::open(kafka, bus::kafka::Most::default(), reach(ready, "kafka group"), &stop.asked);
    let consumer = opened.await.map_err(Exit::failed)?;
    Ok(consumer.map(Log::kafka))
}

#[cfg(not(feature = "kafka"))]
pub async fn kafka(_: &Config, _: &Ready, _: &Stop) -> Result<Option<Log>, Exit> {
    Ok(None)
}

/// How a client of Kafka fares, for `/readyz`.
#[cfg(feature = "kafka")]
fn reach(ready: &Ready, part: &'static str) -> bus::kafka::Reach {
    let reach = bus::kafka::Reach::new();
    let asked = reach.clone();
    ready.ask(part, move || asked.trouble());
    reach
}

/// Opens the database that the configuration names; waits for what may pass. `None`: the stop came first.
pub async fn open_store(
    setting: &StoreSetting,
    settings: Settings,
    stop: &CancellationToken,
) -> Result<Option<Store>, Exit> {
    match setting {
        StoreSetting::Sqlite(path) => opened(Store::open_sqlite(path, settings, stop).await),
        StoreSetting::Postgres(url) => match Store::open_postgres(url, settings, stop).await {
            Ok(store) => Ok(Some(store)),
            Err(store::postgres::OpenError::Stopped { .. }) => Ok(None),
            Err(e) => Err(Exit::failed(e)),
        },
    }
}

/// For a command that does one deed in the store and ends: opens it, lends it, closes it.
pub fn with_store<T>(
    setting: &StoreSetting,
    settings: Settings,
    deed: impl AsyncFnOnce(&mut Store, &CancellationToken) -> Result<T, Exit>,
) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let done = runtime.block_on(async {
        let stop = stop::on_signal()?.asked;
        let store = open_store(setting, settings, &stop).await?;
        let mut store = store.ok_or_else(|| Exit::failure("lapwing: stopped before the database was open"))?;
        let done = deed(&mut store, &stop).await;
        store.close().await;
        done
    });
    runtime.shutdown_background(); // a client of Kafka may take its time to go
    done
}

/// How a store is opened beside a Lapwing that may be at work in it.
pub fn beside() -> Settings {
    Settings { migrate: false, beside: true, ..Settings::default() }
}

/// The store for people, without its password.
pub fn shown(setting: &StoreSetting) -> String {
    match setting {
        StoreSetting::Sqlite(path) => path.display().to_string(),
        StoreSetting::Postgres(url) => masked_url(url),
    }
}

/// Says on `/readyz` what a file or a server is waited for; until then, that it is being opened.
fn waits(what: &'static str, whom: &str, ready: &Ready) -> Waits {
    ready.lacks(what, "it is being opened");
    let (whom, ready) = (whom.to_owned(), ready.clone());
    Waits::tell(move |why| ready.lacks(what, format!("waiting for {whom}: {why}")))
}

fn opened<T>(result: Result<T, OpenError>) -> Result<Option<T>, Exit> {
    match result {
        Ok(t) => Ok(Some(t)),
        Err(OpenError::Stopped { .. }) => Ok(None),
        Err(e) => Err(Exit::failed(e)),
    }
}
