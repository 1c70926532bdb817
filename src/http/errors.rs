//! Which problem each error of each use case is. No arm is `_`: a new error does not compile
//! until somebody has decided what a client is told.

use super::problem::{Kind, Problem};
use super::view::pdf::PrintError;
use crate::chat::{
    AboutError, AccessError, AgainError, AgentError, AllowanceError, ArchiveError, CancelError,
    ChatPollError, CreateError, DeleteChatError, DeleteMessageError, EditError, ExportError,
    ForgetError, ImportError, InspectError, ListError, MessageError, MessagesError, ModelError,
    OnceError, ReactError, RespondError, ResponseError, RestoreError, RevokeShareError, RunError,
    SearchError, SelectError, SendError, ShareError, SharesError, TakeoutError, ThreadError,
    TokensError, UpdateError, UsageError,
};
use crate::identity::{IdentityError, TokenError, UserError};
use crate::model::allowance::Measure;
use crate::model::metadata::MetadataError;
use crate::model::text::TextError;
use crate::store::StoreError;

/// After how many seconds a printer that was busy may have done.
const PRINTER_BUSY_S: u64 = 5;

impl From<ChatPollError> for Problem {
    fn from(error: ChatPollError) -> Self {
        match error {
            ChatPollError::Access(error) => error.into(),
            ChatPollError::Messages(error) => error.into(),
        }
    }
}

impl From<ResponseError> for Problem {
    fn from(error: ResponseError) -> Self {
        match error {
            ResponseError::NotFound => Self::bare(Kind::MessageNotFound),
            ResponseError::Store(error) => error.into(),
        }
    }
}

impl From<RespondError> for Problem {
    fn from(error: RespondError) -> Self {
        let text = error.to_string();
        match error {
            RespondError::Text(error) => {
                let field = match error.field() {
                    "message" => "input",
                    field => field,
                };
                Self::from(error).of_param(field, "invalid_value")
            }
            RespondError::Metadata(error) => {
                Self::from(error).of_param("metadata", "invalid_value")
            }
            RespondError::Model(error) => {
                of_model(error, ("max_output_tokens", "reasoning.effort"))
            }
            RespondError::Agent(error) => error.into(),
            RespondError::Allowance(error) => error.into(),
            RespondError::PreviousNotFound => Self::new(Kind::MessageNotFound, text)
                .of_param("previous_response_id", "previous_response_not_found"),
            RespondError::ChatNotFound => Self::new(Kind::ChatNotFound, text)
                .of_param("conversation", "conversation_not_found"),
            RespondError::Busy => Self::new(Kind::ChatBusy, text),
            RespondError::UserGone => Self::bare(Kind::UserGone),
            RespondError::Once(error) => error.into(),
            RespondError::Store(error) => error.into(),
        }
    }
}

/// A model that cannot be asked, or not like that. `names`: what the route calls the longest answer, and the effort.
fn of_model(error: ModelError, names: (&'static str, &'static str)) -> Problem {
    let (param, code) = match &error {
        ModelError::Unknown(_) | ModelError::Text(_) => ("model", "model_not_found"),
        ModelError::Tier { .. } => ("model", "tier_needed"),
        ModelError::Parameter(wrong) => match wrong.field {
            "max_tokens" => (names.0, "invalid_value"),
            "reasoning_effort" => (names.1, "invalid_value"),
            field => (field, "invalid_value"),
        },
    };
    Problem::from(error).of_param(param, code)
}

