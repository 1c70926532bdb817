//! The response cache at work.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::process::Server;
use crate::support::remote::Remote;
use crate::support::upstream::finish;
use crate::support::{Database, Redis, Script, TestApp, Upstream};

const FILE: &str =
    "[[model]]\nid = \"scripted-model\"\ncache = true\nprice_in = 1.0\nprice_out = 1.0\n";

async fn start(kind: Kind, upstream: Upstream, more: &str) -> TestApp {
    let database = Database::create(kind).await;
    let path = database.dir().join("pollen.toml");
    std::fs::write(&path, format!("{more}{FILE}")).unwrap();
    TestApp::start_with_file(database, upstream, &path).await
}

/// So many ask the same, each once the one before is shown half of the answer.
async fn half_shown(app: &TestApp, count: usize) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..count {
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "half ").await;
        answers.push(answer);
    }
    answers
}

on_both_databases! {
    async fn the_same_question_is_answered_once_and_marked(kind: Kind) {
        let app = start(kind, Upstream::echo().await, "").await;
        let (_, first, _) = app.ask("one").await;
        let (_, second, reader) = app.ask("one").await;
        assert_eq!((reader.text.as_str(), reader.status.as_str()), ("You said: one", "completed"));
        let cached = |message: &serde_json::Value| message["cached"].clone();
        assert_eq!(cached(&app.message(&first).await), false);
        assert_eq!(cached(&app.message(&second).await), true);
        assert_eq!(app.upstream.received().len(), 1);
        app.ask("two").await;
        assert_eq!(app.upstream.received().len(), 2, "another question is another one");
        let total = app.get("/usage").await.json()["total"].clone();
        assert_eq!((&total["cache_hits"], &total["cache_lookups"], &total["saved_tokens"]), (&json!(1), &json!(3), &json!(18)));
        assert_eq!((&total["input_tokens"], &total["output_tokens"]), (&json!(14), &json!(22)), "what was saved is not counted");
        app.post_bare(&format!("/chat/message/{second}/regenerate")).await.expect(202);
        app.read(&second).await;
        assert_eq!(app.upstream.received().len(), 3, "whoever regenerates wants another one");
        let body = json!({"message": "one"});
        let fresh = app.request(reqwest::Method::POST, "/chat/create", |r| r.header("cache-control", "no-cache").json(&body)).await.expect(201).json();
        let chat = fresh["uuid"].as_str().unwrap();
        let answer = app.answer_to(chat, fresh["message"]["uuid"].as_str().unwrap()).await;
        app.read(&answer).await;
        assert_eq!(app.upstream.received().len(), 4);
        app.stop().await;
    }

    async fn what_was_said_in_a_chat_that_is_deleted_is_said_to_nobody_else(kind: Kind) {
        let app = start(kind, Upstream::echo().await, "").await;
        let (chat, ..) = app.ask("one").await;
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        let (chat, answer, reader) = app.ask("one").await;
        assert_eq!(reader.text, "You said: one");
        assert_eq!(app.message(&answer).await["cached"], false);
        app.delete(&format!("/chat/message/{answer}")).await.expect(204);
        let (other, ..) = app.ask("one").await;
        assert_eq!(app.upstream.received().len(), 3);
        // Nobody else's deletion makes a difference.
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        app.ask("one").await;
        assert_eq!(app.upstream.received().len(), 3);
        app.get(&format!("/chat/{other}")).await.expect(200);
        app.stop().await;
    }

    async fn without_a_word_in_the_file_there_is_no_cache(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        app.ask("one").await;
        let (_, answer, _) = app.ask("one").await;
        assert_eq!(app.upstream.received().len(), 2);
        assert_eq!(app.message(&answer).await["cached"], false);
        assert_eq!(app.get("/usage").await.json()["total"]["cache_lookups"], 0);
        app.stop().await;
    }

    async fn a_model_s_answers_are_kept_for_its_time(kind: Kind) {
        let upstream = Upstream::echo().await;
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        std::fs::write(&path, format!("{FILE}cache_ttl_ms = 1000\n")).unwrap();
        let app = TestApp::start_with_file(database, upstream, &path).await;
        eventually("the answer is kept", async || {
            let (_, answer, _) = app.ask("one").await;
            (app.message(&answer).await["cached"] == true).then_some(())
        })
        .await;
        let asked = app.upstream.received().len();
        eventually("the answer is too old", async || {
            app.ask("one").await;
            (app.upstream.received().len() == asked + 1).then_some(())
        })
        .await;
        app.stop().await;
    }

    async fn whoever_wants_none_of_it_says_so_with_each_request(kind: Kind) {
        let scripts = [Script::answer(["first"]), Script::json(400, &json!({"error": {"message": "no"}})),
            Script::answer(["second"]), Script::answer(["third"]), Script::answer(["fourth"])];
        let app = start(kind, Upstream::scripted(scripts).await, "").await;
        let (chat, ..) = app.ask("one").await;
        let with = async |path: String, method: reqwest::Method, control: &str, body: &serde_json::Value| {
            let answer = app.request(method, &path, |r| r.header("cache-control", control).json(body)).await;
            answer.expect(202).json()["message"].clone()
        };
        let post = reqwest::Method::POST;
        // A send: the model fails.
        let other = app.create_chat().await;
        let sent = with(format!("/chat/{other}/send"), post.clone(), "no-store", &json!({"message": "one"})).await;
        let answer = app.answer_to(&other, sent["uuid"].as_str().unwrap()).await;
        assert_eq!(app.read(&answer).await.status, "failed");
        // A retry: its own answer, and nobody else gets it.
        with(format!("/chat/message/{answer}/retry"), post, "max-age=0, No-Store", &json!({})).await;
        assert_eq!(app.read(&answer).await.text, "second");
        assert_eq!(app.ask("one").await.2.text, "first", "what was not to be stored was not");
        // An edit: its own answer, which the next one gets.
        let messages = app.messages(&chat).await;
        let question = messages[0]["uuid"].as_str().unwrap().to_owned();
        let body = json!({"message": "two"});
        let edited = with(format!("/chat/message/{question}"), reqwest::Method::PUT, "no-cache", &body).await;
        let answer = app.answer_to(&chat, edited["uuid"].as_str().unwrap()).await;
        assert_eq!(app.read(&answer).await.text, "third");
        assert_eq!(app.ask("two").await.2.text, "third");
        assert_eq!(app.upstream.received().len(), 4);
        app.stop().await;
    }

    async fn an_edit_of_what_waits_and_the_command_to_retry_say_so_too(kind: Kind) {
        let gate = CancellationToken::new();
        let scripts = [Script::answer(["first"]), Script::answer(["second"]), Script::stream().wait(&gate).say(["first"]).finish(),
            Script::answer(["third"]), Script::json(400, &json!({"error": {"message": "no"}})), Script::answer(["fourth"]), Script::answer(["fifth"])];
        let app = start(kind, Upstream::scripted(scripts).await, "").await;
        let fresh = async |method: reqwest::Method, path: String, words: &str| {
            let body = json!({"message": words});
            let sent = app.request(method, &path, |r| r.header("cache-control", "no-cache").json(&body)).await;
            sent.expect(202).json()["message"]["uuid"].as_str().unwrap().to_owned()
        };
        let (chat, ..) = app.ask("one").await;
        assert_eq!(app.ask_in(&chat, "two").await.1.text, "second");
        // The same conversation, in which the second question waits while it is edited.
        let chat = app.create_chat().await;
        fresh(reqwest::Method::POST, format!("/chat/{chat}/send"), "one").await;
        let waits = app.send(&chat, "three").await;
        fresh(reqwest::Method::PUT, format!("/chat/message/{waits}"), "two").await;
        gate.cancel();
        let answer = app.answer_to(&chat, &waits).await;
        assert_eq!(app.read(&answer).await.text, "third");
        // What failed here has an answer by the time it is asked again.
        let (chat, answer, reader) = app.ask("four").await;
        assert_eq!(reader.status, "failed");
        assert_eq!(app.ask("four").await.2.text, "fourth");
        fresh(reqwest::Method::POST, format!("/chat/{chat}/send"), "/retry").await;
        assert_eq!(app.read(&answer).await.text, "fifth");
        app.stop().await;
    }

    async fn who_listens_shares_the_fate_but_for_a_stop(kind: Kind) {
        let gates = [CancellationToken::new(), CancellationToken::new()];
        let scripts = [
            Script::stream().say(["a "]).wait(&gates[0]).raw("data: {\"error\": {\"message\": \"no more\", \"code\": \"insufficient_quota\"}}\n\n"),
            Script::stream().say(["half "]).wait(&gates[1]).finish(),
            Script::answer(["whole"]),
        ];
        let app = start(kind, Upstream::scripted(scripts).await, "").await;
        // The first is being answered when the second asks the same.
        let two = async |question: &str, begins: &str| {
            let mut answers = Vec::new();
            for _ in 0..2 {
                let chat = app.create_chat().await;
                let message = app.send(&chat, question).await;
                let answer = app.answer_to(&chat, &message).await;
                app.read_until(&answer, begins).await;
                answers.push(answer);
            }
            answers
        };
        let failed = two("one", "a ").await;
        gates[0].cancel();
        for answer in &failed {
            let reader = app.read(answer).await;
            assert_eq!((reader.text.as_str(), reader.status.as_str()), ("a ", "failed"));
            let told = app.message(answer).await;
            assert_eq!((&told["error"]["code"], &told["cached"]), (&json!("provider_quota"), &json!(false)));
        }
        let used = async || {
            let total = app.get("/usage").await.json()["total"].clone();
            ["cache_hits", "cache_lookups", "saved_tokens", "attempts"].map(|key| total[key].as_i64().unwrap())
        };
        assert_eq!(used().await, [0, 1, 0, 2], "what failed was not had out of the cache");
        assert_eq!(app.upstream.received().len(), 1, "the other one is not told the same again");
        let stopped = two("two", "half ").await;
        let (leader, listener) = (&stopped[0], &stopped[1]);
        app.post_bare(&format!("/chat/message/{leader}/cancel")).await.expect(200);
        let reader = app.read(listener).await;
        assert_eq!((reader.text.as_str(), reader.status.as_str()), ("whole", "completed"));
        assert_eq!(app.message(leader).await["status"], "cancelled");
        app.settle().await;
        assert_eq!(used().await, [0, 3, 0, 5], "it was asked for twice, the second time by the listener");
        app.stop().await;
    }

    async fn who_was_left_alone_listens_to_nobody_else(kind: Kind) {
        let (never, gate) = (CancellationToken::new(), CancellationToken::new());
        let half = |gate| Script::stream().say(["half "]).wait(gate).say(["whole"]).finish();
        let scripts = [half(&never), half(&gate), half(&gate)];
        let app = start(kind, Upstream::scripted(scripts).await, "").await;
        let answers = half_shown(&app, 3).await;
        app.post_bare(&format!("/chat/message/{}/cancel", answers[0])).await.expect(200);
        eventually("each of the other two asks", async || {
            (app.upstream.received().len() == 3).then_some(())
        }).await;
        gate.cancel();
        for answer in &answers[1..] {
            let reader = app.read(answer).await;
            assert_eq!((reader.text.as_str(), reader.status.as_str()), ("half whole", "completed"));
        }
        app.stop().await;
    }

    async fn who_listens_to_a_call_of_a_tool_fails_like_its_leader(kind: Kind) {
        let gate = CancellationToken::new();
        let call = json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "search", "arguments": "{}"}}]}}]});
        let thought = json!({"choices": [{"delta": {"reasoning_content": "Hm."}}]});
        let script = Script::stream().raw(format!("data: {thought}\n\n")).wait(&gate)
            .raw(format!("data: {call}\n\n")).raw(finish("tool_calls"));
        let app = start(kind, Upstream::scripted([script]).await, "").await;
        let mut answers = Vec::new();
        for _ in 0..2 {
            let chat = app.create_chat().await;
            let message = app.send(&chat, "one").await;
            let answer = app.answer_to(&chat, &message).await;
            eventually("it thinks", async || {
                let path = format!("/chat/message/{answer}/tokens/0?reasoning=0");
                let poll = app.get(&path).await.expect(200).json();
                (poll["reasoning"]["tokens"] == "Hm.").then_some(())
            }).await;
            answers.push(answer);
        }
        gate.cancel();
        for answer in &answers {
            assert_eq!(app.read(answer).await.status, "failed");
            assert_eq!(app.message(answer).await["error"]["code"], "tool_called");
        }
        assert_eq!(app.upstream.received().len(), 1);
        app.stop().await;
    }

    async fn whoever_stops_listening_has_had_nothing_out_of_the_cache_and_pays_nothing(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["half "]).wait(&gate).say(["whole"]).finish();
        let app = start(kind, Upstream::start(move |_| script.clone()).await, "").await;
        let answers = half_shown(&app, 2).await;
        app.post_bare(&format!("/chat/message/{}/cancel", answers[1])).await.expect(200);
        let told = app.message(&answers[1]).await;
        assert_eq!((&told["status"], &told["cached"]), (&json!("cancelled"), &json!(false)));
        let total = app.get("/usage").await.json()["total"].clone();
        for key in ["cache_hits", "cache_lookups", "saved_tokens", "input_tokens", "output_tokens"] {
            assert_eq!(total[key], 0, "{key}: {total}");
        }
        assert_eq!(total["attempts"], 1);
        gate.cancel();
        assert_eq!(app.read(&answers[0]).await.text, "half whole");
        app.stop().await;
    }

    async fn two_at_once_call_the_model_once(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Script::stream().say(["half "]).wait(&held).say(["whole"]).finish()).await;
        let app = start(kind, upstream, "").await;
        let answers = half_shown(&app, 2).await;
        gate.cancel();
        for answer in answers {
            assert_eq!(app.read(&answer).await.text, "half whole");
        }
        assert_eq!(app.upstream.received().len(), 1);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_keeps_answers_and_its_death_in_the_middle_stops_none() {
    let mut redis = Redis::start().await;
    let more = with_redis(&redis);
    let app = start(Kind::Sqlite, Upstream::echo().await, &more).await;
    app.ask("one").await;
    app.ask("one").await;
    assert_eq!(app.upstream.received().len(), 1);
    redis.kill().await;
    for _ in 0..2 {
        let (_, _, reader) = app.ask("one").await;
        assert_eq!(reader.text, "You said: one");
    }
    assert_eq!(
        app.upstream.received().len(),
        3,
        "the model is asked while the cache is away"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_under_an_answer_and_comes_back_is_used_again() {
    let mut redis = Redis::start().await;
    let more = with_redis(&redis);
    let gate = CancellationToken::new();
    let script = Script::stream()
        .say(["half "])
        .wait(&gate)
        .say(["whole"])
        .finish();
    let upstream = Upstream::start(move |_| script.clone()).await;
    let app = start(Kind::Sqlite, upstream, &more).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "one").await;
    let answer = app.answer_to(&chat, &message).await;
    app.read_until(&answer, "half ").await;
    redis.kill().await;
    gate.cancel();
    let reader = app.read(&answer).await;
    assert_eq!(
        (reader.text.as_str(), reader.status.as_str()),
        ("half whole", "completed")
    );
    redis.start_again().await;
    eventually("the cache is used again", async || {
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!(reader.text, "half whole");
        (app.message(&answer).await["cached"] == true).then_some(())
    })
    .await;
    app.stop().await;
}

/// Several of the looks that a node takes for the answer of another.
const LOOKS: Duration = Duration::from_millis(500);

/// A machine that has other things to do is no reason to go without Redis.
fn with_redis(redis: &Redis) -> String {
    let url = redis.url();
    format!("redis_url = \"{url}\"\n[cache]\ntimeout_ms = 30000\n")
}

/// Two servers that have nothing in common but the model and a Redis.
async fn two_with_a_redis(upstream: &Upstream, redis: &Redis) -> (TestApp, TestApp) {
    let more = with_redis(redis);
    (
        start(Kind::Sqlite, upstream.clone(), &more).await,
        start(Kind::Sqlite, upstream.clone(), &more).await,
    )
}

/// Returns when a node has been looking for another's answer for some time.
async fn looks_again_and_again(redis: &Redis) {
    let mut connection = redis.connect().await;
    eventually("a node looks for the answer of another", async || {
        let info = redis::cmd("INFO").arg("commandstats").to_owned();
        let info: String = info.query_async(&mut connection).await.unwrap();
        let calls = info.split("cmdstat_mget:calls=").nth(1)?;
        let calls: u32 = calls.split(',').next()?.parse().unwrap();
        (calls > 6).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_at_once_call_the_model_once() {
    let redis = Redis::start().await;
    let gate = CancellationToken::new();
    let script = Script::stream()
        .say(["half "])
        .wait(&gate)
        .say(["whole"])
        .finish();
    let upstream = Upstream::start(move |_| script.clone()).await;
    let (here, there) = two_with_a_redis(&upstream, &redis).await;
    let (chat, first) = (here.create_chat().await, there.create_chat().await);
    let message = here.send(&chat, "one").await;
    let leads = here.answer_to(&chat, &message).await;
    here.read_until(&leads, "half ").await;
    let message = there.send(&first, "one").await;
    let waits = there.answer_to(&first, &message).await;
    looks_again_and_again(&redis).await;
    gate.cancel();
    assert_eq!(here.read(&leads).await.text, "half whole");
    assert_eq!(there.read(&waits).await.text, "half whole");
    assert_eq!(upstream.received().len(), 1);
    assert_eq!(there.message(&waits).await["cached"], true);
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_gives_up_leaves_the_question_to_the_other() {
    let redis = Redis::start().await;
    let never = CancellationToken::new();
    let scripts = [
        Script::stream().say(["half "]).wait(&never),
        Script::answer(["whole"]),
    ];
    let upstream = Upstream::scripted(scripts).await;
    let (here, there) = two_with_a_redis(&upstream, &redis).await;
    let chat = here.create_chat().await;
    let message = here.send(&chat, "one").await;
    let leads = here.answer_to(&chat, &message).await;
    here.read_until(&leads, "half ").await;
    let chat = there.create_chat().await;
    let message = there.send(&chat, "one").await;
    let waits = there.answer_to(&chat, &message).await;
    looks_again_and_again(&redis).await;
    here.post_bare(&format!("/chat/message/{leads}/cancel"))
        .await
        .expect(200);
    assert_eq!(there.read(&waits).await.text, "whole");
    assert_eq!(there.message(&waits).await["cached"], false);
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_nodes_that_are_left_alone_one_asks() {
    let redis = Redis::start().await;
    let (never, gate) = (CancellationToken::new(), CancellationToken::new());
    let half = |gate| {
        let begun = Script::stream().say(["half "]).wait(gate);
        begun.say(["whole"]).finish()
    };
    let scripts = [half(&never), half(&gate), half(&gate)];
    let upstream = Upstream::scripted(scripts).await;
    let (here, there) = two_with_a_redis(&upstream, &redis).await;
    let more = with_redis(&redis);
    let elsewhere = start(Kind::Sqlite, upstream.clone(), &more).await;
    let send = async |app: &TestApp| {
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        app.answer_to(&chat, &message).await
    };
    let leads = send(&here).await;
    here.read_until(&leads, "half ").await;
    let wait = [send(&there).await, send(&elsewhere).await];
    looks_again_and_again(&redis).await;
    here.post_bare(&format!("/chat/message/{leads}/cancel"))
        .await
        .expect(200);
    eventually("one of them asks", async || {
        (upstream.received().len() > 1).then_some(())
    })
    .await;
    // The other one would ask within the time between two looks.
    tokio::time::sleep(LOOKS).await;
    assert_eq!(upstream.received().len(), 2);
    gate.cancel();
    assert_eq!(there.read(&wait[0]).await.text, "half whole");
    assert_eq!(elsewhere.read(&wait[1]).await.text, "half whole");
    assert_eq!(upstream.received().len(), 2);
    for app in [here, there, elsewhere] {
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_misses_savings_and_faults_are_in_the_metrics() {
    let mut redis = Redis::start().await;
    let upstream = Upstream::echo().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pollen.toml"), FILE).unwrap();
    let (base_url, redis_url) = (upstream.base_url(), redis.url());
    let variables = [
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_BASE_URL", base_url.as_str()),
        ("OPENAI_MODEL", "scripted-model"),
        ("POLLEN_REDIS_URL", redis_url.as_str()),
        ("POLLEN_CACHE__TIMEOUT_MS", "30000"),
    ];
    let server = Server::start(dir.path(), &variables).await;
    let remote = Remote::of(&server.base);
    let ask = async || {
        let reader = remote.converse("one").await;
        assert_eq!(reader.text, "You said: one");
    };
    let metrics = async || {
        let response = reqwest::get(format!("{}/metrics", server.base))
            .await
            .unwrap();
        let kind = &response.headers()["content-type"];
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        response.text().await.unwrap()
    };
    let before = metrics().await;
    assert!(
        before.contains("pollen_cache_lookups_total{result=\"hit\"} 0\n"),
        "{before}"
    );
    for _ in 0..3 {
        ask().await;
    }
    let text = metrics().await;
    for line in [
        "# TYPE pollen_cache_lookups_total counter\n",
        "pollen_cache_lookups_total{result=\"hit\"} 2\n",
        "pollen_cache_lookups_total{result=\"miss\"} 1\n",
        "pollen_cache_saved_tokens_total 36\n",
        "pollen_cache_faults_total 0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    redis.kill().await;
    ask().await;
    let text = metrics().await;
    assert!(!text.contains("pollen_cache_faults_total 0\n"), "{text}");
    server.terminate("-TERM").await;
}
