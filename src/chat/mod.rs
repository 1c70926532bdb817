//! What happens: one file per use case, each the story of it from top to bottom.
//!
//! Who may do it is proved by the values that a use case takes ([`OwnedChat`]); when it happens
//! is decided by the rooms above.

mod access;
mod answer;
mod claim;
mod create;
mod delete;
mod finish;
mod list;
mod poll_messages;
mod poll_tokens;
mod read;
mod rescue;
mod send;
mod update;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::ledger::{Flusher, Ledgers};
use crate::model::clock::Clock;
use crate::provider::Provider;
use crate::store::Store;

pub use access::{AccessError, OwnedChat};
pub use claim::Claimed;
pub use create::{CreateError, Created, ModelError, NewChat};
pub use delete::{DeleteChatError, DeleteMessageError};
pub use list::{ChatList, ListError, ListedChat, PageCursor};
pub use poll_messages::{MESSAGES_PER_PAGE, MessagesError, MessagesPoll};
pub use poll_tokens::{TokensError, TokensPoll};
pub use read::{MessageError, MessageRead};
pub use rescue::Abandoned;
pub use send::{SendError, Sent};
pub use update::{ChatUpdate, UpdateError};

/// Everything that the use cases work with.
pub struct Chats {
    pub(crate) store: Arc<Store>,
    pub(crate) ledgers: Arc<Ledgers>,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: ChatLimits,
    pub(crate) wake: Notify,
}

/// What a chat may hold.
#[derive(Clone, Copy, Debug)]
pub struct ChatLimits {
    /// Longest user message in bytes of UTF-8.
    pub message_bytes: usize,
}

impl Chats {
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        ledgers: Arc<Ledgers>,
        flusher: Arc<Flusher>,
        provider: Arc<dyn Provider>,
        clock: Arc<dyn Clock>,
        limits: ChatLimits,
    ) -> Self {
        Self {
            store,
            ledgers,
            flusher,
            provider,
            clock,
            limits,
            wake: Notify::new(),
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ready(&self) -> Result<(), crate::store::StoreError> {
        self.store.ping().await
    }

    /// The model that answers in chats that name none.
    #[must_use]
    pub fn default_model(&self) -> &str {
        self.provider.default_model()
    }

    /// Returns when there may be a request to claim. The news carries nothing and may be missed:
    /// a scan follows in any case.
    pub async fn news(&self) {
        self.wake.notified().await;
    }

    /// Tells the worker that there may be a request to claim.
    pub(crate) fn announce(&self) {
        self.wake.notify_one();
    }

    /// Stops all answers where they are, without ending them: this node goes away.
    pub fn abandon_answers(&self) {
        self.ledgers.stop_all(crate::ledger::Stop::Abandon);
    }
}
