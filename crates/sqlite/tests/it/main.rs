//! What `open` promises, on real files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use sqlite::{Cause, Class, Error, Kind, OpenError, Settings, Waits, open};
use sqlx::{Connection as _, Row, SqliteConnection, raw_sql};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

static KIND: Kind = kind(&["create table t (a integer primary key, b text) strict", "alter table t add column c text"]);
static OLDER: Kind = kind(&["create table t (a integer primary key, b text) strict"]);
static BROKEN: Kind = kind(&["create table t (a integer primary key, b text) strict", "create table u (a); nonsense"]);
static OTHER_KIND: Kind = Kind { application_id: 7, ..kind(&["create table t (a)"]) };

const fn kind(migrations: &'static [&'static str]) -> Kind {
    Kind {
        name: "queue",
        application_id: 0x1234_5678,
        page_size: 1024,
        checkpoint_pages: 1000,
        auto_vacuum: false,
        migrations,
    }
}

struct Place {
    folder: TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place { path: folder.path().join("file.db"), folder }
}

async fn opened(path: &Path, kind: &'static Kind) -> Result<(sqlite::OpenFile, sqlite::Connection), OpenError> {
    open(path, kind, Settings::default(), &CancellationToken::new()).await
}

async fn another_program(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(path.to_str().unwrap()).await.unwrap()
}

async fn made(path: &Path, kind: &'static Kind) {
    let (_file, mut connection) = opened(path, kind).await.unwrap();
    raw_sql("insert into t (b) values ('x')").execute(connection.sql()).await.unwrap();
    connection.close().await;
}

async fn number(sql: &mut SqliteConnection, query: &'static str) -> i64 {
    sqlx::query(query).fetch_one(sql).await.unwrap().get(0)
}

