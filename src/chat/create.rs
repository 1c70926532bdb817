//! Creating a chat, with or without a first message. The client may choose the UUID, so that a
//! create whose answer was lost can be repeated: the same UUID is the same chat.

use std::collections::BTreeMap;

use entity::chat::{Model as Chat, OnBusy, Status};
use entity::llm_request::CacheUse;
use entity::{ChatId, OwnerId, Parameters};
use serde::{Deserialize, Serialize};

use super::command::Order;
use super::send::{Question, Sent};
use super::standing::Standing;
use super::{AgentError, AllowanceError, Chats, Member, ModelError, Once, OnceError, Otherwise};
use crate::fault;
use crate::model::command::{self, Parsed};
use crate::model::metadata::{self, MetadataError};
use crate::model::parameters::check_storable;
use crate::model::text::{MessageText, ModelName, TextError, Title};
use crate::store::{StoreError, Tx};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct NewChat {
    pub id: Option<ChatId>,
    pub title: Option<String>,
    pub agent: Option<String>,
    pub model: Option<String>,
    /// What happens to messages that are sent while an answer is under way; none: as configured.
    pub on_busy: Option<OnBusy>,
    pub parameters: Option<Parameters>,
    /// What the client keeps with it for itself.
    pub metadata: BTreeMap<String, String>,
    /// A first message, to be answered.
    pub message: Option<String>,
    pub cache_use: CacheUse,
}

/// The chat as it now is, and its first message if it came with one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    pub chat: Chat,
    pub first: Option<Sent>,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
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
    /// Somebody else's chat has this UUID, or one that began with other words.
    #[error("this UUID is taken; choose another one")]
    UuidTaken,
    #[error("the user is being deleted")]
    UserGone,
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the chat could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Creates the chat, or finds the one that this same call has created before.
    ///
    /// # Errors
    /// If what is asked for is not valid, the UUID is somebody else's, or the database fails.
    pub async fn create(
        &self,
        owner: OwnerId,
        new: NewChat,
        once: Option<&Once>,
    ) -> Result<Created, CreateError> {
        let standing = &self.standing(owner).await?;
        let member = &standing.member;
        let first = match new.message {
            Some(text) => Some(self.first_words(member, text).await?),
            None => None,
        };
        let title = match (new.title, &first) {
            (Some(title), _) => Title::parse(&title)?,
            (None, Some(First::Question(message))) => message.derive_title(),
            (None, _) => Title::of_new_chat(),
        };
        let agent = &match new.agent.as_deref() {
            Some(alias) => Some(self.agent(alias)?),
            None => None,
        };
        let model = new
            .model
            .as_deref()
            .map(|name| self.known_model(member, name))
            .transpose()?;
        let parameters = new.parameters.filter(|some| *some != Parameters::default());
        // Whether their model takes them is seen when it is known.
        parameters.as_ref().map(check_storable).transpose()?;
        let metadata = metadata::parse(new.metadata)?;
        let (now, is_chosen) = (self.clock.now(), new.id.is_some());
        let chat = &Chat {
            id: new.id.unwrap_or_else(ChatId::generate),
            owner_id: owner,
            title: title.into_string(),
            agent: None,
            model: model.map(ModelName::into_string),
            status: Status::WaitingForUser,
            on_busy: new.on_busy,
            parameters,
            metadata,
            summary: None,
            summary_through: None,
            next_sequence: 1,
            revision: 1,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            expires_at: None,
        };
        let otherwise = &Otherwise {
            cache_use: new.cache_use,
            ..Otherwise::default()
        };
        let first = &first;
        let created = self
            .once(once, |tx| async move {
                if !self.hold(&tx, member).await? {
                    return Err(CreateError::UserGone);
                }
                if is_chosen {
                    // One that was deleted leaves its UUID to its owner.
                    tx.erase_deleted_chat(owner, chat.id).await?;
                }
                if !tx.insert_chat(chat.clone()).await? {
                    return self
                        .existing(&tx, chat, first.as_ref(), otherwise, standing)
                        .await;
                }
                if let Some(agent) = agent {
                    let named = chat.model.as_deref();
                    self.adopt(&tx, chat, (agent, named), member).await?;
                }
                if let Some(parameters) = &chat.parameters {
                    let stored = tx.chat(chat.id).await?;
                    let model = stored.and_then(|chat| chat.model);
                    self.check_parameters(member, model.as_deref(), parameters)?;
                }
                let first = self.say_first(&tx, chat, first.as_ref(), otherwise, standing);
                let first = first.await?;
                fault::point("create.before_commit");
                let chat = tx.chat(chat.id).await?;
                let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
                Ok::<_, CreateError>(Created { chat, first })
            })
            .await?;
        if created.first.is_some() {
            self.announce();
        }
        Ok(created)
    }

    async fn first_words(&self, member: &Member, text: String) -> Result<First, CreateError> {
        let longest = self.message_bytes(member);
        let text = MessageText::parse(text, longest)?;
        Ok(match command::parse(text.as_str()) {
            Parsed::Message(words) => First::Question(MessageText::parse(words, longest)?),
            order => First::Command(text, self.order(member.id, order).await?),
        })
    }

    async fn say_first(
        &self,
        tx: &Tx,
        chat: &Chat,
        first: Option<&First>,
        otherwise: &Otherwise,
        standing: &Standing,
    ) -> Result<Option<Sent>, CreateError> {
        match first {
            None => Ok(None),
            Some(First::Question(text)) => {
                standing.spent.clone()?;
                let question = first_question(chat, text, otherwise);
                self.queue_message(tx, &question, &standing.member).await
            }
            Some(First::Command(text, order)) => {
                let question = first_question(chat, text, otherwise);
                Ok(Some(self.carry_out(tx, &question, order, &[]).await?))
            }
        }
    }

    /// The chat that a repeated create finds, as the same call left it. If the chat has no message
    /// yet, the call's is its first one.
    async fn existing(
        &self,
        tx: &Tx,
        wanted: &Chat,
        first: Option<&First>,
        otherwise: &Otherwise,
        standing: &Standing,
    ) -> Result<Created, CreateError> {
        // Locked, so that two such calls at once send one message.
        let found = tx.lock_chat(wanted.id).await?;
        let chat = found
            .filter(|chat| chat.owner_id == wanted.owner_id)
            .ok_or(CreateError::UuidTaken)?;
        let first = match (first, tx.first_message(chat.id).await?) {
            (None, _) => None,
            (Some(_), None) => {
                self.say_first(tx, wanted, first, otherwise, standing)
                    .await?
            }
            (Some(first), Some(message)) if message.content == first.text() => Some(Sent {
                request: message.request_id,
                message,
            }),
            (Some(_), Some(_)) => return Err(CreateError::UuidTaken),
        };
        let chat = tx.chat(chat.id).await?;
        let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
        Ok(Created { chat, first })
    }
}

/// What a chat is created with.
enum First {
    Question(MessageText),
    Command(MessageText, Order),
}

impl First {
    fn text(&self) -> &str {
        match self {
            Self::Question(text) | Self::Command(text, _) => text.as_str(),
        }
    }
}

fn first_question<'a>(
    chat: &Chat,
    text: &'a MessageText,
    otherwise: &'a Otherwise,
) -> Question<'a> {
    Question {
        chat: chat.id,
        id: None,
        text,
        otherwise,
        now: chat.created_at,
    }
}
