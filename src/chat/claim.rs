//! Claiming requests: one conditional UPDATE decides who runs them, and in the same transaction their
//! chats move on: the user messages are taken up, the answers appear as pending. A further attempt, a
//! retry and a regenerate have their answer already and go on with its next edition.
//!
//! As many are claimed at once as there is room for: each statement costs the same for all of them.

use std::collections::HashMap;
use std::sync::Arc;

use entity::chat_message::{Model as Message, Role, Status};
use entity::{ChatId, MessageId, Timestamp, chat, llm_request};

use super::Chats;
use crate::fault;
use crate::ledger::{Live, LiveIds};
use crate::model::position::Edition;
use crate::store::{Advance, Claim, StoreError, Tx};
use crate::trace;

/// Claims of one chat that other nodes may win in a row before this one looks again later.
const MAX_LOST_CLAIMS: u32 = 8;

/// A request that this node has to run.
pub struct Claimed {
    pub(super) request: llm_request::Model,
    /// As it was when the request was claimed.
    pub(super) chat: chat::Model,
    /// The answer's ledger, open already: whoever stops all answers stops this one too.
    pub(super) live: Arc<Live>,
    /// What is told of the answer, from here to its end.
    pub(super) span: trace::Span,
}

impl Claimed {
    /// The answer that is to be written.
    #[must_use]
    pub fn answer(&self) -> MessageId {
        self.live.ids.message
    }
}

impl Chats {
    /// Claims up to `limit` requests whose chats are free, the oldest first. If they are fewer, there are no
    /// more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn claim(&self, limit: usize) -> Result<Vec<Claimed>, StoreError> {
        let mut claimed = Vec::new();
        let (mut lost, mut most) = (0, limit);
        while claimed.len() < limit && lost < MAX_LOST_CLAIMS {
            let (lease, leased_until) = self.flusher.lease();
            let now = self.clock.now();
            let rules = self.rules();
            let deadline = rules.settings.attempts.deadline.as_millis();
            let claim = Claim {
                lease,
                now,
                deadline_at: now.plus_ms(i64::try_from(deadline).unwrap_or(i64::MAX)),
                default_provider: rules.catalogue.default_model().provider.clone(),
                provider_limits: rules.catalogue.limits(),
            };
            let wanted = most.min(limit - claimed.len());
            match self.try_claim(&claim, wanted).await {
                // Another node has just claimed a request of one of the same chats: take the next ones, and
                // one by one, so that each costs no other.
                Err(error) if error.is_duplicate() => (lost, most) = (lost + 1, 1),
                // What has been claimed is to be run whatever the database does now.
                Err(error) if claimed.is_empty() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "no more requests could be claimed");
                    break;
                }
                Ok(found) if found.is_empty() => break,
                Ok(found) => {
                    fault::point("claim.committed");
                    let is_all = found.len() < wanted && claim.provider_limits.is_empty();
                    for (request, chat) in found {
                        self.counts.claimed(&request, claim.now);
                        let span = self.begin_trace(&request, claim.now);
                        let live = self.ledgers.open(ids(&request, &chat)?, leased_until);
                        claimed.push(Claimed {
                            request,
                            chat,
                            live,
                            span,
                        });
                    }
                    if is_all {
                        break;
                    }
                }
            }
        }
        Ok(claimed)
    }

    /// Goes on with the trace of the request's message, whichever node that came to.
    fn begin_trace(&self, request: &llm_request::Model, claimed_at: Timestamp) -> trace::Span {
        let trail = self.tracer.follow(request.traceparent.as_deref());
        if request.attempt == 0 {
            trail.past("queue", request.created_at.0, claimed_at.0);
        }
        trail.past("claim", claimed_at.0, self.clock.now().0);
        let span = trail.span("answer");
        if span.is_on() {
            span.set("pollen.request", request.id.0.to_string());
            span.set("pollen.attempt", request.attempt);
            span.set("pollen.chat", request.chat_id.0.to_string());
            if let Some(message) = request.assistant_message_id {
                span.set("pollen.message", message.0.to_string());
            }
            if let Some(node) = &request.lease_owner {
                span.set("pollen.node", node.clone());
            }
        }
        span
    }

    async fn try_claim(
        &self,
        claim: &Claim,
        limit: usize,
    ) -> Result<Vec<(llm_request::Model, chat::Model)>, StoreError> {
        self.store
            .tx(|tx| async move {
                let requests = tx.claim_requests(claim, limit).await?;
                if requests.is_empty() {
                    return Ok(Vec::new());
                }
                let (mut further, first): (Vec<_>, Vec<_>) = requests
                    .into_iter()
                    .partition(|request| request.assistant_message_id.is_some());
                // Says whose turn it is; the answers are there and wait for their next edition.
                let mut chats = advance(&tx, &further, 0, claim.now).await?;
                let (begun, its_chats) = begin(&tx, first, claim.now).await?;
                further.extend(begun);
                chats.extend(its_chats);
                further.sort_by_key(|request| (request.created_at, request.id));
                let running = further.into_iter().map(|request| {
                    let chat = chat_of(&request, &chats)?.clone();
                    Ok((request, chat))
                });
                let running = running.collect::<Result<_, StoreError>>()?;
                fault::point("claim.before_commit");
                Ok(running)
            })
            .await
    }
}

