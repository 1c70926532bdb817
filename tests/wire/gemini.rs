//! Google's Gemini.

use pollen::model::parameters::Effort;
use pollen::provider::{ListedModel, Speaker, WireFormat};
use serde_json::{Value, json};

use super::{
    KEY, call, counted, events, fails, fails_after, finished, full_call, header, line_of, play,
    provider, says, sent, settings_for, text, thought, tool, turn,
};
use crate::support::{Script, Upstream};

const FORMAT: WireFormat = WireFormat::Gemini;

fn parts(parts: &Value) -> Value {
    json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}],
        "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 2, "totalTokenCount": 10}, "modelVersion": "m"})
}

fn last(said: &Value, reason: &str) -> Value {
    let mut last = parts(said);
    last["candidates"][0]["finishReason"] = json!(reason);
    last["usageMetadata"] = json!({"promptTokenCount": 8, "candidatesTokenCount": 7, "thoughtsTokenCount": 20, "cachedContentTokenCount": 4, "totalTokenCount": 35});
    last
}

#[tokio::test]
async fn text_and_its_usage() {
    let all = [
        parts(&json!([{"text": "Höschen "}])),
        json!({"usageMetadata": {"promptTokenCount": 8}}),
        json!({"newerThing": true}),
        parts(&json!([{"text": "🐝 "}, {"text": "花粉"}, {"inlineData": {}}])),
        last(&json!([{"text": "!"}]), "STOP"),
    ];
    let expected = [text("Höschen 🐝 花粉!"), finished("stop")];
    for bytes in [
        events(&all),
        format!(": ping\n\n{}", events(&all).replace('\n', "\r\n")),
    ] {
        says(FORMAT, &bytes, &expected, counted(8, 27, 20, 4)).await;
    }
}

#[tokio::test]
async fn thoughts() {
    let all = [
        parts(&json!([{"text": "First ", "thought": true}])),
        parts(
            &json!([{"text": "this.", "thought": true}, {"text": "So", "thoughtSignature": "abc"}]),
        ),
        // The last event often holds no part at all.
        last(&Value::Null, "MAX_TOKENS"),
    ];
    let expected = [thought("First this."), text("So"), finished("length")];
    says(FORMAT, &events(&all), &expected, counted(8, 27, 20, 4)).await;
}

#[tokio::test]
async fn calls_of_tools() {
    let all = [
        parts(&json!([{"functionCall": {"name": "weather", "args": {"city": "Köln"}}}])),
        last(&json!([{"functionCall": {"name": "time"}}]), "STOP"),
    ];
    let expected = [
        tool(0, "weather", "{\"city\":\"Köln\"}"),
        tool(1, "time", ""),
        finished("stop"),
    ];
    says(FORMAT, &events(&all), &expected, counted(8, 27, 20, 4)).await;
}

#[tokio::test]
async fn reasons_to_stop() {
    for reason in ["MALFORMED_FUNCTION_CALL", "LANGUAGE", "OTHER", "NEWER"] {
        let all = [last(&json!([{"text": "a"}]), reason)];
        says(
            FORMAT,
            &events(&all),
            &[text("a"), finished("other")],
            counted(8, 27, 20, 4),
        )
        .await;
    }
    // Older models give every event a reason; what comes after the finish is no failure.
    let all = [
        last(&json!([{"text": "a"}]), "STOP"),
        last(&json!([{"text": "b"}]), "STOP"),
        json!({"error": {"code": 500}}),
    ];
    let expected = [text("a"), finished("stop"), text("b"), finished("stop")];
    says(FORMAT, &events(&all), &expected, counted(8, 27, 20, 4)).await;
}

#[tokio::test]
async fn an_answer_without_a_finish_is_not_finished() {
    let all = [parts(&json!([{"text": "so far"}]))];
    says(
        FORMAT,
        &events(&all),
        &[text("so far")],
        counted(8, 2, -1, -1),
    )
    .await;
}

#[tokio::test]
async fn a_whole_response_and_a_list_of_them() {
    let list = json!([
        parts(&json!([{"text": "a"}])),
        last(&json!([{"text": "b"}]), "STOP")
    ]);
    for body in [last(&json!([{"text": "ab"}]), "STOP"), list] {
        let heard = play(FORMAT, Script::json(200, &body)).await;
        assert_eq!(heard.events, [text("ab"), finished("stop")]);
        assert_eq!(heard.usage, counted(8, 27, 20, 4));
    }
}

fn error(code: u16, status: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message, "status": status}})
}

#[tokio::test]
async fn failures() {
    let mut bad_key = error(
        400,
        "INVALID_ARGUMENT",
        &format!("API key not valid: {KEY}"),
    );
    bad_key["error"]["details"] = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]);
    let mut busy = error(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    );
    busy["error"]["details"] =
        json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36.5s"}]);
    fails(FORMAT, vec![
        (Script::json(400, &bad_key), "provider_unauthorized", "refused the key", false),
        (Script::json(403, &error(403, "PERMISSION_DENIED", KEY)), "provider_unauthorized", "refused the key", false),
        (Script::json(404, &error(404, "NOT_FOUND", "models/m is not found")), "model_not_found", "\"m\"", false),
        (Script::json(429, &busy), "provider_rate_limited", "exceeded", true),
        (Script::json(400, &error(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).")), "context_too_long", "1048576", false),
        (Script::json(400, &json!([error(400, "INVALID_ARGUMENT", "Unknown name \"x\"")])), "provider_refused", "Unknown name", false),
        (Script::json(503, &json!([error(503, "UNAVAILABLE", &format!("overloaded {KEY}"))])), "provider_error", "overloaded [key]", true),
        (Script::json(200, &json!([error(500, "INTERNAL", "broken")])), "provider_error", "broken", true),
        (Script::stream().raw(events(&[json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 8}})])), "content_filter", "does not answer this", false),
    ]).await;
    let verdict = play(FORMAT, Script::json(429, &busy))
        .await
        .error
        .unwrap()
        .verdict;
    let after = std::time::Duration::from_millis(36_500);
    assert_eq!(
        verdict,
        pollen::provider::Verdict::Retry { after: Some(after) }
    );
}

