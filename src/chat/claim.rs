//! Claiming a request: one conditional UPDATE decides who runs it, and in the same transaction
//! the chat moves on: the user message is taken up, the answer appears as pending.

use std::sync::Arc;

use entity::chat_message::{Model as Message, Role, Status};
use entity::{MessageId, chat, llm_request};

use super::Chats;
use crate::ledger::{Live, LiveIds};
use crate::model::position::Edition;
use crate::store::{Advance, StoreError};

/// Claims of one chat that other nodes may win in a row before this one looks again later.
const MAX_LOST_CLAIMS: u32 = 8;

/// A request that this node has to run.
pub struct Claimed {
    pub(super) request: llm_request::Model,
    /// The answer's ledger, open already: whoever stops all answers stops this one too.
    pub(super) live: Arc<Live>,
}

impl Chats {
    /// Claims the oldest request whose chat is free. None if there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn claim(&self) -> Result<Option<Claimed>, StoreError> {
        for _ in 0..MAX_LOST_CLAIMS {
            match self.try_claim().await {
                // Another node has just claimed a request of the same chat: take the next one.
                Err(error) if error.is_duplicate() => {}
                Err(error) => return Err(error),
                Ok(None) => return Ok(None),
                Ok(Some((request, ids))) => {
                    let live = self.ledgers.open(ids);
                    return Ok(Some(Claimed { request, live }));
                }
            }
        }
        Ok(None)
    }

    async fn try_claim(&self) -> Result<Option<(llm_request::Model, LiveIds)>, StoreError> {
        let (lease, now) = (&self.flusher.lease(), self.clock.now());
        self.store
            .tx(|tx| async move {
                let Some(mut request) = tx.claim_request(lease, now).await? else {
                    return Ok(None);
                };
                let advance = Advance {
                    messages: 1,
                    status: Some(chat::Status::WaitingForChatbot),
                    now,
                };
                let chat = tx.advance_chat(request.chat_id, advance).await?;
                let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
                let taken_up = tx
                    .complete_user_message(request.user_message_id, chat.revision, now)
                    .await?;
                if !taken_up {
                    // Answering is still the right thing; refusing would hold up the whole queue.
                    tracing::warn!(request = %request.id, "the user message was not pending");
                }
                let answer = Message {
                    id: MessageId::generate(),
                    chat_id: chat.id,
                    sequence: chat.next_sequence - 1,
                    revision: chat.revision,
                    role: Role::Assistant,
                    status: Status::Pending,
                    reply_to: Some(request.user_message_id),
                    request_id: Some(request.id),
                    content: String::new(),
                    edition: request.edition,
                    error_code: None,
                    error_message: None,
                    created_at: now,
                    completed_at: None,
                    deleted_at: None,
                };
                let ids = LiveIds {
                    request: request.id,
                    attempt: request.attempt,
                    message: answer.id,
                    chat: chat.id,
                    owner: chat.owner_id,
                    edition: Edition::from_stored(request.edition),
                };
                tx.insert_message(answer).await?;
                request.assistant_message_id = Some(ids.message);
                if !tx.assign_answer(&request).await? {
                    return Err(StoreError::Missing {
                        what: "claimed request",
                    });
                }
                Ok(Some((request, ids)))
            })
            .await
    }
}
