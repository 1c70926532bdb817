//! One node: the server's rooms put together as `app` does, with a provider and a clock that the
//! test holds in its hands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use entity::chat::OnBusy;
use entity::token_ledger::Channel;
use entity::{MessageId, Timestamp};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use pollen::cache::{CacheSettings, ResponseCache};
use pollen::chat::{AttemptSettings, ChatSettings, Chats, Rooms};
use pollen::ledger::{FlushSettings, Flusher, Follower, Heads, LedgerLimits, Ledgers, Live};
use pollen::model::clock::Clock;
use pollen::model::position::Position;
use pollen::provider::{
    Call, Capabilities, Catalogue, Event, ListedModel, Provider, ProviderError,
};
use pollen::store::{Store, StoreSettings};
use pollen::trace::Tracer;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::reference::{LEASE_MS, MAX_ATTEMPTS, Texts};

/// What takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails instead of waiting for ever.
pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"))
}

/// The time that the test says it is.
#[derive(Default)]
pub struct Hands(AtomicI64);

impl Hands {
    pub fn set(&self, now: i64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

type Said = Result<Event, ProviderError>;

/// A provider whose answers are whatever the test says through the other end of a call.
struct Scripted {
    calls: UnboundedSender<(Call, UnboundedSender<Said>)>,
}

impl Provider for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn address(&self) -> String {
        "scripted".to_owned()
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ListedModel>, ProviderError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_temperature: 2.0,
            max_stop: 4,
            seed: true,
            reasoning_effort: true,
        }
    }

    fn answer(&self, call: Call) -> BoxStream<'static, Said> {
        let (mouth, said) = unbounded();
        // A node that is being taken down listens no more.
        let _ = self.calls.unbounded_send((call, mouth));
        said.boxed()
    }
}

/// An answer that is being written.
pub struct Writing {
    /// None once the model's stream has ended.
    mouth: Option<UnboundedSender<Said>>,
    task: JoinHandle<()>,
}

impl Writing {
    pub fn say(&self, said: Said) {
        // A task that has been stopped listens no more.
        let mouth = self.mouth.as_ref().unwrap();
        let _ = mouth.unbounded_send(said);
    }

    /// Ends the model's stream and waits for the task.
    pub async fn end(mut self) {
        self.mouth = None;
        soon("the task ends", self.task).await.unwrap();
    }

    /// Waits for a task that has been told to stop while its model goes on.
    pub async fn stopped(self) {
        soon("the task stops", self.task).await.unwrap();
    }

    pub fn is_stopped(&self) -> bool {
        self.task.is_finished()
    }
}

pub struct Node {
    pub chats: Arc<Chats>,
    pub store: Arc<Store>,
    pub flusher: Arc<Flusher>,
    ledgers: Arc<Ledgers>,
    calls: Mutex<UnboundedReceiver<(Call, UnboundedSender<Said>)>>,
    pub writing: HashMap<MessageId, Writing>,
}

impl Node {
    /// Starts as the server starts.
    pub async fn start(url: &str, clock: &Arc<Hands>, replaces_broken: bool) -> Self {
        let settings = StoreSettings {
            url: url.to_owned(),
            max_connections: 3,
            acquire_timeout: PATIENCE,
        };
        let store = Arc::new(Store::open(&settings).await.unwrap());
        let clock: Arc<dyn Clock> = Arc::<Hands>::clone(clock);
        let ledgers = Arc::new(Ledgers::new(LedgerLimits {
            answer_bytes: 1 << 20,
            unflushed_bytes: 1 << 20,
        }));
        let flusher = Arc::new(Flusher::new(
            Arc::clone(&store),
            Arc::clone(&ledgers),
            Arc::clone(&clock),
            FlushSettings {
                interval: PATIENCE,
                node: Uuid::now_v7().to_string(),
                lease: Duration::from_millis(u64::try_from(LEASE_MS).unwrap()),
            },
        ));
        let (calls, called) = unbounded();
        let cache = ResponseCache::open(CacheSettings {
            memory_bytes: 0,
            redis_url: None,
            timeout: PATIENCE,
        });
        let rooms = Rooms {
            store: Arc::clone(&store),
            ledgers: Arc::clone(&ledgers),
            flusher: Arc::clone(&flusher),
            follower: Follower::new(Arc::clone(&store), Duration::ZERO),
            heads: Heads::new(Arc::clone(&store), Duration::ZERO),
            catalogue: Arc::new(Catalogue::of(Arc::new(Scripted { calls }), "scripted")),
            cache: Arc::new(cache.unwrap()),
            tracer: Tracer::default(),
        };
        let chats = Arc::new(Chats::new(rooms, clock, settings_of(replaces_broken)));
        chats.recover().await.unwrap();
        Self {
            chats,
            store,
            flusher,
            ledgers,
            calls: Mutex::new(called),
            writing: HashMap::new(),
        }
    }

