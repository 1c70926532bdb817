//! The composition root: puts the rooms together, runs them, and takes them down in order.

mod access;
mod agents;
mod copies;
mod doctor;
mod metrics;
mod models;
mod reload;
mod traces;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use entity::chat::OnBusy;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::cache::{CacheSettings, OpenError, ResponseCache};
use crate::chat::{ArchiveSettings, AttemptSettings, ChatSettings, Chats, Rooms};
use crate::config::{AgentConfig, BrokenChoice, BusyChoice, Config, FullChoice, TierConfig};
use crate::http::{
    self, Controls, Front, HttpLimits, Observers, PrintSettings, Printer, ServeSettings,
};
use crate::ledger::{FlushSettings, Flusher, Follower, Heads, LedgerLimits, Ledgers};
use crate::limit::{LimitSettings, Limits};
use crate::model::agent::Agent;
use crate::model::allowance::Tier;
use crate::model::clock::{Clock, SystemClock};
use crate::model::usage::micros;
use crate::provider::{Catalogue, ConnectError, DEMO_MODEL, UnknownModel};
use crate::store::{Store, StoreError, StoreSettings};
use crate::worker::{Worker, WorkerSettings};

use traces::Traces;

/// The part of the time limit on a shutdown that requests in flight may take of it.
const DRAIN_SHARE: u32 = 2;

/// How those are served who read metrics: a few, within the operator's own network.
const METRICS_SERVED: ServeSettings = ServeSettings {
    connections: 64,
    connections_per_address: 0,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_mins(2),
    drain_limit: Duration::from_secs(1),
};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "cannot listen on {address}: {source}. Is another server there? `--listen 127.0.0.1:0` takes a free port"
    )]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(
        "cannot listen for metrics on {address}: {source}. `metrics.listen` names another address; `metrics.listen = \"\"` does without"
    )]
    ListenForMetrics {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot use the database {url}: {source}")]
    Database { url: String, source: StoreError },
    #[error("cannot reach the models of the provider {provider:?}: {source}")]
    Provider {
        provider: String,
        source: ConnectError,
    },
    #[error("cannot use the response cache: {0}")]
    Cache(OpenError),
    #[error("cannot keep the key that cookies are signed with in {path}: {source}")]
    CookieKey {
        path: String,
        source: std::io::Error,
    },
    #[error("the `upstream.ca_file` {path} cannot be read: {source}")]
    CaFile {
        path: String,
        source: std::io::Error,
    },
    #[error("`auth.jwt.jwks_url`: {0}")]
    PublishedKeys(ConnectError),
    #[error("`tracing.otlp_endpoint`: {0}")]
    Traces(ConnectError),
    #[error("traces cannot be sent: {0}. `tracing.otlp_endpoint = \"\"` does without")]
    Exporter(String),
    #[error("`chat.title_model`: {0}")]
    TitleModel(UnknownModel),
}

/// A running server.
pub struct App {
    address: SocketAddr,
    database: String,
    model: String,
    shutdown_limit: Duration,
    /// What is in force. Boxed, for it is most of what there is.
    config: Box<Config>,
    chats: Arc<Chats>,
    rates: Arc<Limits>,
    controls: Arc<Controls>,
    store: Arc<Store>,
    flusher: Arc<Flusher>,
    /// Requests that change something, also when their clients have gone.
    changes: TaskTracker,
    /// Lets go of the polls that are held.
    closing: CancellationToken,
    /// Asks the providers for their models, which the start does not wait for.
    listing: Task,
    server: Task,
    worker: Task,
    flushing: Task,
    /// Looks at what does not count itself.
    watching: Task,
    /// Where whoever watches asks, if there is an address for it.
    metrics: Option<(SocketAddr, Task)>,
    traces: Traces,
}

/// A spawned task and the way to end it.
struct Task {
    stop: CancellationToken,
    handle: JoinHandle<()>,
}

impl Task {
    fn spawn<F: Future<Output = ()> + Send + 'static>(
        run: impl FnOnce(CancellationToken) -> F,
    ) -> Self {
        let stop = CancellationToken::new();
        let handle = tokio::spawn(run(stop.clone()));
        Self { stop, handle }
    }

    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.handle.await {
            tracing::error!(%error, "a task did not end well");
        }
    }
}

impl App {
    /// Opens the database, chooses the model, ends what a process before left running, and
    /// starts to serve.
    ///
    /// # Errors
    /// If it cannot listen, or the database cannot be used.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let recorder = metrics::recorder();
        let (address, listener) = listen(config).await?;
        let metrics_listener = listen_for_metrics(config).await?;

