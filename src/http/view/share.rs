//! The links to a chat, as its owner sees them.

use askama::Template;
use entity::share::Model as Share;
use entity::{ChatId, ShareId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::{self, Icon};
use super::frame::{Frame, Theme};
use super::place::Place;
use super::words::{self, W};
use crate::chat::MadeShare;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A link without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ShareView {
    pub uuid: ShareId,
    pub chat_uuid: ChatId,
    /// What the secret begins with.
    pub head: String,
    pub created_at: Timestamp,
    /// Null: it works until it is revoked.
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// Whether it works.
    pub active: bool,
}

impl ShareView {
    pub fn new(share: Share, now: Timestamp) -> Self {
        let has_expired = share.expires_at.is_some_and(|at| at <= now);
        Self {
            uuid: share.id,
            chat_uuid: share.chat_id,
            head: share.head,
            created_at: share.created_at,
            expires_at: share.expires_at,
            revoked_at: share.revoked_at,
            active: share.revoked_at.is_none() && !has_expired,
        }
    }

    /// When it was made, for people.
    pub fn made(&self) -> String {
        words::moment(self.created_at)
    }

    /// When it expires, for people.
    pub fn until(&self) -> Option<String> {
        self.expires_at.map(words::moment)
    }

    /// Why it works no more, where it does not.
    pub fn end(&self) -> Option<&'static str> {
        match self.revoked_at {
            Some(_) => Some(W.link_revoked),
            None if !self.active => Some(W.link_expired),
            None => None,
        }
    }
}

/// The answer to a link that was made: the only one that has its secret.
#[derive(Serialize, ToSchema)]
pub struct MadeShareView {
    #[serde(flatten)]
    pub share: ShareView,
    pub secret: String,
    /// Where the chat is to be read: absolute if the server knows its own address.
    pub url: String,
}

impl MadeShareView {
    /// `public_url`: the server's own address, where that is known.
    pub fn new(made: MadeShare, public_url: Option<&str>, now: Timestamp) -> Self {
        let share = ShareView::new(made.share, now);
        Self {
            url: address(&made.secret, share.chat_uuid, public_url),
            secret: made.secret.expose_secret().to_owned(),
            share,
        }
    }
}

fn address(secret: &SecretString, chat: ChatId, public_url: Option<&str>) -> String {
    let path = Place::Link(secret.expose_secret().into()).chat(chat);
    let origin = public_url.unwrap_or_default().trim_end_matches('/');
    format!("{origin}{path}")
}

/// All links to a chat that are told of.
#[derive(Debug, Serialize, ToSchema)]
pub struct SharesView {
    /// Those that work come first.
    pub shares: Vec<ShareView>,
}

impl SharesView {
    pub fn new(shares: Vec<Share>, now: Timestamp) -> Self {
        let shares = shares.into_iter();
        Self {
            shares: shares.map(|share| ShareView::new(share, now)).collect(),
        }
    }
}

/// The links to a chat, a form that makes another one, and the address of the one that was made just now.
#[derive(Template)]
#[template(path = "shares.html")]
pub struct SharesFragment {
    pub chat: ChatId,
    pub made: Option<String>,
    pub shares: Vec<ShareView>,
}

impl SharesFragment {
    /// How long a link can be made to work, in milliseconds; nothing: until it is revoked.
    const TERMS: [(Option<u64>, &str); 4] = [
        (None, W.until_revoked),
        (Some(DAY_MS), W.for_a_day),
        (Some(7 * DAY_MS), W.for_a_week),
        (Some(30 * DAY_MS), W.for_a_month),
    ];

    pub fn new(chat: ChatId, made: Option<String>, view: SharesView) -> Self {
        Self {
            chat,
            made,
            shares: view.shares,
        }
    }

    #[cfg(any(test, debug_assertions))]
    pub fn sample() -> Self {
        let now = Timestamp(1_795_226_400_000);
        let share = |number: u32, expires_in_ms: Option<i64>, revoked: bool| {
            let share = Share {
                id: ShareId(uuid::Uuid::from_u128(u128::from(number))),
                chat_id: ChatId(uuid::Uuid::from_u128(1)),
                head: format!("pls_0a1b2{number}"),
                hash: String::new(),
                created_at: now,
                expires_at: expires_in_ms.map(|ms| now.plus_ms(ms)),
                revoked_at: revoked.then_some(now),
            };
            ShareView::new(share, now)
        };
        Self {
            chat: ChatId(uuid::Uuid::from_u128(1)),
            made: Some("/shared/pls_0a1b21".to_owned()),
            shares: vec![
                share(1, None, false),
                share(2, Some(86_400_000), false),
                share(3, Some(-1), false),
                share(4, None, true),
            ],
        }
    }
}

/// The links to a chat on a page of their own.
#[derive(Template)]
#[template(path = "shares_page.html")]
pub struct SharesPage {
    pub frame: Frame,
    pub title: String,
    pub shares: SharesFragment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_to_a_chat() {
        insta::assert_snapshot!(SharesFragment::sample().render().unwrap());
    }

    #[test]
    fn the_address_of_a_link_is_absolute_where_the_servers_is_known() {
        let chat = ChatId(uuid::Uuid::from_u128(1));
        let secret = SecretString::from("pls_x");
        assert_eq!(address(&secret, chat, None), "/shared/pls_x");
        let at = |public| address(&secret, chat, Some(public));
        assert_eq!(at("https://c.example"), "https://c.example/shared/pls_x");
        assert_eq!(at("https://c.example/"), "https://c.example/shared/pls_x");
    }
}
