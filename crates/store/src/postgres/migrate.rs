//! Brings a database to this program's version, one step a transaction, one process at a time.

use super::error::{Fault, OpenError};
use std::sync::Arc;
use tokio_postgres::{Client, error::SqlState};

/// Statements that lead from version n to n + 1.
const STEPS: &[&str] = &[include_str!("schema.sql"), include_str!("copies.sql")];
/// The version that this program knows.
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// The advisory locks of a database, of which there is one for each thing that one process at a time may do.
pub(super) const MIGRATION_LOCK: i64 = 0x6c61_7077_696e_6700; // "lapwing"
pub(super) const DAYS_LOCK: i64 = MIGRATION_LOCK + 1;
pub(super) const UPKEEP_LOCK: i64 = MIGRATION_LOCK + 2;

/// Runs what is missing, if it may.
pub(super) async fn migrate(client: &Client, at: &Arc<str>, allowed: bool) -> Result<(), Fault> {
    loop {
        let (found, known) = (version(client, at).await?, VERSION);
        if found == known {
            return Ok(());
        }
        let at = Arc::clone(at);
        if found > known {
            return Err(OpenError::Newer { at, found, known }.into());
        }
        if !allowed {
            return Err(OpenError::NeedsMigration { at, found, known }.into());
        }
        step(client, &at).await.map_err(|e| match e.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                let why = format!(
                    "its tables must be made or changed (its version is {found}, this program's {known}), and this user may not: \
                     {e}; run `lapwing db migrate` as the owner of the tables, and grant what is new (docs/managed-services.md)"
                );
                OpenError::Rights { at, why }.into()
            }
            _ => e,
        })?;
    }
}

/// One step. Another process may have run it while the lock was waited for: then there is none to run.
async fn step(client: &Client, at: &Arc<str>) -> Result<(), Fault> {
    client.batch_execute(&format!("begin; select pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
    let ran = async {
        let version = version(client, at).await?;
        if let Some(step) = usize::try_from(version).ok().and_then(|n| STEPS.get(n)) {
            client.batch_execute(step).await?;
            client.batch_execute(&format!("update schema_version set version = {}", version + 1)).await?;
        }
        client.batch_execute("commit").await?;
        Ok(())
    };
    let ran = ran.await;
    if ran.is_err() {
        // The first error is the one to tell.
        client.batch_execute("rollback").await.ok();
    }
    ran
}

/// The version of the database; 0 of one without Lapwing's tables.
async fn version(client: &Client, at: &Arc<str>) -> Result<i32, Fault> {
    // Not `to_regclass`: it may remember within a transaction that there was none, while another process was making it.
    let exists = "select 1 from pg_class where relname = 'schema_version' and pg_table_is_visible(oid)";
    if client.query_typed(exists, &[]).await?.is_empty() {
        return Ok(0);
    }
    let rows = client.query_typed("select version from schema_version", &[]).await?;
    rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(|| {
        let why = "its table schema_version is not Lapwing's; use a database of its own".to_owned();
        OpenError::Unusable { at: Arc::clone(at), why }.into()
    })
}