        let store = Arc::new(open_store(config).await?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ledgers = Arc::new(Ledgers::new(ledger_limits(config)));
        let node = Uuid::now_v7().to_string();
        let traces = Traces::open(config, &node)?;
        let flusher = Arc::new(Flusher::new(
            Arc::clone(&store),
            Arc::clone(&ledgers),
            Arc::clone(&clock),
            flush_settings(config, node),
        ));
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let catalogue = Arc::new(models::catalogue(config).await?);
        check_title_model(config, &catalogue)?;
        for warning in agents::warnings(&config.all_agents, &catalogue) {
            tracing::warn!("{warning}");
        }
        let model = describe(&catalogue);
        let listed = Arc::clone(&catalogue);
        let cache = Arc::new(open_cache(config)?);
        let rates = Arc::new(Limits::new(limit_settings(config), cache.line()));
        let follow_interval = Duration::from_millis(config.ledger.follow_interval_ms);
        let gate = access::gate(config, Arc::clone(&store), Arc::clone(&clock))?;
        let rooms = Rooms {
            store: Arc::clone(&store),
            ledgers: Arc::clone(&ledgers),
            flusher: Arc::clone(&flusher),
            follower: Follower::new(Arc::clone(&store), follow_interval),
            heads: Heads::new(Arc::clone(&store), follow_interval),
            catalogue,
            cache,
            tracer: traces.tracer(),
        };
        let watcher = metrics::Watcher {
            recorder: recorder.clone(),
            store: Arc::clone(&store),
            ledgers,
            clock: Arc::clone(&clock),
        };
        metrics::tell_limits(config);
        let chats = Arc::new(Chats::new(rooms, clock, chat_settings(config)));
        let database = config.database_name();
        chats
            .recover()
            .await
            .map_err(|source| StartError::Database {
                url: database.clone(),
                source,
            })?;

        let shutdown_limit = Duration::from_millis(config.shutdown.limit_ms);
        let worker = Worker::new(Arc::clone(&chats), worker_settings(config));
        let (changes, closing) = (TaskTracker::new(), CancellationToken::new());
        let controls = Arc::new(Controls::new(http_limits(config)));
        let observers = Observers {
            metrics: recorder,
            tracer: traces.tracer(),
        };
        let sites = http::site(
            Arc::clone(&chats),
            Arc::clone(&controls),
            Arc::clone(&rates),
            observers,
            (changes.clone(), closing.clone()),
            &front(config),
            (gate, Printer::new(print_settings(config))),
        );
        let (settings, front) = (serve_settings(config), front(config));
        let flushing = Arc::clone(&flusher);
        let site = sites.front;
        let metrics = metrics_listener.map(|bound| serve_metrics(bound, sites.metrics, &front));
        Ok(Self {
            address,
            database,
            model,
            shutdown_limit,
            config: Box::new(config.clone()),
            chats,
            rates,
            controls,
            store,
            flusher,
            changes,
            closing,
            listing: Task::spawn(|stop| async move {
                let _ = stop.run_until_cancelled(listed.models()).await;
            }),
            server: Task::spawn(|stop| http::serve(listener, site, front, settings, stop)),
            worker: Task::spawn(|stop| worker.run(stop)),
            flushing: Task::spawn(|stop| async move { flushing.run(stop).await }),
            watching: Task::spawn(|stop| watcher.run(stop)),
            metrics,
            traces,
        })
    }

    /// Where it listens; the port is the real one, also when a free one was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for those who read metrics, if it does.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(address, _)| *address)
    }

    /// One line for whoever started it: the address, the database and the model.
    #[must_use]
    pub fn summary(&self) -> String {
        let metrics = self.metrics_address();
        let metrics = metrics.map_or_else(String::new, |address| {
            format!(" · metrics http://{address}/metrics")
        });
        format!(
            "Pollen {} listens on http://{} · database {} · model {}{metrics}",
            env!("CARGO_PKG_VERSION"),
            self.address,
            self.database,
            self.model
        )
    }

    /// Says that it is about to go, and serves on for as long as balancers are given to notice.
    pub async fn leave(&self) {
        self.controls.leave();
        let delay = Duration::from_millis(self.config.shutdown.ready_delay_ms);
        if !delay.is_zero() {
            tracing::info!(
                ?delay,
                "not ready any more; serving on until balancers have noticed"
            );
            tokio::time::sleep(delay).await;
        }
    }

    /// Ends in order: no new connections, requests in flight answered, answers let go of, their
    /// text flushed, connections closed. What is not done within the limit is left.
    pub async fn shutdown(self) {
        let limit = self.shutdown_limit;
        if tokio::time::timeout(limit, self.end()).await.is_err() {
            tracing::error!(?limit, "the shutdown took too long and was cut short");
        }
    }

    async fn end(self) {
        self.closing.cancel();
        self.server.end().await;
        self.changes.close();
        self.changes.wait().await;
        self.worker.end().await;
        self.listing.end().await;
        self.flushing.end().await;
        if let Err(error) = self.flusher.flush_and_release().await {
            tracing::error!(%error, "the last flush failed");
        }
        self.traces.end().await;
        // What ends is watched until it has.
        self.watching.end().await;
        if let Some((_, served)) = self.metrics {
            served.end().await;
        }
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the database could not be closed");
        }
    }
}

