//! One message, as JSON and as an element of the page.

use askama::Template;
use entity::chat_message::{Reaction, Role, Status};
use entity::{ChatId, MessageId, RequestId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::Icon;
use super::markdown;
use super::place::Place;
use super::poller::Poller;
use super::reaction::ReactionView;
use super::tokens::{Grown, tokens_poller};
use super::words::{self, W};
use crate::chat::MessageRead;
use crate::model::failure::Failure;
use crate::model::position::Position;

/// The message of the polling protocol.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of the protocol, and says something of its own"
)]
#[derive(Clone, Debug, Serialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReasoningView {
    pub content: String,
    /// Where a token poll goes on from: `?reasoning=` this.
    pub position: Position,
}

impl MessageView {
    /// As it is told there: what the owner thinks of an answer is nobody else's.
    pub fn at(place: &Place, read: MessageRead) -> Self {
        let mut view = Self::new(read);
        if place.is_read_only() {
            view.reaction = None;
        }
        view
    }

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

/// What a message on its way to a page does to the one that is there.
#[derive(Clone, Copy, Debug)]
enum Replaces {
    Nothing,
    Whatever,
    Another,
}

/// A message as the page shows it: `templates/message.html`.
#[derive(Clone, Debug)]
pub struct MessageCard {
    pub message: MessageView,
    /// The chat's revision when the message last changed.
    pub revision: i64,
    /// Which element that is there already it takes the place of.
    replaces: Replaces,
    /// Its foot alone takes the place of the one that is there.
    pub replaces_foot: bool,
    token_hint: u64,
    place: Place,
}

impl MessageCard {
    /// `token_hint`: milliseconds between the polls for its tokens.
    pub fn new(place: &Place, read: MessageRead, token_hint: u64) -> Self {
        Self {
            revision: read.row.revision,
            message: MessageView::at(place, read),
            place: place.clone(),
            replaces: Replaces::Nothing,
            replaces_foot: false,
            token_hint,
        }
    }

    /// In the place of what is there, whatever it is.
    pub fn replacing(self) -> Self {
        Self {
            replaces: Replaces::Whatever,
            ..self
        }
    }

    /// In the place of what is there, if that is another one and knows nothing of the change yet.
    pub fn replacing_another(self) -> Self {
        Self {
            replaces: Replaces::Another,
            ..self
        }
    }

    pub fn replacing_its_foot(self) -> Self {
        Self {
            replaces_foot: true,
            ..self
        }
    }

    /// The value of `hx-swap-oob`. Another one is of another revision, and has no poller of its own, which
    /// would bring what has changed piece by piece. (No colon in the selector's first word: HTMX takes
    /// the last one there for its own.)
    pub fn oob(&self) -> Option<String> {
        let (uuid, revision) = (self.message.uuid, self.revision);
        match self.replaces {
            Replaces::Nothing => None,
            Replaces::Whatever => Some("true".to_owned()),
            Replaces::Another => Some(format!(
                "outerHTML:#messages > #message-{uuid}:not(:has(> [data-revision='{revision}'], [id^='poll-']))"
            )),
        }
    }

    /// Whether more of the text is to come, by polling for its tokens: it is being written, or too long
    /// for one answer.
    pub fn is_growing(&self) -> bool {
        !self.is_user() && (self.is_written() || self.message.truncated)
    }

    fn is_written(&self) -> bool {
        self.is_pending() && self.message.role == Role::Assistant
    }

    /// The text as HTML, as far as it is known; already safe.
    pub fn rendered(&self) -> Grown {
        if self.is_user() {
            Grown::default()
        } else if self.is_growing() {
            Grown::of(&self.message.content)
        } else {
            Grown {
                closed: markdown::to_html(&self.message.content),
                ..Grown::default()
            }
        }
    }

    /// The poller of a text of which more is to come.
    pub fn poller(&self, rendered: &Grown) -> Option<Poller> {
        self.is_growing().then(|| {
            let (uuid, position) = (self.message.uuid, self.message.position);
            let thoughts = self.message.reasoning.as_ref();
            let thoughts = thoughts.map_or(Position::START, |thoughts| thoughts.position);
            tokens_poller(
                &self.place,
                uuid,
                (position, rendered.open_bytes),
                thoughts,
                self.token_hint,
            )
        })
    }

    /// The address of the message, which its actions' begin with.
    pub fn path(&self) -> String {
        self.place.message(self.message.uuid)
    }

