//! The page of the document, with either major of HTMX.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::server::FrontEnd;
use super::{REASON, block, refusal};
use crate::support::browser::Browser;
use crate::support::{
    Script, TestApp, Upstream, app::eventually, database::Kind, ports::free_port,
};

const PENDING: &str = ".message-assistant:has([data-status=pending]) [id^=text-]";
const FINISHED: &str = ".message-assistant:has([data-status=completed]) [id^=text-]";
/// What stands in the message box.
const BOX: &str = "document.querySelector('#composer textarea').value";
/// The chat that stands in the page.
const CHAT: &str = "01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a67";

/// A major of HTMX, as its file.
#[derive(Clone, Copy)]
struct Major(&'static str);

const FOUR: Major = Major("assets/htmx-4.0.1.min.js");
const TWO: Major = Major("tests/third_party/node_modules/htmx.org/dist/htmx.min.js");

/// A browser that looks at the page, the server of the page, and Pollen behind it.
struct Stage {
    app: TestApp,
    front: FrontEnd,
    browser: Browser,
}

impl Stage {
    async fn set(major: Major, upstream: Upstream, settings: &[(&str, &str)]) -> Self {
        let app = TestApp::start_with(Kind::Sqlite, upstream, settings).await;
        app.post("/chat/create", &json!({"uuid": CHAT}))
            .await
            .expect(201);
        let htmx = fs::read_to_string(major.0).unwrap_or_else(|_| {
            panic!(
                "{} is missing: `npm ci --prefix tests/third_party` (./scripts/test.sh does)",
                major.0
            )
        });
        let files = BTreeMap::from([
            ("/", block("chat.html")),
            ("/chat.js", block("chat.js")),
            ("/chat.css", block("chat.css")),
            ("/htmx.min.js", htmx),
        ]);
        let front = FrontEnd::start(&app, files).await;
        let browser = Browser::open().await;
        browser.visit(&front.base, "/").await;
        Self {
            app,
            front,
            browser,
        }
    }

    async fn send(&self, message: &str) {
        self.browser.type_into("#composer textarea", message).await;
        self.browser.press("#composer button").await;
    }

    async fn until(&self, css: &str, text: &str) {
        eventually(text, async || {
            (self.browser.text_of(css).await == text).then_some(())
        })
        .await;
    }

    /// Waits until the answer that is being written begins and ends with this.
    async fn until_shown(&self, start: &str, end: &str) {
        eventually(end, async || {
            let text = self.browser.text_of(PENDING).await;
            (text.starts_with(start) && text.ends_with(end)).then_some(())
        })
        .await;
    }

    /// Waits until there are so many.
    async fn until_count(&self, css: &str, count: usize) {
        eventually(css, async || {
            (self.browser.count(css).await == count).then_some(())
        })
        .await;
    }

    /// What htmx 2 says of a piece that the page has already is no complaint: the document tells of it.
    async fn assert_no_complaints(&self) {
        let mut complaints = self.browser.complaints().await;
        complaints.retain(|text| !text.contains("htmx:oobErrorNoTarget"));
        assert_eq!(complaints, Vec::<String>::new());
    }

    async fn end(self) {
        self.browser.close().await;
        self.app.stop().await;
    }
}

async fn a_conversation(major: Major) {
    let gates = [CancellationToken::new(), CancellationToken::new()];
    let first = Script::stream()
        .say(["A *first* paragraph.\n\n", "**Half"])
        .wait(&gates[0])
        .say([" of"])
        .wait(&gates[1])
        .say([" it** <b>and</b>", " the rest"])
        .finish();
    let scripts = [first, Script::answer(["Second"])];
    let stage = Stage::set(major, Upstream::scripted(scripts).await, &[]).await;
    let browser = &stage.browser;
    stage.send("Tell me <i>everything</i>").await;
    stage.until_shown("A first paragraph.", "Half").await;
    gates[0].cancel();
    stage.until_shown("A first paragraph.", "of").await;
    gates[1].cancel();
    stage
        .until(
            FINISHED,
            "A first paragraph.\n\nHalf of it <b>and</b> the rest",
        )
        .await;
    assert_eq!(
        browser.text_of(&format!("{FINISHED} strong")).await,
        "Half of it"
    );
    assert_eq!(
        browser.text_of(".message-user [id^=text-]").await,
        "Tell me <i>everything</i>"
    );
    assert_eq!(browser.count("#messages > li").await, 2);
    assert_eq!(browser.count("[id^=poll-], [id^=open-]").await, 0);
    let title = browser.text_of("#chat-title").await;
    assert!(title.starts_with("Tell me"), "{title}");

    // The next message: nobody asks for the first answer's tokens any more.
    stage.send("And now?").await;
    stage.until_count(".message-user", 2).await;
    let first = browser
        .evaluate("document.querySelector('.message-assistant').id.slice('message-'.length)")
        .await;
    let first = format!("{}/tokens/", first.as_str().unwrap());
    let polls = stage.front.passed(&first);
    assert!(polls > 0);
    stage.until_count(FINISHED, 2).await;
    let looks = stage.front.passed("/messages");
    eventually("another look for messages", async || {
        (stage.front.passed("/messages") > looks).then_some(())
    })
    .await;
    assert_eq!(stage.front.passed(&first), polls);
    assert_eq!(browser.count("#messages > li").await, 4);
    assert_eq!(browser.evaluate(BOX).await, "");
    let asked = stage.app.upstream.received();
    assert_eq!((asked.len(), asked[1].asked().as_str()), (2, "And now?"));
    stage.assert_no_complaints().await;
    stage.end().await;
}

async fn a_failure_is_told_and_tried_again(major: Major) {
    let scripts = [refusal(), Script::answer(["Better"])];
    let stage = Stage::set(major, Upstream::scripted(scripts).await, &[]).await;
    stage.send("Hello").await;
    let said = stage.browser.text_of("[data-status=failed] .error").await;
    assert!(said.contains(REASON), "{said}");
    stage.browser.press("form[action$='/retry'] button").await;
    stage.until(FINISHED, "Better").await;
    assert_eq!(stage.browser.count("#messages > li").await, 2);
    stage.assert_no_complaints().await;
    stage.end().await;
}

async fn what_is_not_taken_stays_in_the_box(major: Major) {
    let settings = [("limits.message_bytes", "20")];
    let stage = Stage::set(major, Upstream::echo().await, &settings).await;
    stage.send("This is longer than twenty bytes").await;
    let said = stage.browser.text_of("#composer-note .problem").await;
    assert!(said.contains("at most 20 bytes"), "{said}");
    assert_eq!(
        stage.browser.evaluate(BOX).await,
        "This is longer than twenty bytes"
    );
    stage
        .browser
        .evaluate("document.querySelector('#composer').reset()")
        .await;
    stage.send("Short enough").await;
    stage.until(FINISHED, "You said: Short enough").await;
    assert_eq!(stage.browser.count(".problem").await, 0);
    assert_eq!(stage.browser.evaluate(BOX).await, "");
    // A chat that is gone says so, once.
    let path = format!("/chat/{CHAT}");
    stage.app.delete(&path).await.expect(204);
    let said = stage.browser.text_of(".problem").await;
    assert!(said.contains("There is no such chat"), "{said}");
    assert_eq!(stage.browser.count("#messages-poll").await, 0);
    stage.end().await;
}

async fn a_server_that_went_away_is_found_again(major: Major) {
    let gate = CancellationToken::new();
    let script = Script::stream().say(["shown "]).wait(&gate).finish();
    let listen = format!("127.0.0.1:{}", free_port());
    let upstream = Upstream::scripted([script, Script::answer(["said anew"])]).await;
    let mut stage = Stage::set(major, upstream, &[("listen", &listen)]).await;
    stage.send("Hello").await;
    stage.until(PENDING, "shown").await;
    stage.app.shut_down().await;
    let missed = stage.front.passed("/tokens/");
    eventually("a poll in vain", async || {
        (stage.front.passed("/tokens/") > missed).then_some(())
    })
    .await;
    stage.app.run().await;
    stage.until(FINISHED, "said anew").await;
    assert_eq!(stage.browser.count("#messages > li").await, 2);
    stage.end().await;
}

macro_rules! with_both_majors {
    ($($name:ident)*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn htmx_4() {
                super::$name(super::FOUR).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn htmx_2() {
                super::$name(super::TWO).await;
            }
        }
    )*};
}

with_both_majors! {
    a_conversation
    a_failure_is_told_and_tried_again
    what_is_not_taken_stays_in_the_box
    a_server_that_went_away_is_found_again
}
