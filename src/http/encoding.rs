//! Compression: whole bodies only, so that every answer has its `Content-Length` (P8), which a stream
//! compressor takes away.

use std::io::Write as _;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Bodies below this many bytes are sent as they are: they fit a packet anyway.
const SMALLEST: u64 = 1_024;
/// Bodies above this many bytes are compressed by a thread that may take its time.
pub(super) const LARGE: usize = 32 * 1024;
/// What is sent once.
const QUICK: Compression = Compression::new(4);

const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Compresses what gets smaller by it, for clients that say that they take it.
pub(super) async fn compress(response: Response) -> Response {
    if !is_worth_it(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(plain) = to_bytes(body, usize::MAX).await else {
        // It was in memory already; there is nothing that could fail.
        return Response::from_parts(parts, Body::empty());
    };
    let small = if plain.len() > LARGE {
        let plain = plain.clone();
        let work = tokio::task::spawn_blocking(move || gzip(&plain, QUICK)).await;
        work.unwrap_or_default()
    } else {
        gzip(&plain, QUICK)
    };
    if small.is_empty() || small.len() >= plain.len() {
        return Response::from_parts(parts, Body::from(plain));
    }
    parts.headers.insert(header::CONTENT_ENCODING, GZIP);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(small))
}

/// Whether `Accept-Encoding` names gzip, and not with a weight of nothing (RFC 9110, 12.5.3).
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let is_refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
            weight.is_some_and(|weight| weight <= 0.0)
        });
        name.eq_ignore_ascii_case("gzip") && !is_refused
    })
}

/// The smallest form, for what is sent again and again.
pub(super) fn gzip_small(plain: &[u8]) -> Vec<u8> {
    gzip(plain, Compression::best())
}

/// Empty if it cannot be done.
fn gzip(plain: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    // Writing to memory cannot fail.
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

fn is_worth_it(response: &Response) -> bool {
    let headers = response.headers();
    let size = response.body().size_hint();
    let media_type = headers.get(header::CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    let is_text = media_type.is_some_and(|media_type| {
        media_type.starts_with("text/") || media_type.starts_with("application/")
    });
    is_text && !headers.contains_key(header::CONTENT_ENCODING) && size.lower() >= SMALLEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_takes_is_what_it_says() {
        let takes = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && takes("deflate,gzip"));
        assert!(
            !takes("") && !takes("br") && !takes("gzip;q=0") && !takes("identity, gzip; q=0.0")
        );
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
