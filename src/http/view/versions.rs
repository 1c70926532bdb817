//! The versions of a message, and what a cancel says, as JSON and as HTML.

use askama::Template;
use entity::chat_message::Status;
use entity::{MessageId, RequestId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::markdown;
use super::message::MessageView;
use super::words::W;
use crate::chat::{Cancelled, Version, Versions};
use crate::model::failure::Failure;

/// The answer of a cancel.
#[derive(Debug, Serialize, ToSchema)]
pub struct CancelledView {
    /// Whether this call is what stopped it.
    pub cancelled: bool,
    /// The status that it found.
    pub found: Status,
    pub message: MessageView,
}

impl CancelledView {
    pub fn new(done: Cancelled) -> Self {
        Self {
            cancelled: done.cancelled,
            found: done.found,
            message: MessageView::new(done.message),
        }
    }
}

/// One of the texts that a message has had.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionView {
    pub number: i64,
    pub status: Status,
    pub content: String,
    pub truncated: bool,
    pub request_uuid: Option<RequestId>,
    pub error: Option<Failure>,
    pub completed_at: Option<Timestamp>,
    /// It is what the message shows now.
    pub selected: bool,
}

impl VersionView {
    fn new(version: Version) -> Self {
        Self {
            number: version.number,
            status: version.status,
            content: version.content,
            truncated: version.truncated,
            request_uuid: version.request,
            error: version.error,
            completed_at: version.completed_at,
            selected: version.selected,
        }
    }

    /// The text as HTML; already safe.
    pub fn html(&self) -> String {
        markdown::to_html(&self.content)
    }
}

/// All versions of a message, oldest first.
#[derive(Debug, Serialize, ToSchema, Template)]
#[template(path = "versions.html")]
pub struct VersionsView {
    pub message_uuid: MessageId,
    pub versions: Vec<VersionView>,
}

impl VersionsView {
    pub fn new(versions: Versions) -> Self {
        Self {
            message_uuid: versions.message,
            versions: versions
                .versions
                .into_iter()
                .map(VersionView::new)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_but_the_one_shown_can_be_chosen() {
        let version = |number, selected| VersionView {
            number,
            status: Status::Completed,
            content: format!("**{number}** <b>"),
            truncated: false,
            request_uuid: None,
            error: None,
            completed_at: None,
            selected,
        };
        let versions = VersionsView {
            message_uuid: MessageId(uuid::Uuid::from_u128(7)),
            versions: vec![version(1, false), version(2, true)],
        };
        insta::assert_snapshot!(versions.render().unwrap());
    }
}
