//! The answer to a question, from the moment the question is sent: first it is waited for, then it is read.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::call::Client;
use super::error::Error;
use super::following::Following;
use super::reading::{Piece, Reading};
use super::shapes::{Chat, Message, NewChat, NewMessage, Role, Status};

/// An answer that is to come. It can be written down after any step, and goes on later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    question: Uuid,
    following: Following,
    reading: Option<Reading>,
    /// It is to be stopped as soon as it is there.
    #[serde(default)]
    is_stopped: bool,
}

/// What has come of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The question has been taken up, and this is its answer; what there is of its text comes next.
    Begun(Box<Message>),
    /// It goes behind what there is.
    Appended(String),
    /// It takes the place of all that there is: the answer is written anew.
    Replaced(String),
    /// That was all. The message as it is stored, with its status.
    Ended(Box<Message>),
    /// There will be no answer: the question was taken back before.
    Withdrawn,
}

impl Answer {
    /// The answer to a message that was sent.
    ///
    /// `revision`: one of the chat's from before the message was sent, or 0; what has changed since is looked at.
    #[must_use]
    pub fn to(question: &Message, revision: u64) -> Self {
        Self {
            question: question.uuid,
            following: Following::behind(question.chat_uuid, question.uuid, revision),
            reading: None,
            is_stopped: false,
        }
    }

    /// An answer that there is already, from its beginning.
    #[must_use]
    pub fn of(answer: &Message) -> Self {
        Self {
            question: answer.reply_to.unwrap_or(answer.uuid),
            following: Following::behind(answer.chat_uuid, answer.uuid, 0),
            reading: Some(Reading::new(answer.uuid)),
            is_stopped: false,
        }
    }

    #[must_use]
    pub fn chat(&self) -> Uuid {
        self.following.chat()
    }

    /// The message that asked.
    #[must_use]
    pub fn question(&self) -> Uuid {
        self.question
    }

    /// The message that answers, once there is one.
    #[must_use]
    pub fn message(&self) -> Option<Uuid> {
        self.reading.as_ref().map(Reading::message)
    }

    /// Waits until there is more. After an error it may be called again, and goes on where it was.
    ///
    /// # Errors
    /// If the server says no, or the patience is at its end.
    pub async fn next(&mut self, client: &Client) -> Result<Progress, Error> {
        if let Some(reading) = &mut self.reading {
            if self.is_stopped {
                client.cancel(reading.message()).await?;
                self.is_stopped = false;
            }
            return Ok(match reading.next(client).await? {
                Piece::Appended(text) => Progress::Appended(text),
                Piece::Replaced(text) => Progress::Replaced(text),
                Piece::Ended(message) => Progress::Ended(message),
            });
        }
        loop {
            let messages = self.following.next(client).await?;
            for message in messages {
                if self.is_answer(&message) {
                    self.reading = Some(Reading::new(message.uuid));
                    return Ok(Progress::Begun(Box::new(message)));
                }
                let is_gone = message.deleted || message.status == Status::Cancelled;
                if message.uuid == self.question && is_gone {
                    return Ok(Progress::Withdrawn);
                }
            }
        }
    }

    fn is_answer(&self, message: &Message) -> bool {
        message.reply_to == Some(self.question)
            && matches!(message.role, Role::Assistant | Role::Agent)
    }

    /// Stops the answer on the server, or takes the question back if it waits. What has come stays, and [`Self::next`]
    /// tells the end.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn cancel(&mut self, client: &Client) -> Result<(), Error> {
        let found = client
            .cancel(self.message().unwrap_or(self.question))
            .await?;
        // It was taken up in this very moment: its answer is stopped when it is seen.
        self.is_stopped = self.reading.is_none() && !found.cancelled;
        Ok(())
    }
}

impl Client {
    /// Makes a chat with a question in it: the chat, and the answer that is to come. It may be repeated.
    ///
    /// # Errors
    /// If the server says no, or the patience is at its end, or there is no question.
    pub async fn ask(&self, new: &NewChat) -> Result<(Chat, Answer), Error> {
        let created = self.create(new).await?;
        let question = created.message.ok_or_else(|| Error::NotPollen {
            address: self.address().to_owned(),
            reason: "there is no first message in the new chat".to_owned(),
        })?;
        // What a chat has at its first revision is its question.
        let answer = Answer::to(&question, 0);
        Ok((created.chat, answer))
    }

    /// Asks in a chat that there is.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_in(&self, chat: Uuid, new: &NewMessage) -> Result<Answer, Error> {
        let before = self.chat(chat).await?;
        let sent = self.send(chat, new).await?;
        Ok(Answer::to(&sent.message, before.revision))
    }
}
