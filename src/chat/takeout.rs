//! All of a user's data as one archive: what is known of them, and a folder for each chat, as JSON with
//! everything and as Markdown to be read.
//!
//! It is written to a file without a name, which is gone with its last reader, one chat at a time: however
//! many there are, one is in memory. Chats that were deleted are not in it, not even while they can be
//! brought back.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::sync::{Mutex, PoisonError};

use entity::chat::Model as Chat;
use entity::chat_message::Model as Message;
use entity::llm_attempt::Model as Attempt;
use entity::message_version::Model as Version;
use entity::{ChatId, MessageId, Origin, OwnerId, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;

use super::Chats;
use super::export::Whole;
use crate::model::exchange::as_markdown;
use crate::store::{Account, Actor, StoreError, UsageSum};

/// Rows of the usage ledger that are read at once.
const ATTEMPTS_AT_ONCE: u64 = 1_000;
/// Characters of a title in a folder's name.
const SLUG_CHARS: usize = 40;
/// Digits of a chat's UUID in a folder's name: the last ones, for the first ones are of the time.
const UUID_DIGITS: usize = 8;

/// The archive, from its beginning.
#[derive(Debug)]
pub struct Takeout {
    pub file: File,
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum TakeoutError {
    #[error("there is no such user")]
    NoSuchUser,
    #[error("an export of this user's data is being made")]
    Running,
    #[error("the archive could not be written")]
    Write(#[from] ZipError),
    #[error("the archive's file could not be written")]
    File(#[from] io::Error),
    #[error("the data could not be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("the data could not be read")]
    Store(#[from] StoreError),
}

/// The users whose data this node is gathering.
#[derive(Debug, Default)]
pub(super) struct InHand {
    owners: Mutex<HashSet<OwnerId>>,
}

/// Held while an export is made, also when its client goes away in the middle.
struct Begun<'a> {
    in_hand: &'a InHand,
    owner: OwnerId,
}

impl InHand {
    fn begin(&self, owner: OwnerId) -> Option<Begun<'_>> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        // Not `then_some`: what that makes in vain is dropped here, under the lock that its end takes.
        owners.insert(owner).then(|| Begun {
            in_hand: self,
            owner,
        })
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let owners = &self.in_hand.owners;
        let mut owners = owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.remove(&self.owner);
    }
}

impl Chats {
    /// The user's own row: who they are here.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn account(&self, owner: OwnerId) -> Result<Option<entity::user::Model>, StoreError> {
        self.store.user(owner).await
    }

    /// All of the user's data, without what would let somebody in. There is one export at a time for each
    /// user on each node.
    ///
    /// # Errors
    /// If one is being made, there is no such user, or the database or the file fails.
    pub async fn takeout(&self, owner: OwnerId, actor: &Actor) -> Result<Takeout, TakeoutError> {
        let begun = self.takeouts.begin(owner);
        let _begun = begun.ok_or(TakeoutError::Running)?;
        let account = self.store.account(owner).await?;
        let account = account
            .filter(|account| account.user.deleted_at.is_none())
            .ok_or(TakeoutError::NoSuchUser)?;
        let now = self.clock.now();
        let noted: Result<(), StoreError> = self
            .store
            .tx(|tx| async move { tx.audit(actor, "user.export", owner, now).await })
            .await;
        noted?;
        let usage = self.store.usage_total(owner, Timestamp(0), now).await?;
        let mut archive = aside(move || {
            let mut archive = Zip::new()?;
            archive.add_json("user.json", &user(&account, &usage, now))?;
            Ok(archive)
        })
        .await?;
        archive = self.add_usage(owner, archive).await?;
        for id in self.store.chat_ids(owner).await? {
            let Some(whole) = self.whole_chat(owner, id).await? else {
                // Deleted in this moment.
                continue;
            };
            archive = aside(move || {
                archive.add_chat(&whole)?;
                Ok(archive)
            })
            .await?;
        }
        aside(move || archive.finish()).await
    }

    async fn add_usage(&self, owner: OwnerId, mut archive: Zip) -> Result<Zip, TakeoutError> {
        archive = aside(move || {
            archive.begin("usage.jsonl")?;
            Ok(archive)
        })
        .await?;
        let mut last = None;
        loop {
            let rows = self
                .store
                .attempts_after(owner, last, ATTEMPTS_AT_ONCE)
                .await?;
            let Some(row) = rows.last() else {
                return Ok(archive);
            };
            last = Some((row.request_id, row.attempt));
            archive = aside(move || {
                archive.add_lines(rows.iter().map(attempt))?;
                Ok(archive)
            })
            .await?;
        }
    }

    async fn whole_chat(&self, owner: OwnerId, id: ChatId) -> Result<Option<Whole>, StoreError> {
        match self.store.chat(owner, id).await? {
            Some(row) => Ok(Some(self.whole(row).await?)),
            None => Ok(None),
        }
    }
}

/// The archive while it is written, to a file without a name.
pub(super) struct Zip {
    /// In a box: it is large, and is handed from thread to thread.
    writer: Box<ZipWriter<File>>,
    /// The same file, to look at.
    written: File,
    folders: HashSet<String>,
}

impl Zip {
    pub fn new() -> Result<Self, TakeoutError> {
        let file = tempfile::tempfile()?;
        Ok(Self {
            written: file.try_clone()?,
            writer: Box::new(ZipWriter::new(file)),
            folders: HashSet::new(),
        })
    }

    fn begin(&mut self, name: &str) -> Result<(), TakeoutError> {
        // A file of the usage of many years may be larger than the format once allowed.
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .large_file(true);
        Ok(self.writer.start_file(name, options)?)
    }

    pub fn add_json(&mut self, name: &str, value: &impl Serialize) -> Result<(), TakeoutError> {
        self.begin(name)?;
        let mut out = BufWriter::new(&mut *self.writer);
        serde_json::to_writer_pretty(&mut out, value)?;
        Ok(out.flush()?)
    }

    fn add_lines(
        &mut self,
        lines: impl IntoIterator<Item = impl Serialize>,
    ) -> Result<(), TakeoutError> {
        let mut out = BufWriter::new(&mut *self.writer);
        for line in lines {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }

    pub fn add_text(&mut self, name: &str, text: &str) -> Result<(), TakeoutError> {
        self.begin(name)?;
        Ok(self.writer.write_all(text.as_bytes())?)
    }

    fn add_chat(&mut self, whole: &Whole) -> Result<(), TakeoutError> {
        let folder = self.folder(&whole.row);
        self.add_json(&format!("chats/{folder}/chat.json"), &chat(whole))?;
        let text = as_markdown(&whole.document());
        self.add_text(&format!("chats/{folder}/chat.md"), &text)
    }

    /// How long the file is so far; what is still to be packed comes to little more.
    pub fn bytes(&self) -> u64 {
        self.written.metadata().map_or(0, |file| file.len())
    }

    /// A name that no other chat has.
    pub fn folder(&mut self, row: &Chat) -> String {
        let uuid = row.id.0.simple().to_string();
        let (date, slug) = (row.created_at.to_datetime().date_naive(), slug(&row.title));
        let digits = &uuid[uuid.len() - UUID_DIGITS..];
        let short = format!("{date}-{slug}-{digits}");
        if self.folders.insert(short.clone()) {
            short
        } else {
            format!("{date}-{slug}-{uuid}")
        }
    }

    pub fn finish(self) -> Result<Takeout, TakeoutError> {
        let mut file = self.writer.finish()?;
        let bytes = file.metadata()?.len();
        file.rewind()?;
        Ok(Takeout { file, bytes })
    }
}

/// Does what writes to a file, or takes its time, on a thread of its own.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TakeoutError> + Send + 'static,
) -> Result<T, TakeoutError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}

/// Letters and digits that are safe in every file's name, from a title in whatever language.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in title.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= SLUG_CHARS {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "chat" } else { slug }.to_owned()
}

