//! What a user thinks of an answer: noted with the text that it is about, so that each version has
//! its own.

use entity::chat_message::{Model as Message, Reaction, Role, Status};
use entity::{MessageId, OwnerId};

use super::{Chats, MessageRead, Once, OnceError};
use crate::model::delta::MAX_DELTA_BYTES;
use crate::model::text::{Comment, TextError};
use crate::store::{Advance, StoreError};

/// A reaction as it is asked for.
#[derive(Clone, Debug)]
pub struct NewReaction {
    pub reaction: Reaction,
    /// Why, in the user's words; a blank one is none.
    pub comment: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReactError {
    #[error("there is no such message")]
    NotFound,
    #[error("only answers can be liked or disliked")]
    NotAnAnswer,
    #[error("this answer is still being written; wait until it is finished")]
    StillWritten,
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the reaction could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Notes what the user thinks of an answer; none takes it back. The same once more changes
    /// nothing. The message as it then is.
    ///
    /// # Errors
    /// If there is no such answer of the owner's, it is being written, the comment is not one, or
    /// the database fails.
    pub async fn react(
        &self,
        owner: OwnerId,
        id: MessageId,
        new: Option<NewReaction>,
        once: Option<&Once>,
    ) -> Result<MessageRead, ReactError> {
        let reaction = match new {
            Some(new) => Some((new.reaction, comment(new.comment.as_deref())?)),
            None => None,
        };
        let row = self.store.message(owner, id).await?;
        let (row, reaction) = (&row.ok_or(ReactError::NotFound)?, &reaction);
        self.once(once, |tx| async move {
            // Locked but not advanced: it may turn out that nothing changes.
            let chat = tx.lock_chat(row.chat_id).await?;
            let chat = chat.ok_or(ReactError::NotFound)?;
            let answer = tx.lock_message(id).await?;
            let mut answer = answer.ok_or(ReactError::NotFound)?;
            check(&answer)?;
            let before = answer.reaction.zip(Some(answer.reaction_comment.clone()));
            if before != *reaction {
                // Nothing was said: the chat keeps its place in the list.
                let advance = Advance::touch(chat.updated_at);
                let chat = tx.advance_chat(chat.id, advance).await?;
                let chat = chat.ok_or(ReactError::NotFound)?;
                tx.set_reaction(id, reaction.clone(), chat.revision).await?;
                answer = tx.message(id).await?.ok_or(ReactError::NotFound)?;
            }
            Ok::<_, ReactError>(MessageRead::stored(answer, MAX_DELTA_BYTES))
        })
        .await
    }
}

fn comment(text: Option<&str>) -> Result<Option<String>, TextError> {
    let comment = text.map(Comment::parse).transpose()?.flatten();
    Ok(comment.map(Comment::into_string))
}

fn check(answer: &Message) -> Result<(), ReactError> {
    if answer.deleted_at.is_some() || answer.superseded_at.is_some() {
        return Err(ReactError::NotFound);
    }
    if answer.role != Role::Assistant || answer.reply_to.is_none() {
        return Err(ReactError::NotAnAnswer);
    }
    if answer.status == Status::Pending {
        return Err(ReactError::StillWritten);
    }
    Ok(())
}
