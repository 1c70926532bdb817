//! Cancelling: an answer that is being written, or waits to be, ends here and now, whichever node
//! writes it. The database decides a race with its end; the node that wrote it drops its provider
//! connection at once, or at its next flush if it is another one.

use entity::chat_message::{Model as Message, Role, Status};
use entity::{MessageId, OwnerId, llm_request};
use serde::{Deserialize, Serialize};

use super::end::{Cut, End};
use super::{Chats, MAX_STALE, MessageRead, Once, OnceError};
use crate::fault;
use crate::store::StoreError;

/// What a cancel found, and what has become of it.
#[derive(Clone, Debug)]
pub struct Cancelled {
    /// The status before.
    pub found: Status,
    /// Whether this call is what stopped it.
    pub cancelled: bool,
    pub message: MessageRead,
}

#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    #[error("there is no such message")]
    NotFound,
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the answer could not be cancelled")]
    Store(#[from] StoreError),
}

/// What is remembered of a cancel.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Done {
    found: Status,
    cancelled: bool,
}

impl Chats {
    /// Cancels an answer, or a user message that waits for one; named by the user message too
    /// when its answer is being written. What has ended already stays as it is.
    ///
    /// # Errors
    /// If there is no such message of the owner's, or the database fails.
    pub async fn cancel(
        &self,
        owner: OwnerId,
        id: MessageId,
        once: Option<&Once>,
    ) -> Result<Cancelled, CancelError> {
        for _ in 0..MAX_STALE {
            let row = self.store.message(owner, id).await?;
            let row = row.ok_or(CancelError::NotFound)?;
            let cut = match self.active_request(&row).await? {
                Some(request) => Some(self.cut(request).await?),
                None => None,
            };
            let done = match self.end_cut(&row, cut.as_ref(), once).await {
                Err(CancelError::Store(StoreError::Stale)) => continue,
                done => done?,
            };
            fault::point("cancel.committed");
            if let Some(cut) = cut.filter(|_| done.cancelled) {
                cut.done(self);
            }
            let message = self.message(owner, id).await.map_err(|error| match error {
                super::MessageError::NotFound => CancelError::NotFound,
                super::MessageError::Store(error) => error.into(),
            })?;
            return Ok(Cancelled {
                found: done.found,
                cancelled: done.cancelled,
                message,
            });
        }
        Err(StoreError::Stale.into())
    }

    async fn end_cut(
        &self,
        row: &Message,
        cut: Option<&Cut>,
        once: Option<&Once>,
    ) -> Result<Done, CancelError> {
        self.once(once, |tx| async move {
            let Some(cut) = cut else {
                return Ok(Done {
                    found: row.status,
                    cancelled: false,
                });
            };
            let ending = cut.ending(End::Cancelled);
            let ended = self.end_answer(&tx, &cut.request, ending).await?;
            ended.ok_or(StoreError::Stale)?;
            fault::point("cancel.before_commit");
            Ok(Done {
                found: Status::Pending,
                cancelled: true,
            })
        })
        .await
    }

    /// The request that runs or waits behind a message, if one does.
    pub(super) async fn active_request(
        &self,
        message: &Message,
    ) -> Result<Option<llm_request::Model>, StoreError> {
        let is_asked = message.role == Role::User || message.status == Status::Pending;
        let Some(id) = message.request_id.filter(|_| is_asked) else {
            return Ok(None);
        };
        let request = self.store.request(id).await?;
        Ok(request.filter(|request| {
            matches!(
                request.status,
                llm_request::Status::Queued | llm_request::Status::Running
            )
        }))
    }
}
