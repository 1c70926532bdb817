//! Cancelling: an answer that is being written, or waits to be, ends here and now, whichever node
//! writes it. The database decides a race with its end; the node that wrote it drops its provider
//! connection at once, or at its next flush if it is another one.

use std::sync::atomic::{AtomicBool, Ordering};

use entity::chat_message::{Model as Message, Status};
use entity::llm_request::Model as Request;
use entity::{MessageId, OwnerId};
use serde::{Deserialize, Serialize};

use super::end::{Cut, End};
use super::{Chats, MAX_STALE, MessageRead, Once, OnceError};
use crate::fault;
use crate::model::delta::MAX_DELTA_BYTES;
use crate::store::StoreError;

/// What a cancel found, and what has become of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
        for tries_left in (0..MAX_STALE).rev() {
            let row = self.store.message(owner, id).await?;
            let row = row.ok_or(CancelError::NotFound)?;
            let cut = match self.active_request(&row).await? {
                Some(request) => Some(self.cut(request).await?),
                None if row.status == Status::Pending && tries_left > 0 => {
                    // It has just ended, or begun again: between two reads it looked like neither.
                    self.let_others_pass().await;
                    continue;
                }
                None => None,
            };
            let has_cut = AtomicBool::new(false);
            let done = match self.end_cut(&row, cut.as_ref(), once, &has_cut).await {
                Err(CancelError::Store(StoreError::Stale)) => {
                    self.let_others_pass().await;
                    continue;
                }
                done => done?,
            };
            fault::point("cancel.committed");
            // An answer out of the memory of a key has ended nothing now.
            if let Some(cut) = cut.filter(|_| has_cut.load(Ordering::Relaxed)) {
                cut.done(self);
            }
            return Ok(done);
        }
        Err(StoreError::Stale.into())
    }

    async fn end_cut(
        &self,
        row: &Message,
        cut: Option<&Cut>,
        once: Option<&Once>,
        has_cut: &AtomicBool,
    ) -> Result<Cancelled, CancelError> {
        self.once(once, |tx| async move {
            has_cut.store(cut.is_some(), Ordering::Relaxed);
            if let Some(cut) = cut {
                let ending = cut.ending(End::Cancelled);
                let ended = self.end_answer(&tx, &cut.request, ending).await?;
                ended.ok_or(StoreError::Stale)?;
            }
            let message = tx.message(row.id).await?.ok_or(CancelError::NotFound)?;
            fault::point("cancel.before_commit");
            Ok(Cancelled {
                found: cut.map_or(row.status, |_| Status::Pending),
                cancelled: cut.is_some(),
                message: MessageRead::stored(message, MAX_DELTA_BYTES),
            })
        })
        .await
    }

    /// The request that runs or waits to write this message, or to answer it.
    async fn active_request(&self, message: &Message) -> Result<Option<Request>, StoreError> {
        let active = self.store.active_requests(message.chat_id).await?;
        Ok(active.into_iter().find(|request| {
            request.assistant_message_id == Some(message.id)
                || request.user_message_id == message.id
        }))
    }
}
