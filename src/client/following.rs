//! Following a chat: its messages as they come, and what changes of those that have come (P10, P11).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::call::Client;
use super::error::Error;
use super::pace::Pace;
use super::shapes::Message;

/// Where somebody is in a chat. It can be written down, and goes on later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Following {
    chat: Uuid,
    last: Option<Uuid>,
    revision: Option<u64>,
    #[serde(skip)]
    pace: Pace,
}

impl Following {
    /// From the chat's first message on.
    #[must_use]
    pub fn new(chat: Uuid) -> Self {
        Self {
            chat,
            last: None,
            revision: None,
            pace: Pace::default(),
        }
    }

    /// From behind a message on, and with all changes since a revision of the chat's.
    #[must_use]
    pub fn behind(chat: Uuid, last: Uuid, revision: u64) -> Self {
        Self {
            last: Some(last),
            revision: Some(revision),
            ..Self::new(chat)
        }
    }

    #[must_use]
    pub fn chat(&self) -> Uuid {
        self.chat
    }

    /// The revision up to which everything is known; none before the first poll.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// One poll: messages that are new or have changed, or none; and whether there are more already. A message may come
    /// again: file them under their UUIDs.
    ///
    /// # Errors
    /// If the server says no, or the patience is at its end.
    pub async fn poll(&mut self, client: &Client) -> Result<(Vec<Message>, bool), Error> {
        self.pace.wait().await;
        let poll = client.messages(self.chat, self.last, self.revision).await?;
        self.last = poll.last_uuid.or(self.last);
        self.revision = Some(poll.revision);
        self.pace = Pace::after(poll.poll_after_ms);
        Ok((poll.messages, poll.has_more))
    }

    /// Everything that there is now, which may be nothing.
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub async fn catch_up(&mut self, client: &Client) -> Result<Vec<Message>, Error> {
        self.pace = Pace::default();
        let mut all = Vec::new();
        loop {
            let (messages, has_more) = self.poll(client).await?;
            all.extend(messages);
            if !has_more {
                return Ok(all);
            }
        }
    }

    /// Waits until there is something.
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub async fn next(&mut self, client: &Client) -> Result<Vec<Message>, Error> {
        loop {
            let (messages, _) = self.poll(client).await?;
            if !messages.is_empty() {
                return Ok(messages);
            }
        }
    }
}
