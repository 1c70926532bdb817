//! `/chats/export`: an archive made in the background.

use std::io::{Cursor, Read as _};

use entity::{ArchiveId, OwnerId, Timestamp, archive, archive_piece};
use sea_orm::{EntityTrait, IntoActiveModel, PaginatorTrait};
use serde_json::{Value, json};
use zip::ZipArchive;

use super::{export, normalised};
use crate::support::{TestApp, Upstream, app::eventually};

/// Polls an archive until it has ended.
async fn ended(app: &TestApp, uuid: &str) -> Value {
    eventually("the archive has ended", async || {
        let told = app
            .get(&format!("/chats/export/{uuid}"))
            .await
            .expect(200)
            .json();
        let is_pending = ["queued", "running"].contains(&told["status"].as_str().unwrap());
        (!is_pending).then_some(told)
    })
    .await
}

async fn fetch(app: &TestApp, told: &Value) -> Vec<(String, String)> {
    let url = format!("{}{}", app.base, told["file_url"].as_str().unwrap());
    let response = app.client.get(url).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let headers = response.headers().clone();
    let bytes = response.bytes().await.unwrap();
    assert_eq!(
        headers["content-length"],
        bytes.len().to_string().as_str(),
        "P8"
    );
    assert_eq!(told["bytes"], bytes.len());
    assert_eq!(headers["content-type"], "application/zip");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut files = Vec::new();
    for place in 0..archive.len() {
        let mut file = archive.by_index(place).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        files.push((file.name().unwrap().into_owned(), text));
    }
    files
}

