//! The list of chats at the side of the page.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::FINISHED;
use crate::support::browser::{Browser, Kind as Like};
use crate::support::{Script, TestApp, Upstream, app::eventually, database::Kind};

const ROWS: &str = "#side-list .chat-row";

async fn titled(app: &TestApp, title: &str) -> String {
    let chat = app
        .post("/chat/create", &json!({"title": title}))
        .await
        .expect(201)
        .json();
    chat["uuid"].as_str().unwrap().to_owned()
}

async fn rows(browser: &Browser, count: usize) {
    eventually("so many rows", async || {
        (browser.count(ROWS).await == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_up_and_keeps_focus_and_scroll() {
    let gate = CancellationToken::new();
    let script = Script::stream().say(["one "]).wait(&gate).finish();
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted([script]).await).await;
    for number in 1..=40 {
        titled(&app, &format!("Chat {number}")).await;
    }
    let browser = Browser::open().await;
    browser.visit(&app.base, "/").await;
    rows(&browser, 30).await;
    assert_eq!(browser.text_of("#side-list .day-name").await, "Today");
    // The end of the list brings older ones.
    browser
        .evaluate("document.getElementById('side-list').scrollTop = 1e6")
        .await;
    rows(&browser, 40).await;
    assert_eq!(browser.count("#side-more").await, 0, "that is all");
    let scroll = "document.getElementById('side-list').scrollTop";
    browser
        .evaluate("document.querySelector('#side-list .chat-row:nth-child(20) a').focus()")
        .await;
    browser
        .evaluate(
            "document.querySelector('#side-list .chat-row:nth-child(20) details').open = true",
        )
        .await;
    let before = browser.evaluate(scroll).await;
    let focused = browser.evaluate("document.activeElement.href").await;
    // A chat that answers comes to the top, with a dot, and leaves everything else as it was.
    let first = titled(&app, "The newest").await;
    app.send(&first, "Hello").await;
    assert_eq!(
        browser
            .text_of(&format!("{ROWS}:has(.dot) .chat-title"))
            .await,
        "The newest"
    );
    rows(&browser, 41).await;
    assert_eq!(
        browser.evaluate("document.activeElement.href").await,
        focused
    );
    let after = browser.evaluate(scroll).await;
    let moved = (after.as_f64().unwrap() - before.as_f64().unwrap()).abs();
    assert!(moved < 80.0, "it has scrolled by {moved} pixels");
    assert_eq!(
        browser.count("#side-list details[open]").await,
        1,
        "what was folded out stays so"
    );
    gate.cancel();
    eventually("the dot has gone", async || {
        (browser.count(&format!("{ROWS} .dot")).await == 0).then_some(())
    })
    .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_found_in_titles_and_in_messages() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    titled(&app, "Tea & biscuits").await;
    titled(&app, "Nothing of the kind").await;
    app.ask("What goes with <b>biscuits</b>?").await;
    let browser = Browser::open().await;
    browser.visit(&app.base, "/").await;
    rows(&browser, 3).await;
    browser.type_into("#search", "bisc").await;
    rows(&browser, 2).await;
    assert_eq!(
        browser
            .text_of(&format!("{ROWS} mark"))
            .await
            .to_lowercase(),
        "bisc"
    );
    browser.type_into("#search", "x").await;
    rows(&browser, 0).await;
    assert!(
        browser
            .text_of("#side-list .hint")
            .await
            .contains("No chat")
    );
    browser.evaluate("(search => (search.value = '', search.dispatchEvent(new Event('input', {bubbles: true}))))(document.getElementById('search'))").await;
    rows(&browser, 3).await;
    assert_eq!(browser.count("#side-poll").await, 1, "the list polls again");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_is_renamed_deleted_and_brought_back() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let (chat, ..) = app.ask("Hello").await;
    let browser = Browser::open().await;
    browser.visit(&app.base, &format!("/chat/{chat}")).await;
    let row = "#side-list .chat-row";
    browser.press(&format!("{row} summary")).await;
    browser
        .type_into(&format!("{row} input[name=title]"), " there\u{E007}")
        .await;
    eventually("the heading", async || {
        (browser.text_of("#chat-title").await == "Hello there").then_some(())
    })
    .await;
    eventually("the row", async || {
        (browser.text_of(&format!("{row} .chat-title")).await == "Hello there").then_some(())
    })
    .await;
    browser
        .press(&format!("{row} form[action$='/delete'] button"))
        .await;
    let notice = browser.text_of("#notice .notice").await;
    assert!(notice.contains("“Hello there” is deleted."), "{notice}");
    assert_eq!(browser.page.current_url().await.unwrap().path(), "/");
    rows(&browser, 0).await;
    let focused = "document.activeElement !== document.body";
    assert_eq!(
        browser.evaluate(focused).await,
        true,
        "the focus is not lost"
    );
    app.get(&format!("/chat/{chat}")).await.expect(404);
    browser.press("#notice button").await;
    assert_eq!(browser.text_of(FINISHED).await, "You said: Hello");
    assert_eq!(
        browser.page.current_url().await.unwrap().path(),
        format!("/chat/{chat}")
    );
    assert_eq!(browser.count("#notice .notice").await, 0);
    rows(&browser, 1).await;
    // Another chat's page stays where it is, with its own name.
    let (other, ..) = app.ask("Another").await;
    rows(&browser, 2).await;
    let title = format!("#side-{other} input[name=title]");
    browser.press(&format!("#side-{other} summary")).await;
    browser.type_into(&title, " one\u{E007}").await;
    eventually("the other row", async || {
        let shown = browser.text_of(&format!("#side-{other} .chat-title")).await;
        (shown == "Another one").then_some(())
    })
    .await;
    assert_eq!(browser.text_of("#chat-title").await, "Hello there");
    assert_eq!(browser.page.title().await.unwrap(), "Hello there · Pollen");
    browser
        .press(&format!("#side-{other} form[action$='/delete'] button"))
        .await;
    rows(&browser, 1).await;
    assert_eq!(browser.text_of("#chat-title").await, "Hello there");
    assert_eq!(
        browser.complaints_without(&chat).await,
        Vec::<String>::new()
    );
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_narrow_screen_it_is_a_drawer() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let (chat, ..) = app.ask("Hello").await;
    let browser = Browser::open_as(Like::NARROW).await;
    browser.visit(&app.base, "/").await;
    let is_seen = "document.getElementById('side').checkVisibility()";
    assert_eq!(browser.evaluate(is_seen).await, false);
    browser.press(".bar button").await;
    assert_eq!(browser.evaluate(is_seen).await, true);
    assert_eq!(
        browser.text_of(&format!("{ROWS} .chat-title")).await,
        "Hello"
    );
    browser.press(&format!("{ROWS} a")).await;
    assert_eq!(browser.text_of(FINISHED).await, "You said: Hello");
    assert_eq!(browser.evaluate(is_seen).await, false);
    assert_eq!(
        browser.page.current_url().await.unwrap().path(),
        format!("/chat/{chat}")
    );
    let overflow = "document.scrollingElement.scrollWidth - innerWidth";
    assert_eq!(
        browser.evaluate(overflow).await,
        0,
        "nothing sticks out at 320 pixels"
    );
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lists_of_home_and_of_all_chats_keep_up_with_what_is_done_in_them() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let browser = Browser::open().await;
    for (path, place) in [("/", "recent"), ("/chats", "all")] {
        let chat = titled(&app, "Tea").await;
        browser.visit(&app.base, path).await;
        let row = format!("#{place}-{chat}");
        browser.press(&format!("{row} summary")).await;
        browser
            .type_into(&format!("{row} input[name=title]"), " time\u{E007}")
            .await;
        eventually("the title", async || {
            let shown = browser.text_of(&format!("{row} .chat-title")).await;
            (shown == "Tea time").then_some(())
        })
        .await;
        browser
            .press(&format!("{row} form[action$='/delete'] button"))
            .await;
        eventually("the row has gone", async || {
            (browser.count(&row).await == 0).then_some(())
        })
        .await;
        assert_eq!(browser.text_of("#notice p").await, "“Tea time” is deleted.");
        browser.press("#notice button").await;
        eventually("it is back", async || {
            (browser.text_of("#chat-title").await == "Tea time").then_some(())
        })
        .await;
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}
