//! Which problem each error of each use case is. No arm is `_`: a new error does not compile
//! until somebody has decided what a client is told.

use super::problem::{Kind, Problem};
use crate::chat::{
    AccessError, CreateError, DeleteChatError, DeleteMessageError, ListError, MessageError,
    MessagesError, ModelError, SendError, TokensError, UpdateError,
};
use crate::model::text::TextError;
use crate::store::StoreError;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            Self::unavailable(&error)
        } else {
            Self::internal(&error)
        }
    }
}

impl From<TextError> for Problem {
    fn from(error: TextError) -> Self {
        Self::new(Kind::InvalidField, error.to_string())
    }
}

impl From<ModelError> for Problem {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Text(error) => error.into(),
            error @ ModelError::Unknown { .. } => Self::new(Kind::InvalidField, error.to_string()),
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::bare(Kind::ChatNotFound),
            AccessError::Store(error) => error.into(),
        }
    }
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Text(error) => error.into(),
            CreateError::Model(error) => error.into(),
            CreateError::UuidTaken => Self::bare(Kind::UuidTaken),
            CreateError::Store(error) => error.into(),
        }
    }
}

impl From<SendError> for Problem {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Text(error) => error.into(),
            SendError::ChatGone => Self::bare(Kind::ChatNotFound),
            SendError::Store(error) => error.into(),
        }
    }
}

impl From<UpdateError> for Problem {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Text(error) => error.into(),
            UpdateError::Model(error) => error.into(),
            error @ UpdateError::Nothing => Self::new(Kind::InvalidField, error.to_string()),
            UpdateError::ChatGone => Self::bare(Kind::ChatNotFound),
            UpdateError::Store(error) => error.into(),
        }
    }
}

impl From<DeleteChatError> for Problem {
    fn from(error: DeleteChatError) -> Self {
        match error {
            DeleteChatError::Store(error) => error.into(),
        }
    }
}

impl From<DeleteMessageError> for Problem {
    fn from(error: DeleteMessageError) -> Self {
        match error {
            DeleteMessageError::NotFound => Self::bare(Kind::MessageNotFound),
            DeleteMessageError::StillWritten => Self::bare(Kind::StillWritten),
            DeleteMessageError::Store(error) => error.into(),
        }
    }
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Cursor => Self::new(Kind::MalformedRequest, ListError::Cursor.to_string()),
            ListError::Store(error) => error.into(),
        }
    }
}

impl From<MessageError> for Problem {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::NotFound => Self::bare(Kind::MessageNotFound),
            MessageError::Store(error) => error.into(),
        }
    }
}

impl From<MessagesError> for Problem {
    fn from(error: MessagesError) -> Self {
        match error {
            MessagesError::UnknownCursor => Self::bare(Kind::CursorNotFound),
            MessagesError::Store(error) => error.into(),
        }
    }
}

impl From<TokensError> for Problem {
    fn from(error: TokensError) -> Self {
        match error {
            TokensError::NotFound => Self::bare(Kind::MessageNotFound),
            TokensError::Store(error) => error.into(),
        }
    }
}
