//! One connection, with transactions that survive whatever happens to them.

use sqlx::{Connection as _, SqliteConnection};

/// sqlx counts transactions itself, and miscounts when SQLite has rolled one back on its own (a full disk, an I/O error):
/// it then refuses every later one. So they are begun and ended here, in plain SQL.
#[derive(Debug)]
pub struct Connection {
    sql: SqliteConnection,
    /// A transaction was begun, and perhaps not ended: its future may have been dropped.
    begun: bool,
}

impl Connection {
    pub(crate) fn new(sql: SqliteConnection) -> Self {
        Self { sql, begun: false }
    }

    pub fn sql(&mut self) -> &mut SqliteConnection {
        &mut self.sql
    }

    /// Undoes a transaction that was given up in the middle. To be called before a statement that is to be one of its own.
    pub async fn settle(&mut self) -> sqlx::Result<()> {
        if self.begun { self.rollback().await } else { Ok(()) }
    }

    /// Begins a transaction that may write, after undoing one that was given up in the middle.
    pub async fn begin(&mut self) -> sqlx::Result<()> {
        self.settle().await?;
        self.begun = true;
        sqlx::query("begin immediate").execute(&mut self.sql).await.map(|_| ())
    }

    pub async fn commit(&mut self) -> sqlx::Result<()> {
        sqlx::query("commit").execute(&mut self.sql).await?;
        self.begun = false;
        Ok(())
    }

    /// Undoes what was begun; fine as well when SQLite has done so already.
    pub async fn rollback(&mut self) -> sqlx::Result<()> {
        match sqlx::query("rollback").execute(&mut self.sql).await {
            Ok(_) | Err(sqlx::Error::Database(_)) => {
                self.begun = false;
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// Ends the transaction as its work ended: commits what is fine, undoes the rest.
    pub async fn end<T>(&mut self, work: sqlx::Result<T>) -> sqlx::Result<T> {
        let ended = match work {
            Ok(value) => self.commit().await.map(|()| value),
            Err(e) => Err(e),
        };
        if ended.is_err() {
            // The first error is the one to tell; a failed rollback is met again by the next `begin`.
            self.rollback().await.ok();
        }
        ended
    }

    /// Waits until the file is closed.
    pub async fn close(self) {
        // What could fail was committed or is lost anyway; a later open repairs.
        self.sql.close().await.ok();
    }
}
