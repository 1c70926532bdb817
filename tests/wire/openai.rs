//! Chat completions: OpenAI's own, and what the many servers that speak it do differently.

use pollen::model::usage::Usage;
use pollen::provider::{KeyHeader, ListedModel, ProviderSettings, WireFormat, connect};
use serde_json::{Value, json};

use super::{
    KEY, call, counted, events, fails, fails_after, finished, full_call, header, hear, line_of,
    play, provider, says, sent, settings_for, text, thought, tool,
};
use crate::support::{Script, Upstream};

const FORMAT: WireFormat = WireFormat::OpenAi;

fn chunk(delta: &Value, finish: &Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}], "usage": null})
}

fn stream(deltas: &[Value], finish: &str, usage: &Value) -> String {
    let mut chunks: Vec<Value> = deltas.iter().map(|d| chunk(d, &Value::Null)).collect();
    chunks.push(chunk(&json!({}), &json!(finish)));
    chunks.push(json!({"object": "chat.completion.chunk", "choices": [], "usage": usage}));
    events(&chunks) + "data: [DONE]\n\n"
}

#[tokio::test]
async fn text_and_its_usage() {
    let deltas = [
        json!({"role": "assistant", "content": "", "refusal": null}),
        json!({"content": "Höschen "}),
        json!({"content": "🐝 花粉"}),
    ];
    let usage = json!({"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0}});
    let expected = [text("Höschen 🐝 花粉"), finished("stop")];
    says(
        FORMAT,
        &stream(&deltas, "stop", &usage),
        &expected,
        counted(19, 10, 3, 4),
    )
    .await;
}

#[tokio::test]
async fn thoughts_under_all_their_names() {
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "prompt_cache_hit_tokens": 1});
    for deltas in [
        // DeepSeek, xAI.
        vec![
            json!({"reasoning_content": "hm ", "content": null}),
            json!({"reasoning_content": "ja"}),
        ],
        // Groq, Ollama's copy of the format.
        vec![
            json!({"reasoning": "hm ", "content": ""}),
            json!({"reasoning": "ja"}),
        ],
        // OpenRouter says it twice.
        vec![
            json!({"reasoning": "hm ja", "reasoning_details": [{"type": "reasoning.text", "text": "hm ja"}]}),
        ],
        vec![
            json!({"reasoning_details": [{"type": "reasoning.summary", "summary": "hm "}, {"type": "reasoning.text", "text": "ja"}]}),
        ],
        // Mistral.
        vec![
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm "}]}]}),
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "ja"}]}]}),
        ],
    ] {
        let deltas = [deltas, vec![json!({"content": "So."})]].concat();
        let expected = [thought("hm ja"), text("So."), finished("stop")];
        says(
            FORMAT,
            &stream(&deltas, "stop", &usage),
            &expected,
            counted(1, 2, -1, 1),
        )
        .await;
    }
}

#[tokio::test]
async fn a_content_of_parts() {
    let deltas = [
        json!({"content": [{"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "b"}]}),
    ];
    let expected = [text("ab"), finished("length")];
    says(
        FORMAT,
        &stream(&deltas, "model_length", &Value::Null),
        &expected,
        Usage::default(),
    )
    .await;
}

#[tokio::test]
async fn calls_of_tools() {
    let deltas = [
        json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"city\":"}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"Köln\"}"}}]}),
        json!({"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "time", "arguments": {"zone": 1}}}]}),
    ];
    let expected = [
        tool(0, "weather", "{\"city\":\"Köln\"}"),
        tool(1, "time", "{\"zone\":1}"),
        finished("tool_calls"),
    ];
    let usage = json!({"prompt_tokens": 1});
    says(
        FORMAT,
        &stream(&deltas, "tool_calls", &usage),
        &expected,
        counted(1, -1, -1, -1),
    )
    .await;
    let older = [
        json!({"function_call": {"name": "weather", "arguments": ""}}),
        json!({"function_call": {"arguments": "{}"}}),
    ];
    let expected = [tool(0, "weather", "{}"), finished("tool_calls")];
    says(
        FORMAT,
        &stream(&older, "function_call", &usage),
        &expected,
        counted(1, -1, -1, -1),
    )
    .await;
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let deltas = [
        json!({"refusal": "I can't "}),
        json!({"refusal": "do that."}),
    ];
    let expected = [text("I can't do that."), finished("stop")];
    says(
        FORMAT,
        &stream(&deltas, "stop", &Value::Null),
        &expected,
        Usage::default(),
    )
    .await;
}

