//! What happens: one file per use case, each the story of it from top to bottom.
//!
//! Who may do it is proved by the values that a use case takes ([`OwnedChat`]); when it happens
//! is decided by the rooms above.

mod about;
mod access;
mod again;
mod agents;
mod allowance;
mod answer;
mod archive;
mod aside;
mod cancel;
mod claim;
mod command;
mod counts;
mod create;
mod delete;
mod edit;
mod end;
mod export;
mod finish;
mod forget;
mod history;
mod import;
mod inspect;
mod list;
mod maintain;
mod models;
mod news;
mod once;
mod poll_batch;
mod poll_messages;
mod poll_tokens;
mod prepare;
mod react;
mod read;
mod repair;
mod replay;
mod rescue;
mod respond;
mod response;
mod restore;
mod retention;
mod rules;
mod run;
mod search;
mod send;
mod share;
mod standing;
mod summary;
mod sweep;
mod takeout;
mod thread;
mod title;
mod update;
mod usage;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use entity::chat::OnBusy;
use entity::{Origin, OwnerId, Timestamp, llm_request};
use moka::sync::Cache;
use tokio::sync::Notify;
use tower::retry::budget::TpsBudget;

use crate::cache::{Flights, ResponseCache};
use crate::ledger::{Flusher, Follower, Heads, Ledgers};
use crate::model::agent::Agent;
use crate::model::allowance::Tier;
use crate::model::clock::Clock;
use crate::provider::Catalogue;
use crate::store::Store;
use crate::trace::Tracer;

pub use about::{About, AboutError, AboutSpent};
pub use access::{AccessError, OwnedChat, PolledChat, ReadableChat, Reader, WatchedChat};
pub use again::{Again, AgainError, Otherwise};
pub use agents::AgentError;
pub use allowance::{AllowanceError, Limits};
pub use archive::{ArchiveError, ArchiveRun, ArchiveSettings};
pub use cancel::{CancelError, Cancelled};
pub use claim::Claimed;
pub use create::{CreateError, Created, NewChat};
pub use delete::{DeleteChatError, DeleteMessageError};
pub use edit::EditError;
pub use export::{ExportError, ExportFormat};
pub use forget::{ForgetError, Forgotten};
pub use history::{HISTORY_PAGE, History, MAX_HISTORY_PAGE};
pub use import::{Import, ImportError, Imported, MAX_DOCUMENTS};
pub use inspect::{InspectError, InspectedChat};
pub use list::{ChatList, ListError, ListedChat, PageCursor};
pub use models::{ModelError, ModelOffer};
pub use news::Awaited;
pub use once::{Once, OnceError};
pub use poll_batch::{Batch, BatchPoll, ChatCursor, ChatPollError, MAX_CURSORS, MessageCursor};
pub use poll_messages::{MESSAGES_PER_PAGE, MessagesError, MessagesPoll, Quiet};
pub use poll_tokens::{Cursors, TokensError, TokensPoll};
pub use react::{NewReaction, ReactError};
pub use read::{MessageError, MessageRead};
pub use rescue::Abandoned;
pub use respond::{After, NewResponse, RespondError, Said};
pub use response::{Response, ResponseError};
pub use restore::RestoreError;
pub use rules::Rules;
pub use run::{Assistant, NewRun, RunError};
pub use search::{FoundChat, SearchError};
pub use send::{NewMessage, SendError, Sent};
pub use share::{
    MadeShare, RevokeShareError, SHARE_PREFIX, ShareError, ShareUntil, SharedChat, SharesError,
};
pub use standing::Member;
pub use takeout::{Takeout, TakeoutError};
pub use thread::{NewThread, ThreadError, ThreadMessage};
pub use update::{ChatUpdate, UpdateError};
pub use usage::{UsageError, UsageReport, UsageRow};
pub use versions::{SelectError, Version, Versions};

/// How often a use case reads again because what it had read changed under its hands, and the
/// longest wait before that; a random part of it is taken.
const MAX_STALE: usize = 16;
const STALE_PAUSE_MS: u64 = 40;
/// Users that are remembered at once, at most.
const MEMBERS: u64 = 100_000;
/// Retries of model calls that are always granted, per second, and for how long a call counts.
const RETRIES_PER_SECOND: u32 = 10;
const RETRY_WINDOW: Duration = Duration::from_secs(10);
/// Retries beyond that: at most this part of the calls, so that a provider in trouble is not
/// asked many times as often as one that is well.
const RETRY_SHARE: f32 = 0.2;