pub use access::{Access, open_access};
pub use copies::{back_up, maintain, restore};
pub use doctor::{Diagnosis, doctor};
pub use models::{CheckedProvider, check_providers, known_models};

/// Port 0 takes a free one.
async fn listen(config: &Config) -> Result<(SocketAddr, TcpListener), StartError> {
    let address = config.listen;
    let cannot_listen = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    Ok((address, listener))
}

/// The same for those who read metrics, if there is an address for them.
async fn listen_for_metrics(
    config: &Config,
) -> Result<Option<(SocketAddr, TcpListener)>, StartError> {
    // The configuration has been checked: what is no address is empty.
    let Ok(address) = config.metrics.listen.parse::<SocketAddr>() else {
        return Ok(None);
    };
    let cannot_listen = |source| StartError::ListenForMetrics { address, source };
    let listener = TcpListener::bind(address).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    Ok(Some((address, listener)))
}

fn serve_metrics(
    (address, listener): (SocketAddr, TcpListener),
    site: http::Site,
    front: &Front,
) -> (SocketAddr, Task) {
    tracing::info!(%address, "metrics are served to whoever asks there");
    let front = front.clone();
    let served = move |stop| http::serve(listener, site, front, METRICS_SERVED, stop);
    (address, Task::spawn(served))
}

/// Opens and migrates the database.
///
/// # Errors
/// If that is not possible.
pub async fn open_store(config: &Config) -> Result<Store, StartError> {
    Store::open(&store_settings(config))
        .await
        .map_err(|source| StartError::Database {
            url: config.database_name(),
            source,
        })
}

fn store_settings(config: &Config) -> StoreSettings {
    StoreSettings {
        url: config.database_url.expose_secret().to_owned(),
        max_connections: config.database.max_connections,
        acquire_timeout: Duration::from_millis(config.database.acquire_timeout_ms),
    }
}

fn open_cache(config: &Config) -> Result<ResponseCache, StartError> {
    let redis_url = Some(config.redis_url.clone()).filter(|url| !url.expose_secret().is_empty());
    ResponseCache::open(CacheSettings {
        memory_bytes: config.cache.memory_bytes,
        redis_url,
        timeout: Duration::from_millis(config.cache.timeout_ms),
    })
    .map_err(StartError::Cache)
}

/// Asks nobody: a provider that lists its models may have any, and is believed.
fn check_title_model(config: &Config, catalogue: &Catalogue) -> Result<(), StartError> {
    let model = config.chat.title_model.as_str();
    if !model.is_empty() {
        let known = catalogue.resolve(Some(model));
        known.map_err(StartError::TitleModel)?;
    }
    Ok(())
}

fn describe(catalogue: &Catalogue) -> String {
    let default = catalogue.default_model();
    if default.provider == DEMO_MODEL {
        format!(
            "{} (built in; set OPENAI_API_KEY or start Ollama for a real one)",
            default.id
        )
    } else {
        format!("{} ({})", default.id, default.provider)
    }
}

fn chat_settings(config: &Config) -> ChatSettings {
    ChatSettings {
        message_bytes: config.limits.message_bytes,
        on_busy: match config.chat.on_busy {
            BusyChoice::Enqueue => OnBusy::Enqueue,
            BusyChoice::Reject => OnBusy::Reject,
            BusyChoice::Interrupt => OnBusy::Interrupt,
            BusyChoice::Rollback => OnBusy::Rollback,
        },
        idempotency_ttl: Duration::from_millis(config.limits.idempotency_ttl_ms),
        undo: Duration::from_millis(config.limits.undo_ms),
        session_absolute: Duration::from_millis(config.auth.session_absolute_ms),
        attempts: AttemptSettings {
            max_attempts: config.worker.max_attempts,
            deadline: Duration::from_millis(config.worker.deadline_ms),
            first_token: Duration::from_millis(config.worker.first_token_timeout_ms),
            max_retries: config.upstream.max_retries,
            replaces_broken: config.worker.on_broken_answer == BrokenChoice::Replace,
        },
        archives: ArchiveSettings {
            max_bytes: config.export.archive_bytes,
            kept: Duration::from_millis(config.export.archive_ttl_ms),
        },
        agents: config.all_agents.iter().map(agent).collect(),
        tiers: config.tier.iter().map(tier).collect(),
        anonymous_tier: Some(config.auth.anonymous_tier.clone()).filter(|name| !name.is_empty()),
        admins_read_chats: config.auth.admins_read_chats,
        recheck: Duration::from_millis(config.auth.recheck_ms),
        default_tier: Some(config.default_tier.clone()).filter(|name| !name.is_empty()),
        title_model: Some(config.chat.title_model.clone()).filter(|name| !name.is_empty()),
        summarises: config.context.when_full == FullChoice::Summarise,
    }
}

