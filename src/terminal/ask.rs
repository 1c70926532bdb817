//! `pollen ask`: one question, one answer, and an exit status that says how it went.

use std::io::{self, IsTerminal as _, Read as _};

use serde::Serialize;
use uuid::Uuid;

use super::clean::clean_json;
use super::outcome::{Outcome, Stopped};
use super::screen::{Colour, Screen, complain, put};
use super::show::{OnInterrupt, Shown, end, show, wait};
use super::way::{Server, Way};
use crate::client::{AnswerError, NewChat, NewMessage, Status};

/// What is asked, of whom, and how it is told.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub server: Server,
    /// None or `-`: it is on standard input.
    pub question: Option<String>,
    /// The chat that it goes on with; none: a new one.
    pub chat: Option<Uuid>,
    pub model: Option<String>,
    pub agent: Option<String>,
    pub json: bool,
    /// The text as it is, not rendered.
    pub raw: bool,
    /// Nothing but the answer.
    pub quiet: bool,
    pub colour: Colour,
}

/// What `--json` prints.
#[derive(Serialize, Default)]
struct Report {
    chat: Option<Uuid>,
    /// The message that asked.
    question: Option<Uuid>,
    /// The message that answers.
    message: Option<Uuid>,
    status: Option<Status>,
    content: Option<String>,
    error: Option<AnswerError>,
    model: Option<String>,
    finish_reason: Option<String>,
}

/// Asks, and shows the answer.
pub async fn ask(ask: Ask) -> Outcome {
    let is_json = ask.json;
    let mut report = Report::default();
    match answered(ask, &mut report).await {
        Ok(outcome) => outcome,
        Err(stopped) => {
            let chat = report.chat;
            if is_json && !matches!(stopped, Stopped::Unread | Stopped::Output(_)) {
                report.error = Some(AnswerError {
                    code: stopped.code(),
                    message: stopped.words(),
                });
                // What cannot be written cannot be told either.
                let _ = report.print();
            }
            let outcome = end(&stopped);
            if let (Some(chat), Stopped::Server(_) | Stopped::Interrupted) = (chat, &stopped) {
                complain(&format!(
                    "pollen: it may go on without you: pollen tail {chat}"
                ));
            }
            outcome
        }
    }
}

/// `report`: what is known as soon as it is known.
async fn answered(ask: Ask, report: &mut Report) -> Result<Outcome, Stopped> {
    let mut screen = Screen::find(ask.colour, ask.raw || ask.json);
    if ask.json {
        screen = screen.silent();
    }
    let question = question(ask.question.as_deref())?;
    let mut way = Way::open(&ask.server)?;
    let client = way.client.clone();
    let mut is_interrupted = false;
    let mut answer = if let Some(chat) = ask.chat {
        let new = NewMessage {
            model: ask.model,
            ..NewMessage::new(question)
        };
        let asked = client.ask_in(chat, &new);
        wait(&mut way, screen, &mut is_interrupted, asked).await?
    } else {
        let new = NewChat {
            model: ask.model,
            agent: ask.agent,
            ..NewChat::asking(question)
        };
        let asked = client.ask(&new);
        wait(&mut way, screen, &mut is_interrupted, asked).await?.1
    };
    way.has_answered();
    let chat = answer.chat();
    (report.chat, report.question) = (Some(chat), Some(answer.question()));
    let shown = show(
        &mut way,
        screen,
        &mut answer,
        OnInterrupt::Cancel,
        is_interrupted,
    )
    .await?;
    let outcome = match &shown.message {
        Some(message) => Outcome::of(message, shown.was_interrupted),
        None if shown.was_interrupted => Outcome::Interrupted,
        None => Outcome::Failed,
    };
    if ask.json {
        report.fill(shown);
        report.print()?;
        return Ok(outcome);
    }
    if screen.is_silent() {
        put(&shown.text)?;
    }
    if let Some(words) = remark(&shown) {
        complain(&screen.styled(&format!("pollen: {words}"), super::lines::WRONG));
    }
    if !ask.quiet && screen.is_terminal {
        screen.note(&format!("to go on: pollen ask --chat {chat} …"));
    }
    Ok(outcome)
}

/// What has to be said of an answer that is not a whole one.
pub(super) fn remark(shown: &Shown) -> Option<String> {
    let Some(message) = &shown.message else {
        return Some("the question was taken back before it was answered".to_owned());
    };
    let error = message.error.as_ref();
    match message.status {
        Status::Cancelled if shown.was_interrupted => Some("stopped".to_owned()),
        Status::Cancelled => Some("somebody stopped this answer".to_owned()),
        Status::Failed | Status::Pending => {
            let said = error.map_or_else(String::new, |e| format!(": {} ({})", e.message, e.code));
            Some(format!("the answer failed{said}"))
        }
        Status::Completed if message.finish_reason.as_deref() == Some("length") => {
            Some("the answer is as long as it may be, and was cut there".to_owned())
        }
        Status::Completed => None,
    }
}

/// The question: words, standard input, or both.
fn question(words: Option<&str>) -> Result<String, Stopped> {
    let is_typed = io::stdin().is_terminal();
    let words = words.filter(|words| *words != "-");
    let piped = if is_typed {
        String::new()
    } else {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        String::from_utf8(bytes)
            .map_err(|_| Stopped::misused("standard input is no text in UTF-8"))?
    };
    let question = match (words, piped.trim().is_empty()) {
        (Some(words), true) => words.to_owned(),
        (Some(words), false) => format!("{words}\n\n{piped}"),
        (None, _) => piped,
    };
    if question.trim().is_empty() {
        return Err(Stopped::misused(
            "there is no question. Try: pollen ask \"What are you?\", or: git diff | pollen ask \"What changes here?\"",
        ));
    }
    Ok(question)
}

impl Report {
    fn fill(&mut self, shown: Shown) {
        self.content = Some(shown.text);
        self.status = Some(Status::Cancelled);
        if let Some(message) = shown.message {
            self.message = Some(message.uuid);
            self.status = Some(message.status);
            self.error = message.error;
            self.model = message.model;
            self.finish_reason = message.finish_reason;
        }
    }

    fn print(&self) -> Result<(), Stopped> {
        let json = serde_json::to_string(self).map_err(io::Error::from)?;
        put(&(clean_json(&json) + "\n"))?;
        Ok(())
    }
}
