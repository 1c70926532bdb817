//! Reading one message as it grows (P1 to P7 of docs/POLLING.md).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::call::Client;
use super::error::Error;
use super::pace::Pace;
use super::shapes::{Message, Status};

/// Milliseconds between two polls that find nothing, at least, whatever the server says.
const LEAST_PAUSE_MS: u64 = 100;

/// Where somebody is in a message. Written down together with the text that has come so far, it goes on later, and
/// ends with exactly the stored text (P4).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    message: Uuid,
    position: u64,
    /// The end of the text has come. Whoever goes on later looks again: it may have begun anew.
    #[serde(skip)]
    is_over: bool,
    #[serde(skip)]
    pace: Pace,
}

/// What has come of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// It goes behind what there is.
    Appended(String),
    /// It takes the place of all that there is: the answer is written anew.
    Replaced(String),
    /// That was all. The message as it is stored.
    Ended(Box<Message>),
}

impl Reading {
    /// From the beginning.
    #[must_use]
    pub fn new(message: Uuid) -> Self {
        Self::at(message, 0)
    }

    /// From where a messages poll has left off: its `content` is there, and this is its `position`.
    #[must_use]
    pub fn at(message: Uuid, position: u64) -> Self {
        Self {
            message,
            position,
            is_over: false,
            pace: Pace::default(),
        }
    }

    #[must_use]
    pub fn message(&self) -> Uuid {
        self.message
    }

    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Waits until there is more. After an error it may be called again, and goes on where it was.
    ///
    /// # Errors
    /// If the server says no, or the patience is at its end.
    pub async fn next(&mut self, client: &Client) -> Result<Piece, Error> {
        let mut is_sure = false;
        loop {
            if self.is_over {
                let message = client.message(self.message).await?;
                let is_same = message.truncated || message.position == self.position;
                if message.status.is_over() && (is_same || is_sure) {
                    return Ok(Piece::Ended(Box::new(message)));
                }
                // It was asked again in this very moment, or another version is shown: its text comes first.
                is_sure = message.status.is_over();
                self.is_over = false;
            }
            self.pace.wait().await;
            let poll = client.tokens(self.message, self.position).await?;
            self.position = poll.position;
            self.is_over = poll.status != Status::Pending;
            let is_news = !poll.append || !poll.tokens.is_empty();
            let least = if is_news { 0 } else { LEAST_PAUSE_MS };
            self.pace = Pace::after(poll.poll_after_ms.max(least));
            if !poll.append {
                return Ok(Piece::Replaced(poll.tokens));
            }
            if !poll.tokens.is_empty() {
                return Ok(Piece::Appended(poll.tokens));
            }
        }
    }
}
