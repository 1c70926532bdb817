//! `/v1/threads`, and the runs in them.

use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::app::eventually;
use crate::support::upstream::finish;
use crate::support::{Answer, Script, TestApp, Upstream};

const HINT: &str = "openai-poll-after-ms";

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A thread in which these have been said by the user; its id.
async fn thread(app: &TestApp, said: &[&str]) -> String {
    let made = app.post("/v1/threads", &json!({})).await.expect(200).json();
    let id = text(&made["id"]);
    for said in said {
        say(app, &id, said).await.expect(200);
    }
    id
}

async fn say(app: &TestApp, thread: &str, said: &str) -> Answer {
    let body = json!({"role": "user", "content": said});
    app.post(&format!("/v1/threads/{thread}/messages"), &body)
        .await
}

/// The path of a new run with these words beside the model as assistant.
async fn run(app: &TestApp, thread: &str, more: Value) -> String {
    let mut body = json!({"assistant_id": "scripted-model", "stream": false});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let begun = app
        .post(&format!("/v1/threads/{thread}/runs"), &body)
        .await
        .expect(200)
        .json();
    format!("/v1/threads/{thread}/runs/{}", text(&begun["id"]))
}

/// Polls a run as the libraries do, until it has this status.
async fn until(app: &TestApp, run: &str, status: &str) -> Value {
    eventually("the run gets there", async || {
        let polled = app.get(run).await.expect(200);
        let object = polled.json();
        let is_over = !["queued", "in_progress"].contains(&object["status"].as_str().unwrap());
        let hint = polled.header(HINT);
        assert_eq!(
            hint.parse::<u64>().is_err(),
            is_over,
            "{hint:?} at {object}"
        );
        if object["status"] == status {
            return Some(object);
        }
        assert!(!is_over, "{object}");
        None
    })
    .await
}

/// The messages of a thread, the latest first: roles, texts and statuses.
async fn listed(app: &TestApp, thread: &str) -> Vec<(String, String, String)> {
    let page = app
        .get(&format!("/v1/threads/{thread}/messages"))
        .await
        .expect(200)
        .json();
    let messages = page["data"].as_array().unwrap().iter();
    let one = |message: &Value| {
        let said = &message["content"][0]["text"]["value"];
        (text(&message["role"]), text(said), text(&message["status"]))
    };
    messages.map(one).collect()
}

fn message(role: &str, said: &str, status: &str) -> (String, String, String) {
    (role.to_owned(), said.to_owned(), status.to_owned())
}

fn chat_of(thread: &str) -> String {
    let uuid: uuid::Uuid = thread.trim_start_matches("thread_").parse().unwrap();
    uuid.to_string()
}

/// Says half of something, and the rest when the gate is opened.
fn held(gate: &CancellationToken) -> Script {
    Script::stream()
        .say(["half "])
        .wait(gate)
        .say(["whole"])
        .finish()
}

/// The error, which no library is to ask again after.
#[track_caller]
fn final_error(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    if status >= 409 {
        assert_eq!(answer.header("x-should-retry"), "false", "{}", answer.text);
    }
    let error = answer.json()["error"].clone();
    assert_eq!(error["code"], code, "{error}");
    error
}

fn turns(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = all
        .iter()
        .map(|(role, text)| ((*role).to_owned(), (*text).to_owned()));
    owned.collect()
}

