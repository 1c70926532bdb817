//! Editing a user message: one that waits is changed where it stands; one that was taken up gets
//! its new words, what followed it is superseded (kept, not shown), and it is asked again.

use entity::chat_message::{Model as Message, Role, Status};
use entity::llm_request::{self, Model as Request};
use entity::{MessageId, OwnerId, RequestId, chat};

use super::end::{Cut, End};
use super::send::{Sent, new_request};
use super::{Chats, MAX_STALE};
use crate::fault;
use crate::model::history::followers;
use crate::model::position::Edition;
use crate::model::text::{MessageText, TextError};
use crate::store::{Advance, Rewrite, StoreError, Tx};

#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("there is no such message")]
    NotFound,
    #[error("only messages of your own can be edited")]
    NotYours,
    #[error(transparent)]
    Text(#[from] TextError),
    #[error("the message could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Gives a user message other words and asks again.
    ///
    /// # Errors
    /// If there is no such message of the owner's, it is an answer, the text is not a message, or
    /// the database fails.
    pub async fn edit(
        &self,
        owner: OwnerId,
        id: MessageId,
        text: String,
    ) -> Result<Sent, EditError> {
        let text = &MessageText::parse(text, self.settings.message_bytes)?;
        for _ in 0..MAX_STALE {
            let row = self.store.message(owner, id).await?;
            let row = row.ok_or(EditError::NotFound)?;
            if row.role != Role::User {
                return Err(EditError::NotYours);
            }
            let active = self.store.active_requests(row.chat_id).await?;
            let running = active
                .into_iter()
                .find(|request| is_running(request) && request.sequence >= row.sequence);
            let cut = match running {
                Some(request) => Some(self.cut(request).await?),
                None => None,
            };
            let (cut_here, row) = (cut.as_ref(), &row);
            let edited = self
                .store
                .tx(|tx| async move {
                    let sent = self.edit_in(&tx, row, cut_here, text).await?;
                    fault::point("edit.before_commit");
                    Ok::<_, EditError>(sent)
                })
                .await;
            match edited {
                Err(EditError::Store(StoreError::Stale)) => {}
                Err(error) => return Err(error),
                Ok(sent) => {
                    if let Some(cut) = cut {
                        cut.done(self);
                    }
                    self.announce();
                    return Ok(sent);
                }
            }
        }
        Err(StoreError::Stale.into())
    }

    /// The requests before the chat, as a claim locks them.
    async fn edit_in(
        &self,
        tx: &Tx,
        row: &Message,
        cut: Option<&Cut>,
        text: &MessageText,
    ) -> Result<Sent, EditError> {
        let now = self.clock.now();
        let waits = match (row.status, row.request_id) {
            (Status::Pending, Some(request)) => tx
                .lock_request(request)
                .await?
                .filter(|request| request.status == llm_request::Status::Queued),
            _ => None,
        };
        if waits.is_none() {
            if let Some(cut) = cut {
                let ending = cut.ending(End::Cancelled);
                let ended = self.end_answer(tx, &cut.request, ending).await?;
                ended.ok_or(StoreError::Stale)?;
            }
            for request in tx.active_requests(row.chat_id).await? {
                if request.sequence >= row.sequence && !is_running(&request) {
                    tx.withdraw_request(request.id, now).await?;
                }
            }
        }
        let advance = Advance {
            messages: 0,
            status: None,
            now,
        };
        let chat = tx.advance_chat(row.chat_id, advance).await?;
        let chat = chat.ok_or(EditError::NotFound)?;
        let message = tx.lock_message(row.id).await?;
        let message = message
            .filter(|message| message.deleted_at.is_none() && message.superseded_at.is_none())
            .ok_or(EditError::NotFound)?;
        let request = if let Some(request) = waits {
            self.reword(tx, &message, &chat, request.id, text).await?;
            request.id
        } else {
            let left = tx.active_requests(row.chat_id).await?;
            if left.iter().any(|request| request.sequence >= row.sequence) {
                // Somebody claimed or sent one meanwhile.
                return Err(StoreError::Stale.into());
            }
            let all = tx.all_messages(chat.id).await?;
            tx.supersede_messages(&followers(&all, &message), chat.revision, now)
                .await?;
            let request = RequestId::generate();
            tx.keep_version(&message).await?;
            self.reword(tx, &message, &chat, request, text).await?;
            tx.insert_request(new_request(request, &message, chat.model, now))
                .await?;
            request
        };
        let message = tx.message(row.id).await?;
        let message = message.ok_or(EditError::NotFound)?;
        Ok(Sent { message, request })
    }

    async fn reword(
        &self,
        tx: &Tx,
        message: &Message,
        chat: &chat::Model,
        request: RequestId,
        text: &MessageText,
    ) -> Result<(), StoreError> {
        let is_new = message.request_id != Some(request);
        let versions = message.versions + i64::from(is_new);
        let rewrite = Rewrite {
            status: Status::Pending,
            content: text.as_str().to_owned(),
            edition: Edition::from_stored(message.edition).next().to_stored(),
            version: versions,
            versions,
            request_id: Some(request),
            error: None,
            completed_at: None,
            revision: chat.revision,
        };
        if tx.rewrite_message(message, rewrite).await? {
            Ok(())
        } else {
            Err(StoreError::Raced)
        }
    }
}

fn is_running(request: &Request) -> bool {
    request.status == llm_request::Status::Running
}
