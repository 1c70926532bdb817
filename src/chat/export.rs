//! A chat as a file: what was said, in order, by whom.

use std::fmt::Write as _;

use entity::chat::Model as Chat;
use entity::chat_message::{Model as Message, Role};
use serde_json::json;

use super::{Chats, ReadableChat};
use crate::store::StoreError;

/// What the file is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    Markdown,
    Json,
    Text,
}

impl ExportFormat {
    /// The format of this name, if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "markdown" | "md" => Some(Self::Markdown),
            "json" => Some(Self::Json),
            "text" | "txt" => Some(Self::Text),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Json => "json",
            Self::Text => "text",
        }
    }

    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// The ending of a file's name.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Json => "json",
            Self::Text => "txt",
        }
    }
}

/// The file.
#[derive(Clone, Debug)]
pub struct Export {
    pub format: ExportFormat,
    pub body: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the chat could not be read")]
    Store(#[from] StoreError),
}

impl Chats {
    /// What was said in a chat: questions and answers, without commands, and without what is hidden.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn export(
        &self,
        chat: &(impl ReadableChat + Sync),
        format: ExportFormat,
    ) -> Result<Export, ExportError> {
        let messages = self.store.all_messages(chat.row().id).await?;
        let body = talk(chat.row(), &messages, format);
        Ok(Export { format, body })
    }
}

/// What was said, of all that is stored of a chat.
pub(super) fn talk(row: &Chat, messages: &[Message], format: ExportFormat) -> String {
    let messages = messages.iter().filter(|message| is_talk(message));
    match format {
        ExportFormat::Markdown => {
            let head = format!("# {}\n", row.title);
            messages.fold(head, |mut out, message| {
                let content = message.content.trim_end();
                // Writing to a String cannot fail.
                let _ = write!(out, "\n## {}\n\n{content}\n", speaker(message));
                out
            })
        }
        ExportFormat::Text => {
            let head = format!("{}\n", row.title);
            messages.fold(head, |mut out, message| {
                let content = message.content.trim_end();
                let _ = write!(out, "\n{}:\n{content}\n", speaker(message));
                out
            })
        }
        ExportFormat::Json => {
            let messages: Vec<_> = messages.map(as_json).collect();
            json!({
                "uuid": row.id,
                "title": row.title,
                "agent": row.agent,
                "model": row.model,
                "created_at": row.created_at,
                "updated_at": row.updated_at,
                "messages": messages,
            })
            .to_string()
        }
    }
}

fn is_talk(message: &Message) -> bool {
    let is_said = match message.role {
        Role::User => message.request_id.is_some(),
        Role::Assistant => true,
        Role::System | Role::Agent => false,
    };
    is_said && message.deleted_at.is_none() && message.superseded_at.is_none()
}

fn speaker(message: &Message) -> &'static str {
    if message.role == Role::User {
        "You"
    } else {
        "Assistant"
    }
}

fn as_json(message: &Message) -> serde_json::Value {
    let origin = message.origin.as_ref();
    json!({
        "uuid": message.id,
        "role": message.role,
        "status": message.status,
        "reply_to": message.reply_to,
        "content": message.content,
        "reasoning": message.reasoning,
        "model": origin.and_then(|origin| origin.model.clone()),
        "created_at": message.created_at,
        "completed_at": message.completed_at,
    })
}