fn ledger_limits(config: &Config) -> LedgerLimits {
    LedgerLimits {
        answer_bytes: config.ledger.max_answer_bytes,
        unflushed_bytes: config.ledger.max_unflushed_bytes,
    }
}

fn flush_settings(config: &Config, node: String) -> FlushSettings {
    FlushSettings {
        interval: config.ledger.flush_interval(),
        node,
        lease: Duration::from_millis(config.worker.lease_ms),
    }
}

fn worker_settings(config: &Config) -> WorkerSettings {
    let worker = &config.worker;
    WorkerSettings {
        max_running: worker.max_running,
        scan_interval: Duration::from_millis(worker.scan_interval_ms),
        repair_interval: Duration::from_millis(worker.repair_interval_ms),
        lease: Duration::from_millis(worker.lease_ms),
    }
}

fn http_limits(config: &Config) -> HttpLimits {
    let limits = &config.limits;
    HttpLimits {
        body_bytes: limits.body_bytes,
        import_bytes: config.export.import_bytes,
        body_timeout: Duration::from_millis(limits.body_timeout_ms),
        request_timeout: Duration::from_millis(limits.request_timeout_ms),
        max_in_flight: limits.max_in_flight,
        longest_wait: Duration::from_millis(limits.longest_wait_ms),
    }
}

fn print_settings(config: &Config) -> PrintSettings {
    let export = &config.export;
    PrintSettings {
        font_folder: Some(PathBuf::from(&export.font_dir))
            .filter(|path| !path.as_os_str().is_empty()),
        max_bytes: export.pdf_bytes,
        at_once: export.pdfs_at_once,
    }
}

fn limit_settings(config: &Config) -> LimitSettings {
    let (limits, tiers) = (&config.limits, config.tier.iter());
    LimitSettings {
        polls: limits.polls_per_minute,
        sends: limits.requests_per_minute,
        changes: limits.changes_per_minute,
        unknown: limits.unknown_per_minute,
        tiers: tiers
            .map(|tier| (tier.name.clone(), tier.requests_per_minute))
            .collect(),
        default_tier: Some(config.default_tier.clone()).filter(|name| !name.is_empty()),
    }
}

fn serve_settings(config: &Config) -> ServeSettings {
    let limits = &config.limits;
    ServeSettings {
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
        header_timeout: Duration::from_millis(limits.header_timeout_ms),
        idle_timeout: Duration::from_millis(limits.idle_timeout_ms),
        drain_limit: Duration::from_millis(config.shutdown.limit_ms) / DRAIN_SHARE,
    }
}

fn front(config: &Config) -> Front {
    Front {
        trusted: config.trusted_proxies.0.iter().map(|net| net.0).collect(),
        is_https: config.public_url.starts_with("https:"),
        public_origin: url::Url::parse(&config.public_url)
            .ok()
            .map(|url| url.origin().ascii_serialization()),
        cors: config.cors.origins.0.clone(),
        public_url: Some(config.public_url.clone()).filter(|url| !url.is_empty()),
    }
}

fn agent(config: &AgentConfig) -> Agent {
    Agent {
        alias: config.alias.clone(),
        name: config.name.clone(),
        description: config.description.clone(),
        icon: config.icon.clone(),
        colour: config.colour.clone(),
        system_prompt: config.system_prompt.clone(),
        greeting: config.greeting.clone(),
        model: config.model.clone(),
        parameters: config.parameters.clone(),
        suggestions: config.suggestions.clone(),
    }
}

fn tier(config: &TierConfig) -> Tier {
    Tier {
        name: config.name.clone(),
        models: config.models.clone(),
        requests_per_minute: config.requests_per_minute,
        max_running: config.max_running,
        message_bytes: Some(config.message_bytes).filter(|bytes| *bytes > 0),
        retention: Some(config.retention_days).filter(|days| *days > 0),
        tokens_per_day: config.tokens_per_day.into(),
        tokens_per_month: config.tokens_per_month.into(),
        micros_per_day: micros(config.cost_per_day),
        micros_per_month: micros(config.cost_per_month),
    }
}
