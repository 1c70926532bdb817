//! The account: tokens and sessions, to see, to make and to end.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::api_token::Scope;
use entity::{SessionId, TokenId};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::body::Body;
use crate::http::extract::{Acting, Caller, Form, UuidPath, Who};
use crate::http::openapi::{Conflict, by_post};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::http::view::account::{
    AccountPage, ApiTokenView, ApiTokensView, MadeApiTokenView, SessionView, SessionsView,
};
use crate::http::view::archive::{ArchiveFragment, ArchiveView};
use crate::http::view::frame::Frame;
use crate::identity::{self, NewToken, Via};
use crate::model::hint::Activity;
use crate::store::{Actor, Sessions};

const DAY: Duration = Duration::from_hours(24);

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(account))
        .routes(routes!(tokens, make_token))
        .routes(routes!(revoke_token))
        .routes(by_post(
            "/token/{uuid}/revoke",
            revoke_token,
            routes!(revoke_token),
        ))
        .routes(routes!(sessions))
        .routes(routes!(end_sessions))
        .routes(routes!(end_session))
        .routes(by_post(
            "/session/{uuid}/end",
            end_session,
            routes!(end_session),
        ))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    #[serde(default)]
    name: String,
    scope: Option<Scope>,
    /// None: it does not expire.
    #[serde(default, deserialize_with = "number_or_text")]
    #[schema(minimum = 1, maximum = 3660)]
    expires_in_days: Option<u32>,
}

/// A form says numbers as texts, and an empty field as an empty one.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Days {
        Number(u32),
        Text(String),
    }
    match Option::<Days>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Days::Number(days)) => Ok(Some(days)),
        Some(Days::Text(text)) if text.is_empty() => Ok(None),
        Some(Days::Text(text)) => text
            .parse()
            .map(Some)
            .map_err(|_| serde::de::Error::custom("`expires_in_days` is not a number of days")),
    }
}

/// Who the caller is, with their tokens and sessions: a page.
#[utoipa::path(
    get, path = "/account",
    responses((status = OK, body = String, content_type = "text/html"))
)]
async fn account(
    State(app): State<AppState>,
    frame: Frame,
    Who(caller): Who,
) -> Result<Response, Problem> {
    let page = page(&app, frame, &caller, None).await?;
    reply::html_now(StatusCode::OK, &page)
}

async fn page(
    app: &AppState,
    frame: Frame,
    caller: &identity::Caller,
    made: Option<MadeApiTokenView>,
) -> Result<AccountPage, Problem> {
    let identity = &app.gate.identity;
    let member = app.chats.member(caller.owner).await?;
    let now = app.chats.now();
    let tokens = identity.tokens(caller.owner).await?;
    let tokens = tokens.into_iter().map(ApiTokenView::new);
    let sessions = identity.sessions(caller.owner).await?;
    let sessions = sessions.into_iter();
    let archive = app.chats.archive_at_hand(caller.owner).await?;
    let hint = app.load.poll_after_ms(Activity::Flowing);
    Ok(AccountPage {
        archive: ArchiveFragment {
            archive: archive.map(|archive| ArchiveView::new(archive, hint)),
        },
        frame,
        caller: caller.clone(),
        tier: member.tier.as_ref().map(|tier| tier.name.clone()),
        takes_tokens: identity.modes().token,
        can_sign_out: caller.session.is_some() || caller.via == Via::Proxy,
        tokens: tokens.filter(|token| token.is_alive(now)).collect(),
        sessions: sessions.map(|row| SessionView::new(row, caller)).collect(),
        made,
    })
}

/// The caller's tokens, the newest first.
#[utoipa::path(
    get, path = "/tokens", responses((status = OK, body = ApiTokensView))
)]
async fn tokens(State(app): State<AppState>, Caller(owner): Caller) -> Result<Response, Problem> {
    let tokens = app.gate.identity.tokens(owner).await?;
    let tokens = tokens.into_iter().map(ApiTokenView::new).collect();
    reply::json(StatusCode::OK, &ApiTokensView { tokens })
}

