//! Fuzz targets: what a client's request says before a handler sees it, and what a page shows.

use std::sync::{Arc, LazyLock};

use askama::Template as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts as _, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum_extra::extract::SignedCookieJar;
use axum_extra::extract::cookie::{Cookie, Key};
use entity::MessageId;
use entity::chat_message::Status;
use futures::executor::block_on;
use tower::Service as _;
use url::Url;
use uuid::Uuid;

use super::body::{content_type, idempotency_key as key_of};
use super::extract::{
    AliasPath, CacheControl, CursorPath, DeletedChatPath, Form, MessagePath, NamePath, NumberPath,
    TokensPath, frame_of,
};
use super::identify::{self, Gateway};
use super::load::Load;
use super::middleware::{Outside, Wrap};
use super::problem::Problem;
use super::routes::fuzz as routes;
use super::view::markdown;
use super::view::place::Place;
use super::view::tokens::{PageRead, TokensFragment};
use super::{dress, encoding, reply};
use crate::chat::{PageCursor, TokensPoll};
use crate::model::delta::{Knowledge, MAX_DELTA_BYTES, delta};
use crate::model::hint::{Activity, FLOWING_MS};
use crate::model::position::Edition;

pub(crate) use markdown::fuzz::markdown;

/// What no answer may hold as it is, however it came into the request.
const MARK: &str = "<fuzz";
/// Whatever a request holds, pages of an error are short.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The cursor of a page of chats: what is taken comes out as it went in, but for the ways to spell a
/// number and a UUID.
pub(crate) fn page_cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(cursor) = text.parse::<PageCursor>() {
        assert_eq!(cursor.to_string().parse().ok(), Some(cursor));
    }
}

/// A request for a path and a query, through all extractors of paths and the layers around them, in each form of answer.
pub(crate) fn path(data: &[u8]) {
    let Ok(uri) = Uri::try_from([b"/", data].concat()) else {
        return;
    };
    for (name, value) in [
        ("accept", "*/*"),
        ("accept", "text/html"),
        ("hx-request", "true"),
    ] {
        let request = Request::get(uri.clone()).header(name, value);
        let Ok(request) = request.body(Body::empty()) else {
            continue;
        };
        let mut router = ROUTER.clone();
        let Ok(answer) = block_on(router.call(request));
        looked_at(answer);
    }
}

fn looked_at(answer: Response) {
    assert!(!answer.status().is_server_error(), "{answer:?}");
    assert!(answer.headers().contains_key("x-request-id"));
    let body = block_on(to_bytes(answer.into_body(), MAX_ANSWER_BYTES));
    let body = body.unwrap_or_default();
    let body = std::str::from_utf8(&body).unwrap_or(MARK);
    assert!(!body.contains(MARK) || body.starts_with('{'), "{body}");
}

static ROUTER: LazyLock<Router> = LazyLock::new(|| {
    type Answer = Result<Response, Problem>;
    let done = || reply::json(StatusCode::OK, &"done");
    Router::new()
        .route(
            "/message/{uuid}",
            get(async move |_: MessagePath| -> Answer { done() }),
        )
        .route(
            "/chat/{uuid}",
            get(async move |_: DeletedChatPath| -> Answer { done() }),
        )
        .route(
            "/messages/{last_uuid}",
            get(async move |_: CursorPath| -> Answer { done() }),
        )
        .route(
            "/tokens/{uuid}/{position}",
            get(async move |_: TokensPath| -> Answer { done() }),
        )
        .route(
            "/version/{number}",
            get(async move |_: NumberPath| -> Answer { done() }),
        )
        .route(
            "/agent/{alias}",
            get(async move |_: AliasPath| -> Answer { done() }),
        )
        .route(
            "/name/{name}",
            get(async move |_: NamePath| -> Answer { done() }),
        )
        .fallback(|| async { Problem::no_such_page() })
        .layer(Wrap::new(Outside {
            counts: Arc::new(crate::http::counts::Counts::new()),
            tracer: crate::trace::Tracer::default(),
            load: Arc::new(Load::new(usize::MAX)),
        }))
});

/// A query string, as each route that has one reads it.
pub(crate) fn query(data: &[u8]) {
    if let Ok(uri) = Uri::try_from([b"/?", data].concat()) {
        routes::queries(&uri);
    }
}

/// A body behind a line with its content type, as each route that takes one reads it.
pub(crate) fn body(data: &[u8]) {
    let (kind, body) = first_line(data);
    routes::bodies(std::str::from_utf8(kind).ok(), body);
}

/// Headers, one a line, as everything reads them that looks at some.
pub(crate) fn headers(data: &[u8]) {
    let mut request = Request::new(Body::empty());
    *request.headers_mut() = header_lines(data);
    let headers = request.headers();
    let _ = (Form::of(headers), frame_of(headers), content_type(headers));
    let _ = (encoding::takes_gzip(headers), key_of(headers));
    assert!(!dress::request_id(headers).as_str().is_empty());
    let back = routes::came_from(request.headers());
    assert!(stays_here(&back), "{back:?}");
    let (mut parts, _) = request.into_parts();
    let _ = block_on(CacheControl::from_request_parts(&mut parts, &()));
}