    /// Goes away as the server does when it is told to end.
    pub async fn let_go(&mut self) {
        self.chats.abandon_answers();
        for (_, writing) in self.writing.drain() {
            writing.stopped().await;
        }
        self.flusher.flush_and_release().await.unwrap();
    }

    /// Dies: what is in memory is gone.
    pub async fn die(self) {
        for (_, writing) in self.writing {
            writing.task.abort();
            let _ = writing.task.await;
        }
        self.store.close().await.unwrap();
    }

    /// Claims a request and has it answered. The history that its model is sent; none if there
    /// was nothing to claim.
    pub async fn claim(&mut self) -> Option<(Vec<String>, Writing)> {
        let claimed = self.chats.claim(1).await.unwrap().pop()?;
        let chats = Arc::clone(&self.chats);
        let task = tokio::spawn(async move { chats.answer(claimed).await });
        let calls = self.calls.get_mut().unwrap();
        let (call, mouth) = soon("the model is asked", calls.next()).await.unwrap();
        let history = call.turns.into_iter().map(|turn| turn.content).collect();
        Some((
            history,
            Writing {
                mouth: Some(mouth),
                task,
            },
        ))
    }

    /// Waits until the model's words have arrived in memory, or nobody listens any more.
    pub async fn heard(&self, answer: MessageId, texts: &Texts) {
        let is_behind = |live: &Live| {
            let read = |channel| live.read(channel, Position::START, usize::MAX).tokens;
            read(Channel::Text) != texts.said || read(Channel::Reasoning) != texts.thought
        };
        let heard = async {
            while !self.writing[&answer].is_stopped()
                && self.ledgers.get(answer).is_none_or(|live| is_behind(&live))
            {
                tokio::task::yield_now().await;
            }
        };
        soon("the model is heard", heard).await;
    }

    /// Forgets the tasks that have ended by themselves, which must be exactly those that the
    /// reference has no writers for.
    pub async fn reap(&mut self, expected: &[MessageId]) {
        let over: Vec<_> = self
            .writing
            .keys()
            .filter(|id| !expected.contains(id))
            .copied()
            .collect();
        for id in over {
            self.writing.remove(&id).unwrap().stopped().await;
        }
        let mut live: Vec<_> = self
            .ledgers
            .all()
            .iter()
            .map(|live| live.ids.message)
            .collect();
        let mut expected = expected.to_vec();
        live.sort();
        expected.sort();
        assert_eq!(live, expected, "the ledgers that are open");
        for (id, writing) in &self.writing {
            assert!(
                !writing.is_stopped(),
                "nobody writes {id} although it is this node's"
            );
        }
    }
}

fn settings_of(replaces_broken: bool) -> ChatSettings {
    ChatSettings {
        archives: pollen::chat::ArchiveSettings {
            max_bytes: 1 << 20,
            kept: Duration::from_mins(1),
        },
        message_bytes: 1_000,
        on_busy: OnBusy::Enqueue,
        idempotency_ttl: PATIENCE,
        undo: PATIENCE,
        session_absolute: Duration::from_hours(24),
        attempts: AttemptSettings {
            max_attempts: u32::try_from(MAX_ATTEMPTS).unwrap(),
            deadline: Duration::from_hours(24),
            first_token: Duration::from_hours(1),
            max_retries: 0,
            replaces_broken,
        },
        agents: Arc::new([]),
        tiers: Vec::new(),
        anonymous_tier: None,
        admins_read_chats: false,
        recheck: Duration::ZERO,
        default_tier: None,
        title_model: None,
        summarises: false,
    }
}

/// Polls a future so often and drops it, as a lost connection would end it at any place.
pub async fn give_up(work: impl Future, polls: usize) {
    let mut work = Box::pin(work);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        work.poll_unpin(context).map(drop)
    })
    .await;
}
