//! What goes by itself: chats whose time is up, by their own words or by their owner's tier; users that
//! nobody is any more; keys that open nothing.

use entity::{ChatId, OwnerId, Timestamp, api_token, chat, session, share, user};
use reqwest::Method;
use sea_orm::{ActiveValue::Set, DatabaseConnection, EntityTrait, IntoActiveModel, PaginatorTrait};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Kind, SOON, THEIRS, TestApp, Upstream, WORD, gone, needles, plant, plant_chat, plant_keys,
    plant_share, plant_user,
};
use crate::support::app::eventually;
use crate::support::{Database, Script};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Chats of the default tier are kept for two days, those of the other one for ten.
const TIERS: &str = "default_tier = \"basic\"\n[[tier]]\nname = \"basic\"\nretention_days = 2\n[[tier]]\nname = \"pro\"\nretention_days = 10\n";

async fn start(kind: Kind, upstream: Upstream) -> TestApp {
    let database = Database::create(kind).await;
    let path = database.dir().join("pollen.toml");
    std::fs::write(&path, TIERS).unwrap();
    TestApp::start_with_file_and(database, upstream, &path, &SOON).await
}

fn days_ago(days: i64) -> Timestamp {
    Timestamp::from(chrono::DateTime::from_timestamp_millis(uuid_now_ms() - days * DAY_MS).unwrap())
}

/// The time, as a fresh UUID has it: the clock itself belongs to the server.
fn uuid_now_ms() -> i64 {
    let (seconds, nanos) = uuid::Uuid::now_v7().get_timestamp().unwrap().to_unix();
    i64::try_from(seconds * 1000 + u64::from(nanos) / 1_000_000).unwrap()
}

async fn set_updated(db: &DatabaseConnection, id: &str, updated_at: Timestamp) {
    let id: ChatId = id.parse().unwrap();
    let change = chat::ActiveModel {
        id: Set(id),
        updated_at: Set(updated_at),
        ..Default::default()
    };
    chat::Entity::update(change).exec(db).await.unwrap();
}

async fn is_there(db: &DatabaseConnection, id: ChatId) -> bool {
    chat::Entity::find_by_id(id)
        .one(db)
        .await
        .unwrap()
        .is_some()
}

async fn patch(app: &TestApp, chat: &str, body: &Value) -> crate::support::Answer {
    app.request(Method::PATCH, &format!("/chat/{chat}"), |r| r.json(body))
        .await
}

