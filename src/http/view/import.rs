//! What has become of documents.

use entity::ChatId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::chat::Imported;

/// The chats, in the order of their documents.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportedView {
    pub chats: Vec<ImportedChatView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ImportedChatView {
    pub uuid: ChatId,
    pub title: String,
    pub messages: usize,
    /// False: the caller had this chat already, and it is as it was.
    pub is_new: bool,
    /// What could not be taken over, a sentence for each.
    pub notes: Vec<String>,
}

impl ImportedView {
    pub fn new(imported: Vec<Imported>) -> Self {
        let chats = imported.into_iter().map(|imported| ImportedChatView {
            uuid: imported.chat,
            title: imported.title,
            messages: imported.messages,
            is_new: imported.is_new,
            notes: imported.notes,
        });
        Self {
            chats: chats.collect(),
        }
    }
}
