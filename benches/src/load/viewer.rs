//! One who watches an answer grow: what they have of it, and what they ask for next.

use std::sync::LazyLock;
use std::time::Duration;

use memchr::memmem::{self, Finder};

use super::connection::Answer;
use crate::http;
use crate::talks::Talk;

static POSITION: LazyLock<Finder> = LazyLock::new(|| Finder::new("\"position\":"));
static REVISION: LazyLock<Finder> = LazyLock::new(|| Finder::new("\"revision\":"));
const CURSOR: &[u8] = b"\"last_uuid\":\"";

/// Somebody who reads an answer, and what they have of it.
pub struct Viewer {
    pub chat: String,
    pub answer: String,
    pub cursor: String,
    pub revision: u64,
    pub position: u64,
    /// Which of their pairs of polls comes next, or is under way.
    pub round: u32,
    pub state: State,
    /// Where they are in the queue: so long after the others' beginning they are due.
    pub offset: Duration,
    /// Which node they ask this time.
    pub node: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    Idle,
    Messages,
    Tokens,
}

impl Viewer {
    pub fn of(talk: &Talk) -> Self {
        Self {
            chat: talk.chat.clone(),
            answer: talk.answer.clone(),
            cursor: talk.answer.clone(),
            revision: talk.revision,
            position: talk.position,
            round: 0,
            state: State::Idle,
            offset: Duration::ZERO,
            node: 0,
        }
    }

    /// Where to go on. None if it was no answer.
    pub fn take(&mut self, answer: &Answer) -> Option<()> {
        if answer.status != 200 {
            return None;
        }
        if self.state == State::Tokens {
            self.position = http::last_number(answer.body, &POSITION)?;
            return Some(());
        }
        self.revision = http::last_number(answer.body, &REVISION)?;
        let at = memmem::rfind(answer.body, CURSOR)? + CURSOR.len();
        let cursor = answer.body.get(at..at + self.cursor.len())?;
        if cursor != self.cursor.as_bytes() {
            std::str::from_utf8(cursor)
                .ok()?
                .clone_into(&mut self.cursor);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer() -> Viewer {
        Viewer::of(&Talk {
            chat: "c".into(),
            answer: "0199".into(),
            revision: 1,
            position: 0,
        })
    }

    #[test]
    fn a_viewer_goes_on_where_the_answers_end() {
        let mut viewer = viewer();
        viewer.state = State::Messages;
        let body = br#"{"messages":[],"revision":4,"has_more":false,"poll_after_ms":300,"last_uuid":"0200"}"#;
        assert!(viewer.take(&Answer { status: 200, body }).is_some());
        viewer.state = State::Tokens;
        let body =
            br#"{"tokens":"a","status":"pending","append":true,"position":9,"poll_after_ms":300}"#;
        assert!(viewer.take(&Answer { status: 200, body }).is_some());
        assert_eq!(
            (viewer.revision, viewer.cursor.as_str(), viewer.position),
            (4, "0200", 9)
        );
        assert!(viewer.take(&Answer { status: 503, body }).is_none());
    }
}
