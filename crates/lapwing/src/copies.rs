//! Copies of dead letters to the dead topic: at least once, one after the other, whoever of the writers gets at them first.

#[cfg(feature = "kafka")]
use bus::kafka::{Copier, Copy};
use model::kafka::KafkaSetting;
use store::Store;
#[cfg(feature = "kafka")]
use {
    model::UnixMs,
    std::time::SystemTime,
    store::{Letter, Select},
};

/// Letters that are taken in hand at once, and read into memory at once.
#[cfg(feature = "kafka")]
const TAKEN: u32 = 200;
#[cfg(feature = "kafka")]
const READ: usize = 20;

#[derive(Debug)]
pub struct Copies {
    kafka: Option<KafkaSetting>,
    #[cfg(feature = "kafka")]
    copier: Option<Copier>,
}

impl Copies {
    /// `kafka`: the topics; without it there are no copies.
    pub fn new(kafka: Option<KafkaSetting>) -> Self {
        Self {
            kafka,
            #[cfg(feature = "kafka")]
            copier: None,
        }
    }

    pub fn are_wanted(&self) -> bool {
        self.kafka.is_some() && cfg!(feature = "kafka")
    }
}

#[cfg(not(feature = "kafka"))]
impl Copies {
    pub async fn copy_all(&mut self, _: &mut Store) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(feature = "kafka")]
impl Copies {
    /// All that are not copied, and are in nobody else's hands.
    ///
    /// # Errors
    /// Why there are some left: the store's, or the brokers'. After a minute they are anybody's.
    pub async fn copy_all(&mut self, store: &mut Store) -> Result<(), String> {
        let Some(kafka) = self.kafka.clone() else { return Ok(()) };
        loop {
            let now = UnixMs::from_system(SystemTime::now());
            let ids = store.take_to_copy(&kafka.topic, now, TAKEN).await.map_err(|e| e.to_string())?;
            if ids.is_empty() {
                return Ok(());
            }
            for ids in ids.chunks(READ) {
                self.copy(store, &kafka, ids).await?;
            }
        }
    }

    async fn copy(&mut self, store: &mut Store, kafka: &KafkaSetting, ids: &[i64]) -> Result<(), String> {
        let select = Select { ids: Some(ids.to_vec()), ..Select::default() };
        let letters = store.letters(&select, i64::MIN, TAKEN).await.map_err(|e| e.to_string())?;
        let copier = match self.copier.take() {
            Some(copier) => copier,
            None => Copier::open(kafka).await.map_err(|e| e.to_string())?,
        };
        let (copied, failed) = copier.copy(&letters.iter().map(as_copied).collect::<Vec<_>>()).await;
        store.copied(&copied).await.map_err(|e| e.to_string())?;
        match failed {
            // With a new producer the next time, and with a look whether the topic is there.
            Some(error) => Err(error.to_string()),
            None => {
                self.copier = Some(copier);
                Ok(())
            }
        }
    }
}

#[cfg(feature = "kafka")]
fn as_copied(letter: &Letter) -> Copy<'_> {
    Copy {
        id: letter.id,
        reason: &letter.reason,
        topic: &letter.topic,
        partition: letter.partition,
        offset: letter.offset,
        at: letter.failed_at,
        attempts: letter.attempts,
        key: letter.key.as_deref(),
        value: &letter.value,
        headers: &letter.headers,
    }
}
