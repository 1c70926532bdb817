//! Links to chats as they come in: the secret in the path proves access, and is written down nowhere.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::AppState;
use super::problem::{Kind, Problem};
use super::view::place::Place;
use crate::chat::{SHARE_PREFIX, SharedChat};
use crate::identity::TOKEN_PREFIX;

/// What the path of everything that a link opens begins with.
const LINKS: &str = "/shared/";
/// What is written in the place of a secret; a path may have it (RFC 3986, 3.3).
const MASK: &str = "***";
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// The path's `{secret}` as a chat that may be read, and where it is shown.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub chat: SharedChat,
    pub place: Place,
}

impl FromRequestParts<AppState> for Link {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        // What cannot be read at all is no secret either.
        let params = params.map_err(|_| Problem::bare(Kind::ChatNotFound))?;
        let secret = params.iter().find(|(key, _)| *key == "secret");
        let secret = secret.map_or("", |(_, secret)| secret);
        Ok(Self {
            chat: state.chats.open_share(secret).await?,
            place: Place::Link(secret.into()),
        })
    }
}

/// The path as it may be told to a log and to a client: without a link's secret, or a token, wherever it stands.
pub(super) fn masked(path: &str) -> String {
    let mut last = "";
    let mut parts = Vec::new();
    for part in path.split('/') {
        let is_secret = last == "shared"
            || [SHARE_PREFIX, TOKEN_PREFIX]
                .iter()
                .any(|known| part.contains(known));
        parts.push(if is_secret && !part.is_empty() {
            MASK
        } else {
            part
        });
        last = part;
    }
    parts.join("/")
}

/// Whether somebody came here by a link.
pub(super) fn is_link(path: &str) -> bool {
    path.starts_with(LINKS)
}

/// No search engine is to find what a link opens, and no other server is to learn the link.
pub(super) fn keep_to_itself(headers: &mut HeaderMap) {
    headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_nobody() {
        for (path, told) in [
            ("/shared/pls_0a", "/shared/***"),
            ("/shared/anything/messages", "/shared/***/messages"),
            ("/shared/%70ls_0a/messages/x", "/shared/***/messages/x"),
            ("/shared/", "/shared/"),
            ("//shared/pls_0a", "//shared/***"),
            ("/Shared/pls_0a/message", "/Shared/***/message"),
            ("/chat/x,pls_0a", "/chat/***"),
            ("/token/pln_0a", "/token/***"),
            ("/chat/x/shares", "/chat/x/shares"),
        ] {
            assert_eq!(masked(path), told, "{path}");
        }
    }
}