on_both_databases! {
    async fn a_chat_goes_when_its_own_time_is_up(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &SOON).await;
        let planted = plant(&app).await;
        let (other, ..) = app.ask("stays").await;
        let at = Timestamp(uuid_now_ms() + 1_500);
        let set = patch(&app, &planted.chat, &json!({"expires_at": at})).await.expect(200).json();
        assert_eq!(set["expires_at"], json!(at));
        let mut words = needles(&planted);
        // Keys and sessions are not the chat's.
        words.retain(|word| *word != planted.token.to_string() && word != WORD);
        gone_but_for_usage(&app, &words).await;
        app.get(&format!("/chat/{}", planted.chat)).await.expect(404);
        app.post_bare(&format!("/chat/{}/restore", planted.chat)).await.expect(404);
        assert_eq!(app.messages(&other).await.len(), 2);
        assert_eq!(app.get(&format!("/chat/search?q={WORD}")).await.expect(200).json()["found"], json!([]));
        app.stop().await;
    }

    async fn the_end_of_a_chat_can_be_set_and_taken_back(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &SOON).await;
        let chat = app.create_chat().await;
        let at = "2099-01-01T00:00:00.000Z";
        assert_eq!(patch(&app, &chat, &json!({"expires_at": at})).await.expect(200).json()["expires_at"], at);
        assert_eq!(app.get(&format!("/chat/{chat}")).await.json()["expires_at"], at);
        let titled = patch(&app, &chat, &json!({"title": "Another"})).await.expect(200).json();
        assert_eq!(titled["expires_at"], at, "who does not name it leaves it");
        let back = patch(&app, &chat, &json!({"expires_at": null})).await.expect(200).json();
        assert_eq!(back.get("expires_at"), None);
        for wrong in [json!("2000-01-01T00:00:00Z"), json!("tomorrow"), json!(1)] {
            patch(&app, &chat, &json!({"expires_at": wrong})).await.expect(422);
        }
        app.stop().await;
    }

    async fn a_tier_keeps_chats_for_its_time_and_no_longer(kind: Kind) {
        let app = start(kind, Upstream::echo().await).await;
        let planted = plant(&app).await;
        let db = app.database.connect().await;
        let pro = plant_user(&db, "pollen", Some("pro"), Timestamp(1)).await;
        let stranger = plant_user(&db, "pollen", Some("of another time"), Timestamp(1)).await;
        let kept = [
            plant_chat(&db, OwnerId::LOCAL, "fresh", days_ago(1)).await,
            plant_chat(&db, pro, THEIRS, days_ago(9)).await,
        ];
        let old = [
            plant_chat(&db, pro, WORD, days_ago(11)).await,
            plant_chat(&db, stranger, WORD, days_ago(3)).await,
        ];
        set_updated(&db, &planted.chat, days_ago(3)).await;
        let mut words: Vec<String> = old.iter().map(ToString::to_string).collect();
        words.extend(needles(&planted));
        words.retain(|word| *word != planted.token.to_string() && word != WORD);
        gone_but_for_usage(&app, &words).await;
        for id in kept {
            assert!(is_there(&db, id).await);
        }
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn browsers_that_nobody_knows_have_a_tier_of_their_own(kind: Kind) {
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        std::fs::write(&path, TIERS.replace("default_tier = \"basic\"", "default_tier = \"pro\"")).unwrap();
        let app = TestApp::start_with_file_and(database, Upstream::echo().await, &path, &SOON).await;
        let db = app.database.connect().await;
        let seen = days_ago(0);
        let anonymous = plant_user(&db, "anonymous", None, seen).await;
        let known = plant_user(&db, "pollen", None, seen).await;
        let old = plant_chat(&db, anonymous, WORD, days_ago(3)).await;
        let kept = [
            plant_chat(&db, anonymous, THEIRS, days_ago(1)).await,
            plant_chat(&db, known, THEIRS, days_ago(3)).await,
        ];
        gone(&app.database, &[WORD.to_owned(), old.to_string()]).await;
        for id in kept {
            assert!(is_there(&db, id).await);
        }
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn many_chats_go_in_batches(kind: Kind) {
        let mut app = start(kind, Upstream::echo().await).await;
        let db = app.database.connect().await;
        // Down meanwhile: SQLite has one writer, and this one would have to wait for it.
        app.shut_down().await;
        for _ in 0..250 {
            plant_chat(&db, OwnerId::LOCAL, WORD, days_ago(3)).await;
        }
        let fresh = plant_chat(&db, OwnerId::LOCAL, "fresh", days_ago(0)).await;
        app.run().await;
        gone(&app.database, &[WORD.to_owned()]).await;
        assert!(is_there(&db, fresh).await);
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn a_long_chat_goes_in_pieces(kind: Kind) {
        let mut app = start(kind, Upstream::echo().await).await;
        let db = app.database.connect().await;
        app.shut_down().await;
        let id = plant_chat(&db, OwnerId::LOCAL, WORD, days_ago(3)).await;
        let first = entity::chat_message::Entity::find().one(&db).await.unwrap().unwrap();
        for batch in 0..6 {
            let rows = (0..200).map(|place| {
                let row = entity::chat_message::Model {
                    id: entity::MessageId::generate(),
                    sequence: 2 + batch * 200 + place,
                    ..first.clone()
                };
                row.into_active_model()
            });
            entity::chat_message::Entity::insert_many(rows).exec_without_returning(&db).await.unwrap();
        }
        app.run().await;
        gone(&app.database, &[WORD.to_owned(), id.to_string()]).await;
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn a_chat_in_which_an_answer_is_written_waits_for_it(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["half an "]).wait(&gate).say(["answer"]).finish();
        let app = start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "Hello").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "half an ").await;
        let db = app.database.connect().await;
        set_updated(&db, &chat, days_ago(3)).await;
        let idle = plant_chat(&db, OwnerId::LOCAL, WORD, days_ago(3)).await;
        eventually("the idle one goes", async || (!is_there(&db, idle).await).then_some(())).await;
        gate.cancel();
        let reader = app.read(&answer).await;
        assert_eq!(reader.text, "half an answer", "and has changed just now");
        db.close().await.unwrap();
        app.stop().await;
    }

    async fn keys_that_open_nothing_and_users_that_nobody_is_go_too(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &SOON).await;
        let db = app.database.connect().await;
        let (old, now) = (days_ago(365), days_ago(0));
        let chat = plant_chat(&db, OwnerId::LOCAL, "mine", now).await;
        let gone_share = plant_share(&db, chat).await;
        let change = share::ActiveModel { id: Set(gone_share), revoked_at: Set(Some(old)), ..Default::default() };
        share::Entity::update(change).exec(&db).await.unwrap();
        let kept_share = plant_share(&db, chat).await;
        let (gone_token, gone_session) = plant_keys(&db, OwnerId::LOCAL, old).await;
        let (kept_token, kept_session) = plant_keys(&db, OwnerId::LOCAL, now).await;
        let nobody = plant_user(&db, "anonymous", None, old).await;
        let seen = plant_user(&db, "anonymous", None, now).await;
        let with_chat = plant_user(&db, "anonymous", None, old).await;
        plant_chat(&db, with_chat, THEIRS, old).await;
        let named = plant_user(&db, "pollen", None, old).await;
        eventually("they go", async || {
            let gone = user::Entity::find_by_id(nobody).one(&db).await.unwrap().is_none()
                && api_token::Entity::find_by_id(gone_token).one(&db).await.unwrap().is_none()
                && session::Entity::find_by_id(gone_session).one(&db).await.unwrap().is_none()
                && share::Entity::find_by_id(gone_share).one(&db).await.unwrap().is_none();
            gone.then_some(())
        })
        .await;
        for user in [seen, with_chat, named, OwnerId::LOCAL] {
            assert!(user::Entity::find_by_id(user).one(&db).await.unwrap().is_some());
        }
        assert!(api_token::Entity::find_by_id(kept_token).one(&db).await.unwrap().is_some());
        assert!(session::Entity::find_by_id(kept_session).one(&db).await.unwrap().is_some());
        assert!(share::Entity::find_by_id(kept_share).one(&db).await.unwrap().is_some());
        assert_eq!(user::Entity::find().count(&db).await.unwrap(), 4);
        db.close().await.unwrap();
        app.stop().await;
    }
}

/// Waits until the words and ids are in no table but the ledger of what was used, which stays, and those of
/// keys and users.
async fn gone_but_for_usage(app: &TestApp, words: &[String]) {
    eventually("it is gone", async || {
        let mut found = super::holders(&app.database, words).await;
        found.retain(|table| table != "llm_attempt");
        let mut texts = super::holders(&app.database, &[WORD.to_owned()]).await;
        texts.retain(|table| !["api_token", "session"].contains(&table.as_str()));
        (found.is_empty() && texts.is_empty()).then_some(())
    })
    .await;
}
