//! The main job in a browser: somebody who opens the page through a proxy, asks, and watches the answer grow.

use serde_json::json;

use super::intermediary::Way;
use crate::browser::{FINISHED, PENDING};
use crate::support::TestApp;
use crate::support::app::eventually;
use crate::support::browser::Browser;

/// Whether all of the page is there: who sees that it is not loads it anew.
const IS_COMPLETE: &str = "!!window.htmx && document.styleSheets.length > 0 && document.getElementById('message')?.dataset.restored === ''";
/// Presses the button again, if the page says that the message was not sent, or has somebody else's word for it.
const SEND_AGAIN: &str = "(composer => { if (composer && (document.getElementById('not-sent')?.hidden === false || document.getElementById('composer-note')?.textContent.trim())) composer.querySelector('.send').click(); })(document.querySelector('#composer[action=\"/chat/create\"]'))";
/// The names that more than one element has.
const TWICE: &str = "[...document.querySelectorAll('[id]')].map(({id}) => id).filter((id, at, all) => all.indexOf(id) !== at)";

/// What somebody saw.
pub struct Seen {
    pub chat: String,
    /// The lengths of the answer's text while it grew, as far as they were looked at.
    pub lengths: Vec<usize>,
    /// What the browser complained of.
    pub complaints: Vec<String>,
}

/// Asks, and looks at the answer until it is there.
pub async fn converse(way: &Way, app: &TestApp) -> Seen {
    let browser = match &way.proxy {
        Some(proxy) => Browser::open_through(proxy).await,
        None => Browser::open().await,
    };
    eventually("the whole page", async || {
        let _ = browser.page.goto(&way.base).await;
        (browser.evaluate(IS_COMPLETE).await == true).then_some(())
    })
    .await;
    browser
        .type_into("#message", "Tell me of pollen\u{E007}")
        .await;
    let length = format!("document.querySelector({PENDING:?})?.textContent.length ?? 0");
    let mut lengths = Vec::new();
    eventually("the finished answer", async || {
        let length = browser.evaluate(&length).await.as_u64().unwrap();
        let length = usize::try_from(length).unwrap();
        if length > 0 && lengths.last() != Some(&length) {
            lengths.push(length);
        }
        browser.evaluate(SEND_AGAIN).await;
        (browser.count(FINISHED).await == 1).then_some(())
    })
    .await;
    let url = browser.page.current_url().await.unwrap();
    let chat = url.path().strip_prefix("/chat/").unwrap().to_owned();
    let shown = browser.evaluate(&text_in("document")).await;
    // The page that the server makes of it now, without anything between.
    let direct = app.get_page(url.path()).await.expect(200).text;
    let document = format!(
        "new DOMParser().parseFromString({}, 'text/html')",
        json!(direct)
    );
    assert_eq!(shown, browser.evaluate(&text_in(&document)).await);
    assert!(shown.as_str().unwrap().contains("風が運ぶ。"), "{shown}");
    // It is one page, and not a page in a page.
    browser.text_of("#side-list .chat-row").await;
    assert_eq!(browser.evaluate(TWICE).await, json!([]));
    let complaints = browser.complaints().await;
    browser.close().await;
    Seen {
        chat,
        lengths,
        complaints,
    }
}

fn text_in(document: &str) -> String {
    format!("{document}.querySelector({FINISHED:?}).textContent")
}
