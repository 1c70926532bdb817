//! Browsers' sessions. The cookie says which session it is and is signed, so nobody makes one up. An
//! anonymous one has no row until it changes something: whoever only looks costs no write. Rows that
//! have ended stay until their cookies are too old in any case, so that ended means ended.

use std::sync::Arc;
use std::time::Duration;

use entity::user::{self, ANONYMOUS};
use entity::{OwnerId, SessionId, Timestamp, TokenId, session};

use super::memory::Found;
use super::{Caller, Identity, IdentityError, Proof, Scope, Via};
use crate::store::{Actor, Sessions, StoreError};

/// Characters of what a browser says of itself that are kept.
const BROWSER_CHARS: usize = 200;

/// What a cookie says, which is believed because it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionMark {
    pub id: SessionId,
    pub user: OwnerId,
    pub created_at: Timestamp,
    /// Whether its user is this browser, and nobody that it signed in as.
    pub is_anonymous: bool,
}

/// A browser that came with a session.
#[derive(Clone, Debug)]
pub struct Visit {
    pub caller: Arc<Caller>,
    /// It has changed nothing so far, and there is no row of it.
    pub is_unwritten: bool,
}

impl Identity {
    /// A session for a browser that has none.
    #[must_use]
    pub fn new_anonymous(&self) -> (SessionMark, Visit) {
        let mark = SessionMark {
            id: SessionId::generate(),
            user: OwnerId::generate(),
            created_at: self.clock.now(),
            is_anonymous: true,
        };
        let visit = Visit {
            caller: Arc::new(unwritten(&mark)),
            is_unwritten: true,
        };
        (mark, visit)
    }

    /// Seconds until the cookie of a session is worthless.
    #[must_use]
    pub fn cookie_lifetime(&self) -> Duration {
        self.settings.absolute
    }

    /// The browser that came with this cookie.
    ///
    /// # Errors
    /// If its session has ended, or its user may not come in.
    pub async fn visit(&self, mark: SessionMark) -> Result<Visit, IdentityError> {
        let proof = Proof::Session(mark.id, mark.user);
        let found = if let Some(found) = self.memory.fresh(&proof) {
            found
        } else {
            let now = self.clock.now();
            let look = self.by_session(mark, now);
            Box::pin(self.memory.look(proof, now, look)).await?
        };
        Ok(Visit {
            caller: found.caller,
            is_unwritten: found.is_unwritten,
        })
    }

    /// Whoever has this session, if that was found out a moment ago.
    #[must_use]
    pub fn visitor_at_hand(&self, mark: SessionMark) -> Option<Arc<Caller>> {
        let proof = Proof::Session(mark.id, mark.user);
        Some(self.memory.fresh(&proof)?.caller)
    }

    async fn by_session(&self, mark: SessionMark, now: Timestamp) -> Result<Found, IdentityError> {
        let Some(row) = self.store.session(mark.id).await? else {
            // One with a row that is gone is too old: rows go last.
            let is_young = self.settings.modes.anonymous
                && mark.is_anonymous
                && within(mark.created_at, self.settings.idle, now)
                && within(mark.created_at, self.settings.absolute, now);
            if is_young {
                return Ok(Found {
                    is_unwritten: true,
                    ..Found::of(unwritten(&mark), None)
                });
            }
            return Err(IdentityError::Refused("your session has ended"));
        };
        let has_ended = row.ended_at.is_some()
            || row.ends_at.is_some_and(|end| end <= now)
            || row.user_id != mark.user
            || !within(row.seen_at, self.settings.idle, now)
            || !within(row.created_at, self.settings.absolute, now);
        if has_ended {
            return Err(IdentityError::Refused("your session has ended"));
        }
        let user = self.store.user(row.user_id).await?;
        let Some(user) = user else {
            return Err(IdentityError::Refused("your session has ended"));
        };
        if user.disabled_at.is_some() {
            return Err(IdentityError::Disabled);
        }
        let found = self.session_caller(&row, &user).await?;
        if self.is_long_ago(Some(row.seen_at)) {
            let id = row.id;
            self.store
                .tx(|tx| async move { tx.see_session(id, now).await })
                .await?;
        }
        Ok(found)
    }

