//! Who is who in a browser: nobody in particular, somebody with a token, somebody behind a single-sign-on gateway.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use axum::routing::get;
use axum::{Router, serve};
use entity::api_token::Scope;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{FINISHED, PENDING};
use crate::security::callers::{As, COOKIE_SECRET, token};
use crate::support::app::eventually;
use crate::support::browser::{Browser, Kind as Like};
use crate::support::database::Kind;
use crate::support::{Script, TestApp, Upstream, http_client};

/// Longest body that the gateway of these tests passes on, in bytes.
const MOST: usize = 1 << 20;

async fn app_with(upstream: Upstream, settings: &[(&str, &str)]) -> TestApp {
    let settings = [&[("auth.secret", COOKIE_SECRET)], settings].concat();
    TestApp::start_with(Kind::Sqlite, upstream, &settings).await
}

async fn is_at(browser: &Browser, path: &str) {
    eventually(path, async || {
        (browser.page.current_url().await.unwrap().path() == path).then_some(())
    })
    .await;
}

/// Asks, and waits for the answer; the chat's path.
async fn chat_in(browser: &Browser, question: &str) -> String {
    browser
        .type_into("#message", &format!("{question}\u{E007}"))
        .await;
    browser.text_of(FINISHED).await;
    let url = browser.page.current_url().await.unwrap();
    url.path().to_owned()
}

