//! The wire formats, each against the bytes that its documentation shows: what a model's server
//! sends becomes the same events whatever the pieces it comes in, what is sent to it is exactly
//! what its API asks for, and what goes wrong is explained. No database, no server of ours.

mod anthropic;
mod gemini;
mod ollama;
mod openai;
mod responses;
mod trust;
mod way;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use pollen::model::parameters::{Effort, Parameters};
use pollen::model::usage::Usage;
use pollen::provider::{
    Call, Event, Provider, ProviderError, ProviderSettings, Speaker, TimeLimits, ToolCall, Turn,
    Verdict, WireFormat, connect,
};
use serde_json::Value;

use crate::support::upstream::Received;
use crate::support::{Script, Upstream};

/// The key that no word of ours may hold.
const KEY: &str = "sk-very-secret-0123456789";
/// Lengths that cut through lines, through JSON and through letters of several bytes.
const SPLITS: [&[usize]; 7] = [&[1], &[2], &[3], &[7], &[5, 1, 13], &[64], &[100_000]];

const LIMITS: TimeLimits = TimeLimits {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(5),
    stall: Duration::from_secs(5),
    total: None,
};

fn settings(format: WireFormat, base_url: String) -> ProviderSettings {
    ProviderSettings {
        name: "upstream".into(),
        format,
        base_url,
        api_key: Some(KEY.into()),
        key_header: None,
        headers: Vec::new(),
        query: Vec::new(),
        send_reasoning: false,
        limits: LIMITS,
        proxy: None,
        ca_certificate: None,
    }
}

/// The settings for the scripted server, with the base address that the format has.
fn settings_for(format: WireFormat, upstream: &Upstream) -> ProviderSettings {
    let version = match format {
        WireFormat::OpenAi | WireFormat::OpenAiResponses | WireFormat::Anthropic => "/v1",
        WireFormat::Gemini => "/v1beta",
        WireFormat::Ollama => "",
    };
    settings(format, format!("{}{version}", upstream.root()))
}

fn provider(format: WireFormat, upstream: &Upstream) -> Arc<dyn Provider> {
    connect(settings_for(format, upstream)).unwrap()
}

fn turn(speaker: Speaker, content: &str) -> Turn {
    Turn {
        speaker,
        content: content.into(),
        reasoning: None,
    }
}

fn call(model: &str) -> Call {
    Call {
        model: model.into(),
        turns: vec![turn(Speaker::User, "Hi")],
        parameters: Parameters::default(),
        context_window: None,
        max_output: None,
    }
}

/// Everything that can be asked for.
fn full_call(model: &str) -> Call {
    let mut thought = turn(Speaker::Assistant, "Hello.");
    thought.reasoning = Some("They greet me.".into());
    Call {
        model: model.into(),
        turns: vec![
            turn(Speaker::System, "Be brief."),
            turn(Speaker::User, "Hi"),
            thought,
            turn(Speaker::User, "And now?"),
        ],
        parameters: Parameters {
            temperature: Some(0.5),
            top_p: Some(0.96),
            max_tokens: Some(9_000),
            stop: Some(vec!["END".into(), "STOP".into()]),
            seed: Some(7),
            reasoning_effort: Some(Effort::Low),
        },
        context_window: Some(16_384),
        max_output: Some(32_000),
    }
}

/// All that came of one call: neighbouring pieces put together, the usage by itself.
#[derive(Debug)]
struct Heard {
    events: Vec<Event>,
    usage: Usage,
    error: Option<ProviderError>,
}

impl Heard {
    /// The code and the sentence of its failure, which there has to be.
    fn failure(&self) -> (&str, &str) {
        let failure = &self.error.as_ref().unwrap().failure;
        (&failure.code, &failure.message)
    }

    fn is_finished(&self) -> bool {
        matches!(self.events.last(), Some(Event::Finished { .. }))
    }
}

async fn hear(provider: &dyn Provider, call: Call) -> Heard {
    let mut heard = Heard {
        events: Vec::new(),
        usage: Usage::default(),
        error: None,
    };
    let mut stream = provider.answer(call);
    while let Some(event) = stream.next().await {
        assert!(heard.error.is_none(), "nothing comes after an error");
        match event {
            Ok(Event::Usage(usage)) => heard.usage = usage.or(heard.usage),
            Ok(event) => merge(&mut heard.events, event),
            Err(error) => heard.error = Some(error),
        }
    }
    heard
}

fn merge(events: &mut Vec<Event>, event: Event) {
    match (events.last_mut(), event) {
        (Some(Event::Text(before)), Event::Text(more))
        | (Some(Event::Reasoning(before)), Event::Reasoning(more)) => before.push_str(&more),
        (Some(Event::ToolCall(before)), Event::ToolCall(more))
            if before.index == more.index && more.name.is_none() =>
        {
            before.arguments.push_str(&more.arguments);
        }
        (_, event) => events.push(event),
    }
}

