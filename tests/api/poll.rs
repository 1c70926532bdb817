//! `POST /poll` and `GET /poll`: many polls in one.

use entity::api_token::Scope;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::security::callers::{As, COOKIE_SECRET, token};
use crate::support::upstream::Script;
use crate::support::{Reader, TestApp, Upstream};

/// A client of several chats, who takes in what it is answered.
#[derive(Default)]
struct Client {
    chats: Vec<Value>,
    messages: Vec<(Value, Reader)>,
    list: String,
}

impl Client {
    fn of(chats: &[&str], messages: &[&str]) -> Self {
        Self {
            chats: chats.iter().map(|uuid| json!({"uuid": uuid})).collect(),
            messages: messages
                .iter()
                .map(|uuid| (json!(uuid), Reader::default()))
                .collect(),
            list: String::new(),
        }
    }

    fn body(&self) -> Value {
        let messages = self.messages.iter().filter(|(_, reader)| !reader.is_done());
        let messages =
            messages.map(|(uuid, reader)| json!({"uuid": uuid, "position": reader.position}));
        json!({"chats": self.chats, "messages": messages.collect::<Vec<_>>(), "chat_list": self.list})
    }

    async fn poll(&mut self, app: &TestApp) -> Value {
        let poll = app.post("/poll", &self.body()).await.expect(200).json();
        for said in poll["chats"].as_array().unwrap() {
            let mine = self
                .chats
                .iter_mut()
                .find(|chat| chat["uuid"] == said["uuid"]);
            let mine = mine.unwrap();
            mine["last_uuid"] = said["last_uuid"].clone();
            mine["revision"] = said["revision"].clone();
        }
        for said in poll["messages"].as_array().unwrap() {
            let mine = self
                .messages
                .iter_mut()
                .find(|(uuid, _)| *uuid == said["uuid"]);
            mine.unwrap().1.apply(said);
        }
        if let Some(revision) = poll["chat_list"]["revision"].as_str() {
            revision.clone_into(&mut self.list);
        }
        poll
    }

    /// Which chats are in the answer, by their place in the client's list.
    fn named(&self, poll: &Value) -> Vec<usize> {
        let said = poll["chats"].as_array().unwrap();
        let place = |uuid: &Value| self.chats.iter().position(|chat| chat["uuid"] == *uuid);
        said.iter()
            .map(|chat| place(&chat["uuid"]).unwrap())
            .collect()
    }
}

