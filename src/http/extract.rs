//! Extractors: what a request says, as values that are already right. A handler that takes an
//! [`OwnedChat`] cannot forget the permission check, because without it there is no value.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use axum_extra::extract::CookieJar;
use entity::llm_request::CacheUse;
use entity::{ChatId, MessageId, Metadata, OwnerId, ShareId};
use serde::de::DeserializeOwned;
use url::{Url, form_urlencoded};
use uuid::Uuid;

use super::AppState;
use super::link;
use super::peer::ClientAddress;
use super::problem::{Kind, Problem};
use super::view::frame::{Frame, HOST_PREFIX, OFFSET_COOKIE, THEME_COOKIE};
use super::visitor::Visitor;
use crate::chat::{Chats, InspectedChat, OwnedChat, WatchedChat};
use crate::identity;
use crate::model::metadata;
use crate::model::position::{InvalidPosition, Position};
use crate::store::Actor;

/// Characters of a UUID in its usual form.
pub(super) const UUID_CHARS: usize = 36;
/// Characters of a bad value that are quoted back.
const QUOTED_CHARS: usize = 80;
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
/// In `Accept: text/html;fragment=true`.
const FRAGMENT: &str = "fragment=true";

/// Who asks, by their id: somebody who has been let in, and may do what the method is for.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub OwnerId);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Who(caller) = Who::from_request_parts(parts, state).await?;
        Ok(Self(caller.owner))
    }
}

/// The same, with all that is known of them.
#[derive(Clone, Debug)]
pub struct Who(pub Arc<identity::Caller>);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let identified = Visitor::identified(&parts.extensions);
        let identified = identified.ok_or_else(|| Problem::bare(Kind::SignInNeeded))?;
        Ok(Self(identified.allowed(parts).await?))
    }
}

/// Somebody who has been let in, whatever their rights: who may only read may go, too.
#[derive(Clone, Debug)]
pub struct Known(pub Arc<identity::Caller>);

impl<S: Send + Sync> FromRequestParts<S> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let identified = Visitor::identified(&parts.extensions);
        let identified = identified.ok_or_else(|| Problem::bare(Kind::SignInNeeded))?;
        Ok(Self(identified.known(parts).await?))
    }
}

/// Proof that an administrator asks.
#[derive(Clone, Copy, Debug)]
pub struct Admin;

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Who(caller) = Who::from_request_parts(parts, state).await?;
        if caller.is_admin {
            Ok(Self)
        } else {
            Err(Problem::bare(Kind::AdminNeeded))
        }
    }
}

/// Who does something to rights, for the audit log.
#[derive(Clone, Debug)]
pub struct Acting(pub Actor);

impl<S: Send + Sync> FromRequestParts<S> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Who(caller) = Who::from_request_parts(parts, state).await?;
        let address = Visitor::identified(&parts.extensions);
        Ok(Self(Actor {
            id: Some(caller.owner),
            address: address.map(|identified| identified.address().to_string()),
        }))
    }
}

/// In which form the answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    /// A piece of HTML, for an element of a page that is there already.
    Fragment,
    /// A page of its own, for a browser that goes to it.
    Page,
}

impl Form {
    /// `HX-Request: true` or `Accept: text/html` gets HTML, everything else JSON. A parameter `fragment` in `Accept`
    /// says the same as `HX-Request`: proxies take away headers that they do not know, and know this one.
    pub fn of(headers: &HeaderMap) -> Self {
        let has = |name: HeaderName, wanted: &str| {
            headers.get(name).is_some_and(|value| {
                let mut places = value.as_bytes().windows(wanted.len());
                places.any(|place| place.eq_ignore_ascii_case(wanted.as_bytes()))
            })
        };
        if has(HX_REQUEST, "true") {
            Self::Fragment
        } else if has(header::ACCEPT, "text/html") {
            if has(header::ACCEPT, FRAGMENT) {
                Self::Fragment
            } else {
                Self::Page
            }
        } else {
            Self::Json
        }
    }

    pub fn is_html(self) -> bool {
        self != Self::Json
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Form {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visitor = parts.extensions.get::<Visitor>();
        Ok(visitor.map_or_else(|| Self::of(&parts.headers), |visitor| visitor.form))
    }
}

/// The path of the page that a fragment is for. HTMX says it; where a proxy has taken that away, the browser's own word
/// of it is left.
pub(super) fn shown_path(headers: &HeaderMap) -> Option<String> {
    let said = headers.get("hx-current-url");
    let url = said.or_else(|| headers.get(header::REFERER))?;
    Some(Url::parse(url.to_str().ok()?).ok()?.path().to_owned())
}

/// How the reader likes to see pages.
impl<S: Send + Sync> FromRequestParts<S> for Frame {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(frame_of(&parts.headers))
    }
}

