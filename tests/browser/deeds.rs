//! What can be done with messages and with the message box.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{FINISHED, PENDING};
use crate::support::browser::Browser;
use crate::support::{Script, TestApp, Upstream, app::eventually, database::Kind};

const VALUE: &str = "document.getElementById('message').value";
const ESCAPE: &str = "\u{E00C}";
const ENTER: &str = "\u{E007}";
const DOWN: &str = "\u{E015}";

async fn open(scripts: impl IntoIterator<Item = Script>) -> (TestApp, Browser) {
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted(scripts).await).await;
    let browser = Browser::open().await;
    browser.visit(&app.base, "/").await;
    (app, browser)
}

async fn close(app: TestApp, browser: Browser) {
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

async fn shows(browser: &Browser, css: &str, text: &str) {
    eventually(text, async || {
        (browser.text_of(css).await == text).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_switched_and_each_has_its_own_reaction() {
    let scripts = [Script::answer(["first"]), Script::answer(["second"])];
    let (app, browser) = open(scripts).await;
    browser
        .type_into("#message", &format!("Hello{ENTER}"))
        .await;
    shows(&browser, FINISHED, "first").await;
    browser.press("[id^=like-]").await;
    let comment = ".comment input[name=comment]";
    browser
        .type_into(comment, &format!("So <short>{ENTER}"))
        .await;
    eventually("it is stored", async || {
        let chat = app.get("/chat/list").await.json()["chats"][0]["uuid"].clone();
        let answer = app.messages(chat.as_str().unwrap()).await[1].clone();
        (answer["reaction"] == json!({"reaction": "like", "comment": "So <short>"})).then_some(())
    })
    .await;
    browser.press("form[action$='/regenerate'] button").await;
    shows(&browser, FINISHED, "second").await;
    assert_eq!(browser.count("[id^=like-][aria-pressed=true]").await, 0);
    assert_eq!(browser.text_of(".versions span").await, "2/2");
    browser.press("[id^=earlier-]").await;
    shows(&browser, FINISHED, "first").await;
    assert_eq!(browser.text_of(".versions span").await, "1/2");
    assert_eq!(browser.count("[id^=like-][aria-pressed=true]").await, 1);
    assert_eq!(
        browser
            .evaluate("document.activeElement.closest('.message') !== null")
            .await,
        true,
        "the focus stays with the message, though there is nothing earlier to press"
    );
    assert_eq!(browser.count("[id^=earlier-][disabled]").await, 1);
    browser.press("[id^=later-]").await;
    shows(&browser, FINISHED, "second").await;
    close(app, browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_edited_and_asked_again() {
    let (app, browser) = open([Script::answer(["first"]), Script::answer(["second"])]).await;
    browser.type_into("#message", &format!("Helo{ENTER}")).await;
    shows(&browser, FINISHED, "first").await;
    browser.press(".edit summary").await;
    let field = ".edit textarea";
    assert_eq!(
        browser
            .evaluate(&format!("document.querySelector('{field}').value"))
            .await,
        "Helo"
    );
    browser.type_into(field, " there").await;
    browser.press(".edit form button").await;
    shows(&browser, FINISHED, "second").await;
    shows(&browser, ".message-user .text", "Helo there").await;
    assert_eq!(browser.text_of(".message-user .faint").await, "edited");
    assert_eq!(
        browser.count(".message").await,
        2,
        "what followed it has gone"
    );
    close(app, browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_wait_are_shown_as_such_and_can_be_withdrawn() {
    let gate = CancellationToken::new();
    let first = Script::stream().say(["one"]).wait(&gate).finish();
    let (app, browser) = open([first, Script::answer(["third"])]).await;
    browser
        .type_into("#message", &format!("First{ENTER}"))
        .await;
    shows(&browser, PENDING, "one").await;
    for text in ["Second", "Third"] {
        browser
            .type_into("#message", &format!("{text}{ENTER}"))
            .await;
        eventually("the box is empty", async || {
            (browser.evaluate(VALUE).await == "").then_some(())
        })
        .await;
    }
    eventually("two wait", async || {
        (browser.count(".waiting").await == 2).then_some(())
    })
    .await;
    browser.press(".message-user:has(.waiting) .stop").await;
    eventually("one waits", async || {
        (browser.count(".waiting").await == 1).then_some(())
    })
    .await;
    gate.cancel();
    eventually("the third is answered", async || {
        (browser.count(FINISHED).await == 2).then_some(())
    })
    .await;
    let asked: Vec<String> = app
        .upstream
        .received()
        .iter()
        .map(crate::support::upstream::Received::asked)
        .collect();
    assert_eq!(asked, ["First", "Third"]);
    close(app, browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_deleted_and_the_focus_is_not_lost() {
    let (app, browser) = open([Script::answer(["first"])]).await;
    browser
        .type_into("#message", &format!("Hello{ENTER}"))
        .await;
    shows(&browser, FINISHED, "first").await;
    browser
        .evaluate("document.querySelector('.message-assistant .menu').open = true")
        .await;
    let delete = ".message-assistant form[action$='/delete'] button";
    browser
        .evaluate(&format!("document.querySelector(\"{delete}\").focus()"))
        .await;
    browser.press(delete).await;
    eventually("it has gone", async || {
        (browser.count(".message").await == 1).then_some(())
    })
    .await;
    eventually("the focus", async || {
        (browser.evaluate("document.activeElement.id").await == "message").then_some(())
    })
    .await;
    close(app, browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_answer_took_is_told_when_asked() {
    let (app, browser) = open([Script::answer(["first"])]).await;
    browser
        .type_into("#message", &format!("Hello{ENTER}"))
        .await;
    shows(&browser, FINISHED, "first").await;
    browser
        .evaluate("document.querySelector('.message-assistant .menu').open = true")
        .await;
    browser.press(".message-assistant .about summary").await;
    let facts = browser.text_of(".message-assistant .about .facts").await;
    for part in ["scripted-model", "Tokens read", "Took"] {
        assert!(facts.contains(part), "{part} in {facts}");
    }
    close(app, browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_and_messages_are_copied_as_they_were_written() {
    let text = "**So**:\n\n```rust\nfn tea() {}\n```\n";
    let (app, browser) = open([Script::answer([text])]).await;
    let allow = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": app.base});
    browser.dev_tools("Browser.grantPermissions", allow).await;
    browser
        .type_into("#message", &format!("Hello{ENTER}"))
        .await;
    browser.text_of(FINISHED).await;
    let clipboard = async |expected: &str| {
        eventually(expected, async || {
            let read = browser
                .page
                .execute_async(
                    "navigator.clipboard.readText().then(arguments[0], arguments[0])",
                    Vec::new(),
                )
                .await;
            (read.unwrap() == expected).then_some(())
        })
        .await;
    };
    browser.press(".code .copy").await;
    clipboard("fn tea() {}\n").await;
    browser.press(".message-assistant [data-copy]").await;
    clipboard(text).await;
    close(app, browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escape_stops_the_answer() {
    let script = Script::stream()
        .say(["half"])
        .wait(&CancellationToken::new())
        .finish();
    let (app, browser) = open([script]).await;
    browser
        .type_into("#message", &format!("Hello{ENTER}"))
        .await;
    shows(&browser, PENDING, "half").await;
    browser.type_into("#message", ESCAPE).await;
    let stopped = ".message-assistant:has([data-status=cancelled])";
    assert_eq!(
        browser.text_of(&format!("{stopped} .note")).await,
        "This answer was stopped."
    );
    close(app, browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slash_opens_the_commands_and_keys_choose_one() {
    let (app, browser) = open([]).await;
    let is_open = "!document.getElementById('commands').hidden";
    // From anywhere on the page.
    browser.evaluate("document.activeElement.blur()").await;
    browser.type_into("body", "/").await;
    assert_eq!(browser.evaluate(is_open).await, true);
    assert_eq!(
        browser.evaluate("document.activeElement.id").await,
        "message"
    );
    browser.type_into("#message", ESCAPE).await;
    assert_eq!(browser.evaluate(is_open).await, false);
    browser.type_into("#message", "m").await;
    assert_eq!(browser.count("#commands li:not([hidden])").await, 1);
    browser.type_into("#message", ENTER).await;
    assert_eq!(browser.evaluate(VALUE).await, "/model ");
    browser.empty_the_box().await;
    browser.type_into("#message", &format!("/{DOWN}")).await;
    let selected = "document.querySelector('#commands [aria-selected=true]').id === document.getElementById('message').getAttribute('aria-activedescendant')";
    assert_eq!(browser.evaluate(selected).await, true);
    // What is a command already is sent.
    browser.empty_the_box().await;
    browser
        .type_into("#message", &format!("/help{ENTER}"))
        .await;
    assert!(
        browser
            .text_of(".message-agent .markdown")
            .await
            .contains("/model")
    );
    close(app, browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_survives_a_reload_and_goes_when_it_is_sent() {
    let (app, browser) = open([Script::answer(["first"])]).await;
    browser
        .type_into("#message", "Hello\u{E008}\u{E007}\u{E000} there")
        .await;
    assert_eq!(
        browser.evaluate(VALUE).await,
        "Hello\n there",
        "Shift+Enter breaks the line"
    );
    browser.page.refresh().await.unwrap();
    assert_eq!(browser.evaluate(VALUE).await, "Hello\n there");
    browser.type_into("#message", ENTER).await;
    shows(&browser, FINISHED, "first").await;
    browser.visit(&app.base, "/").await;
    assert_eq!(browser.evaluate(VALUE).await, "");
    close(app, browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colours_are_switched_and_stay_so() {
    let (app, browser) = open([]).await;
    let dark = "getComputedStyle(document.body).backgroundColor === 'rgb(22, 21, 15)'";
    assert_eq!(browser.evaluate(dark).await, false);
    browser.press("#theme-dark").await;
    eventually("dark", async || {
        (browser.evaluate(dark).await == true).then_some(())
    })
    .await;
    assert_eq!(
        browser.evaluate("document.activeElement.id").await,
        "theme-dark"
    );
    browser.visit(&app.base, "/models").await;
    assert_eq!(browser.evaluate(dark).await, true);
    browser.press("#theme-light").await;
    eventually("light", async || {
        (browser.evaluate(dark).await == false).then_some(())
    })
    .await;
    close(app, browser).await;
}