    /// With the rights of the token that it was begun with, as long as that one lives.
    async fn session_caller(
        &self,
        row: &session::Model,
        user: &user::Model,
    ) -> Result<Found, IdentityError> {
        let via = if user.issuer == ANONYMOUS {
            Via::Anonymous
        } else {
            Via::SignedIn
        };
        // A way in that was closed is closed also for those who came in by it.
        let modes = self.settings.modes;
        let is_open = match (via, row.token_id) {
            (Via::Anonymous, _) => modes.anonymous,
            (_, Some(_)) => modes.token,
            (_, None) => modes.jwt,
        };
        if !is_open {
            return Err(IdentityError::Refused("your session has ended"));
        }
        let mut caller = Caller::of(user, via);
        let mut end = row.created_at.plus_ms(milliseconds(self.settings.absolute));
        caller.ends_at = row.ends_at;
        if let Some(token) = row.token_id {
            let found = self.store.token_by_id(token).await?;
            let now = self.clock.now();
            let alive = found.filter(|token| {
                token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > now)
            });
            let Some(alive) = alive else {
                return Err(IdentityError::Refused("your session has ended"));
            };
            caller = caller.within(alive.scope);
        }
        end = row.ends_at.map_or(end, |its| its.min(end));
        caller.token = row.token_id;
        caller.session = Some(row.id);
        Ok(Found::of(caller, Some(end)))
    }

    /// Writes down a session that is about to change something.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn write_down(&self, mark: SessionMark, browser: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        let user = &user::Model {
            id: mark.user,
            issuer: ANONYMOUS.to_owned(),
            subject: mark.user.to_string(),
            name: String::new(),
            tier: None,
            is_admin: false,
            disabled_at: None,
            deleted_at: None,
            created_at: mark.created_at,
            seen_at: now,
        };
        let session = &row(mark, None, browser, now);
        self.store
            .tx(|tx| async move {
                tx.insert_user(user.clone()).await?;
                tx.insert_session(session.clone()).await
            })
            .await
    }

    /// Begins a session for somebody who came with a token or a JWT.
    ///
    /// # Errors
    /// If they may not come in.
    pub async fn sign_in(
        &self,
        bearer: &str,
        browser: &str,
        address: Option<String>,
    ) -> Result<SessionMark, IdentityError> {
        let caller = self.bearer(bearer).await?;
        let now = self.clock.now();
        let mark = SessionMark {
            id: SessionId::generate(),
            user: caller.owner,
            created_at: now,
            is_anonymous: false,
        };
        let session = &session::Model {
            ends_at: caller.ends_at,
            ..row(mark, caller.token, browser, now)
        };
        let actor = &Actor {
            id: Some(caller.owner),
            address,
        };
        self.store
            .tx(|tx| async move {
                tx.audit(actor, "session.begin", mark.id, now).await?;
                tx.insert_session(session.clone()).await
            })
            .await?;
        Ok(mark)
    }

    /// The user's sessions, the last one used first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sessions(&self, user: OwnerId) -> Result<Vec<session::Model>, StoreError> {
        let now = self.clock.now();
        let since = now.plus_ms(-milliseconds(self.settings.idle));
        let mut rows = self.store.sessions_of(user, since).await?;
        rows.retain(|row| within(row.created_at, self.settings.absolute, now));
        Ok(rows)
    }

    /// Ends one session of the user's, or all of them. How many there were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_sessions(
        &self,
        user: OwnerId,
        which: Sessions,
        actor: &Actor,
    ) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let ended = self
            .store
            .tx(|tx| async move {
                let ended = tx.end_sessions(user, which, now).await?;
                if ended > 0 {
                    let target = match which {
                        Sessions::One(id) => id.to_string(),
                        Sessions::All => "all".to_owned(),
                    };
                    tx.audit(actor, "session.end", target, now).await?;
                }
                Ok::<_, StoreError>(ended)
            })
            .await?;
        self.forget();
        Ok(ended)
    }
}

/// Whoever comes with a session that there is no row of.
fn unwritten(mark: &SessionMark) -> Caller {
    Caller {
        owner: mark.user,
        name: String::new(),
        scope: Scope::Write,
        is_admin: false,
        via: Via::Anonymous,
        token: None,
        session: Some(mark.id),
        ends_at: None,
    }
}

fn row(
    mark: SessionMark,
    token_id: Option<TokenId>,
    browser: &str,
    now: Timestamp,
) -> session::Model {
    session::Model {
        id: mark.id,
        user_id: mark.user,
        token_id,
        browser: browser.chars().take(BROWSER_CHARS).collect(),
        created_at: mark.created_at,
        seen_at: now,
        ends_at: None,
        ended_at: None,
    }
}

/// Whether less than this has passed since then. What lies ahead is no older than now.
fn within(since: Timestamp, limit: Duration, now: Timestamp) -> bool {
    now.0.saturating_sub(since.0) < milliseconds(limit)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