on_both_databases! {
    async fn messages_are_put_in_and_a_run_is_polled_to_its_end(kind: Kind) {
        let gate = CancellationToken::new();
        let app = TestApp::start(kind, Upstream::scripted([held(&gate)]).await).await;
        let thread = thread(&app, &["one", "two"]).await;
        let page = app.messages(&chat_of(&thread)).await;
        assert!(page.iter().all(|message| message["status"] == "completed"), "{page:?}");
        assert!(app.upstream.received().is_empty(), "nobody is asked yet");
        let run = run(&app, &thread, json!({"metadata": {"a": "b"}, "temperature": 0.25})).await;
        let begun = until(&app, &run, "in_progress").await;
        assert_eq!((&begun["usage"], &begun["assistant_id"]), (&json!(null), &json!("scripted-model")));
        let path = format!("/v1/threads/{thread}/messages");
        eventually("the text grows", async || {
            (listed(&app, &thread).await[0] == message("assistant", "half ", "in_progress")).then_some(())
        }).await;
        gate.cancel();
        let done = until(&app, &run, "completed").await;
        assert_eq!(done["usage"], json!({"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}));
        assert_eq!((&done["metadata"], &done["last_error"]), (&json!({"a": "b"}), &json!(null)));
        assert!(done["completed_at"].is_i64() && done["started_at"].is_i64(), "{done}");
        let all = [message("assistant", "half whole", "completed"), message("user", "two", "completed"),
            message("user", "one", "completed")];
        assert_eq!(listed(&app, &thread).await, all);
        let sent = &app.upstream.received()[0];
        assert_eq!(sent.turns(), turns(&[("user", "one"), ("user", "two")]), "all that was said");
        assert_eq!(sent.body["temperature"], 0.25);
        // What the run has written, and what it did.
        let id = text(&done["id"]);
        let written = app.get(&format!("{path}?run_id={id}")).await.expect(200).json();
        assert_eq!(written["data"].as_array().unwrap().len(), 1);
        let answer = &written["data"][0];
        assert_eq!((&answer["run_id"], &answer["assistant_id"]), (&json!(id), &json!("scripted-model")));
        let steps = app.get(&format!("{run}/steps")).await.expect(200).json();
        let step = &steps["data"][0];
        assert_eq!((&step["status"], &step["type"]), (&json!("completed"), &json!("message_creation")));
        assert_eq!(step["step_details"]["message_creation"]["message_id"], answer["id"]);
        assert_eq!(app.get(&format!("{run}/steps/{}", text(&step["id"]))).await.expect(200).json()["id"], step["id"]);
        // On the page it is a chat like any other.
        let page = app.messages(&chat_of(&thread)).await;
        let said: Vec<String> = page.iter().map(|message| text(&message["content"])).collect();
        assert_eq!(said, ["one", "two", "half whole"]);
        assert_eq!(page[2]["reply_to"], page[1]["uuid"]);
        assert_eq!(app.get(&format!("/chat/{}", chat_of(&thread))).await.json()["title"], "one");
        let response = text(&done["pollen"]["response_id"]);
        let response = app.get(&format!("/v1/responses/{response}")).await.expect(200).json();
        assert_eq!(response["output"][0]["content"][0]["text"], "half whole");
        app.stop().await;
    }

    async fn a_thread_goes_on_and_is_paged(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let thread = thread(&app, &[]).await;
        for said in ["one", "two"] {
            say(&app, &thread, said).await.expect(200);
            let run = run(&app, &thread, json!({})).await;
            until(&app, &run, "completed").await;
        }
        let sent = app.upstream.received()[1].turns();
        assert_eq!(sent, turns(&[("user", "one"), ("assistant", "You said: one"), ("user", "two")]));
        let first = app.get(&format!("/v1/threads/{thread}/messages?limit=3&order=asc")).await.expect(200).json();
        assert_eq!((&first["has_more"], first["data"].as_array().unwrap().len()), (&json!(true), 3));
        let after = text(&first["last_id"]);
        let next = format!("/v1/threads/{thread}/messages?limit=3&order=asc&after={after}");
        let next = app.get(&next).await.expect(200).json();
        assert_eq!(next["has_more"], false);
        assert_eq!(next["data"][0]["content"][0]["text"]["value"], "You said: two");
        let runs = app.get(&format!("/v1/threads/{thread}/runs?limit=1")).await.expect(200).json();
        assert_eq!((&runs["has_more"], &runs["data"][0]["status"]), (&json!(true), &json!("completed")));
        app.stop().await;
    }

    async fn one_thing_is_done_at_a_time_and_a_cancel_ends_it(kind: Kind) {
        let gate = CancellationToken::new();
        let scripts = [held(&gate), Script::answer(["once more"])];
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let thread = thread(&app, &["one"]).await;
        let first = run(&app, &thread, json!({"instructions": "Be slow."})).await;
        eventually("the text grows", async || {
            (listed(&app, &thread).await[0].1 == "half ").then_some(())
        }).await;
        final_error(&say(&app, &thread, "two").await, 409, "chat_busy");
        let body = json!({"assistant_id": "scripted-model"});
        final_error(&app.post(&format!("/v1/threads/{thread}/runs"), &body).await, 409, "chat_busy");
        let cancelled = app.post_bare(&format!("{first}/cancel")).await.expect(200).json();
        assert_eq!(cancelled["status"], "cancelled");
        assert!(cancelled["cancelled_at"].is_i64() && cancelled["usage"].is_object(), "{cancelled}");
        app.upstream.received()[0].gone.cancelled().await;
        let again = app.post_bare(&format!("{first}/cancel")).await.expect(200).json();
        assert_eq!(again, cancelled, "as often as one likes");
        assert_eq!(listed(&app, &thread).await[0], message("assistant", "half ", "incomplete"));
        // The question is still there to be answered, and nothing of the first run holds for the next.
        let second = run(&app, &thread, json!({})).await;
        until(&app, &second, "completed").await;
        let all = [message("assistant", "once more", "completed"), message("user", "one", "completed")];
        assert_eq!(listed(&app, &thread).await, all);
        assert_eq!(app.upstream.received()[1].turns(), turns(&[("user", "one")]));
        assert_eq!(app.get(&first).await.expect(200).json()["status"], "cancelled", "it stays what it was");
        app.stop().await;
    }

    async fn a_run_that_waits_outlives_its_server_and_one_that_is_taken_back_leaves_its_question(kind: Kind) {
        let gate = CancellationToken::new();
        let held_back = gate.clone();
        let upstream = Upstream::start(move |request| {
            if request.asked() == "first" { held(&held_back) } else { Script::answer(["to ", &request.asked()]) }
        }).await;
        let settings = [("worker.max_running", "1")];
        let mut app = TestApp::start_with(kind, upstream, &settings).await;
        let first = thread(&app, &["first"]).await;
        let running = run(&app, &first, json!({})).await;
        until(&app, &running, "in_progress").await;
        let second = thread(&app, &["second"]).await;
        let waiting = run(&app, &second, json!({})).await;
        let queued = until(&app, &waiting, "queued").await;
        assert_eq!(queued["started_at"], json!(null));
        assert_eq!(app.get(&format!("{waiting}/steps")).await.expect(200).json()["data"], json!([]));
        let cancelled = app.post_bare(&format!("{waiting}/cancel")).await.expect(200).json();
        assert_eq!(cancelled["status"], "cancelled");
        assert_eq!(listed(&app, &second).await, [message("user", "second", "completed")]);
        say(&app, &second, "third").await.expect(200);
        let waiting = run(&app, &second, json!({})).await;
        until(&app, &waiting, "queued").await;
        app.shut_down().await;
        gate.cancel();
        app.run().await;
        until(&app, &waiting, "completed").await;
        let sent = app.upstream.received().into_iter().map(|request| request.turns());
        let sent: Vec<_> = sent.filter(|sent| sent[0].1 == "second").collect();
        assert_eq!(sent, [turns(&[("user", "second"), ("user", "third")])], "asked once, with both");
        assert_eq!(listed(&app, &second).await[0], message("assistant", "to third", "completed"));
        app.stop().await;
    }

    async fn an_agent_speaks_for_a_run_alone(kind: Kind) {
        let dir = tempfile::tempdir().unwrap();
        for (alias, name) in [("bee", "Bee"), ("wasp", "Wasp")] {
            let agent = format!(
                "name = \"{name}\"\nsystem_prompt = \"You are {{{{agent}}}}.\"\nparameters = {{ temperature = 0.25 }}\n"
            );
            std::fs::write(dir.path().join(format!("{alias}.toml")), agent).unwrap();
        }
        let directory = dir.path().display().to_string();
        let settings = [("agents.directory", directory.as_str()), ("agents.shipped", "false")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let assistants = app.get("/v1/assistants").await.expect(200).json();
        let ids: Vec<&Value> = assistants["data"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
        assert_eq!(ids, [&json!("asst_bee"), &json!("asst_wasp")]);
        assert!(!assistants.to_string().contains("You are"), "the prompt is the operator's");
        assert_eq!(app.get("/v1/assistants/wasp").await.expect(200).json()["name"], "Wasp");
        app.get("/v1/assistants/asst_fly").await.expect(404);
        // A chat of the bee's, begun on the page.
        let chat = app.post("/chat/create", &json!({"agent": "bee"})).await.expect(201).json();
        let thread = format!("thread_{}", text(&chat["uuid"]).replace('-', ""));
        for (more, system, temperature) in [
            (json!({"assistant_id": "scripted-model"}), vec!["You are Bee."], json!(0.25)),
            (json!({"assistant_id": "asst_wasp"}), vec!["You are Wasp."], json!(0.25)),
            (
                json!({"assistant_id": "wasp", "additional_instructions": "Sting.", "temperature": 0.75}),
                vec!["You are Wasp.", "Sting."],
                json!(0.75),
            ),
            (
                json!({"assistant_id": "wasp", "instructions": "You are a fly.", "additional_instructions": "Hum."}),
                vec!["You are a fly.\n\nHum."],
                json!(0.25),
            ),
            (
                json!({"assistant_id": "scripted-model", "instructions": "You are a fly."}),
                vec!["You are a fly."],
                json!(0.25),
            ),
        ] {
            say(&app, &thread, "Who?").await.expect(200);
            let path = run(&app, &thread, more.clone()).await;
            let done = until(&app, &path, "completed").await;
            assert_eq!(done["assistant_id"], more["assistant_id"]);
            assert!(!done["instructions"].as_str().unwrap().contains("You are Wasp"), "{done}");
            let sent = app.upstream.received().pop().unwrap();
            let said: Vec<String> = sent.turns().into_iter().filter(|(role, _)| role == "system").map(|(_, text)| text).collect();
            assert_eq!(said.join("|"), system.join("|"), "{more}");
            assert_eq!(sent.body["temperature"], temperature, "{more}");
        }
        say(&app, &thread, "Who?").await.expect(200);
        // Whoever asks for it again on the page asks the same.
        let path = run(&app, &thread, json!({"assistant_id": "wasp", "additional_instructions": "Sting."})).await;
        let done = until(&app, &path, "completed").await;
        let answer = text(&done["pollen"]["message_uuid"]);
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
        app.read(&answer).await;
        let sent = app.upstream.received().pop().unwrap().turns();
        assert_eq!(sent[..2].iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("|"), "You are Wasp.|Sting.");
        assert_eq!(app.get(&path).await.expect(200).json()["status"], "completed");
        let question = app.messages(&text(&chat["uuid"])).await.pop().unwrap();
        let question = text(&question["reply_to"]);
        app.put(&format!("/chat/message/{question}"), &json!({"message": "Who then?"})).await;
        let answer = app.answer_to(&text(&chat["uuid"]), &question).await;
        app.read(&answer).await;
        let sent = app.upstream.received().pop().unwrap();
        assert_eq!((sent.asked().as_str(), sent.turns()[0].1.as_str()), ("Who then?", "You are Wasp."));
        say(&app, &thread, "Who?").await.expect(200);
        let unknown = json!({"assistant_id": "asst_fly"});
        let unknown = app.post(&format!("/v1/threads/{thread}/runs"), &unknown).await;
        let error = final_error(&unknown, 404, "assistant_not_found");
        assert!(error["message"].as_str().unwrap().contains("bee, wasp"), "it says whom there is: {error}");
        app.stop().await;
    }

    async fn a_run_that_fails_says_why_and_the_next_one_answers(kind: Kind) {
        let refused = Script::json(400, &json!({"error": {"message": "no such thing"}}));
        let long = Script::stream().say(["and so"]).raw(finish("length")).raw("data: [DONE]\n\n");
        let app = TestApp::start(kind, Upstream::scripted([refused, long]).await).await;
        let thread = thread(&app, &["one"]).await;
        let path = run(&app, &thread, json!({})).await;
        let failed = until(&app, &path, "failed").await;
        assert_eq!(failed["last_error"]["code"], "invalid_prompt");
        assert!(failed["failed_at"].is_i64() && failed["completed_at"].is_null(), "{failed}");
        let page = app.get(&format!("/v1/threads/{thread}/messages?limit=1")).await.expect(200).json();
        assert_eq!(page["data"][0]["incomplete_details"]["reason"], "run_failed");
        let path = run(&app, &thread, json!({"max_completion_tokens": 5})).await;
        let cut = until(&app, &path, "incomplete").await;
        assert_eq!(cut["incomplete_details"]["reason"], "max_completion_tokens");
        assert_eq!(cut["max_completion_tokens"], 5);
        let page = app.get(&format!("/v1/threads/{thread}/messages?limit=1")).await.expect(200).json();
        let answer = &page["data"][0];
        assert_eq!((&answer["status"], &answer["incomplete_details"]["reason"]), (&json!("incomplete"), &json!("max_tokens")));
        app.stop().await;
    }

    async fn there_has_to_be_a_question(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let thread = thread(&app, &[]).await;
        let path = format!("/v1/threads/{thread}/runs");
        let body = json!({"assistant_id": "scripted-model"});
        final_error(&app.post(&path, &body).await, 400, "nothing_to_answer");
        let said = json!([{"role": "user", "content": "one"}]);
        let more = json!({"additional_messages": said, "reasoning_effort": null});
        let first = run(&app, &thread, more).await;
        until(&app, &first, "completed").await;
        final_error(&app.post(&path, &body).await, 400, "nothing_to_answer");
        // What an assistant is made to say is no question either, but is told to the model.
        say(&app, &thread, "two").await.expect(200);
        let put = json!({"role": "assistant", "content": "three"});
        app.post(&format!("/v1/threads/{thread}/messages"), &put).await.expect(200);
        final_error(&app.post(&path, &body).await, 400, "nothing_to_answer");
        say(&app, &thread, "four").await.expect(200);
        let second = run(&app, &thread, json!({})).await;
        until(&app, &second, "completed").await;
        let sent = app.upstream.received().pop().unwrap().turns();
        assert_eq!(sent[2..], turns(&[("user", "two"), ("assistant", "three"), ("user", "four")]));
        final_error(&app.post_bare(&format!("{second}/submit_tool_outputs")).await, 400, "no_tools");
        app.stop().await;
    }

    async fn a_thread_is_created_with_its_run(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let body = json!({"assistant_id": "scripted-model", "thread": {"metadata": {"a": "b"}, "messages": [
            {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
            {"role": "user", "content": [{"type": "text", "text": "three"}]}]}});
        let begun = app.post_once("/v1/threads/runs", "key", &body).await.expect(200).json();
        let again = app.post_once("/v1/threads/runs", "key", &body).await.expect(200).json();
        assert_eq!(begun["id"], again["id"], "once");
        let thread = text(&begun["thread_id"]);
        let path = format!("/v1/threads/{thread}/runs/{}", text(&begun["id"]));
        until(&app, &path, "completed").await;
        assert_eq!(listed(&app, &thread).await[0], message("assistant", "You said: three", "completed"));
        let sent = app.upstream.received();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].turns(), turns(&[("user", "one"), ("assistant", "two"), ("user", "three")]));
        let with_thread = json!({"assistant_id": "scripted-model", "thread": {}});
        let refused = app.post(&format!("/v1/threads/{thread}/runs"), &with_thread).await;
        assert_eq!(refused.expect(400).json()["error"]["param"], "thread");
        app.stop().await;
    }

    async fn what_is_kept_with_it_is_changed_and_all_of_it_deleted(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let body = json!({"metadata": {"a": "b"}, "messages": [{"role": "user", "content": "one"}]});
        let made = app.post("/v1/threads", &body).await.expect(200).json();
        assert_eq!((&made["object"], &made["metadata"]), (&json!("thread"), &json!({"a": "b"})));
        let thread = text(&made["id"]);
        let path = format!("/v1/threads/{thread}");
        assert_eq!(app.post(&path, &json!({"metadata": {"c": "d"}})).await.expect(200).json()["metadata"], json!({"c": "d"}));
        let found = app.get("/chat/list?metadata.c=d").await.expect(200).json();
        assert_eq!(found["chats"].as_array().unwrap().len(), 1, "as the chat's own");
        let long = json!({"metadata": {"k": "v".repeat(600)}});
        assert_eq!(app.post(&path, &long).await.expect(400).json()["error"]["param"], "metadata");
        let run = run(&app, &thread, json!({})).await;
        until(&app, &run, "completed").await;
        assert_eq!(app.post(&run, &json!({"metadata": {"e": "f"}})).await.expect(200).json()["metadata"], json!({"e": "f"}));
        assert_eq!(app.get(&run).await.expect(200).json()["metadata"], json!({"e": "f"}));
        let page = app.get(&format!("{path}/messages")).await.expect(200).json();
        let answer = format!("{path}/messages/{}", text(&page["data"][0]["id"]));
        assert_eq!(app.get(&answer).await.expect(200).json(), page["data"][0]);
        let deleted = app.delete(&answer).await.expect(200).json();
        assert_eq!((&deleted["object"], &deleted["deleted"]), (&json!("thread.message.deleted"), &json!(true)));
        app.get(&answer).await.expect(404);
        assert_eq!(listed(&app, &thread).await, [message("user", "one", "completed")]);
        let deleted = app.delete(&path).await.expect(200).json();
        assert_eq!(deleted, json!({"id": thread, "object": "thread.deleted", "deleted": true}));
        for gone in [&path, &run, &format!("{path}/messages"), &format!("{path}/runs")] {
            let told = app.get(gone).await.expect(404).json();
            assert!(told["error"]["code"].as_str().unwrap().ends_with("_not_found"), "{told}");
        }
        let other = app.post("/v1/threads", &json!({})).await.expect(200).json();
        let elsewhere = run.replace(&thread, &text(&other["id"]));
        app.get(&elsewhere).await.expect(404);
        app.stop().await;
    }

    async fn a_conversation_is_made_and_gone_on_in(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let items = json!([{"type": "message", "role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "input_text", "text": "one"}]}, {"role": "assistant", "content": "two"}]);
        let made = app.post("/v1/conversations", &json!({"items": items, "metadata": {"a": "b"}})).await.expect(200).json();
        assert_eq!((&made["object"], &made["metadata"]), (&json!("conversation"), &json!({"a": "b"})));
        let id = text(&made["id"]);
        let body = json!({"model": "scripted-model", "conversation": {"id": id}, "input": "three"});
        let response = app.post("/v1/responses", &body).await.expect(200).json();
        assert_eq!((&response["status"], &response["conversation"]["id"]), (&json!("completed"), &json!(id)));
        let sent = app.upstream.received().pop().unwrap().turns();
        assert_eq!(sent, turns(&[("system", "Be brief."), ("user", "one"), ("assistant", "two"), ("user", "three")]));
        let path = format!("/v1/conversations/{id}");
        app.post(&path, &json!({"metadata": {}})).await.expect(200);
        assert_eq!(app.get(&path).await.expect(200).json()["metadata"], json!({}));
        let deleted = app.delete(&path).await.expect(200).json();
        assert_eq!(deleted, json!({"id": id, "object": "conversation.deleted", "deleted": true}));
        assert_eq!(app.get(&path).await.expect(404).json()["error"]["code"], "conversation_not_found");
        app.stop().await;
    }

    async fn a_chat_of_the_page_is_a_thread(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let runs = app.get(&format!("/v1/threads/{chat}/runs")).await.expect(200).json();
        let run = &runs["data"][0];
        assert_eq!((&run["status"], &run["assistant_id"]), (&json!("completed"), &json!("scripted-model")));
        let read = app.get(&format!("/v1/threads/{chat}/messages/{answer}")).await.expect(200).json();
        assert_eq!((&read["role"], &read["run_id"]), (&json!("assistant"), &run["id"]));
        let said = app.request(Method::POST, &format!("/v1/threads/{chat}/messages"), |request| {
            request.body("{\"role\": \"user\", \"content\": \"two\"}")
        }).await;
        said.expect(200);
        // Whoever asks on the page asks behind what was said here.
        app.ask_in(&chat, "three").await;
        let sent = app.upstream.received().pop().unwrap().turns();
        assert_eq!(sent, turns(&[("user", "one"), ("assistant", "You said: one"), ("user", "two"), ("user", "three")]));
        app.stop().await;
    }
}