/// What is known of the user. Of tokens and links there is what tells them apart: what would let
/// somebody in is not even stored.
fn user(account: &Account, usage: &UsageSum, now: Timestamp) -> Value {
    let user = &account.user;
    let tokens = account.tokens.iter().map(|token| {
        json!({
            "uuid": token.id,
            "name": token.name,
            "begins_with": token.head,
            "scope": token.scope,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "revoked_at": token.revoked_at,
            "used_at": token.used_at,
        })
    });
    let sessions = account.sessions.iter().map(|session| {
        json!({
            "browser": session.browser,
            "created_at": session.created_at,
            "seen_at": session.seen_at,
            "ended_at": session.ended_at,
        })
    });
    let shares = account.shares.iter().map(|share| {
        json!({
            "uuid": share.id,
            "chat_uuid": share.chat_id,
            "begins_with": share.head,
            "created_at": share.created_at,
            "expires_at": share.expires_at,
            "revoked_at": share.revoked_at,
        })
    });
    let log = account.log.iter().map(|entry| {
        json!({
            "at": entry.at,
            "by": entry.actor_id,
            "action": entry.action,
            "target": entry.target,
            "address": entry.address,
        })
    });
    json!({
        "uuid": user.id,
        "issuer": user.issuer,
        "subject": user.subject,
        "name": user.name,
        "tier": user.tier,
        "is_admin": user.is_admin,
        "created_at": user.created_at,
        "seen_at": user.seen_at,
        "exported_at": now,
        "usage": {
            "attempts": usage.attempts,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost_micros": usage.cost_micros,
        },
        "tokens": tokens.collect::<Vec<_>>(),
        "sessions": sessions.collect::<Vec<_>>(),
        "shares": shares.collect::<Vec<_>>(),
        "log": log.collect::<Vec<_>>(),
    })
}

