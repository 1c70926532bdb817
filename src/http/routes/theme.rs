//! `POST /theme`: which colours the pages have, remembered in a cookie.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use url::Url;

use crate::http::AppState;
use crate::http::body::Body;
use crate::http::extract::{Client, Form};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::frame::{Frame, HOST_PREFIX, THEME_COOKIE, Theme, ThemeFragment};

const A_YEAR_S: u32 = 365 * 24 * 60 * 60;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/theme", post(choose))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThemeBody {
    theme: Theme,
}

async fn choose(
    form: Form,
    frame: Frame,
    Client(client): Client,
    headers: HeaderMap,
    Body(ThemeBody { theme }): Body<ThemeBody>,
) -> Result<Response, Problem> {
    let frame = Frame { theme, ..frame };
    let mut response = match form {
        Form::Json => reply::no_content(),
        Form::Fragment => reply::html_now(StatusCode::OK, &ThemeFragment { frame })?,
        Form::Page => reply::see_other(&came_from(&headers))?,
    };
    let name = theme.name();
    let (prefix, secure) = if client.is_https {
        (HOST_PREFIX, "; Secure")
    } else {
        ("", "")
    };
    let cookie = format!(
        "{prefix}{THEME_COOKIE}={name}; Path=/; Max-Age={A_YEAR_S}; SameSite=Lax; HttpOnly{secure}"
    );
    let cookie = HeaderValue::from_str(&cookie);
    let cookie = cookie.map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// The path of the page that the form was on; never another server's.
pub(super) fn came_from(headers: &HeaderMap) -> String {
    let referer = headers.get(header::REFERER);
    let referer = referer.and_then(|value| value.to_str().ok());
    let url = referer.and_then(|text| Url::parse(text).ok());
    // In other addresses a backslash is left as it is, which a browser takes for a slash.
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    let path = url.map(|url| match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    });
    // Two slashes would begin a host's name.
    let path = path.filter(|path| path.starts_with('/') && !path.starts_with("//"));
    path.unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_never_to_another_server() {
        let back = |referer: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::REFERER, HeaderValue::from_static(referer));
            came_from(&headers)
        };
        assert_eq!(back("http://127.0.0.1/chat/1?x=y"), "/chat/1?x=y");
        assert_eq!(back("http://evil.example//elsewhere.example/"), "/");
        assert_eq!(back("other:/\\evil.example/"), "/");
        assert_eq!(back("http://127.0.0.1\\evil.example"), "/evil.example");
        assert_eq!(back("nonsense"), "/");
        assert_eq!(came_from(&HeaderMap::new()), "/");
    }
}
