//! Metadata: set, shown, changed, and looked for.

use serde_json::{Value, json};

use crate::support::{TestApp, Upstream};

async fn create(app: &TestApp, metadata: Value) -> String {
    let body = json!({"metadata": metadata});
    let made = app.post("/chat/create", &body).await.expect(201).json();
    assert_eq!(made["metadata"], body["metadata"]);
    made["uuid"].as_str().unwrap().to_owned()
}

async fn found(app: &TestApp, query: &str) -> Vec<String> {
    let list = app
        .get(&format!("/chat/list?{query}"))
        .await
        .expect(200)
        .json();
    let chats = list["chats"].as_array().unwrap().iter();
    chats
        .map(|chat| chat["uuid"].as_str().unwrap().to_owned())
        .collect()
}

on_both_databases! {
    async fn chats_are_found_by_all_of_the_pairs_that_are_named(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let first = create(&app, json!({"project_id": "7", "task_id": "x"})).await;
        let second = create(&app, json!({"project_id": "7", "task_id": "y"})).await;
        create(&app, json!({"project_id": "70"})).await;
        let plain = app.create_chat().await;
        let read = app.get(&format!("/chat/{plain}")).await.expect(200).json();
        assert_eq!(read["metadata"], json!({}));
        assert_eq!(found(&app, "metadata.project_id=7").await, [second.as_str(), &first]);
        assert_eq!(found(&app, "metadata.project_id=7&metadata.task_id=x").await, [first.as_str()]);
        assert_eq!(found(&app, "metadata.task_id=7").await, [""; 0]);
        assert_eq!(found(&app, "").await.len(), 4);
        // The page of all chats takes them, too.
        let page = app.get("/chats?metadata.task_id=y").await.expect(200).json();
        assert_eq!(page["chats"].as_array().unwrap().len(), 1);
        app.stop().await;
    }

    async fn keys_and_values_are_taken_to_the_letter(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        for (number, (key, value)) in [
            ("a \"b\" $.c", "'; DROP TABLE chat; --"), ("ключ", "значение"), ("%", "_%"), ("a.b[0]", "{\"x\":1}"), ("back\\slash", ""),
        ].into_iter().enumerate() {
            let chat = create(&app, json!({key: value, "number": number.to_string()})).await;
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair(&format!("metadata.{key}"), value).finish();
            assert_eq!(found(&app, &query).await, [chat], "{key}");
        }
        assert_eq!(found(&app, "metadata.%25=x%25").await, [""; 0]);
        // A number is no string, and no other type of value is stored.
        assert_eq!(found(&app, "metadata.number=0").await.len(), 1);
        app.stop().await;
    }

    async fn pages_of_what_was_looked_for_hold_each_chat_once(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let mut wanted = Vec::new();
        for number in 0..14 {
            let chat = create(&app, json!({"project_id": (number % 2).to_string()})).await;
            if number % 2 == 1 {
                wanted.push(chat);
            }
        }
        wanted.reverse();
        let (mut seen, mut path) = (Vec::new(), "/chat/list?limit=3&metadata.project_id=1".to_owned());
        loop {
            let page = app.get(&path).await.expect(200).json();
            let chats = page["chats"].as_array().unwrap();
            assert!(chats.len() <= 3);
            seen.extend(chats.iter().map(|c| c["uuid"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/chat/list?limit=3&metadata.project_id=1&cursor={next}");
        }
        assert_eq!(seen, wanted);
        app.stop().await;
    }

    async fn an_update_replaces_all_pairs_and_null_takes_them_away(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = create(&app, json!({"project_id": "7", "task_id": "x"})).await;
        let path = format!("/chat/{chat}");
        let change = async |body: Value| {
            app.request(reqwest::Method::PATCH, &path, |r| r.json(&body)).await.expect(200).json()
        };
        assert_eq!(change(json!({"title": "Other"})).await["metadata"]["task_id"], "x");
        assert_eq!(change(json!({"metadata": {"project_id": "8"}})).await["metadata"], json!({"project_id": "8"}));
        assert_eq!(found(&app, "metadata.project_id=8").await, [chat.as_str()]);
        assert_eq!(found(&app, "metadata.task_id=x").await, [""; 0]);
        assert_eq!(change(json!({"metadata": null})).await["metadata"], json!({}));
        assert_eq!(change(json!({"metadata": {}})).await["metadata"], json!({}));
        assert_eq!(found(&app, "metadata.project_id=8").await, [""; 0]);
        app.stop().await;
    }

    async fn pairs_that_are_not_taken_are_named(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let many: Value = (0..17).map(|n| (n.to_string(), json!(""))).collect::<serde_json::Map<_, _>>().into();
        let chat = app.create_chat().await;
        for (metadata, said) in [
            (many, "17 pairs"),
            (json!({"": "x"}), "empty"),
            (json!({"k".repeat(65): "x"}), "64 characters"),
            (json!({"k": "v".repeat(513)}), "512 characters"),
            (json!({"a\u{0}": "x"}), "control character"),
            (json!({"a": "x\u{0}"}), "at \"a\" that holds a control character"),
            (json!({"a": 7}), "expected a string"),
            (json!({"a": {"b": "c"}}), "expected a string"),
            (json!(["a"]), "expected a map"),
        ] {
            let body = json!({"metadata": metadata});
            let created = app.post("/chat/create", &body).await.expect(422);
            assert!(created.text.contains(&said.replace('"', "\\\"")), "{said}: {}", created.text);
            app.request(reqwest::Method::PATCH, &format!("/chat/{chat}"), |r| r.json(&body)).await.expect(422);
        }
        for query in ["metadata.=x", "metadata.a=1&metadata.a=2", "metadata=x", "metadatum.a=x", "metadata.a=%00"] {
            app.get(&format!("/chat/list?{query}")).await.expect(400);
        }
        assert_eq!(found(&app, "").await.len(), 1, "nothing was created");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_finds_or_reads_another_s_metadata() {
    use crate::security::callers::{As, token};
    use entity::api_token::Scope;
    let settings = [("auth.modes", "token")];
    let kind = crate::support::database::Kind::Sqlite;
    let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
    let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
    let bob = As::bearer(&token(&app, "bob", Scope::Write).await);
    let body = json!({"metadata": {"project_id": "secretproject"}});
    let made = alice
        .post(&app, "/chat/create", &body)
        .await
        .expect(201)
        .json();
    let chat = made["uuid"].as_str().unwrap();
    let list = "/chat/list?metadata.project_id=secretproject";
    let theirs = bob.get(&app, list).await.expect(200).json();
    assert_eq!(theirs["chats"], json!([]));
    bob.get(&app, &format!("/chat/{chat}")).await.expect(404);
    // Nor does who has a link.
    let shared = alice
        .post(&app, &format!("/chat/{chat}/shares"), &json!({}))
        .await
        .expect(201)
        .json();
    let url = shared["url"].as_str().unwrap();
    let path = &url[url.find("/shared/").unwrap()..];
    let read = As::nobody().get(&app, path).await.expect(200);
    assert!(!read.text.contains("secretproject"), "{}", read.text);
    app.stop().await;
}
