//! What each role needs of the brokers' access lists, and what to grant when one of them refuses. (`packaging/kafka/acls.sh` has
//! all of it.)

use model::kafka::KafkaSetting;
use rdkafka::error::RDKafkaErrorCode as Code;

/// What was tried that rights are needed for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed<'n> {
    /// Either role.
    DescribeResults,
    DescribeDead,
    Create(&'n str),
    Read,
    Produce,
    Copy,
}

/// What the brokers say, and if it is that a right is missing, what to do about it.
pub(crate) fn explained(setting: &KafkaSetting, code: Code, deed: Deed<'_>, why: String) -> String {
    match advice(setting, code, deed) {
        Some(advice) => format!("{why}; {advice}"),
        None => why,
    }
}

fn advice(setting: &KafkaSetting, code: Code, deed: Deed<'_>) -> Option<String> {
    let KafkaSetting { topic, dead_topic, group, .. } = setting;
    let grant = match (code, deed) {
        (Code::GroupAuthorizationFailed, _) => format!("READ on group {group}"),
        // Of one who may write to no topic at all: brokers ask for it before a producer can begin.
        (Code::ClusterAuthorizationFailed | Code::TopicAuthorizationFailed, Deed::Produce) => {
            format!("WRITE on topic {topic}")
        }
        (Code::ClusterAuthorizationFailed | Code::TopicAuthorizationFailed, Deed::Copy) => {
            format!("WRITE on topic {dead_topic}")
        }
        (Code::ClusterAuthorizationFailed | Code::TopicAuthorizationFailed, Deed::Create(name)) => {
            format!("CREATE on topic {name}, or create it")
        }
        (Code::TopicAuthorizationFailed, Deed::DescribeResults) => {
            format!("WRITE (lapwing probe) or READ (lapwing write) on topic {topic}")
        }
        (Code::TopicAuthorizationFailed, Deed::DescribeDead) => format!("WRITE on topic {dead_topic}"),
        (Code::TopicAuthorizationFailed, Deed::Read) => format!("READ on topic {topic}"),
        _ => return None,
    };
    Some(format!("{} is not allowed to: grant {grant} (docs/managed-services.md)", who(setting)))
}

/// Whom the brokers take us for, as far as we know.
fn who(setting: &KafkaSetting) -> String {
    let certificate = setting.tls.as_ref().and_then(|tls| tls.cert_file.as_ref());
    match (&setting.sasl, certificate) {
        (Some(sasl), _) => format!("user {}", sasl.username),
        (None, Some(path)) => format!("the owner of {}", path.display()),
        (None, None) => "who comes without a name (User:ANONYMOUS)".to_owned(),
    }
}
