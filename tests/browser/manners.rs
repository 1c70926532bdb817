//! How the page polls: what it does when nobody looks, when the network fails, when the server is killed,
//! and when somebody else looks at the same chat.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{FINISHED, PENDING};
use crate::support::browser::Browser;
use crate::support::{
    Database, Script, Server, TestApp, Upstream, app::eventually, database::Kind, ports::free_port,
};

const TROUBLE: &str = "#trouble:not([hidden])";
/// How often the page has asked for tokens.
const TOKEN_POLLS: &str = "performance.getEntriesByType('resource').filter(entry => entry.name.includes('/tokens/')).length";

/// An answer that says one piece, and the other once the gate is open.
fn two_pieces(gate: &CancellationToken) -> Script {
    Script::stream()
        .say(["one "])
        .wait(gate)
        .say(["two"])
        .finish()
}

async fn asked(script: Script) -> (TestApp, Browser) {
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted([script]).await).await;
    let browser = Browser::open().await;
    browser.visit(&app.base, "/").await;
    browser.type_into("#message", "Count\u{E007}").await;
    assert_eq!(browser.text_of(PENDING).await, "one");
    (app, browser)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_gone_for_a_while_loses_and_doubles_nothing() {
    let gate = CancellationToken::new();
    let (app, browser) = asked(two_pieces(&gate)).await;
    browser.set_offline(true).await;
    assert_eq!(browser.text_of(TROUBLE).await, "Reconnecting…");
    // What is sent meanwhile is not lost.
    browser.type_into("#message", "And on?\u{E007}").await;
    let said = browser.text_of("#not-sent:not([hidden])").await;
    assert!(said.contains("still in the box"), "{said}");
    gate.cancel();
    app.settle().await;
    browser.set_offline(false).await;
    assert_eq!(browser.text_of(FINISHED).await, "one two");
    assert_eq!(browser.count(TROUBLE).await, 0);
    assert_eq!(
        browser
            .evaluate("document.getElementById('message').value")
            .await,
        "And on?"
    );
    browser.type_into("#message", "\u{E007}").await;
    eventually("the second message", async || {
        (browser.count(".message-user").await == 2).then_some(())
    })
    .await;
    assert_eq!(browser.count("#not-sent:not([hidden])").await, 0);
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_that_nobody_sees_polls_rarely_and_catches_up_at_once() {
    let gate = CancellationToken::new();
    let (app, browser) = asked(two_pieces(&gate)).await;
    let show = |hidden: bool| {
        format!(
            "(Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}}), document.dispatchEvent(new Event('visibilitychange')))"
        )
    };
    // Its own clock says how long nobody has looked: several polls of a tab that is seen.
    let begin = format!(
        "(window.ticks = 0, setInterval(() => window.ticks += 1, 300), window.before = {TOKEN_POLLS})"
    );
    browser
        .evaluate(&format!("({begin}, {})", show(true)))
        .await;
    eventually("some time", async || {
        (browser.evaluate("window.ticks").await.as_i64() >= Some(8)).then_some(())
    })
    .await;
    let polls = browser
        .evaluate(&format!("{TOKEN_POLLS} - window.before"))
        .await;
    assert!(
        polls.as_i64().unwrap() <= 2,
        "{polls} polls while eight were due"
    );
    gate.cancel();
    app.settle().await;
    assert_eq!(browser.count(FINISHED).await, 0, "nobody has looked");
    browser.evaluate(&show(false)).await;
    assert_eq!(browser.text_of(FINISHED).await, "one two");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_devices_show_the_same() {
    let gate = CancellationToken::new();
    let (app, browser) = asked(two_pieces(&gate)).await;
    let path = browser.page.current_url().await.unwrap().path().to_owned();
    let other = Browser::open().await;
    other.visit(&app.base, &path).await;
    assert_eq!(other.text_of(PENDING).await, "one");
    // What one of them says, and does, the other one shows.
    other.type_into("#message", "And then?\u{E007}").await;
    assert_eq!(
        browser.text_of(".message-user:has(.waiting) .text").await,
        "And then?"
    );
    browser.press(".message-user:has(.waiting) .stop").await;
    let withdrawn = ".message-user:has([data-status=cancelled]) .text";
    assert_eq!(other.text_of(withdrawn).await, "And then?");
    gate.cancel();
    for browser in [&browser, &other] {
        assert_eq!(browser.text_of(FINISHED).await, "one two");
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    }
    let shown = "document.getElementById('messages').innerText";
    assert_eq!(browser.evaluate(shown).await, other.evaluate(shown).await);
    other.close().await;
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_back_leads_into_the_middle_of_the_answer() {
    let gate = CancellationToken::new();
    let (app, browser) = asked(two_pieces(&gate)).await;
    browser.visit(&app.base, "/models").await;
    assert_eq!(browser.text_of("h1").await, "Models");
    browser.page.back().await.unwrap();
    assert_eq!(browser.text_of(PENDING).await, "one");
    gate.cancel();
    assert_eq!(browser.text_of(FINISHED).await, "one two");
    assert_eq!(browser.count(".message").await, 2);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_in_the_middle_of_an_answer_is_no_news_to_the_reader() {
    let (gate, second) = (CancellationToken::new(), CancellationToken::new());
    let scripts = [
        Script::stream().say(["half of "]).wait(&gate).finish(),
        Script::stream()
            .say(["All of it, "])
            .wait(&second)
            .say(["anew"])
            .finish(),
    ];
    let upstream = Upstream::scripted(scripts).await;
    let database = Database::create(Kind::Sqlite).await;
    let dir = database.dir();
    let base_url = upstream.base_url();
    let variables = [
        ("POLLEN_DATABASE_URL", database.url.as_str()),
        ("POLLEN_OPENAI__BASE_URL", base_url.as_str()),
        ("POLLEN_OPENAI__MODEL", "scripted-model"),
        ("POLLEN_LEDGER__FLUSH_INTERVAL_MS", "10"),
    ];
    let listen = format!("127.0.0.1:{}", free_port());
    let server = Server::start_at(&dir, &variables, &listen).await;
    let browser = Browser::open().await;
    browser.visit(&server.base, "/").await;
    browser.type_into("#message", "Tell me\u{E007}").await;
    assert_eq!(browser.text_of(PENDING).await, "half of");
    server.kill().await;
    assert_eq!(browser.text_of(TROUBLE).await, "Reconnecting…");
    let server = Server::start_at(&dir, &variables, &listen).await;
    eventually("the answer goes on", async || {
        (browser.text_of(PENDING).await == "All of it,").then_some(())
    })
    .await;
    second.cancel();
    assert_eq!(browser.text_of(FINISHED).await, "All of it, anew");
    assert_eq!(browser.count(TROUBLE).await, 0);
    assert_eq!(browser.count(".message").await, 2, "nothing is doubled");
    browser.close().await;
    server.terminate("-TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_deleted_elsewhere_disappears_and_polls_no_more() {
    let gate = CancellationToken::new();
    let (app, browser) = asked(two_pieces(&gate)).await;
    let chat = app.get("/chat/list").await.json()["chats"][0]["uuid"].clone();
    let question = app.messages(chat.as_str().unwrap()).await[0]["uuid"].clone();
    let path = format!("/chat/message/{}", question.as_str().unwrap());
    app.delete(&path).await.expect(204);
    eventually("the question has gone", async || {
        (browser.count(".message-user").await == 0).then_some(())
    })
    .await;
    eventually("nothing polls for tokens", async || {
        (browser.count("[id^=poll-]").await == 0).then_some(())
    })
    .await;
    browser.close().await;
    app.stop().await;
}

/// From now on all that the page asks for is answered so.
async fn refuse(browser: &Browser, status: u16, body: &str) {
    let script = format!(
        "((window.ours ??= window.fetch), (window.fetch = async () => new Response({body:?}, {{status: {status}}})), true)"
    );
    browser.evaluate(&script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_ended_is_told_and_nothing_polls_for_ever() {
    for status in [401, 403] {
        let gate = CancellationToken::new();
        let (app, browser) = asked(two_pieces(&gate)).await;
        refuse(&browser, status, "<p class='problem'>Sign in again</p>").await;
        assert_eq!(
            browser.text_of("main .problem:not([hidden])").await,
            "Sign in again"
        );
        eventually("no poller of the chat any more", async || {
            (browser.count("#messages-poll, [id^=poll-]").await == 0).then_some(())
        })
        .await;
        browser.close().await;
        gate.cancel();
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_refuses_for_a_while_ends_no_polling() {
    let gate = CancellationToken::new();
    let (app, browser) = asked(two_pieces(&gate)).await;
    for status in [408, 425, 429] {
        refuse(&browser, status, "<p>Refused</p>").await;
        assert_eq!(browser.text_of(TROUBLE).await, "Reconnecting…", "{status}");
        browser
            .evaluate("((window.fetch = window.ours), true)")
            .await;
        eventually("no trouble any more", async || {
            (browser.count(TROUBLE).await == 0).then_some(())
        })
        .await;
        assert_eq!(browser.count("#messages-poll, [id^=poll-]").await, 2);
        assert_eq!(browser.text_of(PENDING).await, "one");
    }
    gate.cancel();
    assert_eq!(browser.text_of(FINISHED).await, "one two");
    browser.type_into("#message", "And on?\u{E007}").await;
    eventually("the second message", async || {
        (browser.count(".message-user").await == 2).then_some(())
    })
    .await;
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_in_which_nothing_happens_is_polled_at_the_servers_pace() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let (chat, ..) = app.ask("Hello").await;
    let browser = Browser::open().await;
    browser.visit(&app.base, &format!("/chat/{chat}")).await;
    let trigger = "document.getElementById('messages-poll').getAttribute('hx-trigger')";
    let shown = browser.evaluate(trigger).await;
    assert!(
        shown.as_str().unwrap().starts_with("every 2000ms"),
        "nothing is going on: {shown}"
    );
    app.post(&format!("/chat/{chat}/send"), &json!({"message": "More"}))
        .await
        .expect(202);
    eventually("the second answer", async || {
        (browser.count(FINISHED).await == 2).then_some(())
    })
    .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}
