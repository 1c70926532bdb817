//! Claiming a request: one conditional UPDATE decides who runs it, and in the same transaction
//! the chat moves on: the user message is taken up, the answer appears as pending.

use entity::chat_message::{Model as Message, Role, Status};
use entity::{MessageId, OwnerId, chat, llm_request};

use super::Chats;
use crate::model::position::Edition;
use crate::store::{Advance, StoreError};

/// A request that this node has to run.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub request: llm_request::Model,
    pub owner: OwnerId,
    /// The pending answer.
    pub answer: Message,
}

impl Claimed {
    #[must_use]
    pub fn edition(&self) -> Edition {
        Edition::from_stored(self.request.edition)
    }
}

impl Chats {
    /// Claims the oldest request whose chat is free. None if there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn claim(&self) -> Result<Option<Claimed>, StoreError> {
        loop {
            match self.try_claim().await {
                // Another node has just claimed a request of the same chat: take the next one.
                Err(error) if error.is_duplicate() => {}
                done => return done,
            }
        }
    }

    async fn try_claim(&self) -> Result<Option<Claimed>, StoreError> {
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
                tx.insert_message(answer.clone()).await?;
                request.assistant_message_id = Some(answer.id);
                if !tx.assign_answer(&request).await? {
                    return Err(StoreError::Missing {
                        what: "claimed request",
                    });
                }
                Ok(Some(Claimed {
                    owner: chat.owner_id,
                    request,
                    answer,
                }))
            })
            .await
    }
}