impl From<ThreadError> for Problem {
    fn from(error: ThreadError) -> Self {
        let text = error.to_string();
        match error {
            ThreadError::Text(error) => {
                let field = match error.field() {
                    "message" => "content",
                    field => field,
                };
                Self::from(error).of_param(field, "invalid_value")
            }
            ThreadError::Metadata(error) => Self::from(error).of_param("metadata", "invalid_value"),
            ThreadError::NotFound => {
                Self::new(Kind::ChatNotFound, text).of_param("thread_id", "thread_not_found")
            }
            ThreadError::MessageNotFound => {
                Self::new(Kind::MessageNotFound, text).of_param("message_id", "message_not_found")
            }
            ThreadError::Busy => Self::new(Kind::ChatBusy, text),
            ThreadError::StillWritten => Self::new(Kind::StillWritten, text),
            ThreadError::UserGone => Self::bare(Kind::UserGone),
            ThreadError::Once(error) => error.into(),
            ThreadError::Store(error) => error.into(),
        }
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        let text = error.to_string();
        match error {
            RunError::Thread(error) => error.into(),
            RunError::NotFound => {
                Self::new(Kind::MessageNotFound, text).of_param("run_id", "run_not_found")
            }
            RunError::NoSuchAssistant { .. } => {
                Self::new(Kind::AgentNotFound, text).of_param("assistant_id", "assistant_not_found")
            }
            RunError::NothingToAnswer => {
                Self::new(Kind::MalformedRequest, text).of_param("thread_id", "nothing_to_answer")
            }
            RunError::Model(error) => {
                of_model(error, ("max_completion_tokens", "reasoning_effort"))
            }
            RunError::Allowance(error) => error.into(),
            RunError::Once(error) => error.into(),
            RunError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            Self::unavailable(&error)
        } else {
            Self::internal(&error)
        }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            error @ IdentityError::Refused(_) => Self::new(Kind::SignInNeeded, error.to_string()),
            IdentityError::Disabled => Self::bare(Kind::UserDisabled),
            error @ IdentityError::Unavailable(_) => {
                tracing::warn!(%error, "somebody could not be identified");
                Self::bare(Kind::Unavailable)
            }
            IdentityError::Store(error) => error.into(),
            IdentityError::Randomness(error) => Self::internal(&error),
        }
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        match error {
            UserError::NotFound(_) => Self::bare(Kind::UserNotFound),
            error @ (UserError::Several { .. } | UserError::Name | UserError::Local) => {
                Self::new(Kind::InvalidField, error.to_string())
            }
            UserError::Store(error) => error.into(),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotFound => Self::bare(Kind::TokenNotFound),
            error @ (TokenError::Name | TokenError::Lifetime) => {
                Self::new(Kind::InvalidField, error.to_string())
            }
            error @ TokenError::Scope => Self::new(Kind::ScopeNeeded, error.to_string()),
            error @ TokenError::ShutOut => Self::new(Kind::SignInNeeded, error.to_string()),
            error @ TokenError::TooMany => Self::new(Kind::WrongState, error.to_string()),
            TokenError::User(error) => error.into(),
            TokenError::Randomness(error) => Self::internal(&error),
            TokenError::Store(error) => error.into(),
        }
    }
}

impl From<TextError> for Problem {
    fn from(error: TextError) -> Self {
        Self::new(Kind::InvalidField, error.to_string())
    }
}

impl From<MetadataError> for Problem {
    fn from(error: MetadataError) -> Self {
        Self::new(Kind::InvalidField, error.to_string())
    }
}

impl From<ModelError> for Problem {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Text(error) => error.into(),
            error @ (ModelError::Unknown(_) | ModelError::Parameter(_)) => {
                Self::new(Kind::InvalidField, error.to_string())
            }
            error @ ModelError::Tier { .. } => Self::new(Kind::TierNeeded, error.to_string()),
        }
    }
}

impl From<AgentError> for Problem {
    fn from(error: AgentError) -> Self {
        match error {
            error @ AgentError::Unknown { .. } => Self::new(Kind::AgentNotFound, error.to_string()),
            error @ AgentError::NotEmpty => Self::new(Kind::WrongState, error.to_string()),
            AgentError::Model(error) => error.into(),
            AgentError::ChatGone => Self::bare(Kind::ChatNotFound),
            AgentError::Once(error) => error.into(),
            AgentError::Store(error) => error.into(),
        }
    }
}

impl From<AllowanceError> for Problem {
    fn from(error: AllowanceError) -> Self {
        let kind = match &error {
            AllowanceError::UsedUp { allowance, .. } => match allowance.measure {
                Measure::Tokens => Kind::TokensUsedUp,
                Measure::Money => Kind::BudgetUsedUp,
            },
            AllowanceError::Running { .. } => Kind::RunningLimit,
        };
        metrics::counter!("pollen_allowance_refused_total", "kind" => kind.slug()).increment(1);
        Self {
            retry_after_s: error.retry_after_s(),
            ..Self::new(kind, error.to_string())
        }
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
        }
    }
}

