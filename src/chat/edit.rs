//! Editing a user message: one that waits is changed where it stands; one that was taken up gets
//! its new words, what followed it is superseded (kept, not shown), and it is asked again.

use entity::chat_message::{Model as Message, Role, Status};
use entity::llm_request::{CacheUse, Model as Request};
use entity::{MessageId, OwnerId, RequestId, chat};

use super::end::{Cut, End};
use super::{AllowanceError, Chats, MAX_STALE, Member, ModelError, Otherwise, Sent};
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
    #[error("a command cannot be edited; send another one")]
    IsCommand,
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Allowance(#[from] AllowanceError),
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
        cache_use: CacheUse,
    ) -> Result<Sent, EditError> {
        let standing = &self.standing(owner).await?;
        let longest = self.message_bytes(&standing.member);
        let text = &MessageText::parse(text, longest)?;
        for _ in 0..MAX_STALE {
            let row = self.store.message(owner, id).await?;
            let row = row.filter(|row| row.superseded_at.is_none());
            let row = row.ok_or(EditError::NotFound)?;
            if row.role != Role::User {
                return Err(EditError::NotYours);
            }
            if row.request_id.is_none() {
                return Err(EditError::IsCommand);
            }
            if let Some(request) = unchanged(&row, text) {
                return Ok(Sent {
                    message: row,
                    request: Some(request),
                });
            }
            let active = self.store.active_requests(row.chat_id).await?;
            let mut cuts = Vec::new();
            for request in active {
                // It runs, or has run and waits for its next attempt: its answer ends with it.
                if request.started_at.is_some() && request.sequence >= row.sequence {
                    cuts.push(self.cut(request).await?);
                }
            }
            let (cuts_here, row) = (&cuts, &row);
            let edited = self
                .store
                .tx(|tx| async move {
                    standing.spent.clone()?;
                    let asked = (text, cache_use, &*standing.member);
                    let sent = self.edit_in(&tx, row, cuts_here, asked);
                    let sent = sent.await?;
                    fault::point("edit.before_commit");
                    Ok::<_, EditError>(sent)
                })
                .await;
            match edited {
                Err(EditError::Store(StoreError::Stale)) => self.let_others_pass().await,
                Err(error) => return Err(error),
                Ok(Edited { sent, has_cut }) => {
                    if has_cut {
                        for cut in cuts {
                            cut.done(self);
                        }
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
        cuts: &[Cut],
        (text, cache_use, member): (&MessageText, CacheUse, &Member),
    ) -> Result<Edited, EditError> {
        let now = self.clock.now();
        let mut active = tx.lock_active_requests(row.chat_id).await?;
        active.retain(|request| request.sequence >= row.sequence);
        let waits = active
            .iter()
            .find(|request| request.user_message_id == row.id && request.started_at.is_none())
            .filter(|_| row.status == Status::Pending)
            .map(|request| request.id);
        if let Some(request) = waits {
            if !tx.set_cache_use(request, cache_use).await? {
                return Err(StoreError::Stale.into());
            }
        } else {
            for cut in cuts {
                let ended = self.end_answer(tx, &cut.request, cut.ending(End::Cancelled));
                ended.await?.ok_or(StoreError::Stale)?;
            }
            let is_cut = |request: &Request| cuts.iter().any(|cut| cut.request.id == request.id);
            for request in active.iter().filter(|request| !is_cut(request)) {
                if !tx.withdraw_request(request.id, now).await? {
                    return Err(StoreError::Stale.into());
                }
            }
        }
        let chat = tx.advance_chat(row.chat_id, Advance::touch(now)).await?;
        let chat = chat.ok_or(EditError::NotFound)?;
        let message = tx.lock_message(row.id).await?;
        let message = message.ok_or(EditError::NotFound)?;
        if message.revision != row.revision {
            // Taken up, edited or deleted since it was read.
            return Err(StoreError::Stale.into());
        }
        let (request, has_cut) = if let Some(request) = waits {
            (request, false)
        } else {
            let left = tx.active_requests(row.chat_id).await?;
            if left.iter().any(|request| request.sequence >= row.sequence) {
                // Somebody sent one meanwhile.
                return Err(StoreError::Stale.into());
            }
            let places = tx.message_places(chat.id).await?;
            let followers = followers(&places, row.id, row.sequence);
            tx.supersede_messages(&followers, chat.revision, now)
                .await?;
            tx.keep_version(&message).await?;
            (RequestId::generate(), true)
        };
        self.reword(tx, &message, &chat, request, text).await?;
        if has_cut {
            let before = match row.request_id {
                Some(before) => tx.request(before).await?,
                None => None,
            };
            let otherwise = Otherwise {
                cache_use,
                ..Otherwise::default()
            };
            let otherwise = otherwise.or_as(before.as_ref());
            let asked = (&chat, member, &otherwise);
            let queued = self.new_request(request, &message, asked)?;
            self.admit::<EditError>(tx, member).await?;
            tx.insert_request(queued).await?;
        }
        let message = tx.message(row.id).await?;
        let message = message.ok_or(EditError::NotFound)?;
        let sent = Sent {
            message,
            request: Some(request),
        };
        Ok(Edited { sent, has_cut })
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
            reasoning: String::new(),
            origin: None,
            edition: Edition::from_stored(message.edition).next().to_stored(),
            version: versions,
            versions,
            request_id: Some(request),
            error: None,
            reaction: None,
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

/// What a transaction has done.
struct Edited {
    sent: Sent,
    /// It was asked again, and what was under way has been stopped.
    has_cut: bool,
}

/// The request of a message that says these words already: the same edit once more, or none.
fn unchanged(message: &Message, text: &MessageText) -> Option<RequestId> {
    let is_same = message.content == text.as_str() && message.status != Status::Cancelled;
    message.request_id.filter(|_| is_same)
}
