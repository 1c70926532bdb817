//! An answer as a program sees it that asked for one: what was asked for, what has become of it, and what it took. It is
//! found by its request, which is there from the beginning, or by its message.

use entity::chat::Model as Chat;
use entity::chat_message::{Model as Message, Role};
use entity::llm_attempt::Model as Attempt;
use entity::llm_request::{Model as Request, Status};
use entity::message_version::Model as Kept;
use entity::{ChatId, MessageId, OwnerId, Parameters, RequestId};
use uuid::Uuid;

use super::delete::Removal;
use super::end::End;
use super::{Chats, DeleteMessageError, MAX_STALE, MessageRead};
use crate::model::history::history;
use crate::model::parameters::first_of;
use crate::store::{Advance, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    #[error("there is no such response")]
    NotFound,
    #[error("the response could not be read")]
    Store(#[from] StoreError),
}

/// An answer, and all that is known of it.
#[derive(Clone, Debug)]
pub struct Response {
    pub chat: Chat,
    /// None: no request here has written the answer, but another server, or the chat's agent.
    pub request: Option<Request>,
    /// With its whole text; none while it waits to be begun, or if it was stopped before.
    pub answer: Option<MessageRead>,
    /// The message shows what this request has written, and not another version.
    pub is_shown: bool,
    /// What the run took that has ended it.
    pub spent: Option<Attempt>,
}

/// Where a response is.
pub(super) struct FoundResponse {
    pub chat: Chat,
    pub request: Option<Request>,
    /// None: not begun.
    pub answer: Option<MessageId>,
    reply_to: Option<MessageId>,
}

impl FoundResponse {
    /// The message that it answers.
    pub fn question(&self) -> Option<MessageId> {
        let asked = self.request.as_ref().map(|request| request.user_message_id);
        asked.or(self.reply_to)
    }
}

impl Response {
    /// The name that it keeps: its request's, or else its message's.
    #[must_use]
    pub fn id(&self) -> Uuid {
        let answer = self.answer.as_ref().map(|answer| answer.row.id.0);
        let request = self.request.as_ref().map(|request| request.id.0);
        request.or(answer).unwrap_or_default()
    }

    /// Whether nothing more will become of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let status = self.request.as_ref().map(|request| request.status);
        !matches!(status, Some(Status::Queued | Status::Running))
    }

    /// How the model was asked, as far as somebody said so.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        let request = self.request.as_ref();
        let own = request.and_then(|request| request.parameters.as_ref());
        first_of([own, self.chat.parameters.as_ref()].into_iter().flatten())
    }

    /// The model that answers, if it is known.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        let origin = self.answer.as_ref();
        let origin = origin.and_then(|answer| answer.row.origin.as_ref());
        let asked = self.request.as_ref().and_then(|one| one.model.as_deref());
        asked.or(origin.and_then(|origin| origin.model.as_deref()))
    }
}

impl Chats {
    /// A response by the UUID of its request, of its answer or of its question.
    ///
    /// # Errors
    /// If the owner has none, or the database fails.
    pub async fn response(&self, owner: OwnerId, id: Uuid) -> Result<Response, ResponseError> {
        let found = self.find_response(owner, id).await?;
        // The request was read before the text: what ends in between has more text than its status promises, never less.
        self.read_response(owner, found).await
    }

    pub(super) async fn find_response(
        &self,
        owner: OwnerId,
        id: Uuid,
    ) -> Result<FoundResponse, ResponseError> {
        if let Some(request) = self.store.request(RequestId(id)).await? {
            let chat = self.store.chat(owner, request.chat_id).await?;
            return Ok(FoundResponse {
                chat: chat.ok_or(ResponseError::NotFound)?,
                answer: request.assistant_message_id,
                reply_to: None,
                request: Some(request),
            });
        }
        let row = self.store.message(owner, MessageId(id)).await?;
        let row = row.ok_or(ResponseError::NotFound)?;
        let request = match row.request_id {
            Some(request) => self.store.request(request).await?,
            None => None,
        };
        let request = request.filter(|request| request.chat_id == row.chat_id);
        let answer = match (row.role, &request) {
            (Role::Assistant, _) => Some(row.id),
            (Role::User, Some(request)) => request.assistant_message_id,
            (Role::User, None) | (Role::System | Role::Agent, _) => {
                return Err(ResponseError::NotFound);
            }
        };
        let chat = self.store.chat(owner, row.chat_id).await?;
        Ok(FoundResponse {
            chat: chat.ok_or(ResponseError::NotFound)?,
            request,
            answer,
            reply_to: row.reply_to,
        })
    }

