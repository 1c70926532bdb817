//! Finishing: the task that wrote an answer stores its end, however long the database takes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use entity::llm_attempt::Outcome;
use entity::llm_request;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::end::{End, Ending, Spent};
use super::{Chats, Claimed};
use crate::fault;
use crate::ledger::Stop;
use crate::model::failure::Failure;
use crate::model::position::Edition;
use crate::store::{Chunk, LedgerTexts, StoreError};
use crate::trace;

/// Waits between the tries to store an answer: doubled from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Answers whose end is stored in one transaction, at most.
const MAX_TOGETHER: usize = 64;
/// Between two transactions of ends, for each answer that is live, and at most. An end by itself writes twenty
/// pages of the database, of which it shares half with those that come along.
const GATHERED_PER_LIVE: Duration = Duration::from_millis(1);
const LONGEST_GATHERED: Duration = Duration::from_millis(100);
const MAX_BYTES_TOGETHER: usize = 1 << 20;
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

    /// Says how it ended.
    fn tell(&self, span: &trace::Span, stored: Stored) {
        if let Stored::Fenced = stored {
            span.set("pollen.outcome", "fenced");
            return;
        }
        let (outcome, failure) = self.counted(stored);
        span.set("pollen.outcome", super::counts::outcome_name(outcome));
        if let Some(failure) = failure {
            span.fail(failure);
        }
    }

    /// What is counted of it, once it is stored: how the attempt ended, and why.
    fn counted(&self, stored: Stored) -> (Outcome, Option<&str>) {
        match self {
            Self::Ended { end, .. } => (end.outcome(), end.failure_code()),
            Self::Broken(failure) => {
                let is_over = matches!(stored, Stored::Ended);
                let outcome = if is_over {
                    Outcome::Failed
                } else {
                    Outcome::Replaced
                };
                (outcome, Some(&failure.code))
            }
        }
    }
}

/// What became of the end of an answer.
#[derive(Clone, Copy)]
enum Stored {
    Ended,
    Restarted,
    /// The request was no longer this attempt's.
    Fenced,
}

/// Answers that have come to their end and wait for it to be stored.
///
/// Whoever comes first stores his own, and with it those of all who have come meanwhile: each statement
/// costs the same for all of them. No task is spawned. Where many answers are live, he who comes soon after the
/// last ones were stored waits a little for others.
#[derive(Default)]
pub(super) struct Endings {
    waiting: Mutex<VecDeque<Waiting>>,
    /// As many wait as are stored together.
    are_many: Notify,
    /// When the last ones were stored.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

struct Waiting {
    request: llm_request::Model,
    ending: Ending,
    told: oneshot::Sender<Told>,
}

/// What those hear whose end somebody else has stored, or could not: then each tries alone, so that none
/// fails because of another.
enum Told {
    Done(Result<Stored, StoreError>),
    Alone,
}

impl Endings {
    fn push(&self, waiting: Waiting) {
        let mut all = self.lock();
        all.push_back(waiting);
        if all.len() >= MAX_TOGETHER {
            self.are_many.notify_one();
        }
    }

