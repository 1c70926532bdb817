//! `DELETE /me` and `POST /me/delete`: what is left of a user, which is nothing.

use entity::{OwnerId, Timestamp, audit_log, chat, session, user};
use reqwest::Method;
use sea_orm::{ActiveValue::Set, EntityTrait, PaginatorTrait};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    SOON, THEIRS, TestApp, Upstream, WORD, gone, holders, needles, plant, plant_chat, plant_keys,
    plant_user,
};
use crate::support::app::eventually;
use crate::support::process::Server;
use crate::support::{Database, Script, http_client};

on_both_databases! {
    async fn of_somebody_who_deletes_themselves_nothing_is_left(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &SOON).await;
        let planted = plant(&app).await;
        let before = holders(&app.database, &needles(&planted)).await;
        assert!(before.len() >= 8, "it was there to be found: {before:?}");
        // One that can still be brought back goes too.
        let (deleted, ..) = app.ask(&format!("three {WORD}")).await;
        app.delete(&format!("/chat/{deleted}")).await.expect(204);
        app.delete("/me").await.expect(204);
        app.post_bare(&format!("/chat/{deleted}/restore")).await.expect(404);
        gone(&app.database, &needles(&planted)).await;
        let db = app.database.connect().await;
        let ended = session::Entity::find_by_id(planted.session).one(&db).await.unwrap().unwrap();
        assert!(ended.ended_at.is_some(), "its cookie is known to be worthless");
        let me = user::Entity::find_by_id(OwnerId::LOCAL).one(&db).await.unwrap().unwrap();
        assert_eq!((me.deleted_at, me.disabled_at), (None, None), "the local user stays");
        let log = audit_log::Entity::find().all(&db).await.unwrap();
        assert_eq!((log[0].action.as_str(), log[0].target.as_str()), ("user.delete", OwnerId::LOCAL.to_string().as_str()));
        assert_eq!(log.len(), 1);
        db.close().await.unwrap();
        assert_eq!(app.get(&format!("/chat/search?q={WORD}")).await.expect(200).json()["found"], json!([]));
        assert_eq!(app.get("/usage").await.expect(200).json()["total"]["attempts"], 0);
        app.get("/me").await.expect(200);
        let (_, _, reader) = app.ask("and on it goes").await;
        assert_eq!(reader.text, "You said: and on it goes");
        app.stop().await;
    }

    async fn a_running_answer_is_stopped_and_goes_too(kind: Kind) {
        let script = Script::stream().say([format!("half {WORD} ")]).wait(&CancellationToken::new()).finish();
        let app = TestApp::start_with(kind, Upstream::scripted([script]).await, &SOON).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, WORD).await;
        app.send(&chat, &format!("later {WORD}")).await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "half ").await;
        app.delete("/me").await.expect(204);
        app.upstream.received()[0].gone.cancelled().await;
        app.get(&format!("/chat/message/{answer}/tokens/0")).await.expect(404);
        gone(&app.database, &[WORD.to_owned(), chat, answer, message]).await;
        app.stop().await;
    }

    async fn what_is_others_is_not_touched(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &SOON).await;
        let planted = plant(&app).await;
        let db = app.database.connect().await;
        let other = plant_user(&db, "pollen", None, Timestamp(1)).await;
        let theirs = plant_chat(&db, other, THEIRS, Timestamp(1)).await;
        let before = holders(&app.database, &[THEIRS.to_owned(), theirs.to_string()]).await;
        app.delete("/me").await.expect(204);
        gone(&app.database, &needles(&planted)).await;
        let after = holders(&app.database, &[THEIRS.to_owned(), theirs.to_string()]).await;
        assert_eq!(before, after);
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn a_user_who_was_marked_goes_with_their_row(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &SOON).await;
        let planted = plant(&app).await;
        let db = app.database.connect().await;
        let other = plant_user(&db, "pollen", None, Timestamp(1)).await;
        for _ in 0..120 {
            plant_chat(&db, other, THEIRS, Timestamp(1)).await;
        }
        let (_, session) = plant_keys(&db, other, Timestamp(i64::MAX / 2)).await;
        let mark = user::ActiveModel { id: Set(other), deleted_at: Set(Some(Timestamp(1))), ..Default::default() };
        user::Entity::update(mark).exec(&db).await.unwrap();
        gone(&app.database, &[THEIRS.to_owned()]).await;
        eventually("the row goes", async || {
            user::Entity::find_by_id(other).one(&db).await.unwrap().is_none().then_some(())
        })
        .await;
        let ended = session::Entity::find_by_id(session).one(&db).await.unwrap().unwrap();
        assert!(ended.ended_at.is_some() && ended.browser.is_empty());
        assert_eq!(app.messages(&planted.chat).await.len(), 4, "what is others' stays");
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn a_server_that_dies_in_the_middle_is_followed_by_one_that_goes_on(kind: Kind) {
        for point in ["forget.marked", "forget.erased"] {
            let database = Database::create(kind).await;
            let upstream = Upstream::echo().await;
            let mut app = TestApp::start_on(database.clone(), upstream.clone(), &[]).await;
            let planted = plant(&app).await;
            app.shut_down().await;
            let model = upstream.base_url();
            let variables = [
                ("POLLEN_DATABASE_URL", database.url.as_str()),
                ("POLLEN_OPENAI__BASE_URL", model.as_str()),
                ("POLLEN_WORKER__REPAIR_INTERVAL_MS", "50"),
                ("FAULT_POINT", point),
            ];
            let mut server = Server::start(&database.dir(), &variables).await;
            let died = http_client().delete(format!("{}/me", server.base)).send().await;
            assert!(died.is_err(), "{point}");
            eventually("it is dead", async || server.has_ended().then_some(())).await;
            let next = Server::start(&database.dir(), &variables[..3]).await;
            gone(&database, &needles(&planted)).await;
            let db = database.connect().await;
            eventually("the mark goes", async || {
                let me = user::Entity::find_by_id(OwnerId::LOCAL).one(&db).await.unwrap();
                me.unwrap().deleted_at.is_none().then_some(())
            })
            .await;
            assert_eq!(audit_log::Entity::find().count(&db).await.unwrap(), 1, "{point}");
            db.close().await.unwrap();
            next.terminate("-TERM").await;
        }
    }

    async fn nothing_new_is_taken_of_a_user_who_is_being_erased(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &[("worker.repair_interval_ms", "3600000")]).await;
        let db = app.database.connect().await;
        let mark = user::ActiveModel { id: Set(OwnerId::LOCAL), deleted_at: Set(Some(Timestamp(1))), ..Default::default() };
        user::Entity::update(mark).exec(&db).await.unwrap();
        let refused = app.post("/chat/create", &json!({"message": "Hello"})).await.expect(403).json();
        assert_eq!(refused["type"], "/problems/user-gone");
        app.get("/me/export").await.expect(403);
        assert_eq!(chat::Entity::find().count(&db).await.unwrap(), 0);
        app.delete("/me").await.expect(204);
        app.create_chat().await;
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn the_form_wants_the_word(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let post = async |confirm: &str, header: (&'static str, &'static str)| {
            app.request(Method::POST, "/me/delete", |r| r.header(header.0, header.1).form(&[("confirm", confirm)])).await
        };
        for word in ["", "yes", "DELETE"] {
            let refused = post(word, ("accept", "*/*")).await.expect(422).json();
            assert_eq!(refused["detail"], "`confirm` has to be the word `delete`");
        }
        app.post_bare("/me/delete").await.expect(422);
        app.get(&format!("/chat/{chat}")).await.expect(200);
        assert_eq!(post("delete", ("accept", "text/html")).await.expect(303).header("location"), "/");
        app.get(&format!("/chat/{chat}")).await.expect(404);
        assert_eq!(post("delete", ("hx-request", "true")).await.expect(204).header("hx-redirect"), "/");
        app.stop().await;
    }
}
