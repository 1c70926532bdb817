//! Somebody who has been let in.

use entity::{OwnerId, SessionId, Timestamp, TokenId, user};

pub use entity::api_token::Scope;

/// How somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Local,
    Anonymous,
    Token,
    Jwt,
    Proxy,
    /// A session that was begun with a token or a JWT.
    SignedIn,
}

impl Via {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Anonymous => "anonymous",
            Self::Token => "token",
            Self::Jwt => "jwt",
            Self::Proxy => "proxy",
            Self::SignedIn => "session",
        }
    }
}

/// Somebody who has been let in, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub owner: OwnerId,
    /// Empty: none is known.
    pub name: String,
    pub scope: Scope,
    /// Whether they may do what admins do. Then their scope is `Admin`.
    pub is_admin: bool,
    pub via: Via,
    /// The token that they came with, or began their session with.
    pub token: Option<TokenId>,
    pub session: Option<SessionId>,
    /// When what they came with ends by itself: nothing that they make with it lets anybody in for longer.
    pub ends_at: Option<Timestamp>,
}

impl Caller {
    /// The one user of a server that listens to nobody else.
    #[must_use]
    pub fn local() -> Self {
        Self {
            owner: OwnerId::LOCAL,
            name: String::new(),
            scope: Scope::Admin,
            is_admin: true,
            via: Via::Local,
            token: None,
            session: None,
            ends_at: None,
        }
    }

    /// A user who came in by other means than a token.
    pub(super) fn of(user: &user::Model, via: Via) -> Self {
        let scope = if user.is_admin {
            Scope::Admin
        } else {
            Scope::Write
        };
        Self {
            owner: user.id,
            name: user.name.clone(),
            scope,
            is_admin: user.is_admin,
            via,
            token: None,
            session: None,
            ends_at: None,
        }
    }

    /// With no more rights than this.
    pub(super) fn within(mut self, scope: Scope) -> Self {
        self.scope = self.scope.min(scope);
        self.is_admin = self.is_admin && self.scope == Scope::Admin;
        self
    }
}
