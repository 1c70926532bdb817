//! The client for Python.

use serde_json::{Value, json};

use super::driver::Said;
use super::{Driver, Model};
use crate::support::TestApp;
use crate::support::database::Kind;
use crate::support::upstream::Received;

/// These scenarios, one after the other, on a server of their own; the server, and what was said.
async fn driven(kind: Kind, scenarios: &str, settings: &[(&str, &str)]) -> (TestApp, Said) {
    let (model, upstream) = Model::start().await;
    let app = TestApp::start_with(kind, upstream, settings).await;
    let said = Driver::python(scenarios, &[&app.base]).end(&model).await;
    (app, said)
}

/// What the model was asked when the last word was this.
fn asked(app: &TestApp, words: &str) -> Received {
    let received = app.upstream.received();
    let found = received
        .into_iter()
        .find(|request| request.asked() == words);
    found.unwrap_or_else(|| panic!("nobody asked {words}"))
}

fn turns(app: &TestApp, words: &str) -> Vec<(String, String)> {
    asked(app, words).turns()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = expected.iter();
    owned
        .map(|(role, text)| ((*role).to_owned(), (*text).to_owned()))
        .collect()
}

on_both_databases! {
    async fn a_response_from_its_beginning_to_its_end(kind: Kind) {
        let (app, said) = driven(kind, "grows,thinks,waits", &[]).await;
        let body = asked(&app, "Grow").body;
        assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.5), &json!(0.9)));
        assert!(body["max_completion_tokens"] == 500 || body["max_tokens"] == 500, "{body}");
        assert_eq!(turns(&app, "Grow"), pairs(&[("system", "Be brief."), ("user", "Grow")]));
        assert_eq!(asked(&app, "Think").body["reasoning_effort"], "low");
        // What came by the client is a chat like any other.
        let chats = app.get("/chat/list").await.json();
        assert_eq!(chats["chats"].as_array().unwrap().len(), 3);
        let list = app.get_page("/chats").await.expect(200);
        assert!(list.text.contains("Grow"), "{}", list.text);
        let response = app.get(&format!("/v1/responses/{}", said.of("response"))).await.json();
        let chat = response["pollen"]["chat_uuid"].as_str().unwrap();
        let page = app.get_page(&format!("/chat/{chat}")).await.expect(200);
        assert!(page.text.contains("Half of it, and the rest."), "{}", page.text);
        app.stop().await;
    }

    async fn an_answer_that_takes_longer_than_the_server_waits(kind: Kind) {
        let (app, _) = driven(kind, "waits_in_vain", &[("limits.longest_wait_ms", "300")]).await;
        app.stop().await;
    }

    async fn cancelling(kind: Kind) {
        let (app, _) = driven(kind, "cancels", &[]).await;
        app.stop().await;
    }

    async fn cancelling_what_waits(kind: Kind) {
        let (app, _) = driven(kind, "cancels_early", &[("worker.max_running", "1")]).await;
        assert!(app.upstream.received().iter().all(|request| request.asked() != "Never"));
        app.stop().await;
    }

    async fn a_conversation_goes_on(kind: Kind) {
        let (app, said) = driven(kind, "goes_on,converses,takes_items", &[]).await;
        let before = [("user", "one"), ("assistant", "You said: one")];
        let second = [&before[..], &[("user", "two")]].concat();
        assert_eq!(turns(&app, "two"), pairs(&second));
        assert_eq!(turns(&app, "four").len(), 7);
        let again = [&before[..], &[("user", "two again")]].concat();
        assert_eq!(turns(&app, "two again"), pairs(&again));
        assert_eq!(turns(&app, "elsewhere"), pairs(&[("user", "elsewhere")]));
        let chat = said.of("conversation").strip_prefix("conv_").unwrap();
        let chat = uuid::Uuid::try_parse(chat).unwrap();
        assert_eq!(app.messages(&chat.to_string()).await.len(), 8);
        app.stop().await;
    }

    async fn failures_and_early_ends(kind: Kind) {
        let (app, _) = driven(kind, "fails,ends_early", &[]).await;
        app.stop().await;
    }

    async fn refusals(kind: Kind) {
        let (app, _) = driven(kind, "refuses", &[]).await;
        assert_eq!(app.upstream.received().len(), 0, "nobody asked the model");
        let chats = app.get("/chat/list").await.json();
        assert_eq!(chats["chats"], json!([]), "nothing of it was stored");
        app.stop().await;
    }

    async fn a_busy_chat_is_asked_once(kind: Kind) {
        let (app, _) = driven(kind, "is_busy", &[]).await;
        app.stop().await;
    }

    async fn lists_and_deletion(kind: Kind) {
        let (app, _) = driven(kind, "lists,deletes", &[]).await;
        app.stop().await;
    }

    async fn what_is_pollens_own(kind: Kind) {
        let (app, _) = driven(kind, "once,on_from", &[]).await;
        app.stop().await;
    }

    async fn an_answer_of_pollens_own_routes_is_a_response(kind: Kind) {
        let (model, upstream) = Model::start().await;
        let app = TestApp::start(kind, upstream).await;
        let (chat, answer, _) = app.ask("By hand").await;
        let said = Driver::python("by_message", &[&app.base, &answer]).end(&model).await;
        assert_eq!(said.of("chat"), chat);
        let messages = app.messages(&chat).await;
        let said: Vec<&Value> = messages.iter().map(|message| &message["content"]).collect();
        assert_eq!(said, ["By hand", "You said: By hand", "And by client", "You said: And by client"]);
        app.stop().await;
    }

    async fn a_hundred_responses_at_once(kind: Kind) {
        let (app, said) = driven(kind, "hundred", &[]).await;
        assert!(said.of("done").contains("response completed"));
        let received = app.upstream.received();
        let mut asked: Vec<String> = received.iter().map(Received::asked).collect();
        asked.sort();
        asked.dedup();
        assert_eq!((received.len(), asked.len()), (100, 100), "each was asked once");
        app.stop().await;
    }

    async fn threads_and_runs(kind: Kind) {
        let scenarios = "creates_and_polls,polls_at_the_servers_pace,runs_anew,runs_end,has_assistants";
        let (app, said) = driven(kind, scenarios, &[]).await;
        let hello = asked(&app, "Hello");
        assert_eq!(hello.turns(), pairs(&[("system", "Be brief."), ("user", "Hello")]));
        let next = turns(&app, "And now?");
        assert_eq!(next[next.len() - 3..], pairs(&[("user", "Hello"), ("assistant", "You said: Hello"), ("user", "And now?")]));
        assert!(next[0].1.contains("Be kind."), "{next:?}");
        // A thread is a chat like any other.
        let chat = said.of("thread").strip_prefix("thread_").unwrap();
        let chat = uuid::Uuid::try_parse(chat).unwrap();
        let page = app.get_page(&format!("/chat/{chat}")).await.expect(200);
        assert!(page.text.contains("You said: And now?"), "{}", page.text);
        app.stop().await;
    }

    async fn completions(kind: Kind) {
        let (app, _) = driven(kind, "completes", &[]).await;
        let expected = [("system", "Be brief."), ("user", "Who are you?"), ("assistant", "A bee."), ("user", "And now?")];
        assert_eq!(turns(&app, "And now?"), pairs(&expected));
        let body = asked(&app, "And now?").body;
        assert_eq!((&body["seed"], &body["stop"]), (&json!(7), &json!(["END"])));
        app.stop().await;
    }

    async fn a_completion_that_takes_longer_than_the_server_waits(kind: Kind) {
        let settings = [("limits.longest_wait_ms", "300")];
        let (app, _) = driven(kind, "completes_too_late", &settings).await;
        assert_eq!(app.upstream.received().len(), 1, "the model was asked once");
        app.stop().await;
    }
}