/// Everything that the use cases work with.
pub struct Chats {
    store: Arc<Store>,
    ledgers: Arc<Ledgers>,
    flusher: Arc<Flusher>,
    follower: Follower,
    heads: Heads,
    cache: Arc<ResponseCache>,
    clock: Arc<dyn Clock>,
    counts: counts::Counts,
    tracer: Tracer,
    rules: ArcSwap<Rules>,
    wake: Notify,
    members: Cache<OwnerId, Arc<Member>>,
    in_flight: once::InFlight,
    endings: finish::Endings,
    flights: Flights<replay::Told>,
    retries: TpsBudget,
    sweeper: sweep::Sweeper,
    takeouts: takeout::InHand,
    maintenance: maintain::Maintenance,
}

/// The rooms below.
pub struct Rooms {
    pub store: Arc<Store>,
    pub ledgers: Arc<Ledgers>,
    pub flusher: Arc<Flusher>,
    pub follower: Follower,
    pub heads: Heads,
    pub catalogue: Arc<Catalogue>,
    pub cache: Arc<ResponseCache>,
    pub tracer: Tracer,
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
    /// How long a deleted chat can be brought back; zero: it cannot.
    pub undo: Duration,
    /// How long after its beginning a browser's session ends, and with it a user who is nothing else.
    pub session_absolute: Duration,
    pub attempts: AttemptSettings,
    pub archives: ArchiveSettings,
    /// Personas, in the order in which they are shown.
    pub agents: Arc<[Agent]>,
    /// The lowest first.
    pub tiers: Vec<Tier>,
    /// The tier of browsers that nobody knows; none: everybody's.
    pub anonymous_tier: Option<String>,
    /// Whether administrators may read other people's chats.
    pub admins_read_chats: bool,
    /// How long a user's rights are believed without another look.
    pub recheck: Duration,
    /// The tier of everybody who has no other one. None: no limits, and all models.
    pub default_tier: Option<String>,
    /// The model that gives chats their titles; none: they are made of the first message.
    pub title_model: Option<String>,
    /// What does not fit the model's window is summarised, not just left out.
    pub summarises: bool,
}

/// What holds for chats that do not say otherwise.
#[derive(Clone, Debug)]
pub struct ChatDefaults {
    pub model: String,
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
}

impl Chats {
    #[must_use]
    pub fn new(rooms: Rooms, clock: Arc<dyn Clock>, settings: ChatSettings) -> Self {
        let members = Cache::builder()
            .max_capacity(MEMBERS)
            .time_to_live(settings.recheck)
            .build();
        Self {
            members,
            store: rooms.store,
            ledgers: rooms.ledgers,
            flusher: rooms.flusher,
            follower: rooms.follower,
            heads: rooms.heads,
            cache: rooms.cache,
            clock,
            counts: counts::Counts::new(),
            tracer: rooms.tracer,
            rules: ArcSwap::from_pointee(Rules {
                settings,
                catalogue: rooms.catalogue,
            }),
            wake: Notify::new(),
            in_flight: once::InFlight::default(),
            endings: finish::Endings::default(),
            flights: Flights::default(),
            retries: TpsBudget::new(RETRY_WINDOW, RETRIES_PER_SECOND, RETRY_SHARE),
            sweeper: sweep::Sweeper::default(),
            takeouts: takeout::InHand::default(),
            maintenance: maintain::Maintenance::default(),
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ready(&self) -> Result<(), crate::store::StoreError> {
        self.store.ping().await
    }

    /// What holds for chats that do not say otherwise.
    #[must_use]
    pub fn defaults(&self) -> ChatDefaults {
        let rules = self.rules();
        ChatDefaults {
            model: rules.catalogue.default_model().id.clone(),
            on_busy: rules.settings.on_busy,
        }
    }

    /// The time, for what is shown of it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns when there may be a request to claim. The news carries nothing and may be missed:
    /// a scan follows in any case.
    pub async fn news(&self) {
        self.wake.notified().await;
    }

    /// Tells the worker that there may be a request to claim.
    fn announce(&self) {
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

/// What is known of where an answer will come from before it is there.
fn origin_of(request: &llm_request::Model) -> Origin {
    Origin {
        model: request.model.clone(),
        provider: request.provider.clone(),
        ..Origin::default()
    }
}
