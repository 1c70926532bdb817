//! What happens is counted: exactly, for each server is a process of its own here.

use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::exposition::Exposition;
use super::house::House;
use crate::support::app::eventually;
use crate::support::{Database, Reader, Script, Upstream};

const TOKENS: &str = "/chat/message/{uuid}/tokens/{position}";
const MESSAGES: &str = "/chat/{uuid}/messages/{last_uuid}";
const ALL_MESSAGES: &str = "/chat/{uuid}/messages";

fn polls(counted: &Exposition, kind: &str, outcome: &str) -> u64 {
    counted.count(
        "pollen_polls_total",
        &[("kind", kind), ("outcome", outcome)],
    )
}

fn requests(counted: &Exposition, route: &str, status: &str) -> u64 {
    let labels = [("route", route), ("status", status)];
    counted.count("pollen_http_requests_total", &labels)
}

/// A live answer, polled in all ways. How many polls of each kind were asked for.
async fn poll_in_all_ways(house: &House, gate: &CancellationToken) -> (u64, u64) {
    let remote = &house.remote;
    let created = remote.create("Tea?").await;
    let chat = created["uuid"].as_str().unwrap();
    let (mut tokens, mut messages) = (0, 0);
    let mut poll = async |path: String, status: u16| {
        tokens += u64::from(path.contains("/tokens/"));
        messages += u64::from(path.contains("/messages"));
        let (found, answer) = house.get(&path).await;
        assert_eq!(found, status, "{path}: {answer}");
        answer
    };
    let answer = eventually("the answer appears", async || {
        let found = poll(format!("/chat/{chat}/messages"), 200).await;
        let answer = found["messages"].as_array().unwrap().last().cloned();
        answer.filter(|message| message["role"] == "assistant")
    })
    .await;
    let answer = answer["uuid"].as_str().unwrap();
    let mut reader = Reader::default();
    eventually("the text is there", async || {
        let path = format!("/chat/message/{answer}/tokens/{}", reader.position);
        reader.apply(&poll(path, 200).await);
        (reader.text == "yes").then_some(())
    })
    .await;
    // Nothing new, again and again, out of the memory.
    for _ in 0..5 {
        let path = format!("/chat/message/{answer}/tokens/{}", reader.position);
        poll(path, 200).await;
    }
    gate.cancel();
    eventually("the answer ends", async || {
        let path = format!("/chat/message/{answer}/tokens/{}", reader.position);
        reader.apply(&poll(path, 200).await);
        reader.is_done().then_some(())
    })
    .await;
    // A position that fits nothing, another message, another chat, and no position at all.
    poll(format!("/chat/message/{answer}/tokens/77777"), 200).await;
    let nobody = Uuid::now_v7();
    poll(format!("/chat/message/{nobody}/tokens/0"), 404).await;
    poll(format!("/chat/message/{answer}/tokens/x"), 400).await;
    poll(format!("/chat/{nobody}/messages/{nobody}"), 404).await;
    for _ in 0..3 {
        poll(format!("/chat/{chat}/messages/{answer}"), 200).await;
    }
    (tokens, messages)
}

