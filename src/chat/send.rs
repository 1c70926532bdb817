//! Sending a message: it and the request for its answer are stored in one transaction, and the
//! worker is told. The caller has its answer before any model is asked.

use std::sync::atomic::{AtomicBool, Ordering};

use entity::chat::{Model as Chat, OnBusy};
use entity::chat_message::{Model as Message, Role, Status};
use entity::{ChatId, MessageId, RequestId, Timestamp, llm_request};
use serde::{Deserialize, Serialize};

use super::agents::finished_message;
use super::end::{Cut, End};
use super::{
    AllowanceError, Chats, MAX_STALE, Member, ModelError, Once, OnceError, Otherwise, OwnedChat,
};
use crate::fault;
use crate::model::command::{self, Parsed};
use crate::model::text::{MessageText, ModelName, TextError, Title};
use crate::store::{Advance, ChatChange, StoreError, Tx};
use crate::trace;

/// What is sent.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// Chosen by the client, so that the send can be repeated.
    pub id: Option<MessageId>,
    pub text: String,
    /// None: as the chat says, or else the configuration.
    pub on_busy: Option<OnBusy>,
    /// Who answers this message, and how they are asked.
    pub otherwise: Otherwise,
}

/// A message that waits to be answered, and the request that will answer it; or an answer that
/// waits to be written again, and the request that will write it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    pub message: Message,
    /// None for a command, which has been carried out already.
    pub request: Option<RequestId>,
}

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Allowance(#[from] AllowanceError),
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
        let standing = &self.standing(chat.row().owner_id).await?;
        let longest = self.message_bytes(&standing.member);
        let text = MessageText::parse(new.text, longest)?;
        let text = &match command::parse(text.as_str()) {
            Parsed::Message(words) => MessageText::parse(words, longest)?,
            order => {
                let cache_use = new.otherwise.cache_use;
                let sent = self.send_command(chat, new.id, &text, order, cache_use, once);
                return sent.await;
            }
        };
        let on_busy = new.on_busy.or(chat.row().on_busy);
        let on_busy = on_busy.unwrap_or(self.rules().settings.on_busy);
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
                otherwise: &new.otherwise,
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
                    standing.spent.clone()?;
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
                    let sent = self.queue_message::<SendError>(&tx, question, &standing.member);
                    let sent = sent.await?;
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
    pub otherwise: &'a Otherwise,
    pub now: Timestamp,
}

/// The message that this same send has stored before.
pub(super) async fn known(tx: &Tx, question: &Question<'_>) -> Result<Option<Sent>, SendError> {
    let Some(id) = question.id else {
        return Ok(None);
    };
    let Some(message) = tx.message(id).await? else {
        return Ok(None);
    };
    if message.chat_id != question.chat || message.role != Role::User {
        return Err(SendError::UuidTaken);
    }
    if message.content != question.text.as_str() {
        return Err(OnceError::OtherBody.into());
    }
    let request = message.request_id;
    Ok(Some(Sent { message, request }))
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

/// Has the first thing that is asked in a chat that nobody named give it its title. The chat must have been advanced in
/// this transaction.
pub(super) async fn give_title(tx: &Tx, chat: &Chat, text: &MessageText) -> Result<(), StoreError> {
    let is_named = chat.title != Title::of_new_chat().into_string();
    if is_named || tx.has_question(chat.id).await? {
        return Ok(());
    }
    let change = ChatChange {
        title: Some(text.derive_title().into_string()),
        ..ChatChange::default()
    };
    tx.change_chat(chat.id, change).await?;
    Ok(())
}

impl Chats {
    /// Writes a user message and its request. None if the chat is gone.
    pub(super) async fn queue_message<E>(
        &self,
        tx: &Tx,
        question: &Question<'_>,
        member: &Member,
    ) -> Result<Option<Sent>, E>
    where
        E: From<StoreError> + From<ModelError> + From<AllowanceError>,
    {
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
            return Err(StoreError::Raced.into());
        }
        give_title(tx, &chat, text).await?;
        let request = RequestId::generate();
        let message = Message {
            id: question.id.unwrap_or_else(MessageId::generate),
            status: Status::Pending,
            request_id: Some(request),
            completed_at: None,
            ..finished_message(&chat, Role::User, text.as_str(), now)
        };
        tx.insert_message(message.clone()).await?;
        if let Some(parameters) = &question.otherwise.parameters {
            let model = question.otherwise.model.as_ref().or(chat.model.as_ref());
            self.check_parameters(member, model.map(String::as_str), parameters)?;
        }
        let asked = (&chat, member, question.otherwise);
        let queued = self.new_request(request, &message, asked)?;
        self.admit::<E>(tx, member).await?;
        tx.insert_request(queued).await?;
        Ok(Some(Sent {
            message,
            request: Some(request),
        }))
    }

    /// A request that waits to be claimed, for the chat's model and parameters unless another model
    /// or others are wanted.
    pub(super) fn new_request(
        &self,
        id: RequestId,
        question: &Message,
        (chat, member, otherwise): (&Chat, &Member, &Otherwise),
    ) -> Result<llm_request::Model, ModelError> {
        let named = otherwise.model.as_deref().map(ModelName::parse);
        let named = named.transpose()?;
        let named = named.as_ref().map(ModelName::as_str);
        let model = named.or(chat.model.as_deref());
        let route = self.route(member, model)?;
        Ok(llm_request::Model {
            id,
            chat_id: question.chat_id,
            user_message_id: question.id,
            sequence: question.sequence,
            assistant_message_id: None,
            status: llm_request::Status::Queued,
            attempt: 0,
            edition: 0,
            model: Some(route.spec.id.clone()),
            provider: Some(route.spec.provider.clone()),
            parameters: otherwise.parameters.clone(),
            names_model: otherwise.model.is_some(),
            cache_use: otherwise.cache_use,
            lease_owner: None,
            lease_expires_at: None,
            finish_reason: None,
            input_tokens: None,
            output_tokens: None,
            error_code: None,
            error_message: None,
            created_at: self.clock.now(),
            started_at: None,
            deadline_at: None,
            first_token_at: None,
            finished_at: None,
            traceparent: trace::traceparent(),
            instructions: otherwise.instructions.clone(),
            asked_as: otherwise.asked_as.clone(),
        })
    }
}
