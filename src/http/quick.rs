//! Polls that can be answered from memory, before the router is asked: the way through it costs more than they do.
//!
//! Whatever is not as usual is the router's, which knows all of it: a page of another site, somebody who is not known from
//! memory, a text that has to be read, takes long to be rendered or is refused, the end of an answer on a page, a log that
//! is to say everything. Whoever asks cannot tell who has answered (`tests/protocol/quick.rs`).

use std::sync::Arc;
use std::time::Instant;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use entity::{ChatId, MessageId};
use futures::FutureExt as _;
use serde::de::DeserializeOwned;
use tracing::Level;

use super::counts::{Counts, Kind, Outcome};
use super::dress::{dress, request_id};
use super::encoding;
use super::extract::{Form, UUID_CHARS, parse_uuid};
use super::hold;
use super::identify::Gate;
use super::load::Load;
use super::peer::ClientAddress;
use super::rate::{RateSubject, Rated};
use super::reply;
use super::routes::message::{TokensAsked, TokensParams};
use super::routes::messages::PollParams;
use super::tag::{Seen, Tag};
use super::view::messages::MessagesView;
use super::view::place::Place;
use super::view::poller::keeps_pace;
use crate::chat::Chats;
use crate::identity::{Caller, Via};
use crate::limit::{Budget, Limits};
use crate::model::position::Position;

pub(super) struct Quick {
    pub chats: Arc<Chats>,
    pub load: Arc<Load>,
    pub counts: Arc<Counts>,
    pub gate: Arc<Gate>,
    pub rates: Arc<Limits>,
}

/// What is polled.
enum Poll {
    Tokens(MessageId, Position, TokensParams),
    Messages(ChatId, MessageId, PollParams),
}

impl Quick {
    /// None: the router is to answer.
    pub fn answer<B: HttpBody>(
        &self,
        request: &Request<B>,
        client: ClientAddress,
    ) -> Option<Response> {
        let is_get = *request.method() == Method::GET && request.body().is_end_stream();
        if !is_get || self.load.is_full() || tracing::enabled!(Level::DEBUG) {
            return None;
        }
        let (headers, uri) = (request.headers(), request.uri());
        let poll = Poll::of(uri)?;
        let begun = Instant::now();
        if headers.contains_key(header::ORIGIN) || hold::is_wanted(headers) {
            return None;
        }
        let caller = self.gate.remembered(headers, uri, client)?;
        let (mut response, found) = self.read(&caller, poll, headers)?;
        let takes_gzip = encoding::takes_gzip(headers);
        if takes_gzip && response.body().size_hint().lower() > encoding::LARGE as u64 {
            return None;
        }
        self.count(&caller, client, response.headers_mut())?;
        dress(
            response.headers_mut(),
            &request_id(headers),
            client.is_https,
        );
        self.counts.quick(found, response.status(), begun.elapsed());
        if takes_gzip {
            // So much is compressed right here.
            encoding::compress(response).now_or_never()
        } else {
            Some(response)
        }
    }

    /// The answer, and what is to be counted of it.
    fn read(
        &self,
        caller: &Caller,
        poll: Poll,
        headers: &HeaderMap,
    ) -> Option<(Response, (Kind, Outcome))> {
        let form = Form::of(headers);
        let (answered, found) = match poll {
            Poll::Tokens(message, position, params) => {
                let asked = TokensAsked::new(form, headers, position, &params).ok()?;
                let reader = caller.owner.into();
                let poll = self.chats.tokens_at_hand(reader, message, asked.cursors)?;
                if !asked.is_little(&poll) {
                    return None;
                }
                let hint = self.load.poll_after_ms(poll.activity);
                let found = (Kind::Tokens, Outcome::of_tokens(&poll));
                (asked.reply(&Place::Owners, poll, hint), found)
            }
            Poll::Messages(id, cursor, params) => {
                let chat = self.chats.watched_at_hand(caller.owner, id)?;
                let quiet = self.chats.quiet_at_hand(&chat, cursor, params.revision)?;
                let hint = self.load.poll_after_ms(quiet.activity);
                let answered = match form {
                    Form::Json => {
                        let tag = Tag::of_quiet(id, &quiet);
                        let view =
                            || reply::json(StatusCode::OK, &MessagesView::quiet(quiet, hint));
                        Seen::of(headers).json(&tag, Some(hint), view)
                    }
                    Form::Fragment | Form::Page if keeps_pace(params.after, hint) => {
                        Ok(reply::no_content())
                    }
                    Form::Fragment | Form::Page => return None,
                };
                (answered, (Kind::Messages, Outcome::NothingNew))
            }
        };
        Some((answered.ok()?, found))
    }

