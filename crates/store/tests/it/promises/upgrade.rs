//! What the first version has left is brought to this one: everything in it stays, and writing goes on.

use super::super::KIND;
use crate::stage::{KEEP, Kind, Place, Stage, another_program, batch, line};
use model::batch::Source;
use sqlx::raw_sql;
use store::{Counts, Position, Select, Settings, Written};
use testkit::TestDatabase;

/// As 0.1.0 has left it, and opened.
async fn upgraded() -> Stage {
    let place = match KIND {
        Kind::Sqlite => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("lapwing.db");
            std::fs::write(&path, []).unwrap();
            let mut theirs = another_program(&path).await;
            raw_sql(include_str!("../../fixtures/v0.1.0.sqlite.sql")).execute(&mut theirs).await.unwrap();
            Place::File(path, folder)
        }
        Kind::Postgres => {
            let database = TestDatabase::new().await;
            database.execute(include_str!("../../fixtures/v0.1.0.postgres.sql")).await;
            Place::Database(database)
        }
    };
    Stage { store: place.open(Settings::default()).await, place }
}

fn topic() -> Source {
    Source { log: "AAAAAAAAAAAAAAAAAAAAAA".into(), name: "lapwing.results".into(), partition: 3 }
}

#[tokio::test]
async fn everything_of_0_1_0_is_there_and_writing_goes_on() {
    let mut s = upgraded().await;
    assert_eq!(s.query("select count(*) from results").await, "13");
    assert_eq!(
        s.place
            .rows("select verdict, reason, total_us, tls_issuer, started_at from results where target = 't2' limit 1")
            .await,
        [["down", "body_no_match", "105400", "CN=R11", "2026-11-23T10:00:00.000Z"].map(|text| Some(text.to_owned()))]
    );
    assert_eq!(s.query("select from_offset from gaps").await, "55");
    assert_eq!(s.store.position(&topic()).await.unwrap(), Position::At(60));

    let again = [line(1, 0, ",\"status\":200"), line(1, 120, ""), line(9, 0, ""), "junk".to_owned()];
    let batch = model::batch::Batch { source: topic(), ..batch("", 60, &again) };
    let Written::Committed(counts) = s.write(&batch).await.unwrap() else { panic!() };
    assert_eq!(counts, Counts { stored: 2, duplicate: 1, dead: counts.dead, ..Counts::default() });
    assert_eq!(counts.dead.not_json, 1);
    assert_eq!(s.query("select count(*) from targets").await, "5");
}

#[tokio::test]
async fn letters_of_0_1_0_stay_and_are_copied_like_new_ones() {
    let mut s = upgraded().await;
    let reasons = "select reason from dead_letters order by id";
    assert_eq!(s.query(reasons).await, "not_json\nnot_a_result\nnewer_version");
    s.follow("queue-2", &["junk".to_owned()]).await;
    let letters = s.store.letters(&Select::default(), 0, 9).await.unwrap();
    let of_the_topic: Vec<_> = letters.iter().filter(|l| l.topic == "lapwing.results").map(|l| l.id).collect();
    assert_eq!(of_the_topic.len(), 3);
    assert_eq!(s.store.take_to_copy("lapwing.results", KEEP.now, 9).await.unwrap(), of_the_topic);
}