/// Polls that are answered before the router are counted as those are that it answers: it answers all of them where the
/// log is to say everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_are_counted_by_what_they_found_whoever_answers_them() {
    for filter in ["info", "pollen=debug"] {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["yes"]).wait(&gate).finish();
        let upstream = Upstream::scripted([script]).await;
        let house = House::start(upstream, &[("RUST_LOG", filter)]).await;
        let (tokens, messages) = poll_in_all_ways(&house, &gate).await;
        let counted = house.counted().await;
        let found = |outcome| polls(&counted, "tokens", outcome);
        assert!(found("new_text") >= 1, "{filter}");
        assert!(found("nothing_new") >= 5, "{filter}");
        assert_eq!(found("replaced"), 1, "{filter}");
        assert_eq!(found("not_found"), 1, "{filter}");
        let ok = found("new_text") + found("nothing_new") + found("replaced");
        assert_eq!(ok, tokens - 2, "{filter}: each is counted once");
        assert_eq!(requests(&counted, TOKENS, "200"), ok, "{filter}");
        assert_eq!(requests(&counted, TOKENS, "400"), 1, "{filter}");
        assert_eq!(requests(&counted, TOKENS, "404"), 1, "{filter}");
        let found = |outcome| polls(&counted, "messages", outcome);
        assert!(found("new_messages") >= 1, "{filter}");
        assert!(found("nothing_new") >= 3, "{filter}");
        assert_eq!(found("not_found"), 1, "{filter}");
        let ok = found("new_messages") + found("nothing_new") + found("changed");
        assert_eq!(ok, messages - 1, "{filter}: each is counted once");
        let answered =
            requests(&counted, MESSAGES, "200") + requests(&counted, ALL_MESSAGES, "200");
        assert_eq!(answered, ok, "{filter}");
        // How long they took is there in buckets, each of which holds those before it.
        let of_tokens = [("route", TOKENS), ("method", "GET")];
        let name = "pollen_http_request_duration_seconds";
        let all = counted.count(&format!("{name}_count"), &of_tokens);
        assert_eq!(all, tokens, "{filter}");
        let bucket = format!("{name}_bucket");
        let buckets: Vec<f64> = counted.find(&bucket, &of_tokens).map(|s| s.value).collect();
        assert!(buckets.len() > 10 && buckets.is_sorted(), "{buckets:?}");
        assert_eq!(counted.count(&bucket, &[of_tokens[0], ("le", "+Inf")]), all);
        house.server.kill().await;
    }
}

