//! A page of a whole conversation, as JSON.

use entity::MessageId;
use serde::Serialize;
use utoipa::ToSchema;

use super::message::MessageView;
use crate::chat::History;

/// A page of what was said.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryView {
    /// Oldest first, in the order in which they were said.
    pub messages: Vec<MessageView>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<MessageId>,
    pub has_more: bool,
}

impl HistoryView {
    pub fn new(history: History) -> Self {
        Self {
            messages: history.messages.into_iter().map(MessageView::new).collect(),
            has_more: history.next.is_some(),
            next: history.next,
        }
    }
}
