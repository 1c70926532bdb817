//! `PUT /chat/message/{uuid}`: other words for a user message.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Script, TestApp, Upstream};

fn contents(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|m| m["content"].as_str().unwrap())
        .collect()
}

on_both_databases! {
    async fn an_edit_supersedes_what_followed_and_asks_again(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let mut uuids = Vec::new();
        for text in ["one", "two", "three"] {
            let message = app.send(&chat, text).await;
            let answer = app.answer_to(&chat, &message).await;
            app.read(&answer).await;
            uuids.extend([message, answer]);
        }
        let seen = app.get(&format!("/chat/{chat}")).await.json()["revision"].clone();
        let position = app.message(&uuids[2]).await["position"].as_u64().unwrap();
        let sent = app.put(&format!("/chat/message/{}", uuids[2]), &json!({"message": "two, please"})).await.expect(202).json();
        assert_eq!(sent["message"]["uuid"], uuids[2].as_str());
        assert!(sent["message"]["position"].as_u64().unwrap() > position, "P2");
        let answer = app.answer_to(&chat, &uuids[2]).await;
        assert!(!uuids.contains(&answer), "a new answer");
        app.read(&answer).await;
        let messages = app.messages(&chat).await;
        assert_eq!(contents(&messages), ["one", "You said: one", "two, please", "You said: two, please"]);
        let asked = app.upstream.received().pop().unwrap().turns();
        let texts: Vec<_> = asked.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["one", "You said: one", "two, please"]);
        // P11: a client that had seen them is told that they are gone; P10: they are still cursors.
        let poll = app.get(&format!("/chat/{chat}/messages/{}?revision={seen}", uuids[5])).await.expect(200).json();
        let gone: Vec<_> = poll["messages"].as_array().unwrap().iter()
            .filter(|m| m["superseded"] == true && m["deleted"] == true)
            .map(|m| m["uuid"].as_str().unwrap().to_owned()).collect();
        assert_eq!(gone, uuids[3..]);
        // Kept, not shown.
        assert_eq!(app.message(&uuids[3]).await["content"], "You said: two");
        app.put(&format!("/chat/message/{}", uuids[4]), &json!({"message": "three!"})).await.expect(404);
        let versions = app.get(&format!("/chat/message/{}/versions", uuids[2])).await.json();
        let texts: Vec<_> = versions["versions"].as_array().unwrap().iter().map(|v| v["content"].clone()).collect();
        assert_eq!(texts, ["two", "two, please"]);
        app.stop().await;
    }

    async fn a_message_that_waits_is_edited_where_it_stands(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| {
            Script::stream().wait(&held).say([format!("to {}", request.asked())]).finish()
        }).await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        let first = app.send(&chat, "one").await;
        let second = app.send(&chat, "two").await;
        app.answer_to(&chat, &first).await;
        let seen = app.get(&format!("/chat/{chat}")).await.json()["revision"].clone();
        let before = app.message(&second).await;
        let sent = app.put(&format!("/chat/message/{second}"), &json!({"message": "2"})).await.expect(202).json();
        assert_eq!(sent["request_uuid"], before["request_uuid"], "the request stays where it is in the queue");
        let poll = app.get(&format!("/chat/{chat}/messages/{second}?revision={seen}")).await.json();
        assert_eq!(poll["messages"][0]["content"], "2");
        gate.cancel();
        let answer = app.answer_to(&chat, &second).await;
        assert_eq!(app.read(&answer).await.text, "to 2");
        assert_eq!(app.upstream.received().len(), 2, "nothing was asked twice");
        app.stop().await;
    }

    async fn an_edit_stops_the_answer_that_is_under_way(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| match request.asked().as_str() {
            "one" => Script::stream().say(["slow "]).wait(&held).finish(),
            other => Script::answer([format!("to {other}")]),
        }).await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        app.send(&chat, "and later").await;
        app.read_until(&answer, "slow ").await;
        app.put(&format!("/chat/message/{message}"), &json!({"message": "ONE"})).await.expect(202);
        app.upstream.received()[0].gone.cancelled().await;
        app.settle().await;
        let messages = app.messages(&chat).await;
        assert_eq!(contents(&messages), ["ONE", "to ONE"], "what waited behind it is superseded too");
        let old = app.read(&answer).await;
        assert_eq!((old.status.as_str(), old.text.as_str()), ("cancelled", "slow "));
        app.stop().await;
    }

    async fn what_cannot_be_edited_is_refused(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read(&answer).await;
        let refused = app.put(&format!("/chat/message/{answer}"), &json!({"message": "mine"})).await.expect(409).json();
        assert_eq!(refused["type"], "/problems/wrong-state");
        app.put(&format!("/chat/message/{message}"), &json!({"message": " "})).await.expect(422);
        app.put(&format!("/chat/message/{message}"), &json!({"text": "x"})).await.expect(422);
        app.delete(&format!("/chat/message/{message}")).await.expect(204);
        app.put(&format!("/chat/message/{message}"), &json!({"message": "x"})).await.expect(404);
        app.stop().await;
    }

    async fn the_same_words_once_more_change_nothing(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, _, _) = app.ask("one").await;
        let message = app.messages(&chat).await[0]["uuid"].as_str().unwrap().to_owned();
        let path = format!("/chat/message/{message}");
        let first = app.put(&path, &json!({"message": "two"})).await.expect(202).json();
        app.settle().await;
        let second = app.put(&path, &json!({"message": "two"})).await.expect(202).json();
        assert_eq!(first["request_uuid"], second["request_uuid"]);
        assert_eq!(app.upstream.received().len(), 2, "asked once more, not twice");
        app.stop().await;
    }

    async fn many_edits_at_once_leave_one_answer_and_all_the_words(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, _, _) = app.ask("one").await;
        let message = app.messages(&chat).await[0]["uuid"].as_str().unwrap().to_owned();
        let path = format!("/chat/message/{message}");
        let bodies: Vec<_> = (0..6).map(|n| json!({"message": format!("words {n}")})).collect();
        for edited in futures::future::join_all(bodies.iter().map(|body| app.put(&path, body))).await {
            edited.expect(202);
        }
        app.settle().await;
        let messages = app.messages(&chat).await;
        assert_eq!(messages.len(), 2, "{messages:?}");
        let words = messages[0]["content"].as_str().unwrap();
        assert_eq!(messages[1]["content"], format!("You said: {words}"));
        let versions = app.get(&format!("{path}/versions")).await.json();
        let versions = versions["versions"].as_array().unwrap();
        assert!(versions.iter().all(|version| version["status"] == "completed"), "{versions:?}");
        app.stop().await;
    }
}
