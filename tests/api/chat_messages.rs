//! `GET /chat/{uuid}/messages[/{last_uuid}]`: rules P8 to P11 of the polling protocol.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Script, TestApp, Upstream};

fn uuids(poll: &Value) -> Vec<String> {
    let messages = poll["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|m| m["uuid"].as_str().unwrap().to_owned())
        .collect()
}

on_both_databases! {
    async fn the_cursor_gives_what_came_after_it(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, first_answer, _) = app.ask("one").await;
        let second = app.send(&chat, "two").await;
        let second_answer = app.answer_to(&chat, &second).await;
        app.read(&second_answer).await;
        let poll = app.get(&format!("/chat/{chat}/messages/{first_answer}")).await.expect(200).json();
        assert_eq!(uuids(&poll), [second, second_answer.clone()]);
        assert_eq!(poll["last_uuid"], second_answer.as_str());
        assert_eq!(poll["has_more"], false);
        let quiet = app.get(&format!("/chat/{chat}/messages/{second_answer}")).await.expect(200).json();
        assert_eq!(uuids(&quiet), [""; 0]);
        assert_eq!(quiet["last_uuid"], second_answer.as_str(), "the cursor stays where it was");
        assert!(quiet["poll_after_ms"].as_u64() > Some(300), "nothing is going on: {quiet}");
        let slash = app.get(&format!("/chat/{chat}/messages/")).await.expect(200).json();
        assert_eq!(uuids(&slash).len(), 4);
        app.stop().await;
    }

    async fn a_poll_of_a_pending_answer_carries_its_text_so_far(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["Grüß "]).wait(&gate).say(["dich"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "Hello").await;
        let answer = app.answer_to(&chat, &message).await;
        let seen = app.read_until(&answer, "Grüß ").await;
        let poll = app.get(&format!("/chat/{chat}/messages/{message}")).await.expect(200).json();
        assert_eq!(poll["messages"][0]["content"], "Grüß ");
        assert_eq!(poll["messages"][0]["position"], seen.position);
        assert_eq!(poll["poll_after_ms"], 300);
        gate.cancel();
        let rest = app.tokens(&answer, seen.position).await;
        assert_eq!(rest["append"], true);
        app.stop().await;
    }

    async fn a_deleted_message_is_still_a_cursor(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        app.delete(&format!("/chat/message/{answer}")).await.expect(204);
        app.get(&format!("/chat/message/{answer}")).await.expect(404);
        let second = app.send(&chat, "two").await;
        let poll = app.get(&format!("/chat/{chat}/messages/{answer}")).await.expect(200).json();
        assert_eq!(uuids(&poll)[0], second);
        app.settle().await;
        assert!(!app.messages(&chat).await.iter().any(|m| m["uuid"] == answer.as_str()));
        app.stop().await;
    }

    async fn a_cursor_of_another_chat_is_not_found_and_says_so(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (_, elsewhere, _) = app.ask("one").await;
        let chat = app.create_chat().await;
        let refused = app.get(&format!("/chat/{chat}/messages/{elsewhere}")).await.expect(404).json();
        assert_eq!(refused["type"], "/problems/cursor-not-found");
        app.stop().await;
    }

    async fn no_message_is_skipped_when_many_are_sent_at_once(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let path = format!("/chat/{chat}/send");
        let senders = async {
            let bodies: Vec<_> = (0..20).map(|n| json!({"message": format!("m{n}")})).collect();
            futures::future::join_all(bodies.iter().map(|body| app.post(&path, body))).await
        };
        let poller = async {
            let (mut seen, mut cursor) = (Vec::<String>::new(), String::new());
            while seen.len() < 40 {
                let poll = app.get(&format!("/chat/{chat}/messages/{cursor}")).await.expect(200).json();
                seen.extend(uuids(&poll));
                if let Some(last) = poll["last_uuid"].as_str() {
                    last.clone_into(&mut cursor);
                }
            }
            seen
        };
        let (sent, seen) = tokio::join!(senders, poller);
        for answer in sent {
            answer.expect(202);
        }
        let all: Vec<String> = app.messages(&chat).await.iter().map(|m| m["uuid"].as_str().unwrap().to_owned()).collect();
        assert_eq!(seen, all, "a poller sees each message once, in order");
        app.stop().await;
    }

    async fn a_long_chat_comes_in_pages(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let mut sent = Vec::new();
        for n in 0..120 {
            sent.push(app.send(&chat, &format!("m{n}")).await);
        }
        app.settle().await;
        let first = app.get(&format!("/chat/{chat}/messages")).await.expect(200).json();
        assert_eq!(uuids(&first).len(), 100);
        assert_eq!((&first["has_more"], &first["poll_after_ms"]), (&json!(true), &json!(0)));
        let (mut seen, mut poll) = (uuids(&first), first);
        while poll["has_more"] == true {
            let last = poll["last_uuid"].as_str().unwrap().to_owned();
            poll = app.get(&format!("/chat/{chat}/messages/{last}")).await.expect(200).json();
            seen.extend(uuids(&poll));
        }
        assert_eq!(seen.len(), 240);
        assert!(sent.iter().all(|uuid| seen.contains(uuid)));
        app.stop().await;
    }

    async fn one_answer_carries_at_most_256_kib_of_text(kind: Kind) {
        const LIMIT: usize = 256 * 1024;
        let settings = [("limits.message_bytes", "200000"), ("limits.body_bytes", "400000")];
        let app = TestApp::start_with(kind, Upstream::start(|_| Script::answer(["ok"])).await, &settings).await;
        let chat = app.create_chat().await;
        for n in 0..4 {
            app.send(&chat, &format!("{n}{}", "x".repeat(150_000))).await;
        }
        app.settle().await;
        let (mut seen, mut cursor, mut rounds) = (0, String::new(), 0);
        loop {
            let poll = app.get(&format!("/chat/{chat}/messages/{cursor}")).await.expect(200).json();
            let messages = poll["messages"].as_array().unwrap();
            let bytes: usize = messages.iter().map(|m| m["content"].as_str().unwrap().len()).sum();
            assert!(bytes <= LIMIT, "{bytes} bytes in one answer");
            assert!(messages.iter().all(|m| m["truncated"] == false));
            (seen, rounds) = (seen + messages.len(), rounds + 1);
            poll["last_uuid"].as_str().unwrap().clone_into(&mut cursor);
            if poll["has_more"] == false {
                break;
            }
        }
        assert_eq!((seen, rounds > 1), (8, true));
        app.stop().await;
    }

    async fn changes_to_messages_already_seen_reach_a_client_that_sends_its_revision(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().wait(&gate).say(["done"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "Hello").await;
        let answer = app.answer_to(&chat, &message).await;
        let seen = app.get(&format!("/chat/{chat}/messages")).await.json();
        let (cursor, revision) = (answer.clone(), seen["revision"].as_i64().unwrap());
        let path = |revision: i64| format!("/chat/{chat}/messages/{cursor}?revision={revision}");
        assert_eq!(uuids(&app.get(&path(revision)).await.json()), [""; 0], "nothing has changed yet");
        gate.cancel();
        app.read(&answer).await;
        let changed = app.get(&path(revision)).await.json();
        assert_eq!(uuids(&changed), [cursor.as_str()]);
        assert_eq!(changed["messages"][0]["status"], "completed");
        assert_eq!(changed["last_uuid"], cursor.as_str(), "a change does not move the cursor");
        let revision = changed["revision"].as_i64().unwrap();
        assert_eq!(uuids(&app.get(&path(revision)).await.json()), [""; 0], "told once");
        app.delete(&format!("/chat/message/{message}")).await.expect(204);
        let deleted = app.get(&path(revision)).await.json();
        assert_eq!(uuids(&deleted), [message]);
        assert_eq!((&deleted["messages"][0]["deleted"], &deleted["messages"][0]["content"]), (&json!(true), &json!("")));
        app.stop().await;
    }

    async fn changes_behind_a_long_answer_are_told_too(kind: Kind) {
        let gate = CancellationToken::new();
        let long = Script::stream().say(["x"]).wait(&gate).say(vec!["y".repeat(1_000); 300]).finish();
        let app = TestApp::start(kind, Upstream::scripted([long, Script::answer(["short"])]).await).await;
        let chat = app.create_chat().await;
        let first = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &first).await;
        let second = app.send(&chat, "two").await;
        let seen = app.get(&format!("/chat/{chat}/messages")).await.json();
        assert_eq!(uuids(&seen), [first.as_str(), answer.as_str(), second.as_str()]);
        gate.cancel();
        app.settle().await;
        let (mut poll, mut rounds, mut told) = (seen, 0, Vec::new());
        loop {
            let (cursor, revision) = (poll["last_uuid"].as_str().unwrap().to_owned(), poll["revision"].clone());
            poll = app.get(&format!("/chat/{chat}/messages/{cursor}?revision={revision}")).await.expect(200).json();
            told.extend(poll["messages"].as_array().unwrap().clone());
            rounds += 1;
            assert!(rounds < 10, "the poll makes no progress: {}", poll["revision"]);
            if poll["has_more"] == false {
                break;
            }
        }
        let status = |uuid: &str| told.iter().rev().find(|m| m["uuid"] == uuid).map(|m| m["status"].clone());
        assert_eq!(status(&answer), Some(json!("completed")));
        assert_eq!(status(&second), Some(json!("completed")));
        assert!(told.iter().any(|m| m["content"] == "short"), "the second answer came too");
        app.stop().await;
    }

    async fn a_message_behind_a_long_live_answer_comes_whole(kind: Kind) {
        let gate = CancellationToken::new();
        let long = Script::stream().say(vec!["y".repeat(1_000); 300]).wait(&gate).finish();
        let app = TestApp::start(kind, Upstream::scripted([long, Script::answer(["short"])]).await).await;
        let chat = app.create_chat().await;
        let first = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &first).await;
        app.read_until(&answer, &"y".repeat(300_000)).await;
        let second = app.send(&chat, "two").await;
        let poll = app.get(&format!("/chat/{chat}/messages/{first}")).await.expect(200).json();
        assert_eq!((uuids(&poll), &poll["has_more"]), (vec![answer.clone()], &json!(true)));
        assert_eq!(poll["messages"][0]["content"].as_str().unwrap().len(), 256 * 1024);
        let rest = app.get(&format!("/chat/{chat}/messages/{answer}")).await.expect(200).json();
        assert_eq!((uuids(&rest), &rest["has_more"]), (vec![second], &json!(false)));
        assert_eq!(rest["messages"][0]["content"], "two");
        gate.cancel();
        app.stop().await;
    }

    async fn every_answer_is_complete(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        for path in [
            format!("/chat/{chat}/messages"),
            format!("/chat/{chat}/messages/{answer}"),
            format!("/chat/message/{answer}/tokens/0"),
            format!("/chat/message/{answer}"),
            format!("/chat/{chat}"),
            "/chat/list".to_owned(),
        ] {
            for answer in [app.get(&path).await, app.get_fragment(&path).await] {
                assert_eq!(answer.header("cache-control"), "no-store", "{path}");
                assert_eq!(answer.header("transfer-encoding"), "", "{path}");
                if answer.status == 204 {
                    continue;
                }
                assert_eq!(answer.header("content-length"), answer.text.len().to_string(), "{path}");
            }
        }
        app.stop().await;
    }
}
