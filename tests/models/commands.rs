//! Slash commands: carried out by the server, answered as an `agent` message, seen by no model.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Script, TestApp, Upstream};

/// Sends a command; what the server answers.
async fn command(app: &TestApp, chat: &str, words: &str) -> String {
    let sent = app
        .post(&format!("/chat/{chat}/send"), &json!({"message": words}))
        .await;
    let sent = sent.expect(202).json();
    let uuid = sent["message"]["uuid"].as_str().unwrap().to_owned();
    let messages = app.messages(chat).await;
    let reply = messages
        .iter()
        .find(|m| m["reply_to"] == uuid.as_str() && m["role"] == "agent");
    reply.unwrap()["content"].as_str().unwrap().to_owned()
}

fn titled(chat: &Value) -> (&Value, &Value) {
    (&chat["title"], &chat["model"])
}

on_both_databases! {
    async fn commands_do_what_they_say_and_no_model_sees_them(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        assert!(command(&app, &chat, "/help").await.contains("/export [markdown|json|text|html|pdf]"));
        let known = app.get("/commands").await.expect(200).json()["commands"].as_array().unwrap().clone();
        assert_eq!(known.len(), 10);
        for unknown in ["/nonsense", "/does-not-exist", "/foo2"] {
            let reply = command(&app, &chat, unknown).await;
            for entry in &known {
                let usage = entry["usage"].as_str().unwrap();
                assert!(reply.contains(&format!("`{usage}` – {}", entry["description"].as_str().unwrap())), "{reply}");
                assert_eq!(usage.split(' ').next(), entry["command"].as_str());
            }
        }
        let page = app.get_page("/commands").await.expect(200).text;
        assert!(page.contains("/export") && page.contains("ask for the last answer again"), "{page}");
        command(&app, &chat, "/title A *new* name").await;
        command(&app, &chat, "/model other-model").await;
        let told = app.get(&format!("/chat/{chat}")).await.json();
        assert_eq!(titled(&told), (&json!("A *new* name"), &json!("other-model")));
        assert!(command(&app, &chat, "/model").await.contains("`other-model`"));
        command(&app, &chat, "/system Be brief.").await;
        command(&app, &chat, "/system Be kind.").await;
        assert!(command(&app, &chat, "/agent").await.contains("tutor"));
        assert!(command(&app, &chat, "/stop").await.contains("Nothing"));
        assert!(command(&app, &chat, "/retry").await.contains("no answer"));
        assert!(app.upstream.received().is_empty(), "no model was asked");
        let message = app.send(&chat, "//literal").await;
        let answer = app.answer_to(&chat, &message).await;
        assert_eq!(app.read(&answer).await.text, "You said: /literal");
        let turns = app.upstream.received().pop().unwrap().turns();
        let expected = [("system", "Be kind."), ("user", "/literal")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(turns, expected);
        assert!(command(&app, &chat, "/usage").await.contains("| other-model | 1 |"));
        assert!(command(&app, &chat, "/agent tutor").await.contains("not empty"));
        let link = command(&app, &chat, "/export json").await;
        assert!(link.contains(&format!("/chat/{chat}/export?format=json")), "{link}");
        let export = app.get(&format!("/chat/{chat}/export?format=json")).await.expect(200).json();
        assert_eq!(export["messages"].as_array().unwrap().len(), 2);
        app.get(&format!("/chat/{chat}/export?format=doc")).await.expect(400);
        assert_eq!(command(&app, &chat, "/retry").await, "Asked again.");
        app.read(&answer).await;
        command(&app, &chat, "/clear").await;
        let left = app.messages(&chat).await;
        assert_eq!(left.len(), 2, "the command and its answer: {left:?}");
        let message = app.send(&chat, "again").await;
        app.read(&app.answer_to(&chat, &message).await).await;
        let turns = app.upstream.received().pop().unwrap().turns();
        assert_eq!(turns.len(), 2, "{turns:?}");
        app.stop().await;
    }

    async fn stop_stops_and_a_first_message_may_be_a_command(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Script::stream().say(["half "]).wait(&held).finish()).await;
        let app = TestApp::start(kind, upstream).await;
        let created = app.post("/chat/create", &json!({"message": "/model other-model"})).await.expect(201).json();
        assert_eq!((&created["model"], &created["request_uuid"]), (&json!("other-model"), &json!(null)));
        let chat = created["uuid"].as_str().unwrap();
        let message = app.send(chat, "one").await;
        let answer = app.answer_to(chat, &message).await;
        app.read_until(&answer, "half").await;
        let body = json!({"message": "/stop"});
        let path = format!("/chat/{chat}/send");
        let first = app.post_once(&path, "k", &body).await.expect(202).text;
        assert_eq!(app.post_once(&path, "k", &body).await.expect(202).text, first, "once is enough");
        assert_eq!(app.message(&answer).await["status"], "cancelled");
        app.upstream.received()[0].gone.cancelled().await;
        let uuid = created["message"]["uuid"].as_str().unwrap();
        app.put(&format!("/chat/message/{uuid}"), &json!({"message": "x"})).await.expect(409);
        app.stop().await;
    }

    async fn agents_models_and_failed_answers(kind: Kind) {
        let scripts = [Script::json(400, &json!({"error": {"message": "no"}})), Script::answer(["better"])];
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let chat = app.create_chat().await;
        let talked = command(&app, &chat, "/agent tutor").await;
        assert!(talked.starts_with("You are talking to **"), "{talked}");
        assert_eq!(app.get(&format!("/chat/{chat}")).await.json()["agent"], "tutor");
        let other = app.create_chat().await;
        let path = format!("/chat/{other}/agent/tutor");
        let first = app.post_once(&path, "k", &json!({})).await.expect(200).text;
        app.send(&other, "/title Another").await;
        assert_eq!(app.post_once(&path, "k", &json!({})).await.expect(200).text, first);
        assert!(command(&app, &chat, "/agent nobody").await.contains("nobody"));
        assert!(command(&app, &chat, "/model a b").await.contains("`/model` alone lists them"));
        let (answer, reader) = app.ask_in(&chat, "one").await;
        assert_eq!(reader.status, "failed");
        assert_eq!(command(&app, &chat, "/retry").await, "Asked again.");
        assert_eq!(app.read(&answer).await.text, "better");
        let markdown = app.get(&format!("/chat/{chat}/export?format=markdown")).await.expect(200);
        assert_eq!(markdown.header("content-type"), "text/markdown; charset=utf-8");
        assert!(markdown.text.contains("better") && markdown.text.contains("one"), "{}", markdown.text);
        let text = app.get(&format!("/chat/{chat}/export?format=text")).await.expect(200);
        assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
        assert!(text.text.contains("better") && !text.text.contains("/retry"), "{}", text.text);
        app.stop().await;
    }

    async fn a_clear_ends_what_runs_and_waits_and_every_client_hears_of_all_of_it(kind: Kind) {
        let never = CancellationToken::new();
        let held = never.clone();
        let upstream = Upstream::start(move |request| {
            if request.asked() == "go" {
                Script::answer(["gone"])
            } else {
                Script::stream().say(["half "]).wait(&held)
            }
        })
        .await;
        let app = TestApp::start(kind, upstream).await;
        let chat = app.create_chat().await;
        // More than one page of messages, all of them to disappear at once.
        for _ in 0..60 {
            command(&app, &chat, "/stop").await;
        }
        let before = app.get(&format!("/chat/{chat}")).await.json()["revision"].as_i64().unwrap();
        let last = app.messages(&chat).await.pop().unwrap()["uuid"].as_str().unwrap().to_owned();
        let runs = app.send(&chat, "one").await;
        let answer = app.answer_to(&chat, &runs).await;
        app.read_until(&answer, "half ").await;
        app.send(&chat, "two").await;
        assert_eq!(command(&app, &chat, "/clear").await, "This chat is empty now.");
        assert_eq!(app.message(&answer).await["superseded"], true);
        app.upstream.received()[0].gone.cancelled().await;
        let mut gone = std::collections::HashSet::new();
        let mut path = format!("/chat/{chat}/messages/{last}?revision={before}");
        loop {
            let page = app.get(&path).await.expect(200).json();
            for message in page["messages"].as_array().unwrap() {
                if message["deleted"] == true {
                    gone.insert(message["uuid"].as_str().unwrap().to_owned());
                }
            }
            let (next, revision) = (page["last_uuid"].as_str().unwrap(), &page["revision"]);
            path = format!("/chat/{chat}/messages/{next}?revision={revision}");
            if page["has_more"] == false {
                break;
            }
        }
        assert!(gone.len() >= 120, "{} of the messages that were shown are gone", gone.len());
        assert_eq!(app.messages(&chat).await.len(), 2);
        assert_eq!(app.ask_in(&chat, "go").await.1.text, "gone", "nothing is in the way");
        assert_eq!(app.upstream.received().len(), 2, "what waited was not asked");
        app.stop().await;
    }

    async fn an_edit_is_words_for_the_model_and_a_repeated_command_is_carried_out_once(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "//help").await;
        app.read(&app.answer_to(&chat, &message).await).await;
        // As it stands on the page, it may be edited and comes back.
        app.put(&format!("/chat/message/{message}"), &json!({"message": "/help me"})).await.expect(202);
        let answer = app.answer_to(&chat, &message).await;
        assert_eq!(app.read(&answer).await.text, "You said: /help me");
        let body = json!({"message": "/title Once", "uuid": uuid::Uuid::now_v7().to_string()});
        let path = format!("/chat/{chat}/send");
        let twice = tokio::join!(app.post(&path, &body), app.post(&path, &body));
        assert_eq!(twice.0.expect(202).json()["message"]["uuid"], twice.1.expect(202).json()["message"]["uuid"]);
        let count = app.messages(&chat).await.iter().filter(|m| m["role"] == "agent").count();
        assert_eq!(count, 1);
        app.stop().await;
    }

    async fn a_retry_asks_as_its_message_did(kind: Kind) {
        let scripts = [Script::json(400, &json!({"error": {"message": "no"}})), Script::answer(["better"]), Script::answer(["best"])];
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let chat = app.create_chat().await;
        let body = json!({"message": "one", "model": "other-model", "parameters": {"temperature": 0.3}});
        let sent = app.post(&format!("/chat/{chat}/send"), &body).await.expect(202).json();
        let question = sent["message"]["uuid"].as_str().unwrap();
        let answer = app.answer_to(&chat, question).await;
        app.read(&answer).await;
        app.post_bare(&format!("/chat/message/{answer}/retry")).await.expect(202);
        assert_eq!(app.read(&answer).await.text, "better");
        app.put(&format!("/chat/message/{question}"), &json!({"message": "two"})).await.expect(202);
        let answer = app.answer_to(&chat, question).await;
        assert_eq!(app.read(&answer).await.text, "best");
        for asked in app.upstream.received() {
            assert_eq!((&asked.body["model"], &asked.body["temperature"]), (&json!("other-model"), &json!(0.3)));
        }
        // A name that could not be stored is refused, not sent on.
        let body = json!({"message": "x", "model": "a\u{0}b"});
        app.post(&format!("/chat/{chat}/send"), &body).await.expect(422);
        app.stop().await;
    }
}
