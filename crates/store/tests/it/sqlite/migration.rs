//! Files of earlier versions are brought to this one, and keep what is in them.

use crate::stage::{Kind, Place, Stage, line, source};
use store::{OpenError, Settings, Store};
use tokio_util::sync::CancellationToken;

/// Takes away what later versions added.
const BACK_TO_ONE: &str = "drop trigger dead_letter_to_copy; drop trigger dead_letter_gone; drop table dead_copies; drop index dead_letters_due;
    drop table gaps; pragma user_version = 1";

/// A file of version 1, with rows.
async fn version_one() -> Stage {
    let mut s = Stage::new(Kind::Sqlite).await;
    s.follow("log", &[line(1, 0, ",\"status\":200"), line(2, 0, ""), "{".to_owned()]).await;
    s.store.close().await;
    s.place.execute(BACK_TO_ONE).await;
    let store = s.place.open(Settings::default()).await;
    Stage { store, ..s }
}

#[tokio::test]
async fn a_file_of_version_one_keeps_its_rows_and_gets_gaps() {
    let mut s = version_one().await;
    assert_eq!(s.query("select user_version from pragma_user_version").await, "3");
    assert_eq!(s.query("select count(*) from gaps").await, "0");
    assert_eq!(s.query("select target from results order by target").await, "t1\nt2");
    assert_eq!(s.query("select reason from dead_letters").await, "not_json");
    assert_eq!(s.store.next_offset(&source("log")).await.unwrap(), Some(3));
    // The digest of facts is still the same one: known facts are found again.
    s.follow("log", &[line(1, 30, ",\"status\":200")]).await;
    assert_eq!(s.query("select count(*) from facts").await, "2");
}

#[tokio::test]
async fn a_file_of_version_one_is_refused_when_nothing_may_be_migrated() {
    let s = Stage::new(Kind::Sqlite).await;
    let Place::File(path, _folder) = s.place else { panic!() };
    s.store.close().await;
    let mut theirs = crate::stage::another_program(&path).await;
    sqlx::raw_sql(BACK_TO_ONE).execute(&mut theirs).await.unwrap();
    let settings = Settings { migrate: false, ..Settings::default() };
    let e = Store::open_sqlite(&path, settings, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(e, OpenError::NeedsMigration { found: 1, known: 3, .. }), "{e}");
}
