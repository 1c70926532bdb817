//! OpenAI's responses.

use pollen::provider::{ListedModel, WireFormat};
use serde_json::{Value, json};

use super::{
    KEY, call, counted, events, fails, fails_after, finished, full_call, header, line_of,
    named_events, play, provider, says, sent, settings_for, text, thought, tool,
};
use crate::support::{Script, Upstream};

const FORMAT: WireFormat = WireFormat::OpenAiResponses;

fn response(status: &str, details: &Value) -> Value {
    json!({"id": "resp_1", "object": "response", "status": status, "error": null, "incomplete_details": details,
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "repeated"}]}],
        "usage": {"input_tokens": 37, "input_tokens_details": {"cached_tokens": 5}, "output_tokens": 11,
            "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 48}})
}

fn begin() -> Vec<Value> {
    let begun = json!({"id": "resp_1", "object": "response", "status": "in_progress", "error": null, "output": [], "usage": null});
    vec![
        json!({"type": "response.created", "sequence_number": 0, "response": begun}),
        json!({"type": "response.in_progress", "sequence_number": 1, "response": begun}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}}),
        json!({"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": {"type": "output_text", "text": "", "annotations": []}}),
    ]
}

fn said(text: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text})
}

fn end(kind: &str, details: &Value) -> Value {
    json!({"type": format!("response.{kind}"), "sequence_number": 9, "response": response(kind, details)})
}

#[tokio::test]
async fn text_and_its_usage() {
    let rest = [
        said("Höschen "),
        said("🐝 花粉"),
        json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "text": "Höschen 🐝 花粉"}),
        json!({"type": "response.content_part.done", "part": {"type": "output_text", "text": "Höschen 🐝 花粉"}}),
        json!({"type": "response.newer.thing", "delta": "no text"}),
        end("completed", &Value::Null),
    ];
    let all = [begin(), rest.to_vec()].concat();
    let expected = [text("Höschen 🐝 花粉"), finished("stop")];
    for bytes in [
        named_events(&all),
        events(&all),
        format!(": ping\n\n{}", named_events(&all).replace('\n', "\r\n")),
    ] {
        says(FORMAT, &bytes, &expected, counted(37, 11, 4, 5)).await;
    }
}

