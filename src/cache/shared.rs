//! Answers in a Redis that nodes share, and who of them leads.
//!
//! An answer is JSON under its key, and the key has the version of that JSON in it: nodes of two
//! versions do not read each other's. Whatever else is found there counts as nothing.

use std::sync::Arc;
use std::time::Duration;

use entity::ChatId;
use redis::{Cmd, cmd};
use tokio::time::Instant;

use super::line::Line;
use super::{CacheError, CacheKey, CachedAnswer};

/// What all keys begin with. The number changes with [`CachedAnswer`].
const PREFIX: &str = "pollen:answer:1:";
/// What the names of the chats' lists of their answers begin with.
const LISTS: &str = "pollen:answers:1:";
/// How often a node looks for the answer that another one leads.
const LOOK_EVERY: Duration = Duration::from_millis(100);

// Each may be sent twice without being told the truth less: whoever leads already takes the lead.
const TAKE: &str = "\
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
return 0";
const RENEW: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";
const RELEASE: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])";
/// The list of a chat's answers lasts as long as the last of them.
const PUT: &str = "\
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], KEYS[1])
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end";
const FORGET: &str = "\
for _, key in ipairs(redis.call('SMEMBERS', KEYS[1])) do redis.call('DEL', key) end
redis.call('DEL', KEYS[1])";

pub(super) struct Shared {
    line: Arc<Line>,
}

impl Shared {
    pub fn new(line: Arc<Line>) -> Self {
        Self { line }
    }

    pub fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    pub async fn get(&self, key: &CacheKey) -> Result<Option<Arc<CachedAnswer>>, CacheError> {
        // Unlike GET it has nothing to say against a value of another type.
        let mut look = cmd("MGET");
        look.arg(name(key));
        let (found,): (Option<Vec<u8>>,) = self.line.ask(&look).await?;
        Ok(found.and_then(|found| read(&found)))
    }

    pub async fn put(
        &self,
        key: &CacheKey,
        answer: &CachedAnswer,
        ttl: Duration,
    ) -> Result<(), CacheError> {
        let json = serde_json::to_vec(answer).map_err(|_| CacheError::Unreadable)?;
        let Some(chat) = answer.chat else {
            let mut put = cmd("SET");
            put.arg(name(key)).arg(json).arg("PX").arg(millis(ttl));
            return self.line.ask(&put).await;
        };
        let mut put = cmd("EVAL");
        put.arg(PUT).arg(2).arg(name(key)).arg(list_name(chat));
        self.line.ask(put.arg(json).arg(millis(ttl))).await
    }

    pub async fn forget(&self, chat: ChatId) -> Result<(), CacheError> {
        let mut forget = cmd("EVAL");
        forget.arg(FORGET).arg(1).arg(list_name(chat));
        self.line.ask(&forget).await
    }

    pub async fn wait(
        &self,
        key: &CacheKey,
        limit: Duration,
    ) -> Result<Option<Arc<CachedAnswer>>, CacheError> {
        let mut look = cmd("MGET");
        look.arg(name(key)).arg(lead_name(key));
        let begun = Instant::now();
        loop {
            // Both at one moment: the leader puts the answer before it releases the lead, so that
            // where there is neither there will be none.
            let (found, leader): (Option<Vec<u8>>, Option<Vec<u8>>) = self.line.ask(&look).await?;
            if let Some(answer) = found.and_then(|found| read(&found)) {
                return Ok(Some(answer));
            }
            let left = limit.saturating_sub(begun.elapsed());
            if leader.is_none() || left.is_zero() {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY.min(left)).await;
        }
    }

    /// Whether the lead is this token's now.
    pub async fn take_lead(
        &self,
        key: &CacheKey,
        token: &str,
        hold: Duration,
    ) -> Result<bool, CacheError> {
        let mut take = of_lead(TAKE, key, token);
        self.line.ask(take.arg(millis(hold))).await
    }

    /// Whether it still is.
    pub async fn renew_lead(
        &self,
        key: &CacheKey,
        token: &str,
        hold: Duration,
    ) -> Result<bool, CacheError> {
        let mut renew = of_lead(RENEW, key, token);
        self.line.ask(renew.arg(millis(hold))).await
    }

    pub async fn release_lead(&self, key: &CacheKey, token: &str) -> Result<(), CacheError> {
        let release = of_lead(RELEASE, key, token);
        let _: bool = self.line.ask(&release).await?;
        Ok(())
    }
}

fn name(key: &CacheKey) -> String {
    format!("{PREFIX}{}", key.as_str())
}

fn list_name(chat: ChatId) -> String {
    format!("{LISTS}{chat}")
}

fn lead_name(key: &CacheKey) -> String {
    format!("{}:lead", name(key))
}

fn of_lead(script: &str, key: &CacheKey, token: &str) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(script).arg(1).arg(lead_name(key)).arg(token);
    command
}

/// Redis takes no time that is over at once, nor one that is past its reckoning.
fn millis(time: Duration) -> u64 {
    let time = time.min(super::MAX_TTL);
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn read(json: &[u8]) -> Option<Arc<CachedAnswer>> {
    let read = serde_json::from_slice(json);
    if let Err(error) = &read {
        let (line, column) = (error.line(), error.column());
        tracing::debug!(line, column, "a cached answer cannot be read");
    }
    read.ok().map(Arc::new)
}
