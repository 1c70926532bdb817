//! A chat as a file: what was said, in order, by whom.

use entity::chat::Model as Chat;
use entity::chat_message::{Model as Message, Status};
use entity::message_version::Model as Version;

use super::{Chats, ReadableChat};
use crate::model::exchange::{self, ChatDocument};
use crate::store::{Beside, StoreError};

/// What the file is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    Markdown,
    Json,
    Text,
    Html,
    Pdf,
}

impl ExportFormat {
    /// As they are listed.
    pub const ALL: [Self; 5] = [
        Self::Markdown,
        Self::Json,
        Self::Text,
        Self::Html,
        Self::Pdf,
    ];

    /// The format of this name, if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "markdown" | "md" => Some(Self::Markdown),
            "json" => Some(Self::Json),
            "text" | "txt" => Some(Self::Text),
            "html" => Some(Self::Html),
            "pdf" => Some(Self::Pdf),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Json => "json",
            Self::Text => "text",
            Self::Html => "html",
            Self::Pdf => "pdf",
        }
    }

    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Pdf => "application/pdf",
        }
    }

    /// The ending of a file's name.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Json => "json",
            Self::Text => "txt",
            Self::Html => "html",
            Self::Pdf => "pdf",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the chat could not be read")]
    Store(#[from] StoreError),
}

/// A chat with all that is in it.
pub(super) struct Whole {
    pub row: Chat,
    pub messages: Vec<Message>,
    pub versions: Vec<Version>,
    /// What programs said beside their questions.
    pub beside: Vec<Beside>,
}

impl Whole {
    pub fn document(&self) -> ChatDocument {
        exchange::document(&self.row, &self.messages, &self.versions)
    }
}

impl Chats {
    /// What was said in a chat: questions and answers, without commands, and without what is hidden. What is being written
    /// is in it as far as it is.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn export(
        &self,
        chat: &(impl ReadableChat + Sync),
    ) -> Result<ChatDocument, ExportError> {
        let whole = self.whole(chat.row().clone()).await?;
        Ok(whole.document())
    }

    /// The chat with its messages, hidden ones too.
    pub(super) async fn whole(&self, row: Chat) -> Result<Whole, StoreError> {
        let mut messages = self.store.all_messages(row.id).await?;
        for message in &mut messages {
            // What is being written has no text of its own yet.
            if let (Status::Pending, Some(request)) = (message.status, message.request_id)
                && message.reply_to.is_some()
                && let Some((_, texts)) = self.store.last_ledger_text(request).await?
            {
                message.content = texts.text;
                message.reasoning = texts.reasoning;
            }
        }
        let versions = self.store.versions_in(row.id).await?;
        let beside = self.store.said_beside(row.id).await?;
        Ok(Whole {
            row,
            messages,
            versions,
            beside,
        })
    }
}
