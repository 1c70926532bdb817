//! `/v1/responses`: asked for, polled, ended, deleted.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{create, ended, grown, output_text, read};
use crate::support::upstream::finish;
use crate::support::{Script, TestApp, Upstream, app::eventually};

/// What is there in each state.
const ALWAYS: [&str; 19] = [
    "background",
    "completed_at",
    "created_at",
    "error",
    "id",
    "incomplete_details",
    "instructions",
    "metadata",
    "model",
    "object",
    "output",
    "parallel_tool_calls",
    "previous_response_id",
    "status",
    "store",
    "temperature",
    "tool_choice",
    "tools",
    "usage",
];

fn assert_whole(response: &Value) {
    for key in ALWAYS {
        assert!(response.get(key).is_some(), "{key}: {response}");
    }
    let is_over = !["queued", "in_progress"].contains(&response["status"].as_str().unwrap());
    assert_eq!(response["usage"].is_object(), is_over, "{response}");
    assert_eq!(
        response["pollen"]["poll_after_ms"].is_null(),
        is_over,
        "{response}"
    );
}

/// Says something, and goes on once the gate is open.
fn pauses(gate: &CancellationToken) -> Script {
    Script::stream()
        .say(["half ", "an "])
        .wait(gate)
        .say(["answer"])
        .finish()
}

/// What a program has of a text that it polls for what is new.
#[derive(Default)]
struct Reader {
    text: String,
    position: u64,
    replaced: usize,
}

impl Reader {
    async fn poll(&mut self, app: &TestApp, id: &str) -> Value {
        let path = format!("/v1/responses/{id}?starting_after={}", self.position);
        let now = app.get(&path).await.expect(200).json();
        let text = output_text(&now);
        if now["pollen"]["append"].as_bool().unwrap() {
            self.text += &text;
        } else {
            self.text = text;
            self.replaced += 1;
        }
        self.position = now["pollen"]["position"].as_u64().unwrap();
        now
    }

    async fn read_to_the_end(&mut self, app: &TestApp, id: &str) -> Value {
        eventually("the text is at its end", async || {
            let now = self.poll(app, id).await;
            now["pollen"]["poll_after_ms"].is_null().then_some(now)
        })
        .await
    }
}

