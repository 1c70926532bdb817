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
}
