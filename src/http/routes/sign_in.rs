//! Signing in and out: a browser that brings a token once gets a session for it, and a cookie instead.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::body::Body;
use crate::http::extract::{Client, Form, Known, Params};
use crate::http::identify::browser;
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::http::view::account::SignInPage;
use crate::http::view::frame::Frame;
use crate::identity::Via;
use crate::store::{Actor, Sessions};

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(show, sign_in))
        .routes(routes!(sign_out))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SignInParams {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignInBody {
    token: String,
    #[serde(default)]
    next: String,
}

/// The page to sign in on.
#[utoipa::path(
    get, path = "/sign-in", params(SignInParams),
    responses((status = OK, body = String, content_type = "text/html"))
)]
async fn show(
    State(app): State<AppState>,
    frame: Frame,
    Params(params): Params<SignInParams>,
) -> Result<Response, Problem> {
    if !app.gate.takes_sign_ins() {
        return Err(Problem::no_such_page());
    }
    let page = SignInPage {
        frame,
        next: local(&params.next),
        refused: None,
    };
    reply::html_now(StatusCode::OK, &page)
}

/// Begins a session for whoever has a token: a cookie.
#[utoipa::path(
    post, path = "/sign-in", request_body = SignInBody,
    responses((status = NO_CONTENT))
)]
async fn sign_in(
    State(app): State<AppState>,
    form: Form,
    frame: Frame,
    Client(client): Client,
    headers: HeaderMap,
    Body(body): Body<SignInBody>,
) -> Result<Response, Problem> {
    if !app.gate.takes_sign_ins() {
        return Err(Problem::no_such_page());
    }
    let identity = &app.gate.identity;
    let address = Some(client.ip.to_string());
    let signed_in = identity.sign_in(body.token.trim(), browser(&headers), address);
    let mark = match signed_in.await.map_err(Problem::from) {
        Ok(mark) => mark,
        Err(problem) if form == Form::Page && problem.kind == Kind::SignInNeeded => {
            let page = SignInPage {
                frame,
                next: local(&body.next),
                refused: problem.detail,
            };
            return reply::html_now(StatusCode::UNAUTHORIZED, &page);
        }
        Err(problem) => return Err(problem),
    };
    let mut response = match form {
        Form::Json => reply::no_content(),
        Form::Fragment | Form::Page => reply::see_other(&local(&body.next))?,
    };
    app.gate.give(&mut response, mark, client.is_https);
    Ok(response)
}

/// Ends the browser's session.
#[utoipa::path(
    post, path = "/sign-out", responses((status = NO_CONTENT))
)]
async fn sign_out(
    State(app): State<AppState>,
    form: Form,
    Client(client): Client,
    Known(caller): Known,
) -> Result<Response, Problem> {
    if let Some(session) = caller.session {
        let identity = &app.gate.identity;
        let actor = Actor {
            id: Some(caller.owner),
            address: Some(client.ip.to_string()),
        };
        let which = Sessions::One(session);
        identity.end_sessions(caller.owner, which, &actor).await?;
    }
    let mut response = match form {
        Form::Json => reply::no_content(),
        Form::Fragment | Form::Page if caller.via == Via::Proxy => {
            reply::see_other(&app.gate.gateway.sign_out_url)?
        }
        Form::Fragment | Form::Page => reply::see_other("/")?,
    };
    app.gate.take(&mut response, client.is_https);
    reply::clear_browser(&mut response);
    Ok(response)
}

/// A path of this server; never another's.
fn local(next: &str) -> String {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    // A header holds nothing else.
    if is_path && next.bytes().all(|byte| byte.is_ascii_graphic()) {
        next.to_owned()
    } else {
        "/".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_on_is_never_to_another_server() {
        assert_eq!(local("/chat/1?a=b"), "/chat/1?a=b");
        for other in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\r\nSet-Cookie: a=b",
            " /",
            "/caf\u{e9}",
        ] {
            assert_eq!(local(other), "/", "{other:?}");
        }
    }
}
