//! Keys that another application publishes (RFC 7517) and changes when it likes. One task fetches them
//! again and again from the first token on, so that no token whose key is known waits for it, and a key
//! that was withdrawn is refused whether or not tokens came meanwhile. A token whose key is not known
//! waits until they were fetched once more: a new key is good from its first token on. However many
//! such tokens come, there is one fetch for all, and a pause after it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::IdentityError;
use crate::provider::Document;

/// From one fetch to the next, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// How soon they are fetched again when they could not be.
const RETRY: Duration = Duration::from_secs(5);
/// How long a token waits for a key. A fetch ends before.
const PATIENCE: Duration = Duration::from_secs(7);

/// Tokens that wait for a key at once, at most.
const WAITING: usize = 256;

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The keys at an address.
pub(super) struct PublishedKeys {
    shelf: Arc<Shelf>,
    /// There from the first token on: a command of the command line fetches nothing.
    keeper: OnceLock<Keeper>,
}

/// What the keeper and the tokens share.
struct Shelf {
    document: Document,
    refresh: Duration,
    wanted: Notify,
    /// A place for each token that waits.
    waiting: Semaphore,
    /// Fetches that were begun.
    begun: AtomicU64,
    seen: watch::Sender<Seen>,
}

/// The keys as they were.
#[derive(Clone, Default)]
struct Seen {
    /// None: they could not be fetched so far.
    keys: Option<Arc<[Key]>>,
    /// Fetches that have ended.
    ended: u64,
    has_failed: bool,
}

/// A key, and what it is for.
pub(super) struct Key {
    pub id: Option<String>,
    pub algorithms: Vec<Algorithm>,
    pub decoding: DecodingKey,
}

/// The task that fetches. It ends with this value.
struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PublishedKeys {
    pub fn at(document: Document, refresh: Duration) -> Self {
        Self {
            shelf: Arc::new(Shelf {
                document,
                refresh,
                wanted: Notify::new(),
                waiting: Semaphore::new(WAITING),
                begun: AtomicU64::new(0),
                seen: watch::Sender::default(),
            }),
            keeper: OnceLock::new(),
        }
    }

    /// The key of this id for this algorithm; without an id, the only key for it.
    ///
    /// # Errors
    /// If there is none, or it cannot be known whether there is.
    pub async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, IdentityError> {
        let keep = || Keeper(tokio::spawn(Arc::clone(&self.shelf).keep()));
        self.keeper.get_or_init(keep);
        // Subscribed before it looks, so that nothing is missed between the two.
        let mut seen = self.shelf.seen.subscribe();
        if let Some(key) = seen.borrow_and_update().find(id, algorithm) {
            return Ok(key);
        }
        // Nobody fills the server with tokens of keys that there are not.
        let Ok(_waiting) = self.shelf.waiting.try_acquire() else {
            let reason = "too many tokens of unknown keys are waiting";
            return Err(IdentityError::Unavailable(reason.to_owned()));
        };
        // One that is under way may have been answered before the key was published.
        let wanted = self.shelf.begun.load(Ordering::SeqCst) + 1;
        self.shelf.wanted.notify_one();
        let found = timeout(PATIENCE, async {
            while seen.changed().await.is_ok() {
                let now = seen.borrow_and_update();
                let found = now.find(id, algorithm);
                if found.is_some() || now.ended >= wanted {
                    return found;
                }
            }
            None
        });
        if let Some(key) = found.await.ok().flatten() {
            return Ok(key);
        }
        let now = self.shelf.seen.borrow();
        if now.has_failed || now.ended < wanted {
            let reason = "the keys of the token's issuer cannot be fetched";
            return Err(IdentityError::Unavailable(reason.to_owned()));
        }
        Err(IdentityError::Refused("the token's key is not published"))
    }
}

impl Shelf {
    async fn keep(self: Arc<Self>) {
        let mut pause = self.refresh;
        loop {
            // Ends early when somebody misses a key.
            let _ = timeout(pause, self.wanted.notified()).await;
            self.begun.fetch_add(1, Ordering::SeqCst);
            let fetched = fetch(&self.document).await;
            let rest = PAUSE.min(self.refresh);
            let usual = if fetched.is_ok() {
                self.refresh
            } else {
                RETRY.min(self.refresh)
            };
            self.note(fetched);
            sleep(rest).await;
            pause = usual.saturating_sub(rest);
        }
    }

    fn note(&self, fetched: Result<Arc<[Key]>, String>) {
        self.seen.send_modify(|seen| {
            seen.ended += 1;
            let has_failed = fetched.is_err();
            match fetched {
                Ok(keys) => {
                    if seen.has_failed {
                        tracing::info!("the keys of JSON Web Tokens are there again");
                    }
                    seen.keys = Some(keys);
                }
                // Once, however long it lasts.
                Err(reason) if !seen.has_failed => {
                    tracing::warn!(%reason, "the keys of JSON Web Tokens could not be fetched");
                }
                Err(_) => {}
            }
            seen.has_failed = has_failed;
        });
    }
}

impl Seen {
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let key = find(self.keys.as_deref()?, id, algorithm);
        key.map(|key| key.decoding.clone())
    }
}

/// The key of this id for this algorithm; without an id, the only key for it.
pub(super) fn find<'a>(keys: &'a [Key], id: Option<&str>, algorithm: Algorithm) -> Option<&'a Key> {
    let mut fitting = keys.iter().filter(|key| {
        key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id)
    });
    let first = fitting.next()?;
    // Which of several it is, the token has to say.
    let is_only = id.is_some() || fitting.next().is_none();
    is_only.then_some(first)
}

async fn fetch(document: &Document) -> Result<Arc<[Key]>, String> {
    let bytes = document.fetch().await.map_err(|error| error.to_string())?;
    parse(&bytes).map_err(|error| format!("it is no JWKS: {error}"))
}

/// The keys of a JWKS that can be used. Others are passed over (RFC 7517, 5).
pub(super) fn parse(bytes: &[u8]) -> Result<Arc<[Key]>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(bytes)?;
    let known = set.keys.into_iter().filter_map(|key| {
        let key: Jwk = serde_json::from_value(key).ok()?;
        let algorithms = algorithms(&key);
        (!algorithms.is_empty()).then_some(())?;
        Some(Key {
            decoding: DecodingKey::from_jwk(&key).ok()?,
            algorithms,
            id: key.common.key_id,
        })
    });
    Ok(known.collect())
}

/// What a key is for: what its kind can do, within what it says of itself. Shared secrets are for
/// nothing: what is published must never be taken for one.
fn algorithms(key: &Jwk) -> Vec<Algorithm> {
    let common = &key.common;
    let is_for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = common.key_operations.as_ref();
    let verifies = operations.is_none_or(|known| known.contains(&KeyOperations::Verify));
    if !is_for_signatures || !verifies {
        return Vec::new();
    }
    let can: &[Algorithm] = match &key.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => &[],
    };
    let is_said = |can: &Algorithm| {
        let said = common.key_algorithm;
        said.is_none_or(|said| said == KeyAlgorithm::from(*can))
    };
    can.iter().copied().filter(is_said).collect()
}
