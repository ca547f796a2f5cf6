//! Opens the files in which results are kept, before the first check: first the queue, without which nothing goes, then the store.

use crate::{exit::Exit, ready::Ready, stop::Stop};
use bus::{
    OpenError, Waits,
    queue::{Options, Queue},
};
use config::{Config, StoreSetting};
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
            Err(e) => Err(Exit::failure(format!("lapwing: {e}"))),
        },
    }
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
    ready.lacks(what, "it is being opened".into());
    let (whom, ready) = (whom.to_owned(), ready.clone());
    Waits::tell(move |why| ready.lacks(what, format!("waiting for {whom}: {why}")))
}

fn opened<T>(result: Result<T, OpenError>) -> Result<Option<T>, Exit> {
    match result {
        Ok(t) => Ok(Some(t)),
        Err(OpenError::Stopped { .. }) => Ok(None),
        Err(e) => Err(Exit::failure(format!("lapwing: {e}"))),
    }
}
