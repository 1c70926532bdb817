//! The clients' way leads through proxies that cut, buffer and drop: the same ones, and the same answer, as in `proxies`.

use super::{Driver, Model};
use crate::proxies::gateway::Gateway;
use crate::proxies::intermediary::{Intermediary, Kind, Way};
use crate::proxies::{APACHE, HAPROXY, NGINX, SQUID, VARNISH, answer};
use crate::support::{TestApp, Upstream, database};

async fn pollen() -> (TestApp, u16) {
    let upstream = Upstream::start(|_| answer::script()).await;
    let settings = [
        ("auth.local_hosts", "127.0.0.1"),
        ("trusted_proxies", "127.0.0.1"),
    ];
    let app = TestApp::start_with(database::Kind::Sqlite, upstream, &settings).await;
    let port = app.base.rsplit_once(':').unwrap().1.parse().unwrap();
    (app, port)
}

/// A client of Python goes this way and ends with the whole text, which is there once.
async fn goes(app: &TestApp, way: &Way) {
    let mut arguments = vec![way.base.as_str()];
    arguments.extend(way.proxy.as_deref());
    let driver = Driver::python("through", &arguments);
    let said = driver.end(&Model::default()).await;
    let text: String = serde_json::from_str(said.of("text")).unwrap();
    assert_eq!(text, answer::text());
    let direct = app
        .get(&format!("/v1/responses/{}", said.of("response")))
        .await;
    let chat = direct.expect(200).json()["pollen"]["chat_uuid"].clone();
    let messages = app.messages(chat.as_str().unwrap()).await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[1]["content"], answer::text());
    let chats = app.get("/chat/list").await.json();
    assert_eq!(
        chats["chats"].as_array().unwrap().len(),
        1,
        "it was asked once"
    );
}

async fn goes_through(kind: &Kind) {
    let (app, port) = pollen().await;
    // Nobody goes to the other server that it stands before.
    let proxy = Intermediary::start(kind, port, port).await;
    goes(&app, &proxy.way).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_nginx() {
    goes_through(&NGINX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_haproxy() {
    goes_through(&HAPROXY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_varnish() {
    goes_through(&VARNISH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_squid() {
    goes_through(&SQUID).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_proxy_of_http_1_0() {
    goes_through(&APACHE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_the_gateway() {
    let (app, port) = pollen().await;
    let gateway = Gateway::start(port, port).await;
    goes(&app, &gateway.way).await;
    let cut = gateway
        .deeds()
        .cut
        .load(std::sync::atomic::Ordering::Relaxed);
    let dropped = gateway
        .deeds()
        .dropped
        .load(std::sync::atomic::Ordering::Relaxed);
    assert!(cut > 0 && dropped > 0, "{:?}", gateway.deeds());
    app.stop().await;
}
