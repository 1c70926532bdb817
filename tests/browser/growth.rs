//! How an answer grows on the page: block by block, and without taking anything from who reads.

use tokio_util::sync::CancellationToken;

use super::{FINISHED, PENDING};
use crate::support::browser::Browser;
use crate::support::{Script, TestApp, Upstream, app::eventually, database::Kind};

/// A chat whose first answer grows by one piece for each gate that is opened.
struct Growing {
    app: TestApp,
    browser: Browser,
    gates: Vec<CancellationToken>,
}

impl Growing {
    async fn start(pieces: &[&str]) -> Self {
        let gates: Vec<CancellationToken> =
            pieces.iter().map(|_| CancellationToken::new()).collect();
        let mut script = Script::stream();
        for (piece, gate) in pieces.iter().zip(&gates) {
            script = script.wait(gate).say([piece]);
        }
        let app = TestApp::start(Kind::Sqlite, Upstream::scripted([script.finish()]).await).await;
        let browser = Browser::open().await;
        browser.visit(&app.base, "/").await;
        browser.type_into("#message", "Hello\u{E007}").await;
        Self {
            app,
            browser,
            gates,
        }
    }

    /// Lets the next piece come, and waits until the page says this.
    async fn grow(&mut self, expected: &str) {
        self.gates.remove(0).cancel();
        let css = if self.gates.is_empty() {
            FINISHED
        } else {
            PENDING
        };
        eventually(expected, async || {
            (self.browser.text_of(css).await.ends_with(expected)).then_some(())
        })
        .await;
    }

    async fn end(self) {
        assert_eq!(self.browser.complaints().await, Vec::<String>::new());
        self.browser.close().await;
        self.app.stop().await;
    }
}

