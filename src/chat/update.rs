//! Changing a chat's title, model, agent, parameters or metadata, what a message does that finds it busy, or
//! when it ends by itself.

use std::collections::BTreeMap;

use entity::chat::{Model as Chat, OnBusy};
use entity::{Parameters, Timestamp};

use super::{AgentError, Chats, ModelError, OwnedChat};
use crate::model::metadata::{self, MetadataError};
use crate::model::text::{ModelName, TextError, Title};
use crate::store::{Advance, ChatChange, StoreError};

/// What to set; none leaves it.
#[derive(Clone, Debug, Default)]
pub struct ChatUpdate {
    pub title: Option<String>,
    pub model: Option<String>,
    pub agent: Option<String>,
    pub on_busy: Option<OnBusy>,
    /// All of them anew; an empty set takes them away.
    pub parameters: Option<Parameters>,
    /// All of them anew; an empty set takes them away.
    pub metadata: Option<BTreeMap<String, String>>,
    /// When the chat is erased; none in it: not by itself.
    pub expires_at: Option<Option<Timestamp>>,
}

#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(
        "name at least one of `title`, `model`, `agent`, `on_busy`, `parameters`, `metadata` and `expires_at`"
    )]
    Nothing,
    #[error("`expires_at` has to be a time that is still to come; DELETE erases a chat at once")]
    Past,
    #[error("the chat is gone")]
    ChatGone,
    #[error("the chat could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Sets what is named. A new model answers from the next message on.
    ///
    /// # Errors
    /// If a value is not valid, none is named, the agent comes too late, the chat is gone, or the database fails.
    pub async fn update(&self, chat: &OwnedChat, update: ChatUpdate) -> Result<Chat, UpdateError> {
        let member = &self.member(chat.row().owner_id).await?;
        let title = update.title.as_deref().map(Title::parse).transpose()?;
        let agent = &match update.agent.as_deref() {
            Some(alias) => Some(self.agent(alias)?),
            None => None,
        };
        let model = update
            .model
            .as_deref()
            .map(|name| self.known_model(member, name))
            .transpose()?;
        let change = &ChatChange {
            title: title.map(Title::into_string),
            model: model.map(ModelName::into_string),
            on_busy: update.on_busy,
            parameters: update.parameters,
            metadata: update.metadata.map(metadata::parse).transpose()?,
            expires_at: update.expires_at,
            ..ChatChange::default()
        };
        if *change == ChatChange::default() && agent.is_none() {
            return Err(UpdateError::Nothing);
        }
        let (id, now) = (chat.id(), self.clock.now());
        if change.expires_at.flatten().is_some_and(|at| at <= now) {
            return Err(UpdateError::Past);
        }
        self.store
            .tx(|tx| async move {
                let chat = tx.advance_chat(id, Advance::touch(now)).await?;
                let mut chat = chat.ok_or(UpdateError::ChatGone)?;
                if let Some(agent) = agent {
                    let named = change.model.as_deref();
                    chat = self.adopt(&tx, &chat, (agent, named), member).await?;
                }
                let model = change.model.as_deref().or(chat.model.as_deref());
                if let Some(parameters) = &change.parameters {
                    self.check_parameters(member, model, parameters)?;
                }
                Ok(tx.change_chat(id, change.clone()).await?)
            })
            .await
    }
}
