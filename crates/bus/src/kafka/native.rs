//! What librdkafka can and its Rust wrapper can't: a topic's id, and headers whose names are no UTF-8. The only unsafe code;
//! everything that comes from C is copied before the function returns.
#![expect(unsafe_code, reason = "the wrapper has no safe call for either (see above)")]

use rdkafka::{
    ClientContext, bindings as c, client::Client, error::RDKafkaErrorCode as Code, message::BorrowedMessage,
    types::RDKafkaRespErr,
};
use std::{
    ffi::{CStr, CString, c_char},
    ptr, slice,
    time::Duration,
};

/// A topic as the brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    /// Of this topic and no other, also when one of its name is made again. As Kafka's tools show it.
    pub id: String,
    pub partitions: usize,
}

/// Asks the brokers for a topic and waits for the answer; never makes the topic. `None`: there is no such topic.
pub(super) fn describe(
    client: &Client<impl ClientContext>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<Described>, (Code, String)> {
    let name = CString::new(topic).map_err(|_| (Code::InvalidTopic, "the name holds a NUL".to_owned()))?;
    let ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let client = client.native_ptr();
    // SAFETY: the client is borrowed, so it is valid until the end of this function. The name lives until the collection has copied it. Collection,
    // options and queue are owned by the guards and outlive the request, which is over when its event is there, or when the
    // queue is destroyed.
    unsafe {
        let queue = Guard(c::rd_kafka_queue_new(client), c::rd_kafka_queue_destroy);
        let mut names = [name.as_ptr()];
        let topics = Guard(
            c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1),
            c::rd_kafka_TopicCollection_destroy,
        );
        let options = Guard(
            c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            c::rd_kafka_AdminOptions_destroy,
        );
        c::rd_kafka_AdminOptions_set_request_timeout(options.0, ms, ptr::null_mut(), 0);
        c::rd_kafka_DescribeTopics(client, topics.0, options.0, queue.0);
        // Later than the request gives up by itself.
        let event = c::rd_kafka_queue_poll(queue.0, ms.saturating_add(1000));
        if event.is_null() {
            return Err((Code::OperationTimedOut, "no answer".to_owned()));
        }
        let event = Guard(event, c::rd_kafka_event_destroy);
        let code = c::rd_kafka_event_error(event.0);
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err((code.into(), text(c::rd_kafka_event_error_string(event.0))));
        }
        first_described(c::rd_kafka_event_DescribeTopics_result(event.0))
    }
}

/// # Safety
/// The result must be one, and valid.
unsafe fn first_described(
    result: *const c::rd_kafka_DescribeTopics_result_t,
) -> Result<Option<Described>, (Code, String)> {
    // SAFETY: by the promise above; the topics and what they point to live as long as the result.
    unsafe {
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count == 0 {
            return Err((Code::InvalidArgument, "the answer is about no topic".to_owned()));
        }
        let topic = *topics;
        let error = c::rd_kafka_TopicDescription_error(topic);
        let code =
            if error.is_null() { RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR } else { c::rd_kafka_error_code(error) };
        match Code::from(code) {
            Code::NoError => {}
            Code::UnknownTopicOrPartition => return Ok(None),
            code => return Err((code, text(c::rd_kafka_error_string(error)))),
        }
        let mut partitions = 0;
        c::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let id = text(c::rd_kafka_Uuid_base64str(c::rd_kafka_TopicDescription_topic_id(topic)));
        Ok(Some(Described { id, partitions }))
    }
}

/// The headers in their order; of a name that is no UTF-8 as much as can be shown.
pub(super) fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut headers = ptr::null_mut();
    // SAFETY: the message is borrowed, so it and its headers live until the end of this function, and their names and values
    // as long.
    unsafe {
        if c::rd_kafka_message_headers(message.ptr(), &mut headers) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return all;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        while c::rd_kafka_header_get_all(headers, all.len(), &mut name, &mut value, &mut size)
            == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            let bytes = if value.is_null() { &[][..] } else { slice::from_raw_parts(value.cast::<u8>(), size) };
            all.push((text(name), bytes.to_vec()));
        }
    }
    all
}

/// # Safety
/// The text must be null, or end with a NUL and be valid.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the promise above.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Something of C's, destroyed at the end.
struct Guard<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: nobody else owns it, and it came from the function that this one belongs to.
        unsafe { (self.1)(self.0) }
    }
}
