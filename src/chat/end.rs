//! Ending a request: the request, its answer, the chat's turn and the usage ledger move on in one
//! transaction, under the fence of the attempt. Everybody who ends one does it here: the task
//! that wrote the answer, a cancel from any node, a rescue.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use entity::llm_attempt::{CacheLookup, Model as Attempt, Outcome};
use entity::{ChatId, Origin, RequestId, Timestamp, chat, chat_message, llm_request};

use super::Chats;
use crate::ledger::{Live, Sealed, Stop};
use crate::model::failure::{Failure, FailureCode};
use crate::model::position::Edition;
use crate::model::text::storable;
use crate::model::usage::{Price, Usage, estimate_tokens};
use crate::store::{Advance, Fence, Finish, LedgerTexts, RequestEnd, StoreError, Tx};

/// How an answer comes to its end.
#[derive(Clone, Debug)]
pub(super) enum End {
    Completed,
    Failed(Failure),
    Cancelled,
}

impl End {
    pub fn status(&self) -> llm_request::Status {
        match self {
            Self::Completed => llm_request::Status::Completed,
            Self::Failed(_) => llm_request::Status::Failed,
            Self::Cancelled => llm_request::Status::Cancelled,
        }
    }

    fn message_status(&self) -> chat_message::Status {
        match self {
            Self::Completed => chat_message::Status::Completed,
            Self::Failed(_) => chat_message::Status::Failed,
            Self::Cancelled => chat_message::Status::Cancelled,
        }
    }

    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Completed => Outcome::Completed,
            Self::Failed(_) => Outcome::Failed,
            Self::Cancelled => Outcome::Cancelled,
        }
    }

    /// Why it ended so, for those who count.
    pub fn failure_code(&self) -> Option<&str> {
        match self {
            Self::Completed => None,
            Self::Failed(failure) => Some(&failure.code),
            Self::Cancelled => Some(FailureCode::Cancelled.as_str()),
        }
    }

    fn error(&self) -> Option<(String, String)> {
        let failure = match self {
            Self::Completed => return None,
            Self::Failed(failure) => failure.clone(),
            Self::Cancelled => Failure::new(FailureCode::Cancelled, "This answer was stopped."),
        };
        Some((failure.code, failure.message))
    }
}

/// What the model did for an attempt.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent {
    /// Who was asked; none where nobody on this node knows.
    pub origin: Option<Origin>,
    /// What they cost, where somebody was asked whose price is known.
    pub price: Option<Price>,
    pub usage: Usage,
    /// What a summary of earlier messages took besides.
    pub extra: Usage,
    /// A hit also where whoever had been listened to has gone before the end: see [`Spent::lookup`].
    pub cache: Option<CacheLookup>,
    /// About how many tokens the model was sent, and how many it has said in this attempt.
    pub input_estimate: i64,
    pub output_estimate: i64,
    pub first_token_at: Option<Timestamp>,
    pub finish_reason: Option<String>,
}

impl Spent {
    pub fn of(sealed: &Sealed) -> Self {
        Self {
            origin: sealed.origin.clone(),
            price: sealed.price,
            usage: sealed.usage,
            extra: sealed.extra,
            cache: sealed.cache,
            input_estimate: sealed.input_estimate,
            output_estimate: estimate_tokens(&sealed.text) + estimate_tokens(&sealed.reasoning),
            first_token_at: sealed.first_token_at,
            finish_reason: None,
        }
    }

    /// No model was asked for it.
    fn is_free(&self) -> bool {
        self.cache == Some(CacheLookup::Hit)
    }

    /// What the look into the response cache has come to. An answer without its end was not found there,
    /// nor was it asked for.
    pub fn lookup(&self, outcome: Outcome) -> Option<CacheLookup> {
        let is_over = outcome == Outcome::Completed;
        self.cache.filter(|_| is_over || !self.is_free())
    }

    /// Tokens in and out, as reported or else as estimated.
    pub fn tokens(&self) -> (i64, i64) {
        let Usage {
            input_tokens,
            output_tokens,
            ..
        } = self.usage;
        (
            input_tokens.unwrap_or(self.input_estimate),
            output_tokens.unwrap_or(self.output_estimate),
        )
    }
}