    /// Counts the poll against its budget. None: it is one too many, or other nodes count too.
    fn count(&self, caller: &Caller, client: ClientAddress, headers: &mut HeaderMap) -> Option<()> {
        let subject = RateSubject {
            user: Some(caller.owner),
            token: caller.token,
            is_anonymous: caller.via == Via::Anonymous,
            ..RateSubject::NOBODY
        };
        let Some(rated) = Rated::new(&self.rates, subject, client, Budget::Polls, false) else {
            return Some(());
        };
        rated.come_in_at_hand()?;
        rated.tell(headers);
        Some(())
    }
}

impl Poll {
    /// None: it is none, or none that is written as usual.
    fn of(uri: &Uri) -> Option<Self> {
        let path = uri.path().strip_prefix("/chat/")?;
        if let Some(path) = path.strip_prefix("message/") {
            let (message, path) = path.split_at_checked(UUID_CHARS)?;
            let position = path.strip_prefix("/tokens/")?;
            let message = MessageId(parse_uuid("uuid", message).ok()?);
            return Some(Self::Tokens(message, position.parse().ok()?, query(uri)?));
        }
        let (chat, path) = path.split_at_checked(UUID_CHARS)?;
        let cursor = path.strip_prefix("/messages/")?;
        let chat = ChatId(parse_uuid("uuid", chat).ok()?);
        let cursor = MessageId(parse_uuid("last_uuid", cursor).ok()?);
        Some(Self::Messages(chat, cursor, query(uri)?))
    }
}

fn query<T: DeserializeOwned + Default>(uri: &Uri) -> Option<T> {
    let query = uri.query();
    query.map_or_else(
        || Some(T::default()),
        |query| serde_urlencoded::from_str(query).ok(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_as_usual_is_the_router_s() {
        let (one, two) = (ChatId::generate(), ChatId::generate());
        for (path, is_poll) in [
            (format!("/chat/message/{one}/tokens/0"), true),
            (format!("/chat/message/{one}/tokens/9007199254740991"), true),
            (format!("/chat/{one}/messages/{two}"), true),
            (format!("/chat/{one}/messages/{two}?revision=7"), true),
            (format!("/chat/message/{one}/tokens"), false),
            (format!("/chat/message/{one}/tokens/"), false),
            (format!("/chat/message/{one}/tokens/-1"), false),
            (
                format!("/chat/message/{one}/tokens/9007199254740992"),
                false,
            ),
            (format!("/chat/message/{one}/tokens/0/"), false),
            (
                format!("/chat/message/{one}/tokens/0?reasoning=0&open=3&after=300&x=1"),
                true,
            ),
            (format!("/chat/message/{one}/tokens/0?open=x"), false),
            (format!("/chat/message/{}/tokens/0", one.0.simple()), false),
            (format!("/chat/message/x{one}/tokens/0"), false),
            (format!("/chat/{one}/messages/"), false),
            (format!("/chat/{one}/messages/{two}/"), false),
            (format!("/chat/{one}/messages/{two}?revision="), false),
            (
                format!("/chat/{one}/messages/{two}?revision=7&after=300"),
                true,
            ),
            (format!("/chat/{one}/messages/{two}?x=1"), false),
            (format!("/chat/{one}/export"), false),
            (format!("/shared/{one}/messages/{two}"), false),
        ] {
            let uri: Uri = path.parse().unwrap();
            assert_eq!(Poll::of(&uri).is_some(), is_poll, "{path}");
        }
    }
}
