//! The list of an owner's chats, the one last changed first, in keyset pages.

use std::fmt;
use std::str::FromStr;

use entity::chat::Model as Chat;
use entity::chat_message::Status;
use entity::{ChatId, Metadata, OwnerId, Timestamp};

use super::Chats;
use crate::model::text::{head, plain_words};
use crate::store::{Preview, StoreError};

/// Chats on a page when nobody says, and at most.
const DEFAULT_PAGE: u64 = 30;
const MAX_PAGE: u64 = 100;
/// Characters of a preview.
const PREVIEW_CHARS: usize = 120;

/// Where a page begins: behind the chat that was changed then and has this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCursor {
    changed: Timestamp,
    chat: ChatId,
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.changed.0, self.chat)
    }
}

impl FromStr for PageCursor {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        let (changed, chat) = text.split_once('_').ok_or(ListError::Cursor)?;
        Ok(Self {
            changed: Timestamp(changed.parse().map_err(|_| ListError::Cursor)?),
            chat: chat.parse().map_err(|_| ListError::Cursor)?,
        })
    }
}

/// One line of the list.
#[derive(Clone, Debug)]
pub struct ListedChat {
    pub chat: Chat,
    /// The beginning of what was said last, on one line; empty if nothing was.
    pub preview: String,
}

/// A page of the list.
#[derive(Clone, Debug)]
pub struct ChatList {
    pub chats: Vec<ListedChat>,
    /// Where the next page begins, if there is one.
    pub next: Option<PageCursor>,
}

#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("this is not a cursor that a list of chats gave out")]
    Cursor,
    #[error("the list could not be read")]
    Store(#[from] StoreError),
}

impl Chats {
    /// A page of the owner's chats that have all of these pairs of metadata. `limit` is held between 1 and 100.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn list(
        &self,
        owner: OwnerId,
        having: Option<&Metadata>,
        after: Option<PageCursor>,
        limit: Option<u64>,
    ) -> Result<ChatList, ListError> {
        let limit = limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
        self.page(owner, having, after, limit).await
    }

    /// The first `limit` of the owner's chats, for a list that is shown as a whole.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn long_list(&self, owner: OwnerId, limit: u64) -> Result<ChatList, ListError> {
        self.page(owner, None, None, limit).await
    }

    async fn page(
        &self,
        owner: OwnerId,
        having: Option<&Metadata>,
        after: Option<PageCursor>,
        limit: u64,
    ) -> Result<ChatList, ListError> {
        let after = after.map(|cursor| (cursor.changed, cursor.chat));
        let mut chats = self
            .store
            .chat_page(owner, having, after, limit + 1)
            .await?;
        let has_more = chats.len() as u64 > limit;
        chats.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let ids: Vec<ChatId> = chats.iter().map(|chat| chat.id).collect();
        let mut previews = self.store.previews(&ids).await?;
        let next = chats.last().filter(|_| has_more).map(|last| PageCursor {
            changed: last.updated_at,
            chat: last.id,
        });
        let chats = chats
            .into_iter()
            .map(|chat| ListedChat {
                preview: preview(previews.remove(&chat.id)),
                chat,
            })
            .collect();
        Ok(ChatList { chats, next })
    }
}

fn preview(last: Option<Preview>) -> String {
    let Some(last) = last else {
        return String::new();
    };
    let words = plain_words(&last.head);
    match (words.is_empty(), last.status) {
        (true, Status::Pending) => "…".to_owned(),
        (true, Status::Failed) => "no answer".to_owned(),
        _ => head(&words, PREVIEW_CHARS).into_owned(),
    }
}
