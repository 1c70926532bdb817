//! Asking as programs do: what was said before the question comes along with it, and the answer goes on from another one.
//! What becomes of it is a chat like any other.
//!
//! A chat is one line of turns. Whoever goes on from an answer that is its chat's last one goes on in that chat; whoever
//! goes on from an earlier one gets a chat of their own with a copy of what led there.

use std::collections::HashMap;

use entity::chat::{Model as Chat, Status};
use entity::chat_message::{Model as Message, Role};
use entity::llm_request::CacheUse;
use entity::{AskedAs, ChatId, OwnerId, Parameters, RequestId, Timestamp};
use uuid::Uuid;

use super::agents::finished_message;
use super::send::Question;
use super::standing::Standing;
use super::{
    AgentError, AllowanceError, Chats, MAX_STALE, Member, ModelError, Once, OnceError, Otherwise,
    ResponseError,
};
use crate::model::history::{history, turns};
use crate::model::metadata::{self, MetadataError};
use crate::model::parameters::check_storable;
use crate::model::text::{MessageText, ModelName, TextError, Title, check_text};
use crate::store::{Advance, ChatChange, StoreError, Tx};

/// How long a chat stays that nobody wanted to be kept.
const PASSING_MS: i64 = 60 * 60 * 1000;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct NewResponse {
    pub model: Option<String>,
    /// A persona; only for a chat that begins with it.
    pub agent: Option<String>,
    /// What was said before the question, oldest first.
    pub earlier: Vec<Said>,
    pub question: String,
    pub after: After,
    /// What the system says for this answer alone.
    pub instructions: Option<String>,
    pub parameters: Option<Parameters>,
    pub cache_use: CacheUse,
    pub asked_as: AskedAs,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub role: Role,
    pub text: String,
}

/// What the answer goes on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum After {
    /// A chat of its own.
    #[default]
    Nothing,
    /// An answer, by its request or by itself.
    Response(Uuid),
    /// All that was said in a chat.
    Chat(ChatId),
}

#[derive(Debug, thiserror::Error)]
pub enum RespondError {
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Allowance(#[from] AllowanceError),
    #[error("there is no such response to go on from")]
    PreviousNotFound,
    #[error("there is no such chat")]
    ChatNotFound,
    #[error(
        "an answer is under way in this chat; poll it to its end, or cancel it, before the next question"
    )]
    Busy,
    #[error("the user is being deleted")]
    UserGone,
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the question could not be stored")]
    Store(#[from] StoreError),
}

impl From<ResponseError> for RespondError {
    fn from(error: ResponseError) -> Self {
        match error {
            ResponseError::NotFound => Self::PreviousNotFound,
            ResponseError::Store(error) => error.into(),
        }
    }
}

/// Where the question goes.
enum Place {
    /// Into a chat that begins with these messages of another one.
    New {
        chat: Box<Chat>,
        copied: Vec<Message>,
    },
    /// Into this one, if nothing was asked there behind the question that has this sequence.
    Here { chat: ChatId, last: Option<i64> },
}

impl Chats {
    /// Stores the question with what goes before it, and queues its answer.
    ///
    /// # Errors
    /// If what is said cannot be stored or asked, what it goes on from is not there or still being written, or the
    /// database fails.
    pub async fn respond(
        &self,
        owner: OwnerId,
        new: NewResponse,
        once: Option<&Once>,
    ) -> Result<RequestId, RespondError> {
        let standing = &self.standing(owner).await?;
        let new = &self.checked(&standing.member, new)?;
        for _ in 0..MAX_STALE {
            let place = &self.place(owner, new).await?;
            let asked = self
                .once(once, |tx| async move {
                    self.ask_in(&tx, (owner, standing), place, new).await
                })
                .await;
            match asked {
                // Somebody else has asked behind it meanwhile.
                Err(RespondError::Store(StoreError::Stale)) => self.let_others_pass().await,
                Err(error) => return Err(error),
                Ok(request) => {
                    self.announce();
                    return Ok(request);
                }
            }
        }
        Err(StoreError::Stale.into())
    }

    fn checked(&self, member: &Member, new: NewResponse) -> Result<Checked, RespondError> {
        let longest = self.message_bytes(member);
        let question = MessageText::parse(new.question, longest)?;
        for said in &new.earlier {
            // An answer may be longer than a question.
            let longest = match said.role {
                Role::Assistant | Role::Agent => usize::MAX,
                Role::User | Role::System => longest,
            };
            check_text("input", &said.text, longest)?;
        }
        if let Some(words) = &new.instructions {
            check_text("instructions", words, longest)?;
        }
        if let Some(parameters) = &new.parameters {
            check_storable(parameters)?;
        }
        metadata::parse(new.asked_as.metadata.clone())?;
        let model = new.model.as_deref();
        let model = model
            .map(|name| self.known_model(member, name))
            .transpose()?;
        let agent = new.agent.as_deref().map(|alias| self.agent(alias));
        Ok(Checked {
            earlier: new.earlier,
            question,
            after: new.after,
            agent: agent.transpose()?,
            is_passing: new.asked_as.is_passing,
            otherwise: Otherwise {
                model: model.map(ModelName::into_string),
                parameters: new.parameters.filter(|some| *some != Parameters::default()),
                instructions: new.instructions.filter(|words| !words.trim().is_empty()),
                asked_as: Some(new.asked_as),
                cache_use: new.cache_use,
            },
        })
    }

