//! Polls that can be answered from memory, before the router is asked: the way through it costs more than they do.
//!
//! Whatever is not as usual is the router's, which knows all of it: another form than JSON, a page of another site,
//! somebody who is not known from memory, a text that has to be read, compressed or refused, a log that is to say
//! everything. Whoever asks cannot tell who has answered (`tests/protocol/quick.rs`).

use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use entity::{ChatId, MessageId};
use tracing::Level;

use super::dress::{dress, request_id};
use super::encoding;
use super::extract::{Form, UUID_CHARS, parse_uuid};
use super::identify::Gate;
use super::load::Load;
use super::peer::ClientAddress;
use super::rate::{RateSubject, Rated};
use super::reply;
use super::view::messages::MessagesView;
use super::view::place::Place;
use super::view::tokens::TokensView;
use crate::chat::{Chats, Cursors};
use crate::identity::{Caller, Via};
use crate::limit::{Budget, Limits};
use crate::model::position::Position;

pub(super) struct Quick {
    pub chats: Arc<Chats>,
    pub load: Arc<Load>,
    pub gate: Arc<Gate>,
    pub rates: Arc<Limits>,
}

/// What is polled.
enum Poll {
    Tokens(MessageId, Position),
    Messages {
        chat: ChatId,
        cursor: MessageId,
        revision: Option<i64>,
    },
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
        if Form::of(headers).is_html() || headers.contains_key(header::ORIGIN) {
            return None;
        }
        let caller = self.gate.remembered(headers, uri, client)?;
        let mut response = self.read(&caller, &poll)?;
        if response.body().size_hint().lower() >= encoding::SMALLEST {
            return None;
        }
        self.count(&caller, client, response.headers_mut())?;
        let id = request_id(headers);
        dress(response.headers_mut(), &id, client.is_https);
        Some(response)
    }

    fn read(&self, caller: &Caller, poll: &Poll) -> Option<Response> {
        let answered = match *poll {
            Poll::Tokens(message, position) => {
                let cursors = Cursors {
                    text: position,
                    reasoning: None,
                };
                let reader = caller.owner.into();
                let poll = self.chats.tokens_at_hand(reader, message, cursors)?;
                let hint = self.load.poll_after_ms(poll.activity);
                reply::json(StatusCode::OK, &TokensView::new(poll, hint))
            }
            Poll::Messages {
                chat,
                cursor,
                revision,
            } => {
                let chat = self.chats.watched_at_hand(caller.owner, chat)?;
                let poll = self.chats.quiet_at_hand(&chat, cursor, revision)?;
                let hint = self.load.poll_after_ms(poll.activity);
                reply::json(
                    StatusCode::OK,
                    &MessagesView::new(&Place::Owners, poll, hint),
                )
            }
        };
        answered.ok()
    }

    /// Counts the poll against its budget. None: it is one too many, or other nodes count too.
    fn count(&self, caller: &Caller, client: ClientAddress, headers: &mut HeaderMap) -> Option<()> {
        let subject = RateSubject {
            user: Some(caller.owner),
            token: caller.token,
            is_anonymous: caller.via == Via::Anonymous,
            ..RateSubject::NOBODY
        };
        let Some(rated) = Rated::new(&self.rates, subject, Some(client), Budget::Polls, false)
        else {
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
            if uri.query().is_some() {
                return None;
            }
            let message = MessageId(parse_uuid("uuid", message).ok()?);
            return Some(Self::Tokens(message, position.parse().ok()?));
        }
        let (chat, path) = path.split_at_checked(UUID_CHARS)?;
        let cursor = path.strip_prefix("/messages/")?;
        let revision = match uri.query() {
            None => None,
            Some(query) => Some(query.strip_prefix("revision=")?.parse().ok()?),
        };
        Some(Self::Messages {
            chat: ChatId(parse_uuid("uuid", chat).ok()?),
            cursor: MessageId(parse_uuid("last_uuid", cursor).ok()?),
            revision,
        })
    }
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
            (format!("/chat/message/{one}/tokens/0?reasoning=0"), false),
            (format!("/chat/message/{}/tokens/0", one.0.simple()), false),
            (format!("/chat/message/x{one}/tokens/0"), false),
            (format!("/chat/{one}/messages/"), false),
            (format!("/chat/{one}/messages/{two}/"), false),
            (format!("/chat/{one}/messages/{two}?revision="), false),
            (
                format!("/chat/{one}/messages/{two}?revision=7&after=300"),
                false,
            ),
            (format!("/chat/{one}/export"), false),
            (format!("/shared/{one}/messages/{two}"), false),
        ] {
            let uri: Uri = path.parse().unwrap();
            assert_eq!(Poll::of(&uri).is_some(), is_poll, "{path}");
        }
    }
}
