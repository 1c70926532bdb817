//! A chat as a page that needs nothing else: its style is in it, and it has no script and no address but those that were said.

use askama::Template;
use entity::MessageId;
use entity::Timestamp;
use entity::chat_message::Status;

use super::markdown;
use super::words::{self, W};
use crate::model::exchange::{ChatDocument, MessageDocument, Speaker};

/// Its style. Small, for it is in each page.
const STYLE: &str = include_str!("../templates/export.css");

#[derive(Template)]
#[template(path = "export.html")]
pub struct ExportPage {
    document: ChatDocument,
    messages: Vec<ExportedMessage>,
    about: String,
    style: &'static str,
}

struct ExportedMessage {
    uuid: MessageId,
    role: &'static str,
    speaker: &'static str,
    model: Option<String>,
    created_at: String,
    time: String,
    /// An answer's Markdown as HTML that went through the sanitiser. None: it was typed, and is escaped by the template.
    html: Option<String>,
    content: String,
    reasoning: String,
    note: Option<String>,
}

impl ExportPage {
    /// It has Markdown to do, and takes its time.
    pub fn new(mut document: ChatDocument) -> Self {
        let messages = std::mem::take(&mut document.messages);
        Self {
            messages: messages.into_iter().map(ExportedMessage::new).collect(),
            about: about(&document),
            style: STYLE,
            document,
        }
    }
}

impl ExportedMessage {
    fn new(message: MessageDocument) -> Self {
        let note = note(&message);
        let is_answer = message.role == Speaker::Assistant;
        Self {
            uuid: message.uuid,
            role: if is_answer { "assistant" } else { "user" },
            speaker: message.role.as_str(),
            created_at: message.created_at.to_rfc3339(),
            time: time(message.created_at),
            html: is_answer.then(|| markdown::to_html(&message.content)),
            content: message.content,
            reasoning: message.reasoning,
            model: message.model,
            note,
        }
    }
}

/// What is said below a chat's title.
pub fn about(document: &ChatDocument) -> String {
    let times = (time(document.created_at), time(document.updated_at));
    let mut about = words::put(W.exported_about, times.0).replacen("{}", &times.1, 1);
    for name in [&document.agent, &document.model].into_iter().flatten() {
        about.push_str(" · ");
        about.push_str(name);
    }
    about
}

/// What is said below a message that is not what it was to be.
pub fn note(message: &MessageDocument) -> Option<String> {
    let why = message.error.as_ref().map(|error| error.message.as_str());
    let why = why.filter(|why| !why.is_empty()).map(str::to_owned);
    match message.status {
        Status::Completed => None,
        Status::Pending => Some(W.exported_pending.to_owned()),
        Status::Failed => Some(why.unwrap_or_else(|| W.exported_failed.to_owned())),
        Status::Cancelled => Some(why.unwrap_or_else(|| W.exported_cancelled.to_owned())),
    }
}

/// A time in a file, which nobody knows where it will be read.
pub fn time(at: Timestamp) -> String {
    at.to_datetime().format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::exchange::SCHEMA;

    fn document(answer: &str) -> ChatDocument {
        let uuid = uuid::Uuid::from_u128;
        let time = "2026-11-28T09:30:00.250Z";
        serde_json::from_value(json!({
            "schema": SCHEMA, "version": 1, "uuid": uuid(1), "title": "Tea & <biscuits>", "model": "demo",
            "created_at": time, "updated_at": time,
            "messages": [
                {"uuid": uuid(2), "role": "user", "status": "completed", "content": "Tea <now>?\n\nאו קפה", "created_at": time},
                {"uuid": uuid(3), "role": "assistant", "status": "failed", "content": answer, "reply_to": uuid(2), "model": "demo",
                 "reasoning": "<b>hm</b>", "error": {"code": "provider_error", "message": "It <failed>."}, "created_at": time},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn an_exported_page() {
        let answer =
            "# Yes\n\n- *one*\n\n```rust\nfn main() {}\n```\n\n| a | b |\n| - | - |\n| 1 | 2 |\n";
        insta::assert_snapshot!(ExportPage::new(document(answer)).render().unwrap());
    }

    #[test]
    fn an_exported_page_has_nothing_of_elsewhere_and_no_script() {
        let answer = "<script>alert(1)</script> ![p](http://evil.example/?q=1) [l](javascript:alert(1)) <img src=x onerror=a()>";
        let page = ExportPage::new(document(answer)).render().unwrap();
        assert!(
            !page.contains("<script") && !page.contains("<img") && !page.contains("<link"),
            "{page}"
        );
        assert!(
            !page.contains("href=\"javascript") && !page.contains(" src=\""),
            "{page}"
        );
        assert!(!page.contains("<b>hm") && !page.contains("<now>"), "{page}");
    }
}
