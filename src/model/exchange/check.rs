//! Which documents are taken in. Whatever is wrong is named by its path, so that it can be put right.

use std::collections::HashSet;

use entity::chat_message::Status;
use entity::{MessageId, Timestamp};

use super::{ChatDocument, MessageDocument, ReactionDocument, SCHEMA, Speaker, VERSION};
use crate::model::failure::Failure;
use crate::model::metadata;
use crate::model::parameters::check_storable;
use crate::model::text::{Comment, Title};

/// Messages of one document.
pub const MAX_MESSAGES: usize = 10_000;
/// The highest number of a version.
const MAX_VERSION: i64 = 10_000;
/// Characters of a model's name, a provider's, a reason or a code.
const WORD_CHARS: usize = 200;
/// Characters of what is said about a failure.
const FAILURE_CHARS: usize = 2_000;
/// The last moment that RFC 3339 can write, and the first one of its era.
const LAST: Timestamp = Timestamp(253_402_300_799_999);
const FIRST: Timestamp = Timestamp(-62_135_596_800_000);

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {rule}")]
pub struct Mistake {
    /// `messages[3].reply_to`
    pub path: String,
    pub rule: String,
}

impl Mistake {
    #[must_use]
    pub fn new(path: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            rule: rule.into(),
        }
    }

    /// The same in a list of documents.
    #[must_use]
    pub fn in_list(self, place: usize) -> Self {
        let path = format!("chats[{place}].{}", self.path);
        Self { path, ..self }
    }
}

/// Whether the document can become a chat, as far as it alone says.
///
/// # Errors
/// Names the first thing that is wrong.
pub fn check(document: &ChatDocument) -> Result<(), Mistake> {
    if document.schema != SCHEMA {
        let rule = format!("is {:?}; this server takes {SCHEMA:?}", document.schema);
        return Err(Mistake::new("schema", rule));
    }
    if document.version != VERSION {
        let rule = format!("is {}; this server takes {VERSION}", document.version);
        return Err(Mistake::new("version", rule));
    }
    Title::parse(&document.title).map_err(|error| rule("title", &error))?;
    check_storable(&document.parameters).map_err(|error| rule("parameters", &error))?;
    metadata::parse(document.metadata.clone()).map_err(|error| rule("metadata", &error))?;
    for (path, name) in [("agent", &document.agent), ("model", &document.model)] {
        check_word(path, name.as_deref())?;
    }
    check_time("created_at", document.created_at)?;
    check_time("updated_at", document.updated_at)?;
    if let Some(at) = document.expires_at {
        check_time("expires_at", at)?;
    }
    let count = document.messages.len();
    if count > MAX_MESSAGES {
        let rule = format!("has {count} of them; at most {MAX_MESSAGES} are taken");
        return Err(Mistake::new("messages", rule));
    }
    let (mut uuids, mut questions) = (HashSet::new(), HashSet::new());
    for (place, message) in document.messages.iter().enumerate() {
        let checked = check_message(message, &mut uuids, &mut questions);
        checked.map_err(|mistake| Mistake {
            path: format!("messages[{place}].{}", mistake.path),
            ..mistake
        })?;
    }
    Ok(())
}

fn check_message(
    message: &MessageDocument,
    uuids: &mut HashSet<MessageId>,
    questions: &mut HashSet<MessageId>,
) -> Result<(), Mistake> {
    if !uuids.insert(message.uuid) {
        return Err(Mistake::new("uuid", "is that of an earlier message, too"));
    }
    let is_question = message.role == Speaker::User;
    if let Some(question) = message.reply_to {
        if is_question {
            return Err(Mistake::new(
                "reply_to",
                "stands in a message of the user's",
            ));
        }
        if !questions.contains(&question) {
            let rule = "is the UUID of no earlier message of the user's";
            return Err(Mistake::new("reply_to", rule));
        }
    }
    if is_question {
        questions.insert(message.uuid);
        if message.content.trim().is_empty() {
            return Err(Mistake::new(
                "content",
                "is empty in a message of the user's",
            ));
        }
        if message.reaction.is_some() {
            return Err(Mistake::new(
                "reaction",
                "stands in a message of the user's",
            ));
        }
    }
    if message.status == Status::Pending && !is_question && message.reply_to.is_none() {
        return Err(Mistake::new(
            "status",
            "is `pending` in what answers nothing",
        ));
    }
    check_time("created_at", message.created_at)?;
    check_texts(
        (&message.content, &message.reasoning),
        [&message.model, &message.provider, &message.finish_reason],
        (message.error.as_ref(), message.reaction.as_ref()),
        (message.version, message.completed_at),
    )?;
    let mut numbers = HashSet::from([message.version]);
    for (place, version) in message.versions.iter().enumerate() {
        let path = |mistake: Mistake| Mistake {
            path: format!("versions[{place}].{}", mistake.path),
            ..mistake
        };
        if !numbers.insert(version.version) {
            return Err(path(Mistake::new(
                "version",
                "is that of another text, too",
            )));
        }
        check_texts(
            (&version.content, &version.reasoning),
            [&version.model, &version.provider, &version.finish_reason],
            (version.error.as_ref(), version.reaction.as_ref()),
            (version.version, version.completed_at),
        )
        .map_err(path)?;
    }
    Ok(())
}

