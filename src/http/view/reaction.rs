//! What a user thinks of an answer, as part of its message.

use entity::chat_message::{Model as Message, Reaction};
use serde::Serialize;
use utoipa::ToSchema;

/// Null in the message where nobody has said anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReactionView {
    pub reaction: Reaction,
    /// Why, in the user's words.
    pub comment: Option<String>,
}

impl ReactionView {
    pub fn of(message: &Message) -> Option<Self> {
        message.reaction.map(|reaction| Self {
            reaction,
            comment: message.reaction_comment.clone(),
        })
    }
}
