//! Pages of other sites: what they may not do, and what those that the operator lists may.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;

use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use super::peer::Front;
use super::problem::{Kind, Problem};

/// How long a browser remembers what a listed site may do.
const CORS_AGE: Duration = Duration::from_mins(10);

type Refusal = fn(ProtectionError) -> Response<Body>;

/// Refuses what changes something and comes from another site's page, by `Sec-Fetch-Site` and `Origin`
/// (<https://words.filippo.io/csrf/>). What is no browser sends neither and passes.
pub(super) fn own_pages(front: &Front) -> CsrfLayer<Refusal> {
    let mut layer = CsrfLayer::new();
    for origin in front.public_origin.iter().chain(&front.cors) {
        let known = layer.clone().add_trusted_origin(origin);
        match known {
            Ok(known) => layer = known,
            Err(error) => tracing::warn!(%error, origin, "this is no origin, and not trusted"),
        }
    }
    layer.with_rejection_response(refuse as Refusal)
}

fn refuse(_: ProtectionError) -> Response<Body> {
    Problem::bare(Kind::CrossSite).into_response()
}

/// Lets the pages of listed sites use the API with a token; never with a cookie.
pub(super) fn other_sites(front: &Front) -> Option<CorsLayer> {
    let origins = front.cors.iter();
    let origins: Vec<HeaderValue> = origins.filter_map(|text| text.parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([
                Method::GET,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            .allow_headers([
                header::ACCEPT,
                header::AUTHORIZATION,
                header::CACHE_CONTROL,
                header::CONTENT_TYPE,
                HeaderName::from_static("hx-request"),
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("x-request-id"),
            ])
            .expose_headers([
                header::LOCATION,
                header::RETRY_AFTER,
                HeaderName::from_static("ratelimit"),
                HeaderName::from_static("ratelimit-policy"),
                HeaderName::from_static("x-request-id"),
            ])
            .max_age(CORS_AGE),
    )
}