    async fn place(&self, owner: OwnerId, new: &Checked) -> Result<Place, RespondError> {
        let (found, question) = match new.after {
            After::Nothing => {
                let chat = Box::new(self.blank_chat(owner, new));
                let copied = Vec::new();
                return Ok(Place::New { chat, copied });
            }
            After::Chat(id) => {
                let chat = self.store.chat(owner, id).await?;
                let chat = chat.ok_or(RespondError::ChatNotFound)?.id;
                return Ok(Place::Here { chat, last: None });
            }
            After::Response(id) => {
                let found = self.find_response(owner, id).await?;
                let question = found.question().ok_or(RespondError::PreviousNotFound)?;
                (found, question)
            }
        };
        let active = self.store.active_requests(found.chat.id).await?;
        if active.iter().any(|one| one.user_message_id == question) {
            return Err(RespondError::Busy);
        }
        let is_busy = !active.is_empty();
        let all = self.store.all_messages(found.chat.id).await?;
        let last = all.iter().find(|message| message.id == question).cloned();
        let last = last.filter(|last| last.deleted_at.is_none());
        let last = last.ok_or(RespondError::PreviousNotFound)?;
        let is_behind =
            |message: &Message| is_question(message) && message.sequence > last.sequence;
        if !all.iter().any(is_behind) {
            if is_busy {
                // An earlier answer is being written again.
                return Err(RespondError::Busy);
            }
            let (chat, last) = (found.chat.id, Some(last.sequence));
            return Ok(Place::Here { chat, last });
        }
        let chat = Box::new(Chat {
            title: found.chat.title.clone(),
            agent: found.chat.agent.clone(),
            model: found.chat.model.clone(),
            parameters: found.chat.parameters.clone(),
            ..self.blank_chat(owner, new)
        });
        let copied = until(all, &last);
        Ok(Place::New { chat, copied })
    }

    async fn ask_in(
        &self,
        tx: &Tx,
        (owner, standing): (OwnerId, &Standing),
        place: &Place,
        new: &Checked,
    ) -> Result<RequestId, RespondError> {
        let member = &standing.member;
        standing.spent.clone()?;
        let id = match place {
            Place::New { chat, copied } => {
                if !self.hold(tx, member).await? {
                    return Err(RespondError::UserGone);
                }
                if !tx.insert_chat((**chat).clone()).await? {
                    return Err(StoreError::Raced.into());
                }
                if let Some(agent) = new.agent.as_ref().filter(|_| copied.is_empty()) {
                    let named = chat.model.as_deref();
                    self.adopt(tx, chat, (agent, named), member).await?;
                }
                if !copied.is_empty() {
                    self.copy_into(tx, chat.id, copied).await?;
                }
                chat.id
            }
            Place::Here { chat, last } => {
                // Locked, so that of two such questions at once one is refused.
                let locked = tx.lock_chat(*chat).await?;
                let locked = locked.filter(|chat| chat.owner_id == owner);
                let locked = locked.ok_or(RespondError::ChatNotFound)?;
                if !tx.active_requests(*chat).await?.is_empty() {
                    return Err(match last {
                        // It may be another question's: then there is another place for this one.
                        Some(_) => StoreError::Stale.into(),
                        None => RespondError::Busy,
                    });
                }
                if let Some(last) = last
                    && tx.has_question_after(*chat, *last).await?
                {
                    return Err(StoreError::Stale.into());
                }
                if locked.expires_at.is_some() && tx.has_passing(*chat).await? {
                    // It was to go before long; what is said in it from now on is to stay.
                    let change = ChatChange {
                        expires_at: Some(None),
                        ..ChatChange::default()
                    };
                    tx.change_chat(*chat, change).await?;
                }
                *chat
            }
        };
        if !new.earlier.is_empty() {
            let put = self.put(tx, id, &new.earlier).await?;
            put.ok_or(RespondError::ChatNotFound)?;
        }
        let asked_as = new.otherwise.asked_as.clone().map(|asked_as| AskedAs {
            made_chat: matches!(place, Place::New { .. }),
            came_along: new.earlier.len(),
            ..asked_as
        });
        let otherwise = &Otherwise {
            asked_as,
            ..new.otherwise.clone()
        };
        let question = &Question {
            chat: id,
            id: None,
            text: &new.question,
            otherwise,
            now: self.clock.now(),
        };
        let sent = self
            .queue_message::<RespondError>(tx, question, member)
            .await?;
        let request = sent.and_then(|sent| sent.request);
        request.ok_or(RespondError::ChatNotFound)
    }

