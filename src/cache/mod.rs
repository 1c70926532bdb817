//! Answers that have been given: whoever asks the same of the same model gets what was answered
//! before, from this node's memory or from a Redis that all nodes share; and whoever asks while it
//! is being answered gets that answer as it comes.
//!
//! No answer needs this room. What fails here fails soon, and the caller asks the model instead.

mod error;
mod faults;
mod flights;
mod key;
mod lead;
mod line;
mod memory;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use entity::ChatId;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub use error::{CacheError, OpenError};
pub use flights::{Flight, Flights, Leader, Said};
pub use key::CacheKey;
pub use lead::{KeptLead, Lead, LeadGuard};
pub use line::Line;

use crate::model::usage::Usage;
use faults::Faults;
use memory::Memory;
use shared::Shared;

/// The largest answer that is kept, in bytes: one that is larger is asked for again too rarely for
/// what it would push out.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// What is to be kept for longer is kept for this long: both places reckon in numbers that end.
const MAX_TTL: Duration = Duration::from_hours(10 * 365 * 24);

/// Where answers are kept.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// Bytes of answers kept in memory at most. Of no matter with Redis.
    pub memory_bytes: u64,
    /// `redis://`, `rediss://` or `unix:` URL; none: memory. A single server, no cluster.
    pub redis_url: Option<SecretString>,
    /// Longest wait for Redis for one command, connecting included.
    pub timeout: Duration,
}

/// An answer that was given to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachedAnswer {
    /// In which chat it was given: it goes with that one. Kept beside the answer, and not read back.
    #[serde(skip)]
    pub chat: Option<ChatId>,
    pub text: String,
    pub reasoning: String,
    pub finish_reason: String,
    pub usage: Usage,
}

impl CachedAnswer {
    fn bytes(&self) -> usize {
        self.text.len() + self.reasoning.len() + self.finish_reason.len()
    }
}

/// The answers that have been given.
pub struct ResponseCache {
    place: Place,
    faults: Arc<Faults>,
}

enum Place {
    Memory(Memory),
    Redis(Arc<Shared>),
}

impl ResponseCache {
    /// Never waits for Redis, which may as well be away: each command finds that out anew.
    ///
    /// # Errors
    /// If the URL is none of Redis's.
    pub fn open(settings: CacheSettings) -> Result<Self, OpenError> {
        let faults = Arc::<Faults>::default();
        let place = match settings.redis_url {
            None => Place::Memory(Memory::new(settings.memory_bytes)),
            Some(url) => {
                let line = Line::new(&url, settings.timeout, Arc::clone(&faults))?;
                Place::Redis(Arc::new(Shared::new(Arc::new(line))))
            }
        };
        Ok(Self { place, faults })
    }