/// What a message and each of its other texts have in common.
fn check_texts(
    (content, reasoning): (&str, &str),
    [model, provider, finish_reason]: [&Option<String>; 3],
    (error, reaction): (Option<&Failure>, Option<&ReactionDocument>),
    (version, completed_at): (i64, Option<Timestamp>),
) -> Result<(), Mistake> {
    for (path, text) in [("content", content), ("reasoning", reasoning)] {
        if text.contains('\0') {
            let rule = "holds the character U+0000, which cannot be stored";
            return Err(Mistake::new(path, rule));
        }
    }
    check_word("model", model.as_deref())?;
    check_word("provider", provider.as_deref())?;
    check_word("finish_reason", finish_reason.as_deref())?;
    if let Some(error) = error {
        check_word("error.code", Some(&error.code))?;
        let is_long = error.message.chars().count() > FAILURE_CHARS;
        if is_long || error.message.contains('\0') {
            let rule = format!("has to be up to {FAILURE_CHARS} characters, none of them U+0000");
            return Err(Mistake::new("error.message", rule));
        }
    }
    if let Some(comment) = reaction.and_then(|reaction| reaction.comment.as_ref()) {
        Comment::parse(comment).map_err(|error| rule("reaction.comment", &error))?;
    }
    if !(1..=MAX_VERSION).contains(&version) {
        let rule = format!("has to be a number from 1 to {MAX_VERSION}");
        return Err(Mistake::new("version", rule));
    }
    completed_at.map_or(Ok(()), |at| check_time("completed_at", at))
}

fn check_word(path: &str, word: Option<&str>) -> Result<(), Mistake> {
    let is_wrong = |word: &str| {
        word.is_empty() || word.chars().count() > WORD_CHARS || word.chars().any(char::is_control)
    };
    if word.is_some_and(is_wrong) {
        let rule = format!("has to be 1 to {WORD_CHARS} characters, without control characters");
        return Err(Mistake::new(path, rule));
    }
    Ok(())
}

fn check_time(path: &str, at: Timestamp) -> Result<(), Mistake> {
    if (FIRST..=LAST).contains(&at) {
        return Ok(());
    }
    Err(Mistake::new(
        path,
        "has to be a time of the years 1 to 9999",
    ))
}

/// What another rule says, without the name that it gives its field.
fn rule(path: &str, error: &impl std::fmt::Display) -> Mistake {
    let text = error.to_string();
    let own = format!("`{path}` ");
    Mistake::new(path, text.strip_prefix(&own).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sample() -> Value {
        let time = "2026-11-28T09:30:00.250Z";
        json!({
            "schema": SCHEMA, "version": 1, "uuid": uuid::Uuid::from_u128(1), "title": "Tea",
            "created_at": time, "updated_at": time,
            "messages": [
                {"uuid": uuid::Uuid::from_u128(2), "role": "user", "status": "completed", "content": "Tea?", "created_at": time},
                {"uuid": uuid::Uuid::from_u128(3), "role": "assistant", "status": "completed", "content": "Yes.",
                 "reply_to": uuid::Uuid::from_u128(2), "created_at": time, "versions": [
                    {"version": 2, "status": "failed", "content": "", "error": {"code": "x", "message": ""}}]},
            ],
        })
    }

    fn checked(document: Value) -> Result<(), Mistake> {
        check(&serde_json::from_value(document).unwrap())
    }

    #[test]
    fn a_document_with_the_least_that_it_needs_is_taken() {
        assert_eq!(checked(sample()), Ok(()));
    }

    #[test]
    fn whatever_is_wrong_is_named_by_its_path() {
        for (pointer, value, path) in [
            ("/schema", json!("/schemas/other.json"), "schema"),
            ("/version", json!(2), "version"),
            ("/title", json!(" "), "title"),
            ("/metadata", json!({"": "x"}), "metadata"),
            ("/model", json!("a\nb"), "model"),
            (
                "/updated_at",
                json!("+011000-01-01T00:00:00Z"),
                "updated_at",
            ),
            (
                "/messages/1/uuid",
                json!(uuid::Uuid::from_u128(2)),
                "messages[1].uuid",
            ),
            ("/messages/0/content", json!(" "), "messages[0].content"),
            ("/messages/1/content", json!("\0"), "messages[1].content"),
            (
                "/messages/1/reply_to",
                json!(uuid::Uuid::from_u128(3)),
                "messages[1].reply_to",
            ),
            (
                "/messages/0/reply_to",
                json!(uuid::Uuid::from_u128(3)),
                "messages[0].reply_to",
            ),
            ("/messages/1/version", json!(0), "messages[1].version"),
            (
                "/messages/1/versions/0/version",
                json!(1),
                "messages[1].versions[0].version",
            ),
            (
                "/messages/1/versions/0/error/code",
                json!(""),
                "messages[1].versions[0].error.code",
            ),
            (
                "/messages/1/reaction",
                json!({"reaction": "like", "comment": "x".repeat(2001)}),
                "messages[1].reaction.comment",
            ),
        ] {
            let mut document = sample();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(parent).unwrap()[key] = value;
            let mistake = checked(document).unwrap_err();
            assert_eq!(mistake.path, path, "{mistake}");
        }
    }
}
