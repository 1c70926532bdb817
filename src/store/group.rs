//! Group commit: where a database has one writer, transactions that wait for their turn run one after
//! the other inside one transaction of the database, and one sync to the disk makes all of them durable.
//!
//! Each has a savepoint of its own. One that fails is rolled back to it and takes nothing of the others
//! along; if the commit fails, all have failed. Nobody is told anything before the commit has ended:
//! what one has seen of another's work is true only then.
//!
//! One task has the transaction and lends it to one member after the other, so that a caller that is
//! dropped in the middle leaves neither an open transaction nor a lost turn behind. The task ends with
//! its [`Group`].

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnAcquireErr, DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::StoreError;
use super::dialect::Dialect;

/// Transactions that are committed together at most, and how long the first of them waits for more.
const MAX_MEMBERS: usize = 64;
/// The tests' machine may be busy, and is not to close it in the middle.
const OPEN_FOR: Duration = Duration::from_millis(if cfg!(test) { 5_000 } else { 10 });

/// The queue for a database's only writer.
pub(super) struct Group {
    queue: mpsc::UnboundedSender<Waiting>,
    commits: watch::Receiver<()>,
    patience: Duration,
}

/// Somebody who waits for their turn, or who is told why there is none.
type Waiting = oneshot::Sender<Result<Turn, StoreError>>;

/// How the commit ended, for everybody who was part of it.
type Outcome = Result<(), DbErr>;

/// The transaction, lent. It is given back by [`Turn::end`], or dropped, and then nothing of it stays.
pub(super) struct Turn {
    transaction: Arc<DatabaseTransaction>,
    ending: Ending,
}

struct Ending {
    stays: oneshot::Sender<bool>,
    committed: oneshot::Receiver<Outcome>,
}

/// One who has had their turn and waits for the commit.
type Member = oneshot::Sender<Outcome>;

impl Group {
    /// `patience`: how long to wait for a turn.
    pub fn new(dialect: Dialect, writer: DatabaseConnection, patience: Duration) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let (committed, commits) = watch::channel(());
        tokio::spawn(run(dialect, writer, waiting, committed));
        Self {
            queue,
            commits,
            patience,
        }
    }

    /// Changes with each commit, and ends with this.
    pub fn commits(&self) -> watch::Receiver<()> {
        self.commits.clone()
    }

    /// Waits for the writer.
    pub async fn turn(&self) -> Result<Turn, StoreError> {
        let (turn, mine) = oneshot::channel();
        let closed =
            || StoreError::from(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed));
        self.queue.send(turn).map_err(|_| closed())?;
        match timeout(self.patience, mine).await {
            Ok(turn) => turn.map_err(|_| closed())?,
            Err(_) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout).into()),
        }
    }
}

impl Turn {
    pub fn transaction(&self) -> &Arc<DatabaseTransaction> {
        &self.transaction
    }

    /// Says whether what was written is to stay, and waits for the end of the commit. Whoever else had
    /// the transaction must have let go of it.
    pub async fn end(self, stays: bool) -> Result<(), StoreError> {
        let Self {
            transaction,
            ending,
        } = self;
        drop(transaction);
        let _ = ending.stays.send(stays);
        let outcome = ending.committed.await;
        Ok(outcome.map_err(|_| StoreError::TransactionHeld)??)
    }
}

async fn run(
    dialect: Dialect,
    writer: DatabaseConnection,
    mut waiting: mpsc::UnboundedReceiver<Waiting>,
    committed: watch::Sender<()>,
) {
    while let Some(first) = waiting.recv().await {
        if first.is_closed() {
            continue;
        }
        match dialect.begin(&writer).await {
            Ok(whole) => {
                together(whole, first, &mut waiting).await;
                committed.send_replace(());
            }
            Err(error) => drop(first.send(Err(error))),
        }
    }
}

