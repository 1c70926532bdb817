//! The versions of a message: listed, and one of them chosen. Whatever is chosen is a new edition,
//! so that every client replaces what it has.

use entity::chat_message::{Model as Message, Role, Status};
use entity::message_version::Model as Kept;
use entity::{MessageId, OwnerId, RequestId, Timestamp};

use super::{Chats, MessageError, MessageRead, Once, OnceError};
use crate::model::delta::MAX_DELTA_BYTES;
use crate::model::failure::Failure;
use crate::model::position::Edition;
use crate::store::{Advance, Rewrite, StoreError, Tx};

/// One of the texts that a message has had.
#[derive(Clone, Debug)]
pub struct Version {
    /// From 1, in the order in which the texts were begun.
    pub number: i64,
    pub status: Status,
    /// The text, or its beginning.
    pub content: String,
    /// The text is longer than `content`.
    pub truncated: bool,
    pub request: Option<RequestId>,
    pub error: Option<Failure>,
    pub completed_at: Option<Timestamp>,
    /// It is what the message shows now.
    pub selected: bool,
}

/// All versions of a message, oldest first.
#[derive(Clone, Debug)]
pub struct Versions {
    pub message: MessageId,
    pub versions: Vec<Version>,
}

#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error("there is no such message")]
    NotFound,
    #[error("this message has no version {0}")]
    NoSuchVersion(i64),
    #[error("only versions of answers can be chosen; edit a message of your own instead")]
    NotAnAnswer,
    #[error("this answer is still being written; cancel it first, or wait")]
    StillWritten,
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the version could not be chosen")]
    Store(#[from] StoreError),
}

impl Chats {
    /// The versions of a message. Together they carry at most as much text as one answer may.
    ///
    /// # Errors
    /// If there is no such message of the owner's, or the database fails.
    pub async fn versions(&self, owner: OwnerId, id: MessageId) -> Result<Versions, MessageError> {
        let current = self.message(owner, id).await?;
        let earlier = self.store.versions(id).await?;
        let now = Version {
            number: current.row.version,
            status: current.row.status,
            content: current.content,
            truncated: current.truncated,
            request: current.row.request_id,
            error: current.error,
            completed_at: current.row.completed_at,
            selected: true,
        };
        let shown = now.number;
        let mut versions: Vec<Version> = earlier
            .into_iter()
            .filter(|version| version.number != shown)
            .map(|version| Version {
                number: version.number,
                status: version.status,
                truncated: false,
                request: version.request_id,
                error: Failure::from_stored(
                    version.error_code.as_deref(),
                    version.error_message.as_deref(),
                ),
                content: version.content,
                completed_at: version.completed_at,
                selected: false,
            })
            .chain([now])
            .collect();
        versions.sort_by_key(|version| version.number);
        // The one that is shown and the latest ones are what a reader wants most.
        let mut left = MAX_DELTA_BYTES;
        let mut by_interest: Vec<&mut Version> = versions.iter_mut().rev().collect();
        by_interest.sort_by_key(|version| !version.selected);
        for version in by_interest {
            let end = version.content.floor_char_boundary(left);
            version.truncated |= end < version.content.len();
            version.content.truncate(end);
            left -= end;
        }
        Ok(Versions {
            message: id,
            versions,
        })
    }

    /// Shows another version of an answer. The message as it then is.
    ///
    /// # Errors
    /// If there is no such answer or version, the answer is being written, or the database fails.
    pub async fn select_version(
        &self,
        owner: OwnerId,
        id: MessageId,
        number: i64,
        once: Option<&Once>,
    ) -> Result<MessageRead, SelectError> {
        let row = self.store.message(owner, id).await?;
        let row = row.ok_or(SelectError::NotFound)?;
        let (chat, now) = (row.chat_id, self.clock.now());
        self.once(once, |tx| async move {
            let chat = tx.advance_chat(chat, Advance::touch(now)).await?;
            let chat = chat.ok_or(SelectError::NotFound)?;
            let answer = tx.lock_message(id).await?;
            let answer = answer.ok_or(SelectError::NotFound)?;
            check(&answer)?;
            if answer.version == number {
                return Ok(MessageRead::stored(answer, MAX_DELTA_BYTES));
            }
            let chosen = tx.version(id, number).await?;
            let chosen = chosen.ok_or(SelectError::NoSuchVersion(number))?;
            self.restore(&tx, &answer, chosen, chat.revision).await?;
            let message = tx.message(id).await?.ok_or(SelectError::NotFound)?;
            Ok::<_, SelectError>(MessageRead::stored(message, MAX_DELTA_BYTES))
        })
        .await
    }
}

impl Chats {
    /// Puts an earlier version in the place of what the message shows, which is kept as one too.
    pub(super) async fn restore(
        &self,
        tx: &Tx,
        message: &Message,
        chosen: Kept,
        revision: i64,
    ) -> Result<(), StoreError> {
        tx.keep_version(message).await?;
        let rewrite = Rewrite {
            status: chosen.status,
            content: chosen.content,
            reasoning: chosen.reasoning,
            origin: chosen.origin,
            edition: Edition::from_stored(message.edition).next().to_stored(),
            version: chosen.number,
            versions: message.versions,
            request_id: chosen.request_id,
            error: chosen
                .error_code
                .map(|code| (code, chosen.error_message.unwrap_or_default())),
            reaction: chosen
                .reaction
                .map(|reaction| (reaction, chosen.reaction_comment)),
            completed_at: chosen.completed_at,
            revision,
        };
        if tx.rewrite_message(message, rewrite).await? {
            Ok(())
        } else {
            Err(StoreError::Raced)
        }
    }
}

fn check(answer: &Message) -> Result<(), SelectError> {
    if answer.deleted_at.is_some() || answer.superseded_at.is_some() {
        return Err(SelectError::NotFound);
    }
    if answer.role != Role::Assistant {
        return Err(SelectError::NotAnAnswer);
    }
    if answer.status == Status::Pending {
        return Err(SelectError::StillWritten);
    }
    Ok(())
}
