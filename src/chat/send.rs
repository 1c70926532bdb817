//! Sending a message: it and the request for its answer are stored in one transaction, and the
//! worker is told. The caller has its answer before any model is asked.

use std::sync::atomic::{AtomicBool, Ordering};

use entity::chat::OnBusy;
use entity::chat_message::{Model as Message, Role, Status};
use entity::{ChatId, MessageId, RequestId, Timestamp, llm_request};
use serde::{Deserialize, Serialize};

use super::end::{Cut, End};
use super::{Chats, MAX_STALE, Once, OnceError, OwnedChat};
use crate::fault;
use crate::model::text::{MessageText, TextError, Title};
use crate::store::{Advance, ChatChange, StoreError, Tx};

/// What is sent.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// Chosen by the client, so that the send can be repeated.
    pub id: Option<MessageId>,
    pub text: String,
    /// None: as the chat says, or else the configuration.
    pub on_busy: Option<OnBusy>,
}

/// A message that waits to be answered, and the request that will answer it; or an answer that
/// waits to be written again, and the request that will write it.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// An answer is under way, and the message was to be refused then.
    #[error("an answer is under way in this chat; wait for it, or choose another `on_busy`")]
    Busy,
    /// The UUID is that of a message in another chat.
    #[error("this UUID is taken; choose another one")]
    UuidTaken,
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the message could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Stores the message and queues its answer. What happens to an answer that is under way, the
    /// message, its chat or the configuration says.
    ///
    /// # Errors
    /// If the text is not a message, the chat is gone or busy, or the database fails.
    pub async fn send(
        &self,
        chat: &OwnedChat,
        new: NewMessage,
        once: Option<&Once>,
    ) -> Result<Sent, SendError> {
        let text = &MessageText::parse(new.text, self.settings.message_bytes)?;
        let on_busy = new.on_busy.or(chat.row().on_busy);
        let on_busy = on_busy.unwrap_or(self.settings.on_busy);
        let is_instead = matches!(on_busy, OnBusy::Interrupt | OnBusy::Rollback);
        for _ in 0..MAX_STALE {
            let under_way = if is_instead {
                self.store.active_requests(chat.id()).await?
            } else {
                Vec::new()
            };
            let cut = match under_way.first() {
                Some(request) => Some(self.cut(request.clone()).await?),
                None => None,
            };
            let question = &Question {
                chat: chat.id(),
                id: new.id,
                text,
                now: self.clock.now(),
            };
            let (cut_here, has_cut) = (cut.as_ref(), &AtomicBool::new(false));
            let waiting: &Vec<RequestId> = &under_way.iter().skip(1).map(|r| r.id).collect();
            let sent = self
                .once(once, |tx| async move {
                    has_cut.store(false, Ordering::Relaxed);
                    if let Some(known) = known(&tx, question).await? {
                        return Ok(known);
                    }
                    if let Some(cut) = cut_here {
                        self.stop_in(&tx, cut, on_busy).await?;
                        has_cut.store(true, Ordering::Relaxed);
                    }
                    match on_busy {
                        OnBusy::Enqueue => {}
                        OnBusy::Reject => refuse_if_busy(&tx, chat.id()).await?,
                        OnBusy::Interrupt | OnBusy::Rollback => {
                            expect_waiting(&tx, chat.id(), waiting).await?;
                        }
                    }
                    let sent = queue_message(&tx, question).await?;
                    fault::point("send.before_commit");
                    sent.ok_or(SendError::ChatGone)
                })
                .await;
            match sent {
                Err(SendError::Store(StoreError::Stale)) => self.let_others_pass().await,
                // Another chat was faster with this UUID.
                Err(SendError::Store(error)) if error.is_duplicate() => {
                    return Err(SendError::UuidTaken);
                }
                Err(error) => return Err(error),
                Ok(sent) => {
                    fault::point("send.committed");
                    if let Some(cut) = cut.filter(|_| has_cut.load(Ordering::Relaxed)) {
                        cut.done(self);
                    }
                    self.announce();
                    return Ok(sent);
                }
            }
        }
        Err(StoreError::Stale.into())
    }

    /// Ends what is under way. On a rollback its turn disappears with it; an answer that was only
    /// being asked for again goes back to the version before.
    async fn stop_in(&self, tx: &Tx, cut: &Cut, on_busy: OnBusy) -> Result<(), StoreError> {
        let (request, now) = (&cut.request, self.clock.now());
        let ending = cut.ending(End::Cancelled);
        let ended = self.end_answer(tx, request, ending).await?;
        let chat = ended.ok_or(StoreError::Stale)?;
        if on_busy != OnBusy::Rollback {
            return Ok(());
        }
        let answer = match request.assistant_message_id {
            Some(answer) => tx.message(answer).await?,
            None => None,
        };
        if let Some(answer) = &answer
            && let Some(before) = tx.version(answer.id, answer.version - 1).await?
        {
            return self.restore(tx, answer, before, chat.revision).await;
        }
        let question = tx.message(request.user_message_id).await?;
        for message in question.iter().chain(&answer) {
            tx.bury_message(message, chat.revision, now).await?;
        }
        Ok(())
    }
}

