//! All wire formats against the model server that none of us wrote: pieces of a few letters,
//! thoughts, calls of tools, streams that are cut, and refusals.

use std::sync::Arc;

use futures::StreamExt;
use pollen::model::parameters::Parameters;
use pollen::model::usage::Usage;
use pollen::provider::{
    Call, Event, Provider, ProviderError, ProviderSettings, Speaker, TimeLimits, Turn, Verdict,
    WireFormat, connect,
};

use super::{Mock, fixture, mock};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// Each format with the path of its version and a model that thinks.
const FORMATS: [(WireFormat, &str, &str); 5] = [
    (WireFormat::OpenAi, "/v1", "gpt-5"),
    (WireFormat::OpenAiResponses, "/v1", "gpt-5"),
    (WireFormat::Anthropic, "/v1", "claude-sonnet-4-5"),
    (WireFormat::Gemini, "/v1beta", "gemini-2.5-flash"),
    (WireFormat::Ollama, "", "qwen3"),
];

/// What came of one question.
#[derive(Debug, Default)]
struct Heard {
    text: String,
    thoughts: String,
    /// Name and arguments of the tool's call.
    tool: (String, String),
    usage: Usage,
    finish: Option<String>,
    error: Option<ProviderError>,
}

fn provider(mock: &Mock, format: WireFormat, version: &str) -> Arc<dyn Provider> {
    connect(ProviderSettings {
        name: "mock".into(),
        format,
        base_url: format!("{}{version}", mock.root()),
        api_key: Some("sk-mock".into()),
        key_header: None,
        headers: Vec::new(),
        query: Vec::new(),
        send_reasoning: false,
        limits: TimeLimits {
            connect: LIMIT,
            first_byte: LIMIT,
            stall: LIMIT,
            total: Some(LIMIT),
        },
        proxy: None,
        ca_certificate: None,
    })
    .unwrap()
}

async fn ask(mock: &Mock, (format, version, model): (WireFormat, &str, &str), text: &str) -> Heard {
    let provider = provider(mock, format, version);
    let turn = |speaker, content: &str| Turn {
        speaker,
        content: content.into(),
        reasoning: None,
    };
    let mut stream = provider.answer(Call {
        model: model.into(),
        turns: vec![
            turn(Speaker::System, "Be brief."),
            turn(Speaker::User, text),
        ],
        parameters: Parameters::default(),
        context_window: Some(8_192),
        max_output: None,
    });
    let mut heard = Heard::default();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Text(text)) => heard.text.push_str(&text),
            Ok(Event::Reasoning(text)) => heard.thoughts.push_str(&text),
            Ok(Event::ToolCall(call)) => {
                heard.tool.0.push_str(&call.name.unwrap_or_default());
                heard.tool.1.push_str(&call.arguments);
            }
            Ok(Event::Usage(usage)) => heard.usage = usage.or(heard.usage),
            Ok(Event::Finished { reason }) => heard.finish = Some(reason),
            Err(error) => heard.error = Some(error),
        }
    }
    heard
}

#[tokio::test]
async fn all_formats_say_the_same() {
    let mock = mock().await;
    for format in FORMATS {
        let heard = ask(&mock, format, "Think about bees").await;
        assert!(heard.error.is_none(), "{format:?}: {heard:?}");
        assert_eq!(heard.text, fixture("Think about bees"), "{format:?}");
        assert_eq!(heard.finish.as_deref(), Some("stop"), "{format:?}");
        // The mock's Ollama names thoughts as Ollama does not.
        if format.0 != WireFormat::Ollama {
            let expected = "What carries pollen? Höchstens Bienen.";
            assert_eq!(heard.thoughts, expected, "{format:?}");
        }
        assert!(heard.usage.output_tokens.is_some(), "{format:?}: {heard:?}");
        let long = ask(&mock, format, "Tell me about bees").await;
        assert_eq!(long.text, fixture("Tell me about bees"), "{format:?}");
    }
}

#[tokio::test]
async fn all_formats_call_a_tool() {
    let mock = mock().await;
    for format in FORMATS {
        let heard = ask(&mock, format, "Use a tool").await;
        assert!(heard.error.is_none(), "{format:?}: {heard:?}");
        assert_eq!(heard.tool.0, "weather", "{format:?}");
        let arguments: serde_json::Value = serde_json::from_str(&heard.tool.1).unwrap();
        assert_eq!(arguments["city"], "Köln", "{format:?}");
        assert!(heard.finish.is_some(), "{format:?}");
    }
}

#[tokio::test]
async fn no_format_takes_a_cut_stream_for_a_whole_one() {
    let mock = mock().await;
    for format in FORMATS {
        let heard = ask(&mock, format, "Break off").await;
        assert_eq!(heard.finish, None, "{format:?}: {heard:?}");
        let whole = fixture("Break off");
        let is_begun = !heard.text.is_empty() && whole.starts_with(&heard.text);
        assert!(is_begun && heard.text != whole, "{format:?}: {heard:?}");
        let error = heard.error.unwrap();
        assert_eq!(error.failure.code, "provider_broke_off", "{format:?}");
    }
}

#[tokio::test]
async fn all_formats_explain_a_limit_and_heed_when_it_ends() {
    let mock = mock().await;
    for format in FORMATS {
        let error = ask(&mock, format, "Too often").await.error.unwrap();
        assert_eq!(error.failure.code, "provider_rate_limited", "{format:?}");
        let after = Some(std::time::Duration::from_secs(23));
        assert_eq!(error.verdict, Verdict::Retry { after }, "{format:?}");
    }
}

#[tokio::test]
async fn models_are_listed() {
    let mock = mock().await;
    for (format, version, _) in FORMATS {
        // The mock lists no models in the way of Gemini.
        if format != WireFormat::Gemini {
            let models = provider(&mock, format, version).models().await.unwrap();
            assert!(!models.is_empty(), "{format:?}");
        }
    }
}
