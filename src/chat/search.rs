//! The search in the titles and messages of an owner's chats.

use entity::chat::Model as Chat;
use entity::{MessageId, OwnerId};

use super::Chats;
use crate::model::search::{Piece, SearchWords, snippet};
use crate::store::{SearchHit, StoreError};

/// Chats that are found at most.
const MAX_FOUND: u64 = 50;

/// A chat that has what was looked for.
#[derive(Clone, Debug)]
pub struct FoundChat {
    pub chat: Chat,
    /// The last message that has all the words; none if only the title has.
    pub hit: Option<MessageId>,
    /// The text around the first word, of the message or else of the title.
    pub snippet: Vec<Piece>,
}

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("the chats could not be searched")]
    Store(#[from] StoreError),
}

impl Chats {
    /// The owner's chats of which the title or a message has words that begin with all of those of the
    /// query, the chat last changed first. A query without a word finds nothing.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn search(&self, owner: OwnerId, query: &str) -> Result<Vec<FoundChat>, SearchError> {
        let words = SearchWords::parse(query);
        let hits = self.store.search(owner, &words, MAX_FOUND).await?;
        // Texts may be long, and there are other things to be done on this thread.
        let found = tokio::task::spawn_blocking(move || {
            hits.into_iter().map(|hit| found(hit, &words)).collect()
        });
        Ok(found.await.unwrap_or_default())
    }
}

fn found(hit: SearchHit, words: &SearchWords) -> FoundChat {
    let text = match hit.message {
        Some(_) => &hit.text,
        None => &hit.chat.title,
    };
    FoundChat {
        snippet: snippet(text, words),
        hit: hit.message,
        chat: hit.chat,
    }
}
