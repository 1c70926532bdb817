//! The account's page makes an archive of all chats, and takes in chats from files: with script and without.

use crate::support::browser::{Browser, Kind as Like};
use crate::support::{TestApp, Upstream, app::eventually, database::Kind};

async fn leaves_and_comes_back(browser: Browser) {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let (chat, ..) = app.ask("Tell me of tea").await;
    let exported = app.get(&format!("/chat/{chat}/export?format=json")).await;
    let file = app.database.dir().join("chat.json");
    std::fs::write(&file, exported.expect(200).text).unwrap();

    browser.visit(&app.base, "/account").await;
    browser.press("#archive form button").await;
    eventually("the page links the archive", async || {
        if browser.count("#archive a[href$='/file']").await == 1 {
            return Some(());
        }
        // Without script the reader looks again.
        if browser.count("#archive a[href='/account#data']").await == 1 {
            browser.visit(&app.base, "/account").await;
        }
        None
    })
    .await;

    browser
        .type_into("input[name=document]", file.to_str().unwrap())
        .await;
    browser.press("form[action='/chats/import'] button").await;
    eventually("the imported chat is shown", async || {
        (browser.count(".message-assistant").await == 1).then_some(())
    })
    .await;
    let list = app.get("/chat/list").await.expect(200).json();
    assert_eq!(list["chats"].as_array().unwrap().len(), 2);
    let files =
        "[...document.querySelectorAll('.exports a')].map(link => link.textContent).join(' ')";
    assert_eq!(browser.evaluate(files).await, "HTML PDF Markdown JSON");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chats_leave_and_come_back() {
    leaves_and_comes_back(Browser::open().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chats_leave_and_come_back_without_script() {
    leaves_and_comes_back(Browser::open_as(Like::WITHOUT_SCRIPT).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_page_can_be_read_from_a_disk() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let (chat, ..) = app.ask("Tell me of *tea*").await;
    let page = app.get(&format!("/chat/{chat}/export?format=html")).await;
    let file = app.database.dir().join("chat.html");
    std::fs::write(&file, page.expect(200).text).unwrap();
    let browser = Browser::open().await;
    let url = url::Url::from_file_path(&file).unwrap();
    browser.page.goto(url.as_str()).await.unwrap();
    assert!(
        browser
            .text_of("article.assistant .text")
            .await
            .contains("You said: Tell me of tea")
    );
    // Its style is in it, and nothing was fetched.
    let colour = "getComputedStyle(document.querySelector('.user .text')).backgroundColor";
    assert_ne!(browser.evaluate(colour).await, "rgba(0, 0, 0, 0)");
    let fetched = "performance.getEntriesByType('resource').length";
    assert_eq!(browser.evaluate(fetched).await, 0);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}
