//! What threads and conversations have in common: each is a chat of the caller's, under another name.

use std::collections::BTreeMap;

use entity::chat::Model as Chat;
use entity::{ChatId, OwnerId};

use super::ids;
use crate::chat::{AccessError, ChatUpdate, OwnedChat};
use crate::http::AppState;
use crate::http::problem::Problem;

/// The chat of this id. `missing`: what is said where there is none.
pub async fn own(
    app: &AppState,
    owner: OwnerId,
    id: &str,
    missing: impl Fn(&str) -> Problem,
) -> Result<OwnedChat, Problem> {
    let uuid = ids::read(id).ok_or_else(|| missing(id))?;
    let found = app.chats.own(owner, ChatId(uuid)).await;
    found.map_err(|error| match error {
        AccessError::NotFound => missing(id),
        error @ AccessError::Store(_) => error.into(),
    })
}

/// Sets what the program keeps with it; none leaves it. The chat as it then is.
pub async fn keep(
    app: &AppState,
    chat: &OwnedChat,
    metadata: Option<BTreeMap<String, String>>,
) -> Result<Chat, Problem> {
    let Some(metadata) = metadata else {
        return Ok(chat.row().clone());
    };
    let update = ChatUpdate {
        metadata: Some(metadata),
        ..ChatUpdate::default()
    };
    let updated = app.chats.update(chat, update).await;
    updated.map_err(|error| Problem::from(error).of_param("metadata", "invalid_value"))
}
