//! The address of its own for those who watch.

use reqwest::Method;

use super::house::House;
use crate::support::process::{pollen, run};
use crate::support::{Upstream, http_client};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_is_not_asked_who_they_are() {
    let closed = [("POLLEN_AUTH__MODES", "token")];
    let house = House::start(Upstream::echo().await, &closed).await;
    let (status, _) = house.get("/metrics").await;
    assert_eq!(status, 401, "to everybody else it is closed");
    let url = house.metrics_url();
    let base = url.strip_suffix("/metrics").unwrap();
    for (method, path, status) in [
        (Method::GET, "/metrics", 200),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/readyz", 200),
        (Method::POST, "/metrics", 405),
        (Method::GET, "/chat/list", 404),
        (Method::GET, "/", 404),
    ] {
        let request = http_client().request(method.clone(), format!("{base}{path}"));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
    }
    let answer = http_client().get(&url).send().await.unwrap();
    let kind = &answer.headers()["content-type"];
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let (status, log) = house.server.terminate("-TERM").await;
    assert!(status.success(), "{log}");
    assert!(
        http_client().get(&url).send().await.is_err(),
        "it is closed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_used_is_a_reason_not_to_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    for (value, complaint) in [
        (address.as_str(), "cannot listen for metrics on 127.0.0.1"),
        ("9464", "expected an address and a port"),
    ] {
        let variables = [("POLLEN_METRICS__LISTEN", value)];
        let ended = run(dir.path(), &variables, &["--listen", "127.0.0.1:0"]).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success());
        assert!(
            said.contains(complaint) && said.contains("metrics.listen"),
            "{said}"
        );
    }
    // By itself nobody listens there.
    let mut server = pollen(dir.path(), &[]);
    let server = server.args(["config"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&server.stdout).into_owned();
    let line = said
        .lines()
        .find(|line| line.starts_with("metrics.listen "));
    assert!(line.unwrap().contains("= \"\""), "{line:?}");
}
