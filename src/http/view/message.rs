//! One message, as JSON and as an element of the page.

use askama::Template;
use entity::chat_message::{Role, Status};
use entity::{ChatId, MessageId, RequestId, Timestamp};
use serde::Serialize;

use super::markdown;
use super::poller::Poller;
use super::reaction::ReactionView;
use super::tokens::tokens_poller;
use crate::chat::MessageRead;
use crate::model::failure::Failure;
use crate::model::position::Position;

/// The message of the polling protocol.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of the protocol, and says something of its own"
)]
#[derive(Clone, Debug, Serialize)]
pub struct MessageView {
    pub uuid: MessageId,
    pub chat_uuid: ChatId,
    /// The user message that an answer answers.
    pub reply_to: Option<MessageId>,
    pub role: Role,
    pub status: Status,
    /// The text so far.
    pub content: String,
    /// Where a token poll goes on from.
    pub position: Position,
    pub request_uuid: Option<RequestId>,
    pub created_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    pub error: Option<Failure>,
    /// The text is finished but longer than `content`: the token poll has the rest.
    pub truncated: bool,
    /// The message is not to be shown any more; it is here only because it was seen before.
    pub deleted: bool,
    /// It was not deleted but superseded: an earlier message was edited.
    pub superseded: bool,
    /// Which of its versions the text is, from 1, and how many there are.
    pub version: i64,
    pub versions: i64,
    /// What the model thought before it answered; null if it did not, or did not show it.
    pub reasoning: Option<ReasoningView>,
    /// The model that writes, or wrote, the answer.
    pub model: Option<String>,
    /// Why the model stopped: `stop`, `length`, or the provider's own word.
    pub finish_reason: Option<String>,
    /// The answer is one that was given before to the same question.
    pub cached: bool,
    /// Earlier messages that the model was not sent, because its context window was full.
    pub left_out: u32,
    /// It was sent a summary of them.
    pub summarised: bool,
    /// What the user thinks of it; null if they have not said.
    pub reaction: Option<ReactionView>,
}

/// What a model thought, so far.
#[derive(Clone, Debug, Serialize)]
pub struct ReasoningView {
    pub content: String,
    /// Where a token poll goes on from: `?reasoning=` this.
    pub position: Position,
}

impl MessageView {
    pub fn new(read: MessageRead) -> Self {
        let row = read.row;
        let reaction = ReactionView::of(&row);
        let superseded = row.superseded_at.is_some();
        let origin = row.origin.unwrap_or_default();
        let reasoning = (!read.reasoning.is_empty()).then_some(ReasoningView {
            content: read.reasoning,
            position: read.reasoning_position,
        });
        Self {
            reasoning,
            model: origin.model,
            finish_reason: origin.finish_reason,
            cached: origin.cached,
            left_out: origin.left_out,
            summarised: origin.summarised,
            reaction,
            uuid: row.id,
            chat_uuid: row.chat_id,
            reply_to: row.reply_to,
            role: row.role,
            status: row.status,
            content: read.content,
            position: read.position,
            request_uuid: row.request_id,
            created_at: row.created_at,
            completed_at: row.completed_at,
            error: read.error,
            truncated: read.truncated,
            deleted: row.deleted_at.is_some() || superseded,
            superseded,
            version: row.version,
            versions: row.versions,
        }
    }
}

/// A message as the page shows it: `templates/message.html`.
#[derive(Clone, Debug)]
pub struct MessageCard {
    pub message: MessageView,
    /// It takes the place of the element that is there already.
    pub replaces: bool,
    token_hint: u64,
}

impl MessageCard {
    /// `token_hint`: milliseconds between the polls for its tokens.
    pub fn new(read: MessageRead, token_hint: u64) -> Self {
        Self {
            message: MessageView::new(read),
            replaces: false,
            token_hint,
        }
    }

    pub fn replacing(self) -> Self {
        Self {
            replaces: true,
            ..self
        }
    }

    /// The poller of an answer that is being written.
    pub fn poller(&self) -> Option<Poller> {
        let is_written = self.is_pending() && self.message.role == Role::Assistant;
        is_written.then(|| {
            let (uuid, position) = (self.message.uuid, self.message.position);
            let thoughts = self.message.reasoning.as_ref();
            let thoughts = thoughts.map_or(Position::START, |thoughts| thoughts.position);
            tokens_poller(uuid, position, thoughts, self.token_hint)
        })
    }

    /// What can be done with the message: the last part of the route, and the button's name.
    pub fn action(&self) -> Option<(&'static str, &'static str)> {
        if self.message.role == Role::Assistant && self.message.reply_to.is_none() {
            // A greeting answers nothing.
            return None;
        }
        match (self.message.role, self.message.status) {
            (Role::Assistant, Status::Pending) => Some(("cancel", "Stop")),
            (Role::User, Status::Pending) => Some(("cancel", "Withdraw")),
            (Role::Assistant, Status::Completed) => Some(("regenerate", "Regenerate")),
            (Role::Assistant, Status::Failed | Status::Cancelled) => Some(("retry", "Try again")),
            _ => None,
        }
    }