/// Plays the script once.
async fn play(format: WireFormat, script: Script) -> Heard {
    let upstream = Upstream::scripted([script]).await;
    hear(&*provider(format, &upstream), call("m")).await
}

/// A stream of these bytes in pieces of these lengths.
fn split(format: WireFormat, bytes: &str, lengths: &[usize]) -> Script {
    let stream = match format {
        WireFormat::Ollama => Script::stream_of("application/x-ndjson"),
        _ => Script::stream(),
    };
    stream.raw(bytes).resplit(lengths)
}

/// Plays these bytes in pieces of all lengths and expects the same of each.
async fn says(format: WireFormat, bytes: &str, events: &[Event], usage: Usage) {
    let scripts = SPLITS.map(|lengths| split(format, bytes, lengths));
    let upstream = Upstream::scripted(scripts).await;
    let provider = provider(format, &upstream);
    for lengths in SPLITS {
        let heard = hear(&*provider, call("m")).await;
        assert!(heard.error.is_none(), "{lengths:?}: {heard:?}");
        assert_eq!(heard.events, events, "in pieces of {lengths:?}");
        assert_eq!(heard.usage, usage, "in pieces of {lengths:?}");
    }
}

/// Plays refusals and failures, and expects of each a code, words, and whether to try again.
async fn fails(format: WireFormat, cases: Vec<(Script, &str, &str, bool)>) {
    for (script, code, words, is_retried) in cases {
        let heard = play(format, script).await;
        assert_failed(&heard, code, words, is_retried);
    }
}

/// A stream that fails in the middle: its bytes, the usage that comes before the failure, the
/// failure's code and words, and whether another try makes sense.
type Broken<'a> = (String, Usage, &'a str, &'a str, bool);

/// Plays streams that fail in the middle, in pieces of all lengths, and expects of each what came
/// before the failure, and then the failure.
async fn fails_after(format: WireFormat, before: &[Event], cases: Vec<Broken<'_>>) {
    for (bytes, usage, code, words, is_retried) in cases {
        let upstream = Upstream::scripted(SPLITS.map(|l| split(format, &bytes, l))).await;
        let provider = provider(format, &upstream);
        for lengths in SPLITS {
            let heard = hear(&*provider, call("m")).await;
            assert_failed(&heard, code, words, is_retried);
            assert_eq!(heard.events, before, "{code} in pieces of {lengths:?}");
            assert_eq!(heard.usage, usage, "{code} in pieces of {lengths:?}");
        }
    }
}

#[track_caller]
fn assert_failed(heard: &Heard, code: &str, words: &str, is_retried: bool) {
    let error = heard.error.as_ref().unwrap();
    assert_eq!(heard.failure().0, code, "{error}");
    assert!(heard.failure().1.contains(words), "{words:?} in {error}");
    let retries = matches!(error.verdict, Verdict::Retry { .. });
    assert_eq!(retries, is_retried, "{error}");
    assert!(!error.to_string().contains(KEY), "{error}");
    assert!(!heard.is_finished(), "{heard:?}");
}

/// What the server was sent for these calls.
async fn sent(settings: impl Fn(&Upstream) -> ProviderSettings, calls: Vec<Call>) -> Vec<Received> {
    let upstream = Upstream::start(|_| Script::stream()).await;
    let provider = connect(settings(&upstream)).unwrap();
    for call in calls {
        hear(&*provider, call).await;
    }
    upstream.received()
}

/// The request line and a header's value.
fn line_of(head: &str) -> &str {
    head.lines().next().unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn text(text: &str) -> Event {
    Event::Text(text.into())
}

fn thought(text: &str) -> Event {
    Event::Reasoning(text.into())
}

fn tool(index: usize, name: &str, arguments: &str) -> Event {
    Event::ToolCall(ToolCall {
        index,
        name: Some(name.into()),
        arguments: arguments.into(),
    })
}

fn finished(reason: &str) -> Event {
    Event::Finished {
        reason: reason.into(),
    }
}

/// Input, output, reasoning and cached tokens; below zero: not said.
fn counted(input: i64, output: i64, reasoning: i64, cached: i64) -> Usage {
    let said = |count: i64| Some(count).filter(|count| *count >= 0);
    Usage {
        input_tokens: said(input),
        output_tokens: said(output),
        reasoning_tokens: said(reasoning),
        cached_tokens: said(cached),
    }
}

/// An event stream of these values, without `event:` lines.
fn events(values: &[Value]) -> String {
    let event = |value: &Value| format!("data: {value}\n\n");
    let events: Vec<String> = values.iter().map(event).collect();
    events.concat()
}

/// An event stream of these values, named after their types.
fn named_events(values: &[Value]) -> String {
    let event = |value: &Value| {
        let name = value["type"].as_str().unwrap();
        format!("event: {name}\ndata: {value}\n\n")
    };
    values.iter().map(event).collect()
}
