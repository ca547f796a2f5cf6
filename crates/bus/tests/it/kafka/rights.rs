//! Least rights at the brokers: what `packaging/kafka/acls.sh` lists suffices, and what is missing of it is named.

use super::stage::{AT_ONCE, LIMIT, join, next_batch, relayed, relayed_with, results, setting_at};
use bus::kafka::{Consumer, Copier, Copy, Reach};
use model::{
    UnixMs,
    kafka::{KafkaSetting, Sasl},
};
use std::process::Command;
use testkit::{Acl, Kafka, OnWire, Topic, eventually};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/kafka/acls.sh");

/// A broker that lets nobody in who is not on its lists, but its administrator.
async fn strict() -> Kafka {
    let users = ["all", "none", "create", "no-write", "no-read", "no-group", "no-dead", "look"];
    let options = users.iter().fold(Kafka::options(), |options, name| options.user(name, "hunter2"));
    options
        .property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .property("super.users", "User:ANONYMOUS")
        .start()
        .await
}

fn setting(kafka: &Kafka, user: &str) -> KafkaSetting {
    let sasl =
        Sasl { mechanism: "SCRAM-SHA-256".to_owned(), username: user.to_owned(), password: "hunter2".to_owned() };
    KafkaSetting { sasl: Some(sasl), ..setting_at(&kafka.sasl_brokers()) }
}

/// The topics of the setting, made by the administrator.
async fn with_topics(kafka: &Kafka, user: &str) -> KafkaSetting {
    let setting = setting(kafka, user);
    for name in [&setting.topic, &setting.dead_topic] {
        Topic::at(&kafka.brokers(), name).create(1, &[]).await;
    }
    setting
}

