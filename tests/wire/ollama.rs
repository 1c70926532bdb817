//! Ollama's own format.

use pollen::model::parameters::Effort;
use pollen::provider::{ListedModel, WireFormat};
use serde_json::{Value, json};

use super::{
    KEY, call, counted, fails, fails_after, finished, full_call, header, line_of, play, provider,
    says, sent, settings_for, text, thought, tool,
};
use crate::support::{Script, Upstream};

const FORMAT: WireFormat = WireFormat::Ollama;

fn object(message: &Value) -> Value {
    json!({"model": "m", "created_at": "2026-01-01T00:00:00.1Z", "message": message, "done": false})
}

fn said(text: &str) -> Value {
    object(&json!({"role": "assistant", "content": text}))
}

fn done(reason: &str) -> Value {
    json!({"model": "m", "created_at": "2026-01-01T00:00:00.2Z", "message": {"role": "assistant", "content": ""}, "done_reason": reason, "done": true,
        "total_duration": 4_883_583_458_u64, "prompt_eval_count": 26, "eval_count": 282})
}

fn lines(values: &[Value]) -> String {
    let lines: Vec<String> = values.iter().map(|value| format!("{value}\n")).collect();
    lines.concat()
}

#[tokio::test]
async fn text_and_its_usage() {
    let all = lines(&[
        said("Höschen "),
        said("🐝 花粉"),
        json!({"newer": "thing"}),
        done("stop"),
    ]);
    let expected = [text("Höschen 🐝 花粉"), finished("stop")];
    for bytes in [
        all.clone(),
        all.replace('\n', "\r\n\r\n"),
        all.trim_end().to_owned(),
        format!("\u{FEFF}{all}"),
    ] {
        says(FORMAT, &bytes, &expected, counted(26, 282, -1, -1)).await;
    }
}

#[tokio::test]
async fn thoughts_and_calls_of_tools() {
    let all = [
        object(&json!({"role": "assistant", "content": "", "thinking": "First "})),
        object(&json!({"role": "assistant", "content": "", "thinking": "this."})),
        said("So."),
        object(
            &json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Köln"}}}]}),
        ),
        object(
            &json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "time", "arguments": {}}}]}),
        ),
        done("stop"),
    ];
    let expected = [
        thought("First this."),
        text("So."),
        tool(0, "weather", "{\"city\":\"Köln\"}"),
        tool(1, "time", "{}"),
        finished("stop"),
    ];
    says(FORMAT, &lines(&all), &expected, counted(26, 282, -1, -1)).await;
}

#[tokio::test]
async fn reasons_to_stop() {
    for reason in ["length", "load", "unload"] {
        says(
            FORMAT,
            &lines(&[said("a"), done(reason)]),
            &[text("a"), finished(reason)],
            counted(26, 282, -1, -1),
        )
        .await;
    }
    // Older ones say none; and what comes after the end is no failure.
    let older = lines(&[
        said("a"),
        json!({"done": true, "eval_count": 1}),
        json!({"error": "late"}),
    ]);
    says(
        FORMAT,
        &older,
        &[text("a"), finished("stop")],
        counted(-1, 1, -1, -1),
    )
    .await;
}

#[tokio::test]
async fn an_answer_without_a_finish_is_not_finished() {
    says(
        FORMAT,
        &lines(&[said("so far")]),
        &[text("so far")],
        counted(-1, -1, -1, -1),
    )
    .await;
}

#[tokio::test]
async fn a_whole_answer() {
    let mut body = done("stop");
    body["message"]["content"] = json!("a");
    let heard = play(FORMAT, Script::json(200, &body)).await;
    assert_eq!(heard.events, [text("a"), finished("stop")]);
    // Lines under the wrong name.
    let script =
        Script::stream_of("application/json").raw(lines(&[said("a"), said("b"), done("stop")]));
    assert_eq!(
        play(FORMAT, script).await.events,
        [text("ab"), finished("stop")]
    );
}

