//! The clients' way leads through proxies that cut, buffer and drop: the same ones, and the same answer, as in `proxies`.

use std::sync::atomic::{AtomicUsize, Ordering};

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

/// A client for Python goes this way.
async fn goes(app: &TestApp, way: &Way) {
    let mut arguments = vec![way.base.as_str()];
    arguments.extend(way.proxy.as_deref());
    arrives(app, Driver::python("through", &arguments)).await;
}

/// A client ends with the whole text, which is there once.
async fn arrives(app: &TestApp, driver: Driver) {
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

/// It was as bad as it is said to be.
fn assert_bad(gateway: &Gateway) {
    let deeds = gateway.deeds();
    let did = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    assert!(did(&deeds.cut) > 0 && did(&deeds.dropped) > 0, "{deeds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_the_gateway() {
    let (app, port) = pollen().await;
    let gateway = Gateway::start(port, port).await;
    goes(&app, &gateway.way).await;
    assert_bad(&gateway);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_because_its_answer_was_lost_is_asked_once() {
    let (app, port) = pollen().await;
    let gateway = Gateway::start(port, port).await;
    arrives(&app, Driver::python("through_a_loss", &[&gateway.way.base])).await;
    assert!(gateway.deeds().dropped.load(Ordering::Relaxed) > 0);
    assert_eq!(app.upstream.received().len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_for_javascript_goes_through_the_gateway() {
    let (app, port) = pollen().await;
    let gateway = Gateway::start(port, port).await;
    arrives(&app, Driver::javascript("through", &[&gateway.way.base])).await;
    assert_bad(&gateway);
    app.stop().await;
}
