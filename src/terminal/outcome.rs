//! How a command of the terminal client ends: its exit status is part of what scripts rely on (docs/CLIENT.md).

use std::io;

use super::clean::clean_line;
use crate::client::{Error, Message, Status};

/// What a shell expects of what was interrupted: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a whole answer.
    Completed,
    /// The answer failed, or somebody else stopped it.
    Failed,
    /// It was called in a way that makes no sense.
    Misused,
    /// The server cannot be reached, or does not do what it was asked.
    Refused,
    /// Ctrl-C.
    Interrupted,
}

impl Outcome {
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::Failed => 1,
            Self::Misused => 2,
            Self::Refused => 3,
            Self::Interrupted => INTERRUPTED,
        }
    }

    /// By an answer that is over.
    pub(super) fn of(message: &Message, was_interrupted: bool) -> Self {
        match message.status {
            Status::Completed => Self::Completed,
            Status::Cancelled if was_interrupted => Self::Interrupted,
            Status::Pending | Status::Failed | Status::Cancelled => Self::Failed,
        }
    }
}

/// What ends a command before its work is done.
#[derive(Debug)]
pub(super) enum Stopped {
    /// This is to be said.
    Said {
        outcome: Outcome,
        words: String,
    },
    /// The server, or the way there.
    Server(Error),
    /// A second Ctrl-C.
    Interrupted,
    /// Nobody reads what is written any more: no reason to say anything.
    Unread,
    Output(io::Error),
}

impl Stopped {
    pub fn misused(words: impl Into<String>) -> Self {
        Self::Said {
            outcome: Outcome::Misused,
            words: words.into(),
        }
    }

    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Said { outcome, .. } => *outcome,
            Self::Server(_) | Self::Output(_) => Outcome::Refused,
            Self::Interrupted => Outcome::Interrupted,
            Self::Unread => Outcome::Completed,
        }
    }

    /// For programs: a word for what happened.
    pub fn code(&self) -> String {
        match self {
            Self::Said { .. } => "misused".to_owned(),
            Self::Server(error) => match error {
                Error::Unreachable { .. } => "unreachable".to_owned(),
                Error::NotPollen { .. } => "not-pollen".to_owned(),
                Error::Refused(problem) if !problem.slug().is_empty() => problem.slug().to_owned(),
                Error::Refused(_) => "refused".to_owned(),
                Error::Address { .. }
                | Error::PlainHttp { .. }
                | Error::Token
                | Error::Setup(_) => "misused".to_owned(),
            },
            Self::Interrupted => "interrupted".to_owned(),
            Self::Unread | Self::Output(_) => "output".to_owned(),
        }
    }

    /// For people, in one line, and what they can do; empty if there is nothing to say.
    pub fn words(&self) -> String {
        let words = match self {
            Self::Said { words, .. } => words.clone(),
            Self::Server(error) => match advice(error) {
                Some(advice) => format!("{error}. {advice}"),
                None => error.to_string(),
            },
            Self::Interrupted | Self::Unread => String::new(),
            Self::Output(error) => format!("the terminal cannot be read or written: {error}"),
        };
        clean_line(&words)
    }
}

fn advice(error: &Error) -> Option<&'static str> {
    match error {
        Error::Unreachable { .. } => Some(
            "Is a server running there? `pollen` starts one here; --url or POLLEN_URL names another",
        ),
        Error::PlainHttp { .. } => Some("--insecure sends it all the same"),
        Error::Refused(problem) => match problem.status {
            401 => Some("Give a token by POLLEN_TOKEN or --token"),
            404 if problem.slug() == "chat-not-found" => {
                Some("A chat is found by whoever began it: with the same token, on the same server")
            }
            _ => None,
        },
        _ => None,
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        match error {
            Error::Address { .. } | Error::PlainHttp { .. } | Error::Token => Self::Said {
                outcome: Outcome::Misused,
                words: match advice(&error) {
                    Some(advice) => format!("{error}. {advice}"),
                    None => error.to_string(),
                },
            },
            error => Self::Server(error),
        }
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Unread
        } else {
            Self::Output(error)
        }
    }
}