/// Makes a token. Its secret is shown this once.
#[utoipa::path(
    post, path = "/tokens", request_body = TokenBody,
    responses((status = CREATED, body = MadeApiTokenView), Conflict)
)]
async fn make_token(
    State(app): State<AppState>,
    form: Form,
    frame: Frame,
    Who(caller): Who,
    Acting(actor): Acting,
    Body(body): Body<TokenBody>,
) -> Result<Response, Problem> {
    if !app.gate.identity.modes().token {
        let detail = "this server takes no API tokens: `auth.modes` has no `token`";
        return Err(Problem::new(Kind::WrongState, detail));
    }
    let new = NewToken {
        name: body.name,
        scope: body.scope.unwrap_or(Scope::Write),
        lifetime: body.expires_in_days.map(|days| DAY * days),
    };
    let identity = &app.gate.identity;
    let made = identity.make_token(caller.owner, new, Some(&caller), &actor);
    let made = made.await?;
    let made = MadeApiTokenView {
        token: ApiTokenView::new(made.row),
        secret: made.secret,
    };
    match form {
        Form::Json => reply::json(StatusCode::CREATED, &made),
        Form::Fragment | Form::Page => {
            let page = page(&app, frame, &caller, Some(made)).await?;
            reply::html_now(StatusCode::CREATED, &page)
        }
    }
}

/// Revokes a token, and what was made with it.
#[utoipa::path(
    delete, path = "/token/{uuid}", responses((status = NO_CONTENT))
)]
async fn revoke_token(
    State(app): State<AppState>,
    form: Form,
    Caller(owner): Caller,
    Acting(actor): Acting,
    UuidPath(uuid): UuidPath,
) -> Result<Response, Problem> {
    let revoked = app
        .gate
        .identity
        .revoke_token(Some(owner), TokenId(uuid), &actor);
    revoked.await?;
    done(form)
}

/// The caller's sessions, the last one used first.
#[utoipa::path(
    get, path = "/sessions", responses((status = OK, body = SessionsView))
)]
async fn sessions(State(app): State<AppState>, Who(caller): Who) -> Result<Response, Problem> {
    let sessions = app.gate.identity.sessions(caller.owner).await?.into_iter();
    let sessions = sessions.map(|row| SessionView::new(row, &caller)).collect();
    reply::json(StatusCode::OK, &SessionsView { sessions })
}

/// Ends a session on every node.
#[utoipa::path(
    delete, path = "/session/{uuid}", responses((status = NO_CONTENT))
)]
async fn end_session(
    State(app): State<AppState>,
    form: Form,
    Caller(owner): Caller,
    Acting(actor): Acting,
    UuidPath(uuid): UuidPath,
) -> Result<Response, Problem> {
    let which = Sessions::One(SessionId(uuid));
    if end(&app, owner, which, &actor).await? == 0 {
        return Err(Problem::bare(Kind::SessionNotFound));
    }
    done(form)
}

/// Ends all of the caller's sessions.
#[utoipa::path(
    post, path = "/sessions/end", responses((status = NO_CONTENT))
)]
async fn end_sessions(
    State(app): State<AppState>,
    form: Form,
    Caller(owner): Caller,
    Acting(actor): Acting,
) -> Result<Response, Problem> {
    end(&app, owner, Sessions::All, &actor).await?;
    done(form)
}

async fn end(
    app: &AppState,
    owner: entity::OwnerId,
    which: Sessions,
    actor: &Actor,
) -> Result<u64, Problem> {
    Ok(app.gate.identity.end_sessions(owner, which, actor).await?)
}

fn done(form: Form) -> Result<Response, Problem> {
    match form {
        Form::Json => Ok(reply::no_content()),
        Form::Fragment | Form::Page => reply::see_other("/account"),
    }
}
