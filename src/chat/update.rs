//! Changing a chat's title, model or agent, or what a message does that finds it busy.

use entity::chat::{Model as Chat, OnBusy};

use super::create::ModelError;
use super::{Chats, OwnedChat};
use crate::model::text::{AgentAlias, ModelName, TextError, Title};
use crate::store::{Advance, ChatChange, StoreError};

/// What to set; none leaves it.
#[derive(Clone, Debug, Default)]
pub struct ChatUpdate {
    pub title: Option<String>,
    pub model: Option<String>,
    pub agent: Option<String>,
    pub on_busy: Option<OnBusy>,
}

#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("name at least one of `title`, `model`, `agent` and `on_busy`")]
    Nothing,
    #[error("the chat is gone")]
    ChatGone,
    #[error("the chat could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Sets what is named. A new model answers from the next message on.
    ///
    /// # Errors
    /// If a value is not valid, none is named, the chat is gone, or the database fails.
    pub async fn update(&self, chat: &OwnedChat, update: ChatUpdate) -> Result<Chat, UpdateError> {
        let title = update.title.as_deref().map(Title::parse).transpose()?;
        let agent = update.agent.as_deref().map(AgentAlias::parse).transpose()?;
        let model = update
            .model
            .as_deref()
            .map(|name| self.known_model(name))
            .transpose()?;
        let change = &ChatChange {
            title: title.map(Title::into_string),
            model: model.map(ModelName::into_string),
            agent: agent.map(AgentAlias::into_string),
            on_busy: update.on_busy,
        };
        let is_named = [
            change.title.is_some(),
            change.model.is_some(),
            change.agent.is_some(),
            change.on_busy.is_some(),
        ];
        if !is_named.contains(&true) {
            return Err(UpdateError::Nothing);
        }
        let (id, now) = (chat.id(), self.clock.now());
        self.store
            .tx(|tx| async move {
                if tx.advance_chat(id, Advance::touch(now)).await?.is_none() {
                    return Err(UpdateError::ChatGone);
                }
                Ok(tx.change_chat(id, change.clone()).await?)
            })
            .await
    }
}