const TEXT: &str = "document.querySelector('.message-assistant .markdown')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_blocks_stay_where_they_are_and_the_end_is_what_a_reload_shows() {
    let mut chat = Growing::start(&[
        "# Tea\n\nBoil *wa",
        "ter*.\n\n| a | b |\n| - | - |\n| 1 |",
        " 2 |\n\n```rust\nfn tea() {",
        "}\n```\n\n- one\n- tw",
        "o\n",
    ])
    .await;
    // Before the first word there is somebody who writes.
    chat.browser.text_of(".typing").await;
    chat.grow("Boil *wa").await;
    chat.browser
        .evaluate(&format!("window.heading = {TEXT}.querySelector('h1')"))
        .await;
    chat.grow("1").await;
    chat.browser
        .evaluate(&format!("window.paragraph = {TEXT}.querySelector('p')"))
        .await;
    chat.grow("fn tea() {").await;
    chat.browser
        .evaluate(&format!("window.table = {TEXT}.querySelector('table')"))
        .await;
    chat.grow("tw").await;
    chat.grow("two").await;
    for kept in ["heading", "paragraph", "table"] {
        let is_there = format!("window.{kept}.isConnected && {TEXT}.contains(window.{kept})");
        assert_eq!(
            chat.browser.evaluate(&is_there).await,
            true,
            "{kept} was not replaced"
        );
    }
    let html = format!("{TEXT}.innerHTML");
    let grown = chat.browser.evaluate(&html).await;
    chat.browser.page.refresh().await.unwrap();
    assert_eq!(chat.browser.evaluate(&html).await, grown, "to the letter");
    assert_eq!(chat.browser.count(".open, [id^=poll-]").await, 0);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selection_outlives_the_growth_and_the_end() {
    let mut chat = Growing::start(&[
        "The first paragraph.\n\nThe sec",
        "ond one",
        " grows.\n\nA third",
        ".",
    ])
    .await;
    chat.grow("The sec").await;
    let said = "getSelection().toString()";
    // In the block that still grows, from its middle to the end of what is there.
    let select = format!(
        "(block => getSelection().setBaseAndExtent(block.firstChild, 4, block.firstChild, 7))([...{TEXT}.querySelectorAll('.open p')].pop())"
    );
    chat.browser.evaluate(&select).await;
    assert_eq!(chat.browser.evaluate(said).await, "sec");
    chat.grow("The second one").await;
    assert_eq!(chat.browser.evaluate(said).await, "sec");
    chat.grow("A third").await;
    assert_eq!(
        chat.browser.evaluate(said).await,
        "sec",
        "its block is finished now"
    );
    chat.grow("A third.").await;
    assert_eq!(
        chat.browser.evaluate(said).await,
        "sec",
        "and so is the answer"
    );
    // The poll for messages has brought the end of the answer too.
    let revision = "document.querySelector('.message-assistant .message-foot').dataset.revision";
    let polled = format!(
        "document.getElementById('messages-poll').getAttribute('hx-get').includes('revision=' + {revision})"
    );
    eventually("the messages poll knows", async || {
        (chat.browser.evaluate(&polled).await == true).then_some(())
    })
    .await;
    assert_eq!(chat.browser.evaluate(said).await, "sec");
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_view_follows_who_is_at_the_end_and_nobody_else() {
    let long = "A line of the answer.\n\n".repeat(40);
    let mut chat = Growing::start(&[
        &format!("{long}One"),
        &format!(" two.\n\n{long}Three"),
        " four.",
        "",
    ])
    .await;
    chat.grow("One").await;
    let distance = "document.scrollingElement.scrollHeight - document.scrollingElement.scrollTop - innerHeight";
    let is_hidden = "document.getElementById('new-text').hidden";
    assert!(
        chat.browser.evaluate(distance).await.as_f64().unwrap() < 2.0,
        "it has followed"
    );
    chat.browser.evaluate("scrollTo(0, 100)").await;
    chat.grow("Three").await;
    assert_eq!(
        chat.browser.evaluate("scrollY").await,
        100,
        "it stays where the reader is"
    );
    assert_eq!(
        chat.browser.evaluate(is_hidden).await,
        false,
        "and says that there is more"
    );
    chat.browser.press("#new-text").await;
    eventually("the end", async || {
        (chat.browser.evaluate(distance).await.as_f64().unwrap() < 2.0).then_some(())
    })
    .await;
    eventually("the button has gone", async || {
        (chat.browser.evaluate(is_hidden).await == true).then_some(())
    })
    .await;
    chat.grow("Three four.").await;
    assert!(
        chat.browser.evaluate(distance).await.as_f64().unwrap() < 2.0,
        "it follows again"
    );
    chat.gates.remove(0).cancel();
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_sentences_are_read_out_and_not_tokens() {
    let mut chat = Growing::start(&["Tea is", " hot. It co", "ols. And", " then?"]).await;
    let lines = "[...document.querySelectorAll('#announcer p')].map(p => p.textContent).join('|')";
    chat.grow("Tea is").await;
    assert_eq!(chat.browser.evaluate(lines).await, "");
    chat.grow("It co").await;
    assert_eq!(chat.browser.evaluate(lines).await, "Tea is hot.");
    chat.grow("And").await;
    chat.grow("then?").await;
    eventually("the last words", async || {
        let said = chat.browser.evaluate(lines).await;
        (said == "Tea is hot.|It cools.|And then?|The answer is complete.").then_some(())
    })
    .await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_very_long_block_grows_without_being_sent_again() {
    let lines = "let tea = \"hot\"; // and strong\n".repeat(1_300);
    let first = format!("```rust\n{lines}");
    let mut chat = Growing::start(&[&first, "one();\n", "two();\n", "```\n\nThe end."]).await;
    chat.grow("and strong").await;
    chat.grow("one();").await;
    chat.grow("two();").await;
    let longest = "Math.max(...performance.getEntriesByType('resource').filter(entry => Number(new URL(entry.name).searchParams.get('open')) > 33000).map(entry => entry.decodedBodySize))";
    let bytes = chat.browser.evaluate(longest).await;
    assert!(
        bytes.as_f64().unwrap_or(f64::MAX) < 1_000.0,
        "{bytes} bytes for a line"
    );
    chat.grow("The end.").await;
    let html = format!("{TEXT}.innerHTML");
    let grown = chat.browser.evaluate(&html).await;
    chat.browser.page.refresh().await.unwrap();
    assert_eq!(chat.browser.evaluate(&html).await, grown);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_scrolls_sideways_stays_where_it_is() {
    let wide = "word ".repeat(100);
    let mut chat = Growing::start(&[&format!("```\n{wide}\n"), "more\n", "```\n"]).await;
    chat.grow("word").await;
    let left = "document.querySelector('.markdown pre').scrollLeft";
    chat.browser
        .evaluate(&format!(
            "(document.querySelector('.markdown pre').focus(), {left} = 120)"
        ))
        .await;
    chat.grow("more").await;
    assert_eq!(chat.browser.evaluate(left).await, 120);
    assert_eq!(
        chat.browser
            .evaluate("document.activeElement.tagName")
            .await,
        "PRE"
    );
    chat.grow("more").await;
    assert_eq!(chat.browser.evaluate(left).await, 120);
    chat.end().await;
}
