//! The `kafka` section as meant.

use crate::{files::Files, place::Sources, rules, view::View};
use model::kafka::{KafkaSetting, KafkaTls, Sasl};
use std::path::PathBuf;

/// What a section of Kafka is made with.
pub(crate) struct Kafka<'a> {
    pub sources: &'a Sources,
    pub files: &'a mut Files,
}

impl Kafka<'_> {
    /// Reads the checked section; `None` when a mistake, which is reported, stands in its way.
    pub fn setting(&mut self, kafka: View<'_>) -> Option<KafkaSetting> {
        Some(KafkaSetting {
            brokers: kafka.list("brokers", |text| Ok(text.to_owned())),
            topic: kafka.text("topic")?.to_owned(),
            dead_topic: kafka.text("dead_topic")?.to_owned(),
            group: kafka.text("group")?.to_owned(),
            partitions: i32::try_from(kafka.whole("partitions")).ok()?,
            replication: kafka.read("replication", rules::replication)?,
            tls: kafka.node("tls").map(|_| self.tls(kafka.map("tls"))),
            sasl: match kafka.node("sasl") {
                Some(_) => Some(self.sasl(kafka.map("sasl"))?),
                None => None,
            },
            properties: kafka
                .named("properties")
                .filter_map(|entry| Some((entry.key.to_string(), entry.node.as_text()?.to_owned())))
                .collect(),
        })
    }

    fn tls(&self, tls: View<'_>) -> KafkaTls {
        KafkaTls {
            ca_file: self.path(tls, "ca_file"),
            cert_file: self.path(tls, "cert_file"),
            key_file: self.path(tls, "key_file"),
        }
    }

    fn sasl(&mut self, sasl: View<'_>) -> Option<Sasl> {
        Some(Sasl {
            mechanism: sasl.text("mechanism")?.to_owned(),
            username: self.text_or_file(sasl, ["username", "username_file"])?,
            password: self.text_or_file(sasl, ["password", "password_file"]).unwrap_or_default(),
        })
    }

    fn text_or_file(&mut self, view: View<'_>, [text, file]: [&str; 2]) -> Option<String> {
        match view.text(text) {
            Some(text) => Some(text.to_owned()),
            None => self.files.value(&self.path(view, file)?).ok().map(|text| text.to_string()),
        }
    }

    fn path(&self, view: View<'_>, key: &str) -> Option<PathBuf> {
        let node = view.node(key)?;
        Some(self.sources.folder(node.place.source).join(node.as_text()?))
    }
}