/// The polls of a batch count one by one, and the time that one is held is no time that the server took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_of_a_batch_are_counted_and_held_time_is_not() {
    let house = House::start(Upstream::echo().await, &[]).await;
    let chat = house.remote.create("Tea?").await["uuid"].clone();
    let (chat, nobody) = (chat.as_str().unwrap(), Uuid::now_v7());
    let answered = eventually("the answer is there", async || {
        let (_, read) = house.get(&format!("/chat/{chat}/messages")).await;
        let last = read["messages"].as_array().unwrap().last().cloned();
        last.filter(|message| message["role"] == "assistant" && message["status"] == "completed")
    })
    .await;
    let answer = answered["uuid"].as_str().unwrap();
    // The ledger in memory closes a moment after the answer was stored.
    eventually("its ledger is closed", async || {
        let (_, read) = house.get(&format!("/chat/message/{answer}/tokens/0")).await;
        (read["status"] == "completed").then_some(())
    })
    .await;
    let before = house.counted().await;
    let path = format!("/poll?message={answer}&message={nobody}&chat={chat}&chat={nobody}");
    let (status, said) = house.get(&path).await;
    assert_eq!(status, 200);
    let counted = house.counted().await;
    for (kind, outcome) in [
        ("tokens", "new_text"),
        ("tokens", "not_found"),
        ("messages", "new_messages"),
        ("messages", "not_found"),
    ] {
        let more = polls(&counted, kind, outcome) - polls(&before, kind, outcome);
        assert_eq!(more, 1, "{kind} {outcome}: {said}");
    }
    let (_, chat_now) = house.get(&format!("/chat/{chat}")).await;
    let path = format!(
        "{}/chat/{chat}/messages/{answer}?revision={}",
        house.server.base, chat_now["revision"]
    );
    let begun = tokio::time::Instant::now();
    let held = crate::support::http_client()
        .get(path)
        .header("prefer", "wait=2");
    let held = held.send().await.unwrap();
    assert_eq!(held.headers()["preference-applied"], "wait=2");
    assert!(begun.elapsed().as_secs() >= 2);
    let counted = house.counted().await;
    let took = counted.find(
        "pollen_http_request_duration_seconds_sum",
        &[("route", MESSAGES)],
    );
    let took: f64 = took.map(|sample| sample.value).sum();
    assert!(took < 2.0, "{took} s");
    house.server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_are_no_routes_do_not_become_series() {
    let house = House::start(Upstream::echo().await, &[]).await;
    for n in 0..20 {
        let (status, _) = house.get(&format!("/made/up/{n}")).await;
        assert_eq!(status, 404);
        let nobody = Uuid::now_v7();
        let (status, _) = house.get(&format!("/chat/message/{nobody}")).await;
        assert_eq!(status, 404);
    }
    let counted = house.counted().await;
    assert_eq!(requests(&counted, "unknown", "404"), 20);
    assert_eq!(requests(&counted, "/chat/message/{uuid}", "404"), 20);
    for route in counted.values("pollen_http_requests_total", "route") {
        assert!(!route.contains("made") && !route.contains("-7"), "{route}");
    }
    house.server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_counted_from_the_queue_to_what_it_cost() {
    let house = House::start(Upstream::echo().await, &[]).await;
    house.remote.converse("one").await;
    let ended = [("outcome", "completed")];
    let counted = house
        .counted_until(|counted| counted.count("pollen_answers_ended_total", &ended) == 1)
        .await;
    for (name, labels, expected) in [
        ("pollen_answers_claimed_total", &[][..], 1),
        ("pollen_answer_queue_seconds_count", &[], 1),
        ("pollen_answer_first_token_seconds_count", &[], 1),
        ("pollen_answer_duration_seconds_count", &ended, 1),
        (
            "pollen_provider_calls_total",
            &[
                ("provider", "openai"),
                ("model", "scripted-model"),
                ("outcome", "finished"),
            ],
            1,
        ),
        ("pollen_provider_call_seconds_count", &[], 1),
        ("pollen_provider_first_token_seconds_count", &[], 1),
        ("pollen_provider_errors_total", &[], 0),
        ("pollen_tokens_total", &[("kind", "input")], 7),
        ("pollen_tokens_total", &[("kind", "output")], 11),
        // At 2 and 8 a million.
        (
            "pollen_cost_micros_total",
            &[("model", "scripted-model")],
            7 * 2 + 11 * 8,
        ),
        ("pollen_answers_rescued_total", &[], 0),
        ("pollen_answers_fenced_total", &[], 0),
    ] {
        assert_eq!(counted.count(name, labels), expected, "{name} {labels:?}");
    }
    assert!(counted.count("pollen_database_transaction_seconds_count", &[]) >= 3);
    assert!(counted.count("pollen_database_wait_seconds_count", &[]) >= 3);
    house.server.kill().await;
}

/// Whoever may ask an open provider for any name is not to fill the memory with series.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_that_nobody_has_named_are_counted_as_one() {
    let house = House::start_with_file("", Upstream::echo().await, &[]).await;
    for n in 0..5 {
        let asked = json!({"message": "one", "model": format!("openai/made-up-{n}")});
        let created = house.remote.post("/chat/create", &asked, 201).await;
        let answer = house.remote.answer(&created).await;
        let mut reader = Reader::default();
        house
            .remote
            .poll_until(&answer, &mut reader, Reader::is_done)
            .await;
    }
    let counted = house
        .counted_until(|counted| counted.count("pollen_answers_claimed_total", &[]) == 5)
        .await;
    assert_eq!(
        counted.values("pollen_provider_calls_total", "model"),
        ["other"]
    );
    house.server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_wrong_with_a_provider_is_counted_by_kind() {
    let error = |status| Script::json(status, &json!({"error": {"message": "no"}}));
    let scripts = [
        error(401),
        error(429),
        error(500),
        Script::stream().say(["half"]).cut(),
    ];
    let house = House::start(Upstream::scripted(scripts).await, &[]).await;
    for _ in 0..4 {
        house.remote.converse("one").await;
    }
    let counted = house
        .counted_until(|counted| {
            counted.count("pollen_answers_ended_total", &[("outcome", "failed")]) == 4
        })
        .await;
    for kind in [
        "provider_unauthorized",
        "provider_rate_limited",
        "provider_error",
        "provider_broke_off",
    ] {
        let labels = [("kind", kind), ("provider", "openai")];
        assert_eq!(
            counted.count("pollen_provider_errors_total", &labels),
            1,
            "{kind}"
        );
        let labels = [("reason", kind)];
        assert_eq!(
            counted.count("pollen_answers_ended_total", &labels),
            1,
            "{kind}"
        );
    }
    house.server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_out_of_the_cache_asks_no_model() {
    let file = "[[model]]\nid = \"scripted-model\"\ncache = true\n";
    let house = House::start_with_file(file, Upstream::echo().await, &[]).await;
    for _ in 0..3 {
        house.remote.converse("one").await;
    }
    let counted = house
        .counted_until(|counted| counted.count("pollen_cache_lookups_total", &[]) == 3)
        .await;
    let lookups = |result| counted.count("pollen_cache_lookups_total", &[("result", result)]);
    assert_eq!((lookups("miss"), lookups("hit")), (1, 2));
    assert_eq!(counted.count("pollen_provider_calls_total", &[]), 1);
    assert_eq!(
        counted.count("pollen_cache_saved_tokens_total", &[]),
        2 * 18
    );
    assert_eq!(
        counted.count("pollen_tokens_total", &[("kind", "output")]),
        11
    );
    house.server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rescue_is_counted() {
    let gate = CancellationToken::new();
    let scripts = [
        Script::stream().say(["half"]).wait(&gate).finish(),
        Script::answer(["whole"]),
    ];
    let house = House::start(Upstream::scripted(scripts).await, &[]).await;
    let answer = house.remote.answer(&house.remote.create("one").await).await;
    let mut reader = Reader::default();
    let has_begun = |reader: &Reader| reader.text == "half";
    house
        .remote
        .poll_until(&answer, &mut reader, has_begun)
        .await;
    let house = house.restart().await;
    house
        .remote
        .poll_until(&answer, &mut reader, Reader::is_done)
        .await;
    assert_eq!(reader.text, "whole");
    let counted = house
        .counted_until(|counted| {
            counted.count("pollen_answers_ended_total", &[("outcome", "completed")]) == 1
        })
        .await;
    let rescued = |result| counted.count("pollen_answers_rescued_total", &[("result", result)]);
    assert_eq!((rescued("again"), rescued("failed")), (1, 0));
    let replaced = [("outcome", "replaced"), ("reason", "interrupted")];
    assert_eq!(counted.count("pollen_answers_ended_total", &replaced), 1);
    house.server.kill().await;
}

on_both_databases! {
    #[expect(clippy::float_cmp, reason = "whole numbers are exact")]
    async fn what_waits_and_what_is_held_is_looked_at_now_and_then(kind: Kind) {
        let database = Database::create(kind).await;
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream =
            Upstream::start(move |_| Script::stream().say(["half"]).wait(&held).finish()).await;
        let variables = [
            ("POLLEN_DATABASE_URL", database.url.as_str()),
            ("POLLEN_WORKER__MAX_RUNNING", "1"),
        ];
        let house = House::start(upstream, &variables).await;
        for _ in 0..3 {
            house.remote.create("one").await;
        }
        let counted = house
            .counted_until(|counted| {
                counted.sum("pollen_queue_depth", &[]) == 2.0
                    && counted.sum("pollen_ledger_text_bytes", &[]) == 4.0
                    && counted.sum("pollen_ledger_unflushed_bytes", &[]) == 0.0
            })
            .await;
        for (name, labels, expected) in [
            ("pollen_running_answers", &[][..], 1.0),
            ("pollen_live_answers", &[], 1.0),
            ("pollen_worker_slots", &[], 1.0),
            ("pollen_provider_calls_running", &[("provider", "openai")], 1.0),
            ("pollen_ready", &[], 1.0),
            ("pollen_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
        ] {
            assert_eq!(counted.sum(name, labels), expected, "{name}");
        }
        assert!(counted.count("pollen_flush_bytes_count", &[]) >= 1);
        assert!(counted.sum("pollen_queue_oldest_seconds", &[]) > 0.0);
        assert!(counted.sum("pollen_schema_version", &[]) >= 7.0);
        for name in [
            "pollen_database_bytes",
            "pollen_database_connections_max",
            "pollen_http_connections",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_open_fds",
        ] {
            assert!(counted.sum(name, &[]) > 0.0, "{name}");
        }
        for table in ["chat", "chat_message", "llm_request", "token_ledger"] {
            let bytes = counted.sum("pollen_table_bytes", &[("table", table)]);
            assert!(bytes > 0.0, "{table}");
        }
        gate.cancel();
        house
            .counted_until(|counted| {
                counted.sum("pollen_queue_depth", &[]) == 0.0
                    && counted.sum("pollen_queue_oldest_seconds", &[]) == 0.0
                    && counted.sum("pollen_live_answers", &[]) == 0.0
                    && counted.sum("pollen_provider_calls_running", &[]) == 0.0
            })
            .await;
        house.server.terminate("-TERM").await;
    }
}
