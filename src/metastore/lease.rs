//! Who may run a pipeline: one row a pipeline, whose epoch grows with every taking-over. It renews nothing by itself.

use sqlx::Row;

use super::{Metastore, Write, failed};
use crate::error::Result;

/// A held lease. A swap that names it fails once another holder took it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub pipeline: String,
    pub epoch: i64,
    pub holder: String,
}

impl Metastore {
    /// Takes a lease that is free, expired or already ours; `None` while another holds it. The epoch is always new, so
    /// an older self is shut out too.
    pub async fn take_lease(&self, pipeline: &str, holder: &str, ttl_ms: i64) -> Result<Option<Lease>> {
        let mut write = self.begin().await?;
        let now = now_ms();
        let row = sqlx::query("SELECT epoch, holder, expires_at FROM ingest_lease WHERE pipeline = ?")
            .bind(pipeline)
            .fetch_optional(&mut *write)
            .await
            .map_err(failed)?;
        let epoch = match row {
            None => 1,
            Some(row) => {
                let (epoch, held_by, expires_at): (i64, String, i64) =
                    (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?, row.try_get(2).map_err(failed)?);
                if held_by != holder && expires_at > now {
                    return Ok(None);
                }
                epoch + 1
            }
        };
        sqlx::query(
            "INSERT INTO ingest_lease (pipeline, epoch, holder, expires_at) VALUES (?, ?, ?, ?)
             ON CONFLICT (pipeline) DO UPDATE SET epoch = excluded.epoch, holder = excluded.holder, expires_at = excluded.expires_at",
        )
        .bind(pipeline)
        .bind(epoch)
        .bind(holder)
        .bind(now.saturating_add(ttl_ms))
        .execute(&mut *write)
        .await
        .map_err(failed)?;
        write.commit().await.map_err(failed)?;
        Ok(Some(Lease { pipeline: pipeline.into(), epoch, holder: holder.into() }))
    }

    /// Who holds a lease, and whether they still renew it; `None` where nobody ever held it.
    pub async fn lease(&self, pipeline: &str) -> Result<Option<(Lease, bool)>> {
        let row = sqlx::query("SELECT epoch, holder, expires_at FROM ingest_lease WHERE pipeline = ?")
            .bind(pipeline)
            .fetch_optional(&self.reader)
            .await
            .map_err(failed)?;
        row.map(|row| {
            let lease = Lease {
                pipeline: pipeline.into(),
                epoch: row.try_get(0).map_err(failed)?,
                holder: row.try_get(1).map_err(failed)?,
            };
            let expires_at: i64 = row.try_get(2).map_err(failed)?;
            Ok((lease, expires_at > now_ms()))
        })
        .transpose()
    }

    /// False once it was taken over: its holder must stop.
    pub async fn renew_lease(&self, lease: &Lease, ttl_ms: i64) -> Result<bool> {
        self.extend(lease, now_ms().saturating_add(ttl_ms)).await
    }

    /// Lets another take it at once; the epoch stays, so that it only ever grows.
    pub async fn release_lease(&self, lease: &Lease) -> Result<()> {
        self.extend(lease, 0).await.map(|_| ())
    }

    async fn extend(&self, lease: &Lease, until: i64) -> Result<bool> {
        let mut write = self.begin().await?;
        let done =
            sqlx::query("UPDATE ingest_lease SET expires_at = ? WHERE pipeline = ? AND epoch = ? AND holder = ?")
                .bind(until)
                .bind(&lease.pipeline)
                .bind(lease.epoch)
                .bind(&lease.holder)
                .execute(&mut *write)
                .await
                .map_err(failed)?;
        write.commit().await.map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}

/// By epoch alone: an expired lease that nobody took over is still good, for nobody else has written.
pub(super) async fn holds(write: &mut Write, lease: &Lease) -> Result<bool> {
    let row = sqlx::query("SELECT 1 FROM ingest_lease WHERE pipeline = ? AND epoch = ? AND holder = ?")
        .bind(&lease.pipeline)
        .bind(lease.epoch)
        .bind(&lease.holder)
        .fetch_optional(&mut **write)
        .await
        .map_err(failed)?;
    Ok(row.is_some())
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