impl From<PrintError> for Problem {
    fn from(error: PrintError) -> Self {
        match error {
            error @ (PrintError::TooLong { .. } | PrintError::TooManyPages) => {
                Self::new(Kind::ChatTooLong, error.to_string())
            }
            PrintError::Busy => Self {
                retry_after_s: Some(PRINTER_BUSY_S),
                ..Self::bare(Kind::Overloaded)
            },
            error @ PrintError::Failed(_) => Self::internal(&error),
        }
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            error @ (ImportError::Mistake(_) | ImportError::TooMany | ImportError::Nothing) => {
                Self::new(Kind::InvalidField, error.to_string())
            }
            error @ ImportError::UuidTaken => Self::new(Kind::UuidTaken, error.to_string()),
            ImportError::UserGone => Self::bare(Kind::UserGone),
            ImportError::Once(error) => error.into(),
            ImportError::Store(error) => error.into(),
        }
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::NotFound => Self::bare(Kind::ArchiveNotFound),
            ArchiveError::NotReady => Self::bare(Kind::ArchiveNotReady),
            error @ ArchiveError::Failed => Self::new(Kind::WrongState, error.to_string()),
            ArchiveError::UserGone => Self::bare(Kind::UserGone),
            ArchiveError::Store(error) => error.into(),
        }
    }
}

impl From<TakeoutError> for Problem {
    fn from(error: TakeoutError) -> Self {
        match error {
            TakeoutError::NoSuchUser => Self::bare(Kind::UserGone),
            TakeoutError::Running => Self::bare(Kind::ExportRunning),
            error @ (TakeoutError::Write(_) | TakeoutError::File(_) | TakeoutError::Json(_)) => {
                Self::internal(&error)
            }
            TakeoutError::Store(error) => error.into(),
        }
    }
}

impl From<ForgetError> for Problem {
    fn from(error: ForgetError) -> Self {
        match error {
            ForgetError::NoSuchUser => Self::bare(Kind::UserGone),
            ForgetError::Store(error) => error.into(),
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
            CreateError::Metadata(error) => error.into(),
            CreateError::Model(error) => error.into(),
            // A field of the body, not an address.
            CreateError::Agent(error @ AgentError::Unknown { .. }) => {
                Self::new(Kind::InvalidField, error.to_string())
            }
            CreateError::Agent(error) => error.into(),
            CreateError::Allowance(error) => error.into(),
            CreateError::UuidTaken => Self::bare(Kind::UuidTaken),
            CreateError::UserGone => Self::bare(Kind::UserGone),
            CreateError::Once(error) => error.into(),
            CreateError::Store(error) => error.into(),
        }
    }
}

impl From<SendError> for Problem {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Text(error) => error.into(),
            SendError::Model(error) => error.into(),
            SendError::Allowance(error) => error.into(),
            SendError::ChatGone => Self::bare(Kind::ChatNotFound),
            SendError::Busy => Self::bare(Kind::ChatBusy),
            SendError::UuidTaken => Self::bare(Kind::UuidTaken),
            SendError::Once(error) => error.into(),
            SendError::Store(error) => error.into(),
        }
    }
}

impl From<OnceError> for Problem {
    fn from(error: OnceError) -> Self {
        match error {
            OnceError::OtherBody => Self::bare(Kind::IdempotencyKeyReused),
            OnceError::Running => Self::bare(Kind::RequestRunning),
            OnceError::Answer(error) => Self::internal(&error),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::NotFound => Self::bare(Kind::MessageNotFound),
            CancelError::Once(error) => error.into(),
            CancelError::Store(error) => error.into(),
        }
    }
}

impl From<AgainError> for Problem {
    fn from(error: AgainError) -> Self {
        match error {
            AgainError::NotFound => Self::bare(Kind::MessageNotFound),
            AgainError::StillWritten => Self::bare(Kind::StillWritten),
            error @ (AgainError::NotAnAnswer
            | AgainError::IsComplete
            | AgainError::IsNotComplete
            | AgainError::QuestionGone) => Self::new(Kind::WrongState, error.to_string()),
            AgainError::Model(error) => error.into(),
            AgainError::Allowance(error) => error.into(),
            AgainError::Once(error) => error.into(),
            AgainError::Store(error) => error.into(),
        }
    }
}

