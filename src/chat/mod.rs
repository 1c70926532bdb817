//! What happens: one file per use case, each the story of it from top to bottom.
//!
//! Who may do it is proved by the values that a use case takes ([`OwnedChat`]); when it happens
//! is decided by the rooms above.

mod access;
mod again;
mod answer;
mod cancel;
mod claim;
mod create;
mod delete;
mod edit;
mod end;
mod finish;
mod list;
mod once;
mod poll_messages;
mod poll_tokens;
mod read;
mod repair;
mod rescue;
mod send;
mod update;
mod usage;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use entity::chat::OnBusy;
use tokio::sync::Notify;
use tower::retry::budget::TpsBudget;

use crate::ledger::{Flusher, Follower, Ledgers};
use crate::model::clock::Clock;
use crate::model::usage::Price;
use crate::provider::Provider;
use crate::store::Store;

pub use access::{AccessError, OwnedChat};
pub use again::{Again, AgainError};
pub use cancel::{CancelError, Cancelled};
pub use claim::Claimed;
pub use create::{CreateError, Created, ModelError, NewChat};
pub use delete::{DeleteChatError, DeleteMessageError};
pub use edit::EditError;
pub use list::{ChatList, ListError, ListedChat, PageCursor};
pub use once::{Once, OnceError};
pub use poll_messages::{MESSAGES_PER_PAGE, MessagesError, MessagesPoll};
pub use poll_tokens::{TokensError, TokensPoll};
pub use read::{MessageError, MessageRead};
pub use rescue::Abandoned;
pub use send::{NewMessage, SendError, Sent};
pub use update::{ChatUpdate, UpdateError};
pub use usage::{UsageError, UsageReport, UsageRow};
pub use versions::{SelectError, Version, Versions};

/// How often a use case reads again because what it had read changed under its hands, and the
/// longest wait before that; a random part of it is taken.
const MAX_STALE: usize = 16;
const STALE_PAUSE_MS: u64 = 40;
/// Retries of model calls that are always granted, per second, and for how long a call counts.
const RETRIES_PER_SECOND: u32 = 10;
const RETRY_WINDOW: Duration = Duration::from_secs(10);
/// Retries beyond that: at most this part of the calls, so that a provider in trouble is not
/// asked many times as often as one that is well.
const RETRY_SHARE: f32 = 0.2;

/// Everything that the use cases work with.
pub struct Chats {
    pub(crate) store: Arc<Store>,
    pub(crate) ledgers: Arc<Ledgers>,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) follower: Follower,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: ChatSettings,
    pub(crate) wake: Notify,
    in_flight: once::InFlight,
    retries: TpsBudget,
}

/// How chats are treated.
#[derive(Clone, Debug)]
pub struct ChatSettings {
    /// Longest user message in bytes of UTF-8.
    pub message_bytes: usize,
    /// What happens to a message that is sent while an answer is under way, if its chat does not
    /// say.
    pub on_busy: OnBusy,
    /// How long an idempotency key is remembered.
    pub idempotency_ttl: Duration,
    pub attempts: AttemptSettings,
    pub prices: Vec<Price>,
}

/// What holds for chats that do not say otherwise.
#[derive(Clone, Copy, Debug)]
pub struct ChatDefaults<'a> {
    pub model: &'a str,
    pub on_busy: OnBusy,
}

/// How requests are run.
#[derive(Clone, Copy, Debug)]
pub struct AttemptSettings {
    /// Runs of one request at most, when its node dies.
    pub max_attempts: u32,
    /// From a request's first claim to its end.
    pub deadline: Duration,
    /// From an attempt's start to the first token.
    pub first_token: Duration,
    /// Calls beyond an attempt's first one, before the first token.
    pub max_retries: usize,
    /// Begin another attempt when the provider breaks off after tokens were shown.
    pub replaces_broken: bool,
    /// Requests that the provider may run at once, on all nodes together.
    pub provider_limit: Option<u32>,
}

impl Chats {
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        ledgers: Arc<Ledgers>,
        flusher: Arc<Flusher>,
        follower: Follower,
        provider: Arc<dyn Provider>,
        clock: Arc<dyn Clock>,
        settings: ChatSettings,
    ) -> Self {
        Self {
            store,
            ledgers,
            flusher,
            follower,
            provider,
            clock,
            settings,
            wake: Notify::new(),
            in_flight: once::InFlight::default(),
            retries: TpsBudget::new(RETRY_WINDOW, RETRIES_PER_SECOND, RETRY_SHARE),
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

    /// What holds for chats that do not say otherwise.
    #[must_use]
    pub fn defaults(&self) -> ChatDefaults<'_> {
        ChatDefaults {
            model: self.provider.default_model(),
            on_busy: self.settings.on_busy,
        }
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

    /// Lets others come to their end before something is read again that they have changed.
    async fn let_others_pass(&self) {
        let pause = fastrand::u64(1..=STALE_PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    /// Stops all answers where they are, without ending them: this node goes away.
    pub fn abandon_answers(&self) {
        self.ledgers.stop_all(crate::ledger::Stop::Abandon);
    }
}
