//! Entity tags: a word for what a client has once it has taken in an answer (RFC 9110, 8.8.3). One that says the word
//! again (`If-None-Match`) is told in a 304 that nothing has changed.
//!
//! The word names a state and not the bytes of an answer: the tag of one poll goes with the next one, whose address is
//! another. All tags are weak, for the hint of when to come back may differ.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use entity::chat_message::Status;
use entity::{ChatId, MessageId};
use serde::Serialize;
use uuid::Uuid;

use super::problem::Problem;
use super::reply;
use crate::chat::{MessageRead, MessagesPoll, Quiet, TokensPoll};

/// When to come back, in milliseconds: with a 304, which has no body to say so.
pub(super) const POLL_AFTER_MS: HeaderName = HeaderName::from_static("poll-after-ms");

/// A tag as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag(String);

/// The tags that a client has answers of.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Vec<HeaderValue>);

/// The last digits of a UUID, which are random: they keep one thing's tags apart from another's.
struct Digits(Uuid);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0.as_u128() & 0xffff_ffff)
    }
}

impl Tag {
    fn weak(state: fmt::Arguments<'_>) -> Self {
        Self(format!("W/\"{state}\""))
    }

    /// What a client has of a message after this poll.
    pub fn of_tokens(poll: &TokensPoll) -> Self {
        let (message, position) = (Digits(poll.message.0), poll.delta.position);
        let status = match poll.status {
            Status::Pending => 'p',
            Status::Completed => 'c',
            Status::Failed => 'f',
            Status::Cancelled => 'x',
        };
        match &poll.reasoning {
            None => Self::weak(format_args!("t{message}.{position}{status}")),
            Some(delta) => {
                let thoughts = delta.position;
                Self::weak(format_args!("t{message}.{position}{status}{thoughts}"))
            }
        }
    }

    /// What a client has of a chat after this poll. Answers that grow have no revision for it: how far they are
    /// counts too.
    pub fn of_messages(poll: &MessagesPoll) -> Self {
        let is_pending = |read: &&MessageRead| read.row.status == Status::Pending;
        let pending = poll.changed.iter().chain(&poll.new).filter(is_pending);
        let grown = pending.fold(0_u64, |sum, read| {
            let positions = [read.position.get(), read.reasoning_position.get()];
            positions.into_iter().fold(sum, u64::wrapping_add)
        });
        let tag = Self::of_chat(poll.chat.id, poll.revision, poll.cursor);
        if poll.has_more || grown > 0 {
            let more = if poll.has_more { "more" } else { "" };
            Self::weak(format_args!("{}.{grown}{more}", tag.word()))
        } else {
            tag
        }
    }

    /// The same of a poll that has found nothing.
    pub fn of_quiet(chat: ChatId, quiet: &Quiet) -> Self {
        Self::of_chat(chat, quiet.revision, Some(quiet.cursor))
    }

    fn of_chat(chat: ChatId, revision: i64, cursor: Option<MessageId>) -> Self {
        let (chat, cursor) = (Digits(chat.0), cursor.map(|id| Digits(id.0)));
        match cursor {
            Some(cursor) => Self::weak(format_args!("m{chat}.{revision}.{cursor}")),
            None => Self::weak(format_args!("m{chat}.{revision}")),
        }
    }

    /// Of something whose state is all that there is to hash.
    pub fn of_hash(state: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        Self::weak(format_args!("{:016x}", hasher.finish()))
    }

    /// The tag without its marks.
    pub fn word(&self) -> &str {
        self.0.trim_start_matches("W/").trim_matches('"')
    }
}

impl Seen {
    pub fn of(headers: &HeaderMap) -> Self {
        let tags = headers.get_all(header::IF_NONE_MATCH);
        Self(tags.iter().cloned().collect())
    }

    /// Whether the client has it: weak comparison (RFC 9110, 8.8.3.2), for no tag of ours has a comma in it.
    pub fn has(&self, tag: &Tag) -> bool {
        let lists = self.0.iter().filter_map(|list| list.to_str().ok());
        let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
        tags.any(|seen| {
            seen == "*" || seen.trim_start_matches("W/") == tag.0.trim_start_matches("W/")
        })
    }

    /// The view as JSON with its tag, or a 304 if the client has it already.
    pub fn json(
        &self,
        tag: &Tag,
        hint: Option<u64>,
        view: impl FnOnce() -> Result<Response, Problem>,
    ) -> Result<Response, Problem> {
        let mut response = if self.has(tag) {
            reply::not_modified(hint)
        } else {
            view()?
        };
        if let Ok(value) = HeaderValue::try_from(tag.0.as_str()) {
            response.headers_mut().insert(header::ETAG, value);
        }
        Ok(response)
    }

    /// The same for a view that has no other state than what it says.
    pub fn json_of(&self, view: &impl Serialize, hint: Option<u64>) -> Result<Response, Problem> {
        let body = serde_json::to_vec(view).map_err(|error| Problem::internal(&error))?;
        let tag = Tag::of_hash(&body);
        self.json(&tag, hint, || Ok(reply::json_bytes(StatusCode::OK, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_what_a_client_says_that_it_has() {
        let tag = Tag::weak(format_args!("t1.2p"));
        for (said, is_seen) in [
            ("W/\"t1.2p\"", true),
            ("\"t1.2p\"", true),
            ("\"other\", W/\"t1.2p\"", true),
            ("*", true),
            ("W/\"t1.2c\"", false),
            ("t1.2p", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, said.parse().unwrap());
            assert_eq!(Seen::of(&headers).has(&tag), is_seen, "{said}");
        }
        assert!(!Seen::default().has(&tag));
    }
}