/// What waits in the chat must be what was read before, but for what has been stopped: of several
/// such sends at once, each stops the one before it.
async fn expect_waiting(tx: &Tx, chat: ChatId, expected: &[RequestId]) -> Result<(), StoreError> {
    tx.lock_chat(chat).await?;
    let active = tx.active_requests(chat).await?;
    let is_so = active.len() == expected.len()
        && active.iter().all(|request| expected.contains(&request.id));
    if is_so {
        Ok(())
    } else {
        Err(StoreError::Stale)
    }
}

/// A user message on its way into a chat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub chat: ChatId,
    pub id: Option<MessageId>,
    pub text: &'a MessageText,
    pub now: Timestamp,
}

/// The message that this same send has stored before.
async fn known(tx: &Tx, question: &Question<'_>) -> Result<Option<Sent>, SendError> {
    let Some(id) = question.id else {
        return Ok(None);
    };
    let Some(message) = tx.message(id).await? else {
        return Ok(None);
    };
    match message.request_id {
        Some(request) if message.chat_id == question.chat && message.role == Role::User => {
            if message.content == question.text.as_str() {
                Ok(Some(Sent { message, request }))
            } else {
                Err(OnceError::OtherBody.into())
            }
        }
        _ => Err(SendError::UuidTaken),
    }
}

async fn refuse_if_busy(tx: &Tx, chat: ChatId) -> Result<(), SendError> {
    // Locked, so that of two such sends at once one is refused.
    tx.lock_chat(chat).await?;
    if tx.active_requests(chat).await?.is_empty() {
        Ok(())
    } else {
        Err(SendError::Busy)
    }
}

/// Writes a user message and its request. None if the chat is gone.
pub(super) async fn queue_message(
    tx: &Tx,
    question: &Question<'_>,
) -> Result<Option<Sent>, StoreError> {
    let (text, now) = (question.text, question.now);
    let advance = Advance {
        messages: 1,
        status: None,
        now,
    };
    let Some(chat) = tx.advance_chat(question.chat, advance).await? else {
        return Ok(None);
    };
    if let Some(id) = question.id
        && tx.message(id).await?.is_some()
    {
        // The same send was faster by the chat's lock: it is found when this is run again.
        return Err(StoreError::Raced);
    }
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
        id: question.id.unwrap_or_else(MessageId::generate),
        chat_id: chat.id,
        sequence,
        revision: chat.revision,
        role: Role::User,
        status: Status::Pending,
        reply_to: None,
        request_id: Some(request),
        content: text.as_str().to_owned(),
        edition: 0,
        version: 1,
        versions: 1,
        error_code: None,
        error_message: None,
        created_at: now,
        completed_at: None,
        deleted_at: None,
        superseded_at: None,
    };
    tx.insert_message(message.clone()).await?;
    tx.insert_request(new_request(request, &message, chat.model, now))
        .await?;
    Ok(Some(Sent { message, request }))
}

/// A request that waits to be claimed.
pub(super) fn new_request(
    id: RequestId,
    question: &Message,
    model: Option<String>,
    now: Timestamp,
) -> llm_request::Model {
    llm_request::Model {
        id,
        chat_id: question.chat_id,
        user_message_id: question.id,
        sequence: question.sequence,
        assistant_message_id: None,
        status: llm_request::Status::Queued,
        attempt: 0,
        edition: 0,
        model,
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
        deadline_at: None,
        first_token_at: None,
        finished_at: None,
    }
}