/// All that is stored when an answer ends.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub end: End,
    pub texts: LedgerTexts,
    /// The edition that the texts are.
    pub edition: Edition,
    pub spent: Spent,
}

/// A request that somebody other than its task is about to end, with the text that will be kept:
/// what is in this node's memory, or else what has been flushed. Dropped without [`Cut::done`],
/// nothing has happened, as far as its owner knows; the next flush knows better.
pub(super) struct Cut {
    pub request: llm_request::Model,
    texts: LedgerTexts,
    edition: Edition,
    spent: Spent,
    live: Option<Arc<Live>>,
}

impl Cut {
    pub fn ending(&self, end: End) -> Ending {
        Ending {
            end,
            texts: self.texts.clone(),
            edition: self.edition,
            spent: self.spent.clone(),
        }
    }

    /// The end is stored: the task drops its connection, and the ledger may go. A task on another
    /// node finds out at its next flush.
    pub fn done(mut self, chats: &Chats) {
        if let Some(live) = self.live.take() {
            live.stop(Stop::Ended);
            chats.ledgers.close(&live);
        }
        if let Some(message) = self.request.assistant_message_id {
            chats.follower.forget(message);
        }
        chats.count_cut(&self.request, &self.ending(End::Cancelled));
        chats.flusher.finished(self.request.id);
        chats.announce();
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(live) = &self.live {
            live.doubt();
        }
    }
}

/// Moves the chats of ended requests on. Where a request had begun it is the user's turn again, unless
/// another one has begun.
async fn advance_chats(
    tx: &Tx,
    ended: &[(&llm_request::Model, &Ending)],
    now: Timestamp,
) -> Result<HashMap<ChatId, chat::Model>, StoreError> {
    let (begun, waited): (Vec<_>, Vec<_>) = ended
        .iter()
        .partition(|(request, _)| request.started_at.is_some());
    let mut chats = HashMap::with_capacity(ended.len());
    let groups: [(Vec<&(&llm_request::Model, &Ending)>, _); 2] =
        [(begun, Some(chat::Status::WaitingForUser)), (waited, None)];
    for (requests, status) in groups {
        if requests.is_empty() {
            continue;
        }
        let advance = Advance {
            messages: 0,
            status,
            now,
        };
        let ids: Vec<ChatId> = requests
            .iter()
            .map(|(request, _)| request.chat_id)
            .collect();
        let advanced = tx.advance_chats(&ids, advance).await?;
        chats.extend(advanced.into_iter().map(|chat| (chat.id, chat)));
    }
    Ok(chats)
}

/// What becomes of an answer.
fn finish(ending: &Ending, attempt: &Attempt, chat: &chat::Model, now: Timestamp) -> Finish {
    let Ending {
        end, texts, spent, ..
    } = ending;
    Finish {
        status: end.message_status(),
        content: texts.text.clone(),
        reasoning: texts.reasoning.clone(),
        origin: spent.origin.clone().map(|origin| Origin {
            finish_reason: attempt.finish_reason.clone(),
            cached: attempt.cache == Some(CacheLookup::Hit),
            ..origin
        }),
        edition: ending.edition.to_stored(),
        error: end.error(),
        revision: chat.revision,
        now,
    }
}

fn nothing_to_end(request: RequestId) {
    tracing::warn!(%request, "the request had no pending message to end");
}

impl Chats {
    /// Gets a request that runs or waits ready to be ended from outside.
    pub(super) async fn cut(&self, request: llm_request::Model) -> Result<Cut, StoreError> {
        let edition = Edition::from_stored(request.edition);
        let live = request
            .assistant_message_id
            .and_then(|message| self.ledgers.get(message))
            .filter(|live| live.fence() == (request.id, request.attempt));
        let sealed = live.as_ref().map(|live| live.seal());
        let is_known = sealed
            .as_ref()
            .is_some_and(|sealed| request.attempt == 0 || !sealed.text.is_empty());
        let sealed = sealed.unwrap_or_default();
        let mut cut = Cut {
            spent: Spent::of(&sealed),
            texts: LedgerTexts {
                text: sealed.text,
                reasoning: sealed.reasoning,
            },
            edition,
            live,
            request,
        };
        if cut.request.started_at.is_some() && !is_known {
            // The text may be shorter than what a client has seen: up to one flush interval of it
            // lived in the other node's memory alone. A new edition tells such a client to
            // replace what it has.
            let kept = self.store.last_ledger_text(cut.request.id).await?;
            let (attempt, texts) = kept.unwrap_or_default();
            if cut.live.is_none() && attempt == cut.request.attempt {
                cut.spent.output_estimate =
                    estimate_tokens(&texts.text) + estimate_tokens(&texts.reasoning);
            }
            if cut.live.is_none() || cut.texts.are_less_than(&texts) {
                cut.texts = texts;
                cut.edition = edition.next();
            }
            if cut.live.is_none() {
                cut.spent.input_estimate = self.estimate_input(&cut.request).await?;
            }
        }
        Ok(cut)
    }

