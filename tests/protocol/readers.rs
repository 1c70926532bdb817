//! P1 to P6 from a client's side: a real server, a real model server whose bytes are cut at
//! random, and clients that pause, lose answers, start anywhere and come back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::support::database::Kind;
use crate::support::{Reader, Script, TestApp, Upstream, app::eventually};

/// One answer and the clients that read it.
#[derive(Clone, Debug)]
struct Scene {
    pieces: Vec<String>,
    /// Where the bytes of the stream are cut, whatever they cut through.
    cuts: Vec<usize>,
    pause_ms: u64,
    clients: Vec<Vec<Move>>,
}

/// What a client does before its next poll counts.
#[derive(Clone, Copy, Debug)]
enum Move {
    Poll,
    Pause {
        ms: u64,
    },
    /// The answer to a poll is lost.
    Lose,
    /// Everything is forgotten: a new tab, at position 0.
    Forget,
    /// A position out of the blue.
    Guess {
        position: u64,
    },
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => Just(Move::Poll),
        2 => (1_u64..8).prop_map(|ms| Move::Pause { ms }),
        2 => Just(Move::Lose),
        1 => Just(Move::Forget),
        1 => prop_oneof![0..64_u64, Just((1 << 32) + 3), Just((1 << 53) - 1)]
            .prop_map(|position| Move::Guess { position }),
    ]
}

fn scene() -> impl Strategy<Value = Scene> {
    let character = prop::sample::select(vec![
        'a', ' ', '\n', '"', '\\', 'é', '€', '字', '🌼', '\u{7f}',
    ]);
    let piece = prop::collection::vec(character, 1..9).prop_map(String::from_iter);
    (
        prop::collection::vec(piece, 1..14),
        prop::collection::vec(1_usize..60, 1..8),
        0_u64..3,
        prop::collection::vec(prop::collection::vec(moves(), 0..12), 1..4),
    )
        .prop_map(|(pieces, cuts, pause_ms, clients)| Scene {
            pieces,
            cuts,
            pause_ms,
            clients,
        })
}

async fn play(app: &TestApp, current: &Mutex<Option<Scene>>, scene: Scene) {
    let whole = scene.pieces.concat();
    *current.lock().unwrap() = Some(scene.clone());
    let chat = app.create_chat().await;
    let message = app.send(&chat, "go").await;
    let answer = app.answer_to(&chat, &message).await;
    let readers = scene
        .clients
        .iter()
        .map(|moves| client(app, &answer, moves));
    for reader in futures::future::join_all(readers).await {
        assert_eq!(reader.text, whole, "P4");
        assert_eq!(reader.status, "completed");
    }
    assert_eq!(app.message(&answer).await["content"], whole.as_str());
}

async fn client(app: &TestApp, answer: &str, moves: &[Move]) -> Reader {
    let mut reader = Reader::default();
    for next in moves {
        match next {
            Move::Poll => poll(app, answer, &mut reader).await,
            Move::Pause { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Move::Lose => drop(app.tokens(answer, reader.position).await),
            Move::Forget => reader = Reader::default(),
            Move::Guess { position } => {
                let got = app.tokens(answer, *position).await;
                // P5: either it is the end of an appended piece, or it heals at once.
                if got["append"] == false {
                    reader.apply(&got);
                }
            }
        }
    }
    eventually("the answer ends", async || {
        poll(app, answer, &mut reader).await;
        reader.is_done().then(|| reader.clone())
    })
    .await
}

async fn poll(app: &TestApp, answer: &str, reader: &mut Reader) {
    let before = reader.clone();
    let got: Value = app.tokens(answer, before.position).await;
    let position = got["position"].as_u64().unwrap();
    assert!(position < (1 << 53), "P1");
    if got["append"] == true {
        let bytes = got["tokens"].as_str().unwrap().len() as u64;
        assert_eq!(
            position - before.position,
            bytes,
            "P3: what lies between the positions"
        );
    }
    assert!(position >= before.position, "P2");
    reader.apply(&got);
}

/// Random scenes on one server. The text arrives whole, whatever was cut and lost.
fn whatever_is_cut_and_lost(kind: Kind, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let current: Arc<Mutex<Option<Scene>>> = Arc::default();
    let scripts = Arc::clone(&current);
    let app = runtime.block_on(async {
        let upstream = Upstream::start(move |_| {
            let scene = scripts.lock().unwrap().clone().unwrap();
            Script::answer(&scene.pieces)
                .resplit(&scene.cuts)
                .paced(Duration::from_millis(scene.pause_ms))
        })
        .await;
        TestApp::start_with(kind, upstream, &[("ledger.flush_interval_ms", "10")]).await
    });
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&scene(), |scene| {
        runtime.block_on(play(&app, &current, scene));
        Ok(())
    });
    runtime.block_on(app.stop());
    result.unwrap();
}

mod every_reader_ends_with_the_whole_text {
    use super::{Kind, whatever_is_cut_and_lost};

    #[test]
    fn sqlite() {
        whatever_is_cut_and_lost(Kind::Sqlite, 40);
    }

    #[test]
    fn postgres() {
        whatever_is_cut_and_lost(Kind::Postgres, 40);
    }
}

on_both_databases! {
    async fn a_node_that_does_not_write_an_answer_follows_it_through_the_database(kind: Kind) {
        use sea_orm::{EntityTrait, Set};
        // The state that another node's running answer leaves in the database, read by this one.
        let settings = [("ledger.follow_interval_ms", "0"), ("worker.repair_interval_ms", "60000")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let (_, answer, _) = app.ask("one").await;
        let db = app.database.connect().await;
        let message = entity::chat_message::Entity::find_by_id(answer.parse::<entity::MessageId>().unwrap())
            .one(&db).await.unwrap().unwrap();
        let request = message.request_id.unwrap();
        let pending = entity::chat_message::ActiveModel {
            id: Set(message.id),
            status: Set(entity::chat_message::Status::Pending),
            content: Set(String::new()),
            ..Default::default()
        };
        entity::chat_message::Entity::update(pending).exec(&db).await.unwrap();
        let elsewhere = entity::llm_request::ActiveModel {
            id: Set(request),
            status: Set(entity::llm_request::Status::Running),
            lease_owner: Set(Some("another node".into())),
            lease_expires_at: Set(Some(entity::Timestamp(i64::MAX / 2))),
            ..Default::default()
        };
        entity::llm_request::Entity::update(elsewhere).exec(&db).await.unwrap();
        let mut reader = Reader::default();
        for (offset, text) in [(0, "Grü"), (4, "ße "), (8, "dich")] {
            let chunk = entity::token_ledger::ActiveModel {
                request_id: Set(request),
                attempt: Set(0),
                start_offset: Set(offset),
                text: Set(text.into()),
                ..Default::default()
            };
            entity::token_ledger::Entity::insert(chunk).exec(&db).await.unwrap();
            poll(&app, &answer, &mut reader).await;
            assert!(reader.text.ends_with(text), "{reader:?}");
        }
        assert_eq!(reader.text, "Grüße dich");
        // A client that has read more on the writing node waits; it is not sent back.
        let ahead = app.tokens(&answer, 100).await;
        assert_eq!((&ahead["tokens"], &ahead["append"], &ahead["position"]),
            (&"".into(), &true.into(), &100.into()));
        let inside = app.tokens(&answer, 3).await;
        assert_eq!((&inside["tokens"], &inside["append"]), (&"Grüße dich".into(), &false.into()));
        db.close().await.unwrap();
        app.abandon().await;
    }
}