    /// Whether there is nothing to be done with it.
    pub fn is_read_only(&self) -> bool {
        self.place.is_read_only()
    }

    /// Whether it answers somebody: a greeting does not.
    fn is_answer(&self) -> bool {
        self.message.role == Role::Assistant && self.message.reply_to.is_some()
    }

    pub fn can_stop(&self) -> bool {
        self.is_pending() && (self.is_user() || self.is_answer())
    }

    /// How it is asked for again: the last part of the route, and the button's name.
    pub fn again(&self) -> Option<(&'static str, &'static str)> {
        if !self.is_answer() {
            return None;
        }
        match self.message.status {
            Status::Pending => None,
            Status::Completed => Some(("regenerate", W.regenerate)),
            Status::Failed | Status::Cancelled => Some(("retry", W.try_again)),
        }
    }

    /// A command has been carried out and cannot be said otherwise.
    pub fn can_edit(&self) -> bool {
        self.is_user() && self.message.request_uuid.is_some()
    }

    pub fn is_edited(&self) -> bool {
        self.is_user() && self.message.versions > 1
    }

    /// The numbers of the versions before and after the one that is shown, where there are several.
    pub fn neighbours(&self) -> Option<(Option<i64>, Option<i64>)> {
        let (version, versions) = (self.message.version, self.message.versions);
        let is_choice = self.is_answer() && versions > 1;
        is_choice.then(|| {
            let earlier = (version > 1).then(|| version - 1);
            let later = (version < versions).then(|| version + 1);
            (earlier, later)
        })
    }

    pub fn version_of(&self) -> String {
        let (version, versions) = (self.message.version, self.message.versions);
        words::put_all(W.version_of, &[&version, &versions])
    }

    pub fn can_react(&self) -> bool {
        self.is_answer() && self.message.status == Status::Completed
    }

    /// What the reader thinks of the answer: `like`, `dislike`, or nothing.
    pub fn reaction(&self) -> &'static str {
        let reaction = self.message.reaction.as_ref();
        match reaction.map(|reaction| reaction.reaction) {
            None => "",
            Some(Reaction::Like) => "like",
            Some(Reaction::Dislike) => "dislike",
        }
    }

    pub fn has(&self, reaction: &str) -> bool {
        self.reaction() == reaction
    }

    /// What the button of a reaction says: pressed once more, it takes it back.
    pub fn press(&self, reaction: &'static str) -> &'static str {
        if self.has(reaction) { "none" } else { reaction }
    }

    /// The comment of a reaction; none where there is no reaction.
    pub fn comment(&self) -> Option<&str> {
        let reaction = self.message.reaction.as_ref()?;
        Some(reaction.comment.as_deref().unwrap_or_default())
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
            let text = match (message.left_out, message.summarised) {
                (1, true) => W.summarised_one,
                (1, false) => W.left_out_one,
                (_, true) => W.summarised_many,
                (_, false) => W.left_out_many,
            };
            remarks.push(words::put(text, message.left_out));
        }
        if message.finish_reason.as_deref() == Some("length") {
            remarks.push(W.stopped_at_length.to_owned());
        }
        if message.cached {
            remarks.push(W.was_cached.to_owned());
        }
        remarks
    }

    /// Whether there is something to fold out: what the model thought, or may yet think.
    pub fn has_thoughts(&self) -> bool {
        self.message.reasoning.is_some() || self.is_growing()
    }

    /// What the model thought so far.
    pub fn thoughts(&self) -> &str {
        let reasoning = self.message.reasoning.as_ref();
        reasoning.map_or("", |reasoning| reasoning.content.as_str())
    }

    /// The name that the page gives the speaker.
    pub fn speaker(&self) -> &'static str {
        match self.message.role {
            Role::User if self.is_read_only() => W.user,
            Role::User => W.you,
            Role::Assistant => W.assistant,
            Role::Agent => W.pollen,
            Role::System => W.system,
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

    /// The time of day, UTC, for people.
    pub fn time(&self) -> String {
        words::moment(self.message.created_at)
    }

    #[cfg(any(test, debug_assertions))]
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
            revision: 3,
            replaces: Replaces::Nothing,
            replaces_foot: false,
            token_hint: 300,
            place: Place::Owners,
        }
    }

    #[cfg(any(test, debug_assertions))]
    pub fn at(self, place: &Place) -> Self {
        Self {
            place: place.clone(),
            ..self
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
            card: MessageCard::new(&Place::Owners, read, token_hint),
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