/// Gives a turn to all who wait, commits what they have written, and tells them.
async fn together(
    whole: DatabaseTransaction,
    first: Waiting,
    waiting: &mut mpsc::UnboundedReceiver<Waiting>,
) {
    let begun = Instant::now();
    let mut members: Vec<Member> = Vec::new();
    let mut next = Some(first);
    let mut broken = None;
    while let Some(waiting_one) = next.take() {
        if let Err(error) = lend(&whole, waiting_one, &mut members).await {
            broken = Some(error);
            break;
        }
        if members.len() < MAX_MEMBERS && begun.elapsed() < OPEN_FOR {
            next = waiting.try_recv().ok();
        }
    }
    let outcome = match broken {
        None => whole.commit().await,
        Some(error) => {
            drop(whole);
            Err(error)
        }
    };
    for member in members {
        let _ = member.send(outcome.clone());
    }
}

/// Lends the transaction to one who waits, behind a savepoint. An error is the whole transaction's.
async fn lend(
    whole: &DatabaseTransaction,
    to: Waiting,
    members: &mut Vec<Member>,
) -> Result<(), DbErr> {
    if to.is_closed() {
        return Ok(());
    }
    let own = Arc::new(whole.begin().await?);
    let (stays, ended) = oneshot::channel();
    let (member, committed) = oneshot::channel();
    let turn = Turn {
        transaction: Arc::clone(&own),
        ending: Ending { stays, committed },
    };
    members.push(member);
    // Whoever has gone meanwhile has dropped the turn, and with it the sender.
    let _ = to.send(Ok(turn));
    let stays = ended.await.unwrap_or(false);
    let own = Arc::into_inner(own).ok_or_else(|| {
        DbErr::Custom("a transaction was still held when it had to end".to_owned())
    })?;
    if stays {
        own.commit().await
    } else {
        own.rollback().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use sea_orm::ConnectionTrait;
    use tokio::sync::Notify;

    use super::*;
    use crate::store::{Store, StoreSettings, Tx};

    type Outcome = Result<(), StoreError>;

    struct House {
        store: Arc<Store>,
        _dir: tempfile::TempDir,
    }

    impl House {
        async fn build() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let settings = StoreSettings {
                url: format!("sqlite:{}/group.db", dir.path().display()),
                max_connections: 2,
                acquire_timeout: Duration::from_secs(5),
            };
            let store = Arc::new(Store::open(&settings).await.unwrap());
            let made = store.tx(|tx| async move { run(&tx, "CREATE TABLE t (x TEXT)").await });
            made.await.unwrap();
            Self { store, _dir: dir }
        }

        /// What everybody else sees.
        async fn rows(&self) -> Vec<String> {
            seen(&self.store).await
        }

        /// Begins a transaction that goes on when the gate opens, and in which others can wait for theirs.
        async fn hold(&self, gate: &Arc<Notify>) -> tokio::task::JoinHandle<Outcome> {
            let (store, gate) = (Arc::clone(&self.store), Arc::clone(gate));
            let (begun, has_begun) = oneshot::channel();
            let begun = Arc::new(Mutex::new(Some(begun)));
            let task = tokio::spawn(async move {
                store
                    .tx(|tx| {
                        let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
                        async move {
                            insert(&tx, "held").await?;
                            if let Some(begun) = begun.lock().unwrap().take() {
                                begun.send(()).unwrap();
                            }
                            gate.notified().await;
                            Ok(())
                        }
                    })
                    .await
            });
            has_begun.await.unwrap();
            task
        }

        /// Queues a transaction that writes this and then runs that.
        async fn queue(
            &self,
            row: &'static str,
            then: &'static str,
        ) -> tokio::task::JoinHandle<Outcome> {
            let store = Arc::clone(&self.store);
            let task = tokio::spawn(async move {
                store
                    .tx(|tx| async move {
                        insert(&tx, row).await?;
                        run(&tx, then).await
                    })
                    .await
            });
            tokio::task::yield_now().await;
            task
        }
    }

    async fn run(tx: &Tx, sql: &str) -> Outcome {
        tx.connection().execute_unprepared(sql).await?;
        Ok(())
    }

    async fn insert(tx: &Tx, row: &str) -> Outcome {
        run(tx, &format!("INSERT INTO t VALUES ('{row}')")).await
    }

    async fn seen(store: &Store) -> Vec<String> {
        let sql = "SELECT x FROM t ORDER BY rowid";
        let backend = store.reader().get_database_backend();
        let query = sea_orm::Statement::from_string(backend, sql);
        let rows = store.reader().query_all_raw(query);
        let rows = rows.await.unwrap();
        rows.iter()
            .map(|row| row.try_get("", "x").unwrap())
            .collect()
    }

    const NOTHING: &str = "SELECT 1";

    #[tokio::test]
    async fn what_waits_is_committed_together_and_one_failure_takes_nothing_along() {
        let house = House::build().await;
        let gate = Arc::new(Notify::new());
        let held = house.hold(&gate).await;
        let one = house.queue("one", NOTHING).await;
        let bad = house.queue("bad", "INSERT INTO nowhere VALUES (1)").await;
        let two = house.queue("two", NOTHING).await;
        let store = Arc::clone(&house.store);
        let last = tokio::spawn(async move {
            let store = &store;
            let looked = store.tx(|_tx| async move { Ok::<_, StoreError>(seen(store).await) });
            looked.await.unwrap()
        });
        tokio::task::yield_now().await;
        gate.notify_one();
        assert!(held.await.unwrap().is_ok());
        assert!(one.await.unwrap().is_ok());
        assert!(bad.await.unwrap().is_err());
        assert!(two.await.unwrap().is_ok());
        assert_eq!(last.await.unwrap(), [""; 0], "not committed one by one");
        assert_eq!(house.rows().await, ["held", "one", "two"]);
    }

    #[tokio::test]
    async fn a_commit_that_fails_fails_for_all() {
        let house = House::build().await;
        let gate = Arc::new(Notify::new());
        let held = house.hold(&gate).await;
        // Found out at the commit, and not before.
        let late = "PRAGMA defer_foreign_keys = ON; \
            INSERT INTO message_version (message_id, number, chat_id, status, content, reasoning) \
            VALUES (x'00', 1, x'00', 'completed', '', '')";
        let bad = house.queue("bad", late).await;
        let good = house.queue("good", NOTHING).await;
        gate.notify_one();
        for task in [held, bad, good] {
            assert!(task.await.unwrap().is_err());
        }
        assert_eq!(house.rows().await, [""; 0]);
        assert!(house.queue("after", NOTHING).await.await.unwrap().is_ok());
        assert_eq!(house.rows().await, ["after"]);
    }

    #[tokio::test]
    async fn a_caller_that_is_dropped_in_the_middle_leaves_nothing_behind_and_holds_up_nobody() {
        let house = House::build().await;
        let held = house.hold(&Arc::new(Notify::new())).await;
        let gone = house.queue("gone", NOTHING).await;
        let one = house.queue("one", NOTHING).await;
        gone.abort();
        held.abort();
        assert!(one.await.unwrap().is_ok());
        assert_eq!(house.rows().await, ["one"]);
    }

    #[tokio::test]
    async fn a_disk_that_was_full_is_used_again() {
        let house = House::build().await;
        let gate = Arc::new(Notify::new());
        let held = house.hold(&gate).await;
        let full = "PRAGMA max_page_count = 1; INSERT INTO t VALUES (hex(randomblob(4000000)))";
        let full = house.queue("full", full).await;
        let one = house.queue("one", NOTHING).await;
        gate.notify_one();
        assert!(full.await.unwrap().is_err());
        // SQLite may have rolled all of it back, or the one statement alone.
        let stays = [held.await.unwrap().is_ok(), one.await.unwrap().is_ok()];
        let stays = stays.iter().filter(|stays| **stays).count();
        assert_eq!(house.rows().await.len(), stays);
        let after = house.queue("after", "INSERT INTO t VALUES (hex(randomblob(4000000)))");
        assert!(after.await.await.unwrap().is_ok());
    }
}
