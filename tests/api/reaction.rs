//! `PUT`, `DELETE` and `POST /chat/message/{uuid}/reaction`.

use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Script, TestApp, Upstream};

async fn like(app: &TestApp, answer: &str, comment: &str) -> Value {
    let body = json!({"reaction": "like", "comment": comment});
    let path = format!("/chat/message/{answer}/reaction");
    app.put(&path, &body).await.expect(200).json()
}

on_both_databases! {
    async fn an_answer_can_be_liked_and_the_others_are_told(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let before = app.get(&format!("/chat/{chat}")).await.json();
        let path = format!("/chat/message/{answer}/reaction");
        assert_eq!(app.message(&answer).await["reaction"], Value::Null);
        let liked = app.put(&path, &json!({"reaction": "like"})).await.expect(200).json();
        assert_eq!(liked["reaction"], json!({"reaction": "like", "comment": null}));
        assert_eq!((&liked["content"], &liked["uuid"]), (&json!("You said: one"), &json!(answer)));
        let poll = format!("/chat/{chat}/messages/{answer}?revision={}", before["revision"]);
        assert_eq!(app.get(&poll).await.json()["messages"][0], liked, "P11");
        let disliked = app.put(&path, &json!({"reaction": "dislike", "comment": " Too <short>. "})).await.expect(200).json();
        assert_eq!(disliked["reaction"], json!({"reaction": "dislike", "comment": "Too <short>."}));
        let taken_back = app.delete(&path).await.expect(200).json();
        assert_eq!(taken_back["reaction"], Value::Null);
        let after = app.get(&format!("/chat/{chat}")).await.json();
        assert_eq!(after["revision"].as_i64(), before["revision"].as_i64().map(|r| r + 3));
        assert_eq!(after["updated_at"], before["updated_at"], "it stays where it is in the list");
        app.stop().await;
    }

    async fn the_same_reaction_again_changes_nothing(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let path = format!("/chat/message/{answer}/reaction");
        let revision = async || app.get(&format!("/chat/{chat}")).await.json()["revision"].clone();
        let none = revision().await;
        app.delete(&path).await.expect(200);
        assert_eq!(revision().await, none);
        let first = like(&app, &answer, "good").await;
        let liked = revision().await;
        assert_eq!(like(&app, &answer, "good").await, first);
        assert_eq!(revision().await, liked);
        like(&app, &answer, " ").await;
        assert_ne!(revision().await, liked, "another comment is another reaction");
        assert_eq!(app.message(&answer).await["reaction"]["comment"], Value::Null, "a blank one is none");
        app.stop().await;
    }

    async fn only_finished_answers_can_be_reacted_to(kind: Kind) {
        let gate = CancellationToken::new();
        let scripts = [Script::stream().say(["half"]).wait(&gate).finish(), Script::stream().say(["x"]).cut()];
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        let body = json!({"reaction": "like"});
        let refused = app.put(&format!("/chat/message/{answer}/reaction"), &body).await.expect(409).json();
        assert_eq!(refused["type"], "/problems/still-written");
        let refused = app.put(&format!("/chat/message/{message}/reaction"), &body).await.expect(409).json();
        assert_eq!(refused["type"], "/problems/wrong-state");
        gate.cancel();
        app.read(&answer).await;
        app.put(&format!("/chat/message/{chat}/reaction"), &body).await.expect(404);
        let (failed, _) = app.ask_in(&chat, "two").await;
        app.put(&format!("/chat/message/{failed}/reaction"), &body).await.expect(200);
        app.delete(&format!("/chat/message/{failed}")).await.expect(204);
        app.put(&format!("/chat/message/{failed}/reaction"), &body).await.expect(404);
        app.stop().await;
    }

    async fn what_is_no_reaction_is_refused(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (_, answer, _) = app.ask("one").await;
        let path = format!("/chat/message/{answer}/reaction");
        let comment = |text: &str| json!({"reaction": "like", "comment": text});
        app.put(&path, &comment(&"é".repeat(2_000))).await.expect(200);
        let bodies = [
            comment(&"é".repeat(2_001)), comment("a\0b"), json!({"reaction": "none"}), json!({}),
            json!({"reaction": "like", "more": 1}),
        ];
        for body in bodies {
            let refused = app.put(&path, &body).await.expect(422).json();
            assert_eq!(refused["type"], "/problems/invalid-field", "{body}");
        }
        app.stop().await;
    }

    async fn each_version_has_a_reaction_of_its_own(kind: Kind) {
        let scripts = ["one", "two"].map(|text| Script::answer([text]));
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let (chat, answer, _) = app.ask("go").await;
        like(&app, &answer, "first").await;
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
        app.settle().await;
        assert_eq!(app.message(&answer).await["reaction"], Value::Null, "a new text has none");
        let select = async |number: i64| {
            let path = format!("/chat/message/{answer}/versions/{number}/select");
            app.post_bare(&path).await.expect(200).json()["reaction"]["comment"].clone()
        };
        like(&app, &answer, "second").await;
        assert_eq!(select(1).await, "first");
        like(&app, &answer, "first, on second thoughts").await;
        assert_eq!(select(2).await, "second");
        assert_eq!(select(1).await, "first, on second thoughts");
        assert_eq!(app.messages(&chat).await[1]["reaction"]["reaction"], "like");
        app.stop().await;
    }

    async fn a_page_without_script_reacts_with_a_form(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let path = format!("/chat/message/{answer}/reaction");
        let form = |reaction| [("reaction", reaction), ("comment", "Well said")];
        let page = app
            .request(Method::POST, &path, |r| r.header("accept", "text/html").form(&form("dislike")))
            .await
            .expect(303);
        assert_eq!(page.header("location"), format!("/chat/{chat}#message-{answer}"));
        assert_eq!(app.message(&answer).await["reaction"], json!({"reaction": "dislike", "comment": "Well said"}));
        let card = app
            .request(Method::POST, &path, |r| r.header("hx-request", "true").form(&form("none")))
            .await
            .expect(200);
        assert!(card.text.contains(&format!("id=\"message-{answer}\"")), "{}", card.text);
        assert_eq!(app.message(&answer).await["reaction"], Value::Null);
        let posted = app.post(&path, &json!({"reaction": "like"})).await.expect(200).json();
        assert_eq!(posted["reaction"]["reaction"], "like");
        app.stop().await;
    }
}
