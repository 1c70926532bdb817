//! `GET /me` and `GET /me/export`.

use std::io::{Cursor, Read as _};

use entity::{OwnerId, Timestamp, audit_log};
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use zip::ZipArchive;

use super::{THEIRS, TestApp, Upstream, WORD, plant, plant_chat, plant_keys, plant_user};

/// The files of the archive, by their names.
async fn export(app: &TestApp) -> Vec<(String, String)> {
    let response = app
        .client
        .get(format!("{}/me/export", app.base))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let headers = response.headers().clone();
    let bytes = response.bytes().await.unwrap();
    assert_eq!(
        headers["content-length"],
        bytes.len().to_string().as_str(),
        "P8"
    );
    assert_eq!(headers["content-type"], "application/zip");
    assert_eq!(headers["cache-control"], "no-store");
    assert!(!headers.contains_key("transfer-encoding"), "P8");
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

fn file<'a>(files: &'a [(String, String)], ending: &str) -> &'a str {
    let found: Vec<_> = files
        .iter()
        .filter(|(name, _)| name.ends_with(ending))
        .collect();
    assert_eq!(
        found.len(),
        1,
        "{ending} of {:?}",
        files.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    &found[0].1
}

on_both_databases! {
    async fn an_export_holds_everything_and_no_secret(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let planted = plant(&app).await;
        let db = app.database.connect().await;
        let other = plant_user(&db, "pollen", None, Timestamp(1)).await;
        plant_chat(&db, other, THEIRS, Timestamp(1)).await;
        plant_keys(&db, other, Timestamp(i64::MAX / 2)).await;
        let files = export(&app).await;
        let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
        assert!(!all.contains("hash-"), "what is stored of keys stays here");
        assert!(!all.contains(THEIRS) && !all.contains(&other.to_string()), "and what is others'");
        assert_eq!(files.len(), 4);
        for (name, _) in &files {
            let is_safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-./".contains(c);
            assert!(name.chars().all(is_safe) && !name.contains(".."), "{name}");
        }
        let user: Value = serde_json::from_str(file(&files, "user.json")).unwrap();
        assert_eq!((&user["uuid"], &user["is_admin"]), (&json!(OwnerId::LOCAL), &json!(true)));
        assert_eq!(user["tokens"][0]["uuid"], planted.token.to_string());
        assert_eq!(user["sessions"][0]["browser"], format!("Browser {WORD}"));
        assert_eq!(user["shares"][0]["uuid"], planted.share.to_string());
        assert_eq!(user["usage"]["attempts"], 3);
        assert_eq!(file(&files, "usage.jsonl").lines().count(), 3);
        let chat: Value = serde_json::from_str(file(&files, "/chat.json")).unwrap();
        assert_eq!((&chat["uuid"], &chat["title"]), (&json!(planted.chat), &json!(format!("Title {WORD}"))));
        let messages = chat["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 4);
        assert_eq!(messages[0]["content"], format!("one {WORD}"));
        let answer = messages.iter().find(|m| m["uuid"] == planted.answer.as_str()).unwrap();
        assert_eq!(answer["content"], format!("You said: one {WORD}"));
        let before = &answer["versions"][0];
        assert_eq!((&before["version"], &before["reaction_comment"]), (&json!(1), &json!(format!("why {WORD}"))));
        let beside = &chat["said_beside"][0];
        assert_eq!((&beside["instructions"], &beside["metadata"]["topic"]), (&json!(format!("Be {WORD}.")), &json!(WORD)));
        let text = file(&files, "/chat.md");
        assert!(text.starts_with(&format!("# Title {WORD}\n\n## You\n\none {WORD}\n\n## Assistant\n")), "{text}");
        let log = audit_log::Entity::find().all(&db).await.unwrap();
        assert_eq!((log[0].action.as_str(), log[0].actor_id), ("user.export", Some(OwnerId::LOCAL)));
        assert_eq!(log[0].address.as_deref(), Some("127.0.0.1"));
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn what_was_deleted_is_in_no_export(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let planted = plant(&app).await;
        app.delete(&format!("/chat/{}", planted.chat)).await.expect(204);
        let files = export(&app).await;
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["user.json", "usage.jsonl"]);
        app.stop().await;
    }

    async fn an_answer_that_is_being_written_is_exported_as_far_as_it_is(kind: Kind) {
        use crate::support::{Script, app::eventually};
        use tokio_util::sync::CancellationToken;
        let gate = CancellationToken::new();
        let script = Script::stream().say(["half an "]).wait(&gate).say(["answer"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        app.send(&chat, "Hello").await;
        eventually("what was flushed is exported", async || {
            export(&app).await.iter().any(|(_, text)| text.contains("half an")).then_some(())
        })
        .await;
        gate.cancel();
        app.stop().await;
    }

    async fn chats_of_the_same_name_have_folders_of_their_own(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        for _ in 0..20 {
            app.post("/chat/create", &json!({"title": "Tea/../Tea"})).await.expect(201);
        }
        let mut uuid = uuid::Uuid::now_v7().into_bytes();
        // With the same last digits.
        for first in [1, 2] {
            uuid[0] = first;
            let body = json!({"title": "Tea/../Tea", "uuid": uuid::Uuid::from_bytes(uuid)});
            app.post("/chat/create", &body).await.expect(201);
        }
        let files = export(&app).await;
        assert_eq!(files.iter().filter(|(name, _)| name.ends_with("/chat.json")).count(), 22);
        assert!(files.iter().all(|(name, _)| !name.starts_with("chats/") || name.contains("-tea-tea-")));
        app.stop().await;
    }

    async fn of_many_exports_at_once_each_is_made_or_refused(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        plant(&app).await;
        let ask = async || {
            let path = format!("{}/me/export", app.base);
            app.client.get(path).send().await.unwrap().status().as_u16()
        };
        let answers = futures::future::join_all((0..16).map(|_| ask())).await;
        assert!(answers.iter().all(|status| [200, 409].contains(status)), "{answers:?}");
        assert!(answers.contains(&200), "{answers:?}");
        assert_eq!(ask().await, 200, "and the next one is made");
        app.stop().await;
    }

    async fn callers_are_told_who_they_are(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let me = app.get("/me").await.expect(200).json();
        let expected = json!({"uuid": OwnerId::LOCAL, "name": "", "tier": null, "is_admin": true, "created_at": "1970-01-01T00:00:00.000Z"});
        assert_eq!(me, expected);
        app.stop().await;
    }
}
