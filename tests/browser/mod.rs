//! The page in a real browser, from typing to the finished answer.

mod access;
mod deeds;
mod exchange;
mod growth;
mod hostile;
mod identity;
mod list;
mod manners;
mod noscript;
mod screenshots;
mod share;
mod weight;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::browser::Browser;
use crate::support::{
    Script, TestApp, Upstream, app::eventually, database::Kind, ports::free_port,
};

pub const PENDING: &str = ".message-assistant:has([data-status=pending]) .markdown";
pub const FINISHED: &str = ".message-assistant:has([data-status=completed]) .markdown";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_typing_to_the_finished_answer() {
    let gates = [CancellationToken::new(), CancellationToken::new()];
    let script = Script::stream()
        .say(["**Half", " of "])
        .wait(&gates[0])
        .say(["it** <b>and</b>"])
        .wait(&gates[1])
        .say([" the rest"])
        .finish();
    let app = TestApp::start(
        Kind::Sqlite,
        Upstream::scripted([script, Script::answer(["Second"])]).await,
    )
    .await;
    let browser = Browser::open().await;
    browser.page.goto(&app.base).await.unwrap();
    browser
        .type_into("#message", "Tell me <i>everything</i>\u{E007}")
        .await;

    // The chat has an address of its own, and the answer grows before our eyes.
    eventually("the first words", async || {
        (browser.text_of(PENDING).await == "**Half of").then_some(())
    })
    .await;
    let path = browser.page.current_url().await.unwrap().path().to_owned();
    assert!(path.starts_with("/chat/"), "{path}");
    assert_eq!(
        browser.text_of(".message-user .text").await,
        "Tell me <i>everything</i>"
    );
    assert_eq!(browser.count(".typing").await, 1);
    gates[0].cancel();
    eventually("more words", async || {
        (browser.text_of(PENDING).await == "Half of it <b>and</b>").then_some(())
    })
    .await;
    gates[1].cancel();
    assert_eq!(
        browser.text_of(FINISHED).await,
        "Half of it <b>and</b> the rest"
    );
    assert_eq!(
        browser.text_of(&format!("{FINISHED} strong")).await,
        "Half of it"
    );
    assert_eq!(
        browser.count("[id^=poll-], .typing").await,
        0,
        "nothing polls for tokens any more"
    );

    // The box is empty, has the focus, and takes the next message.
    assert_eq!(
        browser
            .evaluate("document.activeElement.id + document.activeElement.value")
            .await,
        "message"
    );
    browser.type_into("#message", "And now?\u{E007}").await;
    eventually("the second answer", async || {
        (browser.count(FINISHED).await == 2).then_some(())
    })
    .await;
    assert_eq!(
        browser.count("#messages > li").await,
        4,
        "each message stands there once"
    );

    // The page as the server renders it now is the page that grew.
    let grown = browser
        .evaluate("document.getElementById('messages').innerText")
        .await;
    browser.page.refresh().await.unwrap();
    assert_eq!(
        browser.text_of(FINISHED).await,
        "Half of it <b>and</b> the rest"
    );
    assert_eq!(
        browser
            .evaluate("document.getElementById('messages').innerText")
            .await,
        grown
    );

    // And the way back is the home page, with the chat on it.
    browser.page.goto(&app.base).await.unwrap();
    assert_eq!(
        browser.text_of("main .chat-title").await,
        "Tell me <i>everything</i>"
    );
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_and_a_second_tab_go_on_in_mid_answer() {
    let gate = CancellationToken::new();
    let script = Script::stream()
        .say(["one "])
        .wait(&gate)
        .say(["two"])
        .finish();
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted([script]).await).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "Count").await;
    let answer = app.answer_to(&chat, &message).await;
    app.read_until(&answer, "one ").await;
    let browser = Browser::open().await;
    let url = format!("{}/chat/{chat}", app.base);
    browser.page.goto(&url).await.unwrap();
    assert_eq!(browser.text_of(PENDING).await, "one");
    browser.page.refresh().await.unwrap();
    assert_eq!(browser.text_of(PENDING).await, "one");
    let first = browser.page.window().await.unwrap();
    let tab = browser.page.new_window(true).await.unwrap();
    browser.page.switch_to_window(tab.handle).await.unwrap();
    browser.page.goto(&url).await.unwrap();
    assert_eq!(browser.text_of(PENDING).await, "one");
    gate.cancel();
    assert_eq!(browser.text_of(FINISHED).await, "one two");
    browser.page.switch_to_window(first).await.unwrap();
    assert_eq!(browser.text_of(FINISHED).await, "one two");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_chosen_and_commands_are_typed_into_the_box() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let browser = Browser::open().await;
    let agents = format!("{}/agents", app.base);
    browser.page.goto(&agents).await.unwrap();
    let name = browser.text_of(".agents li:first-child strong").await;
    browser
        .press(".agents li:first-child form:first-child button")
        .await;
    // The greeting is the first thing that is said.
    let greeting = browser.text_of(FINISHED).await;
    assert!(!greeting.is_empty());
    browser.type_into("#message", "/agent\u{E007}").await;
    let reply = browser.text_of(".message-agent .markdown").await;
    assert!(
        reply.starts_with(&format!("You are talking to {name}.")),
        "{reply}"
    );
    browser.type_into("#message", "/title Typed\u{E007}").await;
    eventually("the second reply", async || {
        (browser.count(".message-agent").await == 2).then_some(())
    })
    .await;
    assert!(app.upstream.received().is_empty(), "no model was asked");
    browser.type_into("#message", "//slash\u{E007}").await;
    eventually("the answer", async || {
        (browser.count(FINISHED).await == 2).then_some(())
    })
    .await;
    assert_eq!(app.upstream.received()[0].asked(), "/slash");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thoughts_grow_folded_beside_the_answer() {
    let gates = [CancellationToken::new(), CancellationToken::new()];
    let thought = |text: &str| {
        let delta = json!({"choices": [{"index": 0, "delta": {"reasoning_content": text}}]});
        format!("data: {delta}\n\n")
    };
    let script = Script::stream()
        .raw(thought("First <this>, "))
        .wait(&gates[0])
        .raw(thought("then 花粉."))
        .wait(&gates[1])
        .say(["**So.**"])
        .finish();
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted([script]).await).await;
    let browser = Browser::open().await;
    browser.page.goto(&app.base).await.unwrap();
    browser.type_into("#message", "Think\u{E007}").await;
    // What is folded is not displayed: its text is read from the document.
    let thoughts = async |wanted: &str| {
        let read = "document.querySelector('.thoughts .thought')?.textContent ?? null";
        eventually(wanted, async || {
            (browser.evaluate(read).await == wanted).then_some(())
        })
        .await;
    };
    let is_open = "document.querySelector('.thoughts').open";
    thoughts("First <this>, ").await;
    assert_eq!(browser.evaluate(is_open).await, false, "folded");
    let summary = browser
        .text_of(".message-assistant .thoughts summary")
        .await;
    assert_eq!(summary, "What the model thought");
    browser.press(".thoughts summary").await;
    assert_eq!(browser.evaluate(is_open).await, true);
    gates[0].cancel();
    thoughts("First <this>, then 花粉.").await;
    assert_eq!(
        browser.evaluate(is_open).await,
        true,
        "it stays as the reader left it while it grows"
    );
    assert_eq!(
        browser
            .count(".message-assistant:has([data-status=pending])")
            .await,
        1
    );
    gates[1].cancel();
    assert_eq!(browser.text_of(FINISHED).await, "So.");
    thoughts("First <this>, then 花粉.").await;
    browser.page.refresh().await.unwrap();
    assert_eq!(browser.text_of(FINISHED).await, "So.");
    thoughts("First <this>, then 花粉.").await;
    assert_eq!(browser.evaluate(is_open).await, false, "folded again");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_answer_is_shown_as_such_and_the_chat_goes_on() {
    let refusal = json!({"error": {"message": "too <much>"}});
    let scripts = [Script::json(400, &refusal), Script::answer(["Better"])];
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted(scripts).await).await;
    let browser = Browser::open().await;
    browser.page.goto(&app.base).await.unwrap();
    browser.type_into("#message", "Hello\u{E007}").await;
    let reason = browser
        .text_of(".message-assistant:has([data-status=failed]) .error")
        .await;
    assert!(reason.contains("It says: too <much>"), "{reason}");
    browser.type_into("#message", "Again\u{E007}").await;
    assert_eq!(browser.text_of(FINISHED).await, "Better");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_is_deleted_elsewhere_says_so_and_polls_no_more() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let (chat, ..) = app.ask("Hello").await;
    let browser = Browser::open().await;
    browser
        .page
        .goto(&format!("{}/chat/{chat}", app.base))
        .await
        .unwrap();
    assert_eq!(browser.text_of(FINISHED).await, "You said: Hello");
    app.delete(&format!("/chat/{chat}")).await.expect(204);
    let said = browser.text_of(".problem:not([hidden])").await;
    assert!(said.contains("There is no such chat"), "{said}");
    assert_eq!(browser.count("#messages-poll").await, 0);
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_not_taken_stays_in_the_box_with_the_reason() {
    let settings = [("limits.message_bytes", "20")];
    let app = TestApp::start_with(Kind::Sqlite, Upstream::echo().await, &settings).await;
    let chat = app.create_chat().await;
    let browser = Browser::open().await;
    browser
        .page
        .goto(&format!("{}/chat/{chat}", app.base))
        .await
        .unwrap();
    browser
        .type_into("#message", "This is longer than twenty bytes\u{E007}")
        .await;
    let said = browser.text_of("#composer-note .problem").await;
    assert!(said.contains("at most 20 bytes"), "{said}");
    assert_eq!(
        browser
            .evaluate("document.getElementById('message').value")
            .await,
        "This is longer than twenty bytes"
    );
    // Once it is short enough it goes, and the complaint with it.
    browser.empty_the_box().await;
    browser.type_into("#message", "Short enough\u{E007}").await;
    assert_eq!(browser.text_of(FINISHED).await, "You said: Short enough");
    assert_eq!(browser.count(".problem:not([hidden])").await, 0);
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_went_away_is_missed_and_welcomed_back() {
    let gate = CancellationToken::new();
    let script = Script::stream().say(["shown "]).wait(&gate).finish();
    let listen = format!("127.0.0.1:{}", free_port());
    let settings = [("listen", listen.as_str())];
    let upstream = Upstream::scripted([script, Script::answer(["said anew"])]).await;
    let mut app = TestApp::start_with(Kind::Sqlite, upstream, &settings).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "Hello").await;
    let answer = app.answer_to(&chat, &message).await;
    app.read_until(&answer, "shown ").await;
    let browser = Browser::open().await;
    browser
        .page
        .goto(&format!("{}/chat/{chat}", app.base))
        .await
        .unwrap();
    assert_eq!(browser.text_of(PENDING).await, "shown");
    app.shut_down().await;
    let said = browser.text_of("#trouble:not([hidden])").await;
    assert!(said.contains("Reconnecting"), "{said}");
    app.run().await;
    assert_eq!(browser.text_of(FINISHED).await, "said anew");
    assert_eq!(browser.count("#trouble:not([hidden])").await, 0);
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enter_twice_sends_once() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let browser = Browser::open().await;
    browser.page.goto(&app.base).await.unwrap();
    browser.type_into("#message", "Hello\u{E007}\u{E007}").await;
    assert_eq!(browser.text_of(FINISHED).await, "You said: Hello");
    browser.type_into("#message", "Again\u{E007}\u{E007}").await;
    eventually("the second answer", async || {
        (browser.count(FINISHED).await == 2).then_some(())
    })
    .await;
    let chats = app.get("/chat/list").await.json();
    assert_eq!(chats["chats"].as_array().unwrap().len(), 1);
    let chat = chats["chats"][0]["uuid"].as_str().unwrap().to_owned();
    assert_eq!(app.messages(&chat).await.len(), 4);
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_can_be_stopped_tried_again_and_regenerated() {
    let stopped = Script::stream()
        .say(["half"])
        .wait(&CancellationToken::new())
        .finish();
    let scripts = [stopped, Script::answer(["whole"]), Script::answer(["anew"])];
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted(scripts).await).await;
    let browser = Browser::open().await;
    browser.page.goto(&app.base).await.unwrap();
    browser.type_into("#message", "Hello\u{E007}").await;
    assert_eq!(browser.text_of(PENDING).await, "half");

    browser.press("form[action$='/cancel'] button").await;
    let cancelled = ".message-assistant:has([data-status=cancelled])";
    assert_eq!(
        browser.text_of(&format!("{cancelled} .markdown")).await,
        "half"
    );
    let note = browser.text_of(&format!("{cancelled} .note")).await;
    assert_eq!(note, "This answer was stopped.");
    app.upstream.received()[0].gone.cancelled().await;

    browser.press("form[action$='/retry'] button").await;
    eventually("the second version", async || {
        (browser.text_of(FINISHED).await == "whole").then_some(())
    })
    .await;
    browser.press("form[action$='/regenerate'] button").await;
    eventually("the third version", async || {
        (browser.text_of(FINISHED).await == "anew").then_some(())
    })
    .await;
    assert_eq!(
        browser.count(".message").await,
        2,
        "nothing was added or doubled"
    );
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}