fn attempt(row: &Attempt) -> Value {
    json!({
        "request_uuid": row.request_id,
        "attempt": row.attempt,
        "chat_uuid": row.chat_id,
        "message_uuid": row.message_id,
        "provider": row.provider,
        "model": row.model,
        "outcome": row.outcome,
        "finish_reason": row.finish_reason,
        "error_code": row.error_code,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "cached_tokens": row.cached_tokens,
        "saved_tokens": row.saved_tokens,
        "estimated": row.estimated,
        "cost_micros": row.cost_micros,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    })
}

fn chat(whole: &Whole) -> Value {
    let row = &whole.row;
    let mut versions: HashMap<MessageId, Vec<Value>> = HashMap::new();
    for version in &whole.versions {
        let of_message = versions.entry(version.message_id).or_default();
        of_message.push(as_version(version));
    }
    let messages = whole.messages.iter().map(|message| {
        let versions = versions.remove(&message.id).unwrap_or_default();
        as_message(message, &versions)
    });
    let messages: Vec<Value> = messages.collect();
    let beside = whole.beside.iter().map(|beside| {
        json!({
            "request_uuid": beside.id,
            "message_uuid": beside.user_message_id,
            "instructions": beside.instructions,
            "metadata": beside.asked_as.as_ref().map(|asked| &asked.metadata),
        })
    });
    let beside: Vec<Value> = beside.collect();
    json!({
        "uuid": row.id,
        "title": row.title,
        "agent": row.agent,
        "model": row.model,
        "parameters": row.parameters,
        "on_busy": row.on_busy,
        "metadata": row.metadata,
        "summary": row.summary,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "expires_at": row.expires_at,
        "messages": messages,
        "said_beside": beside,
    })
}

fn as_message(message: &Message, versions: &[Value]) -> Value {
    json!({
        "uuid": message.id,
        "sequence": message.sequence,
        "role": message.role,
        "status": message.status,
        "reply_to": message.reply_to,
        "content": message.content,
        "reasoning": message.reasoning,
        "origin": origin(message.origin.as_ref()),
        "error": failure(message.error_code.as_ref(), message.error_message.as_ref()),
        "reaction": message.reaction,
        "reaction_comment": message.reaction_comment,
        "created_at": message.created_at,
        "completed_at": message.completed_at,
        "deleted_at": message.deleted_at,
        "superseded_at": message.superseded_at,
        "version": message.version,
        "versions": versions,
    })
}

fn as_version(version: &Version) -> Value {
    json!({
        "version": version.number,
        "status": version.status,
        "content": version.content,
        "reasoning": version.reasoning,
        "origin": origin(version.origin.as_ref()),
        "error": failure(version.error_code.as_ref(), version.error_message.as_ref()),
        "reaction": version.reaction,
        "reaction_comment": version.reaction_comment,
        "completed_at": version.completed_at,
    })
}

fn origin(origin: Option<&Origin>) -> Option<Value> {
    origin.map(|origin| {
        json!({
            "model": origin.model,
            "provider": origin.provider,
            "finish_reason": origin.finish_reason,
            "cached": origin.cached,
        })
    })
}

fn failure(code: Option<&String>, message: Option<&String>) -> Option<Value> {
    code.map(|code| json!({"code": code, "message": message}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_becomes_a_name_that_is_safe_everywhere() {
        for (title, name) in [
            ("Tea & Biscuits", "tea-biscuits"),
            ("../../etc/passwd", "etc-passwd"),
            ("CON\u{0}\r\n: *?", "con"),
            ("茶", "chat"),
            ("", "chat"),
        ] {
            assert_eq!(slug(title), name);
        }
        assert_eq!(slug(&"a".repeat(500)).len(), SLUG_CHARS);
    }

    #[test]
    fn each_user_has_one_export_at_a_time() {
        let in_hand = InHand::default();
        let first = in_hand.begin(OwnerId::LOCAL);
        assert!(first.is_some() && in_hand.begin(OwnerId::LOCAL).is_none());
        assert!(in_hand.begin(OwnerId::generate()).is_some());
        drop(first);
        assert!(in_hand.begin(OwnerId::LOCAL).is_some());
    }
}
