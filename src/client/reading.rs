//! Reading one message as it grows (P1 to P7 of docs/POLLING.md).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::call::Client;
use super::error::Error;
use super::pace::Pace;
use super::shapes::{Message, Status};

/// Where somebody is in a message. Written down together with the text that has come so far, it goes on later, and
/// ends with exactly the stored text (P4).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    message: Uuid,
    position: u64,
    /// The end of the text has come.
    #[serde(default)]
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
        loop {
            if self.is_over {
                let message = client.message(self.message).await?;
                if message.status.is_over() {
                    return Ok(Piece::Ended(Box::new(message)));
                }
                // It was asked again in this very moment.
                self.is_over = false;
            }
            self.pace.wait().await;
            let poll = client.tokens(self.message, self.position).await?;
            self.position = poll.position;
            self.is_over = poll.status != Status::Pending;
            self.pace = Pace::after(poll.poll_after_ms);
            if !poll.append {
                return Ok(Piece::Replaced(poll.tokens));
            }
            if !poll.tokens.is_empty() {
                return Ok(Piece::Appended(poll.tokens));
            }
        }
    }
}
