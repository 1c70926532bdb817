//! Fuzz targets: the numbers and words that a client sends.

use entity::Timestamp;

use super::agent::{Values, render, unknown_variable};
use super::command::{self, Parsed};
use super::delta::{Knowledge, delta};
use super::position::{Edition, MAX_POSITION, Position};
use super::search::{SearchWords, snippet};
use super::text::{AgentAlias, Comment, MessageText, ModelName, Title, plain_words, storable};

/// A text with characters of one to four bytes, for positions to point into.
const SAMPLE: &str = "a\u{e9}\u{20ac}\u{1f980} and so on";
/// Bytes that one answer carries of it.
const ANSWER_BYTES: usize = 7;
const MESSAGE_BYTES: usize = 1_024;

/// A position, as it stands in a path: what is taken is in range and is given out again (P1), and what
/// a poll from there gets keeps P3, P5 and P6.
pub(crate) fn position(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(from) = text.parse::<Position>() else {
        return;
    };
    assert!(from.get() <= MAX_POSITION);
    assert_eq!(from.to_string().parse(), Ok(from));
    assert_eq!(Position::new(from.edition(), from.offset()), from);
    for edition in [Edition::FIRST, from.edition(), from.edition().next()] {
        for knowledge in [Knowledge::Whole, Knowledge::Following] {
            polled(from, edition, knowledge);
        }
    }
}

fn polled(from: Position, edition: Edition, knowledge: Knowledge) {
    let got = delta(from, edition, SAMPLE, knowledge, ANSWER_BYTES);
    assert!(got.tokens.len() <= ANSWER_BYTES);
    if got.append && got.tokens.is_empty() {
        assert_eq!(got.position, from);
    } else {
        let start = if got.append { from.offset() } else { 0 };
        let end = start + got.tokens.len();
        assert_eq!(SAMPLE.get(start..end), Some(got.tokens.as_str()));
        assert_eq!(got.position, Position::new(edition, end));
    }
}

/// A text that somebody types: words to look for on the first line, and all of it as a message, a
/// command, a title. What is taken keeps the promises of its type.
pub(crate) fn text(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    looked_for(text);
    written(text);
    if let Parsed::Command { argument, .. } = command::parse(text) {
        assert!(text.contains(&argument));
    }
    assert!(!storable(text).contains('\0'));
    let words = plain_words(text);
    assert!(!words.contains('\n'), "{words:?}");
    let values = Values {
        now: Timestamp(0),
        user: text,
        agent: "a",
        model: "m",
    };
    if unknown_variable(text).is_none() && !text.contains("{{") {
        assert_eq!(render(text, &values), text);
    }
    let _ = render(text, &values);
}

fn looked_for(text: &str) {
    let words = SearchWords::parse(text.lines().next().unwrap_or_default());
    for word in words.iter() {
        assert!(
            !word.contains(|c: char| c.is_whitespace() || c.is_control() || "\"'*%_".contains(c))
        );
    }
    let pieces = snippet(text, &words);
    let shown: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    assert!(!shown.contains(char::is_control), "{shown:?}");
    assert!(pieces.iter().all(|piece| !piece.text.is_empty()));
}

fn written(text: &str) {
    if let Ok(message) = MessageText::parse(text.to_owned(), MESSAGE_BYTES) {
        assert_eq!(message.as_str(), text);
        let title = message.derive_title().into_string();
        assert!(Title::parse(&title).is_ok(), "{title:?}");
    }
    for title in [Title::parse(text), Title::of_model(text)] {
        let title = title.map(Title::into_string);
        let again = title.as_deref().map(Title::parse);
        assert!(!matches!(again, Ok(Err(_))), "{title:?}");
    }
    if let Ok(alias) = AgentAlias::parse(text) {
        assert!(alias.into_string().is_ascii());
    }
    if let Ok(model) = ModelName::parse(text) {
        assert!(!model.as_str().contains(char::is_whitespace));
    }
    if let Ok(Some(comment)) = Comment::parse(text) {
        assert!(!comment.into_string().trim().is_empty());
    }
}
