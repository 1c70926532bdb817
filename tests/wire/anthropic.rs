//! Anthropic's messages.

use pollen::model::parameters::Effort;
use pollen::provider::{Call, ListedModel, Speaker, WireFormat};
use serde_json::{Value, json};

use super::{
    KEY, call, counted, events, fails, fails_after, finished, full_call, header, line_of,
    named_events, play, provider, says, sent, settings_for, text, thought, tool, turn,
};
use crate::support::{Script, Upstream};

const FORMAT: WireFormat = WireFormat::Anthropic;

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 25, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 100, "output_tokens": 1}}})
}

fn block(index: u64, block: &Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: &Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn said(text: &str) -> Value {
    delta(0, &json!({"type": "text_delta", "text": text}))
}

fn end(reason: &str) -> [Value; 3] {
    [
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 15}}),
        json!({"type": "message_stop"}),
    ]
}

fn stream(middle: &[Value], reason: &str) -> Vec<Value> {
    [&[start()], middle, &end(reason)].concat()
}

#[tokio::test]
async fn text_and_its_usage() {
    let middle = [
        block(0, &json!({"type": "text", "text": ""})),
        json!({"type": "ping"}),
        said("Höschen "),
        json!({"type": "newer_thing", "text": "no text"}),
        said("🐝 花粉"),
    ];
    let all = stream(&middle, "end_turn");
    let expected = [text("Höschen 🐝 花粉"), finished("stop")];
    for bytes in [
        named_events(&all),
        events(&all),
        format!(
            ": keep-alive\n\n{}",
            named_events(&all).replace('\n', "\r\n")
        ),
    ] {
        says(FORMAT, &bytes, &expected, counted(135, 15, -1, 100)).await;
    }
}

#[tokio::test]
async fn thoughts_and_what_nobody_is_to_read() {
    let middle = [
        block(
            0,
            &json!({"type": "thinking", "thinking": "", "signature": ""}),
        ),
        delta(0, &json!({"type": "thinking_delta", "thinking": "First "})),
        delta(0, &json!({"type": "thinking_delta", "thinking": "this."})),
        delta(
            0,
            &json!({"type": "signature_delta", "signature": "EqQBCgIYAhIM"}),
        ),
        block(
            1,
            &json!({"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3p"}),
        ),
        block(2, &json!({"type": "thinking", "thinking": ""})),
        delta(
            2,
            &json!({"type": "thinking_delta", "thinking": "Then that."}),
        ),
        block(3, &json!({"type": "text", "text": ""})),
        said("So."),
    ];
    let expected = [
        thought("First this.\n\nThen that."),
        text("So."),
        finished("stop"),
    ];
    says(
        FORMAT,
        &named_events(&stream(&middle, "stop_sequence")),
        &expected,
        counted(135, 15, -1, 100),
    )
    .await;
}

#[tokio::test]
async fn calls_of_tools() {
    let middle = [
        block(0, &json!({"type": "text", "text": "Let me see."})),
        block(
            1,
            &json!({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}),
        ),
        delta(1, &json!({"type": "input_json_delta", "partial_json": ""})),
        delta(
            1,
            &json!({"type": "input_json_delta", "partial_json": "{\"city\": \"K"}),
        ),
        delta(
            1,
            &json!({"type": "input_json_delta", "partial_json": "öln\"}"}),
        ),
        block(
            2,
            &json!({"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}}),
        ),
        delta(
            2,
            &json!({"type": "input_json_delta", "partial_json": "{}"}),
        ),
    ];
    let expected = [
        text("Let me see."),
        tool(0, "weather", "{\"city\": \"Köln\"}"),
        tool(1, "time", "{}"),
        finished("tool_calls"),
    ];
    says(
        FORMAT,
        &named_events(&stream(&middle, "tool_use")),
        &expected,
        counted(135, 15, -1, 100),
    )
    .await;
}

#[tokio::test]
async fn reasons_to_stop() {
    for (theirs, ours) in [
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "stop"),
        ("newer", "newer"),
    ] {
        let expected = [text("a"), finished(ours)];
        says(
            FORMAT,
            &named_events(&stream(&[said("a")], theirs)),
            &expected,
            counted(135, 15, -1, 100),
        )
        .await;
    }
    // The end of the message is a finish too, and an error after it is not.
    let odd = [
        start(),
        said("a"),
        json!({"type": "message_stop"}),
        json!({"type": "error", "error": {"message": "late"}}),
    ];
    says(
        FORMAT,
        &named_events(&odd),
        &[text("a"), finished("stop")],
        counted(135, 1, -1, 100),
    )
    .await;
    // Totals that come again at the end, without the cache's.
    let all = [
        start(),
        said("a"),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 26, "output_tokens": 3}}),
    ];
    says(
        FORMAT,
        &named_events(&all),
        &[text("a"), finished("stop")],
        counted(136, 3, -1, 100),
    )
    .await;
}