    /// Ends a request with all that hangs on it, if it is still this attempt's, and still runs or
    /// waits as it did. The chat as it then is; none if it was not.
    pub(super) async fn end_answer(
        &self,
        tx: &Tx,
        request: &llm_request::Model,
        ending: Ending,
    ) -> Result<Option<chat::Model>, StoreError> {
        let ended = self.end_answers(tx, &[(request, &ending)]).await?;
        Ok(ended.into_values().next())
    }

    /// The same for several runs. The chats of those that have been ended, by run: each is another chat's.
    pub(super) async fn end_answers(
        &self,
        tx: &Tx,
        endings: &[(&llm_request::Model, &Ending)],
    ) -> Result<HashMap<Fence, chat::Model>, StoreError> {
        let now = self.clock.now();
        let mut attempts = HashMap::with_capacity(endings.len());
        let mut ends = Vec::with_capacity(endings.len());
        for (request, ending) in endings {
            let Ending { end, spent, .. } = ending;
            let attempt = self.attempt(request, end.outcome(), end.error(), spent, now);
            let request_end = RequestEnd {
                status: end.status(),
                model: attempt.model.clone(),
                provider: request.provider.clone(),
                finish_reason: attempt.finish_reason.clone(),
                input_tokens: spent.usage.input_tokens,
                output_tokens: spent.usage.output_tokens,
                error: end.error(),
                first_token_at: spent.first_token_at,
                now,
            };
            ends.push((*request, request_end));
            attempts.insert((request.id, request.attempt), attempt);
        }
        let ended: HashSet<Fence> = tx.end_requests(&ends).await?.into_iter().collect();
        let ended = endings
            .iter()
            .copied()
            .filter(|(request, _)| ended.contains(&(request.id, request.attempt)))
            .collect::<Vec<_>>();
        let chats = advance_chats(tx, &ended, now).await?;
        let mut finishes = Vec::with_capacity(ended.len());
        let mut used = Vec::with_capacity(ended.len());
        let mut by_run = HashMap::with_capacity(ended.len());
        for (request, ending) in ended {
            let chat = chats.get(&request.chat_id);
            let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
            let fence = (request.id, request.attempt);
            let attempt = attempts.remove(&fence);
            let attempt = attempt.ok_or(StoreError::Missing { what: "attempt" })?;
            if let Some(answer) = request.assistant_message_id {
                finishes.push((answer, finish(ending, &attempt, chat, now)));
            } else if !super::run::is_of_said(request) {
                let (question, status) = (request.user_message_id, chat_message::Status::Cancelled);
                let is_ended = tx.end_user_message(question, status, chat.revision, now);
                if !is_ended.await? {
                    nothing_to_end(request.id);
                }
            }
            if request.status == llm_request::Status::Running {
                used.push(Attempt {
                    owner_id: chat.owner_id,
                    ..attempt
                });
            }
            by_run.insert(fence, chat.clone());
        }
        if !finishes.is_empty() {
            let written = tx.finish_messages(&finishes).await?;
            for (request, _) in endings {
                let answer = request.assistant_message_id;
                if by_run.contains_key(&(request.id, request.attempt))
                    && answer.is_some_and(|answer| !written.contains(&answer))
                {
                    nothing_to_end(request.id);
                }
            }
        }
        tx.insert_attempts(&used).await?;
        Ok(by_run)
    }

