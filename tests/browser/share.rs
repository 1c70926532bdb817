//! A chat is shared from the page, read elsewhere while its answer grows, and withdrawn again.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{FINISHED, PENDING};
use crate::support::browser::{Browser, Kind as Like};
use crate::support::{Script, TestApp, Upstream, app::eventually, database::Kind};

async fn shows(browser: &Browser, css: &str, text: &str) {
    eventually(text, async || {
        (browser.text_of(css).await == text).then_some(())
    })
    .await;
}

/// Makes a link in the menu of the chat that is shown.
async fn share(browser: &Browser) -> String {
    browser.press(".chat-head .menu > summary").await;
    browser.press(".share > summary").await;
    browser
        .press("#shares form[action$='/shares'] button")
        .await;
    browser.text_of("#share-note p").await;
    let link = browser
        .evaluate("document.querySelector('[data-link]').value")
        .await;
    link.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_chat_grows_elsewhere_until_its_link_is_revoked() {
    let gates: Vec<CancellationToken> = (0..3).map(|_| CancellationToken::new()).collect();
    let script = Script::stream()
        .say(["**Half", " of "])
        .wait(&gates[0])
        .say(["it**.\n\nMore"])
        .wait(&gates[1])
        .finish();
    let next = Script::stream().say(["Not "]).wait(&gates[2]).say(["seen"]);
    let upstream = Upstream::scripted([script, next.finish()]).await;
    let app = TestApp::start(Kind::Sqlite, upstream).await;
    let owner = Browser::open().await;
    owner.visit(&app.base, "/").await;
    owner.type_into("#message", "Tell me\u{E007}").await;
    shows(&owner, PENDING, "**Half of").await;

    let link = share(&owner).await;
    assert!(
        link.starts_with(&format!("{}/shared/pls_", app.base)),
        "{link}"
    );
    assert_eq!(
        owner
            .evaluate("document.querySelector('.chat-head .menu').open && document.querySelector('.share').open")
            .await,
        true,
        "the link is shown where it was asked for"
    );
    let allow = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": app.base});
    owner.dev_tools("Browser.grantPermissions", allow).await;
    owner.press("#share-note .copy").await;
    eventually("it is copied", async || {
        (owner.count("#share-note .copy.done").await == 1).then_some(())
    })
    .await;

    // Somebody else, who has nothing but the link.
    let viewer = Browser::open_as(Like::NARROW).await;
    viewer.page.goto(&link).await.unwrap();
    shows(&viewer, PENDING, "**Half of").await;
    assert_eq!(viewer.text_of("#chat-title").await, "Tell me");
    assert_eq!(
        viewer
            .count("form, nav, textarea, .tool, [popovertarget]")
            .await,
        0,
        "there is nothing to do but to read"
    );
    gates[0].cancel();
    shows(&viewer, PENDING, "Half of it.\n\nMore").await;
    gates[1].cancel();
    shows(&viewer, FINISHED, "Half of it.\n\nMore").await;
    assert_eq!(viewer.count("[id^=poll-], .typing, .tool").await, 0);
    let grown = "document.querySelector('.message-assistant .markdown').innerHTML";
    let html = viewer.evaluate(grown).await;
    viewer.page.refresh().await.unwrap();
    shows(&viewer, FINISHED, "Half of it.\n\nMore").await;
    assert_eq!(viewer.evaluate(grown).await, html, "to the letter");

    // What is said next comes too, with the title.
    owner.type_into("#message", "And then?\u{E007}").await;
    shows(&viewer, PENDING, "Not").await;
    assert_eq!(viewer.complaints().await, Vec::<String>::new());
    let of_others = "performance.getEntriesByType('resource').filter(({name}) => !/\\/(shared|assets)\\//.test(name)).length";
    assert_eq!(
        viewer.evaluate(of_others).await,
        0,
        "it asks for nothing else"
    );

    // Until the link is revoked.
    owner.press("#shares form[action$='/revoke'] button").await;
    eventually("it is listed as revoked", async || {
        owner
            .text_of(".shares")
            .await
            .contains("revoked")
            .then_some(())
    })
    .await;
    let said = viewer.text_of(".problem:not([hidden])").await;
    assert!(said.contains("There is no such chat"), "{said}");
    eventually("the viewer polls no more", async || {
        (viewer.count("[id^=poll-], #messages-poll").await == 0).then_some(())
    })
    .await;
    gates[2].cancel();
    eventually("the owner sees the end", async || {
        (owner.count(FINISHED).await == 2).then_some(())
    })
    .await;
    assert!(!viewer.text_of("#messages").await.contains("seen"));
    viewer.page.refresh().await.unwrap();
    let said = viewer.text_of(".problem").await;
    assert!(said.contains("There is no such chat"), "{said}");
    assert_eq!(viewer.count("nav, a[href='/']").await, 0);
    assert_eq!(owner.complaints().await, Vec::<String>::new());
    viewer.close().await;
    owner.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_is_shared_and_read_without_script() {
    let gate = CancellationToken::new();
    let script = Script::stream().say(["one "]).wait(&gate).say(["two"]);
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted([script.finish()]).await).await;
    let chat = app.create_chat().await;
    app.send(&chat, "Count").await;
    let browser = Browser::open_as(Like::WITHOUT_SCRIPT).await;
    browser.visit(&app.base, &format!("/chat/{chat}")).await;
    shows(&browser, PENDING, "one").await;
    // The page looks again by itself, and folds up what is folded out: so the links have a page of their own.
    browser
        .visit(&app.base, &format!("/chat/{chat}/shares"))
        .await;
    shows(&browser, "h1", "Share “Count”").await;
    browser
        .press("#shares form[action$='/shares'] button")
        .await;
    browser.press("#share-note a").await;
    shows(&browser, PENDING, "one").await;
    gate.cancel();
    // Nobody reloads the page but itself.
    shows(&browser, FINISHED, "one two").await;
    let link = browser.page.current_url().await.unwrap();
    assert!(link.path().starts_with("/shared/pls_"), "{link}");
    browser
        .visit(&app.base, &format!("/chat/{chat}/shares"))
        .await;
    browser
        .press("#shares form[action$='/revoke'] button")
        .await;
    eventually("it is listed as revoked", async || {
        browser
            .text_of(".shares")
            .await
            .contains("revoked")
            .then_some(())
    })
    .await;
    browser.page.goto(link.as_str()).await.unwrap();
    let said = browser.text_of(".problem").await;
    assert!(said.contains("There is no such chat"), "{said}");
    browser.close().await;
    app.stop().await;
}
