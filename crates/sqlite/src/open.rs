//! From a path to a connection: lock, look, wait, migrate. Nothing is written before it is known whose file it is.

use crate::{
    Cause, Connection, OpenError,
    error::one_line,
    lock::{Lock, NoLock},
};
use model::trouble::{Lasting, Say};
use sqlx::{ConnectOptions, Row, SqliteConnection, raw_sql, sqlite::SqliteConnectOptions};
use std::{
    ffi::OsStr,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How long a statement waits for a lock. Short, so that a stop is never far away; whoever meets a lock tries again.
const BUSY: Duration = Duration::from_secs(1);
/// Between two attempts to open a file that is locked or full.
const RETRY: Duration = Duration::from_millis(250);
/// A file up to this size is looked through for damage when it is opened: that takes a tenth of a second or two.
const CHECKED_SIZE: i64 = 64 << 20;

/// What is kept in a file.
#[derive(Debug)]
pub struct Kind {
    /// For people: `queue`, `store`.
    pub name: &'static str,
    /// SQLite's field for whose file this is: tells ours from all others, and one of ours from the other.
    pub application_id: i64,
    /// Bytes; a power of two. Only a new file heeds it.
    pub page_size: u32,
    /// After how many pages the write-ahead log is copied into the file. Pages that change often cost less the later.
    pub checkpoint_pages: u32,
    /// Whether free pages can be given back to the disk, step by step. Only a new file heeds it.
    pub auto_vacuum: bool,
    /// Statements that lead from version n to n + 1. The version is how many were run.
    pub migrations: &'static [&'static str],
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether an older file may be changed (`--no-migrate`).
    pub migrate: bool,
    /// Beside a Lapwing that may be at work in it: the file must be there, and is not held, so that two may use it. What is
    /// changed in it must be fit for that.
    pub beside: bool,
    /// The file may not grow beyond so many pages, as if the disk were full.
    pub max_pages: Option<u32>,
    /// Who wants to know what the file is waited for, as well as the log.
    pub waits: Option<Waits>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { migrate: true, beside: false, max_pages: None, waits: None }
    }
}

/// Is told, with each attempt, what a file that can't be opened yet is waited for.
#[derive(Clone)]
pub struct Waits(Arc<dyn Fn(&str) + Send + Sync>);

impl Waits {
    pub fn tell(to: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(to))
    }

    /// `why` is what has to pass.
    pub fn say(&self, why: &str) {
        (self.0)(why);
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waits")
    }
}

/// A file that is ours while this lives. Cheap to clone; connections must be closed before the last clone goes.
#[derive(Clone, Debug)]
pub struct OpenFile {
    path: Arc<Path>,
    kind: &'static Kind,
    settings: Settings,
    /// `None`: another one may have it.
    _lock: Option<Arc<Lock>>,
}

/// Opens the file, makes it when it is missing, and brings it to the current version.
///
/// One that another program has locked, or whose disk is full, is waited for until `stop`.
pub async fn open(
    path: &Path,
    kind: &'static Kind,
    settings: Settings,
    stop: &CancellationToken,
) -> Result<(OpenFile, Connection), OpenError> {
    let path: Arc<Path> = settled(path).map_err(|e| unusable(path, &e))?.into();
    if settings.beside && !path.exists() {
        return Err(unusable(&path, &io::ErrorKind::NotFound.into()));
    }
    let mut trouble = Lasting::default();
    let mut file: Option<OpenFile> = None;
    loop {
        let attempt = async {
            let file = match &file {
                Some(file) => file.clone(),
                None => OpenFile {
                    _lock: if settings.beside { None } else { Some(Arc::new(take_lock(&path)?)) },
                    path: path.clone(),
                    kind,
                    settings: settings.clone(),
                },
            };
            let opened = file.first_connection().await;
            Ok::<_, Attempt>((file, opened))
        };
        let failed = tokio::select! {
            attempt = attempt => match attempt {
                Ok((opened, Ok(connection))) => {
                    if let Some(Say::Over(lasted)) = trouble.gone(Instant::now()) {
                        tracing::info!(file = %path.display(), ?lasted, "the file can be opened");
                    }
                    return Ok((opened, connection));
                }
                Ok((locked, Err(e))) => { file = Some(locked); e }
                Err(e) => e,
            },
            () = stop.cancelled() => return Err(OpenError::Stopped { path: path.to_path_buf() }),
        };
        let why = failed.waits_for(&path)?;
        if let Some(waits) = &settings.waits {
            waits.say(&why);
        }
        match trouble.met(Instant::now()) {
            Some(Say::Lasts(lasted)) => {
                tracing::warn!(file = %path.display(), why, ?lasted, "still waiting for the file");
            }
            Some(_) => tracing::warn!(file = %path.display(), why, "waiting for the file"),
            None => {}
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => return Err(OpenError::Stopped { path: path.to_path_buf() }),
        }
    }
}

