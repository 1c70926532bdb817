//! Idempotency: a request that carries a key has its effect once, however often it is sent. The
//! key is stored in the same transaction as the effect, together with the first answer.
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>.

use std::collections::HashSet;
use std::error::Error;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Chats;
use crate::store::{KeyScope, StoreError, Tx};

/// The key that a request came with, and what else it said.
#[derive(Clone, Debug)]
pub struct Once {
    pub scope: KeyScope,
    /// SHA-256 of the body, in hexadecimal.
    pub body_hash: String,
}

#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    #[error("this key came with another body before; take a new key for a new request")]
    OtherBody,
    #[error("the first request with this key is still being worked on")]
    Running,
    #[error("the answer under this key cannot be read")]
    Answer(#[from] serde_json::Error),
}

/// The keys that this node is working on.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    keys: Mutex<HashSet<KeyScope>>,
}

impl InFlight {
    fn enter(&self, scope: &KeyScope) -> Option<Entered<'_>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(scope.clone()).then(|| Entered {
            in_flight: self,
            scope: scope.clone(),
        })
    }
}

/// Held while a key is worked on, also when its client goes away in the middle.
struct Entered<'a> {
    in_flight: &'a InFlight,
    scope: KeyScope,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let keys = &self.in_flight.keys;
        let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(&self.scope);
    }
}

impl Chats {
    /// Runs `body` in a transaction, or answers what it answered under this key before. A failure
    /// is not remembered: it has had no effect.
    pub(super) async fn once<T, E, F, Fut>(&self, once: Option<&Once>, body: F) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<OnceError> + From<StoreError> + Error + 'static,
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let Some(once) = once else {
            return self.store.tx(body).await;
        };
        let entered = self.in_flight.enter(&once.scope);
        let _entered = entered.ok_or(OnceError::Running)?;
        let now = self.clock.now();
        let ttl = self.rules().settings.idempotency_ttl;
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let body = &body;
        self.store
            .tx(|tx| async move {
                let expires_at = now.plus_ms(ttl_ms);
                let taken = tx
                    .take_key(&once.scope, &once.body_hash, now, expires_at)
                    .await?;
                if let Some(first) = taken {
                    if first.body_hash != once.body_hash {
                        return Err(OnceError::OtherBody.into());
                    }
                    return Ok(serde_json::from_str(&first.answer).map_err(OnceError::from)?);
                }
                let done = body(tx.clone()).await?;
                let answer = serde_json::to_string(&done).map_err(OnceError::from)?;
                tx.answer_key(&once.scope, answer).await?;
                Ok(done)
            })
            .await
    }
}