async fn sign_in(browser: &Browser, secret: &str) {
    browser
        .type_into("input[name=token]", &format!("{secret}\u{E007}"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_that_nobody_knows_has_chats_of_their_own() {
    let app = app_with(Upstream::echo().await, &[("auth.modes", "anonymous")]).await;
    let one = Browser::open().await;
    one.visit(&app.base, "/").await;
    let chat = chat_in(&one, "Mine alone").await;
    assert_eq!(one.text_of(FINISHED).await, "You said: Mine alone");
    let cookies = one.evaluate("document.cookie").await;
    assert!(
        !cookies.as_str().unwrap().contains("session"),
        "no script has the cookie: {cookies}"
    );
    let other = Browser::open_as(Like::NARROW).await;
    other.visit(&app.base, &chat).await;
    let said = other.text_of(".problem").await;
    assert!(said.contains("There is no such chat"), "{said}");
    other.visit(&app.base, "/chats").await;
    assert!(!other.text_of("main").await.contains("Mine alone"));
    // It is still there when the browser comes back.
    one.visit(&app.base, "/chats").await;
    assert!(one.text_of("main").await.contains("Mine alone"));
    assert_eq!(one.complaints().await, Vec::<String>::new());
    one.close().await;
    other.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_made_on_the_page_and_revoked() {
    let modes = [("auth.modes", "token"), ("auth.recheck_ms", "0")];
    let app = app_with(Upstream::echo().await, &modes).await;
    let secret = token(&app, "alice", Scope::Write).await;
    let browser = Browser::open().await;
    browser.visit(&app.base, "/models").await;
    is_at(&browser, "/sign-in").await;
    sign_in(&browser, "pln_nonsense").await;
    let said = browser.text_of("[role=alert]").await;
    assert!(said.contains("there is no such API token"), "{said}");
    sign_in(&browser, &secret).await;
    // Where they wanted to go.
    is_at(&browser, "/models").await;
    browser.visit(&app.base, "/").await;
    chat_in(&browser, "As Alice").await;

    browser.visit(&app.base, "/account").await;
    assert!(browser.text_of(".facts").await.contains("alice"));
    browser
        .type_into("form[action='/tokens'] input[name=name]", "laptop")
        .await;
    browser.press("form[action='/tokens'] button").await;
    let made = browser.text_of("#secret").await;
    assert!(made.starts_with("pln_"), "{made}");
    let script = As::bearer(&made);
    let chats = script.get(&app, "/chats").await.expect(200);
    assert!(chats.text.contains("As Alice"));
    browser.visit(&app.base, "/account").await;
    let rows = browser.text_of("section table").await;
    assert!(rows.contains("laptop") && !rows.contains(&made), "{rows}");
    // The newest is the first.
    browser
        .press("section table tbody tr:first-child button")
        .await;
    eventually("it is listed no more", async || {
        (browser.count("section table tbody tr").await == 1).then_some(())
    })
    .await;
    script.get(&app, "/chats").await.expect(401);

    browser.press("form[action='/sign-out'] button").await;
    is_at(&browser, "/sign-in").await;
    assert_eq!(browser.count("nav").await, 0, "nothing is offered before");
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().all(|text| text.contains("401")),
        "but for what was refused: {complaints:?}"
    );
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_ended_elsewhere_ends_here() {
    let gate = CancellationToken::new();
    let script = Script::stream().say(["Half "]).wait(&gate).say(["more"]);
    let modes = [("auth.modes", "token"), ("auth.recheck_ms", "0")];
    let app = app_with(Upstream::scripted([script.finish()]).await, &modes).await;
    let secret = token(&app, "alice", Scope::Write).await;
    let (here, there) = (Browser::open().await, Browser::open_as(Like::NARROW).await);
    for browser in [&here, &there] {
        browser.visit(&app.base, "/").await;
        sign_in(browser, &secret).await;
        is_at(browser, "/").await;
    }
    here.type_into("#message", "Tell me\u{E007}").await;
    here.text_of(PENDING).await;
    let chat = here.page.current_url().await.unwrap().path().to_owned();

    there.visit(&app.base, "/account").await;
    assert_eq!(there.count(".sessions li").await, 2);
    // The other one: this one says so of itself.
    there
        .evaluate("[...document.querySelectorAll('.sessions li')].find(li => !li.innerText.includes('this browser')).querySelector('button').click()")
        .await;
    eventually("it has ended", async || {
        (there.count(".sessions li").await == 1).then_some(())
    })
    .await;
    let said = here.text_of(".problem:not([hidden])").await;
    assert!(said.contains("your session has ended"), "{said}");
    eventually("it polls no more", async || {
        (here.count("[id^=poll-], #messages-poll").await == 0).then_some(())
    })
    .await;
    // And the way back in leads to where they were.
    here.press(".problem a").await;
    is_at(&here, "/sign-in").await;
    gate.cancel();
    sign_in(&here, &secret).await;
    is_at(&here, &chat).await;
    assert_eq!(here.text_of(FINISHED).await, "Half more");
    here.close().await;
    there.close().await;
    app.stop().await;
}

/// A gateway that has signed somebody in, and passes on what they ask for.
struct Gateway {
    base: String,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Behind {
    target: String,
    client: reqwest::Client,
}

impl Gateway {
    async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let behind = Behind {
            target: target.to_owned(),
            client: http_client(),
        };
        let router = Router::new()
            .route("/oauth2/sign_out", get(|| async { "Good bye" }))
            .fallback(pass_on)
            .with_state(behind);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await
        });
        Self {
            base: format!("http://{address}"),
            stop,
        }
    }
}

async fn pass_on(State(behind): State<Behind>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MOST).await.unwrap();
    let mut headers = parts.headers;
    headers.remove(header::CONNECTION);
    headers.insert("x-forwarded-user", "4711".parse().unwrap());
    headers.insert("x-forwarded-preferred-username", "Carol".parse().unwrap());
    let url = format!("{}{}", behind.target, parts.uri);
    let asked = behind.client.request(parts.method, url).headers(headers);
    let answered = asked.body(body).send().await.unwrap();
    let mut response = Response::builder().status(answered.status());
    for (name, value) in answered.headers() {
        if name != header::CONNECTION && name != header::TRANSFER_ENCODING {
            response = response.header(name, value);
        }
    }
    let body = answered.bytes().await.unwrap();
    response.body(Body::from(body)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_gateway_somebody_is_who_it_says() {
    let gate = CancellationToken::new();
    let script = Script::stream().say(["Half "]).wait(&gate).say(["more"]);
    let settings = [
        ("auth.modes", "proxy"),
        ("trusted_proxies", "127.0.0.1"),
        ("auth.proxy.sign_out_url", "/oauth2/sign_out"),
    ];
    let app = app_with(Upstream::scripted([script.finish()]).await, &settings).await;
    let gateway = Gateway::before(&app.base).await;
    let browser = Browser::open().await;
    browser.visit(&gateway.base, "/").await;
    browser.type_into("#message", "Tell me\u{E007}").await;
    browser.text_of(PENDING).await;
    gate.cancel();
    assert_eq!(browser.text_of(FINISHED).await, "Half more");
    let chat = browser.page.current_url().await.unwrap().path().to_owned();
    browser.visit(&gateway.base, "/account").await;
    let facts = browser.text_of(".facts").await;
    assert!(
        facts.contains("Carol") && facts.contains("proxy"),
        "{facts}"
    );
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.press("form[action='/sign-out'] button").await;
    is_at(&browser, "/oauth2/sign_out").await;
    // Who goes round the gateway is nobody.
    As::nobody().get(&app, &chat).await.expect(401);
    As::vouched("somebody else")
        .get(&app, &chat)
        .await
        .expect(404);
    As::vouched("4711").get(&app, &chat).await.expect(200);
    browser.close().await;
    gateway.stop.cancel();
    app.stop().await;
}
