//! Who somebody is: how each way to come in is checked, and what follows from it. Each way leads to a row
//! of `user`; which routes ask for what is decided in `http`.
//!
//! What was found out is believed for a moment (`recheck`), so that polls several times a second do not
//! read it each time. Whatever changes a right here is at once forgotten here; other nodes find out
//! when their moment is over.

mod caller;
mod jwt;
mod proxy;
mod session;
mod token;
mod users;

use std::sync::Arc;
use std::time::Duration;

use entity::SessionId;
use moka::sync::Cache;

use crate::model::clock::Clock;
use crate::model::secret::NoRandomness;
use crate::store::{Store, StoreError};

pub use caller::{Caller, Scope, Via};
pub use jwt::{JwtSettings, KeySource};
pub use proxy::Vouched;
pub use session::{SessionMark, Visit};
pub use token::{MadeToken, NewToken, TOKEN_PREFIX, TokenError};
pub use users::{UserError, find_user};

/// What is remembered at once, at most.
const KNOWN: u64 = 100_000;
/// How often it is noted that somebody was seen, in milliseconds.
const SEEN_EVERY_MS: i64 = 60_000;

/// Which ways there are to come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each way is there or not, whatever the others are"
)]
pub struct Modes {
    pub local: bool,
    pub anonymous: bool,
    pub token: bool,
    pub jwt: bool,
    pub proxy: bool,
}

/// How people come in, and for how long.
pub struct IdentitySettings {
    pub modes: Modes,
    /// How long after its last use a session ends.
    pub idle: Duration,
    /// How long after its beginning a session ends.
    pub absolute: Duration,
    /// How long somebody is believed without another look.
    pub recheck: Duration,
    /// Of the mode `jwt`.
    pub jwt: Option<JwtSettings>,
    /// The group whose members are admins, of the mode `proxy`.
    pub admin_group: Option<String>,
}

/// What somebody was known by.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Proof {
    /// The digest of a token, or of a JWT.
    Bearer(String),
    Session(SessionId),
    /// What a gateway says of them.
    Vouched(Vouched),
}

/// Checks who somebody is.
pub struct Identity {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    settings: IdentitySettings,
    jwt: Option<jwt::Jwt>,
    known: Cache<Proof, Arc<Caller>>,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// In words for whoever tries.
    #[error("{0}")]
    Refused(&'static str),
    #[error("this user has been disabled; ask the server's administrator")]
    Disabled,
    #[error("who you are cannot be checked right now: {0}")]
    Unavailable(String),
    #[error("a user could not be looked up")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl Identity {
    /// # Errors
    /// If the keys of the mode `jwt` are none.
    pub fn new(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        mut settings: IdentitySettings,
    ) -> Result<Self, crate::provider::ConnectError> {
        let jwt = settings.jwt.take().map(jwt::Jwt::new).transpose()?;
        let known = Cache::builder()
            .max_capacity(KNOWN)
            .time_to_live(settings.recheck)
            .build();
        Ok(Self {
            store,
            clock,
            settings,
            jwt,
            known,
        })
    }

    #[must_use]
    pub fn modes(&self) -> Modes {
        self.settings.modes
    }

    /// Whoever comes with `Authorization: Bearer`.
    ///
    /// # Errors
    /// If the bearer is nobody, or may not come in.
    pub async fn bearer(&self, bearer: &str) -> Result<Arc<Caller>, IdentityError> {
        let proof = Proof::Bearer(crate::model::secret::hash(bearer));
        if let Some(caller) = self.known.get(&proof) {
            return Ok(caller);
        }
        let modes = self.settings.modes;
        let caller = match &self.jwt {
            _ if bearer.starts_with(TOKEN_PREFIX) && modes.token => self.by_token(bearer).await?,
            Some(jwt) => self.by_jwt(jwt, bearer).await?,
            None => {
                return Err(IdentityError::Refused(
                    "this is no API token of this server",
                ));
            }
        };
        let caller = Arc::new(caller);
        self.known.insert(proof, Arc::clone(&caller));
        Ok(caller)
    }

    /// Forgets what was believed: somebody's rights have changed.
    pub fn forget(&self) {
        self.known.invalidate_all();
    }

    /// Whether it is time to note again that somebody was seen.
    fn is_long_ago(&self, seen: Option<entity::Timestamp>) -> bool {
        seen.is_none_or(|seen| self.clock.now().0.saturating_sub(seen.0) > SEEN_EVERY_MS)
    }
}