#[tokio::test]
async fn failures_in_the_middle() {
    let mid = |value: Value| {
        let said = json!([{"text": "hm", "thought": true}, {"text": "花"}]);
        events(&[parts(&said), parts(&json!([{"text": "粉é"}])), value])
    };
    let so_far = counted(8, 2, -1, -1);
    let at_the_end = counted(8, 27, 20, 4);
    fails_after(
        FORMAT,
        &[thought("hm"), text("花粉é")],
        vec![
            (
                mid(error(503, "UNAVAILABLE", &format!("overloaded {KEY}"))),
                so_far,
                "provider_error",
                "overloaded [key]",
                true,
            ),
            (
                mid(last(&json!([]), "SAFETY")),
                at_the_end,
                "content_filter",
                "withheld",
                false,
            ),
            (
                mid(last(&json!([]), "PROHIBITED_CONTENT")),
                at_the_end,
                "content_filter",
                "withheld",
                false,
            ),
            (
                mid(error(429, "RESOURCE_EXHAUSTED", "slow")),
                so_far,
                "provider_rate_limited",
                "slow",
                true,
            ),
            (
                mid(json!({})) + "data: {{{\n\n",
                so_far,
                "provider_malformed",
                "not an answer",
                false,
            ),
        ],
    )
    .await;
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 8}});
    let blocked = (
        events(&[blocked]),
        counted(8, -1, -1, -1),
        "content_filter",
        "does not answer this",
        false,
    );
    fails_after(FORMAT, &[], vec![blocked]).await;
}

#[tokio::test]
async fn requests() {
    let mut greeted = call("models/tuned/../x?y#z");
    greeted.turns = vec![
        turn(Speaker::Assistant, "Ahoy!"),
        turn(Speaker::User, "a"),
        turn(Speaker::User, "b"),
    ];
    greeted.parameters.reasoning_effort = Some(Effort::None);
    let received = sent(
        |upstream| settings_for(FORMAT, upstream),
        vec![full_call("gemini-2.5-flash"), call("models/g"), greeted],
    )
    .await;
    let head = &received[0].head;
    assert_eq!(
        line_of(head),
        "POST /v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse HTTP/1.1"
    );
    assert_eq!(
        (
            header(head, "x-goog-api-key"),
            header(head, "authorization")
        ),
        (Some(KEY), None)
    );
    assert_eq!(
        received[0].body,
        json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Hello."}]},
            {"role": "user", "parts": [{"text": "And now?"}]}],
        "generationConfig": {"temperature": 0.5, "topP": 0.96, "maxOutputTokens": 9000, "stopSequences": ["END", "STOP"], "seed": 7,
            "thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": true}}})
    );
    assert_eq!(
        line_of(&received[1].head),
        "POST /v1beta/models/g:streamGenerateContent?alt=sse HTTP/1.1"
    );
    assert_eq!(
        received[1].body,
        json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
    );
    assert_eq!(
        line_of(&received[2].head),
        "POST /v1beta/models/tuned%2F..%2Fx%3Fy%23z:streamGenerateContent?alt=sse HTTP/1.1"
    );
    assert_eq!(
        received[2].body,
        json!({
        "contents": [
            {"role": "user", "parts": [{"text": "Hello."}]}, {"role": "model", "parts": [{"text": "Ahoy!"}]},
            {"role": "user", "parts": [{"text": "a\n\nb"}]}],
        "generationConfig": {"thinkingConfig": {"thinkingBudget": 0, "includeThoughts": false}}})
    );
}

#[tokio::test]
async fn listings() {
    let upstream = Upstream::echo().await;
    upstream.lists(200, json!({"models": [
        {"name": "models/gemini-2.5-flash", "displayName": "Gemini 2.5 Flash", "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536, "supportedGenerationMethods": ["generateContent", "countTokens"]},
        {"name": "models/embedding-001", "supportedGenerationMethods": ["embedContent"]}]}));
    let expected = ListedModel {
        id: "gemini-2.5-flash".into(),
        name: Some("Gemini 2.5 Flash".into()),
        context_window: Some(1_048_576),
        max_output: Some(65_536),
    };
    assert_eq!(
        provider(FORMAT, &upstream).models().await.unwrap(),
        [expected]
    );
    let asked = upstream.listings_asked();
    assert_eq!(
        line_of(&asked[0]),
        "GET /v1beta/models?pageSize=1000 HTTP/1.1"
    );
    assert_eq!(header(&asked[0], "x-goog-api-key"), Some(KEY));
}