    /// Puts a running request back into the queue as its next attempt, if it is still this
    /// attempt's. Whether it was.
    pub(super) async fn start_next_attempt(
        &self,
        tx: &Tx,
        request: &llm_request::Model,
        failure: &Failure,
        spent: &Spent,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        if !tx.requeue_request((request.id, request.attempt)).await? {
            return Ok(false);
        }
        let chat = tx
            .advance_chat(request.chat_id, Advance::touch(now))
            .await?;
        let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
        if let Some(answer) = request.assistant_message_id {
            let edition = Edition::from_stored(request.edition).next();
            let is_restarted = tx
                .restart_message(answer, edition.to_stored(), chat.revision)
                .await?;
            if !is_restarted {
                tracing::warn!(request = %request.id, "the request had no pending answer to restart");
            }
        }
        let error = (failure.code.clone(), failure.message.clone());
        let attempt = self.attempt(request, Outcome::Replaced, Some(error), spent, now);
        tx.insert_attempt(Attempt {
            owner_id: chat.owner_id,
            ..attempt
        })
        .await?;
        Ok(true)
    }

    /// Whether there may be another attempt after this one.
    pub(super) fn has_attempts_left(&self, request: &llm_request::Model) -> bool {
        let is_late = request
            .deadline_at
            .is_some_and(|deadline| deadline <= self.clock.now());
        request.attempt + 1 < i64::from(self.rules().settings.attempts.max_attempts) && !is_late
    }

    /// The row of the usage ledger, but for its owner. What the provider did not count is
    /// estimated, unless it failed before it had said a word.
    pub(super) fn attempt(
        &self,
        request: &llm_request::Model,
        outcome: Outcome,
        error: Option<(String, String)>,
        spent: &Spent,
        now: Timestamp,
    ) -> Attempt {
        let usage = spent.usage;
        let asked = spent
            .origin
            .as_ref()
            .and_then(|origin| origin.model.clone());
        let catalogue = &self.rules().catalogue;
        let model = asked
            .or_else(|| request.model.clone())
            .unwrap_or_else(|| catalogue.default_model().id.clone());
        let (lookup, is_free) = (spent.lookup(outcome), spent.is_free());
        let is_reported = usage.input_tokens.is_some() && usage.output_tokens.is_some();
        // A call that its provider refused costs nothing; of one that was cut off nobody knows.
        let is_refused = error
            .as_ref()
            .is_some_and(|(code, _)| code != FailureCode::Interrupted.as_str());
        let is_nothing = outcome == Outcome::Failed
            && is_refused
            && spent.output_estimate == 0
            && usage == Usage::default();
        let (input, output) = if is_nothing { (0, 0) } else { spent.tokens() };
        let saved = if lookup == Some(CacheLookup::Hit) {
            input.saturating_add(output)
        } else {
            0
        };
        // What the cache had, or somebody else was getting, is paid for there.
        let (input, output) = if is_free { (0, 0) } else { (input, output) };
        let input = input.saturating_add(spent.extra.input_tokens.unwrap_or(0));
        let output = output.saturating_add(spent.extra.output_tokens.unwrap_or(0));
        let of_this = |count: Option<i64>| count.filter(|_| !is_free).unwrap_or(0);
        let cached = of_this(usage.cached_tokens);
        // Who was asked costs what it cost then, whatever the configuration says by now.
        let price = spent.price.or_else(|| {
            let route = catalogue.resolve(Some(&model)).ok();
            route.and_then(|route| route.spec.price)
        });
        Attempt {
            request_id: request.id,
            attempt: request.attempt,
            owner_id: entity::OwnerId::LOCAL,
            chat_id: request.chat_id,
            message_id: request.assistant_message_id,
            provider: request.provider.clone(),
            model: Some(storable(&model).into_owned()),
            outcome,
            finish_reason: spent
                .finish_reason
                .as_deref()
                .map(|reason| storable(reason).into_owned()),
            error_code: error.map(|(code, _)| code),
            input_tokens: input,
            output_tokens: output,
            reasoning_tokens: of_this(usage.reasoning_tokens),
            cached_tokens: cached,
            estimated: !is_reported && !is_nothing && !is_free,
            cache: lookup,
            saved_tokens: saved,
            cost_micros: price.map(|price| price.cost_micros(input, cached, output)),
            started_at: request.started_at.unwrap_or(now),
            first_token_at: spent.first_token_at,
            finished_at: now,
        }
    }
}
