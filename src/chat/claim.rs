//! Claiming a request: one conditional UPDATE decides who runs it, and in the same transaction
//! the chat moves on: the user message is taken up, the answer appears as pending. A further
//! attempt, a retry and a regenerate have their answer already and go on with its next edition.

use std::sync::Arc;

use entity::chat_message::{Model as Message, Role, Status};
use entity::{MessageId, OwnerId, Timestamp, chat, llm_request};

use super::Chats;
use crate::fault;
use crate::ledger::{Live, LiveIds};
use crate::model::position::Edition;
use crate::store::{Advance, Claim, StoreError, Tx};

/// Claims of one chat that other nodes may win in a row before this one looks again later.
const MAX_LOST_CLAIMS: u32 = 8;

/// A request that this node has to run.
pub struct Claimed {
    pub(super) request: llm_request::Model,
    /// The answer's ledger, open already: whoever stops all answers stops this one too.
    pub(super) live: Arc<Live>,
}

impl Claimed {
    /// The answer that is to be written.
    #[must_use]
    pub fn answer(&self) -> MessageId {
        self.live.ids.message
    }
}

impl Chats {
    /// Claims the oldest request whose chat is free. None if there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn claim(&self) -> Result<Option<Claimed>, StoreError> {
        for _ in 0..MAX_LOST_CLAIMS {
            let (lease, leased_until) = self.flusher.lease();
            let now = self.clock.now();
            let deadline = self.settings.attempts.deadline.as_millis();
            let claim = Claim {
                lease,
                now,
                deadline_at: now.plus_ms(i64::try_from(deadline).unwrap_or(i64::MAX)),
                default_provider: self.catalogue.default_model().provider.clone(),
                provider_limits: self.catalogue.limits(),
            };
            match self.try_claim(&claim).await {
                // Another node has just claimed a request of the same chat: take the next one.
                Err(error) if error.is_duplicate() => {}
                Err(error) => return Err(error),
                Ok(None) => return Ok(None),
                Ok(Some((request, ids))) => {
                    fault::point("claim.committed");
                    let live = self.ledgers.open(ids, leased_until);
                    return Ok(Some(Claimed { request, live }));
                }
            }
        }
        Ok(None)
    }

    async fn try_claim(
        &self,
        claim: &Claim,
    ) -> Result<Option<(llm_request::Model, LiveIds)>, StoreError> {
        self.store
            .tx(|tx| async move {
                let Some(mut request) = tx.claim_request(claim).await? else {
                    return Ok(None);
                };
                let (answer, owner) = match request.assistant_message_id {
                    Some(answer) => (answer, go_on(&tx, &request, claim.now).await?),
                    None => begin(&tx, &request, claim.now).await?,
                };
                request.assistant_message_id = Some(answer);
                if !tx.assign_answer(&request).await? {
                    return Err(StoreError::Missing {
                        what: "claimed request",
                    });
                }
                let ids = LiveIds {
                    request: request.id,
                    attempt: request.attempt,
                    message: answer,
                    chat: request.chat_id,
                    owner,
                    edition: Edition::from_stored(request.edition),
                };
                fault::point("claim.before_commit");
                Ok(Some((request, ids)))
            })
            .await
    }
}

/// Takes up the user message and puts its answer into the chat.
async fn begin(
    tx: &Tx,
    request: &llm_request::Model,
    now: Timestamp,
) -> Result<(MessageId, OwnerId), StoreError> {
    let chat = advance(tx, request, 1, now).await?;
    let (question, revision) = (request.user_message_id, chat.revision);
    let is_taken_up = tx
        .end_user_message(question, Status::Completed, revision, now)
        .await?;
    if !is_taken_up {
        // Answering is still the right thing; refusing would hold up the whole queue.
        tracing::warn!(request = %request.id, "the user message was not pending");
    }
    let answer = Message {
        id: MessageId::generate(),
        chat_id: chat.id,
        sequence: chat.next_sequence - 1,
        revision,
        role: Role::Assistant,
        status: Status::Pending,
        reply_to: Some(question),
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
    };
    let id = answer.id;
    tx.insert_message(answer).await?;
    Ok((id, chat.owner_id))
}

/// Says whose turn it is; the answer is there and waits for its next edition.
async fn go_on(
    tx: &Tx,
    request: &llm_request::Model,
    now: Timestamp,
) -> Result<OwnerId, StoreError> {
    Ok(advance(tx, request, 0, now).await?.owner_id)
}

async fn advance(
    tx: &Tx,
    request: &llm_request::Model,
    messages: i64,
    now: Timestamp,
) -> Result<chat::Model, StoreError> {
    let advance = Advance {
        messages,
        status: Some(chat::Status::WaitingForChatbot),
        now,
    };
    let chat = tx.advance_chat(request.chat_id, advance).await?;
    chat.ok_or(StoreError::Missing { what: "chat" })
}
