//! A document to be read: as Markdown, and as plain text.

use std::fmt::Write as _;

use super::{ChatDocument, Speaker};

/// The chat as Markdown: its title, and each message below who says it.
#[must_use]
pub fn as_markdown(document: &ChatDocument) -> String {
    let mut out = format!("# {}\n", document.title);
    for message in &document.messages {
        let content = message.content.trim_end();
        // Writing to a String cannot fail.
        let _ = write!(out, "\n## {}\n\n{content}\n", message.role.as_str());
    }
    out
}

/// The same without marks.
#[must_use]
pub fn as_text(document: &ChatDocument) -> String {
    let mut out = format!("{}\n", document.title);
    for message in &document.messages {
        let content = message.content.trim_end();
        let _ = write!(out, "\n{}:\n{content}\n", message.role.as_str());
    }
    out
}

impl Speaker {
    /// As a reader is told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "You",
            Self::Assistant => "Assistant",
        }
    }
}
