//! A client that does what docs/POLLING.md says, and complains if the server does not.

use std::collections::BTreeMap;

use entity::chat_message::Status;
use entity::{ChatId, MessageId, OwnerId};
use pollen::chat::{Chats, Cursors, MessageRead};
use pollen::model::delta::Delta;
use pollen::model::position::Position;

/// What a client knows of a message's two texts.
#[derive(Clone, Debug)]
pub struct Text {
    pub said: Channel,
    pub thought: Channel,
    pub status: Status,
}

/// What a client knows of one of them.
#[derive(Clone, Debug)]
pub struct Channel {
    pub so_far: String,
    position: Position,
}

impl Channel {
    fn new(so_far: &str, position: Position) -> Self {
        Self {
            so_far: so_far.to_owned(),
            position,
        }
    }

    fn apply(&mut self, delta: Delta) {
        assert!(
            delta.position >= self.position,
            "P2: {delta:?} after {self:?}"
        );
        if delta.append {
            self.so_far.push_str(&delta.tokens);
            let step = delta.position.get() - self.position.get();
            assert_eq!(
                step,
                delta.tokens.len() as u64,
                "P3: {delta:?} after {self:?}"
            );
        } else {
            self.so_far = delta.tokens;
        }
        self.position = delta.position;
        assert_eq!(
            self.position.offset(),
            self.so_far.len(),
            "P3: the text up to the position"
        );
    }
}

/// What a client knows of a message from the messages poll.
#[derive(Clone, Debug)]
pub struct Known {
    pub sequence: i64,
    pub status: Status,
    pub content: String,
    pub is_gone: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Feed {
    cursor: Option<MessageId>,
    revision: Option<i64>,
    pub known: BTreeMap<MessageId, Known>,
}

#[derive(Debug)]
pub struct Client {
    /// Whether it sends the revision along.
    pub sends_revision: bool,
    /// Whether it goes on from the texts that a message came with, instead of from 0.
    takes_content: bool,
    /// Whether it wants to know what the model thinks.
    pub reads_thoughts: bool,
    pub feeds: BTreeMap<ChatId, Feed>,
    texts: BTreeMap<MessageId, Text>,
}

impl Client {
    pub fn new(number: usize) -> Self {
        Self {
            sends_revision: number.is_multiple_of(2),
            takes_content: number < 2,
            reads_thoughts: number != 1,
            feeds: BTreeMap::new(),
            texts: BTreeMap::new(),
        }
    }

    /// Polls for messages until there are no more.
    pub async fn poll_messages(&mut self, chats: &Chats, chat: ChatId) {
        let feed = self.feeds.entry(chat).or_default();
        for _ in 0..100 {
            let owned = chats.own(OwnerId::LOCAL, chat).await.unwrap();
            let revision = feed.revision.filter(|_| self.sends_revision);
            let poll = chats
                .poll_messages(&owned, feed.cursor, revision)
                .await
                .unwrap();
            assert!(
                feed.revision.is_none_or(|before| before <= poll.revision),
                "the revision fell"
            );
            feed.revision = Some(poll.revision);
            feed.cursor = poll.cursor;
            for read in &poll.changed {
                assert!(revision.is_some(), "changes that nobody asked for");
                feed.known.insert(read.row.id, known(read));
            }
            for read in &poll.new {
                let before = feed.known.insert(read.row.id, known(read));
                assert!(before.is_none(), "a message was new twice");
                if self.takes_content {
                    self.texts.entry(read.row.id).or_insert_with(|| Text {
                        said: Channel::new(&read.content, read.position),
                        thought: Channel::new(&read.reasoning, read.reasoning_position),
                        status: Status::Pending,
                    });
                }
            }
            if !poll.has_more {
                return;
            }
        }
        panic!("there was always more");
    }

    /// Polls for a message's texts. What is known of them then.
    pub async fn poll_tokens(&mut self, chats: &Chats, id: MessageId) -> Text {
        let text = self.texts.entry(id).or_insert_with(|| Text {
            said: Channel::new("", Position::START),
            thought: Channel::new("", Position::START),
            status: Status::Pending,
        });
        let cursors = Cursors {
            text: text.said.position,
            reasoning: self.reads_thoughts.then_some(text.thought.position),
        };
        let poll = chats.poll_tokens(OwnerId::LOCAL, id, cursors).await;
        let poll = poll.unwrap();
        text.said.apply(poll.delta);
        assert_eq!(
            poll.reasoning.is_some(),
            self.reads_thoughts,
            "only who asks is told"
        );
        if let Some(thoughts) = poll.reasoning {
            text.thought.apply(thoughts);
        }
        text.status = poll.status;
        text.clone()
    }
}

fn known(read: &MessageRead) -> Known {
    Known {
        sequence: read.row.sequence,
        status: read.row.status,
        content: read.content.clone(),
        is_gone: read.row.deleted_at.is_some() || read.row.superseded_at.is_some(),
    }
}
