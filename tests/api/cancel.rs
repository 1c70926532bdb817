//! `POST /chat/message/{uuid}/cancel`.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::upstream::Received;
use crate::support::{Script, TestApp, Upstream, app::eventually};

/// Says something and then waits, for as long as the test does.
fn talks_and_waits() -> Script {
    Script::stream()
        .say(["half ", "an "])
        .wait(&CancellationToken::new())
        .say(["answer"])
        .finish()
}

on_both_databases! {
    async fn a_cancel_keeps_the_text_and_closes_the_connection(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([talks_and_waits()]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        let reader = app.read_until(&answer, "half an ").await;
        let done = app.post_bare(&format!("/chat/message/{answer}/cancel")).await.expect(200).json();
        assert_eq!((&done["cancelled"], &done["found"]), (&json!(true), &json!("pending")));
        assert_eq!(done["message"]["status"], "cancelled");
        assert_eq!(done["message"]["content"], "half an ");
        assert_eq!(done["message"]["error"]["code"], "cancelled");
        app.upstream.received()[0].gone.cancelled().await;
        let reader = app.read_on(&answer, reader).await;
        assert_eq!((reader.text.as_str(), reader.replaced), ("half an ", 0), "nothing moved under the reader");
        assert_eq!(app.get(&format!("/chat/{chat}")).await.json()["status"], "waiting_for_user");
        app.stop().await;
    }

    async fn cancelling_twice_or_too_late_is_harmless_and_says_what_it_found(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([talks_and_waits(), Script::answer(["done"])]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "half an ").await;
        let path = format!("/chat/message/{answer}/cancel");
        app.post_bare(&path).await.expect(200);
        let again = app.post_bare(&path).await.expect(200).json();
        assert_eq!((&again["cancelled"], &again["found"]), (&json!(false), &json!("cancelled")));
        let (_, finished, _) = app.ask("two").await;
        let late = app.post_bare(&format!("/chat/message/{finished}/cancel")).await.expect(200).json();
        assert_eq!((&late["cancelled"], &late["found"]), (&json!(false), &json!("completed")));
        assert_eq!(late["message"]["content"], "done");
        app.stop().await;
    }

    async fn many_cancels_at_once_stop_it_once(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([talks_and_waits()]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "half an ").await;
        let path = format!("/chat/message/{answer}/cancel");
        let all = futures::future::join_all((0..8).map(|_| app.post_bare(&path))).await;
        let stopped = all.into_iter().filter(|done| done.json()["cancelled"] == true).count();
        assert_eq!(stopped, 1);
        app.stop().await;
    }

    async fn a_waiting_message_is_withdrawn_and_the_rest_goes_on(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| {
            Script::stream().wait(&held).say([format!("to {}", request.asked())]).finish()
        }).await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        let first = app.send(&chat, "one").await;
        let second = app.send(&chat, "two").await;
        let third = app.send(&chat, "three").await;
        app.answer_to(&chat, &first).await;
        let done = app.post_bare(&format!("/chat/message/{second}/cancel")).await.expect(200).json();
        assert_eq!((&done["cancelled"], &done["message"]["status"]), (&json!(true), &json!("cancelled")));
        gate.cancel();
        let answer = app.answer_to(&chat, &third).await;
        assert_eq!(app.read(&answer).await.text, "to three");
        let asked: Vec<String> = app.upstream.received().iter().map(Received::asked).collect();
        assert_eq!(asked, ["one", "three"], "what was withdrawn is never asked");
        let sent = app.upstream.received().pop().unwrap().turns();
        assert!(sent.iter().all(|(_, text)| text != "two"), "nor sent as history: {sent:?}");
        app.stop().await;
    }

    async fn the_user_message_names_its_answer_too(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([talks_and_waits()]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        app.post_bare(&format!("/chat/message/{message}/cancel")).await.expect(200);
        assert_eq!(app.message(&answer).await["status"], "cancelled");
        app.stop().await;
    }

    async fn a_poller_with_a_revision_hears_of_the_cancel(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([talks_and_waits()]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        let seen = app.get(&format!("/chat/{chat}/messages")).await.json();
        app.post_bare(&format!("/chat/message/{answer}/cancel")).await.expect(200);
        let poll = app.get(&format!("/chat/{chat}/messages/{answer}?revision={}", seen["revision"])).await.json();
        assert_eq!(poll["messages"][0]["uuid"], answer.as_str());
        assert_eq!(poll["messages"][0]["status"], "cancelled");
        app.stop().await;
    }

    async fn what_is_not_there_cannot_be_cancelled(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let nobody = uuid::Uuid::now_v7();
        app.post_bare(&format!("/chat/message/{nobody}/cancel")).await.expect(404);
        app.post_bare("/chat/message/x/cancel").await.expect(400);
        app.stop().await;
    }

    async fn the_text_of_a_cancelled_answer_never_grows_again(kind: Kind) {
        // The model goes on talking until the moment of the cancel, and after it.
        let pieces: Vec<String> = (0..2_000).map(|n| format!("{n} ")).collect();
        let script = Script::answer(&pieces).paced(Duration::from_millis(1));
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &message).await;
        let reader = app.read_until(&answer, "0 1 2 ").await;
        let done = app.post_bare(&format!("/chat/message/{answer}/cancel")).await.expect(200).json();
        let kept = done["message"]["content"].as_str().unwrap().to_owned();
        assert!(pieces.concat().starts_with(&kept));
        let position = done["message"]["position"].as_u64().unwrap();
        assert!(position >= reader.position, "P2");
        let reader = app.read_on(&answer, reader).await;
        assert_eq!((reader.text.as_str(), reader.replaced), (kept.as_str(), 0));
        eventually("the ledger is purged", async || {
            (app.message(&answer).await["content"] == kept.as_str()).then_some(())
        }).await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_before_its_answer_changes_nothing() {
    use sea_orm::ConnectionTrait;
    use tokio::io::AsyncWriteExt;
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted([talks_and_waits()]).await).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "one").await;
    let answer = app.answer_to(&chat, &message).await;
    let reader = app.read_until(&answer, "half an ").await;
    // The cancel has to wait for the database, and its client does not.
    let intruder = app.database.connect().await;
    intruder
        .execute_unprepared("BEGIN IMMEDIATE")
        .await
        .unwrap();
    let address = app.base.trim_start_matches("http://");
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /chat/message/{answer}/cancel HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(100)).await;
    intruder.execute_unprepared("ROLLBACK").await.unwrap();
    intruder.close().await.unwrap();
    let reader = app.read_on(&answer, reader).await;
    assert_eq!(
        (
            reader.status.as_str(),
            reader.text.as_str(),
            reader.replaced
        ),
        ("cancelled", "half an ", 0)
    );
    app.upstream.received()[0].gone.cancelled().await;
    app.stop().await;
}
