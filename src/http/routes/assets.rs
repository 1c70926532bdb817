//! `GET /assets/{file}`: the page's script, style and pictures, out of the binary. Their addresses
//! carry a hash of their contents (`?v=`), so that a browser may keep them for ever.

use axum::Router;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::http::AppState;
use crate::http::encoding::takes_gzip;
use crate::http::extract::NamePath;
use crate::http::problem::Problem;
use crate::http::view::assets;

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const CHECK_FIRST: HeaderValue = HeaderValue::from_static("no-cache");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/assets/{file}", get(asset))
}

async fn asset(
    NamePath(file): NamePath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asset = assets::find(&file).ok_or_else(Problem::no_such_page)?;
    let kind = HeaderValue::from_str(&asset.media_type);
    let kind = kind.map_err(|error| Problem::internal(&error))?;
    let current = format!("v={}", asset.fingerprint);
    let keep = if query.as_deref() == Some(&current) {
        FOR_EVER
    } else {
        CHECK_FIRST
    };
    let kept = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)];
    if takes_gzip(&headers) {
        let coding = [(header::CONTENT_ENCODING, GZIP)];
        return Ok((kept, coding, asset.gzip.clone()).into_response());
    }
    Ok((kept, asset.bytes.clone()).into_response())
}