/// Whether a browser that is sent to this place stays on this server.
fn stays_here(place: &str) -> bool {
    let here = Url::parse("https://here.example/a/b");
    let there = here.and_then(|here| here.join(place));
    HeaderValue::from_str(place).is_ok()
        && there.is_ok_and(|there| there.host_str() == Some("here.example"))
}

fn header_lines(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// An idempotency key: what is taken is what was sent, and short and visible.
pub(crate) fn idempotency_key(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let headers = HeaderMap::from_iter([(HeaderName::from_static("idempotency-key"), value)]);
    if let Ok(key) = key_of(&headers) {
        let key = key.unwrap_or_default();
        assert_eq!(key.as_bytes(), data);
        assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

/// A request's id: what goes on is what was sent, or one of our own.
pub(crate) fn request_id(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert("x-request-id", value);
    let id = dress::request_id(request.headers());
    let id = id.as_str();
    assert!(
        id.as_bytes() == data || Uuid::try_parse(id).is_ok(),
        "{id:?}"
    );
    assert!((1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
}

/// `Authorization`, as it comes: what is taken is a part of it without white space round it.
pub(crate) fn bearer(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    if let Some(token) = identify::bearer(&headers) {
        assert_eq!(token, token.trim());
        assert!(
            data.ends_with(token.as_bytes()) || data.trim_ascii_end().ends_with(token.as_bytes())
        );
        assert!(!token.contains(char::is_control) || token.contains('\t'));
    }
}

/// The value of the session's cookie: as it comes it is nobody's, since nobody has signed it; signed,
/// it says what it says.
pub(crate) fn cookie(data: &[u8]) {
    static KEY: LazyLock<Key> = LazyLock::new(|| Key::derive_from(&[7; 64]));
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let said = identify::read_mark(text);
    if let Some(mark) = said {
        assert_eq!(identify::read_mark(&identify::written(&mark)), said);
    }
    for is_https in [false, true] {
        let name = identify::cookie_name(is_https);
        let read = |sent: &str| {
            let value = HeaderValue::from_str(sent).ok()?;
            let headers = HeaderMap::from_iter([(header::COOKIE, value)]);
            identify::signed_mark(&KEY, &headers, is_https)
        };
        assert_eq!(read(&format!("{name}={text}")), None, "{text}");
        let jar = SignedCookieJar::new(KEY.clone()).add(Cookie::new(name, text.to_owned()));
        let set = jar.into_response();
        let set = set.headers().get(header::SET_COOKIE).cloned();
        let set = set.as_ref().and_then(|set| set.to_str().ok());
        let kept = read(set.unwrap_or_default());
        assert!(kept == said || (kept.is_none() && said.is_none()), "{text}");
    }
}

/// Headers, one a line, as those of a gateway: whom it vouches for, it names once.
pub(crate) fn gateway(data: &[u8]) {
    let gateway = Gateway {
        user: "x-forwarded-user".to_owned(),
        name: "x-forwarded-preferred-username".to_owned(),
        groups: "x-forwarded-groups".to_owned(),
        tier: "x-forwarded-tier".to_owned(),
        sign_out_url: String::new(),
    };
    let headers = header_lines(data);
    let Some(vouched) = gateway.vouched(&headers) else {
        return;
    };
    assert_eq!(headers.get_all(&gateway.user).iter().count(), 1);
    let texts = [
        Some(&vouched.user),
        vouched.name.as_ref(),
        vouched.tier.as_ref(),
    ];
    let groups = vouched.groups.iter();
    for text in texts.into_iter().flatten().chain(groups.clone()) {
        assert!(!text.is_empty() && text == text.trim(), "{text:?}");
    }
    assert!(!groups.clone().any(|group| group.contains(',')));
}

/// What a page polls with, `POSITION?QUERY`, and behind this line the text: the piece of a page
/// holds nothing of the text as it is, and tells where to go on.
pub(crate) fn tokens_page(data: &[u8]) {
    let (address, text) = first_line(data);
    let text = String::from_utf8_lossy(text);
    let Ok(uri) = Uri::try_from([b"/", address].concat()) else {
        return;
    };
    let Some((position, open_bytes)) = routes::read_by_page(&uri) else {
        return;
    };
    let read = PageRead {
        position,
        open_bytes,
    };
    for edition in [Edition::FIRST, position.edition()] {
        for knowledge in [Knowledge::Whole, Knowledge::Following] {
            let poll = TokensPoll {
                message: MessageId(Uuid::nil()),
                delta: delta(read.from(), edition, &text, knowledge, MAX_DELTA_BYTES),
                reasoning: Some(delta(position, edition, &text, knowledge, MAX_DELTA_BYTES)),
                status: Status::Pending,
                activity: Activity::Flowing,
            };
            let html = TokensFragment::new(&Place::Owners, poll, read, FLOWING_MS).render();
            let html = html.unwrap_or_else(|_| MARK.to_owned());
            assert!(!html.contains(MARK), "{html}");
        }
    }
}

/// The first line, and what follows it.
fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let line = parts.next().unwrap_or_default();
    (line, parts.next().unwrap_or_default())
}