    /// Waits for others, unless the last ends were stored long ago.
    async fn gather(&self, last: Option<Instant>, live: usize) {
        let live = u32::try_from(live).unwrap_or(u32::MAX);
        let gathered = GATHERED_PER_LIVE.saturating_mul(live).min(LONGEST_GATHERED);
        let Some(until) = last.map(|last| last + gathered) else {
            return;
        };
        if self.lock().len() < MAX_TOGETHER {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.are_many.notified() => {}
            }
        }
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.lock();
        let mut bytes = 0;
        let several = waiting.iter().take(MAX_TOGETHER).take_while(|one| {
            let is_first = bytes == 0;
            bytes += one.ending.texts.text.len() + one.ending.texts.reasoning.len() + 1;
            is_first || bytes <= MAX_BYTES_TOGETHER
        });
        let several = several.count();
        waiting.drain(..several).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chats {
    /// Stores the end of an answer, with those of others that end at the same time.
    async fn end_together(
        &self,
        request: &llm_request::Model,
        ending: Ending,
    ) -> Result<Stored, StoreError> {
        let (told, mut heard) = oneshot::channel();
        self.endings.push(Waiting {
            request: request.clone(),
            ending: ending.clone(),
            told,
        });
        let mut turn = self.endings.turn.lock().await;
        loop {
            match heard.try_recv() {
                Ok(Told::Done(done)) => return done,
                // Closed: whoever had taken it along has panicked.
                Ok(Told::Alone) | Err(TryRecvError::Closed) => break,
                Err(TryRecvError::Empty) => {
                    self.endings.gather(*turn, self.ledgers.count()).await;
                    self.end_those_who_wait().await;
                    *turn = Some(Instant::now());
                }
            }
        }
        drop(turn);
        let endings = &[(request, &ending)];
        let ended = self.end_in_transaction(endings).await?;
        Ok(ended.into_iter().next().unwrap_or(Stored::Fenced))
    }

    async fn end_those_who_wait(&self) {
        let together = self.endings.take();
        let endings: Vec<_> = together
            .iter()
            .map(|waiting| (&waiting.request, &waiting.ending))
            .collect();
        let is_one = endings.len() == 1;
        let done = self.end_in_transaction(&endings).await;
        let mut told = together.into_iter().map(|waiting| waiting.told);
        match done {
            Ok(ended) => {
                for (told, stored) in told.zip(ended) {
                    let _ = told.send(Told::Done(Ok(stored)));
                }
            }
            Err(error) if is_one => {
                let _ = told.next().map(|told| told.send(Told::Done(Err(error))));
            }
            Err(error) => {
                tracing::debug!(%error, "several ends could not be stored together");
                for told in told {
                    let _ = told.send(Told::Alone);
                }
            }
        }
    }

    async fn end_in_transaction(
        &self,
        endings: &[(&llm_request::Model, &Ending)],
    ) -> Result<Vec<Stored>, StoreError> {
        self.store
            .tx(|tx| async move {
                let ended = self.end_answers(&tx, endings).await?;
                fault::point("finish.before_commit");
                let stored = endings.iter().map(|(request, _)| {
                    if ended.contains_key(&(request.id, request.attempt)) {
                        Stored::Ended
                    } else {
                        Stored::Fenced
                    }
                });
                Ok::<_, StoreError>(stored.collect())
            })
            .await
    }

    /// Stores the end of an answer and forgets its ledger. While the database is away the text
    /// stays in memory and goes on being read from there.
    pub(super) async fn finish(&self, claimed: &Claimed, written: Written) {
        let (mut wait, mut refusals) = (FIRST_WAIT, 0);
        let _finishing = claimed.span.child("finish");
        loop {
            match self.store_end(claimed, &written).await {
                Ok(stored) => {
                    fault::point("finish.committed");
                    written.tell(&claimed.span, stored);
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
                let unflushed: &Vec<&Chunk> = &sealed.unflushed.iter().collect();
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
                let ending = Ending {
                    end,
                    texts,
                    edition,
                    spent: Spent {
                        finish_reason,
                        ..spent.clone()
                    },
                };
                self.end_together(request, ending).await
            }
        };
        stored
            .inspect(|stored| {
                if matches!(stored, Stored::Fenced) {
                    self.counts.fenced();
                } else {
                    let (outcome, failure) = written.counted(*stored);
                    self.count_end(request, outcome, failure, spent);
                }
            })
            .inspect_err(|_| live.unseal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waited(endings: &Endings, last: Option<Instant>, live: usize) -> Duration {
        let begun = Instant::now();
        endings.gather(last, live).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_waits_for_others_only_where_many_are_live_and_one_was_stored_just_now() {
        let endings = Endings::default();
        assert_eq!(waited(&endings, None, 1_000).await, Duration::ZERO);
        let longest = waited(&endings, Some(Instant::now()), 1_000).await;
        assert!(longest >= LONGEST_GATHERED, "{longest:?}");
        assert!(longest < LONGEST_GATHERED * 2, "{longest:?}");
        let alone = waited(&endings, Some(Instant::now()), 1).await;
        assert!(alone <= GATHERED_PER_LIVE * 2, "{alone:?}");
        let earlier = Some(Instant::now());
        tokio::time::advance(LONGEST_GATHERED * 2).await;
        assert_eq!(waited(&endings, earlier, 1_000).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_as_are_stored_together_wait_for_nobody() {
        let endings = Endings::default();
        endings.are_many.notify_one();
        let last = Some(Instant::now());
        assert_eq!(waited(&endings, last, 1_000).await, Duration::ZERO);
    }
}
