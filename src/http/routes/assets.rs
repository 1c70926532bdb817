//! `GET /assets/{file}`: the page's script, style and pictures, out of the binary. Their addresses
//! carry a hash of their contents (`?v=`), so that a browser may keep them for ever.

use axum::Router;
use axum::extract::RawQuery;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::http::AppState;
use crate::http::extract::NamePath;
use crate::http::problem::Problem;
use crate::http::view::assets::{Assets, fingerprint};

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const CHECK_FIRST: HeaderValue = HeaderValue::from_static("no-cache");

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/assets/{file}", get(asset))
}

async fn asset(NamePath(file): NamePath, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asset = Assets::get(&file).ok_or_else(Problem::no_such_page)?;
    let kind = asset.metadata.mimetype().to_owned();
    let kind = HeaderValue::from_str(&kind).map_err(|error| Problem::internal(&error))?;
    let current = format!("v={}", fingerprint(&asset));
    let keep = if query.as_deref() == Some(&current) {
        FOR_EVER
    } else {
        CHECK_FIRST
    };
    Ok((
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)],
        asset.data,
    )
        .into_response())
}