#[tokio::test]
async fn usage_as_it_is_counted_elsewhere() {
    // xAI counts thoughts beside the completion.
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 315, "completion_tokens_details": {"reasoning_tokens": 300}});
    let said = [json!({"content": "a"})];
    let expected = [text("a"), finished("length")];
    says(
        FORMAT,
        &stream(&said, "length", &usage),
        &expected,
        counted(5, 310, 300, -1),
    )
    .await;
    // Groq's own place, in the chunk that finishes.
    let mut last = chunk(&json!({}), &json!("length"));
    last["x_groq"] = json!({"id": "r", "usage": {"prompt_tokens": 5, "completion_tokens": 6}});
    let groq = events(&[chunk(&said[0], &Value::Null), last]);
    says(FORMAT, &groq, &expected, counted(5, 6, -1, -1)).await;
    // In every chunk, as vLLM can: the latest counts. A chunk with an empty choice, as some gateways send it.
    let mut first = chunk(&said[0], &Value::Null);
    first["usage"] = json!({"prompt_tokens": 5, "completion_tokens": 1});
    let rest = [
        chunk(&json!({}), &json!("length")),
        json!({"choices": [{"delta": {}}], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}),
    ];
    says(
        FORMAT,
        &(events(&[first]) + &events(&rest)),
        &expected,
        counted(5, 2, -1, -1),
    )
    .await;
}

#[tokio::test]
async fn what_else_stands_in_streams_does_no_harm() {
    let azure = json!({"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": false}}}]});
    let said = events(&[chunk(&json!({"content": "ä"}), &Value::Null)]);
    let done = events(&[chunk(&json!({"content": null}), &json!("stop"))]);
    let bytes = format!(
        ": OPENROUTER PROCESSING\n\n{}: OPENROUTER PROCESSING\n\nevent: unknown\nid: 3\nretry: 5\n{said}data: {{\"object\":\"newer.thing\"}}\n\n{done}",
        events(&[azure])
    );
    let expected = [text("ä"), finished("stop")];
    says(FORMAT, &bytes, &expected, Usage::default()).await;
    says(
        FORMAT,
        &bytes.replace('\n', "\r\n"),
        &expected,
        Usage::default(),
    )
    .await;
    // After the finish nothing is wrong.
    for rest in [
        "data: {\"error\": {\"message\": \"late\"}}\n\n",
        "data: {{{\n\n",
        "data: 7\n\n",
    ] {
        says(
            FORMAT,
            &format!("{bytes}{rest}"),
            &expected,
            Usage::default(),
        )
        .await;
    }
}

#[tokio::test]
async fn an_answer_without_a_finish_is_not_finished() {
    let said = events(&[chunk(&json!({"content": "so far"}), &Value::Null)]);
    for bytes in [said.clone(), said + "data: [DONE]\n\n"] {
        says(FORMAT, &bytes, &[text("so far")], Usage::default()).await;
    }
}

#[tokio::test]
async fn a_whole_completion() {
    let body = json!({"choices": [{"index": 0, "finish_reason": "stop", "message":
        {"role": "assistant", "reasoning_content": "hm", "content": "a", "tool_calls": null}}], "usage": {"prompt_tokens": 1}});
    let heard = play(FORMAT, Script::json(200, &body)).await;
    assert_eq!(heard.events, [thought("hm"), text("a"), finished("stop")]);
    assert_eq!(heard.usage, counted(1, -1, -1, -1));
}

fn error(code: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": code, "param": null, "code": code}})
}

#[tokio::test]
async fn failures() {
    fails(FORMAT, vec![
        (Script::json(401, &error("invalid_api_key", &format!("Incorrect API key provided: {KEY}"))), "provider_unauthorized", "refused the key", false),
        (Script::json(403, &json!({})), "provider_unauthorized", "refused the key", false),
        (Script::json(404, &error("model_not_found", "The model `m` does not exist")), "model_not_found", "does not know the model \"m\"", false),
        (Script::json(429, &error("rate_limit_exceeded", "Slow down")).header("retry-after", "7"), "provider_rate_limited", "Slow down", true),
        (Script::json(429, &error("insufficient_quota", "You exceeded your current quota")), "provider_quota", "has no credit left", false),
        (Script::json(402, &json!({"error": {"message": "Insufficient Balance", "type": "unknown_error"}})), "provider_quota", "Insufficient Balance", false),
        (Script::json(400, &error("context_length_exceeded", "This model's maximum context length is 8192 tokens.")), "context_too_long", "8192", false),
        // vLLM, llama.cpp.
        (Script::json(400, &json!({"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000", "type": "BadRequestError", "code": 400})), "context_too_long", "4096", false),
        (Script::json(400, &json!({"error": {"code": 400, "message": "the request exceeds the available context size", "type": "exceed_context_size_error"}})), "context_too_long", "context size", false),
        (Script::json(400, &error("content_filter", "The response was filtered")), "content_filter", "content filter", false),
        (Script::json(422, &json!({"detail": "Extra inputs are not permitted"})), "provider_refused", "Extra inputs", false),
        (Script::json(500, &error("server_error", &format!("{KEY} broke it"))), "provider_error", "It says: [key] broke it", true),
        (Script::json(503, &json!({"error": "no slot"})), "provider_error", "no slot", true),
        (Script::stream_of("text/html; charset=utf-8").raw("<html>"), "provider_malformed", "not an answer", false),
    ]).await;
    let busy = Script::json(429, &error("rate_limit_exceeded", "Slow")).header("retry-after", "7");
    let verdict = play(FORMAT, busy).await.error.unwrap().verdict;
    let after = std::time::Duration::from_secs(7);
    assert_eq!(
        verdict,
        pollen::provider::Verdict::Retry { after: Some(after) }
    );
}

