//! Letters on their way to the dead topic, on PostgreSQL.

use super::{PostgresStore, columns::Time};
use crate::{StoreError, letters::COPYING};
use model::UnixMs;
use tokio_postgres::types::Type;

impl PostgresStore {
    pub(crate) async fn take_to_copy(&mut self, topic: &str, now: UnixMs, most: u32) -> Result<Vec<i64>, StoreError> {
        self.with_session("take letters to copy from", async |session, _| {
            let take = "update dead_copies set taken_until = $3 where letter in (
                    select letter from dead_copies join dead_letters on dead_letters.id = letter
                    where topic = $1 and (taken_until is null or taken_until <= $2)
                    order by letter limit $4 for update of dead_copies skip locked)
                returning letter";
            let (until, now, most) = (Time(now + COPYING), Time(now), i64::from(most));
            let rows = session
                .client
                .query_typed(
                    take,
                    &[
                        (&topic, Type::TEXT),
                        (&now, Type::TIMESTAMPTZ),
                        (&until, Type::TIMESTAMPTZ),
                        (&most, Type::INT8),
                    ],
                )
                .await?;
            Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
        })
        .await
    }

    pub(crate) async fn copied(&mut self, ids: &[i64]) -> Result<(), StoreError> {
        self.with_session("note copies of letters in", async |session, _| {
            let delete = "delete from dead_copies where letter = any($1)";
            session.client.execute_typed(delete, &[(&ids, Type::INT8_ARRAY)]).await?;
            Ok(())
        })
        .await
    }
}