#[tokio::test]
async fn a_missing_file_is_made_and_an_older_one_is_migrated() {
    let p = place();
    made(&p.path, &OLDER).await;
    let (_file, mut connection) = opened(&p.path, &KIND).await.unwrap();
    assert_eq!(number(connection.sql(), "select count(*) from t where c is null").await, 1);
    assert_eq!(number(connection.sql(), "select user_version from pragma_user_version").await, 2);
    assert_eq!(number(connection.sql(), "select synchronous from pragma_synchronous").await, 2);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_file_as_it_was() {
    let p = place();
    made(&p.path, &OLDER).await;
    let e = opened(&p.path, &BROKEN).await.unwrap_err();
    assert!(matches!(e, OpenError::Unusable { .. }), "{e}");
    let (_file, mut connection) = opened(&p.path, &OLDER).await.unwrap();
    assert_eq!(number(connection.sql(), "select count(*) from sqlite_schema").await, 1);
}

#[tokio::test]
async fn an_older_file_is_refused_when_nothing_may_be_migrated() {
    let p = place();
    made(&p.path, &OLDER).await;
    let settings = Settings { migrate: false, ..Settings::default() };
    let e = open(&p.path, &KIND, settings, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(e, OpenError::NeedsMigration { found: 1, known: 2, .. }), "{e}");
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let p = place();
    made(&p.path, &KIND).await;
    let e = opened(&p.path, &OLDER).await.unwrap_err();
    assert!(matches!(e, OpenError::Newer { found: 2, known: 1, .. }), "{e}");
    assert!(e.to_string().contains("file.db was written by a newer Lapwing"), "{e}");
}

#[tokio::test]
async fn a_database_of_others_is_refused_and_stays_as_it_is() {
    let p = place();
    let mut theirs = another_program(format!("sqlite:{}?mode=rwc", p.path.display()).as_ref()).await;
    raw_sql("create table notes (a)").execute(&mut theirs).await.unwrap();
    theirs.close().await.unwrap();
    let before = fs::read(&p.path).unwrap();
    assert!(matches!(opened(&p.path, &KIND).await.unwrap_err(), OpenError::NotOurs { .. }));
    assert_eq!(fs::read(&p.path).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused() {
    let p = place();
    made(&p.path, &KIND).await;
    assert!(matches!(opened(&p.path, &OTHER_KIND).await.unwrap_err(), OpenError::NotOurs { .. }));
}

#[tokio::test]
async fn garbage_is_damage_and_stays_as_it_is() {
    for garbage in [&b"short"[..], &[0x5a; 4096], "not a database at all\n".repeat(1000).as_bytes()] {
        let p = place();
        fs::write(&p.path, garbage).unwrap();
        let e = opened(&p.path, &KIND).await.unwrap_err();
        assert!(matches!(e, OpenError::Damaged { .. }), "{e}");
        assert!(e.to_string().contains("file.db is damaged"), "{e}");
        assert_eq!(fs::read(&p.path).unwrap(), garbage);
    }
}

#[tokio::test]
async fn a_torn_file_is_damage_and_stays_as_it_is() {
    for tear in [|b: &mut Vec<u8>| b.truncate(9000), |b: &mut Vec<u8>| b[4096..9000].fill(0xaa)] {
        let p = place();
        let (_file, mut connection) = opened(&p.path, &KIND).await.unwrap();
        for _ in 0..40 {
            raw_sql("insert into t (b) values (hex(randomblob(500)))").execute(connection.sql()).await.unwrap();
        }
        connection.close().await;
        drop(_file);
        let mut bytes = fs::read(&p.path).unwrap();
        tear(&mut bytes);
        fs::write(&p.path, &bytes).unwrap();
        let e = opened(&p.path, &KIND).await.unwrap_err();
        assert!(matches!(e, OpenError::Damaged { .. }), "{e}");
        assert_eq!(fs::read(&p.path).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_held_file_names_its_holder_also_by_another_path() {
    let p = place();
    let (file, _connection) = opened(&p.path, &KIND).await.unwrap();
    let link = p.folder.path().join("link.db");
    std::os::unix::fs::symlink(file.path(), &link).unwrap();
    for path in [&p.path, &link] {
        let e = opened(path, &KIND).await.unwrap_err();
        assert!(matches!(e, OpenError::Held { pid: Some(pid), .. } if pid == std::process::id()), "{e}");
        assert!(e.to_string().contains(&format!("(pid {})", std::process::id())), "{e}");
    }
}

/// Not a test of its own: what the next test runs as another process, to be killed.
#[tokio::test]
#[ignore = "run by another test"]
async fn holds_a_file_until_it_is_killed() {
    let Ok(path) = std::env::var("HELD_FILE") else { return };
    let _held = opened(Path::new(&path), &KIND).await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_holder_holds_nothing() {
    let p = place();
    let holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "holds_a_file_until_it_is_killed"])
        .env("HELD_FILE", &p.path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut holder = KilledWhenDropped(holder);
    let lock = p.folder.path().join("file.db.lock");
    wait_for(|| fs::read_to_string(&lock).is_ok_and(|pid| pid.trim() == holder.0.id().to_string())).await;
    let e = opened(&p.path, &KIND).await.unwrap_err();
    assert!(matches!(e, OpenError::Held { pid: Some(pid), .. } if pid == holder.0.id()), "{e}");
    holder.0.kill().unwrap();
    holder.0.wait().unwrap();
    opened(&p.path, &KIND).await.unwrap();
}

struct KilledWhenDropped(Child);

impl Drop for KilledWhenDropped {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

async fn wait_for(mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited for 20 s");
}

#[tokio::test]
async fn a_locked_file_is_waited_for() {
    let p = place();
    made(&p.path, &KIND).await;
    let mut theirs = another_program(&p.path).await;
    for locked in ["begin exclusive", "pragma locking_mode = exclusive; begin exclusive"] {
        raw_sql(locked).execute(&mut theirs).await.unwrap();
        let path = p.path.clone();
        let waiting = tokio::spawn(async move { opened(&path, &KIND).await.map(|_| ()) });
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(!waiting.is_finished(), "opened although the file is locked");
        raw_sql("rollback; pragma locking_mode = normal; select * from t").execute(&mut theirs).await.unwrap();
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn waiting_can_be_stopped() {
    let p = place();
    made(&p.path, &KIND).await;
    let mut theirs = another_program(&p.path).await;
    raw_sql("begin exclusive").execute(&mut theirs).await.unwrap();
    let stop = CancellationToken::new();
    let (path, stopped) = (p.path.clone(), stop.clone());
    let waiting = tokio::spawn(async move { open(&path, &KIND, Settings::default(), &stopped).await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    assert!(matches!(ended, Err(OpenError::Stopped { .. })));
}

#[tokio::test]
async fn what_a_file_is_waited_for_is_told() {
    let p = place();
    made(&p.path, &KIND).await;
    let mut theirs = another_program(&p.path).await;
    raw_sql("begin exclusive").execute(&mut theirs).await.unwrap();
    let stop = CancellationToken::new();
    let heard = stop.clone();
    let waits = Waits::tell(move |why| {
        assert_eq!(why, "another program has locked it");
        heard.cancel();
    });
    let settings = Settings { waits: Some(waits), ..Settings::default() };
    let opening = open(&p.path, &KIND, settings, &stop);
    let ended = tokio::time::timeout(Duration::from_secs(20), opening).await.unwrap();
    assert!(matches!(ended, Err(OpenError::Stopped { .. })));
}

#[tokio::test]
async fn a_missing_folder_is_said_and_not_waited_for() {
    let p = place();
    let e = opened(&p.folder.path().join("none/file.db"), &KIND).await.unwrap_err();
    assert!(matches!(e, OpenError::Unusable { .. }) && e.to_string().contains("No such file"), "{e}");
}

#[tokio::test]
async fn a_full_disk_is_met_again_and_again_and_then_passes() {
    let p = place();
    let settings = Settings { max_pages: Some(8), ..Settings::default() };
    let (file, mut connection) = open(&p.path, &KIND, settings, &CancellationToken::new()).await.unwrap();
    for _ in 0..3 {
        connection.begin().await.unwrap();
        let work = raw_sql("insert into t (b) values (hex(randomblob(9000)))").execute(connection.sql()).await;
        let e = connection.end(work).await.unwrap_err();
        let e = Error::new("write to", file.path(), e);
        assert_eq!((e.cause(), e.class()), (Cause::Full, Class::Transient), "{e}");
    }
    raw_sql("pragma max_page_count = 1000000").execute(connection.sql()).await.unwrap();
    connection.begin().await.unwrap();
    let work = raw_sql("insert into t (b) values (hex(randomblob(9000)))").execute(connection.sql()).await;
    connection.end(work).await.unwrap();
    assert_eq!(number(connection.sql(), "select count(*) from t").await, 1);
}

#[tokio::test]
async fn a_transaction_given_up_in_the_middle_leaves_nothing() {
    let p = place();
    let (_file, mut connection) = opened(&p.path, &KIND).await.unwrap();
    connection.begin().await.unwrap();
    raw_sql("insert into t (b) values ('half')").execute(connection.sql()).await.unwrap();
    connection.begin().await.unwrap(); // the one before was dropped, not ended
    let work = raw_sql("insert into t (b) values ('whole')").execute(connection.sql()).await;
    connection.end(work).await.unwrap();
    assert_eq!(number(connection.sql(), "select count(*) from t where b = 'whole'").await, 1);
    assert_eq!(number(connection.sql(), "select count(*) from t").await, 1);
}
