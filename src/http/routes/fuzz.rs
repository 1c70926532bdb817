//! For the fuzz targets: what the routes read out of queries, bodies and headers, with the routes' own types.

use axum::http::{HeaderMap, Uri};
use serde::de::DeserializeOwned;

use super::{chat, home, list, message, messages, reaction, search, theme, usage};
use crate::http::body::decode;
use crate::http::extract::{params_of, parse_position, parse_uuid};
use crate::model::position::Position;

pub(in crate::http) fn came_from(headers: &HeaderMap) -> String {
    theme::came_from(headers)
}

/// Reads a query as each route does that has one.
pub(in crate::http) fn queries(uri: &Uri) {
    read::<messages::PollParams>(uri);
    read::<message::TokensParams>(uri);
    read::<search::SearchParams>(uri);
    read::<usage::UsageParams>(uri);
    read::<list::ListParams>(uri);
    read::<list::PageParams>(uri);
    read::<home::HomeParams>(uri);
    read::<chat::ReadParams>(uri);
    read::<chat::ExportParams>(uri);
    // What the routes make of a value.
    for (_, value) in params_of::<Vec<(String, String)>>(uri).unwrap_or_default() {
        let _ = usage::day("from", &value);
        if let Ok(uuid) = parse_uuid("after", &value) {
            assert_eq!(uuid.to_string(), value.to_ascii_lowercase());
        }
    }
}

fn read<T: DeserializeOwned>(uri: &Uri) {
    let _ = params_of::<T>(uri);
}

/// Reads a body as each route does that takes one.
pub(in crate::http) fn bodies(content_type: Option<&str>, body: &[u8]) {
    let _ = decode::<chat::CreateBody>(content_type, body);
    let _ = decode::<chat::SendBody>(content_type, body);
    let _ = decode::<chat::UpdateBody>(content_type, body);
    let _ = decode::<chat::RenameBody>(content_type, body);
    let _ = decode::<chat::Nothing>(content_type, body);
    let _ = decode::<message::AgainBody>(content_type, body);
    let _ = decode::<message::EditBody>(content_type, body);
    let _ = decode::<reaction::ReactionBody>(content_type, body);
    let _ = decode::<reaction::ChoiceBody>(content_type, body);
    let _ = decode::<theme::ThemeBody>(content_type, body);
}

/// What a page says that it has read: the position that is the path, and the bytes of its open block.
pub(in crate::http) fn read_by_page(uri: &Uri) -> Option<(Position, usize)> {
    let position = parse_position(uri.path().trim_start_matches('/')).ok()?;
    let params: message::TokensParams = params_of(uri).ok()?;
    let thoughts = params.reasoning.as_deref().map(parse_position);
    thoughts.transpose().ok()?;
    Some((position, params.open))
}
