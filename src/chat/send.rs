//! Sending a message: it and the request for its answer are stored in one transaction, and the
//! worker is told. The caller has its answer before any model is asked.

use entity::chat_message::{Model as Message, Role, Status};
use entity::{ChatId, MessageId, RequestId, Timestamp, llm_request};

use super::{Chats, OwnedChat};
use crate::model::text::{MessageText, TextError, Title};
use crate::store::{Advance, ChatChange, StoreError, Tx};

/// A message that waits to be answered, and the request that will answer it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub message: Message,
    pub request: RequestId,
}

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Text(#[from] TextError),
    /// The chat was deleted while the message was on its way.
    #[error("the chat is gone")]
    ChatGone,
    #[error("the message could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Stores the message and queues its answer.
    ///
    /// # Errors
    /// If the text is not a message, the chat is gone, or the database fails.
    pub async fn send(&self, chat: &OwnedChat, text: String) -> Result<Sent, SendError> {
        let text = &MessageText::parse(text, self.limits.message_bytes)?;
        let (now, id) = (self.clock.now(), chat.id());
        let sent = self
            .store
            .tx(|tx| async move {
                let sent = queue_message(&tx, id, text, now).await?;
                sent.ok_or(SendError::ChatGone)
            })
            .await?;
        self.announce();
        Ok(sent)
    }
}

/// Writes a user message and its request. None if the chat is gone.
pub(super) async fn queue_message(
    tx: &Tx,
    chat: ChatId,
    text: &MessageText,
    now: Timestamp,
) -> Result<Option<Sent>, StoreError> {
    let advance = Advance {
        messages: 1,
        status: None,
        now,
    };
    let Some(chat) = tx.advance_chat(chat, advance).await? else {
        return Ok(None);
    };
    let sequence = chat.next_sequence - 1;
    let is_first = sequence == 1;
    if is_first && chat.title == Title::of_new_chat().into_string() {
        let title = Some(text.derive_title().into_string());
        let change = ChatChange {
            title,
            ..ChatChange::default()
        };
        tx.change_chat(chat.id, change).await?;
    }
    let request = RequestId::generate();
    let message = Message {
        id: MessageId::generate(),
        chat_id: chat.id,
        sequence,
        revision: chat.revision,
        role: Role::User,
        status: Status::Pending,
        reply_to: None,
        request_id: Some(request),
        content: text.as_str().to_owned(),
        edition: 0,
        error_code: None,
        error_message: None,
        created_at: now,
        completed_at: None,
        deleted_at: None,
    };
    tx.insert_message(message.clone()).await?;
    tx.insert_request(llm_request::Model {
        id: request,
        chat_id: chat.id,
        user_message_id: message.id,
        sequence,
        assistant_message_id: None,
        status: llm_request::Status::Queued,
        attempt: 0,
        edition: 0,
        model: chat.model,
        provider: None,
        lease_owner: None,
        lease_expires_at: None,
        finish_reason: None,
        input_tokens: None,
        output_tokens: None,
        error_code: None,
        error_message: None,
        created_at: now,
        started_at: None,
        first_token_at: None,
        finished_at: None,
    })
    .await?;
    Ok(Some(Sent { message, request }))
}
