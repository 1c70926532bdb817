//! `GET /chat/message/{uuid}/about`.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Database, Script, TestApp, Upstream};

/// The counts of an answer, and whether they are estimated.
fn counts(about: &Value) -> (&Value, &Value, &Value) {
    (
        &about["input_tokens"],
        &about["output_tokens"],
        &about["estimated"],
    )
}

on_both_databases! {
    async fn who_wrote_an_answer_and_what_it_took_is_told(kind: Kind) {
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        std::fs::write(&path, "[[model]]\nid = \"scripted-model\"\nprice_in = 1000.0\nprice_out = 2000.0\n").unwrap();
        let app = TestApp::start_with_file(database, Upstream::echo().await, &path).await;
        let (_, answer, _) = app.ask("one").await;
        let about = app.get(&format!("/chat/message/{answer}/about")).await.expect(200).json();
        for (key, value) in [
            ("message_uuid", json!(answer)), ("model", json!("scripted-model")), ("provider", json!("openai")),
            ("finish_reason", json!("stop")), ("cached", json!(false)), ("attempts", json!(1)),
            ("input_tokens", json!(7)), ("output_tokens", json!(11)), ("reasoning_tokens", json!(0)),
            ("cached_tokens", json!(0)), ("estimated", json!(false)), ("cost", json!(0.029)),
        ] {
            assert_eq!(about[key], value, "{key}");
        }
        let (first, whole) = (about["first_token_ms"].as_i64().unwrap(), about["duration_ms"].as_i64().unwrap());
        assert!((0..=whole).contains(&first), "{about}");
        app.stop().await;
    }

    async fn it_is_told_of_the_version_that_is_shown(kind: Kind) {
        let gate = CancellationToken::new();
        let without_counts = Script::stream().say(["abcdefgh"]).wait(&gate).cut();
        let app = TestApp::start(kind, Upstream::scripted([Script::answer(["one"]), without_counts]).await).await;
        let (_, answer, _) = app.ask("go").await;
        let path = format!("/chat/message/{answer}/about");
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
        app.read_until(&answer, "abc").await;
        let running = app.get(&path).await.expect(200).json();
        assert_eq!((&running["model"], &running["attempts"]), (&json!("scripted-model"), &Value::Null));
        gate.cancel();
        app.settle().await;
        let failed = app.get(&path).await.expect(200).json();
        assert_eq!((&failed["output_tokens"], &failed["estimated"]), (&json!(2), &json!(true)));
        app.post_bare(&format!("/chat/message/{answer}/versions/1/select")).await.expect(200);
        let about = app.get(&path).await.expect(200).json();
        assert_eq!(counts(&about), (&json!(7), &json!(11), &json!(false)));
        app.stop().await;
    }

    async fn attempts_are_counted_together(kind: Kind) {
        let scripts = [Script::stream().say(["abcdefgh"]).cut(), Script::answer(["done"])];
        let settings = [("worker.on_broken_answer", "replace")];
        let app = TestApp::start_with(kind, Upstream::scripted(scripts).await, &settings).await;
        let (_, answer, reader) = app.ask("go").await;
        assert_eq!(reader.text, "done");
        let about = app.get(&format!("/chat/message/{answer}/about")).await.expect(200).json();
        assert_eq!((&about["attempts"], &about["output_tokens"], &about["estimated"]), (&json!(2), &json!(13), &json!(true)));
        app.stop().await;
    }

    async fn of_what_is_no_answer_there_is_nothing_to_tell(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let question = app.messages(&chat).await[0]["uuid"].as_str().unwrap().to_owned();
        let refused = app.get(&format!("/chat/message/{question}/about")).await.expect(409).json();
        assert_eq!(refused["type"], "/problems/wrong-state");
        app.get(&format!("/chat/message/{chat}/about")).await.expect(404);
        app.delete(&format!("/chat/message/{answer}")).await.expect(204);
        app.get(&format!("/chat/message/{answer}/about")).await.expect(404);
        app.stop().await;
    }
}
