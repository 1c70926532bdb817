//! Asking again: a failed or cancelled answer is retried, a completed one regenerated. The text
//! that there is stays as a version; the message goes on in its next edition, so that every
//! client replaces what it has.

use entity::chat_message::{Model as Message, Role, Status};
use entity::{MessageId, OwnerId, RequestId, llm_request};

use super::{Chats, Once, OnceError, Sent};
use crate::fault;
use crate::model::position::Edition;
use crate::store::{Advance, Rewrite, StoreError, Tx};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Of an answer that failed or was cancelled.
    Retry,
    /// Of an answer that is complete.
    Regenerate,
}

#[derive(Debug, thiserror::Error)]
pub enum AgainError {
    #[error("there is no such message")]
    NotFound,
    #[error("only answers can be asked for again")]
    NotAnAnswer,
    #[error("this answer is still being written; cancel it first, or wait")]
    StillWritten,
    #[error("this answer is complete; regenerate it instead")]
    IsComplete,
    #[error("this answer is not complete; retry it instead")]
    IsNotComplete,
    #[error("what it answered has been deleted")]
    QuestionGone,
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the request could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Queues another version of an answer.
    ///
    /// # Errors
    /// If there is no such answer of the owner's, it is not in the state for it, or the database fails.
    pub async fn ask_again(
        &self,
        owner: OwnerId,
        id: MessageId,
        again: Again,
        once: Option<&Once>,
    ) -> Result<Sent, AgainError> {
        let row = self.store.message(owner, id).await?;
        let chat = row.ok_or(AgainError::NotFound)?.chat_id;
        let now = self.clock.now();
        let sent = self
            .once(once, |tx| async move {
                let chat = tx.advance_chat(chat, Advance::touch(now)).await?;
                let chat = chat.ok_or(AgainError::NotFound)?;
                let answer = tx.lock_message(id).await?;
                let answer = answer.ok_or(AgainError::NotFound)?;
                check(&answer, again)?;
                let question = self.question(&tx, &answer).await?;
                tx.keep_version(&answer).await?;
                let request = RequestId::generate();
                let edition = Edition::from_stored(answer.edition).next().to_stored();
                let rewrite = Rewrite {
                    status: Status::Pending,
                    content: String::new(),
                    edition,
                    version: answer.versions + 1,
                    versions: answer.versions + 1,
                    request_id: Some(request),
                    error: None,
                    completed_at: None,
                    revision: chat.revision,
                };
                if !tx.rewrite_message(&answer, rewrite).await? {
                    return Err(StoreError::Raced.into());
                }
                let model = chat.model;
                tx.insert_request(llm_request::Model {
                    assistant_message_id: Some(id),
                    edition,
                    ..super::send::new_request(request, &question, model, now)
                })
                .await?;
                let message = tx.message(id).await?;
                let message = message.ok_or(AgainError::NotFound)?;
                fault::point("again.before_commit");
                Ok::<_, AgainError>(Sent { message, request })
            })
            .await?;
        self.follower.forget(id);
        self.announce();
        Ok(sent)
    }

    async fn question(&self, tx: &Tx, answer: &Message) -> Result<Message, AgainError> {
        let question = match answer.reply_to {
            Some(question) => tx.message(question).await?,
            None => None,
        };
        question
            .filter(|question| question.deleted_at.is_none())
            .ok_or(AgainError::QuestionGone)
    }
}

fn check(answer: &Message, again: Again) -> Result<(), AgainError> {
    if answer.deleted_at.is_some() || answer.superseded_at.is_some() {
        return Err(AgainError::NotFound);
    }
    if answer.role != Role::Assistant {
        return Err(AgainError::NotAnAnswer);
    }
    match (again, answer.status) {
        (_, Status::Pending) => Err(AgainError::StillWritten),
        (Again::Retry, Status::Completed) => Err(AgainError::IsComplete),
        (Again::Regenerate, Status::Failed | Status::Cancelled) => Err(AgainError::IsNotComplete),
        (Again::Retry, Status::Failed | Status::Cancelled)
        | (Again::Regenerate, Status::Completed) => Ok(()),
    }
}
