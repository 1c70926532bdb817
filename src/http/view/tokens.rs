//! The token poll, as JSON and as what a page takes in.

use askama::Template;
use entity::MessageId;
use entity::chat_message::Status;
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::Icon;
use super::markdown::{self, Open};
use super::message::MessageCard;
use super::place::Place;
use super::poller::Poller;
use super::words::W;
use crate::chat::{MessageRead, TokensPoll};
use crate::model::delta::Delta;
use crate::model::position::Position;

/// The answer of the token poll.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokensView {
    pub tokens: String,
    pub status: Status,
    pub append: bool,
    pub position: Position,
    pub poll_after_ms: u64,
    /// What the model thinks, in the same way; not there if `?reasoning=` was not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ReasoningDelta>,
}

/// More of what a model thinks.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReasoningDelta {
    pub tokens: String,
    pub append: bool,
    pub position: Position,
}

/// The element that polls for the tokens of an answer, and for what its model thinks. `read`: where the
/// text has been read to, and how many of its last bytes are in a block that may still change.
pub fn tokens_poller(
    place: &Place,
    uuid: MessageId,
    read: (Position, usize),
    thoughts: Position,
    after_ms: u64,
) -> Poller {
    let (position, open) = read;
    let message = place.message(uuid);
    Poller::new(
        format!("{message}/tokens/{position}?reasoning={thoughts}&open={open}"),
        after_ms,
    )
}

impl TokensView {
    pub fn new(poll: TokensPoll, poll_after_ms: u64) -> Self {
        Self {
            tokens: poll.delta.tokens,
            status: poll.status,
            append: poll.delta.append,
            position: poll.delta.position,
            poll_after_ms,
            reasoning: poll.reasoning.map(|delta| ReasoningDelta {
                tokens: delta.tokens,
                append: delta.append,
                position: delta.position,
            }),
        }
    }
}

/// A stretch of a text as HTML: finished blocks, which stay, and the last one, which may still change.
#[derive(Clone, Debug, Default)]
pub struct Grown {
    pub closed: String,
    pub open: String,
    pub open_bytes: usize,
}

impl Grown {
    /// `text` begins with a block.
    pub fn of(text: &str) -> Self {
        let growing = markdown::growing(text);
        let open = match growing.open {
            Open::Html(html) => html,
            Open::Plain => {
                let start = text.len() - growing.open_bytes;
                let plain = text.get(start..).unwrap_or_default();
                format!("<div class=\"text\">{}</div>", markdown::escaped(plain))
            }
        };
        Self {
            closed: growing.closed,
            open,
            open_bytes: growing.open_bytes,
        }
    }
}

/// What becomes of the text that a page shows.
pub enum TextChange {
    Nothing,
    /// It is another one.
    Whole(Grown),
    /// Blocks come before the open one, whose place is taken.
    More(Grown),
    /// The open block is so long that it is not rendered anew each time: its end.
    Plain(String),
}

/// What a page has read of an answer.
#[derive(Clone, Copy, Debug)]
pub struct PageRead {
    pub position: Position,
    /// Bytes of the last block, which may still change.
    pub open_bytes: usize,
}

impl PageRead {
    /// From where the text is to be read on: the last block is rendered as a whole, unless it is long.
    pub fn from(&self) -> Position {
        if self.is_long() {
            self.position
        } else {
            self.position.back(self.open_bytes)
        }
    }

    fn is_long(&self) -> bool {
        self.open_bytes > markdown::MAX_OPEN_BYTES
    }

    /// Whether the delta has nothing that the page has not. It may have less: a node that follows
    /// another one's writing lags behind.
    pub fn has_all_of(&self, delta: &Delta) -> bool {
        let is_same = delta.position.edition() == self.position.edition();
        delta.append && is_same && delta.position <= self.position
    }
}

/// More text for an answer that is being written, and the poller that goes on.
#[derive(Template)]
#[template(path = "tokens.html")]
pub struct TokensFragment {
    pub uuid: MessageId,
    pub text: TextChange,
    pub reasoning: Option<ReasoningDelta>,
    pub poller: Poller,
}

impl TokensFragment {
    /// `poll` has been made from [`PageRead::from`].
    pub fn new(place: &Place, poll: TokensPoll, read: PageRead, hint: u64) -> Self {
        let uuid = poll.message;
        let thoughts = poll.reasoning.as_ref();
        let thoughts = thoughts.map_or(Position::START, |delta| delta.position);
        let (text, position, open) = if read.has_all_of(&poll.delta) {
            (TextChange::Nothing, read.position, read.open_bytes)
        } else if poll.delta.append && read.is_long() {
            // The client says how much is open; it may say anything.
            let open = read.open_bytes.saturating_add(poll.delta.tokens.len());
            (
                TextChange::Plain(poll.delta.tokens),
                poll.delta.position,
                open,
            )
        } else {
            let grown = Grown::of(&poll.delta.tokens);
            let open = grown.open_bytes;
            let change = if poll.delta.append {
                TextChange::More(grown)
            } else {
                TextChange::Whole(grown)
            };
            (change, poll.delta.position, open)
        };
        Self {
            uuid,
            text,
            reasoning: ReasoningDelta::of(poll.reasoning),
            poller: tokens_poller(place, uuid, (position, open), thoughts, hint),
        }
    }
}

impl ReasoningDelta {
    /// What there is to show of it.
    fn of(delta: Option<Delta>) -> Option<Self> {
        let delta = delta.filter(|delta| !delta.tokens.is_empty() || !delta.append)?;
        Some(Self {
            tokens: delta.tokens,
            append: delta.append,
            position: delta.position,
        })
    }
}

