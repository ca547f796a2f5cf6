//! Entries of Kafka's access lists, as its tool is told them. librdkafka can make them, and its Rust wrapper can't: hence the unsafe
//! code.
#![expect(unsafe_code, reason = "the wrapper has no safe call for it (see above)")]

use crate::fail::fail;
use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::producer::{BaseProducer, Producer as _};
use std::ffi::{CStr, CString};
use std::ptr;

/// Lets somebody do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// `User:name`
    pub principal: String,
    /// As Kafka's tool names it: `Write`.
    pub operation: String,
    /// Of a topic, else of a group.
    pub is_topic: bool,
    pub name: String,
}

impl Acl {
    /// From the arguments of `kafka-acls.sh --add`. Fails the test where it does not understand them.
    #[track_caller]
    pub fn of_arguments(line: &str) -> Self {
        let words: Vec<_> = line.split_whitespace().collect();
        let value = |flag: &str| {
            let at = words.iter().position(|word| *word == flag);
            at.and_then(|at| words.get(at + 1)).map(|value| (*value).to_owned())
        };
        let (topic, group) = (value("--topic"), value("--group"));
        let is_topic = topic.is_some();
        match (value("--allow-principal"), value("--operation"), topic.or(group)) {
            (Some(principal), Some(operation), Some(name)) if words.contains(&"--add") => {
                Self { principal, operation, is_topic, name }
            }
            _ => fail(&format!("not understood: {line}")),
        }
    }

    /// Puts them into the list, as whoever may do so without a login.
    #[track_caller]
    pub fn add(brokers: &str, acls: &[Self]) {
        let client: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a client can be made");
        let rk = client.client().native_ptr();
        let bindings = acls.iter().map(Self::binding);
        let mut bindings: Vec<_> = bindings.collect();
        // SAFETY: the client outlives the request, which is over when its event is there; what is made here is destroyed here, each
        // by the function that belongs to it, and nothing of the event is kept.
        let refused = unsafe {
            let queue = c::rd_kafka_queue_new(rk);
            let options = c::rd_kafka_AdminOptions_new(rk, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEACLS);
            c::rd_kafka_CreateAcls(rk, bindings.as_mut_ptr(), bindings.len(), options, queue);
            let event = c::rd_kafka_queue_poll(queue, 60_000);
            let refused = refusals(event);
            c::rd_kafka_event_destroy(event);
            c::rd_kafka_AdminOptions_destroy(options);
            c::rd_kafka_queue_destroy(queue);
            bindings.iter().for_each(|binding| c::rd_kafka_AclBinding_destroy(*binding));
            refused
        };
        if !refused.is_empty() {
            fail(&format!("{acls:?}: {refused:?}"));
        }
    }

    fn binding(&self) -> *mut c::rd_kafka_AclBinding_t {
        use c::rd_kafka_AclOperation_t as Operation;
        let operation = match self.operation.as_str() {
            "Read" => Operation::RD_KAFKA_ACL_OPERATION_READ,
            "Write" => Operation::RD_KAFKA_ACL_OPERATION_WRITE,
            "Create" => Operation::RD_KAFKA_ACL_OPERATION_CREATE,
            "Describe" => Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE,
            "DescribeConfigs" => Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
            other => fail(&format!("an operation that is not known here: {other}")),
        };
        let resource = match self.is_topic {
            true => c::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
            false => c::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_GROUP,
        };
        let [name, principal, host] =
            [&self.name, &self.principal, "*"].map(|text| CString::new(text).expect("a name has no NUL"));
        // SAFETY: the texts live until the binding has copied them.
        unsafe {
            c::rd_kafka_AclBinding_new(
                resource,
                name.as_ptr(),
                c::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                principal.as_ptr(),
                host.as_ptr(),
                operation,
                c::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
                ptr::null_mut(),
                0,
            )
        }
    }
}

/// What the brokers did not take.
///
/// # Safety
/// The event must be one of CreateAcls, or null.
unsafe fn refusals(event: *mut c::rd_kafka_event_t) -> Vec<String> {
    if event.is_null() {
        return vec!["no answer".to_owned()];
    }
    // SAFETY: by the promise above; what the event points to lives as long as it, and texts are copied.
    unsafe {
        let text = |text| CStr::from_ptr(text).to_string_lossy().into_owned();
        if c::rd_kafka_event_error(event) != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return vec![text(c::rd_kafka_event_error_string(event))];
        }
        let mut count = 0;
        let results = c::rd_kafka_CreateAcls_result_acls(c::rd_kafka_event_CreateAcls_result(event), &mut count);
        let errors = (0..count).map(|n| c::rd_kafka_acl_result_error(*results.add(n)));
        errors.filter(|error| !error.is_null()).map(|error| text(c::rd_kafka_error_string(error))).collect()
    }
}
