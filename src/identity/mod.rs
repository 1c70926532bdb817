//! Who somebody is: how each way to come in is checked, and what follows from it. Each way leads to a row
//! of `user`; which routes ask for what is decided in `http`.
//!
//! What was found out is believed for a moment (`memory`). Whatever changes a right here is at once
//! forgotten here; other nodes find out when their moment is over. A look beyond that is boxed: every request's
//! future would else have room for it.

mod caller;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod jwt;
mod keys;
mod memory;
mod proxy;
mod session;
mod token;
mod users;

use std::sync::Arc;
use std::time::Duration;

use entity::{OwnerId, SessionId};

use crate::model::clock::Clock;
use crate::model::secret::NoRandomness;
use crate::store::{Store, StoreError};

use memory::Memory;

pub use caller::{Caller, Scope, Via};
pub use jwt::{JwtSettings, KeySource};
pub use proxy::Vouched;
pub use session::{SessionMark, Visit};
pub use token::{MadeToken, NewToken, TOKEN_PREFIX, TokenError};
pub use users::{UserError, find_user};

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
    Session(SessionId, OwnerId),
    /// What a gateway says of them.
    Vouched(Vouched),
}

/// Checks who somebody is.
pub struct Identity {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    settings: IdentitySettings,
    jwt: Option<jwt::Jwt>,
    memory: Memory,
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
        Ok(Self {
            memory: Memory::new(settings.recheck),
            store,
            clock,
            settings,
            jwt,
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
        if let Some(found) = self.memory.fresh(&proof) {
            return Ok(found.caller);
        }
        let modes = self.settings.modes;
        let found = match &self.jwt {
            _ if bearer.starts_with(TOKEN_PREFIX) && modes.token => {
                let look = self.by_token(bearer);
                Box::pin(self.memory.look(proof, self.clock.now(), look)).await?
            }
            Some(jwt) => Box::pin(self.by_jwt(jwt, proof, bearer)).await?,
            None => {
                return Err(IdentityError::Refused(
                    "this is no API token of this server",
                ));
            }
        };
        Ok(found.caller)
    }

    /// Whoever comes with this bearer, if that was found out a moment ago.
    #[must_use]
    pub fn bearer_at_hand(&self, bearer: &str) -> Option<Arc<Caller>> {
        let proof = Proof::Bearer(crate::model::secret::hash(bearer));
        Some(self.memory.fresh(&proof)?.caller)
    }

    /// Forgets what was believed: somebody's rights have changed.
    pub fn forget(&self) {
        self.memory.forget();
    }

    /// Whether it is time to note again that somebody was seen.
    fn is_long_ago(&self, seen: Option<entity::Timestamp>) -> bool {
        seen.is_none_or(|seen| self.clock.now().0.saturating_sub(seen.0) > SEEN_EVERY_MS)
    }
}
