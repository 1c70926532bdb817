//! API tokens: made, shown once, looked up by their digest, revoked.

use std::time::Duration;

use entity::api_token::{Model as Token, Scope};
use entity::{OwnerId, Timestamp, TokenId, user};

use super::memory::Found;
use super::{Caller, Identity, IdentityError, UserError, Via, users::is_name};
use crate::model::secret::{NewSecret, NoRandomness, hash};
use crate::store::{Actor, StoreError, UserChange};

/// What every token begins with, so that one that got lost is found and known for what it is.
pub const TOKEN_PREFIX: &str = "pln_";
/// What somebody without words for it calls a token.
const NAMELESS: &str = "token";
/// Tokens of one user that let somebody in at the same time.
const MAX_TOKENS: u64 = 100;
/// Longest life of a token that has an end, in days.
const MAX_DAYS: u64 = 3_660;

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Empty: `token`.
    pub name: String,
    pub scope: Scope,
    /// None: it does not expire.
    pub lifetime: Option<Duration>,
}

/// A token that was made. The secret is here and nowhere else.
pub struct MadeToken {
    pub row: Token,
    pub secret: String,
}

/// Why a token cannot be made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("there is no such token, or it was revoked already")]
    NotFound,
    #[error("a token's name has at most 255 bytes and no control characters")]
    Name,
    #[error("a token lives at least a second and at most {MAX_DAYS} days")]
    Lifetime,
    #[error("a token cannot do more than who makes it")]
    Scope,
    #[error("what you came with lets nobody in any more")]
    ShutOut,
    #[error("you have {MAX_TOKENS} tokens that let somebody in; revoke one of them")]
    TooMany,
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("the tokens could not be read or written")]
    Store(#[from] StoreError),
}

impl Identity {
    pub(super) async fn by_token(&self, secret: &str) -> Result<Found, IdentityError> {
        let found = self.store.token(&hash(secret)).await?;
        let Some((token, user)) = found else {
            return Err(IdentityError::Refused("there is no such API token"));
        };
        let now = self.clock.now();
        if token.revoked_at.is_some() {
            return Err(IdentityError::Refused("this API token was revoked"));
        }
        if token.expires_at.is_some_and(|end| end <= now) {
            return Err(IdentityError::Refused("this API token has expired"));
        }
        if user.disabled_at.is_some() {
            return Err(IdentityError::Disabled);
        }
        if self.is_long_ago(token.used_at) {
            self.note_use(&token, &user, now).await?;
        }
        let caller = Caller::of(&user, Via::Token).within(token.scope);
        let caller = Caller {
            token: Some(token.id),
            ends_at: token.expires_at,
            ..caller
        };
        Ok(Found::of(caller, token.expires_at))
    }

    async fn note_use(
        &self,
        token: &Token,
        user: &user::Model,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (token, user) = (token.id, user.id);
        let seen = UserChange {
            seen_at: Some(now),
            ..UserChange::default()
        };
        let seen = &seen;
        self.store
            .tx(|tx| async move {
                tx.use_token(token, now).await?;
                tx.change_user(user, seen.clone()).await
            })
            .await
            .map(|_| ())
    }

    /// Makes a token for a user. With `by`, it can do no more than that caller, and for no longer than what they
    /// came with.
    ///
    /// # Errors
    /// If its name or its lifetime is none, or it is to do more.
    pub async fn make_token(
        &self,
        user: OwnerId,
        new: NewToken,
        by: Option<&Caller>,
        actor: &Actor,
    ) -> Result<MadeToken, TokenError> {
        let name = if new.name.trim().is_empty() {
            NAMELESS
        } else {
            new.name.trim()
        };
        if !is_name(name) {
            return Err(TokenError::Name);
        }
        if by.is_some_and(|caller| new.scope > caller.scope) {
            return Err(TokenError::Scope);
        }
        let now = self.clock.now();
        let secret = NewSecret::generate(TOKEN_PREFIX)?;
        let row = Token {
            id: TokenId::generate(),
            user_id: user,
            name: name.to_owned(),
            head: secret.head,
            hash: secret.hash,
            scope: new.scope,
            made_with: by.and_then(|caller| caller.token),
            created_at: now,
            expires_at: earlier(
                new.lifetime.map(|life| end(now, life)).transpose()?,
                by.and_then(|caller| caller.ends_at),
            ),
            revoked_at: None,
            used_at: None,
        };
        let token = &row;
        self.store
            .tx(|tx| async move {
                // Whoever was shut out since they were let in makes none, nor does a token that was revoked.
                if by.is_some() && !tx.may_make_tokens(user, token.made_with).await? {
                    return Err(TokenError::ShutOut);
                }
                if tx.count_tokens(user, now).await? >= MAX_TOKENS {
                    return Err(TokenError::TooMany);
                }
                tx.audit(actor, "token.create", token.id, now).await?;
                Ok(tx.insert_token(token.clone()).await?)
            })
            .await?;
        Ok(MadeToken {
            row,
            secret: secret.text,
        })
    }

    /// The user's tokens, the newest first, also those of no use any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tokens(&self, user: OwnerId) -> Result<Vec<Token>, StoreError> {
        self.store.tokens_of(user).await
    }

    /// Revokes a token of the user's, or, with none, of anybody's; and ends the sessions that were begun
    /// with it.
    ///
    /// # Errors
    /// If there is no such token.
    pub async fn revoke_token(
        &self,
        user: Option<OwnerId>,
        id: TokenId,
        actor: &Actor,
    ) -> Result<(), TokenError> {
        let now = self.clock.now();
        let was_there = self
            .store
            .tx(|tx| async move {
                let was_there = tx.revoke_token(user, id, now).await?;
                if !was_there {
                    return Ok(false);
                }
                // What was made with it goes with it, or whoever stole it would keep what it was good for.
                let mut revoked = vec![id];
                while let Some(id) = revoked.pop() {
                    tx.end_sessions_of_token(id, now).await?;
                    tx.audit(actor, "token.revoke", id, now).await?;
                    revoked.extend(tx.revoke_tokens_made_with(id, now).await?);
                }
                Ok::<_, StoreError>(true)
            })
            .await?;
        self.forget();
        if was_there {
            Ok(())
        } else {
            Err(TokenError::NotFound)
        }
    }
}

/// Of two ends the one that comes first; none is no end.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

fn end(now: Timestamp, life: Duration) -> Result<Timestamp, TokenError> {
    let longest = Duration::from_secs(MAX_DAYS * 24 * 60 * 60);
    if life < Duration::from_secs(1) || life > longest {
        return Err(TokenError::Lifetime);
    }
    let life_ms = i64::try_from(life.as_millis()).map_err(|_| TokenError::Lifetime)?;
    Ok(now.plus_ms(life_ms))
}
