//! The page in a browser that runs no script: forms, redirects, and a page that looks again by itself.

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

/// Waits until the page says that it will look again, or that it will not: the one that is read may
/// just be on its way out.
async fn looks_again(browser: &Browser, yes: bool) {
    let refresh = "http-equiv=\"refresh\"";
    eventually("a page that looks again, or not", async || {
        let source = browser.page.source().await.ok()?;
        let is_whole = source.contains("id=\"composer\"");
        (is_whole && source.contains(refresh) == yes).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_without_script() {
    let gate = CancellationToken::new();
    let first = Script::stream()
        .say(["**Half"])
        .wait(&gate)
        .say([" of it**"])
        .finish();
    let scripts = [first, Script::answer(["Second"]), Script::answer(["Third"])];
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted(scripts).await).await;
    let browser = Browser::open_as(Like::WITHOUT_SCRIPT).await;
    browser.visit(&app.base, "/").await;
    browser.type_into("#message", "Tell me").await;
    browser.press(".send").await;
    shows(&browser, PENDING, "**Half").await;
    looks_again(&browser, true).await;
    gate.cancel();
    // Nobody reloads the page but itself.
    shows(&browser, FINISHED, "Half of it").await;
    looks_again(&browser, false).await;
    let seen = "[...document.querySelectorAll('.needs-script')].filter(part => part.checkVisibility()).length";
    eventually("a page without what needs a script", async || {
        (browser.evaluate(seen).await == 0).then_some(())
    })
    .await;

    // Versions, reactions, edits and deletes are forms.
    browser.press("form[action$='/regenerate'] button").await;
    shows(&browser, FINISHED, "Second").await;
    browser.press("[id^=earlier-]").await;
    shows(&browser, FINISHED, "Half of it").await;
    browser.press("[id^=like-]").await;
    eventually("liked", async || {
        (browser.count("[id^=like-][aria-pressed=true]").await == 1).then_some(())
    })
    .await;
    browser.press(".edit summary").await;
    browser.type_into(".edit textarea", " more").await;
    browser.press(".edit form button").await;
    shows(&browser, FINISHED, "Third").await;
    shows(&browser, ".message-user .text", "Tell me more").await;
    browser.press(".message-assistant .menu summary").await;
    browser.press(".message-assistant a[href$='/about']").await;
    assert!(browser.text_of(".facts").await.contains("scripted-model"));
    browser.page.back().await.unwrap();
    browser
        .press(".message-assistant form[action$='/delete'] button")
        .await;
    eventually("it has gone", async || {
        (browser.count(".message").await == 1).then_some(())
    })
    .await;

    // So are a new title, the colours, the search, and the end of a chat, which can be undone.
    browser.press(".chat-head .menu summary").await;
    browser.type_into("#new-title", "!").await;
    browser
        .press(".chat-head form[action$='/rename'] button")
        .await;
    shows(&browser, "#chat-title", "Tell me!").await;
    browser.press("#theme-dark").await;
    eventually("dark", async || {
        (browser.count("#theme-dark[aria-pressed=true]").await == 1).then_some(())
    })
    .await;
    shows(&browser, "#chat-title", "Tell me!").await;
    browser.type_into("#search", "tell\u{E007}").await;
    shows(&browser, "main mark", "Tell").await;
    browser.press("main .chat-row a").await;
    shows(&browser, "#chat-title", "Tell me!").await;
    browser
        .press(".chat-head form[action$='/delete'] button")
        .await;
    shows(&browser, "#notice p", "“Tell me!” is deleted.").await;
    browser.press("#notice button").await;
    shows(&browser, "#chat-title", "Tell me!").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}
