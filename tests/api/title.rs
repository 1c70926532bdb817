//! Titles by a model: `chat.title_model`.

use pollen::app::App;
use pollen::config::{Config, FileNeed, Layers};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::{Script, TestApp, Upstream, app::eventually, upstream::Received};

const BY_A_MODEL: [(&str, &str); 1] = [("chat.title_model", "titles")];

fn is_for_title(request: &Received) -> bool {
    request.body["model"] == "titles"
}

/// Answers "yes", and what `title` says when it is asked for a title.
async fn upstream(title: impl Fn() -> Script + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |request| {
        if is_for_title(request) {
            title()
        } else {
            Script::answer(["yes"])
        }
    })
    .await
}

async fn start(kind: Kind, title: impl Fn() -> Script + Send + Sync + 'static) -> TestApp {
    TestApp::start_with(kind, upstream(title).await, &BY_A_MODEL).await
}

async fn chat(app: &TestApp, uuid: &str) -> Value {
    app.get(&format!("/chat/{uuid}")).await.expect(200).json()
}

/// Waits until so many titles have been asked for.
async fn asked(app: &TestApp, times: usize) -> Vec<Received> {
    eventually("the model is asked for a title", async || {
        let asked: Vec<_> = app
            .upstream
            .received()
            .into_iter()
            .filter(is_for_title)
            .collect();
        (asked.len() >= times).then_some(asked)
    })
    .await
}

/// Waits until the ledger has so many rows.
async fn recorded(app: &TestApp, attempts: u64) -> Value {
    eventually("it is recorded", async || {
        let usage = app.get("/usage?by=model").await.json();
        (usage["total"]["attempts"] == attempts).then_some(usage)
    })
    .await
}

on_both_databases! {
    async fn the_first_answer_gives_a_chat_its_title(kind: Kind) {
        let app = start(kind, || Script::answer(["\"**Tea**, and", " how to make it.\"\nmore"])).await;
        let (uuid, answer, _) = app.ask("How is tea made?").await;
        let titled = eventually("the title comes", async || {
            let chat = chat(&app, &uuid).await;
            (chat["title"] != "How is tea made?").then_some(chat)
        })
        .await;
        assert_eq!(titled["title"], "Tea, and how to make it");
        let asked = asked(&app, 1).await;
        assert_eq!(asked[0].asked(), "User: How is tea made?\n\nAssistant: yes");
        assert_eq!(asked[0].body["max_tokens"].as_i64().or(asked[0].body["max_completion_tokens"].as_i64()), Some(32));
        let usage = recorded(&app, 2).await;
        let models: Vec<_> = usage["rows"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
        assert!(models.contains(&"titles"), "{usage}");
        assert_eq!(app.get(&format!("/chat/message/{answer}/about")).await.json()["attempts"], 1, "it is not the answer's");
        app.ask_in(&uuid, "And coffee?").await;
        app.stop().await;
    }

    async fn a_chat_that_has_a_name_keeps_it(kind: Kind) {
        let gate = CancellationToken::new();
        let opened = gate.clone();
        let app = start(kind, move || Script::stream().wait(&opened).say(["Other"]).finish()).await;
        let (renamed, ..) = app.ask("one").await;
        asked(&app, 1).await;
        let change = json!({"title": "Mine"});
        app.request(Method::PATCH, &format!("/chat/{renamed}"), |r| r.json(&change)).await.expect(200);
        gate.cancel();
        recorded(&app, 2).await;
        assert_eq!(chat(&app, &renamed).await["title"], "Mine");
        let named = app.post("/chat/create", &json!({"title": "Named"})).await.expect(201).json();
        app.ask_in(named["uuid"].as_str().unwrap(), "two").await;
        recorded(&app, 3).await;
        let (last, ..) = app.ask("three").await;
        eventually("the next one is given its title", async || {
            (chat(&app, &last).await["title"] == "Other").then_some(())
        })
        .await;
        assert_eq!(asked(&app, 2).await.len(), 2, "none for a chat that has a name");
        app.stop().await;
    }

    async fn a_title_that_fails_changes_nothing(kind: Kind) {
        for script in [Script::json(500, &json!({})), Script::answer([" \n"]), Script::stream().say(["Half"]).cut()] {
            let app = start(kind, move || script.clone()).await;
            let (uuid, ..) = app.ask("one").await;
            asked(&app, 1).await;
            let (_, reader) = app.ask_in(&uuid, "two").await;
            assert_eq!((reader.status.as_str(), &chat(&app, &uuid).await["title"]), ("completed", &json!("one")));
            app.stop().await;
        }
    }

    async fn nothing_waits_for_a_title(kind: Kind) {
        let app = start(kind, || Script::stream().stall()).await;
        let (uuid, ..) = app.ask("one").await;
        asked(&app, 1).await;
        app.ask_in(&uuid, "two").await;
        // Nor does the shutdown, which would fail to leave the place in time.
        let begun = tokio::time::Instant::now();
        app.stop().await;
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    async fn without_a_model_titles_stay_as_they_are(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (uuid, ..) = app.ask("one").await;
        app.ask_in(&uuid, "two").await;
        assert_eq!((&chat(&app, &uuid).await["title"], app.upstream.received().len()), (&json!("one"), 2));
        app.stop().await;
    }
}

#[tokio::test]
async fn a_model_that_nobody_has_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pollen.toml");
    let file = "[chat]\ntitle_model = \"nobody\"\n\
        [[provider]]\nname = \"one\"\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
        [[model]]\nid = \"gpt\"\nprovider = \"one\"\n";
    std::fs::write(&path, file).unwrap();
    let database = format!("sqlite:{}", dir.path().join("pollen.db").display());
    let flag = |key: &str, value: String| ("test".to_owned(), key.to_owned(), value);
    let config = Config::load(&Layers {
        file: Some((path, FileNeed::Required)),
        flags: vec![
            flag("listen", "127.0.0.1:0".to_owned()),
            flag("database_url", database),
        ],
        ..Layers::default()
    });
    let started = App::start(&config.unwrap()).await;
    let error = started.err().unwrap().to_string();
    assert!(
        error.contains("chat.title_model") && error.contains("nobody"),
        "{error}"
    );
}