#[tokio::test]
async fn thoughts_with_a_blank_line_between_their_parts() {
    let summary = |part: u64, text: &str| json!({"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "output_index": 0, "summary_index": part, "delta": text});
    let all = [
        json!({"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
        summary(0, "First "),
        summary(0, "this."),
        json!({"type": "response.reasoning_summary_text.done", "summary_index": 0, "text": "First this."}),
        summary(1, "Then that."),
        json!({"type": "response.reasoning_text.delta", "output_index": 1, "content_index": 0, "delta": "In full."}),
        said("So."),
        end("completed", &Value::Null),
    ];
    let expected = [
        thought("First this.\n\nThen that.\n\nIn full."),
        text("So."),
        finished("stop"),
    ];
    says(
        FORMAT,
        &named_events(&all),
        &expected,
        counted(37, 11, 4, 5),
    )
    .await;
}

#[tokio::test]
async fn calls_of_tools() {
    let call = |output: u64, name: &str| json!({"type": "response.output_item.added", "output_index": output, "item": {"type": "function_call", "id": "fc", "call_id": "call", "name": name, "arguments": ""}});
    let more = |output: u64, text: &str| json!({"type": "response.function_call_arguments.delta", "output_index": output, "item_id": "fc", "delta": text});
    let all = [
        call(1, "weather"),
        more(1, "{\"city\":"),
        more(1, "\"Köln\"}"),
        json!({"type": "response.function_call_arguments.done", "output_index": 1, "arguments": "{\"city\":\"Köln\"}"}),
        call(3, "time"),
        more(3, "{}"),
        end("completed", &Value::Null),
    ];
    let expected = [
        tool(0, "weather", "{\"city\":\"Köln\"}"),
        tool(1, "time", "{}"),
        finished("tool_calls"),
    ];
    says(
        FORMAT,
        &named_events(&all),
        &expected,
        counted(37, 11, 4, 5),
    )
    .await;
}

#[tokio::test]
async fn a_refusal_and_a_limit() {
    let refusal = json!({"type": "response.refusal.delta", "output_index": 0, "content_index": 0, "delta": "I can't."});
    let all = [
        refusal,
        end("incomplete", &json!({"reason": "max_output_tokens"})),
    ];
    says(
        FORMAT,
        &named_events(&all),
        &[text("I can't."), finished("length")],
        counted(37, 11, 4, 5),
    )
    .await;
}

#[tokio::test]
async fn an_answer_without_a_finish_is_not_finished() {
    let all = [begin(), vec![said("so far")]].concat();
    says(
        FORMAT,
        &named_events(&all),
        &[text("so far")],
        counted(-1, -1, -1, -1),
    )
    .await;
}

#[tokio::test]
async fn a_whole_response() {
    let mut body = response("completed", &Value::Null);
    body["output"] = json!([
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "c"}, {"type": "refusal", "refusal": "d"}]}]);
    let heard = play(FORMAT, Script::json(200, &body)).await;
    assert_eq!(
        heard.events,
        [thought("a\n\nb"), text("cd"), finished("stop")]
    );
    assert_eq!(heard.usage, counted(37, 11, 4, 5));
}

#[tokio::test]
async fn failures() {
    let error = |kind: &str, code: &str, message: &str| json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    fails(
        FORMAT,
        vec![
            (
                Script::json(401, &error("invalid_request_error", "invalid_api_key", KEY)),
                "provider_unauthorized",
                "refused the key",
                false,
            ),
            (
                Script::json(
                    404,
                    &error("invalid_request_error", "model_not_found", "no m"),
                ),
                "model_not_found",
                "\"m\"",
                false,
            ),
            (
                Script::json(429, &error("requests", "rate_limit_exceeded", "slow")),
                "provider_rate_limited",
                "slow",
                true,
            ),
            (
                Script::json(
                    400,
                    &error(
                        "invalid_request_error",
                        "context_length_exceeded",
                        "Your input exceeds the context window of this model.",
                    ),
                ),
                "context_too_long",
                "context window",
                false,
            ),
            (
                Script::json(500, &error("server_error", "", KEY)),
                "provider_error",
                "[key]",
                true,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn failures_in_the_middle() {
    let mid = |value: Value| {
        let summary = json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"});
        named_events(&[begin(), vec![summary, said("花"), said("粉é"), value]].concat())
    };
    let failed = |code: &str, message: &str| json!({"type": "response.failed", "response": {"id": "r", "status": "failed", "error": {"code": code, "message": message}}});
    let mut counted_too = failed("server_error", "The model failed late");
    counted_too["response"]["usage"] = response("failed", &Value::Null)["usage"].clone();
    let unsaid = counted(-1, -1, -1, -1);
    let at_the_end = counted(37, 11, 4, 5);
    fails_after(FORMAT, &[thought("hm"), text("花粉é")], vec![
        (mid(failed("server_error", "The model failed")), unsaid, "provider_error", "The model failed", true),
        (mid(failed("rate_limit_exceeded", "slow")), unsaid, "provider_rate_limited", "slow", true),
        (mid(failed("invalid_prompt", "odd")), unsaid, "provider_refused", "odd", false),
        (mid(json!({"type": "error", "code": "ERR_SOMETHING", "message": format!("lost {KEY}"), "param": null})), unsaid, "provider_error", "lost [key]", true),
        (mid(json!({"type": "error", "error": {"type": "insufficient_quota", "message": "pay"}})), unsaid, "provider_quota", "pay", false),
        (mid(end("incomplete", &json!({"reason": "content_filter"}))), at_the_end, "content_filter", "withheld", false),
        (mid(counted_too), at_the_end, "provider_error", "failed late", true),
        (mid(json!({"type": "newer"})) + "data: {{{\n\n", unsaid, "provider_malformed", "not an answer", false),
    ]).await;
}

#[tokio::test]
async fn requests() {
    let received = sent(
        |upstream| settings_for(FORMAT, upstream),
        vec![full_call("gpt"), call("gpt")],
    )
    .await;
    assert_eq!(line_of(&received[0].head), "POST /v1/responses HTTP/1.1");
    assert_eq!(
        header(&received[0].head, "authorization"),
        Some(&*format!("Bearer {KEY}"))
    );
    assert_eq!(
        received[0].body,
        json!({
        "model": "gpt", "stream": true, "store": false, "instructions": "Be brief.",
        "input": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And now?"}],
        "temperature": 0.5, "top_p": 0.96, "max_output_tokens": 9000, "reasoning": {"effort": "low", "summary": "auto"}})
    );
    assert_eq!(
        received[1].body,
        json!({
        "model": "gpt", "stream": true, "store": false, "input": [{"role": "user", "content": "Hi"}]})
    );
}

#[tokio::test]
async fn listings() {
    let upstream = Upstream::echo().await;
    let models = provider(FORMAT, &upstream).models().await.unwrap();
    let expected = ListedModel {
        id: "scripted-model".into(),
        ..ListedModel::default()
    };
    assert_eq!(models, [expected]);
}
