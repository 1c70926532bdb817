//! Keeping a database in good shape: what is done by the way, and what is done when somebody has the time.

use sea_orm::ConnectionTrait;

use super::copy::CopyError;
use super::dialect::Dialect;
use super::{Store, StoreError, StoreSettings, Tx};

/// What has been done, in bytes where the database is a file.
#[derive(Clone, Copy, Debug)]
pub struct Maintained {
    pub before: Option<u64>,
    pub after: Option<u64>,
}

impl Tx {
    /// Has the database look at how rows are spread, where they have changed a lot since it last did. It looks at a few
    /// hundred rows of an index at most. Whether there was anything to do; PostgreSQL does so by itself.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn look_at_spread(&self) -> Result<bool, StoreError> {
        let Some(statements) = self.dialect.spread() else {
            return Ok(false);
        };
        for statement in statements {
            self.connection().execute_unprepared(statement).await?;
        }
        Ok(true)
    }
}

/// Gives back the room that erased rows left, and looks at how the others are spread. A file of SQLite is written anew,
/// which no server may use meanwhile; PostgreSQL's servers go on.
///
/// # Errors
/// If a server uses the file, or the database fails.
pub async fn maintain(settings: &StoreSettings) -> Result<Maintained, CopyError> {
    let dialect = Dialect::of(&settings.url)?;
    let bytes = || {
        let file = dialect.file(&settings.url)?;
        Some(std::fs::metadata(&*file).ok()?.len())
    };
    let before = bytes();
    // Brings the schema up to date too, under the lock of the file.
    let store = Store::open(settings).await?;
    for statement in dialect.upkeep() {
        let done = store.writer.execute_unprepared(statement).await;
        done.map_err(StoreError::from)?;
    }
    store.close().await?;
    Ok(Maintained {
        before,
        after: bytes(),
    })
}
