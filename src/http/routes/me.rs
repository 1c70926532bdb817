//! `GET /me`: who the caller is here. `GET /me/export`: all of their data. `DELETE /me`, and
//! `POST /me/delete` of a form: erases it, and them.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use entity::{OwnerId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::body::Body;
use crate::http::extract::{Acting, Caller, Form};
use crate::http::openapi::Conflict;
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::store::Actor;

/// Where HTMX takes the browser.
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
/// What the field `confirm` of a form has to say.
const CONFIRMATION: &str = "delete";

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(read, forget))
        .routes(routes!(export))
        .routes(routes!(forget_by_form))
}

/// The caller, as they are known here.
#[derive(Serialize, ToSchema)]
struct MeView {
    uuid: OwnerId,
    name: String,
    /// Null: the tier of everybody who has no other.
    tier: Option<String>,
    is_admin: bool,
    created_at: Timestamp,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgetBody {
    #[serde(default)]
    #[schema(required, pattern = "^delete$")]
    pub confirm: String,
}

/// Who the caller is here.
#[utoipa::path(
    get, path = "/me", responses((status = OK, body = MeView))
)]
async fn read(State(app): State<AppState>, Caller(owner): Caller) -> Result<Response, Problem> {
    let user = app.chats.account(owner).await?;
    let user = user.ok_or_else(|| Problem::bare(Kind::UserGone))?;
    let view = MeView {
        uuid: user.id,
        name: user.name,
        tier: user.tier,
        is_admin: user.is_admin,
        created_at: user.created_at,
    };
    reply::json(StatusCode::OK, &view)
}

/// All of the caller's data.
#[utoipa::path(
    get, path = "/me/export",
    responses((status = OK, body = Vec<u8>, content_type = "application/zip"), Conflict)
)]
async fn export(
    State(app): State<AppState>,
    Caller(owner): Caller,
    Acting(actor): Acting,
) -> Result<Response, Problem> {
    let takeout = app.chats.takeout(owner, &actor).await?;
    let name = format!("pollen-{}.zip", app.chats.now().to_datetime().date_naive());
    reply::big_file(&name, "application/zip", takeout.file, takeout.bytes)
}

/// Erases the caller with all of their data.
#[utoipa::path(
    delete, path = "/me", responses((status = NO_CONTENT))
)]
async fn forget(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    Acting(actor): Acting,
) -> Result<Response, Problem> {
    erase(&app, owner, &actor).await?;
    let mut response = match form {
        Form::Page => reply::see_other("/")?,
        Form::Json | Form::Fragment => reply::no_content(),
    };
    if form == Form::Fragment {
        let headers = response.headers_mut();
        headers.insert(HX_REDIRECT, HeaderValue::from_static("/"));
    }
    reply::clear_browser(&mut response);
    Ok(response)
}

/// The same by a form, which says the word.
#[utoipa::path(
    post, path = "/me/delete", request_body = ForgetBody,
    responses((status = NO_CONTENT))
)]
async fn forget_by_form(
    app: State<AppState>,
    caller: Caller,
    form: Form,
    acting: Acting,
    Body(ForgetBody { confirm }): Body<ForgetBody>,
) -> Result<Response, Problem> {
    confirmed(&confirm)?;
    forget(app, caller, form, acting).await
}

/// Erases a user with all of their data, and forgets that they were let in.
pub(super) async fn erase(app: &AppState, user: OwnerId, actor: &Actor) -> Result<(), Problem> {
    // What is left over for the background can be seen by nobody any more.
    app.chats.forget_user(user, actor).await?;
    app.gate.identity.forget();
    Ok(())
}

/// Nobody erases everything by one wrong click: the form's field has to say the word.
pub(super) fn confirmed(word: &str) -> Result<(), Problem> {
    if word.trim() == CONFIRMATION {
        return Ok(());
    }
    let detail = format!("`confirm` has to be the word `{CONFIRMATION}`");
    Err(Problem::new(Kind::InvalidField, detail))
}