impl OpenFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One more connection to the file.
    pub async fn connect(&self) -> sqlx::Result<Connection> {
        let mut sql = self.options().connect().await?;
        raw_sql(self.pragmas()).execute(&mut sql).await?;
        Ok(Connection::new(sql))
    }

    async fn first_connection(&self) -> Result<Connection, Attempt> {
        let mut sql = self.options().create_if_missing(true).connect().await?;
        let found = Found::look(&mut sql).await?;
        found.judge(self)?;
        if found.is_new() {
            let vacuum = if self.kind.auto_vacuum { "incremental" } else { "none" };
            let layout = format!("pragma page_size = {}; pragma auto_vacuum = {vacuum}", self.kind.page_size);
            raw_sql(sqlx::AssertSqlSafe(layout)).execute(&mut sql).await?;
        }
        raw_sql("pragma journal_mode = wal").execute(&mut sql).await?;
        raw_sql(self.pragmas()).execute(&mut sql).await?;
        if !found.is_new() {
            self.check(&mut sql).await?;
        }
        let mut connection = Connection::new(sql);
        self.migrate(&mut connection).await?;
        Ok(connection)
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(BUSY)
            .foreign_keys(false)
            .disable_statement_logging()
    }

    /// `synchronous = full`: what was committed survives a power cut. (docs/decisions/0002)
    fn pragmas(&self) -> sqlx::AssertSqlSafe<String> {
        let checkpoint = self.kind.checkpoint_pages;
        let mut pragmas = format!(
            "pragma synchronous = full; pragma wal_autocheckpoint = {checkpoint}; pragma journal_size_limit = 16777216;"
        );
        if let Some(pages) = self.settings.max_pages {
            pragmas.push_str(&format!("pragma max_page_count = {pages};"));
        }
        sqlx::AssertSqlSafe(pragmas)
    }

    async fn check(&self, sql: &mut SqliteConnection) -> Result<(), Attempt> {
        let size: i64 = sqlx::query("select page_count * page_size from pragma_page_count, pragma_page_size")
            .fetch_one(&mut *sql)
            .await?
            .try_get(0)?;
        if size > CHECKED_SIZE {
            return Ok(());
        }
        let said: String = sqlx::query("pragma quick_check(1)").fetch_one(&mut *sql).await?.try_get(0)?;
        let damaged = || OpenError::Damaged { path: self.path.to_path_buf(), detail: said.replace('\n', " ") };
        if said == "ok" { Ok(()) } else { Err(damaged().into()) }
    }

    /// All steps in one transaction. Also asks whether the file may be written at all, and waits for who holds it.
    async fn migrate(&self, connection: &mut Connection) -> Result<(), Attempt> {
        connection.begin().await?;
        let work = self.run_migrations(connection.sql()).await;
        Ok(connection.end(work).await?)
    }

    async fn run_migrations(&self, sql: &mut SqliteConnection) -> sqlx::Result<()> {
        let version = Found::look(sql).await?.version;
        let steps = self.kind.migrations;
        for step in steps.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
            raw_sql(*step).execute(&mut *sql).await?;
        }
        if version < steps.len() as i64 {
            let mark =
                format!("pragma user_version = {}; pragma application_id = {}", steps.len(), self.kind.application_id);
            raw_sql(sqlx::AssertSqlSafe(mark)).execute(&mut *sql).await?;
        }
        Ok(())
    }
}

/// What stands in the file, as far as it tells whose it is.
struct Found {
    application_id: i64,
    version: i64,
    tables: i64,
}

impl Found {
    async fn look(sql: &mut SqliteConnection) -> sqlx::Result<Self> {
        let row = sqlx::query(
            "select application_id, user_version, (select count(*) from sqlite_schema)
             from pragma_application_id, pragma_user_version",
        )
        .fetch_one(sql)
        .await?;
        Ok(Self { application_id: row.try_get(0)?, version: row.try_get(1)?, tables: row.try_get(2)? })
    }

    fn is_new(&self) -> bool {
        self.application_id == 0 && self.version == 0 && self.tables == 0
    }

    fn judge(&self, file: &OpenFile) -> Result<(), OpenError> {
        let path = || file.path.to_path_buf();
        let (found, known) = (self.version, file.kind.migrations.len() as i64);
        if self.application_id != file.kind.application_id && !self.is_new() {
            return Err(OpenError::NotOurs { path: path(), kind: file.kind.name });
        }
        if found > known {
            return Err(OpenError::Newer { path: path(), found, known });
        }
        if found < known && !file.settings.migrate {
            return Err(OpenError::NeedsMigration { path: path(), found, known });
        }
        Ok(())
    }
}

/// How one attempt to open the file failed.
enum Attempt {
    /// Nothing that passes.
    Final(OpenError),
    Sql(sqlx::Error),
}

impl From<OpenError> for Attempt {
    fn from(e: OpenError) -> Self {
        Self::Final(e)
    }
}

impl From<sqlx::Error> for Attempt {
    fn from(e: sqlx::Error) -> Self {
        Self::Sql(e)
    }
}

impl Attempt {
    /// What has to pass before the next attempt; the error when it will not pass.
    fn waits_for(self, path: &Path) -> Result<String, OpenError> {
        let error = match self {
            Self::Final(e) => return Err(e),
            Self::Sql(e) => e,
        };
        match Cause::of(&error) {
            Cause::Locked => Ok("another program has locked it".to_owned()),
            Cause::Full | Cause::Io => Ok(one_line(&error)),
            Cause::Denied | Cause::Damaged | Cause::Record | Cause::Other => Err(OpenError::of(path, &error)),
        }
    }
}

fn take_lock(path: &Path) -> Result<Lock, Attempt> {
    Lock::take(path).map_err(|e| match e {
        NoLock::Held(pid) => OpenError::Held { path: path.to_owned(), pid }.into(),
        NoLock::Io(e) if e.kind() == io::ErrorKind::StorageFull => Attempt::Sql(sqlx::Error::Io(e)),
        NoLock::Io(e) => unusable(path, &e).into(),
    })
}

/// The path with its links resolved, so that one file has one lock.
fn settled(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(folder.canonicalize()?.join(path.file_name().unwrap_or(OsStr::new(""))))
        }
        other => other,
    }
}

fn unusable(path: &Path, why: &io::Error) -> OpenError {
    OpenError::Unusable { path: path.to_owned(), why: why.to_string() }
}
