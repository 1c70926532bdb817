//! Where a chat is shown: to its owner at its own address, or to whoever has a link at the link's. What is polled
//! begins with that address.

use std::fmt;
use std::sync::Arc;

use entity::{ChatId, MessageId};

/// Whose page it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Place {
    #[default]
    Owners,
    /// A page to read by a link with this secret, and nothing more.
    Link(Arc<str>),
}

impl Place {
    /// The address of the chat.
    pub fn chat(&self, chat: ChatId) -> String {
        match self {
            Self::Owners => format!("/chat/{chat}"),
            Self::Link(secret) => format!("/shared/{secret}"),
        }
    }

    /// The address of a message.
    pub fn message(&self, message: MessageId) -> String {
        match self {
            Self::Owners => format!("/chat/message/{message}"),
            Self::Link(secret) => format!("/shared/{secret}/message/{message}"),
        }
    }

    /// Whether there is nothing to be done here but to read.
    pub fn is_read_only(&self) -> bool {
        *self != Self::Owners
    }
}

/// Without the secret.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owners => "Owners",
            Self::Link(_) => "Link(***)",
        })
    }
}