    async fn read_response(
        &self,
        owner: OwnerId,
        found: FoundResponse,
    ) -> Result<Response, ResponseError> {
        let FoundResponse {
            chat,
            request,
            answer,
            ..
        } = found;
        let mut response = Response {
            chat,
            request,
            answer: None,
            is_shown: true,
            spent: None,
        };
        if let Some(id) = answer {
            // Memory is asked before the database, as for every message.
            let live = self.ledgers.get(id);
            let row = self.store.message(owner, id).await?;
            let row = row.ok_or(ResponseError::NotFound)?;
            let writer = response.request.as_ref().map(|request| request.id);
            response.is_shown = writer.is_none() || row.request_id == writer;
            let answer = if response.is_shown {
                self.read_row(row, live.as_slice(), usize::MAX).await?
            } else {
                let kept = self.store.versions(id).await?;
                let kept = kept.into_iter().find(|kept| kept.request_id == writer);
                MessageRead::stored(as_kept(row, kept), usize::MAX)
            };
            response.answer = Some(answer);
        } else if response.request.is_none() {
            return Err(ResponseError::NotFound);
        } else if let Some(request) = &response.request {
            // Its question may have been deleted while it waited.
            let question = self.store.message(owner, request.user_message_id).await?;
            question.ok_or(ResponseError::NotFound)?;
        }
        if let Some(request) = response.request.as_ref().filter(|_| response.is_over()) {
            response.spent = self.store.attempts_of(request.id).await?.pop();
        }
        Ok(response)
    }

    /// Ends a response that is under way or waits, on whichever node it is; one that has ended stays as it is. What
    /// has become of it.
    ///
    /// # Errors
    /// As [`Self::response`].
    pub async fn cancel_response(
        &self,
        owner: OwnerId,
        id: Uuid,
    ) -> Result<Response, ResponseError> {
        for _ in 0..MAX_STALE {
            let found = self.find_response(owner, id).await?;
            let under_way = found.request.as_ref().filter(|request| is_active(request));
            let Some(request) = under_way.cloned() else {
                return self.read_response(owner, found).await;
            };
            let cut = self.cut(request).await?;
            let cut_here = &cut;
            let ended = self
                .store
                .tx(|tx| async move {
                    let ending = cut_here.ending(End::Cancelled);
                    let ended = self.end_answer(&tx, &cut_here.request, ending).await?;
                    ended.ok_or(StoreError::Stale)
                })
                .await;
            match ended {
                // It has ended, or begun, just now.
                Err(StoreError::Stale) => self.let_others_pass().await,
                Err(error) => return Err(error.into()),
                Ok(_) => cut.done(self),
            }
        }
        Err(StoreError::Stale.into())
    }

