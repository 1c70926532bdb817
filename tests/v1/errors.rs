//! Whatever goes wrong under `/v1`, in whichever layer, has the shape that OpenAI's libraries read.

use entity::api_token::Scope;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::database::Kind;
use crate::support::{Answer, TestApp, Upstream};

fn error(answer: &Answer) -> Value {
    assert!(!answer.status.is_success(), "{}", answer.text);
    let body = answer.json();
    let error = body["error"].clone();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    for key in ["message", "type", "param", "code"] {
        assert!(error.get(key).is_some(), "{key}: {body}");
    }
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(!answer.header("x-request-id").is_empty());
    error
}

#[tokio::test]
async fn each_layer_tells_its_problems_alike() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let post = async |body: &str| {
        app.request(Method::POST, "/v1/responses", |request| {
            request
                .header("content-type", "application/json")
                .body(body.to_owned())
        })
        .await
    };
    for (answer, status, param, code) in [
        (app.get("/v1/nothing").await, 404, None, "unknown_url"),
        (app.put("/v1/responses", &json!({})).await, 405, None, "method_not_allowed"),
        (app.get_page("/v1/responses/x").await, 404, Some("id"), "response_not_found"),
        (app.get("/v1/models/none").await, 404, Some("model"), "model_not_found"),
        (post("{").await, 400, None, "malformed_request"),
        (post("{}").await, 400, Some("input"), "missing_required_parameter"),
        (post(r#"{"input": 3}"#).await, 400, Some("input"), "invalid_type"),
        (post(r#"{"input": "x", "top_p": "y"}"#).await, 400, Some("top_p"), "invalid_type"),
        (post(r#"{"input": [{"role": 4}]}"#).await, 400, Some("input"), "invalid_type"),
        (post(r#"{"input": "x", "stream": true}"#).await, 400, Some("stream"), "unsupported_value"),
        (post(r#"{"input": "  "}"#).await, 400, Some("input"), "invalid_value"),
        (post(r#"{"input": "x\u0000"}"#).await, 400, Some("input"), "invalid_value"),
        (post(r#"{"input": "x", "model": " "}"#).await, 400, Some("model"), "model_not_found"),
        (post(r#"{"input": "x", "max_output_tokens": 0}"#).await, 400, Some("max_output_tokens"), "invalid_value"),
        (post(r#"{"input": "x", "metadata": {"": "v"}}"#).await, 400, Some("metadata"), "invalid_value"),
        (post(r#"{"input": "x", "seed": 3}"#).await, 400, Some("seed"), "unknown_parameter"),
        (
            post(r#"{"input": "x", "previous_response_id": "resp_00000000000000000000000000000000"}"#).await,
            404,
            Some("previous_response_id"),
            "previous_response_not_found",
        ),
        (
            post(r#"{"input": "x", "conversation": "conv_00000000000000000000000000000000"}"#).await,
            404,
            Some("conversation"),
            "conversation_not_found",
        ),
        (post(&"x".repeat(2 << 20)).await, 413, None, "body_too_large"),
    ] {
        let told = error(&answer);
        assert_eq!(answer.status.as_u16(), status, "{told}");
        assert_eq!((told["param"].as_str(), told["code"].as_str()), (param, Some(code)), "{told}");
        assert_eq!(told["type"], "invalid_request_error");
    }
    let refused = post(r#"{"input": "x", "stream": true}"#).await;
    let message = error(&refused)["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("background") && message.contains("poll"),
        "{message}"
    );
    assert_eq!(
        app.get("/chats").await.json()["chats"],
        json!([]),
        "nothing was stored"
    );
    app.stop().await;
}

#[tokio::test]
async fn who_may_not_come_in_is_told_so() {
    let settings = [("auth.modes", "token"), ("limits.requests_per_minute", "1")];
    let app = TestApp::start_with(Kind::Sqlite, Upstream::echo().await, &settings).await;
    let unknown = app.get("/v1/models").await;
    assert_eq!(unknown.status, 401);
    let told = error(&unknown);
    assert_eq!(
        (&told["code"], &told["type"]),
        (&json!("invalid_api_key"), &json!("invalid_request_error"))
    );
    let reader = crate::security::callers::token(&app, "reader", Scope::Read).await;
    let body = json!({"input": "x", "background": true});
    let ask = async |token: &str| {
        app.request(Method::POST, "/v1/responses", |request| {
            request.bearer_auth(token).json(&body)
        })
        .await
    };
    let refused = ask(&reader).await;
    assert_eq!(refused.status, 403);
    assert_eq!(error(&refused)["type"], "permission_error");
    let writer = crate::security::callers::token(&app, "writer", Scope::Write).await;
    assert_eq!(ask(&writer).await.status, 200);
    let limited = loop {
        let answer = ask(&writer).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(limited.status, 429);
    assert_eq!(error(&limited)["code"], "rate_limit_exceeded");
    let seconds: u64 = limited.header("retry-after").parse().unwrap();
    assert_eq!(
        limited.header("retry-after-ms"),
        (seconds * 1000).to_string()
    );
    app.stop().await;
}
