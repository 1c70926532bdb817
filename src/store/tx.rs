//! Transactions, all of them: begun, retried and ended here.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::DatabaseTransaction;

use super::dialect::Dialect;
use super::group::Group;
use super::watch::Touched;
use super::{Store, StoreError};

/// How often a transaction is tried before a conflict is reported.
const MAX_TX_ATTEMPTS: u32 = 5;
/// The longest wait before the second try; doubled for each further one, and a random part of it is taken.
const TX_BACKOFF_MS: u64 = 20;

/// A transaction under way. Cheap to clone; it ends when the body that it was given to ends.
#[derive(Clone)]
pub struct Tx {
    transaction: Arc<DatabaseTransaction>,
    pub(super) dialect: Dialect,
    pub(super) touched: Arc<Touched>,
}

impl Tx {
    pub(super) fn connection(&self) -> &DatabaseTransaction {
        &self.transaction
    }
}

impl Store {
    /// Runs `body` in a transaction: committed if it succeeds, rolled back if it fails, and tried
    /// again if the database says that it only collided with another one. `body` must therefore
    /// do nothing but write to the database.
    ///
    /// # Errors
    /// What `body` says, or that the database cannot begin or commit.
    pub async fn tx<T, E, F, Fut>(&self, body: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError> + Error + 'static,
    {
        let mut attempt = 1;
        loop {
            let begun = Instant::now();
            let ended = self.try_tx(&body).await;
            self.counts.transaction(begun.elapsed());
            match ended {
                Err(error) if attempt < MAX_TX_ATTEMPTS && is_transient(&error) => {
                    let longest = TX_BACKOFF_MS << attempt;
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=longest))).await;
                    attempt += 1;
                    self.counts.retried();
                }
                Err(error) => {
                    if stored(&error).is_some_and(StoreError::is_unavailable) {
                        self.counts.unavailable();
                    }
                    return Err(error);
                }
                done => return done,
            }
        }
    }

    async fn try_tx<T, E, F, Fut>(&self, body: &F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        match &self.group {
            Some(group) => self.in_group(group, body).await,
            None => self.alone(body).await,
        }
    }

    /// In a transaction of the database's own.
    async fn alone<T, E, F, Fut>(&self, body: &F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        // Dropped last: what was changed is told once it is committed.
        let touched = Arc::new(Touched::new(&self.watched));
        let begun = Instant::now();
        let transaction = Arc::new(self.dialect.begin(&self.writer).await?);
        self.counts.waited(begun.elapsed());
        // An error drops the transaction, which rolls it back.
        let done = body(self.lent(&transaction, &touched)).await?;
        let transaction = Arc::into_inner(transaction).ok_or(StoreError::TransactionHeld)?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(done)
    }

    /// Together with whoever else waits for the writer.
    async fn in_group<T, E, F, Fut>(&self, group: &Group, body: &F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        let touched = Arc::new(Touched::new(&self.watched));
        let begun = Instant::now();
        let turn = group.turn().await?;
        self.counts.waited(begun.elapsed());
        let ended = body(self.lent(turn.transaction(), &touched)).await;
        // Also one that failed waits: it may have failed because of what another one has written.
        turn.end(ended.is_ok()).await?;
        ended
    }

    fn lent(&self, transaction: &Arc<DatabaseTransaction>, touched: &Arc<Touched>) -> Tx {
        Tx {
            transaction: Arc::clone(transaction),
            dialect: self.dialect,
            touched: Arc::clone(touched),
        }
    }
}

fn is_transient(error: &(dyn Error + 'static)) -> bool {
    stored(error).is_some_and(StoreError::is_transient)
}

/// What the database has to do with an error.
fn stored<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a StoreError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(store) = error.downcast_ref::<StoreError>() {
            return Some(store);
        }
        cause = error.source();
    }
    None
}