    pub fn is_pending(&self) -> bool {
        self.message.status == Status::Pending
    }

    pub fn is_user(&self) -> bool {
        self.message.role == Role::User
    }

    /// What is to be known of how the answer came about.
    pub fn remarks(&self) -> Vec<String> {
        let message = &self.message;
        let mut remarks = Vec::new();
        if message.left_out > 0 {
            let what = if message.left_out == 1 {
                "message was"
            } else {
                "messages were"
            };
            let how = if message.summarised {
                "summarised"
            } else {
                "left out"
            };
            remarks.push(format!(
                "{} earlier {what} {how}: the model's context window is full.",
                message.left_out
            ));
        }
        if message.finish_reason.as_deref() == Some("length") {
            remarks.push("The model stopped at its limit of tokens.".to_owned());
        }
        if message.cached {
            remarks.push(
                "The same question had been answered before; this is that answer.".to_owned(),
            );
        }
        remarks
    }

    /// Whether there is something to fold out: what the model thought, or may yet think.
    pub fn has_thoughts(&self) -> bool {
        self.message.reasoning.is_some() || self.poller().is_some()
    }

    /// What the model thought so far.
    pub fn thoughts(&self) -> &str {
        let reasoning = self.message.reasoning.as_ref();
        reasoning.map_or("", |reasoning| reasoning.content.as_str())
    }

    /// The name that the page gives the speaker.
    pub fn speaker(&self) -> &'static str {
        match self.message.role {
            Role::User => "You",
            Role::Assistant => "Assistant",
            Role::Agent => "Pollen",
            Role::System => "System",
        }
    }

    pub fn role(&self) -> &'static str {
        match self.message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Agent => "agent",
            Role::System => "system",
        }
    }

    pub fn status(&self) -> &'static str {
        match self.message.status {
            Status::Pending => "pending",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }

    /// The finished text as HTML; already safe.
    pub fn html(&self) -> String {
        markdown::to_html(&self.message.content)
    }

    /// The time of day, UTC, for people.
    pub fn time(&self) -> String {
        let created = self.message.created_at.to_datetime();
        created.format("%-d %b %Y, %H:%M UTC").to_string()
    }

    #[cfg(test)]
    pub fn sample(role: Role, status: Status, content: &str) -> Self {
        let uuid = uuid::Uuid::from_u128(7);
        Self {
            message: MessageView {
                uuid: MessageId(uuid),
                chat_uuid: ChatId(uuid::Uuid::from_u128(1)),
                reply_to: (role == Role::Assistant).then_some(MessageId(uuid::Uuid::from_u128(6))),
                role,
                status,
                content: content.to_owned(),
                position: Position::START,
                request_uuid: None,
                created_at: Timestamp(1_795_226_400_000),
                completed_at: None,
                error: (status == Status::Failed).then(|| {
                    Failure::new(
                        crate::model::failure::FailureCode::ProviderStalled,
                        "The model's server sent nothing for 30 s & was given up.",
                    )
                }),
                truncated: false,
                deleted: false,
                superseded: false,
                version: 1,
                versions: 1,
                reasoning: None,
                model: (role == Role::Assistant).then(|| "demo".to_owned()),
                finish_reason: None,
                cached: false,
                left_out: 0,
                summarised: false,
                reaction: None,
            },
            replaces: false,
            token_hint: 300,
        }
    }
}

/// A message alone.
#[derive(Template)]
#[template(path = "message.html")]
pub struct MessageFragment {
    pub card: MessageCard,
}

impl MessageFragment {
    pub fn new(read: MessageRead, token_hint: u64) -> Self {
        Self {
            card: MessageCard::new(read, token_hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(card: MessageCard) -> String {
        MessageFragment { card }.render().unwrap()
    }

    #[test]
    fn an_answer_that_is_written_polls_and_shows_its_text_as_it_is() {
        let card = MessageCard::sample(Role::Assistant, Status::Pending, "**a** <b>");
        insta::assert_snapshot!(render(card));
    }

    #[test]
    fn a_finished_answer_is_rendered_and_polls_no_more() {
        let card = MessageCard::sample(Role::Assistant, Status::Completed, "**a** <b>");
        insta::assert_snapshot!(render(card));
    }

    #[test]
    fn a_failed_answer_says_why() {
        let card = MessageCard::sample(Role::Assistant, Status::Failed, "half an");
        insta::assert_snapshot!(render(card));
    }

    #[test]
    fn an_answer_says_what_was_thought_and_what_was_left_out() {
        let mut card = MessageCard::sample(Role::Assistant, Status::Completed, "Yes.");
        card.message.reasoning = Some(ReasoningView {
            content: "Hm, <b>.".to_owned(),
            position: Position::START,
        });
        card.message.left_out = 2;
        card.message.cached = true;
        card.message.finish_reason = Some("length".to_owned());
        insta::assert_snapshot!(render(card));
    }

    #[test]
    fn a_users_words_are_escaped_and_not_rendered() {
        let card = MessageCard::sample(Role::User, Status::Pending, "<script>**a**</script>");
        insta::assert_snapshot!(render(card.replacing()));
    }
}
