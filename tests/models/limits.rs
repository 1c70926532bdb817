//! Tiers: which models, how many tokens, how much money.

use serde_json::json;

use crate::support::database::Kind;
use crate::support::{Database, TestApp, Upstream};

async fn start(kind: Kind, tier: &str) -> TestApp {
    let database = Database::create(kind).await;
    let path = database.dir().join("pollen.toml");
    let file = format!(
        "default_tier = \"basic\"\n[[tier]]\nname = \"basic\"\n{tier}\n[[tier]]\nname = \"pro\"\n\
         [[model]]\nid = \"scripted-model\"\nprice_in = 100.0\nprice_out = 100.0\n[[model]]\nid = \"big\"\ntier = \"pro\"\n"
    );
    std::fs::write(&path, file).unwrap();
    TestApp::start_with_file(database, Upstream::echo().await, &path).await
}

on_both_databases! {
    async fn tokens_run_out_and_the_answer_says_until_when(kind: Kind) {
        let app = start(kind, "tokens_per_day = 30").await;
        app.ask("one").await;
        let (chat, answer, _) = app.ask("two").await;
        let path = format!("/chat/{chat}/send");
        let refused = app.post(&path, &json!({"message": "three"})).await.expect(429);
        let seconds: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=86_400).contains(&seconds), "{seconds}");
        assert!(refused.text.contains("30 tokens a day"), "{}", refused.text);
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(429);
        app.post("/chat/create", &json!({"message": "three"})).await.expect(429);
        app.post(&path, &json!({"message": "/usage"})).await.expect(202);
        let usage = app.get("/usage").await.json();
        assert_eq!((&usage["tier"], &usage["limits"][0]["used"], &usage["limits"][0]["limit"]), (&json!("basic"), &json!(36.0), &json!(30.0)));
        assert!(app.get_page("/usage").await.text.contains("36 of 30 tokens used this day"));
        app.stop().await;
    }

    async fn a_month_s_tokens_and_a_day_s_money_run_out_too(kind: Kind) {
        for (tier, status, told) in [
            ("tokens_per_month = 10", 429, "10 tokens a month"),
            ("cost_per_day = 0.001", 402, "0.001 of cost a day"),
        ] {
            let app = start(kind, tier).await;
            let (chat, _, _) = app.ask("one").await;
            let path = format!("/chat/{chat}/send");
            let refused = app.post(&path, &json!({"message": "two"})).await.expect(status);
            let seconds: u64 = refused.header("retry-after").parse().unwrap();
            assert!((1..=31 * 86_400).contains(&seconds), "{seconds}");
            assert!(refused.text.contains(told) && refused.text.contains("begins at 20"), "{}", refused.text);
            // An edit and a command that asks again cost as much.
            let question = app.messages(&chat).await[0]["uuid"].as_str().unwrap().to_owned();
            app.put(&format!("/chat/message/{question}"), &json!({"message": "three"})).await.expect(status);
            app.post(&path, &json!({"message": "/retry"})).await.expect(202);
            let reply = app.messages(&chat).await.pop().unwrap();
            assert!(reply["content"].as_str().unwrap().contains(told), "{reply}");
            assert_eq!(app.upstream.received().len(), 1);
            app.stop().await;
        }
    }

    async fn a_repeated_send_gets_its_first_answer_when_nothing_is_left(kind: Kind) {
        let app = start(kind, "tokens_per_day = 10").await;
        let chat = app.create_chat().await;
        let (path, body) = (format!("/chat/{chat}/send"), json!({"message": "one"}));
        let first = app.post_once(&path, "k", &body).await.expect(202).text;
        let uuid = app.messages(&chat).await[0]["uuid"].as_str().unwrap().to_owned();
        app.read(&app.answer_to(&chat, &uuid).await).await;
        app.post(&path, &json!({"message": "two"})).await.expect(429);
        assert_eq!(app.post_once(&path, "k", &body).await.expect(202).text, first);
        app.stop().await;
    }

    async fn money_runs_out_too_and_models_of_higher_tiers_are_refused(kind: Kind) {
        let app = start(kind, "cost_per_month = 0.001").await;
        let models = app.get("/models").await.text;
        assert!(models.contains("scripted-model") && !models.contains("\"big\""), "{models}");
        let refused = app.post("/chat/create", &json!({"model": "big"})).await.expect(403);
        assert!(refused.text.contains("\\\"pro\\\""), "{}", refused.text);
        app.ask("one").await;
        app.post("/chat/create", &json!({"message": "two"})).await.expect(402);
        app.stop().await;
    }
}
