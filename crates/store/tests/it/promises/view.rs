//! View `results` shows every field of the record as it was written.

use super::stage;
use crate::stage::{KEEP, Kind, Place, batch_of, line};
use model::{
    Location, TargetId, UnixMs, Verdict,
    batch::Content,
    record::{Record, RecordTls},
};
use proptest::{option, prelude::*, sample::select};
use std::collections::HashMap;
use std::time::Duration;
use store::Written;

/// The contract's fields, in its order; `tls` is flattened.
const COLUMNS: &str = r#"v, target, name, "group", url, location, due_at, started_at, interval_ms, verdict, reason, phase,
    message, attempts, status, http, peer, final_url, redirects, dns_us, connect_us, tls_us, wait_us, transfer_us, total_us,
    body_bytes, tls_version, tls_issuer, tls_subject, tls_not_before, tls_not_after, rtt_us, retransmits, lag_us"#;

/// The row as the record that it shows.
fn record(row: Vec<Option<String>>) -> Record {
    let names = COLUMNS.split(',').map(|name| name.trim().trim_matches('"'));
    let row: HashMap<_, _> = names.zip(row).collect();
    let text = |column: &str| row[column].clone();
    let number = |column: &str| text(column).map(|number| number.parse::<i32>().unwrap());
    assert_eq!(number("v"), Some(1));
    let time = |column: &str| text(column).map(|time| time.parse::<UnixMs>().unwrap_or_else(|_| panic!("{time}")));
    let tls = RecordTls {
        version: text("tls_version"),
        issuer: text("tls_issuer"),
        subject: text("tls_subject"),
        not_before: time("tls_not_before"),
        not_after: time("tls_not_after"),
    };
    Record {
        target: TargetId::new(&text("target").unwrap()).unwrap(),
        name: text("name"),
        group: text("group"),
        url: text("url"),
        location: Location::new(&text("location").unwrap()).unwrap(),
        due_at: time("due_at").unwrap(),
        started_at: time("started_at"),
        interval_ms: number("interval_ms"),
        verdict: Verdict::from_word(&text("verdict").unwrap()).unwrap(),
        reason: text("reason"),
        phase: text("phase"),
        message: text("message"),
        attempts: number("attempts"),
        status: number("status"),
        http: text("http"),
        peer: text("peer"),
        final_url: text("final_url"),
        redirects: number("redirects"),
        dns_us: number("dns_us"),
        connect_us: number("connect_us"),
        tls_us: number("tls_us"),
        wait_us: number("wait_us"),
        transfer_us: number("transfer_us"),
        total_us: number("total_us"),
        body_bytes: number("body_bytes"),
        tls: (tls != RecordTls::default()).then_some(tls),
        rtt_us: number("rtt_us"),
        retransmits: number("retransmits"),
        lag_us: number("lag_us"),
    }
}

async fn rows(place: &Place) -> Vec<Record> {
    let rows = place.rows(&format!("select {COLUMNS} from results")).await;
    let mut records: Vec<_> = rows.into_iter().map(record).collect();
    records.sort_by(|a, b| a.target.cmp(&b.target));
    records
}

#[tokio::test]
async fn the_view_has_the_fields_and_no_others() {
    let s = stage().await;
    let query = match &s.place {
        Place::File(..) => "select name from pragma_table_info('results')",
        Place::Database(_) => {
            "select column_name::text from information_schema.columns where table_name = 'results' order by ordinal_position"
        }
    };
    let columns = s.query(query).await;
    assert_eq!(columns.replace('\n', ", "), COLUMNS.replace('"', "").split_whitespace().collect::<Vec<_>>().join(" "));
}

/// The contract's example, as it stands there.
const EXAMPLE: &str = r#"{"v":1,"target":"shop-cart","name":"Shop cart","group":"Shop","url":"https://shop.example.org/cart","location":"home",
 "due_at":"2026-11-23T10:00:20.732Z","started_at":"2026-11-23T10:00:20.736Z","interval_ms":30000,
 "verdict":"down","reason":"body_no_match","phase":"expect","message":"body does not match /Add to (basket|cart)/ (10,240 bytes read)",
 "attempts":1,"status":200,"http":"1.1","peer":"93.184.216.34:443",
 "final_url":"https://shop.example.org/cart/","redirects":1,
 "dns_us":1200,"connect_us":9000,"tls_us":14000,"wait_us":80000,"transfer_us":1200,"total_us":105400,
 "body_bytes":10240,"tls":{"version":"1.3","issuer":"CN=R11,O=Let's Encrypt,C=US","subject":"CN=shop.example.org","not_before":"2026-11-01T12:00:00.000Z","not_after":"2027-01-30T12:00:00.000Z"},
 "rtt_us":8700,"retransmits":0,"lag_us":130}"#;