/// The chats of requests, by their ids.
type ChatsById = HashMap<ChatId, chat::Model>;

/// Takes up the user messages and puts their answers into the chats.
async fn begin(
    tx: &Tx,
    mut requests: Vec<llm_request::Model>,
    now: Timestamp,
) -> Result<(Vec<llm_request::Model>, ChatsById), StoreError> {
    let chats = advance(tx, &requests, 1, now).await?;
    if requests.is_empty() {
        return Ok((requests, chats));
    }
    let waiting = requests.iter().filter(|r| !super::run::is_of_said(r));
    let questions: Vec<MessageId> = waiting.map(|r| r.user_message_id).collect();
    let taken_up = tx.take_up_messages(&questions, now).await?;
    if taken_up < questions.len() as u64 {
        // Answering is still the right thing; refusing would hold up the whole queue.
        tracing::warn!(?questions, taken_up, "a user message was not pending");
    }
    let mut answers = Vec::with_capacity(requests.len());
    let mut assigned = Vec::with_capacity(requests.len());
    for request in &mut requests {
        let chat = chat_of(request, &chats)?;
        let answer = pending_answer(request, chat, now);
        request.assistant_message_id = Some(answer.id);
        assigned.push((request.id, answer.id));
        answers.push(answer);
    }
    tx.insert_messages(&answers).await?;
    tx.assign_answers(&assigned).await?;
    Ok((requests, chats))
}

fn pending_answer(request: &llm_request::Model, chat: &chat::Model, now: Timestamp) -> Message {
    Message {
        id: MessageId::generate(),
        chat_id: chat.id,
        sequence: chat.next_sequence - 1,
        revision: chat.revision,
        role: Role::Assistant,
        status: Status::Pending,
        reply_to: Some(request.user_message_id),
        request_id: Some(request.id),
        content: String::new(),
        reasoning: String::new(),
        origin: Some(super::origin_of(request)),
        edition: request.edition,
        version: 1,
        versions: 1,
        error_code: None,
        error_message: None,
        reaction: None,
        reaction_comment: None,
        created_at: now,
        completed_at: None,
        deleted_at: None,
        superseded_at: None,
    }
}

fn ids(request: &llm_request::Model, chat: &chat::Model) -> Result<LiveIds, StoreError> {
    let message = request.assistant_message_id;
    Ok(LiveIds {
        request: request.id,
        attempt: request.attempt,
        message: message.ok_or(StoreError::Missing { what: "answer" })?,
        chat: request.chat_id,
        owner: chat.owner_id,
        edition: Edition::from_stored(request.edition),
    })
}

fn chat_of<'a>(
    request: &llm_request::Model,
    chats: &'a ChatsById,
) -> Result<&'a chat::Model, StoreError> {
    let chat = chats.get(&request.chat_id);
    chat.ok_or(StoreError::Missing { what: "chat" })
}

/// Moves the chats of requests on. It is the chatbot's turn in them.
async fn advance(
    tx: &Tx,
    requests: &[llm_request::Model],
    messages: i64,
    now: Timestamp,
) -> Result<ChatsById, StoreError> {
    if requests.is_empty() {
        return Ok(ChatsById::new());
    }
    let advance = Advance {
        messages,
        status: Some(chat::Status::WaitingForChatbot),
        now,
    };
    let ids: Vec<ChatId> = requests.iter().map(|request| request.chat_id).collect();
    let chats = tx.advance_chats(&ids, advance).await?;
    Ok(chats.into_iter().map(|chat| (chat.id, chat)).collect())
}