    /// Deletes a response with its question, and the messages that came along with that. A chat that was made for it
    /// goes with it, if nothing else was said there.
    ///
    /// # Errors
    /// As [`Self::response`].
    pub async fn delete_response(&self, owner: OwnerId, id: Uuid) -> Result<(), ResponseError> {
        let response = self.cancel_response(owner, id).await?;
        let chat = &response.chat;
        let request = response.request.as_ref();
        let answer = response.answer.as_ref().map(|answer| &answer.row);
        let question = request.map(|request| request.user_message_id);
        let question = question.or(answer.and_then(|answer| answer.reply_to));
        let asked_as = request.and_then(|request| request.asked_as.as_ref());
        let all = self.store.all_messages(chat.id).await?;
        let asked = all.iter().find(|message| Some(message.id) == question);
        if asked_as.is_some_and(|asked_as| asked_as.made_chat)
            && self.store.requests_of(chat.id).await?.len() == 1
        {
            // Whatever stands before the question was copied or came along with it.
            let is_others = |message: &&Message| {
                is_said(message)
                    && Some(message.id) != question
                    && asked.is_some_and(|asked| message.sequence > asked.sequence)
                    && answer.is_none_or(|answer| answer.id != message.id)
            };
            if all.iter().find(is_others).is_none() {
                self.remove_chat(chat, Removal::CanBeUndone).await?;
                return Ok(());
            }
        }
        let along = asked_as.map_or(0, |asked_as| asked_as.came_along);
        let along = i64::try_from(along).unwrap_or(i64::MAX);
        let came_along = |message: &&Message| {
            asked.is_some_and(|asked| {
                (asked.sequence.saturating_sub(along)..asked.sequence).contains(&message.sequence)
            })
        };
        let along: Vec<&Message> = all.iter().filter(came_along).collect();
        // Before the question, which says how many they are: so this can be repeated when it is cut off.
        self.bury(chat.id, &along).await?;
        for message in [question, answer.map(|row| row.id)].into_iter().flatten() {
            match self.delete_message(owner, message).await {
                // Somebody else has, or it was asked for again: that is another response.
                Ok(()) | Err(DeleteMessageError::NotFound | DeleteMessageError::StillWritten) => {}
                Err(DeleteMessageError::Store(error)) => return Err(error.into()),
            }
        }
        self.forget_answers(chat.id).await;
        Ok(())
    }

    /// Turns messages of a chat that are complete into tombstones.
    async fn bury(&self, chat: ChatId, messages: &[&Message]) -> Result<(), StoreError> {
        if messages.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        self.store
            .tx(|tx| async move {
                let Some(chat) = tx.advance_chat(chat, Advance::touch(now)).await? else {
                    return Ok(());
                };
                for message in messages {
                    tx.bury_message(message, chat.revision, now).await?;
                }
                Ok(())
            })
            .await
    }

    /// What the model was given for a response, oldest first: the turns before its question, and that.
    ///
    /// # Errors
    /// As [`Self::response`].
    pub async fn response_input(
        &self,
        owner: OwnerId,
        id: Uuid,
    ) -> Result<Vec<Message>, ResponseError> {
        let found = self.find_response(owner, id).await?;
        let Some(question) = found.question() else {
            return Ok(Vec::new());
        };
        let all = self.store.all_messages(found.chat.id).await?;
        let asked = all.iter().find(|message| message.id == question).cloned();
        let asked = asked.filter(|asked| asked.deleted_at.is_none());
        let asked = asked.ok_or(ResponseError::NotFound)?;
        let mut turns = history(all, &asked);
        // An agent's words are not its user's to read, and what was said later was not given.
        let has_agent = found.chat.agent.is_some();
        turns.retain(|turn| {
            turn.role != Role::System || (!has_agent && turn.sequence < asked.sequence)
        });
        // One that waits is no turn yet.
        if turns.iter().all(|turn| turn.id != asked.id) {
            turns.push(asked);
        }
        Ok(turns)
    }
}

fn is_active(request: &Request) -> bool {
    matches!(request.status, Status::Queued | Status::Running)
}

/// Whether somebody can see it.
fn is_said(message: &Message) -> bool {
    message.role != Role::System && message.deleted_at.is_none() && message.superseded_at.is_none()
}

/// The message as it was when it showed a text that was kept; without one, when it had none.
fn as_kept(row: Message, kept: Option<Kept>) -> Message {
    let Some(kept) = kept else {
        return Message {
            content: String::new(),
            reasoning: String::new(),
            error_code: None,
            error_message: None,
            ..row
        };
    };
    Message {
        status: kept.status,
        content: kept.content,
        reasoning: kept.reasoning,
        origin: kept.origin,
        request_id: kept.request_id,
        error_code: kept.error_code,
        error_message: kept.error_message,
        completed_at: kept.completed_at,
        ..row
    }
}