    /// What was answered. None: nothing that is still there.
    ///
    /// # Errors
    /// If Redis does not say.
    pub async fn get(&self, key: &CacheKey) -> Result<Option<Arc<CachedAnswer>>, CacheError> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.get(key)),
            Place::Redis(shared) => shared.get(key).await,
        }
    }

    /// Keeps an answer for so long, in the place of any other. One larger than a mebibyte is not
    /// kept.
    ///
    /// # Errors
    /// If Redis does not take it.
    pub async fn put(
        &self,
        key: &CacheKey,
        answer: CachedAnswer,
        ttl: Duration,
    ) -> Result<(), CacheError> {
        let ttl = ttl.min(MAX_TTL);
        if answer.bytes() > MAX_ANSWER_BYTES || ttl.as_millis() == 0 {
            return Ok(());
        }
        match &self.place {
            Place::Memory(memory) => {
                memory.put(key, answer, ttl);
                Ok(())
            }
            Place::Redis(shared) => shared.put(key, &answer, ttl).await,
        }
    }

    /// Forgets the answers that were given in a chat. In memory mode other nodes keep theirs for their time.
    ///
    /// # Errors
    /// If Redis does not do it.
    pub async fn forget(&self, chat: ChatId) -> Result<(), CacheError> {
        match &self.place {
            Place::Memory(memory) => {
                memory.forget(chat);
                Ok(())
            }
            Place::Redis(shared) => shared.forget(chat).await,
        }
    }

    /// Asks to be the one node that has the model answer, for `hold` at first. In memory mode it
    /// always is: nobody but this node's own [`Flights`] could come in between.
    ///
    /// # Errors
    /// If Redis does not say. Then whether another node leads is not known.
    pub async fn lead(&self, key: &CacheKey, hold: Duration) -> Result<Lead, CacheError> {
        match &self.place {
            Place::Memory(_) => Ok(Lead::Mine(LeadGuard::of_memory())),
            Place::Redis(shared) => LeadGuard::take(shared, key, hold).await,
        }
    }

    /// Waits for the answer that another node leads. None: that node has given it up, or
    /// has not come to its end within `limit`.
    ///
    /// # Errors
    /// If Redis does not say.
    pub async fn wait(
        &self,
        key: &CacheKey,
        limit: Duration,
    ) -> Result<Option<Arc<CachedAnswer>>, CacheError> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.get(key)),
            Place::Redis(shared) => shared.wait(key, limit).await,
        }
    }

    /// The way to Redis, for what else nodes share. None: they share nothing.
    #[must_use]
    pub fn line(&self) -> Option<Arc<Line>> {
        match &self.place {
            Place::Memory(_) => None,
            Place::Redis(shared) => Some(shared.line()),
        }
    }

    /// Asks Redis, where there is one, for a sign of life.
    ///
    /// # Errors
    /// If it gives none.
    pub async fn ping(&self) -> Result<(), CacheError> {
        match self.line() {
            Some(line) => line.ask::<String>(&redis::cmd("PING")).await.map(drop),
            None => Ok(()),
        }
    }

    /// Commands that failed since this was opened, those included that were not even sent because
    /// Redis was away.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_memory() -> ResponseCache {
        let settings = CacheSettings {
            memory_bytes: 8 * 1024 * 1024,
            redis_url: None,
            timeout: Duration::from_secs(1),
        };
        ResponseCache::open(settings).unwrap()
    }

    fn answer(text: impl Into<String>) -> CachedAnswer {
        CachedAnswer {
            chat: None,
            text: text.into(),
            reasoning: String::new(),
            finish_reason: "stop".to_owned(),
            usage: Usage::default(),
        }
    }

    const TTL: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn what_was_put_is_got() {
        let cache = in_memory();
        let key = CacheKey::of(&"a question");
        assert_eq!(cache.get(&key).await.unwrap(), None);
        cache.put(&key, answer("yes"), TTL).await.unwrap();
        let found = cache.get(&key).await.unwrap();
        assert_eq!(found.as_deref(), Some(&answer("yes")));
        assert_eq!(cache.faults(), 0);
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_not_kept() {
        let cache = in_memory();
        let largest = "x".repeat(MAX_ANSWER_BYTES - "stop".len());
        let (fits, does_not) = (CacheKey::of(&1), CacheKey::of(&2));
        cache
            .put(&does_not, answer(format!("{largest}x")), TTL)
            .await
            .unwrap();
        cache.put(&fits, answer(largest), TTL).await.unwrap();
        assert!(cache.get(&fits).await.unwrap().is_some());
        assert_eq!(cache.get(&does_not).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_answer_that_is_to_be_kept_for_no_time_is_not() {
        let cache = in_memory();
        let key = CacheKey::of(&1);
        cache
            .put(&key, answer("gone"), Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(cache.get(&key).await.unwrap(), None);
        cache
            .put(&key, answer("kept"), Duration::MAX)
            .await
            .unwrap();
        assert!(cache.get(&key).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn in_memory_everybody_leads() {
        let cache = in_memory();
        let key = CacheKey::of(&1);
        let Lead::Mine(first) = cache.lead(&key, TTL).await.unwrap() else {
            panic!("another leads");
        };
        assert!(matches!(
            cache.lead(&key, TTL).await.unwrap(),
            Lead::Mine(_)
        ));
        assert!(first.renew(TTL).await.unwrap());
        first.release().await.unwrap();
        assert_eq!(cache.wait(&key, TTL).await.unwrap(), None);
    }
}
