//! `GET /usage`.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::upstream::{delta, finish};
use crate::support::{Database, Script, TestApp, Upstream};

/// The usage report, without the day that it was made on.
async fn total(app: &TestApp, by: &str) -> (Vec<(String, Value)>, Value) {
    let usage = app.get(&format!("/usage?by={by}")).await.expect(200).json();
    let rows = usage["rows"].as_array().unwrap().iter();
    let rows = rows
        .map(|row| {
            (
                row["name"].as_str().unwrap().to_owned(),
                row["input_tokens"].clone(),
            )
        })
        .collect();
    (rows, usage["total"].clone())
}

on_both_databases! {
    async fn what_the_provider_reports_is_summed_up(kind: Kind) {
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":30,\
            \"prompt_tokens_details\":{\"cached_tokens\":40},\"completion_tokens_details\":{\"reasoning_tokens\":12}}}\n\n";
        let upstream = Upstream::start(move |_| {
            Script::stream().raw(delta("hi")).raw(finish("stop")).raw(usage).raw("data: [DONE]\n\n")
        }).await;
        let database = Database::create(kind).await;
        let file = database.dir().join("pollen.toml");
        std::fs::write(&file, "[[model]]\nid = \"scripted-model\"\nprice_in = 2.0\nprice_out = 10.0\nprice_cached = 0.5\n").unwrap();
        let app = TestApp::start_with_file(database, upstream, &file).await;
        app.ask("one").await;
        app.ask("two").await;
        let (by_model, sum) = total(&app, "model").await;
        assert_eq!(by_model, [("scripted-model".to_owned(), json!(200))]);
        // 2 × (60 × 2.0 + 40 × 0.5 + 30 × 10.0) millionths.
        assert_eq!(sum, json!({"attempts": 2, "estimated": 0, "input_tokens": 200, "output_tokens": 60,
            "reasoning_tokens": 24, "cached_tokens": 80, "cache_hits": 0, "cache_lookups": 0, "saved_tokens": 0, "cost": 0.000_88}));
        let (by_chat, _) = total(&app, "chat").await;
        assert_eq!(by_chat, [("two".to_owned(), json!(100)), ("one".to_owned(), json!(100))]);
        let (by_day, _) = total(&app, "day").await;
        assert_eq!(by_day.len(), 1);
        assert!(chrono::NaiveDate::parse_from_str(&by_day[0].0, "%Y-%m-%d").is_ok(), "{by_day:?}");
        app.stop().await;
    }

    async fn aborted_answers_are_estimated_and_flagged(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let text = "12345678".repeat(10);
        let said = text.clone();
        let upstream = Upstream::start(move |_| Script::stream().say([&said]).wait(&held).finish()).await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "a question of 32 characters: why?").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, &text).await;
        app.post_bare(&format!("/chat/message/{answer}/cancel")).await.expect(200);
        let (_, sum) = total(&app, "day").await;
        assert_eq!((&sum["attempts"], &sum["estimated"], &sum["cost"]), (&json!(1), &json!(1), &json!(null)));
        assert_eq!((&sum["input_tokens"], &sum["output_tokens"]), (&json!(9), &json!(20)));
        app.stop().await;
    }

    async fn what_was_used_outlives_the_chat_also_when_it_ran(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Script::stream().say(["12345678"]).wait(&held).finish()).await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "1").await;
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        app.upstream.received()[0].gone.cancelled().await;
        let (by_chat, sum) = total(&app, "chat").await;
        assert_eq!(by_chat[0].0, "(deleted)");
        assert_eq!(sum["output_tokens"], 2);
        app.stop().await;
    }

    async fn a_call_that_never_came_about_costs_nothing(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([Script::json(401, &json!({}))]).await).await;
        app.ask("one").await;
        let (_, sum) = total(&app, "day").await;
        assert_eq!((&sum["attempts"], &sum["input_tokens"], &sum["estimated"]), (&json!(1), &json!(0), &json!(0)));
        app.stop().await;
    }

    async fn the_range_can_be_chosen_and_a_page_shows_it(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let past = app.get("/usage?from=2020-01-01&to=2020-02-01").await.expect(200).json();
        assert_eq!((&past["rows"], &past["from"], &past["to"]), (&json!([]), &json!("2020-01-01"), &json!("2020-02-01")));
        app.ask("one").await;
        let page = app.get_page("/usage?by=model").await.expect(200);
        assert!(page.text.contains("scripted-model") && page.text.contains("<table"), "{}", page.text);
        for bad in ["by=year", "from=yesterday", "to=2020-13-01", "from=2020-02-01&to=2020-01-01", "x=1"] {
            app.get(&format!("/usage?{bad}")).await.expect(400);
        }
        app.stop().await;
    }
}