#[tokio::test]
async fn failures_in_the_middle() {
    let mut counted_so_far = chunk(&json!({"content": "花粉"}), &Value::Null);
    counted_so_far["usage"] = json!({"prompt_tokens": 5, "completion_tokens": 2});
    let mid = |value: Value| {
        let begin = chunk(&json!({"reasoning_content": "hm"}), &Value::Null);
        let more = chunk(&json!({"content": "é"}), &Value::Null);
        events(&[begin, counted_so_far.clone(), more, value])
    };
    let so_far = counted(5, 2, -1, -1);
    let withheld = chunk(&json!({}), &json!("content_filter"));
    let mut filtered = withheld.clone();
    filtered["usage"] = json!({"prompt_tokens": 5, "completion_tokens": 3});
    let counts = json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 4}});
    let counted_after = mid(withheld) + &events(&[counts]) + "data: [DONE]\n\n";
    // What is withheld stays so, whatever a server says after it.
    let said_after =
        counted_after.clone() + &events(&[chunk(&json!({"content": "x"}), &json!("stop"))]);
    fails_after(FORMAT, &[thought("hm"), text("花粉é")], vec![
        (mid(error("server_error", &format!("lost {KEY}"))), so_far, "provider_error", "reported an error. It says: lost [key]", true),
        (mid(json!({"error": {"code": 502, "message": "Provider disconnected"}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]})), so_far, "provider_error", "Provider disconnected", true),
        (mid(json!({"error": {"code": 429, "message": "busy"}})), so_far, "provider_rate_limited", "busy", true),
        (mid(json!({"object": "error", "message": "GPU lost", "code": 500})), so_far, "provider_error", "GPU lost", true),
        (mid(chunk(&json!({}), &json!("content_filter"))), so_far, "content_filter", "withheld", false),
        (mid(json!("nonsense")), so_far, "provider_malformed", "not an answer", false),
        (mid(filtered), counted(5, 3, -1, -1), "content_filter", "withheld", false),
        (counted_after, counted(5, 4, -1, -1), "content_filter", "withheld", false),
        (said_after.replace("data: [DONE]\n\n", ""), counted(5, 4, -1, -1), "content_filter", "withheld", false),
        (mid(json!({})) + "data: {{{\n\n", so_far, "provider_malformed", "not an answer", false),
    ]).await;
}

#[tokio::test]
async fn requests() {
    let received = sent(
        |upstream| settings_for(FORMAT, upstream),
        vec![full_call("gpt"), call("gpt")],
    )
    .await;
    assert_eq!(
        line_of(&received[0].head),
        "POST /v1/chat/completions HTTP/1.1"
    );
    assert_eq!(
        header(&received[0].head, "authorization"),
        Some(&*format!("Bearer {KEY}"))
    );
    assert_eq!(
        header(&received[0].head, "content-type"),
        Some("application/json")
    );
    assert!(
        header(&received[0].head, "user-agent")
            .unwrap()
            .starts_with("pollen/")
    );
    assert_eq!(
        received[0].body,
        json!({
        "model": "gpt", "stream": true, "stream_options": {"include_usage": true},
        "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And now?"}],
        "temperature": 0.5, "top_p": 0.96, "max_tokens": 9000, "stop": ["END", "STOP"], "seed": 7, "reasoning_effort": "low"})
    );
    assert_eq!(
        received[1].body,
        json!({
        "model": "gpt", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "Hi"}]})
    );
}

#[tokio::test]
async fn a_request_in_the_way_of_azure() {
    let azure = |upstream: &Upstream| ProviderSettings {
        base_url: format!("{}/openai/deployments/my%20gpt/", upstream.root()),
        key_header: Some(KeyHeader::Named("api-key".into())),
        headers: vec![("X-Team".into(), "bees".into())],
        query: vec![("api-version".into(), "2024-10-21".into())],
        send_reasoning: true,
        ..settings_for(FORMAT, upstream)
    };
    let received = sent(azure, vec![full_call("gpt")]).await;
    let head = &received[0].head;
    assert_eq!(
        line_of(head),
        "POST /openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21 HTTP/1.1"
    );
    assert_eq!(
        (header(head, "api-key"), header(head, "x-team")),
        (Some(KEY), Some("bees"))
    );
    assert_eq!(header(head, "authorization"), None);
    assert_eq!(
        received[0].body["messages"][2]["reasoning_content"],
        "They greet me."
    );
}

