//! The account: who somebody is here, their tokens and their sessions; and the page to sign in on.

use askama::Template;
use entity::api_token::{self, Scope};
use entity::{OwnerId, SessionId, Timestamp, TokenId, session, user};
use serde::Serialize;
use utoipa::ToSchema;

use super::archive::ArchiveFragment;
use super::assets::{self, Icon};
use super::frame::{Frame, Theme};
use super::words::{self, W};
use crate::identity::Caller;

/// A token, as far as it is known after it was made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiTokenView {
    pub uuid: TokenId,
    pub name: String,
    /// Its first characters.
    pub head: String,
    pub scope: Scope,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// Within a minute.
    pub used_at: Option<Timestamp>,
}

impl ApiTokenView {
    pub fn new(row: api_token::Model) -> Self {
        Self {
            uuid: row.id,
            name: row.name,
            head: row.head,
            scope: row.scope,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            used_at: row.used_at,
        }
    }

    /// Whether it still lets somebody in.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }

    pub fn scope_word(&self) -> &'static str {
        match self.scope {
            Scope::Read => W.scope_read,
            Scope::Write => W.scope_write,
            Scope::Admin => W.scope_admin,
        }
    }
}

/// A token that was made just now: the one time that it is shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MadeApiTokenView {
    #[serde(flatten)]
    pub token: ApiTokenView,
    pub secret: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiTokensView {
    pub tokens: Vec<ApiTokenView>,
}

/// A browser's session.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionView {
    pub uuid: SessionId,
    /// What the browser says that it is.
    pub browser: String,
    pub created_at: Timestamp,
    /// Within some minutes.
    pub seen_at: Timestamp,
    /// It is the one that asks.
    pub is_this: bool,
}

impl SessionView {
    pub fn new(row: session::Model, caller: &Caller) -> Self {
        Self {
            is_this: caller.session == Some(row.id),
            uuid: row.id,
            browser: row.browser,
            created_at: row.created_at,
            seen_at: row.seen_at,
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionsView {
    pub sessions: Vec<SessionView>,
}

/// A user, for administrators.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UserView {
    pub uuid: OwnerId,
    pub issuer: String,
    pub subject: String,
    pub name: String,
    pub tier: Option<String>,
    pub is_admin: bool,
    pub disabled_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
}

impl UserView {
    pub fn new(row: user::Model) -> Self {
        Self {
            uuid: row.id,
            issuer: row.issuer,
            subject: row.subject,
            name: row.name,
            tier: row.tier,
            is_admin: row.is_admin,
            disabled_at: row.disabled_at,
            created_at: row.created_at,
            seen_at: row.seen_at,
        }
    }

    /// Whether it is whoever reaches the server, who stays.
    fn is_local(&self) -> bool {
        self.uuid == OwnerId::LOCAL
    }
}

/// A page of users.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UsersView {
    pub users: Vec<UserView>,
    /// Where the next page begins; null: this is the last one.
    pub next: Option<OwnerId>,
}

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntryView {
    pub number: i64,
    pub at: Timestamp,
    /// Null: the command line, or the server by itself.
    pub actor: Option<OwnerId>,
    pub action: String,
    pub target: String,
    pub address: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditView {
    pub entries: Vec<AuditEntryView>,
}

#[derive(Template)]
#[template(path = "account.html")]
pub struct AccountPage {
    pub frame: Frame,
    pub caller: Caller,
    pub tier: Option<String>,
    /// Whether tokens let anybody in here.
    pub takes_tokens: bool,
    /// Whether there is a session to end.
    pub can_sign_out: bool,
    pub tokens: Vec<ApiTokenView>,
    pub sessions: Vec<SessionView>,
    /// A token that was made just now.
    pub made: Option<MadeApiTokenView>,
    /// All chats as one file.
    pub archive: ArchiveFragment,
}

impl AccountPage {
    fn time(at: Timestamp) -> String {
        at.to_datetime().format("%Y-%m-%d %H:%M UTC").to_string()
    }

    fn time_or(at: Option<Timestamp>, otherwise: &str) -> String {
        at.map_or_else(|| otherwise.to_owned(), Self::time)
    }
}

#[derive(Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    pub frame: Frame,
    /// Where to go then.
    pub next: String,
    /// Why it did not work.
    pub refused: Option<String>,
}

#[derive(Template)]
#[template(path = "users.html")]
pub struct UsersPage {
    pub frame: Frame,
    pub users: UsersView,
    pub tiers: Vec<String>,
}

impl UsersPage {
    /// When the user was seen last, who may never have been.
    fn seen(user: &UserView) -> String {
        AccountPage::time_or(Some(user.seen_at).filter(|at| at.0 > 0), W.never)
    }
}