on_both_databases! {
    async fn an_archive_has_all_chats_and_what_is_in_it_can_be_imported(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (first, ..) = app.ask("one 你好").await;
        app.ask("two").await;
        let gone = app.create_chat().await;
        app.delete(&format!("/chat/{gone}")).await.expect(204);
        let begun = app.post("/chats/export", &json!({})).await.expect(202).json();
        let uuid = begun["uuid"].as_str().unwrap();
        assert_eq!((&begun["status"], &begun["file_url"]), (&json!("queued"), &Value::Null));
        assert!(begun["poll_after_ms"].as_u64().unwrap() > 0);
        let told = ended(&app, uuid).await;
        assert_eq!((&told["status"], &told["chats_done"], &told["chats_total"]), (&json!("completed"), &json!(2), &json!(2)));
        // Any node gives it out.
        let other = app.another_node_or_none().await;
        let files = fetch(other.as_ref().unwrap_or(&app), &told).await;
        assert_eq!(files.len(), 4);
        let documents: Vec<Value> = files.iter().filter(|(name, _)| name.ends_with("/chat.json"))
            .map(|(_, text)| serde_json::from_str(text).unwrap()).collect();
        assert_eq!(documents[0], export(&app, &first).await);
        assert!(files.iter().any(|(name, text)| name.ends_with("/chat.md") && text.contains("one 你好")));
        let made = app.post("/chats/import", &json!(documents)).await.expect(201).json();
        let copy = made["chats"][0]["uuid"].as_str().unwrap();
        assert_eq!(normalised(export(&app, copy).await), normalised(documents[0].clone()));
        if let Some(other) = other {
            other.abandon().await;
        }
        app.stop().await;
    }

    async fn there_is_one_archive_at_a_time_and_get_shows_it(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        app.ask("one").await;
        let first = app.get("/chats/export").await.expect(202).json();
        let uuid = first["uuid"].as_str().unwrap();
        ended(&app, uuid).await;
        let again = app.get("/chats/export").await.expect(200).json();
        assert_eq!(again["uuid"], uuid, "a GET begins none where there is one");
        let anew = app.post("/chats/export", &json!({})).await.expect(202).json();
        assert_ne!(anew["uuid"], uuid);
        app.get(&format!("/chats/export/{uuid}")).await.expect(404);
        app.get(&format!("/chats/export/{uuid}/file")).await.expect(404);
        let uuid = anew["uuid"].as_str().unwrap();
        ended(&app, uuid).await;
        app.delete(&format!("/chats/export/{uuid}")).await.expect(204);
        app.get(&format!("/chats/export/{uuid}")).await.expect(404);
        app.stop().await;
    }

    async fn many_who_ask_at_once_get_the_same_archive(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        app.ask("one").await;
        let asked = (0..12).map(|_| async {
            app.get("/chats/export").await.json()["uuid"].as_str().unwrap().to_owned()
        });
        let mut uuids = futures::future::join_all(asked).await;
        uuids.dedup();
        assert_eq!(uuids.len(), 1, "{uuids:?}");
        ended(&app, &uuids[0]).await;
        app.stop().await;
    }

    async fn a_run_that_was_abandoned_is_begun_anew_and_not_for_ever(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        app.ask("one").await;
        let db = app.database.connect().await;
        let row = |attempt| archive::Model {
            id: ArchiveId::generate(),
            owner_id: OwnerId::LOCAL,
            status: archive::Status::Running,
            attempt,
            // A node that died had it.
            lease_expires_at: Some(Timestamp(1)),
            chats_done: 0,
            chats_total: 1,
            bytes: 0,
            pieces: 0,
            error_code: None,
            created_at: Timestamp(1),
            finished_at: None,
            expires_at: None,
        };
        let first = row(1);
        archive::Entity::insert(first.clone().into_active_model()).exec_without_returning(&db).await.unwrap();
        // It had got as far as a piece.
        let piece = archive_piece::Model { archive_id: first.id, number: 0, data: vec![1, 2, 3] };
        archive_piece::Entity::insert(piece.into_active_model()).exec_without_returning(&db).await.unwrap();
        let told = ended(&app, &first.id.to_string()).await;
        assert_eq!(told["status"], "completed");
        assert_eq!(fetch(&app, &told).await.len(), 2);
        app.delete(&format!("/chats/export/{}", first.id)).await.expect(204);
        let last = row(5);
        archive::Entity::insert(last.clone().into_active_model()).exec_without_returning(&db).await.unwrap();
        let told = ended(&app, &last.id.to_string()).await;
        assert_eq!((&told["status"], &told["error"]), (&json!("failed"), &json!("interrupted")));
        app.get(&format!("/chats/export/{}/file", last.id)).await.expect(409);
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn an_archive_is_erased_when_its_time_is_up(kind: Kind) {
        let settings = [("worker.repair_interval_ms", "50")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        app.ask("one").await;
        let begun = app.get("/chats/export").await.expect(202).json();
        ended(&app, begun["uuid"].as_str().unwrap()).await;
        let db = app.database.connect().await;
        assert!(archive_piece::Entity::find().count(&db).await.unwrap() > 0);
        let expired = archive::ActiveModel {
            id: sea_orm::Set(begun["uuid"].as_str().unwrap().parse().unwrap()),
            expires_at: sea_orm::Set(Some(Timestamp(1))),
            ..Default::default()
        };
        archive::Entity::update(expired).exec(&db).await.unwrap();
        eventually("it is erased", async || {
            let pieces = archive_piece::Entity::find().count(&db).await.unwrap();
            let rows = archive::Entity::find().count(&db).await.unwrap();
            (pieces + rows == 0).then_some(())
        }).await;
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn an_archive_that_is_too_large_fails_and_says_so(kind: Kind) {
        let settings = [("export.archive_bytes", "65536")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let mut document = super::document();
        // What cannot be packed.
        let noise: String = (0..80_000).map(|_| char::from(b'!' + (uuid::Uuid::new_v4().as_bytes()[0] % 90))).collect();
        document["messages"][1]["content"] = json!(noise);
        app.post("/chats/import", &document).await.expect(201);
        let begun = app.get("/chats/export").await.expect(202).json();
        let told = ended(&app, begun["uuid"].as_str().unwrap()).await;
        assert_eq!((&told["status"], &told["error"]), (&json!("failed"), &json!("too_large")));
        app.stop().await;
    }

    async fn who_is_forgotten_leaves_no_archive(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        app.ask("one").await;
        let begun = app.get("/chats/export").await.expect(202).json();
        ended(&app, begun["uuid"].as_str().unwrap()).await;
        app.delete("/me").await.expect(204);
        let db = app.database.connect().await;
        assert_eq!(archive_piece::Entity::find().count(&db).await.unwrap(), 0);
        assert_eq!(archive::Entity::find().count(&db).await.unwrap(), 0);
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn the_account_s_page_begins_polls_and_links_it(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        app.ask("one").await;
        let page = app.get_page("/account").await.expect(200).text;
        assert!(page.contains("action=\"/chats/export\""), "{page}");
        let begun = app.request(reqwest::Method::POST, "/chats/export", |r| r.header("hx-request", "true")).await.expect(200).text;
        assert!(begun.contains("hx-trigger=\"every") && begun.contains("/chats/export/"), "{begun}");
        let poll = begun.split('"').find(|part| part.starts_with("/chats/export/")).unwrap().to_owned();
        let done = eventually("the page has the file", async || {
            let told = app.get_fragment(&poll).await;
            told.text.contains("/file\"").then_some(told.text)
        }).await;
        assert!(!done.contains("hx-trigger"), "it polls no more: {done}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reads_another_s_archive() {
    use crate::security::callers::{As, token};
    use entity::api_token::Scope;
    let kind = crate::support::database::Kind::Sqlite;
    let app = TestApp::start_with(kind, Upstream::echo().await, &[("auth.modes", "token")]).await;
    let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
    let bob = As::bearer(&token(&app, "bob", Scope::Write).await);
    alice
        .post(&app, "/chat/create", &json!({"title": "Hers"}))
        .await
        .expect(201);
    let begun = alice.get(&app, "/chats/export").await.expect(202).json();
    let path = format!("/chats/export/{}", begun["uuid"].as_str().unwrap());
    eventually("hers is there", async || {
        (alice.get(&app, &path).await.json()["status"] == "completed").then_some(())
    })
    .await;
    bob.get(&app, &path).await.expect(404);
    bob.get(&app, &format!("{path}/file")).await.expect(404);
    bob.delete(&app, &path).await.expect(404);
    alice.delete(&app, &path).await.expect(204);
    app.stop().await;
}