#[tokio::test]
async fn what_lets_us_in_is_not_repeated_wherever_it_was_sent() {
    let said = "no api-version 2024-10-21 at /chat?code=planted-code for planted-header";
    let refusal = Script::json(400, &error("bad", said));
    let upstream = Upstream::scripted([refusal]).await;
    let settings = ProviderSettings {
        headers: vec![("x-pass".into(), "planted-header".into())],
        query: vec![
            ("api-version".into(), "2024-10-21".into()),
            ("code".into(), "planted-code".into()),
        ],
        ..settings_for(FORMAT, &upstream)
    };
    let heard = hear(&*connect(settings).unwrap(), call("m")).await;
    let told = heard.error.unwrap().failure.message;
    assert!(
        told.contains("no api-version 2024-10-21 at /chat?code=[key] for [key]"),
        "{told}"
    );
}

#[tokio::test]
async fn openai_itself_is_sent_the_newer_name_of_the_limit() {
    // Through a proxy, which sees what would go to the real address.
    let received = sent(
        |upstream| ProviderSettings {
            base_url: "http://api.openai.com/v1".into(),
            proxy: Some(upstream.root()),
            ..settings_for(FORMAT, upstream)
        },
        vec![full_call("gpt")],
    )
    .await;
    assert_eq!(received[0].body["max_completion_tokens"], 9_000);
    assert_eq!(received[0].body.get("max_tokens"), None);
}

#[tokio::test]
async fn mistral_is_sent_nothing_that_it_refuses() {
    let received = sent(
        |upstream| ProviderSettings {
            base_url: "http://api.mistral.ai/v1".into(),
            proxy: Some(upstream.root()),
            ..settings_for(FORMAT, upstream)
        },
        vec![full_call("mistral-small-latest")],
    )
    .await;
    let body = &received[0].body;
    assert_eq!(body["random_seed"], 7);
    assert_eq!((body.get("seed"), body.get("stream_options")), (None, None));
}

#[tokio::test]
async fn listings() {
    let upstream = Upstream::echo().await;
    upstream.lists(200, json!({"object": "list", "data": [
        {"id": "gpt-4.1", "object": "model", "created": 1, "owned_by": "openai"},
        {"id": "openrouter/x", "name": "X", "context_length": 200_000, "top_provider": {"max_completion_tokens": 64_000}},
        {"id": "groq", "context_window": 131_072, "max_completion_tokens": 32_768},
        {"id": "mistral", "name": "mistral", "max_context_length": 32_000},
        {"id": "vllm", "max_model_len": 4_096, "root": "x"},
        {"object": "model"}]}));
    let provider = provider(FORMAT, &upstream);
    let listed =
        |id: &str, name: Option<&str>, context: Option<u32>, output: Option<u32>| ListedModel {
            id: id.into(),
            name: name.map(str::to_owned),
            context_window: context,
            max_output: output,
        };
    assert_eq!(
        provider.models().await.unwrap(),
        [
            listed("gpt-4.1", None, None, None),
            listed("openrouter/x", Some("X"), Some(200_000), Some(64_000)),
            listed("groq", None, Some(131_072), Some(32_768)),
            listed("mistral", None, Some(32_000), None),
            listed("vllm", None, Some(4_096), None),
        ]
    );
    let asked = upstream.listings_asked();
    assert_eq!(line_of(&asked[0]), "GET /v1/models HTTP/1.1");
    assert_eq!(
        header(&asked[0], "authorization"),
        Some(&*format!("Bearer {KEY}"))
    );
    for (status, body, code) in [
        (200, json!("hello"), "provider_malformed"),
        (200, json!({"error": {"message": "no"}}), "provider_error"),
        (
            401,
            json!({"error": {"message": KEY}}),
            "provider_unauthorized",
        ),
        (404, json!({"detail": "Not Found"}), "provider_refused"),
    ] {
        upstream.lists(status, body);
        let error = provider.models().await.unwrap_err();
        assert_eq!(error.failure.code, code, "{error}");
        assert!(!error.to_string().contains(KEY), "{error}");
    }
    let there = connect(super::settings(FORMAT, "http://127.0.0.1:9/v1".into())).unwrap();
    assert_eq!(
        there.models().await.unwrap_err().failure.code,
        "provider_unreachable"
    );
}
