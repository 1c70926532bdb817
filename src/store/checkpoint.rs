//! Moving what was written into its place. SQLite's one writer appends pages to a log, and would move them into
//! the file itself whenever the log has become long, while all who wait for it go on waiting. Here a
//! connection of the readers does so beside it.
//!
//! A page that was written many times in between is moved once: the longer the log, the less is written. It
//! begins anew only when all of it has been moved while nobody writes, so that under a load without pauses
//! the writer still has to do so itself, at a much larger length; there is little left to move then.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use tokio::sync::watch;

use super::dialect::Checkpoint;

/// Between two looks at how long the log is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Looks after each commit, but not all the time. Ends with whoever tells of the commits.
pub(super) async fn run(
    checkpoint: Checkpoint,
    reader: DatabaseConnection,
    mut commits: watch::Receiver<()>,
) {
    while commits.changed().await.is_ok() {
        tokio::time::sleep(LOOK_INTERVAL).await;
        commits.mark_unchanged();
        if let Err(error) = look(&checkpoint, &reader).await {
            tracing::debug!(%error, "the log could not be moved into the file; tried again later");
        }
    }
}

async fn look(checkpoint: &Checkpoint, reader: &DatabaseConnection) -> Result<(), DbErr> {
    let backend = reader.get_database_backend();
    let look = Statement::from_string(backend, checkpoint.look);
    let Some(row) = reader.query_one_raw(look).await? else {
        return Ok(());
    };
    let (written, moved): (i32, i32) = (row.try_get("", "log")?, row.try_get("", "checkpointed")?);
    if written - moved >= checkpoint.pages {
        reader.execute_unprepared(checkpoint.step).await?;
    }
    Ok(())
}
