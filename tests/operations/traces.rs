//! A trace follows a message from its send through the queue to the call of the model, whichever node does what, and
//! says nothing of what was written.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::collector::{Collector, Sent};
use super::exposition::Exposition;
use super::house::House;
use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::{Database, Script, TestApp, Upstream};

const SEND: &str = "POST /chat/{uuid}/send";
const CALL: &str = "chat scripted-model";
const PROMPT: &str = "xyzzy-what-was-asked";
const ANSWER: &str = "plugh-what-was-answered";
const KEY: &str = "sk-plover-the-key";
const COLLECTOR_KEY: &str = "frotz-the-collectors-key";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

async fn start(database: Database, collector: &str, upstream: Upstream) -> TestApp {
    let headers = format!("x-collector-key={COLLECTOR_KEY}");
    let settings = [
        ("tracing.otlp_endpoint", collector),
        ("tracing.otlp_headers", headers.as_str()),
        ("openai.api_key", KEY),
    ];
    TestApp::start_on(database, upstream, &settings).await
}

fn of<'a>(spans: &'a [Sent], trace: &str, name: &str) -> &'a Sent {
    let mut found = spans
        .iter()
        .filter(|span| span.trace == trace && span.name == name);
    let one = found
        .next()
        .unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "{name} is there twice: {spans:#?}");
    one
}

/// Each step is a part of the one before it.
fn assert_whole(spans: &[Sent], trace: &str) {
    let send = of(spans, trace, SEND);
    let answer = of(spans, trace, "answer");
    for name in ["queue", "claim", "answer"] {
        assert_eq!(of(spans, trace, name).parent, send.id, "{name}");
    }
    for name in [CALL, "finish"] {
        assert_eq!(of(spans, trace, name).parent, answer.id, "{name}");
    }
    for span in spans {
        assert!(span.begun <= span.ended, "{span:?}");
    }
}

