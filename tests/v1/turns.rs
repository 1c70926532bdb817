//! How responses go on from one another, and what the model is given.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{create, ended, grown, output_text};
use crate::support::{Script, TestApp, Upstream};

/// Answers each question with what it was.
async fn answering() -> Upstream {
    Upstream::start(|request| Script::answer([format!("to {}", request.asked())])).await
}

async fn asked(app: &TestApp, body: Value) -> Value {
    ended(app, &create(app, body).await).await
}

fn chat(response: &Value) -> &str {
    response["pollen"]["chat_uuid"].as_str().unwrap()
}

/// What the model was given last, in words.
fn given(app: &TestApp) -> Vec<String> {
    let turns = app.upstream.received().pop().unwrap().turns();
    let spelled = turns
        .into_iter()
        .map(|(role, text)| format!("{role}: {text}"));
    spelled.collect()
}

on_both_databases! {
    async fn one_goes_on_in_the_chat_of_the_one_before(kind: Kind) {
        let app = TestApp::start(kind, answering().await).await;
        let one = asked(&app, json!({"input": "one", "instructions": "Be brief."})).await;
        assert_eq!(given(&app), ["system: Be brief.", "user: one"]);
        let two = asked(&app, json!({"input": "two", "previous_response_id": one["id"]})).await;
        assert_eq!(given(&app), ["user: one", "assistant: to one", "user: two"], "instructions are for one answer");
        assert_eq!((&two["instructions"], &one["instructions"]), (&json!(null), &json!("Be brief.")));
        assert_eq!((chat(&two), &two["previous_response_id"]), (chat(&one), &one["id"]));
        let conversation = json!({"id": two["conversation"]["id"]});
        let three = asked(&app, json!({"input": "three", "conversation": conversation, "instructions": "Sing."})).await;
        assert_eq!(given(&app), [
            "system: Sing.", "user: one", "assistant: to one", "user: two", "assistant: to two", "user: three",
        ]);
        assert_eq!((chat(&three), &three["previous_response_id"]), (chat(&one), &json!(null)));
        // A person goes on in it, and the program behind them.
        app.ask_in(chat(&one), "four").await;
        asked(&app, json!({"input": "five", "conversation": chat(&one)})).await;
        assert_eq!(given(&app).len(), 9);
        assert_eq!(app.get("/chats").await.json()["chats"].as_array().unwrap().len(), 1);
        app.stop().await;
    }

    async fn one_that_goes_on_from_an_earlier_one_has_a_chat_of_its_own(kind: Kind) {
        let app = TestApp::start(kind, answering().await).await;
        let one = asked(&app, json!({"input": "one"})).await;
        let two = asked(&app, json!({"input": "two", "previous_response_id": one["id"]})).await;
        let other = asked(&app, json!({"input": "another two", "previous_response_id": one["id"]})).await;
        assert_eq!(given(&app), ["user: one", "assistant: to one", "user: another two"]);
        assert_ne!(chat(&other), chat(&one));
        assert_eq!(chat(&two), chat(&one));
        let texts = |messages: Vec<Value>| messages.iter().map(|m| m["content"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(texts(app.messages(chat(&one)).await), ["one", "to one", "two", "to two"], "nothing was touched");
        assert_eq!(texts(app.messages(chat(&other)).await), ["one", "to one", "another two", "to another two"]);
        let three = asked(&app, json!({"input": "three", "previous_response_id": other["id"]})).await;
        assert_eq!(given(&app).len(), 5);
        assert_eq!(chat(&three), chat(&other));
        app.stop().await;
    }

    async fn many_at_once_go_on_from_one_and_each_is_asked_once(kind: Kind) {
        let app = TestApp::start(kind, answering().await).await;
        let one = asked(&app, json!({"input": "one"})).await;
        let bodies: Vec<Value> = (0..8)
            .map(|n| json!({"input": format!("next {n}"), "previous_response_id": one["id"], "background": true}))
            .collect();
        let all = futures::future::join_all(bodies.iter().map(|body| app.post("/v1/responses", body))).await;
        let mut chats = std::collections::HashSet::new();
        for (number, created) in all.into_iter().enumerate() {
            let done = ended(&app, &created.expect(200).json()).await;
            assert_eq!(output_text(&done), format!("to next {number}"));
            chats.insert(chat(&done).to_owned());
        }
        assert_eq!(chats.len(), 8, "one in the chat, the others in copies of it");
        assert!(chats.contains(chat(&one)));
        for request in app.upstream.received().iter().skip(1) {
            assert_eq!(request.turns().len(), 3, "{:?}", request.turns());
        }
        app.stop().await;
    }

    async fn what_was_said_before_comes_along(kind: Kind) {
        let app = TestApp::start(kind, answering().await).await;
        let input = json!([
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "/help is a word here"},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
             "content": [{"type": "output_text", "text": "So it is.", "annotations": []}]},
            {"role": "user", "content": [{"type": "input_text", "text": "/clear"}]},
        ]);
        let one = asked(&app, json!({"input": input})).await;
        assert_eq!(given(&app), [
            "system: Be kind.", "user: /help is a word here", "assistant: So it is.", "user: /clear",
        ], "no command is looked for in it");
        let shown = app.messages(chat(&one)).await;
        assert_eq!(shown.len(), 4, "what the system says is not shown: {shown:?}");
        let title = app.get(&format!("/chat/{}", chat(&one))).await.json()["title"].clone();
        assert_eq!(title, "/help is a word here");
        let path = format!("/v1/responses/{}/input_items", one["id"].as_str().unwrap());
        let items = app.get(&format!("{path}?order=asc&limit=3")).await.expect(200).json();
        let roles: Vec<_> = items["data"].as_array().unwrap().iter().map(|item| item["role"].clone()).collect();
        assert_eq!((roles, &items["has_more"]), (vec![json!("system"), json!("user"), json!("assistant")], &json!(true)));
        let rest = app.get(&format!("{path}?order=asc&after={}", items["last_id"].as_str().unwrap())).await.json();
        assert_eq!(rest["data"][0]["content"], json!([{"type": "input_text", "text": "/clear"}]));
        assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (1, &json!(false)));
        let latest = app.get(&path).await.json();
        assert_eq!(latest["data"][0], rest["data"][0], "the latest first, when nobody says");
        app.stop().await;
    }

    async fn a_chat_that_is_busy_says_so_and_is_not_asked_again(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| match request.asked().as_str() {
            "one" => Script::stream().say(["half "]).wait(&held).finish(),
            other => Script::answer([format!("to {other}")]),
        });
        let app = TestApp::start(kind, upstream.await).await;
        let one = create(&app, json!({"input": "one"})).await;
        grown(&app, &one, "half ").await;
        for on in [json!({"previous_response_id": one["id"]}), json!({"conversation": one["conversation"]})] {
            let mut body = json!({"input": "two", "background": true});
            body.as_object_mut().unwrap().extend(on.as_object().unwrap().clone());
            let busy = app.post("/v1/responses", &body).await.expect(409);
            assert_eq!(busy.header("x-should-retry"), "false");
            assert_eq!((busy.header("retry-after"), busy.header("retry-after-ms")), ("1", "1000"));
            assert_eq!(busy.json()["error"]["code"], "chat_busy");
        }
        assert_eq!(app.messages(chat(&one)).await.len(), 2, "nothing of it was stored");
        gate.cancel();
        ended(&app, &one).await;
        asked(&app, json!({"input": "two", "previous_response_id": one["id"]})).await;
        app.stop().await;
    }

    async fn what_came_along_with_a_question_is_deleted_with_it(kind: Kind) {
        let app = TestApp::start(kind, answering().await).await;
        let delete = async |response: &Value| {
            app.delete(&format!("/v1/responses/{}", response["id"].as_str().unwrap())).await.expect(200)
        };
        let texts = async |chat: &str| {
            let messages = app.messages(chat).await;
            let texts = messages.iter().map(|m| m["content"].as_str().unwrap().to_owned());
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>()
        };
        let along = json!([{"role": "user", "content": "before"}, {"role": "assistant", "content": "so"}, {"role": "user", "content": "one"}]);
        // A chat that was made for it alone, and a copy of one.
        let one = asked(&app, json!({"input": along})).await;
        let two = asked(&app, json!({"input": "two", "previous_response_id": one["id"]})).await;
        let copy = asked(&app, json!({"input": "three", "previous_response_id": one["id"]})).await;
        assert_ne!(chat(&copy), chat(&one));
        delete(&copy).await;
        assert_eq!(app.get(&format!("/chat/{}", chat(&copy))).await.status, 404, "with the copies");
        // What else is asked in the chat keeps it.
        let more = json!([{"role": "assistant", "content": "an aside"}, {"role": "user", "content": "four"}]);
        let four = asked(&app, json!({"input": more, "previous_response_id": two["id"]})).await;
        delete(&four).await;
        assert_eq!(texts(chat(&one)).await, ["before", "so", "one", "to one", "two", "to two"]);
        let gone = json!({"input": "x", "background": true, "previous_response_id": four["id"]});
        let refused = app.post("/v1/responses", &gone).await.expect(404).json();
        assert_eq!(refused["error"]["code"], "previous_response_not_found");
        delete(&two).await;
        delete(&one).await;
        // The system's word that came along with the only question of a chat of its own.
        let told = json!([{"role": "developer", "content": "secret"}, {"role": "user", "content": "five"}]);
        let five = asked(&app, json!({"input": told})).await;
        delete(&five).await;
        assert_eq!(app.get(&format!("/chat/{}", chat(&five))).await.status, 404);
        // A conversation that was there before stays.
        let there = app.create_chat().await;
        let six = asked(&app, json!({"input": "six", "conversation": there})).await;
        delete(&six).await;
        assert_eq!(app.get(&format!("/chat/{there}")).await.status, 200);
        app.stop().await;
    }

    async fn what_an_agent_says_to_its_model_is_not_told(kind: Kind) {
        let app = TestApp::start(kind, answering().await).await;
        let chat = app.post("/chat/create", &json!({"agent": "tutor"})).await.expect(201).json();
        let (answer, _) = app.ask_in(chat["uuid"].as_str().unwrap(), "one").await;
        let system = app.upstream.received()[0].turns().remove(0);
        assert_eq!(system.0, "system");
        let items = app.get(&format!("/v1/responses/{answer}/input_items?order=asc")).await.expect(200);
        assert!(!items.text.contains(&system.1[..20]), "{}", items.text);
        assert!(items.json()["data"].as_array().unwrap().iter().all(|item| item["role"] != "system"));
        app.stop().await;
    }

    async fn what_goes_on_in_a_chat_that_was_to_go_keeps_it(kind: Kind) {
        let app = TestApp::start(kind, answering().await).await;
        let passing = app.post("/v1/responses", &json!({"input": "one", "store": false})).await.expect(200).json();
        let passing = ended(&app, &passing).await;
        let next = asked(&app, json!({"input": "two", "previous_response_id": passing["id"]})).await;
        assert_eq!((chat(&next), &next["store"]), (chat(&passing), &json!(true)));
        let id: entity::ChatId = serde_json::from_value(next["pollen"]["chat_uuid"].clone()).unwrap();
        let db = app.database.connect().await;
        let row = <entity::chat::Entity as sea_orm::EntityTrait>::find_by_id(id).one(&db).await.unwrap().unwrap();
        assert_eq!(row.expires_at, None);
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn an_earlier_answer_that_is_written_again_keeps_its_chat_busy(kind: Kind) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| match request.asked().as_str() {
            "one" if request.body["temperature"] == 1.5 => Script::stream().say(["again "]).wait(&held).finish(),
            other => Script::answer([format!("to {other}")]),
        });
        let app = TestApp::start(kind, upstream.await).await;
        let one = asked(&app, json!({"input": "one"})).await;
        let two = asked(&app, json!({"input": "two", "previous_response_id": one["id"]})).await;
        let message = one["pollen"]["message_uuid"].as_str().unwrap();
        let body = json!({"parameters": {"temperature": 1.5}});
        app.post(&format!("/chat/message/{message}/regenerate"), &body).await.expect(202);
        let next = json!({"input": "three", "background": true, "previous_response_id": two["id"]});
        let busy = app.post("/v1/responses", &next).await.expect(409);
        assert_eq!(busy.header("x-should-retry"), "false");
        gate.cancel();
        app.settle().await;
        app.post("/v1/responses", &next).await.expect(200);
        app.stop().await;
    }

    async fn many_at_once_are_asked_where_a_tier_counts_them(kind: Kind) {
        let settings = [("default_tier", "enterprise")];
        let app = TestApp::start_with(kind, answering().await, &settings).await;
        let bodies: Vec<Value> = (0..24).map(|n| json!({"input": format!("n {n}"), "background": true})).collect();
        let all = futures::future::join_all(bodies.iter().map(|body| app.post("/v1/responses", body))).await;
        for created in all {
            ended(&app, &created.expect(200).json()).await;
        }
        app.stop().await;
    }
}
