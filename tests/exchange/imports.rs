//! `POST /chats/import`: what is taken, and what is said of the rest.

use serde_json::{Value, json};

use super::{document, export};
use crate::support::{TestApp, Upstream};

async fn count(app: &TestApp) -> usize {
    let list = app.get("/chat/list?limit=100").await.expect(200).json();
    list["chats"].as_array().unwrap().len()
}

on_both_databases! {
    async fn a_list_is_imported_as_a_whole_or_not_at_all(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let both = json!([document(), document()]);
        let made = app.post("/chats/import", &both).await.expect(201).json();
        assert_eq!(made["chats"].as_array().unwrap().len(), 2);
        assert_eq!(count(&app).await, 2);
        let mut wrong = both;
        wrong[1]["messages"][1]["reply_to"] = json!(uuid::Uuid::now_v7());
        let refused = app.post("/chats/import", &wrong).await.expect(422);
        assert!(refused.text.contains("`chats[1].messages[1].reply_to` is the UUID of no earlier message"), "{}", refused.text);
        assert_eq!(count(&app).await, 2);
        app.stop().await;
    }

    async fn mistakes_are_named_by_their_paths(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        for (pointer, value, said) in [
            ("/title", json!(7), "`title`: invalid type: integer `7`"),
            ("/messages/1/role", json!("system"), "`messages[1].role`: unknown variant `system`, expected `user` or `assistant`"),
            ("/messages/1/versions/0/status", json!("done"), "`messages[1].versions[0].status`: unknown variant"),
            ("/messages/0/colour", json!("red"), "unknown field `colour`"),
            ("/messages/0/uuid", json!("x"), "`messages[0].uuid`"),
            ("/messages/1/created_at", json!("yesterday"), "`messages[1].created_at`"),
            ("/metadata/a", json!("\u{0}"), "`metadata` has a value at \\\"a\\\" that holds a control character"),
            ("/parameters/temperature", json!(-1), "`parameters`"),
            ("/schema", json!("https://example.org/other"), "`schema` is"),
        ] {
            let mut document = document();
            document["parameters"] = json!({});
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(parent).unwrap()[key] = value;
            let refused = app.post("/chats/import", &document).await.expect(422);
            assert!(refused.text.contains(said), "{said}: {}", refused.text);
        }
        let long: Vec<Value> = (0..101).map(|_| document()).collect();
        app.post("/chats/import", &json!(long)).await.expect(422);
        app.post("/chats/import", &json!([])).await.expect(422);
        app.post("/chats/import", &json!({})).await.expect(422);
        let half = app.request(reqwest::Method::POST, "/chats/import", |r| {
            r.header("content-type", "application/json").body("{\"schema\": ")
        });
        half.await.expect(400);
        let other = app.request(reqwest::Method::POST, "/chats/import", |r| {
            r.header("content-type", "text/plain").body("{}")
        });
        other.await.expect(415);
        assert_eq!(count(&app).await, 0);
        app.stop().await;
    }

    async fn kept_uuids_make_one_chat_however_often_it_comes(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let document = document();
        let path = "/chats/import?keep_uuids=true";
        let made = app.post(path, &document).await.expect(201).json();
        assert_eq!((&made["chats"][0]["uuid"], &made["chats"][0]["is_new"]), (&document["uuid"], &json!(true)));
        let chat = document["uuid"].as_str().unwrap().to_owned();
        let exported = export(&app, &chat).await;
        assert_eq!(exported["messages"][1]["uuid"], document["messages"][1]["uuid"]);
        app.request(reqwest::Method::PATCH, &format!("/chat/{chat}"), |r| r.json(&json!({"title": "Mine"}))).await.expect(200);
        let again = app.post(path, &document).await.expect(201).json();
        assert_eq!((&again["chats"][0]["is_new"], &again["chats"][0]["title"]), (&json!(false), &json!("Mine")));
        assert_eq!(count(&app).await, 1);
        // What was deleted may come back.
        app.delete(&format!("/chat/{chat}")).await.expect(204);
        let back = app.post(path, &document).await.expect(201).json();
        assert_eq!((&back["chats"][0]["is_new"], &back["chats"][0]["title"]), (&json!(true), &document["title"]));
        // Another chat cannot have its messages.
        let mut other = document.clone();
        other["uuid"] = json!(uuid::Uuid::now_v7());
        app.post(path, &other).await.expect(409);
        // Without being asked to keep them, there is a new chat each time.
        app.post("/chats/import", &document).await.expect(201);
        assert_eq!(count(&app).await, 2);
        app.stop().await;
    }

    async fn an_import_with_a_key_has_its_effect_once(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let document = document();
        let first = app.post_once("/chats/import", "k", &document).await.expect(201).json();
        let again = app.post_once("/chats/import", "k", &document).await.expect(201).json();
        assert_eq!(first, again);
        assert_eq!(count(&app).await, 1);
        app.stop().await;
    }

    async fn what_is_not_here_is_left_out_and_said(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let mut document = document();
        document["agent"] = json!("nobody-here");
        document["model"] = json!("no such model");
        document["expires_at"] = json!("2001-01-01T00:00:00.000Z");
        let made = app.post("/chats/import", &document).await.expect(201).json();
        let notes = made["chats"][0]["notes"].as_array().unwrap();
        assert_eq!(notes.len(), 3, "{notes:?}");
        let chat = made["chats"][0]["uuid"].as_str().unwrap();
        let exported = export(&app, chat).await;
        assert_eq!((&exported["agent"], &exported["model"], &exported["expires_at"]), (&Value::Null, &Value::Null, &Value::Null));
        let (_, reader) = app.ask_in(chat, "on").await;
        assert_eq!(reader.text, "You said: on");
        app.stop().await;
    }

    async fn an_agent_that_is_here_says_again_who_it_is(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let mut document = document();
        document["agent"] = json!("tutor");
        let made = app.post("/chats/import", &document).await.expect(201).json();
        let chat = made["chats"][0]["uuid"].as_str().unwrap().to_owned();
        assert_eq!(export(&app, &chat).await["agent"], "tutor");
        app.ask_in(&chat, "on").await;
        let told = app.upstream.received().last().unwrap().turns();
        let roles: Vec<_> = told.iter().map(|(role, _)| role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        app.stop().await;
    }

    async fn a_chat_older_than_its_tier_keeps_them_is_not_erased_at_once(kind: Kind) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pollen.toml");
        std::fs::write(&file, "default_tier = \"short\"\n[[tier]]\nname = \"short\"\nretention_days = 30\n").unwrap();
        let database = crate::support::Database::create(kind).await;
        let app = TestApp::start_with_file_and(database, Upstream::echo().await, &file, &[("worker.repair_interval_ms", "50")]).await;
        let mut document = document();
        document["updated_at"] = json!("2020-01-01T00:00:00.000Z");
        let made = app.post("/chats/import", &document).await.expect(201).json();
        assert_eq!(made["chats"][0]["notes"].as_array().unwrap().len(), 1);
        // Several sweeps later it is still there.
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        assert_eq!(count(&app).await, 1);
        app.stop().await;
    }

    async fn a_form_with_a_file_imports_without_script(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &[("export.import_bytes", "20000")]).await;
        let document = document();
        let post = async |fields: String| {
            app.request(reqwest::Method::POST, "/chats/import", |r| {
                r.header("content-type", "multipart/form-data; boundary=xYzZY").header("accept", "text/html").body(fields)
            }).await
        };
        let file = |text: &str| format!("--xYzZY\r\ncontent-disposition: form-data; name=\"document\"; filename=\"chat.json\"\r\n\
            content-type: application/json\r\n\r\n{text}\r\n");
        let keep = "--xYzZY\r\ncontent-disposition: form-data; name=\"keep_uuids\"\r\n\r\ntrue\r\n";
        let page = app.get_page("/account").await.expect(200).text;
        assert!(page.contains("action=\"/chats/import\" enctype=\"multipart/form-data\""), "{page}");
        let made = post(format!("{}{keep}--xYzZY--\r\n", file(&document.to_string()))).await;
        assert!([200, 303].contains(&made.status.as_u16()), "{}", made.text);
        let chat = document["uuid"].as_str().unwrap();
        assert_eq!(export(&app, chat).await["title"], document["title"]);
        post(format!("{}--xYzZY--\r\n", file(""))).await.expect(422);
        post(format!("{}--xYzZY--\r\n", file("{\"title\": 3}"))).await.expect(422);
        post("--xYzZY\r\nnonsense".to_owned()).await.expect(400);
        post(format!("{}--xYzZY--\r\n", file(&" ".repeat(30_000)))).await.expect(413);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_another_s_uuid() {
    use crate::security::callers::{As, token};
    use entity::api_token::Scope;
    let kind = crate::support::database::Kind::Sqlite;
    let app = TestApp::start_with(kind, Upstream::echo().await, &[("auth.modes", "token")]).await;
    let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
    let bob = As::bearer(&token(&app, "bob", Scope::Write).await);
    let document = document();
    let path = "/chats/import?keep_uuids=true";
    alice.post(&app, path, &document).await.expect(201);
    bob.post(&app, path, &document).await.expect(409);
    let list = bob.get(&app, "/chat/list").await.expect(200).json();
    assert_eq!(list["chats"], json!([]));
    app.stop().await;
}