on_both_databases! {
    async fn a_trace_follows_a_message_to_the_model_and_says_nothing_of_it(kind: Kind) {
        let collector = Collector::start().await;
        let upstream = Upstream::start(|_| Script::answer([ANSWER])).await;
        let app = start(Database::create(kind).await, &collector.base, upstream).await;
        let (chat, answer, reader) = app.ask(PROMPT).await;
        assert_eq!(reader.text, ANSWER);
        let spans = collector.spans_with(&[SEND, "answer", CALL, "finish"]).await;
        let send = spans.iter().find(|span| span.name == SEND).unwrap();
        assert_whole(&spans, &send.trace);
        assert_eq!(send.attribute("http.response.status_code"), "202");
        let answered = of(&spans, &send.trace, "answer");
        assert_eq!(answered.attribute("pollen.chat"), chat);
        assert_eq!(answered.attribute("pollen.message"), answer);
        assert_eq!(answered.attribute("pollen.attempt"), "0");
        assert_eq!(answered.attribute("pollen.outcome"), "completed");
        assert_eq!(answered.attribute("pollen.node"), answered.node);
        let call = of(&spans, &send.trace, CALL);
        assert_eq!(call.attribute("gen_ai.provider.name"), "openai");
        assert_eq!(call.attribute("gen_ai.usage.output_tokens"), "11");
        assert_eq!(call.events, ["first token"]);
        // Polls are too many to be traced.
        assert!(spans.iter().all(|span| !span.name.starts_with("GET /chat/message")));
        // The model's server hears nothing of it, and the collector nothing of what was said.
        for received in app.upstream.received() {
            assert!(!received.head.to_lowercase().contains("traceparent"));
        }
        app.stop().await;
        let bytes = collector.bytes();
        let has = |word: &str| bytes
                .windows(word.len())
                .any(|part| part == word.as_bytes());
        assert!(has("scripted-model"), "the bytes can be read at all");
        for secret in [PROMPT, ANSWER, KEY, COLLECTOR_KEY] {
            assert!(!has(secret), "{secret} was sent");
        }
        for headers in collector.headers() {
            assert_eq!(headers["x-collector-key"], COLLECTOR_KEY);
            assert_eq!(headers["content-type"], "application/x-protobuf");
        }
    }

    async fn a_trace_that_a_client_has_begun_is_gone_on_with(kind: Kind) {
        let collector = Collector::start().await;
        let app = start(Database::create(kind).await, &collector.base, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let path = format!("/chat/{chat}/send");
        for (flags, parent) in [("01", "b7ad6b7169203331"), ("00", "b7ad6b7169203332")] {
            let header = format!("00-{TRACE}-{parent}-{flags}");
            let sent = app
                .request(reqwest::Method::POST, &path, |request| {
                    request.header("traceparent", header).json(&json!({"message": flags}))
                })
                .await
                .expect(202)
                .json();
            let message = sent["message"]["uuid"].as_str().unwrap();
            let answer = app.answer_to(&chat, message).await;
            app.read(&answer).await;
        }
        app.stop().await;
        let spans = collector.spans();
        assert_whole(&spans, TRACE);
        assert_eq!(of(&spans, TRACE, SEND).parent, "b7ad6b7169203331");
        // The other one was not to be traced, and was not.
        assert!(spans.iter().all(|span| span.parent != "b7ad6b7169203332"));
    }

    async fn a_collector_that_is_away_harms_nothing(kind: Kind) {
        // Port 9 discards; nobody listens there.
        let nobody = "http://127.0.0.1:9";
        let app = start(Database::create(kind).await, nobody, Upstream::echo().await).await;
        for _ in 0..3 {
            let (_, _, reader) = app.ask("one").await;
            assert_eq!(reader.text, "You said: one");
        }
        let begun = tokio::time::Instant::now();
        app.stop().await;
        assert!(begun.elapsed() < Duration::from_mins(1));
    }

    async fn a_request_that_fails_says_so(kind: Kind) {
        let collector = Collector::start().await;
        let refusal = Script::json(401, &json!({"error": {"message": "no"}}));
        let upstream = Upstream::scripted([refusal]).await;
        let app = start(Database::create(kind).await, &collector.base, upstream).await;
        app.ask("one").await;
        app.stop().await;
        let spans = collector.spans();
        for name in [CALL, "answer"] {
            let failed = spans.iter().find(|span| span.name == name).unwrap();
            assert_eq!(failed.attribute("error.type"), "provider_unauthorized", "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_once_that_the_collector_is_away() {
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")];
    let house = House::start(Upstream::echo().await, &variables).await;
    let failed =
        |counted: &Exposition| counted.count("pollen_trace_exports_total", &[("result", "failed")]);
    for times in 1..=2 {
        house.remote.converse("one").await;
        house
            .counted_until(|counted| failed(counted) >= times)
            .await;
    }
    let (status, log) = house.server.terminate("-TERM").await;
    assert!(status.success(), "{log}");
    let told = log.matches("the collector of traces cannot be reached");
    assert_eq!(told.count(), 1, "{log}");
}

/// The node that takes the send has no room, so that the other one answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_on_another_node() {
    let collector = Collector::start().await;
    let gate = CancellationToken::new();
    let shut = gate.clone();
    let upstream = Upstream::start(move |request| {
        if request.asked() == "hold" {
            Script::stream().say(["held"]).wait(&shut).finish()
        } else {
            Script::answer(["free"])
        }
    })
    .await;
    let settings = [
        ("tracing.otlp_endpoint", collector.base.as_str()),
        ("worker.max_running", "1"),
    ];
    let database = Database::create(Kind::Postgres).await;
    let one = TestApp::start_on(database, upstream, &settings).await;
    let (first, second) = (one.create_chat().await, one.create_chat().await);
    let asked = one.send(&first, "hold").await;
    let answer = one.answer_to(&first, &asked).await;
    one.read_until(&answer, "held").await;
    let other = one.another_node(&[]).await;
    let (_, reader) = one.ask_in(&second, "free").await;
    assert_eq!(reader.text, "free");
    let spans = eventually("the answer's span is sent", async || {
        let spans = collector.spans();
        spans
            .iter()
            .any(|span| span.name == "answer")
            .then_some(spans)
    })
    .await;
    let answer = spans.iter().find(|span| span.name == "answer").unwrap();
    gate.cancel();
    one.settle().await;
    // What is left over is looked at once the other node has purged what was its own.
    other.abandon().await;
    one.stop().await;
    let spans = collector.spans();
    assert_whole(&spans, &answer.trace);
    let send = of(&spans, &answer.trace, SEND);
    assert_ne!(send.node, answer.node, "another node");
    for name in [CALL, "finish", "claim"] {
        assert_eq!(of(&spans, &answer.trace, name).node, answer.node, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_messages_is_traced_if_so_chosen() {
    let collector = Collector::start().await;
    let settings = [
        ("tracing.otlp_endpoint", collector.base.as_str()),
        ("tracing.sample_ratio", "0"),
    ];
    let database = Database::create(Kind::Sqlite).await;
    let app = TestApp::start_on(database, Upstream::echo().await, &settings).await;
    app.ask("one").await;
    app.stop().await;
    assert!(collector.spans().is_empty());
}
