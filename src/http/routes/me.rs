//! `GET /me`: who the caller is here. `GET /me/export`: all of their data. `DELETE /me`, and
//! `POST /me/delete` of a form: erases it, and them.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use entity::{OwnerId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::http::AppState;
use crate::http::extract::{Body, Caller, Form};
use crate::http::peer::ClientAddress;
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::store::Actor;

/// Where HTMX takes the browser.
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
/// What the form's field has to say, so that nobody erases everything by one wrong click.
const CONFIRMATION: &str = "delete";

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/me", get(read).delete(forget))
        .route("/me/export", get(export))
        .route("/me/delete", post(forget_by_form))
}

/// The caller, as they are known here.
#[derive(Serialize)]
struct MeView {
    uuid: OwnerId,
    name: String,
    /// Null: the tier of everybody who has no other.
    tier: Option<String>,
    is_admin: bool,
    created_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForgetBody {
    #[serde(default)]
    confirm: String,
}

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

async fn export(
    State(app): State<AppState>,
    Caller(owner): Caller,
    Extension(client): Extension<ClientAddress>,
) -> Result<Response, Problem> {
    let takeout = app.chats.takeout(owner, &actor(owner, client)).await?;
    let name = format!("pollen-{}.zip", app.chats.now().to_datetime().date_naive());
    reply::big_file(&name, "application/zip", takeout.file, takeout.bytes)
}

async fn forget(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    Extension(client): Extension<ClientAddress>,
) -> Result<Response, Problem> {
    // What is left over for the background can be seen by nobody any more.
    app.chats.forget_user(owner, &actor(owner, client)).await?;
    match form {
        Form::Json => Ok(reply::no_content()),
        Form::Page => reply::see_other("/"),
        Form::Fragment => {
            let mut response = reply::no_content();
            let headers = response.headers_mut();
            headers.insert(HX_REDIRECT, HeaderValue::from_static("/"));
            Ok(response)
        }
    }
}

async fn forget_by_form(
    app: State<AppState>,
    caller: Caller,
    form: Form,
    client: Extension<ClientAddress>,
    Body(ForgetBody { confirm }): Body<ForgetBody>,
) -> Result<Response, Problem> {
    if confirm.trim() != CONFIRMATION {
        let detail = format!("`confirm` has to be the word `{CONFIRMATION}`");
        return Err(Problem::new(Kind::InvalidField, detail));
    }
    forget(app, caller, form, client).await
}

fn actor(owner: OwnerId, client: ClientAddress) -> Actor {
    Actor {
        id: Some(owner),
        address: Some(client.ip.to_string()),
    }
}
