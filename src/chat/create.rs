//! Creating a chat, with or without a first message. The client may choose the UUID, so that a
//! create whose answer was lost can be repeated: the same UUID is the same chat.

use entity::chat::{Model as Chat, OnBusy, Status};
use entity::{ChatId, OwnerId};
use serde::{Deserialize, Serialize};

use super::send::{Question, Sent, queue_message};
use super::{Chats, Once, OnceError};
use crate::fault;
use crate::model::text::{AgentAlias, MessageText, ModelName, TextError, Title};
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
    /// A first message, to be answered.
    pub message: Option<String>,
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
    Model(#[from] ModelError),
    /// Somebody else's chat has this UUID, or one that began with other words.
    #[error("this UUID is taken; choose another one")]
    UuidTaken,
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
        let message = new
            .message
            .map(|text| MessageText::parse(text, self.settings.message_bytes))
            .transpose()?;
        let title = match (new.title, &message) {
            (Some(title), _) => Title::parse(&title)?,
            (None, Some(message)) => message.derive_title(),
            (None, None) => Title::of_new_chat(),
        };
        let agent = new.agent.as_deref().map(AgentAlias::parse).transpose()?;
        let model = new
            .model
            .as_deref()
            .map(|name| self.known_model(name))
            .transpose()?;
        let now = self.clock.now();
        let chat = &Chat {
            id: new.id.unwrap_or_else(ChatId::generate),
            owner_id: owner,
            title: title.into_string(),
            agent: agent.map(AgentAlias::into_string),
            model: model.map(ModelName::into_string),
            status: Status::WaitingForUser,
            on_busy: new.on_busy,
            next_sequence: 1,
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        let message = message.as_ref();
        let created = self
            .once(once, |tx| async move {
                if !tx.insert_chat(chat.clone()).await? {
                    return existing(&tx, chat, message).await;
                }
                let first = match message {
                    Some(text) => queue_message(&tx, &first_question(chat, text)).await?,
                    None => None,
                };
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

    pub(super) fn known_model(&self, name: &str) -> Result<ModelName, ModelError> {
        let model = ModelName::parse(name)?;
        if self.provider.accepts(model.as_str()) {
            return Ok(model);
        }
        Err(ModelError::Unknown {
            model: model.into_string(),
            known: self.provider.default_model().to_owned(),
        })
    }
}

fn first_question<'a>(chat: &Chat, text: &'a MessageText) -> Question<'a> {
    Question {
        chat: chat.id,
        id: None,
        text,
        now: chat.created_at,
    }
}

/// Why a chat cannot be given a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    #[error(transparent)]
    Text(#[from] TextError),
    #[error("the model {model:?} is not known; {known:?} is")]
    Unknown { model: String, known: String },
}

/// The chat that a repeated create finds, as the same call left it. If the chat has no message
/// yet, the call's is its first one.
async fn existing(
    tx: &Tx,
    wanted: &Chat,
    message: Option<&MessageText>,
) -> Result<Created, CreateError> {
    // Locked, so that two such calls at once send one message.
    let found = tx.lock_chat(wanted.id).await?;
    let chat = found
        .filter(|chat| chat.owner_id == wanted.owner_id)
        .ok_or(CreateError::UuidTaken)?;
    let first = match (message, tx.first_message(chat.id).await?) {
        (None, _) => None,
        (Some(text), None) => queue_message(tx, &first_question(wanted, text)).await?,
        (Some(text), Some(first)) => match first.request_id {
            Some(request) if first.content == text.as_str() => Some(Sent {
                message: first,
                request,
            }),
            _ => return Err(CreateError::UuidTaken),
        },
    };
    let chat = tx.chat(chat.id).await?;
    let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
    Ok(Created { chat, first })
}