    fn blank_chat(&self, owner: OwnerId, new: &Checked) -> Chat {
        let chat = self.empty_chat(owner, new.title());
        Chat {
            model: new.otherwise.model.clone(),
            expires_at: new.is_passing.then(|| chat.created_at.plus_ms(PASSING_MS)),
            ..chat
        }
    }

    /// A chat in which nothing has been said.
    pub(super) fn empty_chat(&self, owner: OwnerId, title: Title) -> Chat {
        let now = self.clock.now();
        Chat {
            id: ChatId::generate(),
            owner_id: owner,
            title: title.into_string(),
            agent: None,
            model: None,
            status: Status::WaitingForUser,
            on_busy: None,
            parameters: None,
            metadata: None,
            summary: None,
            summary_through: None,
            next_sequence: 1,
            revision: 1,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            expires_at: None,
        }
    }

    /// Adds what was said and is not to be answered yet. The messages; none if the chat is gone.
    pub(super) async fn put(
        &self,
        tx: &Tx,
        chat: ChatId,
        said: &[Said],
    ) -> Result<Option<Vec<Message>>, StoreError> {
        let now = self.clock.now();
        let Some(places) = places(tx, chat, said.len(), now).await? else {
            return Ok(None);
        };
        let said = said.iter().zip(places);
        let messages = said.map(|(said, chat)| Message {
            // What tells a question from a command. There is no such request.
            request_id: (said.role == Role::User).then(RequestId::generate),
            ..finished_message(&chat, said.role, &said.text, now)
        });
        let messages: Vec<Message> = messages.collect();
        tx.insert_messages(&messages).await?;
        Ok(Some(messages))
    }

    /// Adds messages of another chat as this chat's own.
    async fn copy_into(
        &self,
        tx: &Tx,
        chat: ChatId,
        messages: &[Message],
    ) -> Result<(), RespondError> {
        let now = self.clock.now();
        let places = places(tx, chat, messages.len(), now).await?;
        let places = places.ok_or(RespondError::ChatNotFound)?;
        let mut copies = Vec::with_capacity(messages.len());
        let mut questions = HashMap::new();
        for (message, chat) in messages.iter().zip(places) {
            let blank = finished_message(&chat, message.role, &message.content, now);
            questions.insert(message.id, blank.id);
            let reply_to = message.reply_to.and_then(|id| questions.get(&id).copied());
            copies.push(Message {
                reply_to,
                request_id: message.request_id.map(|_| RequestId::generate()),
                reasoning: message.reasoning.clone(),
                origin: message.origin.clone(),
                created_at: message.created_at,
                completed_at: message.completed_at,
                ..blank
            });
        }
        Ok(tx.insert_messages(&copies).await?)
    }
}

/// Takes so many places in a chat at once: the chat as it is when each of them has just been given out. None if the chat
/// is gone.
async fn places(
    tx: &Tx,
    chat: ChatId,
    count: usize,
    now: Timestamp,
) -> Result<Option<impl Iterator<Item = Chat>>, StoreError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let advance = Advance {
        messages: count,
        status: None,
        now,
    };
    let chat = tx.advance_chat(chat, advance).await?;
    Ok(chat.map(|chat| {
        let first = chat.next_sequence - count;
        (1..=count).map(move |place| Chat {
            next_sequence: first + place,
            ..chat.clone()
        })
    }))
}

/// What is asked for, once it can be stored.
struct Checked {
    earlier: Vec<Said>,
    question: MessageText,
    after: After,
    agent: Option<crate::model::agent::Agent>,
    is_passing: bool,
    otherwise: Otherwise,
}

impl Checked {
    /// A new chat's title: of the first thing that somebody asks in it.
    fn title(&self) -> Title {
        let mut asked = self.earlier.iter().filter(|said| said.role == Role::User);
        let first = asked.find_map(|said| MessageText::parse(said.text.clone(), usize::MAX).ok());
        first.as_ref().unwrap_or(&self.question).derive_title()
    }
}

/// Whether somebody asks a model something, where it can be seen.
fn is_question(message: &Message) -> bool {
    message.role == Role::User
        && message.request_id.is_some()
        && message.deleted_at.is_none()
        && message.superseded_at.is_none()
}

/// The completed turns up to a question's own, with its answer, in their order.
fn until(all: Vec<Message>, question: &Message) -> Vec<Message> {
    let places = turns(&all);
    let answers: Vec<Message> = all
        .iter()
        .zip(&places)
        .filter(|(message, place)| **place == question.sequence && message.role == Role::Assistant)
        .map(|(message, _)| message.clone())
        .filter(|answer| answer.status == entity::chat_message::Status::Completed)
        .filter(|answer| answer.deleted_at.is_none() && answer.superseded_at.is_none())
        .collect();
    let mut turns = history(all, question);
    turns.retain(|turn| turn.role != Role::System || turn.sequence < question.sequence);
    turns.extend(answers);
    turns
}
