//! Polls that find nothing new: what is remembered for them never hides a change, and where it is sure to hold, no
//! database is touched.

use serde_json::{Value, json};

use crate::support::database::Kind;
use crate::support::{TestApp, Upstream};

/// A client that has all there is of a chat.
struct Watcher {
    chat: String,
    cursor: String,
    revision: i64,
}

impl Watcher {
    async fn of(app: &TestApp, chat: &str) -> Self {
        let poll = app
            .get(&format!("/chat/{chat}/messages"))
            .await
            .expect(200)
            .json();
        Self {
            chat: chat.to_owned(),
            cursor: poll["last_uuid"].as_str().unwrap().to_owned(),
            revision: poll["revision"].as_i64().unwrap(),
        }
    }

    async fn poll(&mut self, app: &TestApp) -> Vec<Value> {
        let (chat, cursor, revision) = (&self.chat, &self.cursor, self.revision);
        let path = format!("/chat/{chat}/messages/{cursor}?revision={revision}");
        let poll = app.get(&path).await.expect(200).json();
        let revision = poll["revision"].as_i64().unwrap();
        assert!(revision >= self.revision, "{poll}");
        self.revision = revision;
        poll["last_uuid"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.cursor);
        poll["messages"].as_array().unwrap().clone()
    }

    /// Polls twice, so that what the second one finds is what is remembered.
    async fn settle(&mut self, app: &TestApp) {
        self.poll(app).await;
        assert_eq!(self.poll(app).await, [json!(null); 0], "it is quiet");
    }

    /// Something was done: the next poll moves on.
    async fn sees(&mut self, app: &TestApp, what: &str) -> Vec<Value> {
        let before = self.revision;
        let messages = self.poll(app).await;
        assert!(self.revision > before, "{what} was not seen");
        self.settle(app).await;
        messages
    }
}

on_both_databases! {
    async fn each_change_of_a_quiet_chat_is_in_the_very_next_poll(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        app.settle().await;
        let mut watcher = Watcher::of(&app, &chat).await;
        watcher.settle(&app).await;
        let message = format!("/chat/message/{answer}");

        app.put(&format!("{message}/reaction"), &json!({"reaction": "like"})).await.expect(200);
        let seen = watcher.sees(&app, "the reaction").await;
        assert_eq!(seen[0]["reaction"]["reaction"], "like");

        let renamed = json!({"title": "Another name"});
        app.request(reqwest::Method::PATCH, &format!("/chat/{chat}"), |r| r.json(&renamed)).await.expect(200);
        watcher.sees(&app, "the new title").await;

        app.post(&format!("{message}/regenerate"), &json!({})).await.expect(202);
        app.read(&answer).await;
        app.settle().await;
        let seen = watcher.sees(&app, "the second version").await;
        assert_eq!(seen.last().unwrap()["uuid"], answer.as_str());

        app.post(&format!("{message}/versions/1/select"), &json!({})).await.expect(200);
        watcher.sees(&app, "the choice of the first version").await;

        let sent = app.send(&chat, "two").await;
        let seen = watcher.poll(&app).await;
        assert!(seen.iter().any(|message| message["uuid"] == sent.as_str()), "{seen:?}");
        let second = app.answer_to(&chat, &sent).await;
        app.read(&second).await;
        app.settle().await;
        watcher.sees(&app, "the second answer").await;

        app.delete(&format!("/chat/message/{second}")).await.expect(204);
        watcher.sees(&app, "the deletion of the answer").await;

        app.delete(&format!("/chat/{chat}")).await.expect(204);
        let path = format!("/chat/{chat}/messages/{}", watcher.cursor);
        app.get(&path).await.expect(404);
        app.get(&format!("{message}/tokens/0")).await.expect(404);
        app.post(&format!("/chat/{chat}/restore"), &json!({})).await.expect(200);
        app.get(&path).await.expect(200);
        app.get(&format!("{message}/tokens/0")).await.expect(200);
        app.stop().await;
    }

    async fn a_finished_text_that_changes_is_replaced_at_once(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, reader) = app.ask("one").await;
        app.settle().await;
        for _ in 0..3 {
            let poll = app.tokens(&answer, reader.position).await;
            assert_eq!((&poll["tokens"], &poll["status"]), (&json!(""), &json!("completed")));
        }
        app.post(&format!("/chat/message/{answer}/regenerate"), &json!({})).await.expect(202);
        // Not `completed`, or a client would stop before the new text.
        let poll = app.tokens(&answer, reader.position).await;
        let is_new = poll["append"] == json!(false) || poll["status"] != "completed";
        assert!(is_new, "{poll}");
        let second = app.read_on(&answer, reader).await;
        app.settle().await;
        app.tokens(&answer, second.position).await;
        app.post(&format!("/chat/message/{answer}/versions/1/select"), &json!({})).await.expect(200);
        let poll = app.tokens(&answer, second.position).await;
        assert_eq!(poll["append"], false, "{poll}");
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        app.get(&format!("/chat/message/{answer}/tokens/0")).await.expect(404);
        app.stop().await;
    }
}

/// The tables are taken away behind the server's back: whoever asks them fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_of_quiet_chats_and_finished_messages_touch_no_database_that_nobody_else_writes() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let (chat, answer, reader) = app.ask("one").await;
    app.settle().await;
    let mut watcher = Watcher::of(&app, &chat).await;
    watcher.settle(&app).await;
    app.tokens(&answer, reader.position).await;
    app.tokens(&answer, reader.position).await;
    let tables = ["chat", "chat_message"];
    for table in tables {
        let away = format!("ALTER TABLE {table} RENAME TO {table}_away");
        app.database.execute(&away).await;
    }
    app.get(&format!("/chat/{chat}")).await.expect(500);
    for _ in 0..5 {
        assert_eq!(watcher.poll(&app).await, [json!(null); 0]);
        let poll = app.tokens(&answer, reader.position).await;
        assert_eq!(poll["status"], "completed");
    }
    for table in tables {
        let back = format!("ALTER TABLE {table}_away RENAME TO {table}");
        app.database.execute(&back).await;
    }
    app.stop().await;
}