on_both_databases! {
    async fn one_poll_answers_what_is_new_of_all_and_nothing_else(kind: Kind) {
        let gate = CancellationToken::new();
        let slow = Script::stream().say(["It grows"]).wait(&gate).say([" and ends."]).finish();
        let scripts = [Script::answer(["First."]), Script::answer(["Second."]), slow];
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let (one, first, _) = app.ask("one").await;
        let (two, second, _) = app.ask("two").await;
        let mut client = Client::of(&[&one, &two], &[&first, &second]);
        let poll = client.poll(&app).await;
        assert_eq!(client.named(&poll), [0, 1]);
        for (chat, said) in [&one, &two].into_iter().zip(poll["chats"].as_array().unwrap()) {
            // Each is what its own poll answers.
            let mut own = app.get(&format!("/chat/{chat}/messages")).await.expect(200).json();
            own["uuid"] = json!(chat);
            assert_eq!(*said, own);
        }
        let texts: Vec<_> = client.messages.iter().map(|(_, reader)| reader.text.as_str()).collect();
        assert_eq!(texts, ["First.", "Second."]);
        assert!(client.messages.iter().all(|(_, reader)| reader.is_done()));
        assert!(!client.list.is_empty());

        let quiet = client.poll(&app).await;
        assert_eq!(quiet, json!({"chats": [], "messages": [], "problems": [], "poll_after_ms": 2000}));

        let sent = app.send(&two, "three").await;
        let answer = app.answer_to(&two, &sent).await;
        let poll = client.poll(&app).await;
        assert_eq!((client.named(&poll), &poll["poll_after_ms"]), (vec![1], &json!(300)));
        assert!(poll["chat_list"]["revision"].is_string(), "a chat has changed: {poll}");
        client.messages.push((json!(answer), Reader::default()));
        app.read_until(&answer, "It grows").await;
        let poll = client.poll(&app).await;
        assert_eq!((&poll["chats"], &poll["messages"][0]["tokens"]), (&json!([]), &json!("It grows")));
        let quiet = client.poll(&app).await;
        assert_eq!((&quiet["messages"], &quiet["poll_after_ms"]), (&json!([]), &json!(300)));
        gate.cancel();
        app.settle().await;
        client.poll(&app).await;
        assert_eq!(client.messages[2].1.text, "It grows and ends.");
        assert!(client.messages[2].1.is_done());
        app.stop().await;
    }

    async fn what_is_wrong_with_a_cursor_stands_in_its_place(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let other = app.create_chat().await;
        let body = json!({
            "chats": [{"uuid": answer}, {"uuid": chat, "last_uuid": other}, {"uuid": chat}],
            "messages": [{"uuid": chat, "position": 0}, {"uuid": answer}],
        });
        let poll = app.post("/poll", &body).await.expect(200).json();
        let problems: Vec<_> = poll["problems"].as_array().unwrap().iter()
            .map(|problem| (problem["uuid"].as_str().unwrap(), problem["type"].as_str().unwrap(), problem["status"].as_u64().unwrap()))
            .collect();
        assert_eq!(problems, [
            (chat.as_str(), "/problems/message-not-found", 404),
            (answer.as_str(), "/problems/chat-not-found", 404),
            (chat.as_str(), "/problems/cursor-not-found", 404),
        ]);
        assert_eq!((&poll["chats"][0]["uuid"], &poll["messages"][0]["uuid"]), (&json!(chat), &json!(answer)));
        for (wrong, status) in [
            (json!({"chats": [{"uuid": "x"}]}), 422),
            (json!({"messages": [{"uuid": answer, "position": -1}]}), 422),
            (json!({"messages": [{"uuid": answer, "position": 9_007_199_254_740_992_u64}]}), 422),
            (json!({"chat": []}), 422),
            (json!({"chats": vec![json!({"uuid": chat}); 101]}), 422),
        ] {
            let refused = app.post("/poll", &wrong).await.expect(status).json();
            assert!(!refused["detail"].as_str().unwrap().is_empty());
        }
        for wrong in ["chat=x", "message=x", "x=1", "chat_list=1&chats=2"] {
            app.get(&format!("/poll?{wrong}")).await.expect(400);
        }
        let nothing = app.post("/poll", &json!({})).await.expect(200).json();
        assert_eq!(nothing, json!({"chats": [], "messages": [], "problems": [], "poll_after_ms": 2000}));
        app.stop().await;
    }

    async fn a_query_asks_as_a_body_does(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, reader) = app.ask("one").await;
        let page = app.get(&format!("/chat/{chat}/messages")).await.expect(200).json();
        let (last, revision) = (page["last_uuid"].as_str().unwrap(), page["revision"].as_i64().unwrap());
        for (query, body) in [
            (format!("chat={chat}&message={answer}&chat_list="), json!({"chats": [{"uuid": chat}], "messages": [{"uuid": answer}], "chat_list": ""})),
            (format!("chat={chat}:{last}:{revision}&message={answer}:{}:0", reader.position),
                json!({"chats": [{"uuid": chat, "last_uuid": last, "revision": revision}], "messages": [{"uuid": answer, "position": reader.position, "reasoning": 0}]})),
            (format!("chat={chat}::{}", revision - 1), json!({"chats": [{"uuid": chat, "revision": revision - 1}]})),
        ] {
            let by_query = app.get(&format!("/poll?{query}")).await.expect(200);
            let by_body = app.post("/poll", &body).await.expect(200);
            assert_eq!(by_query.json(), by_body.json(), "{query}");
            assert_eq!(by_query.header("etag"), by_body.header("etag"));
            assert_eq!(by_query.header("cache-control"), "no-store");
        }
        app.stop().await;
    }

    async fn the_list_has_another_revision_after_each_change_and_no_other(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let mut client = Client::default();
        let mut revisions = vec![String::new()];
        client.poll(&app).await;
        revisions.push(client.list.clone());
        let chat = app.create_chat().await;
        client.poll(&app).await;
        revisions.push(client.list.clone());
        app.request(reqwest::Method::PATCH, &format!("/chat/{chat}"), |r| r.json(&json!({"title": "Another"}))).await.expect(200);
        client.poll(&app).await;
        revisions.push(client.list.clone());
        app.ask_in(&chat, "one").await;
        app.settle().await;
        client.poll(&app).await;
        revisions.push(client.list.clone());
        assert_eq!(client.poll(&app).await["chat_list"], Value::Null);
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        client.poll(&app).await;
        // There is nothing, as there was at first.
        assert_eq!(client.list, revisions[1]);
        let mut all = revisions.clone();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), revisions.len(), "{revisions:?}");
        app.stop().await;
    }

    /// P7 holds for all of a poll together, and what did not fit comes with the next ones.
    async fn more_than_fits_comes_with_the_next_polls(kind: Kind) {
        const LONG: usize = 100_000;
        let app = TestApp::start(kind, Upstream::start(|request| {
            Script::answer([request.asked().repeat(LONG)])
        }).await).await;
        let mut answers = Vec::new();
        for word in ["a", "b", "c", "d"] {
            answers.push((word, app.ask(word).await));
        }
        let uuids: Vec<&str> = answers.iter().map(|(_, (_, answer, _))| answer.as_str()).collect();
        let mut client = Client::of(&[], &uuids);
        let mut polls = 0;
        while client.messages.iter().any(|(_, reader)| !reader.is_done()) {
            let poll = client.poll(&app).await;
            let said = poll["messages"].as_array().unwrap();
            let bytes: usize = said.iter().map(|message| message["tokens"].as_str().unwrap().len()).sum();
            assert!(bytes > 0 && bytes <= 256 * 1024, "{bytes}");
            let is_over = client.messages.iter().all(|(_, reader)| reader.is_done());
            assert_eq!(poll["poll_after_ms"] == 0, !is_over);
            polls += 1;
        }
        assert_eq!(polls, 2);
        for ((word, _), (_, reader)) in answers.iter().zip(&client.messages) {
            assert_eq!(reader.text, word.repeat(LONG));
        }
        app.stop().await;
    }

    async fn who_may_only_read_may_poll_their_own_and_each_ten_cursors_count(kind: Kind) {
        let settings = [("auth.modes", "token"), ("auth.secret", COOKIE_SECRET), ("limits.polls_per_minute", "100")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
        let reader = As::bearer(&token(&app, "alice", Scope::Read).await);
        let bob = As::bearer(&token(&app, "bob", Scope::Write).await);
        let made = alice.post(&app, "/chat/create", &json!({"message": "Hi"})).await.expect(201).json();
        app.settle().await;
        let body = json!({"chats": [{"uuid": made["uuid"]}]});
        let poll = reader.post(&app, "/poll", &body).await.expect(200);
        assert_eq!(poll.json()["chats"][0]["messages"][0]["content"], "Hi");
        assert!(poll.header("ratelimit").starts_with("\"polls\";r=99;"), "{:?}", poll.headers);
        let others = bob.post(&app, "/poll", &body).await.expect(200);
        assert_eq!(others.json()["problems"][0]["type"], "/problems/chat-not-found");
        assert!(!others.text.contains("Hi"));
        As::nobody().post(&app, "/poll", &body).await.expect(401);
        // A hundred cursors are ten polls.
        let many = json!({"chats": vec![json!({"uuid": made["uuid"]}); 100]});
        let poll = bob.post(&app, "/poll", &many).await.expect(200);
        let told = poll.header("ratelimit");
        assert!(["\"polls\";r=89;", "\"polls\";r=90;"].iter().any(|left| told.starts_with(left)), "{told}");
        for _ in 0..20 {
            let poll = bob.post(&app, "/poll", &many).await;
            if poll.status == 429 {
                app.stop().await;
                return;
            }
        }
        panic!("two thousand cursors were polled with a budget of a hundred polls");
    }
}
