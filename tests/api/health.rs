//! `GET /healthz`, `GET /readyz`, and the request id.

use reqwest::Method;

use crate::support::{TestApp, Upstream};

on_both_databases! {
    async fn a_running_server_is_healthy_and_ready(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        assert_eq!(app.get("/healthz").await.expect(200).json()["status"], "ok");
        assert_eq!(app.get("/readyz").await.expect(200).json()["status"], "ready");
        app.stop().await;
    }

    async fn a_request_id_is_taken_given_and_never_trusted(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let with = async |id: &str| {
            let id = id.to_owned();
            app.request(Method::GET, "/chat/x", move |r| r.header("x-request-id", id)).await
        };
        let taken = with("my-request.7").await;
        assert_eq!(taken.header("x-request-id"), "my-request.7");
        assert_eq!(taken.json()["request_id"], "my-request.7");
        for bad in ["has space", &"x".repeat(200)] {
            let given = with(bad).await.header("x-request-id").to_owned();
            assert!(uuid::Uuid::try_parse(&given).is_ok(), "{given}");
        }
        app.stop().await;
    }
}
