//! What of a conversation a model is sent when its window is too small for all of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::upstream::Received;
use crate::support::{Database, Script, TestApp, Upstream};

async fn start(kind: Kind, upstream: Upstream, file: &str) -> TestApp {
    let database = Database::create(kind).await;
    let path = database.dir().join("pollen.toml");
    std::fs::write(&path, file).unwrap();
    TestApp::start_with_file(database, upstream, &path).await
}

const SUMMARISE: &str = "[context]\nwhen_full = \"summarise\"\n[[model]]\nid = \"scripted-model\"\ncontext_window = 2000\n";

fn is_summary(request: &Received) -> bool {
    request.turns()[0].1.starts_with("Summarise")
}

fn words(n: usize, count: usize) -> String {
    format!("{n} {}", "word ".repeat(count))
}

/// So many UUIDs, always the same ones.
fn ids(n: u128, count: u128) -> String {
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let id = |place: u128| uuid::Uuid::from_u128((100 * n + place + 1).wrapping_mul(SPREAD));
    let ids: Vec<String> = (0..count).map(|place| id(place).to_string()).collect();
    ids.join(" ")
}

on_both_databases! {
    async fn what_does_not_fit_the_window_is_left_out_and_the_answer_says_so(kind: Kind) {
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        std::fs::write(&path, "[[model]]\nid = \"scripted-model\"\ncontext_window = 400\n").unwrap();
        let app = TestApp::start_with_file(database, Upstream::start(|_| Script::answer(["yes"])).await, &path).await;
        let chat = app.create_chat().await;
        for n in 0..4 {
            let message = app.send(&chat, &format!("{n} {}", "word ".repeat(80))).await;
            let answer = app.answer_to(&chat, &message).await;
            app.read(&answer).await;
        }
        let turns = app.upstream.received().pop().unwrap().turns();
        assert_eq!(turns.len(), 3, "{turns:?}");
        assert!(turns[0].1.starts_with('2') && turns[2].1.starts_with('3'), "{turns:?}");
        let last = app.messages(&chat).await.pop().unwrap();
        assert_eq!((&last["left_out"], &last["summarised"]), (&json!(4), &json!(false)));
        let message = app.send(&chat, &"word ".repeat(2_000)).await;
        let answer = app.answer_to(&chat, &message).await;
        assert_eq!(app.read(&answer).await.status, "failed");
        assert_eq!(app.message(&answer).await["error"]["code"], "context_too_long");
        app.stop().await;
    }

    async fn what_does_not_fit_is_summarised_if_so_configured(kind: Kind) {
        let upstream = Upstream::start(|request| {
            let is_summary = request.turns()[0].1.starts_with("Summarise");
            Script::answer([if is_summary { "they spoke of words" } else { "yes" }])
        }).await;
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        std::fs::write(&path, "[context]\nwhen_full = \"summarise\"\n[[model]]\nid = \"scripted-model\"\ncontext_window = 2000\n").unwrap();
        let app = TestApp::start_with_file(database, upstream, &path).await;
        let chat = app.create_chat().await;
        for n in 0..5 {
            let message = app.send(&chat, &format!("{n} {}", "word ".repeat(300))).await;
            let answer = app.answer_to(&chat, &message).await;
            app.read(&answer).await;
        }
        let asked = app.upstream.received();
        let summaries = asked.iter().filter(|r| r.turns()[0].1.starts_with("Summarise")).count();
        assert!((1..3).contains(&summaries), "not at every message: {summaries}");
        let turns = asked.last().unwrap().turns();
        assert!(turns[0].0 == "system" && turns[0].1.contains("they spoke of words"), "{turns:?}");
        let last = app.messages(&chat).await.pop().unwrap();
        assert_eq!(last["summarised"], true);
        app.stop().await;
    }

    async fn the_system_prompt_stays_when_the_oldest_go(kind: Kind) {
        let file = "[[model]]\nid = \"scripted-model\"\ncontext_window = 400\n";
        let app = start(kind, Upstream::start(|_| Script::answer(["yes"])).await, file).await;
        let chat = app.create_chat().await;
        app.send(&chat, "/system Be kind.").await;
        for n in 0..4 {
            app.ask_in(&chat, &words(n, 80)).await;
        }
        let turns = app.upstream.received().pop().unwrap().turns();
        assert_eq!(turns[0], ("system".to_owned(), "Be kind.".to_owned()));
        assert!(turns.len() == 4 && turns[1].1.starts_with('2'), "{turns:?}");
        app.stop().await;
    }

    async fn tokens_are_counted_by_the_model_s_own_tokenizer_where_it_is_known(kind: Kind) {
        let file = "[[model]]\nid = \"scripted-model\"\ncontext_window = 1000\n\
            [[model]]\nid = \"counted\"\nupstream = \"gpt-4o-mini\"\ncontext_window = 1000\n";
        let app = start(kind, Upstream::start(|_| Script::answer(["yes"])).await, file).await;
        // Six hundred tokens, of which a rule of thumb makes more than there is room for.
        let words = words(1, 600);
        for (model, status) in [("scripted-model", "failed"), ("counted", "completed")] {
            let body = json!({"model": model});
            let chat = app.post("/chat/create", &body).await.expect(201).json();
            let (answer, reader) = app.ask_in(chat["uuid"].as_str().unwrap(), &words).await;
            assert_eq!(reader.status, status, "{}", app.message(&answer).await);
        }
        app.stop().await;
    }

    async fn a_chat_full_of_ids_is_counted_though_a_rule_of_thumb_finds_room_for_it(kind: Kind) {
        let file = "[[model]]\nid = \"counted\"\nupstream = \"gpt-4\"\ncontext_window = 1000\n";
        let app = start(kind, Upstream::start(|_| Script::answer(["yes"])).await, file).await;
        let chat = app.post("/chat/create", &json!({"model": "counted"})).await.expect(201).json();
        let chat = chat["uuid"].as_str().unwrap();
        // Each is more than two hundred tokens, of which the rule of thumb makes about a hundred.
        for n in 0..4 {
            app.ask_in(chat, &ids(n, 10)).await;
        }
        let turns = app.upstream.received().pop().unwrap().turns();
        assert!(turns.len() < 7, "there is room for 750 tokens: {turns:?}");
        let last = app.messages(chat).await.pop().unwrap();
        assert!(last["left_out"].as_u64().unwrap() > 0, "{last}");
        let (answer, reader) = app.ask_in(chat, &ids(4, 40)).await;
        assert_eq!(reader.status, "failed");
        assert_eq!(app.message(&answer).await["error"]["code"], "context_too_long");
        app.stop().await;
    }

    async fn an_answer_cannot_be_allowed_the_whole_window(kind: Kind) {
        let file = "[[model]]\nid = \"scripted-model\"\ncontext_window = 1000\n[[model]]\nid = \"large\"\ncontext_window = 100000\n";
        let app = start(kind, Upstream::start(|_| Script::answer(["yes"])).await, file).await;
        let body = json!({"model": "scripted-model", "parameters": {"max_tokens": 1000}});
        let refused = app.post("/chat/create", &body).await.expect(422);
        assert!(refused.text.contains("`max_tokens` must be from 1 to 750"), "{}", refused.text);
        // What was asked of a larger model is cut down to what the smaller one can give.
        let body = json!({"model": "large", "parameters": {"max_tokens": 8000}});
        let chat = app.post("/chat/create", &body).await.expect(201).json();
        let chat = chat["uuid"].as_str().unwrap();
        app.send(chat, "/model scripted-model").await;
        assert_eq!(app.ask_in(chat, "one").await.1.status, "completed");
        assert_eq!(app.upstream.received()[0].body["max_tokens"], 750);
        app.stop().await;
    }

    async fn a_summary_counts_and_one_that_fails_costs_nothing_but_itself(kind: Kind) {
        let failing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let fails = failing.clone();
        let upstream = Upstream::start(move |request| {
            match (is_summary(request), fails.load(Ordering::Relaxed)) {
                (true, true) => Script::json(400, &json!({"error": {"message": "no"}})),
                (true, false) => Script::answer(["they spoke of words"]),
                _ => Script::answer(["yes"]),
            }
        }).await;
        let app = start(kind, upstream, SUMMARISE).await;
        let chat = app.create_chat().await;
        let left_out = async |answer: &str| {
            let answer = app.message(answer).await;
            (answer["summarised"].clone(), answer["left_out"].as_u64().unwrap())
        };
        let (mut last, mut n) = (String::new(), 0);
        while app.upstream.received().iter().filter(|r| is_summary(r)).count() == 0 {
            assert!(n < 10, "nothing was ever summarised");
            last = app.ask_in(&chat, &words(n, 300)).await.0;
            n += 1;
        }
        let (summarised, out) = left_out(&last).await;
        assert!(summarised == false && out > 0, "left out instead");
        failing.store(false, Ordering::Relaxed);
        let before = app.get("/usage").await.json()["total"]["input_tokens"].as_i64().unwrap();
        let calls = app.upstream.received().len();
        last = app.ask_in(&chat, "short").await.0;
        assert_eq!(left_out(&last).await.0, true);
        let after = app.get("/usage").await.json()["total"]["input_tokens"].as_i64().unwrap();
        // Each call reports seven tokens: those of the summary come on top of the answer's.
        let calls = app.upstream.received().len() - calls;
        assert!(calls > 1, "it was summarised");
        assert_eq!(after - before, 7 * i64::try_from(calls).unwrap());
        app.stop().await;
    }

    async fn a_summary_that_broke_off_is_none(kind: Kind) {
        let upstream = Upstream::start(|request| {
            if is_summary(request) {
                return Script::stream().say(["they spoke of"]);
            }
            Script::answer(["yes"])
        }).await;
        let app = start(kind, upstream, SUMMARISE).await;
        let chat = app.create_chat().await;
        for n in 0..5 {
            app.ask_in(&chat, &words(n, 300)).await;
        }
        let received = app.upstream.received();
        assert!(received.iter().any(is_summary));
        let told = received.iter().filter(|r| !is_summary(r)).any(|r| r.body.to_string().contains("they spoke"));
        assert!(!told, "half of it is told as if it were all");
        let last = app.messages(&chat).await.pop().unwrap();
        assert!(last["summarised"] == false && last["left_out"].as_u64().unwrap() > 0, "{last}");
        app.stop().await;
    }

    async fn a_summary_is_made_storable_and_cut_where_a_server_goes_on(kind: Kind) {
        let never = CancellationToken::new();
        let upstream = Upstream::start(move |request| {
            if is_summary(request) {
                return Script::stream().say(["they \0spoke ", &"on and ".repeat(1_000)]).wait(&never);
            }
            Script::answer(["yes"])
        }).await;
        let app = start(kind, upstream, SUMMARISE).await;
        let chat = app.create_chat().await;
        for n in 0..5 {
            assert_eq!(app.ask_in(&chat, &words(n, 300)).await.1.status, "completed");
        }
        let told = app.upstream.received().pop().unwrap().turns()[0].1.clone();
        assert!(told.contains("they \u{FFFD}spoke on and") && told.ends_with('…'), "{told}");
        assert!(told.chars().count() < 2_600, "{}", told.len());
        app.stop().await;
    }

    async fn a_summary_that_cannot_be_stored_fails_no_answer(kind: Kind) {
        let upstream = Upstream::start(|request| {
            Script::answer([if is_summary(request) { "they spoke of words" } else { "yes" }])
        }).await;
        let app = start(kind, upstream, SUMMARISE).await;
        let refuse = match kind {
            Kind::Sqlite => "CREATE TRIGGER none BEFORE UPDATE OF summary ON chat WHEN NEW.summary IS NOT NULL BEGIN SELECT RAISE(ABORT, 'none'); END",
            Kind::Postgres => "ALTER TABLE chat ADD CONSTRAINT none CHECK (summary IS NULL)",
        };
        let db = app.database.connect().await;
        db.execute_unprepared(refuse).await.unwrap();
        db.close().await.unwrap();
        let chat = app.create_chat().await;
        for n in 0..5 {
            assert_eq!(app.ask_in(&chat, &words(n, 300)).await.1.status, "completed");
        }
        assert!(app.upstream.received().iter().any(is_summary));
        let last = app.messages(&chat).await.pop().unwrap();
        assert!(last["summarised"] == false && last["left_out"].as_u64().unwrap() > 0, "{last}");
        app.stop().await;
    }

    async fn a_summary_is_forgotten_with_what_it_is_of(kind: Kind) {
        let made = std::sync::Arc::new(AtomicUsize::new(0));
        let upstream = Upstream::start(move |request| {
            if is_summary(request) {
                let n = made.fetch_add(1, Ordering::Relaxed);
                return Script::answer([format!("summary {n}")]);
            }
            Script::answer(["yes"])
        }).await;
        let app = start(kind, upstream, SUMMARISE).await;
        let chat = app.create_chat().await;
        let mut answers = Vec::new();
        for n in 0..5 {
            answers.push(app.ask_in(&chat, &words(n, 300)).await.0);
        }
        let told = || app.upstream.received().pop().unwrap().turns()[0].1.clone();
        app.ask_in(&chat, "short").await;
        let first = told();
        assert!(first.contains("summary 0") || first.contains("summary 1"), "{first}");
        app.ask_in(&chat, "short").await;
        assert_eq!(told(), first, "it holds");
        // An answer, whose place is behind its question's.
        app.delete(&format!("/chat/message/{}", answers[0])).await.expect(204);
        app.ask_in(&chat, "short").await;
        assert_ne!(told(), first, "what was deleted is in no summary any more");
        app.stop().await;
    }

    async fn what_was_queued_is_in_the_summary_or_in_the_history(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| {
            if is_summary(request) {
                return Script::answer(["they spoke"]);
            }
            Script::stream().wait(&held).say(["yes"]).finish()
        }).await;
        let app = start(kind, upstream, SUMMARISE).await;
        let chat = app.create_chat().await;
        // All questions stand before all answers.
        let mut sent = Vec::new();
        for n in 0..5 {
            sent.push(app.send(&chat, &words(n, 300)).await);
        }
        gate.cancel();
        for message in &sent {
            let answer = app.answer_to(&chat, message).await;
            assert_eq!(app.read(&answer).await.status, "completed");
        }
        app.ask_in(&chat, "short").await;
        let received = app.upstream.received();
        let summarised: String = received.iter().filter(|r| is_summary(r)).map(|r| r.turns()[1].1.clone()).collect();
        let turns = received.last().unwrap().turns();
        assert_eq!(turns[0].0, "system");
        for n in 0..5 {
            let begins = format!("{n} word");
            let is_sent = turns.iter().any(|(role, text)| role == "user" && text.starts_with(&begins));
            let is_told = summarised.contains(&format!("User: {begins}"));
            assert!(is_sent != is_told, "{n}: sent {is_sent}, told {is_told}");
        }
        // No answer stands there without its question.
        for pair in turns[1..].windows(2) {
            assert_ne!(pair[0].0, pair[1].0, "{turns:?}");
        }
        assert_eq!(turns[1].0, "user");
        app.stop().await;
    }
}
