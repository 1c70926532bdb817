//! Finishing: the task that wrote an answer stores its end, however long the database takes.

use std::time::Duration;

use entity::llm_attempt::Outcome;

use super::end::{End, Ending, Spent};
use super::{Chats, Claimed};
use crate::fault;
use crate::ledger::Stop;
use crate::model::failure::Failure;
use crate::model::position::Edition;
use crate::store::{LedgerTexts, StoreError};

/// Waits between the tries to store an answer: doubled from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Tries while the database is there and refuses: then the lease runs out, and a rescue keeps what
/// was flushed. While the database is away the tries are not counted.
const MAX_REFUSALS: u32 = 5;

/// How the task came to its end.
#[derive(Clone, Debug)]
pub(super) enum Written {
    /// The answer is over.
    Ended {
        end: End,
        finish_reason: Option<String>,
    },
    /// It broke off in a way that another attempt may do better, as long as there is one left.
    Broken(Failure),
}

impl Written {
    pub fn failed(failure: Failure) -> Self {
        Self::Ended {
            end: End::Failed(failure),
            finish_reason: None,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Ended { end, .. } => end.outcome(),
            Self::Broken(_) => Outcome::Failed,
        }
    }
}

/// What became of the end of an answer.
enum Stored {
    Ended,
    Restarted,
    /// The request was no longer this attempt's.
    Fenced,
}

impl Chats {
    /// Stores the end of an answer and forgets its ledger. While the database is away the text
    /// stays in memory and goes on being read from there.
    pub(super) async fn finish(&self, claimed: &Claimed, written: Written) {
        let (mut wait, mut refusals) = (FIRST_WAIT, 0);
        loop {
            match self.store_end(claimed, &written).await {
                Ok(stored) => {
                    fault::point("finish.committed");
                    match stored {
                        Stored::Ended => tracing::info!(?written, "answer finished"),
                        Stored::Restarted => {
                            tracing::warn!(?written, "answer broke off; another attempt follows");
                        }
                        Stored::Fenced => {
                            tracing::warn!("fenced: this answer is no longer this task's to write");
                        }
                    }
                    self.flusher.finished(claimed.request.id);
                    break;
                }
                Err(error) => {
                    refusals += u32::from(!error.is_unavailable());
                    if refusals == MAX_REFUSALS {
                        tracing::error!(%error, "the answer could not be stored; left to a rescue");
                        break;
                    }
                    tracing::error!(%error, "the answer could not be stored; trying again");
                }
            }
            tokio::select! {
                stop = claimed.live.dropped() => match stop {
                    // This node goes away: the last flush writes what is in the ledger.
                    Stop::Abandon => return,
                    Stop::Ended | Stop::LeaseLost => break,
                },
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        self.ledgers.close(&claimed.live);
        self.announce();
    }

    async fn store_end(&self, claimed: &Claimed, written: &Written) -> Result<Stored, StoreError> {
        let (request, live) = (&claimed.request, &claimed.live);
        let sealed = live.seal_whole();
        let spent = &Spent::of(&sealed);
        let mut edition = Edition::from_stored(request.edition);
        let mut texts = LedgerTexts {
            text: sealed.text,
            reasoning: sealed.reasoning,
        };
        let stored = match written {
            Written::Broken(failure) if self.has_attempts_left(request) => {
                // Kept, should the next attempt end before its first word.
                let unflushed = &sealed.unflushed;
                self.store
                    .tx(|tx| async move {
                        let next = self.start_next_attempt(&tx, request, failure, spent);
                        let is_restarted = next.await?;
                        if is_restarted {
                            tx.append_chunks(unflushed).await?;
                        }
                        fault::point("restart.before_commit");
                        Ok::<_, StoreError>(if is_restarted {
                            Stored::Restarted
                        } else {
                            Stored::Fenced
                        })
                    })
                    .await
            }
            _ => {
                let (end, finish_reason) = match written {
                    Written::Ended { end, finish_reason } => (end.clone(), finish_reason.clone()),
                    Written::Broken(failure) => (End::Failed(failure.clone()), None),
                };
                if texts.text.is_empty() && request.attempt > 0 {
                    // What an earlier attempt had said is better than nothing.
                    let kept = self.store.last_ledger_text(request.id).await;
                    let kept = kept.inspect_err(|_| live.unseal())?;
                    if let Some((_, kept)) = kept.filter(|(_, kept)| texts.are_less_than(kept)) {
                        texts = kept;
                        edition = edition.next();
                    }
                }
                let ending = &Ending {
                    end,
                    texts,
                    edition,
                    spent: Spent {
                        finish_reason,
                        ..spent.clone()
                    },
                };
                self.store
                    .tx(|tx| async move {
                        let chat = self.end_answer(&tx, request, ending.clone()).await?;
                        fault::point("finish.before_commit");
                        Ok::<_, StoreError>(chat.map_or(Stored::Fenced, |_| Stored::Ended))
                    })
                    .await
            }
        };
        stored
            .inspect(|stored| {
                if !matches!(stored, Stored::Fenced) {
                    spent.measure(written.outcome());
                }
            })
            .inspect_err(|_| live.unseal())
    }
}
