//! Creating a chat, with or without a first message. The client may choose the UUID, so that a
//! create whose answer was lost can be repeated: the same UUID is the same chat.

use entity::chat::{Model as Chat, Status};
use entity::chat_message::Role;
use entity::{ChatId, OwnerId};

use super::Chats;
use super::send::{Sent, queue_message};
use crate::model::text::{AgentAlias, MessageText, ModelName, TextError, Title};
use crate::store::{StoreError, Tx};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct NewChat {
    pub id: Option<ChatId>,
    pub title: Option<String>,
    pub agent: Option<String>,
    pub model: Option<String>,
    /// A first message, to be answered.
    pub message: Option<String>,
}

/// The chat as it now is, and its first message if it came with one.
#[derive(Clone, Debug)]
pub struct Created {
    pub chat: Chat,
    pub first: Option<Sent>,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error(transparent)]
    Text(#[from] TextError),
    #[error("the model {model:?} is not known; {known:?} is")]
    UnknownModel { model: String, known: String },
    /// Somebody else's chat has this UUID.
    #[error("this UUID is taken; choose another one")]
    UuidTaken,
    #[error("the chat could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Creates the chat, or finds the one that this same call has created before.
    ///
    /// # Errors
    /// If what is asked for is not valid, the UUID is somebody else's, or the database fails.
    pub async fn create(&self, owner: OwnerId, new: NewChat) -> Result<Created, CreateError> {
        let message = new
            .message
            .map(|text| MessageText::parse(text, self.limits.message_bytes))
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
            next_sequence: 1,
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        let message = message.as_ref();
        let created = self
            .store
            .tx(|tx| async move {
                if !tx.insert_chat(chat.clone()).await? {
                    return existing(&tx, owner, chat.id).await;
                }
                let first = match message {
                    Some(text) => queue_message(&tx, chat.id, text, now).await?,
                    None => None,
                };
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

    pub(super) fn known_model(&self, name: &str) -> Result<ModelName, CreateError> {
        let model = ModelName::parse(name)?;
        if self.provider.accepts(model.as_str()) {
            return Ok(model);
        }
        Err(CreateError::UnknownModel {
            model: model.into_string(),
            known: self.provider.default_model().to_owned(),
        })
    }
}

/// The chat that a repeated create finds, with the first message that it was created with.
async fn existing(tx: &Tx, owner: OwnerId, id: ChatId) -> Result<Created, CreateError> {
    let chat = tx
        .chat(id)
        .await?
        .filter(|chat| chat.owner_id == owner)
        .ok_or(CreateError::UuidTaken)?;
    let first = tx.first_message(id, Role::User).await?;
    let first = first.and_then(|message| {
        let request = message.request_id?;
        Some(Sent { message, request })
    });
    Ok(Created { chat, first })
}
