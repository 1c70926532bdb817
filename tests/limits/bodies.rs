//! Only messages may be long.

use reqwest::Method;
use serde_json::json;

use crate::support::{TestApp, Upstream};

on_both_databases! {
    async fn a_body_of_a_few_fields_is_not_long(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let long = json!({"title": "x".repeat(40_000)});
        for (method, path) in [
            (Method::PATCH, format!("/chat/{chat}")),
            (Method::POST, format!("/chat/{chat}/rename")),
            (Method::POST, format!("/chat/message/{answer}/retry")),
            (Method::PUT, format!("/chat/message/{answer}/reaction")),
        ] {
            let refused = app.request(method, &path, |r| r.json(&long)).await.expect(413);
            assert!(refused.text.contains("at most 32768 bytes"), "{}", refused.text);
        }
        let message = json!({"message": "x".repeat(32_768), "title": "x"});
        app.post("/chat/create", &message).await.expect(201);
        let comment = "\u{1F41D}".repeat(2_000);
        let form = [("reaction", "like"), ("comment", comment.as_str())];
        let path = format!("/chat/message/{answer}/reaction");
        app.request(Method::POST, &path, |r| r.form(&form)).await.expect(200);
        app.stop().await;
    }
}
