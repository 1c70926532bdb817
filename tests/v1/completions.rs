//! `POST /v1/chat/completions`.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::app::eventually;
use crate::support::upstream::finish;
use crate::support::{Answer, Script, TestApp, Upstream};

const PATH: &str = "/v1/chat/completions";

fn asking(question: &str) -> Value {
    json!({"model": "scripted-model", "messages": [{"role": "user", "content": question}]})
}

/// The error, which no library is to ask again after.
#[track_caller]
fn final_error(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    assert_eq!(answer.header("x-should-retry"), "false", "{}", answer.text);
    let error = answer.json()["error"].clone();
    assert_eq!(error["code"], code, "{error}");
    error
}

/// What the page shows of a chat: roles and texts.
async fn shown(app: &TestApp, chat: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let messages = app.messages(chat).await;
    let pairs = messages
        .iter()
        .map(|message| (text(&message["role"]), text(&message["content"])));
    pairs.collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = all
        .iter()
        .map(|(role, text)| ((*role).to_owned(), (*text).to_owned()));
    owned.collect()
}

on_both_databases! {
    async fn an_answer_is_given_whole_and_is_a_chat_like_any_other(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([Script::answer(["four", "teen"])]).await).await;
        let body = json!({"model": "scripted-model", "temperature": 0.5, "max_completion_tokens": 50, "metadata": {"a": "b"},
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": "six"},
                {"role": "assistant", "content": "seven"},
                {"role": "user", "content": [{"type": "text", "text": "twice?"}]},
            ]});
        let done = app.post(PATH, &body).await.expect(200).json();
        assert_eq!(done["object"], "chat.completion");
        assert!(done["id"].as_str().unwrap().starts_with("chatcmpl_"), "{done}");
        assert_eq!(done["choices"], json!([{"index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": "fourteen", "refusal": null}}]));
        assert_eq!(done["usage"], json!({"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}));
        let sent = &app.upstream.received()[0];
        let turns = [("system", "Be brief."), ("user", "six"), ("assistant", "seven"), ("user", "twice?")];
        assert_eq!(sent.turns(), pairs(&turns));
        assert_eq!(sent.body["temperature"], 0.5);
        let chat = done["pollen"]["chat_uuid"].as_str().unwrap();
        let page = [("user", "six"), ("assistant", "seven"), ("user", "twice?"), ("assistant", "fourteen")];
        assert_eq!(shown(&app, chat).await, pairs(&page));
        assert_eq!(app.get(&format!("/chat/{chat}")).await.json()["title"], "six");
        let response = done["pollen"]["response_id"].as_str().unwrap();
        let response = app.get(&format!("/v1/responses/{response}")).await.expect(200).json();
        assert_eq!((&response["status"], &response["metadata"]), (&json!("completed"), &json!({"a": "b"})));
        app.stop().await;
    }

    async fn what_takes_too_long_names_the_response_to_poll(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["half "]).wait(&gate).say(["whole"]).finish();
        let settings = [("limits.longest_wait_ms", "200")];
        let app = TestApp::start_with(kind, Upstream::scripted([script]).await, &settings).await;
        let late = app.post(PATH, &asking("one")).await;
        let error = final_error(&late, 504, "response_in_progress");
        assert_eq!((&error["type"], &error["poll_after_ms"]), (&json!("server_error"), &json!(300)));
        let id = error["response_id"].as_str().unwrap();
        assert!(error["message"].as_str().unwrap().contains(id), "{error}");
        gate.cancel();
        let path = format!("/v1/responses/{id}");
        let response = eventually("the response ends", async || {
            let response = app.get(&path).await.expect(200).json();
            (response["status"] == "completed").then_some(response)
        }).await;
        assert_eq!(response["output"][0]["content"][0]["text"], "half whole");
        assert_eq!(app.upstream.received().len(), 1, "the model was asked once");
        app.stop().await;
    }

    async fn an_answer_that_is_cut_says_why(kind: Kind) {
        let long = Script::stream().say(["and so"]).raw(finish("length")).raw("data: [DONE]\n\n");
        let app = TestApp::start(kind, Upstream::scripted([long]).await).await;
        let cut = app.post(PATH, &asking("one")).await.expect(200).json();
        assert_eq!(cut["choices"][0]["finish_reason"], "length");
        assert_eq!(cut["choices"][0]["message"]["content"], "and so");
        assert_eq!(cut["pollen"]["usage_estimated"], true, "nobody counted: {cut}");
        app.stop().await;
    }

    async fn a_failure_is_told_and_not_tried_again(kind: Kind) {
        let refused = Script::json(400, &json!({"error": {"message": "no such thing"}}));
        let broken = Script::json(500, &json!({"error": {"message": "on fire"}}));
        let busy = Script::json(429, &json!({"error": {"message": "slow down"}}));
        let app = TestApp::start(kind, Upstream::scripted([refused, broken, busy]).await).await;
        for (status, code) in [(400, "invalid_prompt"), (502, "server_error"), (429, "rate_limit_exceeded")] {
            let failed = app.post(PATH, &asking("one")).await;
            let error = final_error(&failed, status, code);
            assert!(error["error_code"].as_str().unwrap().starts_with("provider_"), "{error}");
            let id = error["response_id"].as_str().unwrap();
            let response = app.get(&format!("/v1/responses/{id}")).await.expect(200).json();
            assert_eq!(response["status"], "failed");
        }
        app.stop().await;
    }

    async fn a_stream_is_refused_and_nobody_is_asked(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let mut body = asking("one");
        body["stream"] = json!(true);
        let refused = app.post(PATH, &body).await.expect(400).json();
        assert_eq!(refused["error"]["param"], "stream");
        assert!(refused["error"]["message"].as_str().unwrap().contains("background"), "{refused}");
        let unknown = app.post(PATH, &json!({"model": " ", "messages": [{"role": "user", "content": "x"}]})).await;
        assert_eq!(unknown.expect(400).json()["error"]["code"], "model_not_found");
        let long = app.post(PATH, &json!({"max_completion_tokens": 0, "messages": [{"role": "user", "content": "x"}]})).await;
        assert_eq!(long.expect(400).json()["error"]["param"], "max_completion_tokens");
        let empty = app.post(PATH, &json!({"messages": [{"role": "user", "content": " "}]})).await;
        assert_eq!(empty.expect(400).json()["error"]["param"], "messages");
        assert!(app.upstream.received().is_empty());
        app.stop().await;
    }

    async fn a_key_asks_the_model_once(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let first = app.post_once(PATH, "key", &asking("one")).await.expect(200).json();
        let again = app.post_once(PATH, "key", &asking("one")).await.expect(200).json();
        assert_eq!((&again["id"], &again["choices"]), (&first["id"], &first["choices"]));
        let other = app.post_once(PATH, "key", &asking("two")).await.expect(422).json();
        assert_eq!(other["error"]["code"], "idempotency_key_reused");
        assert_eq!(app.upstream.received().len(), 1);
        app.stop().await;
    }

    async fn what_is_not_to_be_stored_goes_by_itself(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        for (store, goes) in [(json!(false), true), (json!(true), false), (json!(null), false)] {
            let mut body = asking("one");
            body["store"] = store;
            let done = app.post(PATH, &body).await.expect(200).json();
            let chat = done["pollen"]["chat_uuid"].as_str().unwrap();
            let chat = app.get(&format!("/chat/{chat}")).await.expect(200).json();
            assert_eq!(!chat["expires_at"].is_null(), goes, "{chat}");
        }
        app.stop().await;
    }
}
