//! Answers in this node's memory, each for a time of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entity::ChatId;
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{CacheKey, CachedAnswer};

/// About what an entry costs besides its answer: so that there is a limit on empty ones, too.
const ENTRY_BYTES: usize = 256;

pub(super) struct Memory {
    kept: Cache<CacheKey, Kept>,
}

#[derive(Clone)]
struct Kept {
    answer: Arc<CachedAnswer>,
    ttl: Duration,
}

impl Kept {
    fn bytes(&self) -> u32 {
        u32::try_from(ENTRY_BYTES + self.answer.bytes()).unwrap_or(u32::MAX)
    }
}

/// Each entry says itself how long it is kept, also when it takes the place of another.
struct OwnTtl;

impl Expiry<CacheKey, Kept> for OwnTtl {
    fn expire_after_create(&self, _: &CacheKey, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.ttl)
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        kept: &Kept,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.ttl)
    }
}

impl Memory {
    /// `limit`: bytes.
    pub fn new(limit: u64) -> Self {
        let kept = Cache::builder()
            .max_capacity(limit)
            .weigher(|_: &CacheKey, kept: &Kept| kept.bytes())
            // What has just been answered is the likeliest to be asked again. The library's own
            // policy would turn it away for older answers that were asked for as often.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(OwnTtl)
            .build();
        Self { kept }
    }

    pub fn get(&self, key: &CacheKey) -> Option<Arc<CachedAnswer>> {
        self.kept.get(key).map(|kept| kept.answer)
    }

    pub fn put(&self, key: &CacheKey, answer: CachedAnswer, ttl: Duration) {
        let answer = Arc::new(answer);
        self.kept.insert(key.clone(), Kept { answer, ttl });
        // Otherwise some dozens of answers beyond the limit would wait for it.
        self.kept.run_pending_tasks();
    }

    /// Looks at all there are: chats go rarely.
    pub fn forget(&self, chat: ChatId) {
        for (key, kept) in &self.kept {
            if kept.answer.chat == Some(chat) {
                self.kept.invalidate(&*key);
            }
        }
        self.kept.run_pending_tasks();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::usage::Usage;

    const HOUR: Duration = Duration::from_hours(1);
    /// Long enough not to be over between a put and the get after it.
    const SOON: Duration = Duration::from_millis(200);

    fn answer(text: String) -> CachedAnswer {
        CachedAnswer {
            chat: None,
            text,
            reasoning: String::new(),
            finish_reason: String::new(),
            usage: Usage::default(),
        }
    }

    /// Waits until it has expired; false if it does not.
    async fn expires(memory: &Memory, key: &CacheKey) -> bool {
        let wait = async {
            while memory.get(key).is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(20 * SOON, wait).await.is_ok()
    }

    #[test]
    fn the_answers_of_a_chat_go_with_it() {
        let memory = Memory::new(1 << 20);
        let (chat, other) = (ChatId::generate(), ChatId::generate());
        for (number, chat) in [Some(chat), Some(chat), Some(other), None]
            .into_iter()
            .enumerate()
        {
            let answer = CachedAnswer {
                chat,
                ..answer("a".to_owned())
            };
            memory.put(&CacheKey::of(&number), answer, HOUR);
        }
        memory.forget(chat);
        let left = (0..4).filter(|number| memory.get(&CacheKey::of(number)).is_some());
        assert_eq!(left.collect::<Vec<_>>(), [2, 3]);
    }

    #[tokio::test]
    async fn each_answer_has_a_time_of_its_own() {
        let memory = Memory::new(1 << 20);
        let (short, long, renewed) = (CacheKey::of(&1), CacheKey::of(&2), CacheKey::of(&3));
        memory.put(&renewed, answer("a".to_owned()), SOON);
        memory.put(&renewed, answer("b".to_owned()), HOUR);
        memory.put(&long, answer("c".to_owned()), HOUR);
        memory.put(&short, answer("d".to_owned()), HOUR);
        memory.put(&short, answer("e".to_owned()), SOON);
        assert_eq!(memory.get(&short).unwrap().text, "e");
        assert!(expires(&memory, &short).await);
        assert_eq!(memory.get(&long).unwrap().text, "c");
        assert_eq!(memory.get(&renewed).unwrap().text, "b");
    }

    #[test]
    fn the_limit_is_on_bytes_and_the_longest_unused_goes_first() {
        let entry = ENTRY_BYTES + 1_000;
        let memory = Memory::new(u64::try_from(10 * entry).unwrap());
        let first = CacheKey::of(&0);
        for number in 0..100 {
            memory.put(&CacheKey::of(&number), answer("x".repeat(1_000)), HOUR);
            // This one is used all the time.
            assert!(memory.get(&first).is_some(), "after {number}");
            assert!(memory.get(&CacheKey::of(&number)).is_some(), "{number}");
        }
        assert_eq!(memory.kept.entry_count(), 10);
        assert!(memory.kept.weighted_size() <= u64::try_from(10 * entry).unwrap());
        assert!(memory.get(&CacheKey::of(&50)).is_none());
    }

    #[test]
    fn an_answer_beyond_the_limit_is_not_kept() {
        let memory = Memory::new(1_000);
        let key = CacheKey::of(&1);
        memory.put(&key, answer("x".repeat(1_000)), HOUR);
        assert!(memory.get(&key).is_none());
        assert_eq!(memory.kept.weighted_size(), 0);
    }
}
