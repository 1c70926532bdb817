//! The way from a terminal to a server: what the flags and the environment say, who an anonymous client was before, and
//! what happens on the way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::outcome::Stopped;
use super::screen::complain;
use super::state::State;
use crate::client::{Client, Patience};

/// Which server, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub url: String,
    /// None or empty: nobody in particular.
    pub token: Option<String>,
    /// The token may go over plain http.
    pub insecure: bool,
    /// How long to wait for a server that was there and is away; none: as long as it takes.
    pub patience: Option<Duration>,
}

/// A client, and what is heard beside its answers.
pub(super) struct Way {
    pub client: Client,
    /// Words for what went wrong on the way and is tried again.
    pub setbacks: UnboundedReceiver<String>,
    pub interrupts: Signal,
    state: Option<State>,
    /// The session that is kept.
    kept: Arc<Mutex<Option<String>>>,
    is_anonymous: bool,
    patience: Patience,
}

impl Way {
    pub fn open(server: &Server) -> Result<Self, Stopped> {
        let interrupts = signal(SignalKind::interrupt()).map_err(Stopped::Output)?;
        let (tell, setbacks) = unbounded_channel();
        let state = State::find();
        let token = server.token.as_deref().unwrap_or_default().trim();
        let is_anonymous = token.is_empty();
        // Its address as the client writes it is what the session is kept under.
        let address = Client::builder(&server.url).build()?.address().to_owned();
        let kept = state
            .as_ref()
            .filter(|_| is_anonymous)
            .and_then(|state| state.session(&address));
        let client = Client::builder(&server.url)
            .token(token)
            .allow_plain_http(server.insecure)
            .session(kept.clone())
            .user_agent(concat!("pollen/", env!("CARGO_PKG_VERSION")))
            // Until it has answered once, there is no reason to wait for it.
            .patience(Patience {
                unreachable: Some(Duration::ZERO),
                total: server.patience.or(Patience::default().total),
                ..Patience::default()
            })
            .on_setback(move |setback| {
                let seconds = setback.wait.as_secs_f64().ceil();
                // Nobody listens any more when it is over.
                let _ = tell.send(format!("{}: trying again in {seconds} s", setback.error));
            })
            .build()?;
        let patience = server
            .patience
            .map_or_else(Patience::endless, Patience::lasting);
        Ok(Self {
            client,
            setbacks,
            interrupts,
            state,
            kept: Arc::new(Mutex::new(kept)),
            is_anonymous,
            patience,
        })
    }

    /// What was heard before does not count for what comes: a Ctrl-C when an answer had just ended.
    pub fn forget(&mut self) {
        while self.interrupts.recv().now_or_never().is_some() {}
        while self.setbacks.try_recv().is_ok() {}
    }

    /// The server has answered: from now on it is waited for when it is away, and who it takes us for is kept.
    pub fn has_answered(&mut self) {
        self.client = self.client.with_patience(self.patience);
        let Some(state) = self.state.as_ref().filter(|_| self.is_anonymous) else {
            return;
        };
        let session = self.client.session();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if session.is_some() && *kept != session {
            let text = session.as_deref().unwrap_or_default();
            if let Err(error) = state.keep_session(self.client.address(), text) {
                complain(&format!(
                    "pollen: who you are for this server cannot be kept, so this chat cannot be gone on with: {error}"
                ));
            }
            *kept = session;
        }
    }
}
