//! What the page weighs: a first visit, a second one, a poll that has nothing new; and that compression
//! changes nothing but the number of bytes.

use std::io::Read as _;

use serde_json::json;

use super::FINISHED;
use crate::support::browser::Browser;
use crate::support::{Script, TestApp, Upstream, database::Kind};

const SAMPLE: &str = include_str!("../../src/http/view/sample.md");
/// All that a first visit may transfer.
const MAX_FIRST_LOAD_BYTES: u64 = 60 * 1024;
const MAX_EMPTY_POLL_BYTES: usize = 200;

/// What the document and all that came with it weighed: name, bytes over the network (0: it was kept), bytes as they were sent.
const LOADED: &str = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].map(({name, transferSize, encodedBodySize}) => [name, transferSize, encodedBodySize])";

struct Loaded {
    name: String,
    transferred: u64,
}

async fn loaded(app: &TestApp, browser: &Browser) -> Vec<Loaded> {
    browser.text_of("#side-list .chat-row").await;
    let entries = browser.evaluate(LOADED).await;
    let entries = entries.as_array().unwrap().iter().map(|entry| Loaded {
        name: entry[0].as_str().unwrap().to_owned(),
        transferred: entry[1].as_u64().unwrap(),
    });
    let entries: Vec<_> = entries.collect();
    for Loaded { name, .. } in &entries {
        assert!(name.starts_with(&app.base), "{name} is somebody else's");
    }
    entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_visit_is_light_and_a_second_one_loads_no_asset() {
    let upstream = Upstream::start(|_| Script::answer([SAMPLE])).await;
    let app = TestApp::start(Kind::Sqlite, upstream).await;
    let (chat, ..) = app.ask("Tell me of tea").await;
    for path in ["/".to_owned(), format!("/chat/{chat}")] {
        // With nothing in its cache.
        let browser = Browser::open().await;
        browser.visit(&app.base, &path).await;
        let first = loaded(&app, &browser).await;
        let bytes: u64 = first.iter().map(|entry| entry.transferred).sum();
        assert!(bytes > 10_000, "{path}: {bytes} bytes cannot be all");
        assert!(bytes < MAX_FIRST_LOAD_BYTES, "{path}: {bytes} bytes");
        assert!(first.iter().any(|entry| entry.name.contains("/assets/")));
        browser.visit(&app.base, &path).await;
        let again = loaded(&app, &browser).await;
        for Loaded { name, transferred } in again {
            let is_asset = name.contains("/assets/");
            assert!(!is_asset || transferred == 0, "{name}: {transferred} bytes");
        }
        assert_eq!(browser.complaints().await, Vec::<String>::new());
        browser.close().await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_asset_of_a_page_is_kept_for_ever() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let page = app.get_page("/").await.expect(200).text;
    let assets: Vec<&str> = page
        .split('"')
        .filter_map(|part| part.split('#').next())
        .filter(|part| part.starts_with("/assets/"))
        .collect();
    assert!(assets.len() > 4, "{assets:?}");
    for asset in assets {
        let answer = app.get(asset).await.expect(200);
        let kept = answer.header("cache-control");
        assert_eq!(kept, "public, max-age=31536000, immutable", "{asset}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_with_nothing_new_has_no_body() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let (chat, ..) = app.ask("Hello").await;
    let browser = Browser::open().await;
    browser.visit(&app.base, &format!("/chat/{chat}")).await;
    browser.text_of(FINISHED).await;
    browser.text_of("#side-list .chat-row").await;
    for poller in ["messages-poll", "side-poll"] {
        let path = format!("document.getElementById('{poller}').getAttribute('hx-get')");
        let path = browser.evaluate(&path).await;
        let answer = app.get_fragment(path.as_str().unwrap()).await.expect(204);
        assert_eq!(answer.text, "", "{poller}");
        // A client of JSON has to be told its position, and little else.
        assert!(!answer.headers.contains_key("content-encoding"));
    }
    let last = app.messages(&chat).await.pop().unwrap();
    let (uuid, position) = (last["uuid"].as_str().unwrap(), &last["position"]);
    let path = format!("/chat/message/{uuid}/tokens/{position}");
    let tokens = app.get(&path).await.expect(200).text;
    assert!(tokens.len() < MAX_EMPTY_POLL_BYTES, "{tokens}");
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_or_not_the_text_is_the_same() {
    let upstream = Upstream::start(|_| Script::answer([SAMPLE])).await;
    let app = TestApp::start(Kind::Sqlite, upstream).await;
    let (chat, ..) = app.ask("Tell me of tea").await;
    let page = format!("/chat/{chat}");
    let messages = format!("/chat/{chat}/messages");
    let stylesheet = "/assets/pollen.css";
    for (path, accept) in [
        (page.as_str(), "text/html"),
        (&messages, "application/json"),
        ("/", "text/html"),
        (stylesheet, "text/css"),
    ] {
        let plain = fetch(&app, path, accept, None).await;
        assert_eq!(plain.coding, "", "{path}");
        assert!(plain.body.len() > 1_024, "{path}: {}", plain.body.len());
        let packed = fetch(&app, path, accept, Some("gzip")).await;
        assert_eq!(packed.coding, "gzip", "{path}");
        assert!(packed.body.len() < plain.body.len(), "{path}");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed.body[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        let same = |bytes: &[u8]| fixed(&String::from_utf8_lossy(bytes));
        assert_eq!(same(&unpacked), same(&plain.body), "{path}");
    }
    let small = fetch(&app, "/chat/list?limit=1", "application/json", Some("gzip")).await;
    assert!(small.body.len() < 1_024);
    assert_eq!(small.coding, "", "what fits a packet is sent as it is");
    app.post(&format!("/chat/{chat}/send"), &json!({"message": "More"}))
        .await
        .expect(202);
    app.stop().await;
}

/// A client that asks for no compression by itself, and undoes none.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' own client, on loopback"
)]
fn as_it_comes() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .no_gzip()
        .tls_certs_only([])
        .build()
        .unwrap()
}

struct Fetched {
    coding: String,
    body: Vec<u8>,
}

async fn fetch(app: &TestApp, path: &str, accept: &str, coding: Option<&str>) -> Fetched {
    let mut request = as_it_comes().get(format!("{}{path}", app.base));
    request = request.header("accept", accept);
    if let Some(coding) = coding {
        request = request.header("accept-encoding", coding);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200, "{path}");
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    let (coding, length) = (header("content-encoding"), header("content-length"));
    assert_eq!(header("transfer-encoding"), "", "{path}");
    let body = response.bytes().await.unwrap().to_vec();
    assert_eq!(length, body.len().to_string(), "{path}");
    Fetched { coding, body }
}

/// The text without the UUID that each page makes up for the message that may be sent from it.
fn fixed(text: &str) -> String {
    let Some((before, rest)) = text.split_once("name=\"uuid\" value=\"") else {
        return text.to_owned();
    };
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    format!("{before}{after}")
}
