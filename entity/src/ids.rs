//! Newtype ids: a chat's UUID cannot be passed where a message's is meant.

use std::fmt;
use std::str::FromStr;

use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, DeriveValueType,
            ToSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh UUID (version 7): ids made later sort later, which keeps index pages dense.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl TryFromU64 for $name {
            /// A UUID is never made from a row number; a primary key has to say so.
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($name)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    /// One chat: a row of `chat`.
    ChatId
);
id!(
    /// One message: a row of `chat_message`.
    MessageId
);
id!(
    /// One piece of work for a model: a row of `llm_request`.
    RequestId
);
id!(
    /// Whoever holds a chat: a row of `user`.
    OwnerId
);
id!(
    /// One API token: a row of `api_token`.
    TokenId
);
id!(
    /// One browser's session: a row of `session`, once it has changed something.
    SessionId
);
id!(
    /// One link to a chat: a row of `share`.
    ShareId
);

id!(
    /// One archive of all of somebody's chats: a row of `archive`.
    ArchiveId
);

impl OwnerId {
    /// The local user: whoever can reach a server that listens for nobody else. Its row is there from the start.
    pub const LOCAL: Self = Self(Uuid::nil());
}
