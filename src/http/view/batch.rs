//! What many polls in one have found: only what is new.

use entity::{ChatId, MessageId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::messages::MessagesView;
use super::place::Place;
use super::tokens::TokensView;
use crate::chat::{Batch, BatchPoll, MessagesPoll, TokensPoll};
use crate::http::counts::{Kind, Outcome};
use crate::http::hold::Look;
use crate::http::problem::Problem;
use crate::http::tag::{Seen, Tag};
use crate::model::delta::MAX_DELTA_BYTES;
use crate::model::hint::Activity;

/// The answer of the batch poll. What is not in it has nothing new.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchView {
    /// The chats in which something is new, as their messages polls answer it.
    pub chats: Vec<BatchChat>,
    /// The messages whose text has grown or is another one, or that are over, as their token polls answer it. One that
    /// is over is answered each time: it is to be left out of the next poll.
    pub messages: Vec<BatchMessage>,
    /// There if the list is another one than the client has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_list: Option<ListRevision>,
    /// What was wrong with single cursors.
    pub problems: Vec<BatchProblem>,
    /// The next poll is worth while for at least one of them; 0: not all of what is new was in this answer.
    pub poll_after_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BatchChat {
    pub uuid: ChatId,
    #[serde(flatten)]
    pub poll: MessagesView,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BatchMessage {
    pub uuid: MessageId,
    #[serde(flatten)]
    pub poll: TokensView,
}

/// The state of the list of chats.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListRevision {
    pub revision: String,
}

/// What is wrong with one cursor: the fields of a problem.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchProblem {
    /// Of the chat or the message.
    pub uuid: Uuid,
    #[serde(rename = "type")]
    pub type_uri: String,
    pub title: &'static str,
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl BatchProblem {
    /// # Errors
    /// The problem, if it is the server's: then there is no answer at all.
    fn new(uuid: Uuid, problem: Problem) -> Result<Self, Problem> {
        if problem.kind.status().is_server_error() {
            return Err(problem);
        }
        let kind = problem.kind;
        Ok(Self {
            uuid,
            type_uri: format!("/problems/{}", kind.slug()),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: problem.detail.or_else(|| Some(kind.advice().to_owned())),
        })
    }
}

/// What an answer is made of, piece by piece.
struct Making<H> {
    view: BatchView,
    /// The state of each.
    states: Vec<String>,
    activity: Activity,
    outcomes: Vec<(Kind, Outcome)>,
    left_bytes: usize,
    hint: H,
}

/// A view, and what it does not say.
pub struct Made {
    pub view: BatchView,
    pub tag: Tag,
    /// Of all of it together.
    pub activity: Activity,
    /// What each poll has found, to be counted.
    pub outcomes: Vec<(Kind, Outcome)>,
}

impl BatchView {
    /// The view of what was found. `list`: the revision of the list that the client has.
    ///
    /// # Errors
    /// If one of the polls failed by the server's fault.
    pub fn made(
        batch: &Batch,
        list: Option<&str>,
        found: BatchPoll,
        hint: impl Fn(Activity) -> u64,
    ) -> Result<Made, Problem> {
        let mut making = Making {
            view: Self {
                chats: Vec::new(),
                messages: Vec::new(),
                chat_list: None,
                problems: Vec::new(),
                poll_after_ms: 0,
            },
            states: Vec::new(),
            activity: Activity::Idle,
            outcomes: Vec::new(),
            left_bytes: MAX_DELTA_BYTES,
            hint,
        };
        for (cursor, poll) in batch.messages.iter().zip(found.messages) {
            let id = cursor.message;
            match poll {
                Ok(poll) => making.add_message(id, poll),
                Err(error) => making.add_problem(Kind::Tokens, id.0, error.into())?,
            }
        }
        for (cursor, poll) in batch.chats.iter().zip(found.chats) {
            match poll {
                Ok(poll) => making.add_chat(cursor.revision, poll),
                Err(error) => making.add_problem(Kind::Messages, cursor.chat.0, error.into())?,
            }
        }
        if let Some(revision) = found.list {
            making.states.push(revision.clone());
            let is_new = list != Some(revision.as_str());
            making.view.chat_list = is_new.then_some(ListRevision { revision });
        }
        Ok(making.finish())
    }

    fn is_empty(&self) -> bool {
        self.chats.is_empty()
            && self.messages.is_empty()
            && self.problems.is_empty()
            && self.chat_list.is_none()
    }
}

impl Made {
    /// Whether there is anything in it that the client does not know.
    pub fn look(&self, seen: &Seen) -> Look {
        Look {
            is_new: !self.view.is_empty() && !seen.has(&self.tag),
            activity: self.activity,
        }
    }
}

impl<H: Fn(Activity) -> u64> Making<H> {
    fn add_message(&mut self, uuid: MessageId, poll: TokensPoll) {
        self.states.push(Tag::of_tokens(&poll).word().to_owned());
        self.note(poll.activity);
        let outcome = Outcome::of_tokens(&poll);
        self.outcomes.push((Kind::Tokens, outcome));
        let bytes = poll.delta.tokens.len() + poll.reasoning.as_ref().map_or(0, |d| d.tokens.len());
        if poll.is_new() && self.has_room(bytes) {
            let hint = (self.hint)(poll.activity);
            let poll = TokensView::new(poll, hint);
            self.view.messages.push(BatchMessage { uuid, poll });
        }
    }

    fn add_chat(&mut self, revision: Option<i64>, poll: MessagesPoll) {
        let uuid = poll.chat.id;
        self.states.push(Tag::of_messages(&poll).word().to_owned());
        self.note(poll.activity);
        let outcome = Outcome::of_messages(&poll);
        self.outcomes.push((Kind::Messages, outcome));
        if poll.is_new(revision) && self.has_room(poll.text_bytes()) {
            let hint = (self.hint)(poll.activity);
            let poll = MessagesView::new(&Place::Owners, poll, hint);
            self.view.chats.push(BatchChat { uuid, poll });
        }
    }

    fn add_problem(&mut self, kind: Kind, uuid: Uuid, problem: Problem) -> Result<(), Problem> {
        let problem = BatchProblem::new(uuid, problem)?;
        self.states.push(format!("{uuid}{}", problem.status));
        self.view.problems.push(problem);
        self.outcomes.push((kind, Outcome::NotFound));
        Ok(())
    }

    /// Whether so much text fits beside the rest (P7). What does not comes with the next poll, whose cursors for the
    /// others are further on.
    fn has_room(&mut self, bytes: usize) -> bool {
        let is_first = self.left_bytes == MAX_DELTA_BYTES;
        let fits = bytes <= self.left_bytes || is_first;
        if fits {
            self.left_bytes = self.left_bytes.saturating_sub(bytes);
        } else {
            self.activity = Activity::More;
        }
        fits
    }

    fn note(&mut self, activity: Activity) {
        self.activity = match (self.activity, activity) {
            (Activity::More, _) | (_, Activity::More) => Activity::More,
            (Activity::Flowing, _) | (_, Activity::Flowing) => Activity::Flowing,
            (Activity::Idle, Activity::Idle) => Activity::Idle,
        };
    }

    fn finish(mut self) -> Made {
        self.view.poll_after_ms = (self.hint)(self.activity);
        Made {
            tag: Tag::of_hash(&self.states),
            view: self.view,
            activity: self.activity,
            outcomes: self.outcomes,
        }
    }
}
