//! `GET` and `DELETE /chat/message/{uuid}`, and its token poll.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Script, TestApp, Upstream, app::eventually};

on_both_databases! {
    async fn a_finished_answer_is_whole_at_once(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!(reader.text, "You said: one");
        let text = app.message(&answer).await;
        assert_eq!(text["content"], "You said: one");
        assert_eq!(text["position"], reader.position);
        assert_eq!(text["error"], json!(null));
        let poll = app.get(&format!("/chat/message/{answer}/tokens")).await.expect(200);
        insta::allow_duplicates! { insta::assert_snapshot!(poll.text, @r#"{"tokens":"You said: one","status":"completed","append":true,"position":13,"poll_after_ms":2000}"#); }
        app.stop().await;
    }

    async fn the_users_own_message_can_be_polled_too(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "mine").await;
        app.settle().await;
        assert_eq!(app.read(&message).await.text, "mine");
        app.stop().await;
    }

    async fn a_message_that_waits_can_be_taken_back(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().wait(&gate).say(["first"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let first = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &first).await;
        let second = app.send(&chat, "two").await;
        app.delete(&format!("/chat/message/{second}")).await.expect(204);
        gate.cancel();
        app.read(&answer).await;
        app.settle().await;
        assert_eq!(app.upstream.received().len(), 1, "nobody answers what was taken back");
        app.stop().await;
    }

    async fn an_answer_that_is_being_written_is_not_deleted(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["half"]).wait(&gate).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        let refused = app.delete(&format!("/chat/message/{answer}")).await.expect(409);
        assert_eq!(refused.json()["type"], "/problems/still-written");
        gate.cancel();
        assert_eq!(app.read(&answer).await.text, "half");
        app.stop().await;
    }

    async fn a_long_answer_comes_in_pieces_and_ends_with_the_last(kind: Kind) {
        const LIMIT: usize = 256 * 1024;
        let piece = "ŧöķəñ ".repeat(1_000);
        let whole = piece.repeat(60);
        let app = TestApp::start(kind, Upstream::start(move |_| Script::answer(vec![piece.clone(); 60])).await).await;
        let (_, answer, reader) = app.ask("long").await;
        assert!(reader.text == whole, "all of {} bytes", whole.len());
        let (mut text, mut position, mut rounds) = (String::new(), 0, 0);
        loop {
            let poll = app.tokens(&answer, position).await;
            let tokens = poll["tokens"].as_str().unwrap();
            assert!(tokens.len() <= LIMIT);
            text.push_str(tokens);
            position = poll["position"].as_u64().unwrap();
            rounds += 1;
            if poll["status"] == "completed" {
                break;
            }
            assert_eq!(poll["poll_after_ms"], 0, "there is more at once");
        }
        assert_eq!((text == whole, rounds), (true, whole.len().div_ceil(LIMIT)));
        let message = app.message(&answer).await;
        assert_eq!(message["truncated"], true);
        assert!(whole.starts_with(message["content"].as_str().unwrap()));
        app.stop().await;
    }

    async fn the_ledger_is_empty_when_the_answer_is_stored(kind: Kind) {
        use sea_orm::{EntityTrait, PaginatorTrait};
        let gate = CancellationToken::new();
        let script = Script::stream().say(["half ", "an "]).wait(&gate).say(["answer"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        let db = app.database.connect().await;
        let rows = async || entity::token_ledger::Entity::find().count(&db).await.unwrap();
        eventually("the flush", async || (rows().await > 0).then_some(())).await;
        gate.cancel();
        assert_eq!(app.read(&answer).await.text, "half an answer");
        eventually("the purge", async || (rows().await == 0).then_some(())).await;
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn usage_and_model_are_recorded(kind: Kind) {
        use sea_orm::EntityTrait;
        let app = TestApp::start(kind, Upstream::echo().await).await;
        app.ask("one").await;
        let db = app.database.connect().await;
        let request = entity::llm_request::Entity::find().one(&db).await.unwrap().unwrap();
        assert_eq!((request.input_tokens, request.output_tokens), (Some(7), Some(11)));
        assert_eq!(request.provider.as_deref(), Some("openai"));
        assert_eq!(request.model.as_deref(), Some("scripted-model"));
        assert_eq!(request.finish_reason.as_deref(), Some("stop"));
        assert!(request.first_token_at >= request.started_at && request.finished_at >= request.first_token_at);
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn deleting_a_question_stops_its_answer(kind: Kind) {
        let script = Script::stream().say(["half "]).wait(&CancellationToken::new()).finish();
        let app = TestApp::start(kind, Upstream::scripted([script, Script::answer(["x"])]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "half ").await;
        app.delete(&format!("/chat/message/{message}")).await.expect(204);
        app.upstream.received()[0].gone.cancelled().await;
        let reader = app.read(&answer).await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("cancelled", "half "));
        assert_eq!(app.get(&format!("/chat/{chat}")).await.json()["status"], "waiting_for_user");
        app.stop().await;
    }
}
