//! The twenty lines of JavaScript, on a page that has a form and nothing else.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::server::FrontEnd;
use super::{REASON, block, refusal};
use crate::support::browser::Browser;
use crate::support::{
    Script, TestApp, Upstream, app::eventually, database::Kind, ports::free_port,
};

const PAGE: &str = "<!doctype html><title>Ask</title><form><input name=message><button>Ask</button></form>\
    <main></main><script src=/ask.js></script><script src=/page.js></script>";

async fn open(app: &TestApp) -> (FrontEnd, Browser) {
    let files = BTreeMap::from([
        ("/", PAGE.to_owned()),
        ("/ask.js", block("ask.js")),
        ("/page.js", block("page.js")),
    ]);
    let front = FrontEnd::start(app, files).await;
    let browser = Browser::open().await;
    browser.visit(&front.base, "/").await;
    (front, browser)
}

async fn ask(browser: &Browser, message: &str) {
    browser
        .evaluate("document.querySelector('form').reset()")
        .await;
    browser
        .type_into("input", &format!("{message}\u{E007}"))
        .await;
}

/// Waits until all that is shown, to the letter, is this.
async fn until(browser: &Browser, text: &str) {
    eventually(text, async || {
        let shown = browser
            .evaluate("document.querySelector('main').textContent")
            .await;
        (shown == text).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation() {
    let gate = CancellationToken::new();
    let first = Script::stream()
        .say(["**Half <b>", " of\r\n"])
        .wait(&gate)
        .say([" it** 花", "粉 "])
        .finish();
    let scripts = [first, Script::answer(["Second"]), refusal()];
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted(scripts).await).await;
    let (front, browser) = open(&app).await;
    ask(&browser, "Tell me <i>everything</i>").await;
    until(&browser, "**Half <b> of\r\n").await;
    gate.cancel();
    let whole = "**Half <b> of\r\n it** 花粉 ";
    until(&browser, whole).await;
    ask(&browser, "And now?").await;
    until(&browser, &format!("{whole}Second")).await;
    ask(&browser, "And then?").await;
    eventually("the reason", async || {
        browser.text_of("main").await.contains(REASON).then_some(())
    })
    .await;

    let chats = app.get("/chat/list").await.json();
    let chat = chats["chats"][0]["uuid"].as_str().unwrap();
    let messages = app.messages(chat).await;
    let said: Vec<&str> = messages
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    let asked = ["Tell me <i>everything</i>", "And now?", "And then?"];
    assert_eq!(said, [asked[0], whole, asked[1], "Second", asked[2], ""]);
    // What is over is not polled any more: its last poll was the one that brought the end.
    let ended = format!("{}/tokens/", messages[1]["uuid"].as_str().unwrap());
    let polls = front.passed(&ended);
    ask(&browser, "/help").await;
    eventually("the reply of a command", async || {
        let shown = browser.text_of("main pre:last-of-type").await;
        shown.contains("/help").then_some(())
    })
    .await;
    assert_eq!(front.passed(&ended), polls);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_went_away_is_found_again() {
    let gate = CancellationToken::new();
    let script = Script::stream().say(["shown "]).wait(&gate).finish();
    let listen = format!("127.0.0.1:{}", free_port());
    let upstream = Upstream::scripted([script, Script::answer(["said anew"])]).await;
    let settings = [("listen", listen.as_str())];
    let mut app = TestApp::start_with(Kind::Sqlite, upstream, &settings).await;
    let (front, browser) = open(&app).await;
    ask(&browser, "Hello").await;
    until(&browser, "shown ").await;
    app.shut_down().await;
    let missed = front.passed("/tokens/");
    eventually("a poll in vain", async || {
        (front.passed("/tokens/") > missed).then_some(())
    })
    .await;
    app.run().await;
    until(&browser, "said anew").await;
    browser.close().await;
    app.stop().await;
}