/// Grants the user of the setting what the file lists, for both roles or for one, without the lines that hold this.
fn grant(kafka: &Kafka, setting: &KafkaSetting, create: &str, without: &str) {
    let user = format!("User:{}", setting.sasl.as_ref().unwrap().username);
    let output = Command::new("sh")
        .arg(LIST)
        .envs([("KAFKA_ACLS", "echo"), ("BOOTSTRAP", "b:1"), ("PROBER", &user), ("WRITER", &user), ("CREATE", create)])
        .envs([("TOPIC", &setting.topic), ("DEAD_TOPIC", &setting.dead_topic), ("GROUP", &setting.group)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let listed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = listed.lines().collect();
    let acls: Vec<_> = lines.iter().filter(|line| without.is_empty() || !line.contains(without)).collect();
    assert_eq!(acls.len() == lines.len(), without.is_empty(), "{without} is in {lines:?}");
    Acl::add(&kafka.brokers(), &acls.into_iter().map(|line| Acl::of_arguments(line)).collect::<Vec<_>>());
}

fn letter() -> Copy<'static> {
    let (key, value, headers) = (None, &b"junk"[..], &[][..]);
    Copy {
        id: 1,
        reason: "not_json",
        topic: "t",
        partition: 0,
        offset: 0,
        at: UnixMs(0),
        attempts: 1,
        key,
        value,
        headers,
    }
}

async fn copy(setting: &KafkaSetting) -> Result<(), bus::kafka::Error> {
    let copier = Copier::open(setting).await?;
    match timeout(LIMIT, copier.copy(&[letter()])).await.unwrap() {
        (ids, None) if ids == [1] => Ok(()),
        (_, Some(error)) => Err(error),
        other => panic!("{other:?}"),
    }
}

async fn both_roles_work(setting: &KafkaSetting) {
    let mut relayed = relayed(setting).await;
    relayed.tail.append(&results(0..10, 3)).await.unwrap();
    let mut log = join(setting, AT_ONCE).await;
    let mut read = 0;
    while read < 10 {
        let batch = next_batch(&mut log).await;
        read += batch.entries.len();
        log.release(&batch);
    }
    log.close().await;
    relayed.drain().await;
    copy(setting).await.unwrap();
}

#[track_caller]
fn says(error: &str, user: &str, right: &str) {
    let grant = format!("user {user} is not allowed to: grant {right} (docs/managed-services.md)");
    assert!(error.contains(&grant) && !error.contains("hunter2"), "{error}\ndoes not say: {grant}");
}

/// What reading ends with.
async fn unreadable(setting: &KafkaSetting) -> String {
    let stop = CancellationToken::new();
    let consumer = timeout(LIMIT, Consumer::open(setting, AT_ONCE, Reach::default(), &stop)).await.unwrap();
    let mut consumer = match consumer {
        Ok(consumer) => consumer.unwrap(),
        Err(error) => return error.to_string(),
    };
    let error = loop {
        match timeout(LIMIT, consumer.read(&stop)).await.expect("it is told") {
            Ok(Some(bus::log::Read::Opened(source))) => drop(consumer.start(&source, None).await.unwrap()),
            Ok(Some(_)) => {}
            Ok(None) => panic!("nobody stops it"),
            Err(error) => break error.to_string(),
        }
    };
    consumer.close().await;
    error
}

#[tokio::test]
async fn the_listed_rights_suffice_and_a_missing_one_is_named() {
    let kafka = strict().await;
    let all = with_topics(&kafka, "all").await;
    grant(&kafka, &all, "no", "");
    both_roles_work(&all).await;

    let create = setting(&kafka, "create");
    grant(&kafka, &create, "yes", "");
    both_roles_work(&create).await;

    // Topics that are missing, and may not be made.
    let missing = KafkaSetting { topic: all.topic.clone() + "-more", ..all.clone() };
    grant(&kafka, &missing, "no", "");
    let right = format!("CREATE on topic {}, or create it", missing.topic);
    says(&unreadable(&missing).await, "all", &right);

    // Nothing at all.
    let none = with_topics(&kafka, "none").await;
    let right = format!("WRITE (lapwing probe) or READ (lapwing write) on topic {}", none.topic);
    says(&unreadable(&none).await, "none", &right);
    let refused = relayed_with(&none, &results(0..1, 1)).await;
    let error = timeout(LIMIT, refused.running).await.unwrap().unwrap().unwrap_err();
    says(&error.to_string(), "none", &right);
    says(&copy(&none).await.unwrap_err().to_string(), "none", &format!("WRITE on topic {}", none.dead_topic));

    // One of them.
    let no_read = with_topics(&kafka, "no-read").await;
    grant(&kafka, &no_read, "no", "--operation Read --topic");
    Topic::at(&kafka.brokers(), &no_read.topic).put(&[OnWire::value("{}")]);
    says(&unreadable(&no_read).await, "no-read", &format!("READ on topic {}", no_read.topic));

    let no_group = with_topics(&kafka, "no-group").await;
    grant(&kafka, &no_group, "no", "--group");
    says(&unreadable(&no_group).await, "no-group", &format!("READ on group {}", no_group.group));

    let no_dead = with_topics(&kafka, "no-dead").await;
    grant(&kafka, &no_dead, "no", &no_dead.dead_topic);
    says(&copy(&no_dead).await.unwrap_err().to_string(), "no-dead", &format!("WRITE on topic {}", no_dead.dead_topic));

    // The prober sees the topic, and may not write: to this topic, or to any. It waits, for somebody may let it.
    let no_write = with_topics(&kafka, "no-write").await;
    grant(&kafka, &no_write, "no", &format!("Write --topic {}", no_write.topic));
    let look = with_topics(&kafka, "look").await;
    let (principal, operation) = ("User:look".to_owned(), "Describe".to_owned());
    Acl::add(&kafka.brokers(), &[Acl { principal, operation, is_topic: true, name: look.topic.clone() }]);
    let dead = Acl {
        principal: "User:look".to_owned(),
        operation: "Describe".to_owned(),
        is_topic: true,
        name: look.dead_topic.clone(),
    };
    Acl::add(&kafka.brokers(), &[dead]);
    says(&copy(&look).await.unwrap_err().to_string(), "look", &format!("WRITE on topic {}", look.dead_topic));
    for (setting, user) in [(&no_write, "no-write"), (&look, "look")] {
        let waiting = relayed_with(setting, &results(0..1, 1)).await;
        let said = async || waiting.reach.trouble().is_some_and(|why| why.contains("grant"));
        eventually("it is said", LIMIT, said).await;
        says(&waiting.reach.trouble().unwrap(), user, &format!("WRITE on topic {}", setting.topic));
        grant(&kafka, setting, "no", "");
        waiting.all_arrived().await;
        waiting.drain().await;
    }
}