/// What is still missing of a text that has come to its end, and the foot of the finished message. Nothing
/// in it polls, and no block is sent again.
#[derive(Template)]
#[template(path = "tokens_end.html")]
pub struct TokensRestFragment {
    pub card: MessageCard,
    pub rest: Rest,
    pub reasoning: Option<ReasoningDelta>,
}

/// The end of a text.
pub enum Rest {
    /// What was open, and what has come since, as blocks.
    Blocks(String),
    /// The end of a block that is too long to be rendered.
    Plain(String),
}

impl TokensRestFragment {
    /// None if what the page shows is not what the whole text looks like: it is to be replaced.
    pub fn new(
        place: &Place,
        poll: &TokensPoll,
        message: &MessageRead,
        read: PageRead,
        hint: u64,
    ) -> Option<Self> {
        let tokens = &poll.delta.tokens;
        // It may have been asked for again since the poll was made.
        let is_other = message.row.status == Status::Pending
            || message.position.edition() != poll.delta.position.edition();
        // Where the whole of it is more than one answer may carry, it cannot be replaced.
        let is_alike = message.truncated
            || (!read.is_long() && markdown::blocks_stand_alone(&message.content));
        if !poll.delta.append || is_other || !is_alike {
            return None;
        }
        let rest = if read.is_long() {
            Rest::Plain(tokens.clone())
        } else {
            Rest::Blocks(markdown::to_html(tokens))
        };
        let mut card = MessageCard::new(place, message.clone(), hint).replacing_its_foot();
        // The whole of it is there now.
        card.message.truncated = false;
        Some(Self {
            card,
            rest,
            reasoning: ReasoningDelta::of(poll.reasoning.clone()),
        })
    }
}

/// The finished message in place of the one that was being written. Nothing in it polls.
#[derive(Template)]
#[template(path = "message.html")]
pub struct TokensEndFragment {
    pub card: MessageCard,
}

impl TokensEndFragment {
    pub fn new(place: &Place, read: MessageRead, hint: u64) -> Self {
        Self {
            card: MessageCard::new(place, read, hint).replacing(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::delta::{Knowledge, delta};
    use crate::model::hint::Activity;
    use crate::model::position::Edition;

    fn fragment(text: &str, position: Position, open_bytes: usize) -> String {
        let read = PageRead {
            position,
            open_bytes,
        };
        let edition = Edition::FIRST.next();
        let delta = |from, text| delta(from, edition, text, Knowledge::Whole, 10_000_000);
        let poll = TokensPoll {
            message: MessageId(uuid::Uuid::from_u128(7)),
            delta: delta(read.from(), text),
            reasoning: Some(delta(Position::new(edition, 3), "Hm & so.")),
            status: Status::Pending,
            activity: Activity::Flowing,
        };
        let fragment = TokensFragment::new(&Place::Owners, poll, read, 300);
        fragment.render().unwrap()
    }

    fn at(offset: usize) -> Position {
        Position::new(Edition::FIRST.next(), offset)
    }

    #[test]
    fn finished_blocks_are_appended_and_the_last_one_replaced() {
        insta::assert_snapshot!(fragment("One.\n\nTwo <b>\n\nThr", at(6), 0));
    }

    #[test]
    fn what_a_poll_costs_does_not_grow_with_the_answer() {
        let paragraphs = 400;
        let (mut text, mut open, mut longest, mut all) = (String::new(), 0, 0, 0);
        for number in 0..paragraphs {
            let before = text.len();
            text = format!("{text}Paragraph {number} of a long answer.\n\n");
            let read = PageRead {
                position: at(before),
                open_bytes: open,
            };
            let delta = delta(
                read.from(),
                at(0).edition(),
                &text,
                Knowledge::Whole,
                1_000_000,
            );
            let poll = TokensPoll {
                message: MessageId(uuid::Uuid::from_u128(7)),
                delta,
                reasoning: None,
                status: Status::Pending,
                activity: Activity::Flowing,
            };
            let fragment = TokensFragment::new(&Place::Owners, poll, read, 300);
            open = match &fragment.text {
                TextChange::More(grown) | TextChange::Whole(grown) => grown.open_bytes,
                TextChange::Nothing | TextChange::Plain(_) => panic!("it has grown"),
            };
            let bytes = fragment.render().unwrap().len();
            longest = longest.max(bytes);
            all += bytes;
        }
        assert!(longest < 1_000, "the longest has {longest} bytes");
        assert!(all < paragraphs * 800, "all have {all} bytes");
    }

    #[test]
    fn a_text_of_another_edition_replaces_what_is_there() {
        insta::assert_snapshot!(fragment("Anew", Position::START, 0));
    }

    #[test]
    fn what_a_lagging_node_has_not_seen_is_no_change() {
        let fragment = fragment("One", at(3), 3);
        assert!(
            !fragment.contains("#open-") && fragment.contains("hx-trigger"),
            "{fragment}"
        );
    }

    #[test]
    fn a_client_that_says_nonsense_of_the_open_block_gets_its_answer() {
        let fragment = fragment("One", at(1), usize::MAX);
        assert!(fragment.contains("> .text\">ne</div>"), "{fragment}");
    }

    #[test]
    fn a_very_long_block_is_not_sent_again_and_again() {
        let text = format!("```\n{}", "x".repeat(2 * markdown::MAX_OPEN_BYTES));
        let bytes = markdown::MAX_OPEN_BYTES + 1;
        let fragment = fragment(&text, at(text.len() - 5), bytes);
        assert!(fragment.contains("> .text\">xxxxx</div>"), "{fragment}");
        assert!(
            fragment.contains(&format!("&amp;open={}", bytes + 5))
                || fragment.contains(&format!("&#38;open={}", bytes + 5)),
            "{fragment}"
        );
    }
}
