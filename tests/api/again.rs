//! `POST …/retry`, `POST …/regenerate`, `GET …/versions`, `POST …/versions/{n}/select`.

use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Reader, Script, TestApp, Upstream};

fn fails() -> Script {
    Script::stream().say(["so far"]).cut()
}

on_both_databases! {
    async fn a_poll_after_a_retry_replaces_the_text(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([fails(), Script::answer(["all is well"])]).await).await;
        let (chat, answer, reader) = app.ask("one").await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("failed", "so far"));
        let sent = app.post_bare(&format!("/chat/message/{answer}/retry")).await.expect(202).json();
        assert_eq!(sent["message"]["uuid"], answer.as_str(), "it is the same message");
        assert_eq!((&sent["message"]["status"], &sent["message"]["error"]), (&json!("pending"), &json!(null)));
        let position = sent["message"]["position"].as_u64().unwrap();
        assert!(position > reader.position, "P2");
        assert_eq!(sent["poll_url"], format!("/chat/message/{answer}/tokens/{position}"));
        let reader = app.read_on(&answer, Reader { status: String::new(), ..reader }).await;
        assert_eq!((reader.status.as_str(), reader.text.as_str(), reader.replaced), ("completed", "all is well", 1));
        assert_eq!(app.messages(&chat).await.len(), 2, "no message was added");
        app.stop().await;
    }

    async fn regenerating_keeps_the_earlier_versions_and_any_can_be_chosen(kind: Kind) {
        let scripts = ["one", "two", "three"].map(|text| Script::answer([text]));
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let (chat, answer, mut reader) = app.ask("go").await;
        for text in ["two", "three"] {
            app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
            reader.status.clear();
            reader = app.read_on(&answer, reader).await;
            assert_eq!(reader.text, text);
        }
        let path = format!("/chat/message/{answer}/versions");
        let listed = app.get(&path).await.expect(200).json();
        let texts: Vec<_> = listed["versions"].as_array().unwrap().iter()
            .map(|v| (v["number"].as_i64().unwrap(), v["content"].as_str().unwrap().to_owned(), v["selected"] == true))
            .collect();
        assert_eq!(texts, [(1, "one".into(), false), (2, "two".into(), false), (3, "three".into(), true)]);
        let revision = app.get(&format!("/chat/{chat}")).await.json()["revision"].clone();
        let chosen = app.post_bare(&format!("{path}/1/select")).await.expect(200).json();
        assert_eq!((&chosen["content"], &chosen["version"], &chosen["versions"]), (&json!("one"), &json!(1), &json!(3)));
        reader.status.clear();
        reader = app.read_on(&answer, reader).await;
        assert_eq!((reader.text.as_str(), reader.status.as_str()), ("one", "completed"));
        let poll = app.get(&format!("/chat/{chat}/messages/{answer}?revision={revision}")).await.json();
        assert_eq!(poll["messages"][0]["content"], "one", "P11");
        // And back again: nothing of any version is lost.
        let back = app.post_bare(&format!("{path}/3/select")).await.expect(200).json();
        assert_eq!(back["content"], "three");
        app.post_bare(&format!("{path}/3/select")).await.expect(200);
        let listed = app.get(&path).await.json();
        assert_eq!(listed["versions"].as_array().unwrap().len(), 3);
        let unknown = app.post_bare(&format!("{path}/4/select")).await.expect(404).json();
        assert_eq!(unknown["type"], "/problems/version-not-found");
        app.post_bare(&format!("{path}/x/select")).await.expect(400);
        app.stop().await;
    }

    async fn the_model_is_sent_the_version_that_is_chosen(kind: Kind) {
        let scripts = ["one", "two", "bye"].map(|text| Script::answer([text]));
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let (chat, answer, reader) = app.ask("go").await;
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
        app.read_on(&answer, Reader { status: String::new(), ..reader }).await;
        let asked = app.upstream.received()[1].turns();
        assert_eq!(asked, [("user".to_owned(), "go".to_owned())], "the answer is not its own history");
        app.post_bare(&format!("/chat/message/{answer}/versions/1/select")).await.expect(200);
        let message = app.send(&chat, "and?").await;
        let last = app.answer_to(&chat, &message).await;
        app.read(&last).await;
        let sent: Vec<String> = app.upstream.received()[2].turns().into_iter().map(|(_, text)| text).collect();
        assert_eq!(sent, ["go", "one", "and?"]);
        app.stop().await;
    }

    async fn a_regenerate_that_fails_leaves_the_way_back(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([Script::answer(["good"]), fails()]).await).await;
        let (_, answer, reader) = app.ask("go").await;
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
        let reader = app.read_on(&answer, Reader { status: String::new(), ..reader }).await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("failed", "so far"));
        let back = app.post_bare(&format!("/chat/message/{answer}/versions/1/select")).await.expect(200).json();
        assert_eq!((&back["status"], &back["content"], &back["error"]), (&json!("completed"), &json!("good"), &json!(null)));
        app.stop().await;
    }

    async fn what_cannot_be_asked_again_is_refused_with_what_can_be_done(kind: Kind) {
        let gate = CancellationToken::new();
        let running = Script::stream().say(["x"]).wait(&gate).finish();
        let app = TestApp::start(kind, Upstream::scripted([Script::answer(["good"]), fails(), running]).await).await;
        let (chat, good, _) = app.ask("one").await;
        let (_, bad, _) = app.ask("two").await;
        let refused = app.post_bare(&format!("/chat/message/{good}/retry")).await.expect(409).json();
        assert!(refused["detail"].as_str().unwrap().contains("regenerate"), "{refused}");
        let refused = app.post_bare(&format!("/chat/message/{bad}/regenerate")).await.expect(409).json();
        assert!(refused["detail"].as_str().unwrap().contains("retry"), "{refused}");
        let message = app.send(&chat, "three").await;
        let answer = app.answer_to(&chat, &message).await;
        for what in ["retry", "regenerate", "versions/1/select"] {
            let refused = app.post_bare(&format!("/chat/message/{answer}/{what}")).await.expect(409).json();
            assert_eq!(refused["type"], "/problems/still-written", "{what}");
            let refused = app.post_bare(&format!("/chat/message/{message}/{what}")).await.expect(409).json();
            assert_eq!(refused["type"], "/problems/wrong-state", "{what} of a user message");
        }
        gate.cancel();
        app.read(&answer).await;
        app.delete(&format!("/chat/message/{message}")).await.expect(204);
        let refused = app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(409).json();
        assert!(refused["detail"].as_str().unwrap().contains("deleted"), "{refused}");
        app.stop().await;
    }

    async fn a_page_gets_the_message_in_place_of_the_old_one(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([Script::answer(["one"]), Script::answer(["two"])]).await).await;
        let (chat, answer, reader) = app.ask("go").await;
        let path = format!("/chat/message/{answer}/regenerate");
        let html = app.request(Method::POST, &path, |r| r.header("hx-request", "true")).await.expect(200);
        assert!(html.text.contains(&format!("id=\"message-{answer}\"")) && html.text.contains("/tokens/"), "{}", html.text);
        app.read_on(&answer, Reader { status: String::new(), ..reader }).await;
        let html = app.get_fragment(&format!("/chat/message/{answer}/versions")).await.expect(200);
        assert!(html.text.contains("/versions/1/select"), "{}", html.text);
        let path = format!("/chat/message/{answer}/versions/1/select");
        let page = app.request(Method::POST, &path, |r| r.header("accept", "text/html")).await.expect(303);
        assert_eq!(page.header("location"), format!("/chat/{chat}#message-{answer}"));
        app.stop().await;
    }
}