#[tokio::test]
async fn an_answer_without_a_finish_is_not_finished() {
    says(
        FORMAT,
        &named_events(&[start(), said("so far")]),
        &[text("so far")],
        counted(135, 1, -1, 100),
    )
    .await;
}

#[tokio::test]
async fn a_whole_message() {
    let body = json!({"type": "message", "role": "assistant", "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 2},
        "content": [{"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "a"}, {"type": "tool_use", "name": "t", "input": {"a": 1}}]});
    let heard = play(FORMAT, Script::json(200, &body)).await;
    assert_eq!(
        heard.events,
        [
            thought("hm"),
            text("a"),
            tool(0, "t", "{\"a\":1}"),
            finished("tool_calls")
        ]
    );
    assert_eq!(heard.usage, counted(1, 2, -1, -1));
}

fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})
}

#[tokio::test]
async fn refusals() {
    fails(
        FORMAT,
        vec![
            (
                Script::json(
                    401,
                    &error("authentication_error", &format!("invalid x-api-key {KEY}")),
                ),
                "provider_unauthorized",
                "refused the key",
                false,
            ),
            (
                Script::json(404, &error("not_found_error", "model: m")),
                "model_not_found",
                "\"m\"",
                false,
            ),
            (
                Script::json(429, &error("rate_limit_error", "slow")).header("retry-after", "3"),
                "provider_rate_limited",
                "slow",
                true,
            ),
            (
                Script::json(
                    400,
                    &error(
                        "invalid_request_error",
                        "prompt is too long: 208310 tokens > 200000 maximum",
                    ),
                ),
                "context_too_long",
                "208310",
                false,
            ),
            (
                Script::json(
                    413,
                    &error("request_too_large", "Request exceeds the maximum size"),
                ),
                "context_too_long",
                "maximum size",
                false,
            ),
            (
                Script::json(
                    400,
                    &error(
                        "invalid_request_error",
                        "Your credit balance is too low to access the Anthropic API.",
                    ),
                ),
                "provider_quota",
                "too low",
                false,
            ),
            (
                Script::json(
                    400,
                    &error("invalid_request_error", "max_tokens: must be positive"),
                ),
                "provider_refused",
                "must be positive",
                false,
            ),
            (
                Script::json(
                    529,
                    &error("overloaded_error", &format!("Overloaded {KEY}")),
                ),
                "provider_error",
                "Overloaded [key]",
                true,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn failures_in_the_middle() {
    let middle = [
        delta(0, &json!({"type": "thinking_delta", "thinking": "hm"})),
        said("花"),
        said("粉é"),
    ];
    let mid = |kind: &str, message: &str| {
        let failed = error(kind, message);
        named_events(&[&[start()], &middle[..], &[failed]].concat())
    };
    let so_far = counted(135, 1, -1, 100);
    let at_the_end = counted(135, 15, -1, 100);
    fails_after(
        FORMAT,
        &[thought("hm"), text("花粉é")],
        vec![
            (
                mid("overloaded_error", &format!("Overloaded {KEY}")),
                so_far,
                "provider_error",
                "Overloaded [key]",
                true,
            ),
            (
                mid("rate_limit_error", "slow"),
                so_far,
                "provider_rate_limited",
                "slow",
                true,
            ),
            (
                mid("invalid_request_error", "odd"),
                so_far,
                "provider_refused",
                "odd",
                false,
            ),
            (
                named_events(&stream(&middle, "refusal")),
                at_the_end,
                "content_filter",
                "withheld",
                false,
            ),
            (
                named_events(&[&[start()], &middle[..]].concat()) + "data: {{{\n\n",
                so_far,
                "provider_malformed",
                "not an answer",
                false,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn requests() {
    let received = sent(
        |upstream| settings_for(FORMAT, upstream),
        vec![full_call("claude-sonnet-4-5"), call("claude-x")],
    )
    .await;
    let head = &received[0].head;
    assert_eq!(line_of(head), "POST /v1/messages HTTP/1.1");
    assert_eq!(
        (header(head, "x-api-key"), header(head, "anthropic-version")),
        (Some(KEY), Some("2023-06-01"))
    );
    assert_eq!(header(head, "authorization"), None);
    assert_eq!(
        received[0].body,
        json!({
        "model": "claude-sonnet-4-5", "stream": true, "max_tokens": 9000, "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And now?"}],
        "top_p": 0.96, "stop_sequences": ["END", "STOP"], "thinking": {"type": "enabled", "budget_tokens": 2048}})
    );
    assert_eq!(
        received[1].body,
        json!({
        "model": "claude-x", "stream": true, "max_tokens": 4096, "messages": [{"role": "user", "content": "Hi"}]})
    );
}

#[tokio::test]
async fn what_depends_on_thinking() {
    let with = |model: &str, change: &dyn Fn(&mut Call)| {
        let mut call = full_call(model);
        call.turns = vec![
            turn(Speaker::Assistant, "Ahoy!"),
            turn(Speaker::User, "a"),
            turn(Speaker::User, "b"),
        ];
        change(&mut call);
        call
    };
    let calls = vec![
        with("claude-opus-4-7", &|_| {}),
        with("claude-sonnet-4-5", &|call| {
            call.parameters.reasoning_effort = Some(Effort::None);
            call.parameters.temperature = Some(1.7);
            call.parameters.max_tokens = None;
        }),
        with("claude-sonnet-4-5", &|call| {
            call.parameters.reasoning_effort = Some(Effort::High);
            (call.parameters.max_tokens, call.max_output) = (None, None);
            call.parameters.top_p = Some(0.5);
        }),
        with("claude-sonnet-4-5", &|call| {
            call.parameters.max_tokens = Some(1_500);
        }),
    ];
    let bodies: Vec<Value> = sent(|upstream| settings_for(FORMAT, upstream), calls)
        .await
        .into_iter()
        .map(|r| r.body)
        .collect();
    let turns = json!([{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Ahoy!"}, {"role": "user", "content": "a\n\nb"}]);
    let stop = json!(["END", "STOP"]);
    assert_eq!(
        bodies[0],
        json!({"model": "claude-opus-4-7", "stream": true, "max_tokens": 9000, "messages": turns, "stop_sequences": stop,
        "thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}})
    );
    assert_eq!(
        bodies[1],
        json!({"model": "claude-sonnet-4-5", "stream": true, "max_tokens": 32_000, "messages": turns, "stop_sequences": stop, "temperature": 1.0})
    );
    assert_eq!(
        bodies[2],
        json!({"model": "claude-sonnet-4-5", "stream": true, "max_tokens": 20_480, "messages": turns, "stop_sequences": stop,
        "thinking": {"type": "enabled", "budget_tokens": 16_384}})
    );
    assert_eq!(
        bodies[3],
        json!({"model": "claude-sonnet-4-5", "stream": true, "max_tokens": 1_500, "messages": turns, "stop_sequences": stop, "temperature": 0.5})
    );
}

#[tokio::test]
async fn listings() {
    let upstream = Upstream::echo().await;
    upstream.lists(200, json!({"data": [{"type": "model", "id": "claude-x", "display_name": "Claude X", "created_at": "2026-01-01T00:00:00Z"}], "has_more": false}));
    let expected = ListedModel {
        id: "claude-x".into(),
        name: Some("Claude X".into()),
        ..ListedModel::default()
    };
    assert_eq!(
        provider(FORMAT, &upstream).models().await.unwrap(),
        [expected]
    );
    let asked = upstream.listings_asked();
    assert_eq!(line_of(&asked[0]), "GET /v1/models?limit=1000 HTTP/1.1");
    assert_eq!(header(&asked[0], "x-api-key"), Some(KEY));
}
