//! What administrators do: see who there is, let them in or not, set their tiers, and read what was done
//! to rights. Their rights end at other people's chats, unless the configuration says otherwise.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::OwnerId;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::chat::{ExportParams, export_reply};
use super::me::{self, ForgetBody};
use crate::chat::InspectedChat;
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::extract::{Acting, Admin, Form, Params, UuidPath, parse_uuid};
use crate::http::openapi::TooLong;
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::http::view::account::{AuditEntryView, AuditView, UserView, UsersPage, UsersView};
use crate::http::view::frame::Frame;
use crate::http::view::list::ChatListView;
use crate::model::exchange::ChatDocument;
use crate::store::UserChange;

/// Users, or entries, of a page.
const PAGE: u64 = 100;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(users))
        .routes(routes!(change, erase))
        .routes(routes!(erase_by_form))
        .routes(routes!(chats))
        .routes(routes!(export))
        .routes(routes!(audit))
}

/// Others are passed over: an address may have been decorated on its way.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UsersParams {
    #[param(value_type = Option<uuid::Uuid>)]
    after: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChatsParams {
    cursor: Option<String>,
    limit: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    before: Option<i64>,
}

/// What is set anew; what is not named stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserBody {
    /// Empty: the tier of everybody who has no other.
    tier: Option<String>,
    #[serde(default, deserialize_with = "yes_or_no")]
    disabled: Option<bool>,
    #[serde(default, deserialize_with = "yes_or_no")]
    is_admin: Option<bool>,
}

/// A form says it as a text.
fn yes_or_no<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(yes) => Ok(Some(yes)),
        Value::String(text) if text == "true" => Ok(Some(true)),
        Value::String(text) if text == "false" => Ok(Some(false)),
        _ => Err(serde::de::Error::custom("expected true or false")),
    }
}

/// The users, by their ids.
#[utoipa::path(
    get, path = "/admin/users", params(UsersParams),
    responses((status = OK, body = UsersView))
)]
async fn users(
    State(app): State<AppState>,
    form: Form,
    frame: Frame,
    _: Admin,
    Params(params): Params<UsersParams>,
) -> Result<Response, Problem> {
    let after = params.after.map(|text| parse_uuid("after", &text));
    let after = after.transpose()?.map(OwnerId);
    let mut rows = app.gate.identity.users(after, PAGE + 1).await?;
    let has_more = rows.len() as u64 > PAGE;
    rows.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    let users = UsersView {
        next: rows.last().map(|row| row.id).filter(|_| has_more),
        users: rows.into_iter().map(UserView::new).collect(),
    };
    match form {
        Form::Json => reply::json(StatusCode::OK, &users),
        Form::Fragment | Form::Page => {
            let tiers = app.chats.tiers();
            let page = UsersPage {
                frame,
                users,
                tiers,
            };
            reply::html_now(StatusCode::OK, &page)
        }
    }
}

/// Changes a user.
#[utoipa::path(
    post, path = "/admin/user/{uuid}", request_body = UserBody,
    responses((status = OK, body = UserView))
)]
async fn change(
    State(app): State<AppState>,
    form: Form,
    _: Admin,
    Acting(actor): Acting,
    UuidPath(uuid): UuidPath,
    Body(body): Body<UserBody>,
) -> Result<Response, Problem> {
    let identity = &app.gate.identity;
    if let Some(tier) = body.tier.as_deref().filter(|tier| !tier.is_empty())
        && !app.chats.tiers().iter().any(|known| known == tier)
    {
        let detail = format!("`tier`: there is no tier {tier:?}");
        return Err(Problem::new(Kind::InvalidField, detail));
    }
    let now = app.chats.now();
    let change = UserChange {
        tier: body
            .tier
            .map(|tier| Some(tier).filter(|tier| !tier.is_empty())),
        is_admin: body.is_admin,
        disabled_at: body.disabled.map(|disabled| disabled.then_some(now)),
        ..UserChange::default()
    };
    let id = OwnerId(uuid);
    let user = identity.find_user(&id.to_string()).await?;
    identity.change_user(&user, change, &actor).await?;
    match form {
        Form::Json => {
            let user = identity.find_user(&id.to_string()).await?;
            reply::json(StatusCode::OK, &UserView::new(user))
        }
        Form::Fragment | Form::Page => reply::see_other("/admin/users"),
    }
}

/// Erases a user with all of their data.
#[utoipa::path(
    delete, path = "/admin/user/{uuid}", responses((status = NO_CONTENT))
)]
async fn erase(
    State(app): State<AppState>,
    form: Form,
    _: Admin,
    Acting(actor): Acting,
    UuidPath(uuid): UuidPath,
) -> Result<Response, Problem> {
    let user = app.gate.identity.find_user(&uuid.to_string()).await?;
    me::erase(&app, user.id, &actor).await?;
    match form {
        Form::Json => Ok(reply::no_content()),
        Form::Fragment | Form::Page => reply::see_other("/admin/users"),
    }
}

/// The same by a form, which says the word.
#[utoipa::path(
    post, path = "/admin/user/{uuid}/delete", request_body = ForgetBody,
    responses((status = NO_CONTENT))
)]
async fn erase_by_form(
    app: State<AppState>,
    form: Form,
    admin: Admin,
    acting: Acting,
    uuid: UuidPath,
    Body(ForgetBody { confirm }): Body<ForgetBody>,
) -> Result<Response, Problem> {
    me::confirmed(&confirm)?;
    erase(app, form, admin, acting, uuid).await
}

/// A user's chats, where `auth.admins_read_chats` lets administrators see them.
#[utoipa::path(
    get, path = "/admin/user/{uuid}/chats", params(ChatsParams),
    responses((status = OK, body = ChatListView))
)]
async fn chats(
    State(app): State<AppState>,
    _: Admin,
    Acting(actor): Acting,
    UuidPath(uuid): UuidPath,
    Params(params): Params<ChatsParams>,
) -> Result<Response, Problem> {
    let after = params.cursor.map(|text| text.parse()).transpose()?;
    let (owner, limit) = (OwnerId(uuid), params.limit);
    let list = app.chats.inspect_list(owner, after, limit, &actor).await?;
    let view = ChatListView::new(list, &app.chats.defaults());
    reply::json(StatusCode::OK, &view)
}

/// Somebody's chat as a file, where `auth.admins_read_chats` lets administrators see it.
#[utoipa::path(
    get, path = "/admin/chat/{uuid}/export", params(ExportParams),
    responses((status = OK, content(
        (String = "text/markdown"),
        (ChatDocument = "application/json"),
        (String = "text/plain"),
        (String = "text/html"),
        (Vec<u8> = "application/pdf"))), TooLong)
)]
async fn export(
    State(app): State<AppState>,
    Params(params): Params<ExportParams>,
    chat: InspectedChat,
) -> Result<Response, Problem> {
    export_reply(&app, &params, &chat).await
}

/// What was done to rights, the newest first.
#[utoipa::path(
    get, path = "/admin/audit", params(AuditParams),
    responses((status = OK, body = AuditView))
)]
async fn audit(
    State(app): State<AppState>,
    _: Admin,
    Params(params): Params<AuditParams>,
) -> Result<Response, Problem> {
    let rows = app.gate.identity.audit(params.before, PAGE).await?;
    let entries = rows.into_iter().map(|row| AuditEntryView {
        number: row.id,
        at: row.at,
        actor: row.actor_id,
        action: row.action,
        target: row.target,
        address: row.address,
    });
    let view = AuditView {
        entries: entries.collect(),
    };
    reply::json(StatusCode::OK, &view)
}