pub(super) fn frame_of(headers: &HeaderMap) -> Frame {
    let jar = CookieJar::from_headers(headers);
    // Whichever there is: whether the browser came by HTTPS is not known behind every proxy.
    let value = |name| {
        let held = jar.get(&format!("{HOST_PREFIX}{name}"));
        held.or_else(|| jar.get(name))
            .map(|cookie| cookie.value().to_owned())
    };
    Frame::new(
        value(THEME_COOKIE).as_deref(),
        value(OFFSET_COOKIE).as_deref(),
    )
}

/// What the caller's `Cache-Control` says of the answer: `no-cache` wants one of the model's own, with
/// `no-store` it is not kept either (RFC 9111, 5.2.1.4 and 5.2.1.5).
#[derive(Clone, Copy, Debug)]
pub struct CacheControl(pub CacheUse);

impl<S: Send + Sync> FromRequestParts<S> for CacheControl {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let values = parts.headers.get_all(header::CACHE_CONTROL);
        let directives: Vec<&str> = values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        let has = |wanted| directives.iter().any(|d| d.eq_ignore_ascii_case(wanted));
        Ok(Self(if has("no-store") {
            CacheUse::Bypass
        } else if has("no-cache") {
            CacheUse::Fresh
        } else {
            CacheUse::Any
        }))
    }
}

/// The path's `{alias}`.
#[derive(Clone, Debug)]
pub struct AliasPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for AliasPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let alias = params.iter().find(|(key, _)| *key == "alias");
        Ok(Self(
            alias.map_or_else(String::new, |(_, alias)| alias.to_owned()),
        ))
    }
}

/// Where the request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub ClientAddress);

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visitor = parts.extensions.get::<Visitor>();
        Ok(Self(
            visitor.map_or(ClientAddress::UNKNOWN, |visitor| visitor.client),
        ))
    }
}

/// The path's `{uuid}`, of whatever it is.
#[derive(Clone, Copy, Debug)]
pub struct UuidPath(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for UuidPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(path_uuid(parts, state, "uuid").await?))
    }
}

/// The path's `{uuid}` as a chat of the caller's own.
impl FromRequestParts<AppState> for OwnedChat {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let Caller(owner) = Caller::from_request_parts(parts, state).await?;
        let uuid = path_uuid(parts, state, "uuid").await?;
        let chats: &Arc<Chats> = &state.chats;
        Ok(chats.own(owner, ChatId(uuid)).await?)
    }
}

/// The path's `{uuid}` as a chat of the caller's own, to be polled.
impl FromRequestParts<AppState> for WatchedChat {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let Caller(owner) = Caller::from_request_parts(parts, state).await?;
        let uuid = path_uuid(parts, state, "uuid").await?;
        Ok(state.chats.watch(owner, ChatId(uuid)).await?)
    }
}

/// The path's `{uuid}` as somebody's chat that an administrator may look at.
impl FromRequestParts<AppState> for InspectedChat {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let Admin = Admin::from_request_parts(parts, state).await?;
        let Acting(actor) = Acting::from_request_parts(parts, state).await?;
        let uuid = path_uuid(parts, state, "uuid").await?;
        Ok(state.chats.inspect(ChatId(uuid), &actor).await?)
    }
}

/// The path's `{uuid}` as the id of a chat that is not there, but may have been.
#[derive(Clone, Copy, Debug)]
pub struct DeletedChatPath(pub ChatId);

impl<S: Send + Sync> FromRequestParts<S> for DeletedChatPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(ChatId(path_uuid(parts, state, "uuid").await?)))
    }
}

/// The path's `{uuid}` as the id of a message, whose owner the use case checks.
#[derive(Clone, Copy, Debug)]
pub struct MessagePath(pub MessageId);

impl<S: Send + Sync> FromRequestParts<S> for MessagePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(MessageId(path_uuid(parts, state, "uuid").await?)))
    }
}

/// The path's `{uuid}` as the id of a link, whose owner the use case checks.
#[derive(Clone, Copy, Debug)]
pub struct SharePath(pub ShareId);

impl<S: Send + Sync> FromRequestParts<S> for SharePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(ShareId(path_uuid(parts, state, "uuid").await?)))
    }
}

/// The path's `{last_uuid}`, if it has one.
#[derive(Clone, Copy, Debug)]
pub struct CursorPath(pub Option<MessageId>);

impl<S: Send + Sync> FromRequestParts<S> for CursorPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let text = params.iter().find(|(key, _)| *key == "last_uuid");
        let cursor = text.map(|(_, text)| parse_uuid("last_uuid", text));
        Ok(Self(cursor.transpose()?.map(MessageId)))
    }
}

