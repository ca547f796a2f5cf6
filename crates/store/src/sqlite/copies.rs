//! Letters on their way to the dead topic, on SQLite.

use super::SqliteStore;
use crate::{StoreError, letters::COPYING};
use ::sqlite::Error;
use model::UnixMs;
use sqlx::Row as _;

impl SqliteStore {
    pub(crate) async fn take_to_copy(&mut self, topic: &str, now: UnixMs, most: u32) -> Result<Vec<i64>, StoreError> {
        let take = sqlx::query(
            "update dead_copies set taken_until = ?3 where letter in (
                 select letter from dead_copies join dead_letters on dead_letters.id = letter
                 where topic = ?1 and (taken_until is null or taken_until <= ?2) order by letter limit ?4)
             returning letter",
        );
        let take = take.bind(topic).bind(now.0).bind((now + COPYING).0).bind(most);
        let taken = async {
            self.connection.settle().await?;
            let rows = take.fetch_all(self.connection.sql()).await?;
            rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()
        };
        taken.await.map_err(|e| Error::new("take letters to copy from", self.file.path(), e).into())
    }

    pub(crate) async fn copied(&mut self, ids: &[i64]) -> Result<(), StoreError> {
        let delete = sqlx::query("delete from dead_copies where letter in (select value from json_each(?))");
        let deleted = async {
            self.connection.settle().await?;
            delete.bind(format!("{ids:?}")).execute(self.connection.sql()).await
        };
        let deleted = deleted.await.map(drop);
        deleted.map_err(|e| Error::new("note copies of letters in", self.file.path(), e).into())
    }
}