impl From<SelectError> for Problem {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::NotFound => Self::bare(Kind::MessageNotFound),
            error @ SelectError::NoSuchVersion(_) => {
                Self::new(Kind::VersionNotFound, error.to_string())
            }
            SelectError::StillWritten => Self::bare(Kind::StillWritten),
            error @ SelectError::NotAnAnswer => Self::new(Kind::WrongState, error.to_string()),
            SelectError::Once(error) => error.into(),
            SelectError::Store(error) => error.into(),
        }
    }
}

impl From<ReactError> for Problem {
    fn from(error: ReactError) -> Self {
        match error {
            ReactError::NotFound => Self::bare(Kind::MessageNotFound),
            ReactError::StillWritten => Self::bare(Kind::StillWritten),
            error @ ReactError::NotAnAnswer => Self::new(Kind::WrongState, error.to_string()),
            ReactError::Text(error) => error.into(),
            ReactError::Once(error) => error.into(),
            ReactError::Store(error) => error.into(),
        }
    }
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        match error {
            EditError::NotFound => Self::bare(Kind::MessageNotFound),
            error @ (EditError::NotYours | EditError::IsCommand) => {
                Self::new(Kind::WrongState, error.to_string())
            }
            EditError::Text(error) => error.into(),
            EditError::Model(error) => error.into(),
            EditError::Allowance(error) => error.into(),
            EditError::Store(error) => error.into(),
        }
    }
}

impl From<UsageError> for Problem {
    fn from(error: UsageError) -> Self {
        match error {
            error @ UsageError::EmptyRange => Self::new(Kind::MalformedRequest, error.to_string()),
            UsageError::Store(error) => error.into(),
        }
    }
}

impl From<UpdateError> for Problem {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Text(error) => error.into(),
            UpdateError::Metadata(error) => error.into(),
            UpdateError::Model(error) => error.into(),
            UpdateError::Agent(error @ AgentError::Unknown { .. }) => {
                Self::new(Kind::InvalidField, error.to_string())
            }
            UpdateError::Agent(error) => error.into(),
            error @ (UpdateError::Nothing | UpdateError::Past) => {
                Self::new(Kind::InvalidField, error.to_string())
            }
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

impl From<RestoreError> for Problem {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::NotFound => Self::bare(Kind::ChatNotFound),
            RestoreError::Once(error) => error.into(),
            RestoreError::Store(error) => error.into(),
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

impl From<InspectError> for Problem {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::NotHere => Self::bare(Kind::ChatsPrivate),
            InspectError::NoSuchChat => Self::bare(Kind::ChatNotFound),
            InspectError::NoSuchUser => Self::bare(Kind::UserNotFound),
            InspectError::List(error) => error.into(),
            InspectError::Store(error) => error.into(),
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

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Store(error) => error.into(),
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

impl From<AboutError> for Problem {
    fn from(error: AboutError) -> Self {
        match error {
            AboutError::NotFound => Self::bare(Kind::MessageNotFound),
            error @ AboutError::NotAnAnswer => Self::new(Kind::WrongState, error.to_string()),
            AboutError::Store(error) => error.into(),
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

impl From<ShareError> for Problem {
    fn from(error: ShareError) -> Self {
        match error {
            error @ ShareError::Expiry => Self::new(Kind::InvalidField, error.to_string()),
            error @ ShareError::TooMany => Self::new(Kind::TooManyShares, error.to_string()),
            ShareError::ChatGone => Self::bare(Kind::ChatNotFound),
            ShareError::Random(error) => Self::internal(&error),
            ShareError::Store(error) => error.into(),
        }
    }
}

impl From<SharesError> for Problem {
    fn from(error: SharesError) -> Self {
        match error {
            SharesError::Store(error) => error.into(),
        }
    }
}

impl From<RevokeShareError> for Problem {
    fn from(error: RevokeShareError) -> Self {
        match error {
            RevokeShareError::NotFound => Self::bare(Kind::ShareNotFound),
            RevokeShareError::Store(error) => error.into(),
        }
    }
}