#[tokio::test]
async fn failures() {
    fails(
        FORMAT,
        vec![
            (
                Script::json(401, &json!({"error": "unauthorized"})),
                "provider_unauthorized",
                "refused the key",
                false,
            ),
            (
                Script::json(
                    404,
                    &json!({"error": "model \"m\" not found, try pulling it first"}),
                ),
                "model_not_found",
                "try pulling it",
                false,
            ),
            (
                Script::json(429, &json!({"error": "too many"})),
                "provider_rate_limited",
                "too many",
                true,
            ),
            (
                Script::json(
                    400,
                    &json!({"error": "input length exceeds maximum context length"}),
                ),
                "context_too_long",
                "input length",
                false,
            ),
            (
                Script::json(400, &json!({"error": "\"m\" does not support thinking"})),
                "provider_refused",
                "does not support",
                false,
            ),
            (
                Script::json(503, &json!({"error": format!("server busy {KEY}")})),
                "provider_error",
                "server busy [key]",
                true,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn failures_in_the_middle() {
    let mid = |rest: &str| {
        let thinks = object(&json!({"role": "assistant", "content": "", "thinking": "hm"}));
        lines(&[thinks, said("花"), said("粉é")]) + rest + "\n"
    };
    let out_of_memory = json!({"error": format!("out of memory {KEY}")}).to_string();
    let unsaid = counted(-1, -1, -1, -1);
    fails_after(
        FORMAT,
        &[thought("hm"), text("花粉é")],
        vec![
            (
                mid(&out_of_memory),
                unsaid,
                "provider_error",
                "out of memory [key]",
                true,
            ),
            (
                mid("{\"message\":"),
                unsaid,
                "provider_malformed",
                "not an answer",
                false,
            ),
            (
                mid("data: {}"),
                unsaid,
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
    let with = |effort: Effort| {
        let mut call = call("qwen3:8b");
        call.parameters.reasoning_effort = Some(effort);
        call
    };
    let calls = vec![
        full_call("qwen3:8b"),
        call("qwen3:8b"),
        with(Effort::None),
        with(Effort::Minimal),
    ];
    let received = sent(|upstream| settings_for(FORMAT, upstream), calls).await;
    assert_eq!(line_of(&received[0].head), "POST /api/chat HTTP/1.1");
    assert_eq!(
        header(&received[0].head, "authorization"),
        Some(&*format!("Bearer {KEY}"))
    );
    assert_eq!(
        received[0].body,
        json!({
        "model": "qwen3:8b", "stream": true, "think": "low",
        "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And now?"}],
        "options": {"temperature": 0.5, "top_p": 0.96, "num_predict": 9000, "stop": ["END", "STOP"], "seed": 7, "num_ctx": 16384}})
    );
    let least = json!({"model": "qwen3:8b", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(received[1].body, least);
    assert_eq!(
        (&received[2].body["think"], &received[3].body["think"]),
        (&json!(false), &json!("low"))
    );
}

#[tokio::test]
async fn listings() {
    let upstream = Upstream::echo().await;
    upstream.lists(200, json!({"models": [{"name": "qwen3:8b", "model": "qwen3:8b", "size": 1, "details": {"family": "qwen3"}}, {"name": "old:7b"}]}));
    let ids: Vec<String> = provider(FORMAT, &upstream)
        .models()
        .await
        .unwrap()
        .into_iter()
        .map(|model: ListedModel| model.id)
        .collect();
    assert_eq!(ids, ["qwen3:8b", "old:7b"]);
    assert_eq!(
        line_of(&upstream.listings_asked()[0]),
        "GET /api/tags HTTP/1.1"
    );
    upstream.lists(200, json!({"models": []}));
    assert!(
        provider(FORMAT, &upstream)
            .models()
            .await
            .unwrap()
            .is_empty()
    );
}