on_both_databases! {
    async fn one_grows_in_the_background_and_says_what_it_took(kind: Kind) {
        let gate = CancellationToken::new();
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}});
        let script = Script::stream().say(["half ", "an "]).wait(&gate).say(["ånswer"])
            .raw(finish("stop")).raw(format!("data: {usage}\n\ndata: [DONE]\n\n"));
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let asked = json!({"model": "scripted-model", "input": "one", "metadata": {"topic": "x"}, "temperature": 0.5,
            "max_output_tokens": 50});
        let first = create(&app, asked).await;
        assert_whole(&first);
        assert_eq!((&first["status"], &first["output"]), (&json!("queued"), &json!([])));
        let growing = grown(&app, &first, "half an ").await;
        assert_whole(&growing);
        assert_eq!(growing["status"], "in_progress");
        assert_eq!(growing["output"][0]["status"], "in_progress");
        assert_eq!(growing["output"][0]["content"][0]["annotations"], json!([]));
        gate.cancel();
        let done = ended(&app, &first).await;
        assert_whole(&done);
        assert_eq!((output_text(&done).as_str(), &done["status"]), ("half an ånswer", &json!("completed")));
        assert_eq!(done["usage"], json!({"input_tokens": 11, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
            "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 18}));
        assert_eq!(done["pollen"]["usage_estimated"], false);
        assert_eq!((&done["metadata"], &done["temperature"]), (&json!({"topic": "x"}), &json!(0.5)));
        assert!(done["completed_at"].as_i64() >= done["created_at"].as_i64());
        let sent = &app.upstream.received()[0].body;
        assert_eq!(sent["temperature"], 0.5);
        // The same as the page has it.
        let chat = done["pollen"]["chat_uuid"].as_str().unwrap();
        let messages = app.messages(chat).await;
        assert_eq!(messages[1]["content"], "half an ånswer");
        assert_eq!(app.get("/chats").await.json()["chats"][0]["title"], "one");
        app.stop().await;
    }

    async fn what_is_new_since_a_position_comes_to_the_whole(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["å", "ß", "∂"]).wait(&gate).say(["ƒ", " end"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script, Script::answer(["anew"])]).await).await;
        let first = create(&app, json!({"input": "one"})).await;
        let id = first["id"].as_str().unwrap();
        grown(&app, &first, "åß∂").await;
        let mut reader = Reader::default();
        let now = reader.poll(&app, id).await;
        assert_eq!((reader.text.as_str(), &now["status"]), ("åß∂", &json!("in_progress")));
        let now = reader.poll(&app, id).await;
        assert_eq!((&now["output"], &now["pollen"]["append"]), (&json!([]), &json!(true)), "nothing is new");
        gate.cancel();
        let done = reader.read_to_the_end(&app, id).await;
        assert_eq!((reader.text.as_str(), reader.replaced, &done["status"]), ("åß∂ƒ end", 0, &json!("completed")));
        let mut stray = Reader { position: 1, ..Reader::default() };
        stray.read_to_the_end(&app, id).await;
        assert_eq!((stray.text.as_str(), stray.replaced), ("åß∂ƒ end", 1), "inside a character it heals");
        // Asked again on the page, the answer is another response; this one keeps its own words.
        let message = done["pollen"]["message_uuid"].as_str().unwrap();
        app.post_bare(&format!("/chat/message/{message}/regenerate")).await.expect(202);
        assert_eq!(app.read(message).await.text, "anew");
        assert_eq!(output_text(&read(&app, &first).await), "åß∂ƒ end");
        let other = app.get(&format!("/v1/responses/{message}")).await.expect(200).json();
        assert_eq!(output_text(&other), "anew");
        assert_ne!(other["id"], first["id"]);
        let refused = app.get(&format!("/v1/responses/{id}?starting_after=-1")).await.expect(400).json();
        assert_eq!(refused["error"]["param"], "starting_after");
        app.stop().await;
    }

    async fn a_restart_in_the_middle_has_the_text_begun_anew(kind: Kind) {
        let upstream = Upstream::scripted([pauses(&CancellationToken::new()), Script::answer(["said anew"])]).await;
        let mut app = TestApp::start(kind, upstream).await;
        let first = create(&app, json!({"input": "one", "instructions": "Be brief."})).await;
        let id = first["id"].as_str().unwrap();
        grown(&app, &first, "half an ").await;
        let mut reader = Reader::default();
        reader.poll(&app, id).await;
        let before = reader.position;
        app.shut_down().await;
        app.run().await;
        let done = reader.read_to_the_end(&app, id).await;
        assert_eq!((reader.text.as_str(), &done["status"]), ("said anew", &json!("completed")));
        assert!(reader.replaced == 1 && reader.position > before, "P2 and P3");
        assert_eq!(output_text(&read(&app, &first).await), "said anew");
        let sent = app.upstream.received().pop().unwrap().turns();
        assert_eq!(sent[0], ("system".to_owned(), "Be brief.".to_owned()), "the instructions hold for each attempt");
        app.stop().await;
    }

    async fn another_node_tells_the_same(kind: Kind) {
        let gate = CancellationToken::new();
        let app = TestApp::start(kind, Upstream::scripted([pauses(&gate)]).await).await;
        let Some(other) = app.another_node_or_none().await else {
            return app.stop().await;
        };
        let first = create(&app, json!({"input": "one"})).await;
        grown(&app, &first, "half an ").await;
        grown(&other, &first, "half an ").await;
        let id = first["id"].as_str().unwrap();
        let (mut here, mut there) = (Reader::default(), Reader::default());
        here.poll(&app, id).await;
        eventually("the other node has seen it", async || {
            there.poll(&other, id).await;
            (there.text == "half an ").then_some(())
        }).await;
        gate.cancel();
        there.read_to_the_end(&other, id).await;
        here.read_to_the_end(&app, id).await;
        assert_eq!((here.text.as_str(), there.text.as_str()), ("half an answer", "half an answer"));
        app.settle().await;
        other.abandon().await;
        app.stop().await;
    }

    async fn one_in_the_foreground_is_whole_or_says_how_far_it_is(kind: Kind) {
        let gate = CancellationToken::new();
        let upstream = Upstream::scripted([Script::answer(["at once"]), pauses(&gate)]).await;
        let app = TestApp::start_with(kind, upstream, &[("limits.longest_wait_ms", "300")]).await;
        let answer = async |text: &str| {
            app.post("/v1/responses", &json!({"input": text})).await.expect(200)
        };
        // The first may take longer than the server waits, on a machine that has much to do.
        let done = ended(&app, &answer("one").await.json()).await;
        assert_eq!((output_text(&done).as_str(), &done["background"]), ("at once", &json!(false)));
        let late = answer("two").await;
        assert_eq!(late.header("openai-poll-after-ms"), "300");
        let late = late.json();
        assert!(["queued", "in_progress"].contains(&late["status"].as_str().unwrap()), "{late}");
        gate.cancel();
        assert_eq!(output_text(&ended(&app, &late).await), "half an answer");
        app.stop().await;
    }

    async fn a_cancel_keeps_what_was_said_and_is_harmless_twice(kind: Kind) {
        let upstream = Upstream::start(|request| match request.asked().as_str() {
            "one" => pauses(&CancellationToken::new()),
            other => Script::answer([format!("to {other}")]),
        });
        let app = TestApp::start(kind, upstream.await).await;
        let first = create(&app, json!({"input": "one"})).await;
        grown(&app, &first, "half an ").await;
        let path = format!("/v1/responses/{}/cancel", first["id"].as_str().unwrap());
        let done = app.post_bare(&path).await.expect(200);
        assert_eq!(done.header("openai-poll-after-ms"), "");
        let done = done.json();
        assert_whole(&done);
        assert_eq!((&done["status"], output_text(&done).as_str()), (&json!("cancelled"), "half an "));
        assert_eq!((&done["output"][0]["status"], &done["error"]), (&json!("incomplete"), &json!(null)));
        assert_eq!(done["pollen"]["usage_estimated"], true);
        assert!(done["usage"]["output_tokens"].as_i64() > Some(0), "{done}");
        app.upstream.received()[0].gone.cancelled().await;
        assert_eq!(app.post_bare(&path).await.expect(200).json(), done);
        assert_eq!(read(&app, &first).await, done);
        let over = ended(&app, &create(&app, json!({"input": "two"})).await).await;
        let path = format!("/v1/responses/{}/cancel", over["id"].as_str().unwrap());
        let late = app.post_bare(&path);
        assert_eq!(late.await.expect(200).json(), over, "too late, and nothing is changed");
        app.stop().await;
    }

    async fn one_that_waits_is_withdrawn(kind: Kind) {
        let upstream = Upstream::start(|_| pauses(&CancellationToken::new())).await;
        let app = TestApp::start_with(kind, upstream, &[("worker.max_running", "1")]).await;
        let running = create(&app, json!({"input": "one"})).await;
        grown(&app, &running, "half ").await;
        let waiting = create(&app, json!({"input": "two"})).await;
        let path = format!("/v1/responses/{}/cancel", waiting["id"].as_str().unwrap());
        let done = app.post_bare(&path).await.expect(200).json();
        assert_whole(&done);
        assert_eq!((&done["status"], &done["output"]), (&json!("cancelled"), &json!([])));
        assert_eq!(done["usage"]["total_tokens"], 0);
        assert_eq!(app.upstream.received().len(), 1);
        app.post_bare(&format!("/v1/responses/{}/cancel", running["id"].as_str().unwrap())).await.expect(200);
        app.stop().await;
    }

    async fn one_that_is_deleted_is_gone_with_its_chat(kind: Kind) {
        let upstream = Upstream::start(|_| pauses(&CancellationToken::new())).await;
        let app = TestApp::start(kind, upstream).await;
        let first = create(&app, json!({"input": "one", "instructions": "a secret word"})).await;
        grown(&app, &first, "half an ").await;
        let path = format!("/v1/responses/{}", first["id"].as_str().unwrap());
        let deleted = app.delete(&path).await.expect(200).json();
        assert_eq!(deleted, json!({"id": first["id"], "object": "response", "deleted": true}));
        app.upstream.received()[0].gone.cancelled().await;
        for path in [path.clone(), format!("{path}/input_items")] {
            let gone = app.get(&path).await.expect(404).json();
            assert_eq!(gone["error"]["code"], "response_not_found");
        }
        assert_eq!(app.delete(&path).await.status, 404);
        assert_eq!(app.get("/chats").await.json()["chats"], json!([]));
        // A person's chat stays, whatever is deleted in it.
        let chat = app.create_chat().await;
        let message = app.send(&chat, "three").await;
        let answer = app.answer_to(&chat, &message).await;
        app.delete(&format!("/v1/responses/{answer}")).await.expect(200);
        let left = app.messages(&chat).await;
        assert!(left.iter().all(|message| !message["deleted_at"].is_null() || message["content"] == ""), "{left:?}");
        assert_eq!(app.get(&format!("/chat/{chat}")).await.status, 200);
        app.stop().await;
    }

    async fn failures_and_cut_answers_are_told_in_openais_words(kind: Kind) {
        let status = |status: u16, message: &str| Script::json(status, &json!({"error": {"message": message}}));
        let upstream = Upstream::start(move |request| match request.asked().as_str() {
            "length" => Script::stream().say(["too long"]).raw(finish("length")),
            "filter" => Script::stream().say(["some"]).raw(finish("content_filter")),
            "key" => status(401, "no such key"),
            "refused" => status(400, "this prompt is not valid"),
            "broken" => Script::stream().say(["begun"]).cut(),
            _ => status(429, "slow down"),
        });
        let settings = [("upstream.max_retries", "0"), ("worker.max_attempts", "1")];
        let app = TestApp::start_with(kind, upstream.await, &settings).await;
        for (asked, status, reason, code, text) in [
            ("length", "incomplete", json!("max_output_tokens"), json!(null), "too long"),
            ("filter", "incomplete", json!("content_filter"), json!(null), "some"),
            ("key", "failed", json!(null), json!("server_error"), ""),
            ("refused", "failed", json!(null), json!("invalid_prompt"), ""),
            ("broken", "failed", json!(null), json!("server_error"), "begun"),
            ("limited", "failed", json!(null), json!("rate_limit_exceeded"), ""),
        ] {
            let done = ended(&app, &create(&app, json!({"input": asked})).await).await;
            assert_whole(&done);
            let told = (
                done["status"].as_str().unwrap(),
                done["incomplete_details"].get("reason").cloned().unwrap_or_default(),
                done["error"].get("code").cloned().unwrap_or_default(),
                output_text(&done),
            );
            assert_eq!(told, (status, reason, code, text.to_owned()), "{done}");
            if status == "failed" {
                assert!(!done["error"]["message"].as_str().unwrap().is_empty());
            }
        }
        app.stop().await;
    }

    async fn what_a_model_thinks_is_an_item_of_its_own(kind: Kind) {
        let thought = json!({"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]});
        let script = Script::stream().raw(format!("data: {thought}\n\n")).say(["So."]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let done = ended(&app, &create(&app, json!({"input": "one"})).await).await;
        let output = done["output"].as_array().unwrap();
        assert_eq!((&output[0]["type"], &output[1]["type"]), (&json!("reasoning"), &json!("message")));
        assert_eq!(output[0]["summary"], json!([{"type": "summary_text", "text": "Hm."}]));
        assert_eq!(output_text(&done), "So.");
        app.stop().await;
    }

    async fn a_key_has_one_effect(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let body = json!({"input": "one", "background": true});
        let first = app.post_once("/v1/responses", "k1", &body).await.expect(200).json();
        let again = app.post_once("/v1/responses", "k1", &body).await.expect(200).json();
        assert_eq!(first["id"], again["id"]);
        let other = json!({"input": "two", "background": true});
        let refused = app.post_once("/v1/responses", "k1", &other).await.expect(422).json();
        assert_eq!(refused["error"]["code"], "idempotency_key_reused");
        assert_eq!(app.get("/chats").await.json()["chats"].as_array().unwrap().len(), 1);
        app.stop().await;
    }

    async fn every_answer_of_the_callers_is_a_response(kind: Kind) {
        let app = TestApp::start(kind, Upstream::scripted([Script::answer(["by hand"])]).await).await;
        let (chat, answer, _) = app.ask("asked on the page").await;
        let question = app.messages(&chat).await[0]["uuid"].as_str().unwrap().to_owned();
        let by_answer = app.get(&format!("/v1/responses/{answer}")).await.expect(200).json();
        assert_whole(&by_answer);
        assert_eq!((output_text(&by_answer).as_str(), &by_answer["status"]), ("by hand", &json!("completed")));
        assert_eq!(app.get(&format!("/v1/responses/{question}")).await.expect(200).json(), by_answer);
        let simple = format!("msg_{}", answer.replace('-', ""));
        assert_eq!(app.get(&format!("/v1/responses/{simple}")).await.expect(200).json(), by_answer);
        assert_eq!(read(&app, &by_answer).await, by_answer);
        // One that was brought from elsewhere has no request here.
        let exported = app.get(&format!("/chat/{chat}/export?format=json")).await.expect(200).json();
        let imported = app.post("/chats/import", &exported).await.expect(201).json();
        let copy = imported["chats"][0]["uuid"].as_str().unwrap_or_else(|| panic!("{imported}")).to_owned();
        let copied = app.messages(&copy).await[1]["uuid"].as_str().unwrap().to_owned();
        let brought = app.get(&format!("/v1/responses/{copied}")).await.expect(200).json();
        assert_whole(&brought);
        assert_eq!((output_text(&brought).as_str(), &brought["status"]), ("by hand", &json!("completed")));
        for none in [&chat, "resp_none", "resp_00000000000000000000000000000000"] {
            let missing = app.get(&format!("/v1/responses/{none}")).await.expect(404).json();
            assert_eq!(missing["error"]["code"], "response_not_found");
        }
        app.stop().await;
    }

    async fn one_that_nobody_wants_kept_goes_after_an_hour(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let done = app.post("/v1/responses", &json!({"input": "one", "store": false})).await.expect(200).json();
        let done = ended(&app, &done).await;
        assert_eq!(done["store"], false);
        let chat: entity::ChatId = serde_json::from_value(done["pollen"]["chat_uuid"].clone()).unwrap();
        let db = app.database.connect().await;
        let row = <entity::chat::Entity as sea_orm::EntityTrait>::find_by_id(chat).one(&db).await.unwrap().unwrap();
        assert_eq!(row.expires_at, Some(row.created_at.plus_ms(3_600_000)));
        db.close().await.unwrap();
        app.stop().await;
    }
}