/// The path's `{uuid}` and `{position}`, of a message that is polled; 0 where the path has no position.
#[derive(Clone, Copy, Debug)]
pub struct TokensPath {
    pub message: MessageId,
    pub position: Position,
}

impl<S: Send + Sync> FromRequestParts<S> for TokensPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let text = |name| params.iter().find(|(key, _)| *key == name);
        let uuid = text("uuid").map_or("", |(_, text)| text);
        let position =
            text("position").map_or(Ok(Position::START), |(_, text)| parse_position(text));
        Ok(Self {
            message: MessageId(parse_uuid("uuid", uuid)?),
            position: position?,
        })
    }
}

/// A position as a server gave it out.
pub(super) fn parse_position(text: &str) -> Result<Position, Problem> {
    text.parse()
        .map_err(|error: InvalidPosition| Problem::new(Kind::MalformedPosition, error.to_string()))
}

/// The path's `{number}`: of a version, from 1.
#[derive(Clone, Copy, Debug)]
pub struct NumberPath(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for NumberPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let text = params.iter().find(|(key, _)| *key == "number");
        let number = text.and_then(|(_, text)| text.parse().ok());
        number.map(Self).ok_or_else(|| {
            let detail = "a version's number is an integer from 1";
            Problem::new(Kind::MalformedRequest, detail)
        })
    }
}

/// A path's only part that is no id.
#[derive(Clone, Debug)]
pub struct NamePath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let name = params.iter().next().map(|(_, name)| name.to_owned());
        Ok(Self(name.unwrap_or_default()))
    }
}

/// A path's parts that are no ids in their usual form, in their order.
#[derive(Clone, Debug)]
pub struct NamePaths<const N: usize>(pub [String; N]);

impl<const N: usize, S: Send + Sync> FromRequestParts<S> for NamePaths<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let mut names = params.iter().map(|(_, name)| name.to_owned());
        Ok(Self(std::array::from_fn(|_| {
            names.next().unwrap_or_default()
        })))
    }
}

/// The query string. An unknown or malformed parameter is named.
#[derive(Clone, Copy, Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        params_of(&parts.uri).map(Self)
    }
}

/// The query string of a list that is searched by metadata: `metadata.KEY=VALUE` for each pair that a chat has to have, and
/// the list's own parameters.
#[derive(Clone, Debug)]
pub struct Having<T> {
    /// None: there is no such pair.
    pub pairs: Option<Metadata>,
    pub params: T,
}

/// What the names of such parameters begin with.
pub(super) const METADATA: &str = "metadata.";

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Having<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let (mut own, mut pairs) = (Vec::new(), BTreeMap::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.strip_prefix(METADATA) {
                None => own.push((name, value)),
                Some(key) => {
                    let (key, value) = (key.to_owned(), value.into_owned());
                    if pairs.get(&key).is_some_and(|other| *other != value) {
                        let detail =
                            format!("`{name}` is there twice; a chat has one value at each key");
                        return Err(Problem::new(Kind::MalformedRequest, detail));
                    }
                    pairs.insert(key, value);
                }
            }
        }
        let pairs = metadata::parse(pairs);
        let pairs =
            pairs.map_err(|error| Problem::new(Kind::MalformedRequest, error.to_string()))?;
        let own = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(own)
            .finish();
        let params = serde_urlencoded::from_str(&own);
        let params =
            params.map_err(|error| Problem::new(Kind::MalformedRequest, error.to_string()))?;
        Ok(Self { pairs, params })
    }
}

pub(super) fn params_of<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    match Query::try_from_uri(uri) {
        Ok(Query(params)) => Ok(params),
        Err(error) => Err(Problem::new(Kind::MalformedRequest, error.body_text())),
    }
}

async fn path_params<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<RawPathParams, Problem> {
    RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|error| Problem::new(Kind::MalformedRequest, error.body_text()))
}

async fn path_uuid<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &'static str,
) -> Result<Uuid, Problem> {
    let params = path_params(parts, state).await?;
    let text = params.iter().find(|(key, _)| *key == name);
    parse_uuid(name, text.map_or("", |(_, text)| text))
}

/// A UUID in its usual form with hyphens, in either case.
pub(super) fn parse_uuid(name: &str, text: &str) -> Result<Uuid, Problem> {
    match Uuid::try_parse(text) {
        Ok(uuid) if text.len() == UUID_CHARS => Ok(uuid),
        _ => {
            let text = link::masked(text);
            let quoted = crate::model::text::head(&text, QUOTED_CHARS);
            Err(Problem::new(
                Kind::MalformedUuid,
                format!("`{name}` is {quoted:?}"),
            ))
        }
    }
}