#[tokio::test]
async fn the_contracts_example_as_other_programs_see_it() {
    let mut s = stage().await;
    s.follow("log", &[EXAMPLE.to_owned()]).await;
    let Content::Result(written) = bus::record::decode(EXAMPLE.as_bytes(), KEEP.now) else { panic!() };
    assert_eq!(rows(&s.place).await, [(**written).clone()]);
    for (column, value) in [
        ("due_at", "2026-11-23T10:00:20.732Z"),
        ("started_at", "2026-11-23T10:00:20.736Z"),
        ("\"group\"", "Shop"),
        ("total_us", "105400"),
        ("tls_not_after", "2027-01-30T12:00:00.000Z"),
    ] {
        assert_eq!(s.query(&format!("select {column} from results")).await, value);
    }
    let types = match &s.place {
        Place::File(..) => {
            ("select typeof(due_at) || typeof(status) || typeof(lag_us) from results", "textintegerinteger")
        }
        Place::Database(_) => (
            "select pg_typeof(due_at)::text || pg_typeof(status)::text || pg_typeof(tls_not_after)::text from results",
            "timestamp with time zoneintegertimestamp with time zone",
        ),
    };
    assert_eq!(s.query(types.0).await, types.1);
}

#[tokio::test]
async fn late_has_no_start_and_no_times() {
    let mut s = stage().await;
    let late = r#"{"v":1,"target":"t","location":"home","due_at":"2026-11-23T10:00:20.732Z","verdict":"unknown","reason":"late","attempts":0}"#;
    s.follow("log", &[late.to_owned()]).await;
    let Content::Result(written) = bus::record::decode(late.as_bytes(), KEEP.now) else { panic!() };
    assert_eq!(rows(&s.place).await, [(**written).clone()]);
}

/// Facts that are written in two ways and kept in one, for the first time and side by side.
#[tokio::test]
async fn tls_without_fields_is_no_tls() {
    let mut s = stage().await;
    s.follow("log", &[line(1, 0, r#","tls":{}"#), line(1, 1, ""), line(1, 2, r#","tls":{"version":null}"#)]).await;
    assert_eq!(s.query("select count(*) from results where tls_version is null").await, "3");
}

fn any_text() -> impl Strategy<Value = Option<String>> {
    option::of(any::<String>().prop_map(|text| text.replace('\0', " ")))
}

fn any_number() -> impl Strategy<Value = Option<i32>> {
    option::of(prop_oneof![0..=i32::MAX, 0..200_000])
}

fn any_time() -> impl Strategy<Value = UnixMs> {
    (-62_167_219_200_000i64..=253_402_300_799_999).prop_map(UnixMs)
}

prop_compose! {
    fn any_tls()(
        (version, issuer, subject) in (any_text(), any_text(), any_text()),
        (not_before, not_after) in (option::of(any_time()), any_time()),
    ) -> RecordTls {
        RecordTls { version, issuer, subject, not_before, not_after: Some(not_after) }
    }
}

prop_compose! {
    fn any_record()(
        target in "[a-z0-9][a-z0-9._-]{0,40}",
        location in select(vec!["home", "away"]),
        (name, group, url, final_url, peer, http) in (any_text(), any_text(), any_text(), any_text(), any_text(), any_text()),
        (reason, phase, message) in (any_text(), any_text(), any_text()),
        (due_at, started_at) in (0..KEEP.now.0, option::of(any_time())),
        verdict in select(Verdict::ALL),
        (interval_ms, attempts, redirects, status) in (any_number(), any_number(), any_number(), option::of(100..1000)),
        (dns_us, connect_us, tls_us, wait_us, transfer_us, total_us) in
            (any_number(), any_number(), any_number(), any_number(), any_number(), any_number()),
        (body_bytes, rtt_us, retransmits, lag_us) in (any_number(), any_number(), any_number(), any_number()),
        tls in option::of(any_tls()),
    ) -> Record {
        Record {
            target: TargetId::new(&target).unwrap(),
            location: Location::new(location).unwrap(),
            name, group, url, due_at: UnixMs(due_at), started_at, interval_ms, verdict, reason, phase, message, attempts, status,
            http, peer, final_url, redirects, dns_us, connect_us, tls_us, wait_us, transfer_us, total_us, body_bytes, tls, rtt_us,
            retransmits, lag_us,
        }
    }
}

proptest! {
    // Each of a database of its own, and a partition for almost every record.
    #![proptest_config(ProptestConfig::with_cases(match super::super::KIND { Kind::Sqlite => 60, Kind::Postgres => 12 }))]

    #[test]
    fn every_field_of_every_record_comes_back(records in proptest::collection::vec(any_record(), 1..12)) {
        let mut records = records;
        records.sort_by(|a, b| a.target.cmp(&b.target));
        records.dedup_by(|a, b| a.target == b.target);
        let keep = store::Keep { checks: Duration::from_secs(1 << 40), ..KEEP };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shown = runtime.block_on(async {
            let mut s = stage().await;
            let written = s.store.write(&batch_of(0, records.clone()), &keep).await.unwrap();
            assert!(matches!(written, Written::Committed(counts) if counts.stored == records.len() as u64));
            rows(&s.place).await
        });
        prop_assert_eq!(shown, records);
    }
}
