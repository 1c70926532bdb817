//! `/v1`: OpenAI's interface over Pollen's chats, by plain HTTP. What its official libraries make of it is in `tests/openai`.

mod completions;
mod errors;
mod responses;
mod threads;
mod turns;

use serde_json::{Value, json};

use crate::support::{TestApp, app::eventually};

/// Asks in the background. The response as it is at first.
pub async fn create(app: &TestApp, body: Value) -> Value {
    let mut body = body;
    body["background"] = json!(true);
    let created = app.post("/v1/responses", &body).await.expect(200);
    assert_eq!(created.header("openai-poll-after-ms"), "300");
    created.json()
}

pub async fn read(app: &TestApp, response: &Value) -> Value {
    let id = response["id"].as_str().unwrap();
    app.get(&format!("/v1/responses/{id}"))
        .await
        .expect(200)
        .json()
}

/// Polls to the end.
pub async fn ended(app: &TestApp, response: &Value) -> Value {
    eventually("the response ends", async || {
        let now = read(app, response).await;
        let is_over = !["queued", "in_progress"].contains(&now["status"].as_str().unwrap());
        is_over.then_some(now)
    })
    .await
}

/// Polls until the text so far has this in it.
pub async fn grown(app: &TestApp, response: &Value, text: &str) -> Value {
    eventually("the response grows", async || {
        let now = read(app, response).await;
        output_text(&now).contains(text).then_some(now)
    })
    .await
}

/// As OpenAI's libraries put it together.
pub fn output_text(response: &Value) -> String {
    let output = response["output"].as_array().unwrap();
    let messages = output.iter().filter(|item| item["type"] == "message");
    let parts = messages.flat_map(|item| item["content"].as_array().unwrap());
    parts.map(|part| part["text"].as_str().unwrap()).collect()
}
