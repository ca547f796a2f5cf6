//! Records as they are read: results, and what is none.

use super::stage::{AT_ONCE, OnWire, join, next_batch, put, results, setting};
use bus::kafka::Most;
use model::batch::{Content, DeadReason};
use rdkafka::{
    ClientConfig, bindings as c,
    producer::{BaseProducer, Producer as _},
};
use std::{ffi::CString, ptr, time::Duration};

#[tokio::test]
async fn what_is_no_result_is_a_letter_with_its_key_and_headers() {
    let setting = setting();
    let mut log = join(&setting, AT_ONCE).await;
    let headers = vec![
        ("a".to_owned(), Some(vec![0, 255])),
        ("a".to_owned(), Some(vec![])),
        ("lapwing-seq".to_owned(), Some(b"q/1".to_vec())),
    ];
    let good = results(0..1, 1).remove(0);
    put(
        &setting,
        &[
            OnWire {
                key: Some(vec![0, 10, 255]),
                value: Some(vec![0xff, 0, b'\n']),
                headers: headers.clone(),
                ..OnWire::default()
            },
            OnWire { key: Some(b"k".to_vec()), value: None, ..OnWire::default() },
            OnWire::value(""),
            OnWire::value(r#"{"v":2}"#),
            OnWire::value(r#"{"v":1,"kind":"else"}"#),
            OnWire::value(good.clone()),
            OnWire::value([&[0, 0, 0, 0, 1], &*good].concat()),
        ],
    );
    let mut entries = Vec::new();
    while entries.len() < 7 {
        entries.extend(next_batch(&mut log).await.entries);
    }
    let letter = |n: usize| match &entries[n].content {
        Content::Dead(letter) => letter,
        other => panic!("{n}: {other:?}"),
    };
    let first = letter(0);
    assert_eq!((first.reason, first.key.as_deref()), (DeadReason::NotJson, Some(&[0, 10, 255][..])));
    assert_eq!((&*first.value, &*entries[0].value), (&[0xff, 0, b'\n'][..], &[0xff, 0, b'\n'][..]));
    let expected: Vec<_> = headers.into_iter().map(|(name, value)| (name, value.unwrap())).collect();
    assert_eq!(first.headers, expected);
    assert_eq!(entries[0].envelope.headers(), expected);
    assert_eq!(
        (letter(1).reason, letter(1).key.as_deref(), &*letter(1).value),
        (DeadReason::NotJson, Some(&b"k"[..]), &b""[..])
    );
    assert_eq!((letter(2).reason, letter(2).key.clone()), (DeadReason::NotJson, None));
    assert_eq!(letter(3).reason, DeadReason::NewerVersion);
    assert_eq!(entries[4].content, Content::UnknownKind);
    assert!(matches!(&entries[5].content, Content::Result(record) if record.target.as_str() == "t0"));
    assert_eq!(entries[5].content, entries[6].content, "a schema registry's prefix is passed over");
    assert_eq!(entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
    log.close().await;
}

#[tokio::test]
async fn a_header_whose_name_is_no_text_stops_nobody() {
    let setting = setting();
    let mut log = join(&setting, AT_ONCE).await;
    put_header(&setting.brokers[0], &setting.topic, &[b'x', 0xff]);
    let batch = next_batch(&mut log).await;
    let Content::Dead(letter) = &batch.entries[0].content else { panic!("{batch:?}") };
    assert_eq!(letter.headers, [("x\u{fffd}".to_owned(), b"v".to_vec())]);
    log.close().await;
}

/// A record whose header has this name; the wrapper takes text only.
#[expect(unsafe_code, reason = "the wrapper takes text only")]
fn put_header(brokers: &str, topic: &str, name: &[u8]) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let (topic, name) = (CString::new(topic).unwrap(), CString::new(name).unwrap());
    // SAFETY: names and value live until the call returns, which copies them; the list of arguments ends with its end.
    unsafe {
        let topic = c::rd_kafka_topic_new(producer.client().native_ptr(), topic.as_ptr(), ptr::null_mut());
        let headers = c::rd_kafka_headers_new(1);
        c::rd_kafka_header_add(headers, name.as_ptr(), -1, b"v".as_ptr().cast(), 1);
        let error = c::rd_kafka_producev(
            producer.client().native_ptr(),
            c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
            topic,
            c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
            headers,
            c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
        );
        assert_eq!(error, c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        producer.flush(super::stage::LIMIT).unwrap();
        c::rd_kafka_topic_destroy(topic);
    }
}

#[tokio::test]
async fn a_record_of_two_megabytes_is_read() {
    let setting = setting();
    let topic = rdkafka::admin::NewTopic::new(&setting.topic, 1, rdkafka::admin::TopicReplication::Fixed(1))
        .set("max.message.bytes", "8388608");
    super::stage::admin(&setting).create_topics([&topic], &super::stage::patience()).await.unwrap()[0]
        .as_ref()
        .unwrap();
    let mut log = join(&setting, Most { bytes: 1000, ..AT_ONCE }).await;
    put(&setting, &[OnWire::value(vec![b'x'; 2 << 20]), OnWire::value("{}")]);
    let batch = next_batch(&mut log).await;
    assert_eq!((batch.entries.len(), batch.entries[0].value.len()), (1, 2 << 20));
    assert_eq!(next_batch(&mut log).await.entries[0].offset, 1);
    log.close().await;
}

#[tokio::test]
async fn small_batches_keep_their_pace_and_the_first_after_a_rest_comes_at_once() {
    let setting = setting();
    let pace = Duration::from_millis(700);
    let mut log = join(&setting, Most { pace, ..AT_ONCE }).await;
    put(&setting, &[OnWire::value("{}")]);
    let first = next_batch(&mut log).await;
    assert_eq!(first.next, 1);
    let at = std::time::Instant::now();
    put(&setting, &[OnWire::value("{}")]);
    put(&setting, &[OnWire::value("{}")]);
    let second = next_batch(&mut log).await;
    assert_eq!((second.from, second.next), (1, 3), "both in one");
    assert!(at.elapsed() < pace + Duration::from_secs(5));
    log.close().await;
}
