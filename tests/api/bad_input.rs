//! Bad input: each a 4xx that says what is wrong, in JSON and in HTML, and nothing stored.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Answer, TestApp, Upstream};

/// The members that RFC 9457 and our promise name, and the headers.
fn assert_problem(answer: &Answer, status: u16, kind: &str, path: &str) {
    assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{path}"
    );
    assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    let body = answer.json();
    assert_eq!(body["type"], format!("/problems/{kind}"), "{path}: {body}");
    assert_eq!(body["status"], status);
    assert_eq!(body["instance"], path.split('?').next().unwrap());
    assert_eq!(body["request_id"], answer.header("x-request-id"));
    assert!(
        body["title"]
            .as_str()
            .is_some_and(|title| !title.is_empty())
    );
}

on_both_databases! {
    async fn paths_that_make_no_sense(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let unknown = Uuid::now_v7();
        let long = "9".repeat(400);
        let cases = [
            ("/nowhere".to_owned(), 404, "no-such-page"),
            ("/assets/%ff".to_owned(), 400, "malformed-request"),
            ("/problems/%ff".to_owned(), 400, "malformed-request"),
            ("/chat/not-a-uuid".to_owned(), 400, "malformed-uuid"),
            (format!("/chat/{}", Uuid::now_v7().simple()), 400, "malformed-uuid"),
            (format!("/chat/{unknown}"), 404, "chat-not-found"),
            (format!("/chat/{unknown}/messages"), 404, "chat-not-found"),
            (format!("/chat/{chat}/messages/not-a-uuid"), 400, "malformed-uuid"),
            (format!("/chat/{chat}/messages/{unknown}"), 404, "cursor-not-found"),
            (format!("/chat/{chat}/messages?revision=latest"), 400, "malformed-request"),
            (format!("/chat/{chat}/messages?revison=1"), 400, "malformed-request"),
            ("/chat/message/not-a-uuid".to_owned(), 400, "malformed-uuid"),
            (format!("/chat/message/{unknown}"), 404, "message-not-found"),
            (format!("/chat/message/{chat}/tokens/0"), 404, "message-not-found"),
            (format!("/chat/message/{answer}/tokens/-1"), 400, "malformed-position"),
            (format!("/chat/message/{answer}/tokens/+1"), 400, "malformed-position"),
            (format!("/chat/message/{answer}/tokens/1.0"), 400, "malformed-position"),
            (format!("/chat/message/{answer}/tokens/1e3"), 400, "malformed-position"),
            (format!("/chat/message/{answer}/tokens/x"), 400, "malformed-position"),
            (format!("/chat/message/{answer}/tokens/%20"), 400, "malformed-position"),
            (format!("/chat/message/{answer}/tokens/9007199254740992"), 400, "malformed-position"),
            (format!("/chat/message/{answer}/tokens/{long}"), 400, "malformed-position"),
            (format!("/chat/message/{answer}/tokens/%ff"), 400, "malformed-request"),
        ];
        for (path, status, problem) in cases {
            assert_problem(&app.get(&path).await, status, problem, &path);
            let html = app.get_page(&path).await;
            assert_eq!(html.status.as_u16(), status, "{path}");
            assert_eq!(html.header("content-type"), "text/html; charset=utf-8");
            assert!(html.text.contains("role=\"alert\""), "{path}: {}", html.text);
            let fragment = app.get_fragment(&path).await;
            assert_eq!(fragment.status.as_u16(), status, "{path}");
            assert!(fragment.text.starts_with("<div class=\"problem\""), "{path}: {}", fragment.text);
        }
        app.get(&format!("/chat/message/{answer}/tokens/9007199254740991")).await.expect(200);
        app.stop().await;
    }

    async fn bodies_that_make_no_sense(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let path = format!("/chat/{chat}/send");
        let json = "application/json";
        let form = "application/x-www-form-urlencoded";
        let big = format!("{{\"message\": \"{}\"}}", "x".repeat(300_000));
        let long = format!("{{\"message\": \"{}\"}}", "x".repeat(32_769));
        let cases = [
            (json, "{\"message\": ", 400, "malformed-request"),
            (json, "not json", 400, "malformed-request"),
            (json, "{}", 422, "invalid-field"),
            (json, "[]", 422, "invalid-field"),
            (json, "{\"message\": 7}", 422, "invalid-field"),
            (json, "{\"message\": null}", 422, "invalid-field"),
            (json, "{\"message\": \"\"}", 422, "invalid-field"),
            (json, "{\"message\": \" \\n\\t\"}", 422, "invalid-field"),
            (json, "{\"message\": \"a\\u0000b\"}", 422, "invalid-field"),
            (json, "{\"mesage\": \"hello\"}", 422, "invalid-field"),
            (json, "{\"message\": \"\\ud800\"}", 400, "malformed-request"),
            (json, long.as_str(), 422, "invalid-field"),
            (json, big.as_str(), 413, "body-too-large"),
            (form, "message=", 422, "invalid-field"),
            (form, "", 422, "invalid-field"),
            (form, "message=%ff%fe", 400, "malformed-request"),
            (form, "message=a&message=b", 422, "invalid-field"),
            ("text/plain", "hello", 415, "unsupported-media-type"),
            ("multipart/form-data; boundary=x", "--x--", 415, "unsupported-media-type"),
            ("nonsense", "hello", 415, "unsupported-media-type"),
        ];
        for (content_type, body, status, problem) in cases {
            let answer = app
                .request(Method::POST, &path, |r| r.header("content-type", content_type).body(body.to_owned()))
                .await;
            assert_problem(&answer, status, problem, &path);
        }
        let untyped = app.request(Method::POST, &path, |r| r.body("hello")).await;
        assert_problem(&untyped, 415, "unsupported-media-type", &path);
        assert_eq!(app.messages(&chat).await.len(), 0, "nothing was stored");
        app.stop().await;
    }

    async fn fields_that_make_no_sense(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let cases = [
            (json!({"uuid": "x"}), 400, "malformed-uuid"),
            (json!({"title": ""}), 422, "invalid-field"),
            (json!({"title": "two\nlines"}), 422, "invalid-field"),
            (json!({"title": "x".repeat(201)}), 422, "invalid-field"),
            (json!({"agent": "No Spaces"}), 422, "invalid-field"),
            (json!({"model": "has space"}), 422, "invalid-field"),
            (json!({"message": " "}), 422, "invalid-field"),
        ];
        for (body, status, problem) in cases {
            assert_problem(&app.post("/chat/create", &body).await, status, problem, "/chat/create");
        }
        assert_eq!(app.get("/chat/list").await.json()["chats"], json!([]), "nothing was stored");
        let chat = app.create_chat().await;
        let path = format!("/chat/{chat}");
        for body in [json!({}), json!({"title": ""}), json!({"status": "waiting_for_user"})] {
            let answer = app.request(Method::PATCH, &path, |r| r.json(&body)).await;
            assert_problem(&answer, 422, "invalid-field", &path);
        }
        app.stop().await;
    }

    async fn the_demo_model_knows_only_itself(kind: Kind) {
        let settings = [("default_provider", "demo")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let refused = app.post("/chat/create", &json!({"model": "gpt-9"})).await;
        assert_problem(&refused, 422, "invalid-field", "/chat/create");
        assert!(refused.text.contains("demo"), "{}", refused.text);
        app.post("/chat/create", &json!({"model": "demo"})).await.expect(201);
        app.stop().await;
    }

    async fn wrong_methods_are_told_the_right_ones(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        for (method, path, allowed) in [
            (Method::GET, "/chat/create".to_owned(), "POST"),
            (Method::POST, format!("/chat/{chat}/messages"), "GET"),
            (Method::PUT, format!("/chat/{chat}"), "PATCH"),
            (Method::DELETE, format!("/chat/{chat}/send"), "POST"),
        ] {
            let answer = app.request(method, &path, |r| r).await;
            assert_problem(&answer, 405, "method-not-allowed", &path);
            assert!(answer.header("allow").contains(allowed), "{path}: {}", answer.header("allow"));
        }
        app.stop().await;
    }

    async fn every_problem_type_is_explained(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let uri = app.get("/chat/x").await.json()["type"].as_str().unwrap().to_owned();
        assert!(app.get_page(&uri).await.expect(200).text.contains("This is not a UUID"));
        assert_eq!(app.get(&uri).await.expect(200).json()["status"], 400);
        app.get("/problems/none-of-ours").await.expect(404);
        app.stop().await;
    }
}
