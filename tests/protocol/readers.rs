//! P1 to P6 from a client's side, for what the model says and for what it thinks: a real server, a
//! real model server whose bytes are cut at random, and clients that pause, lose answers, start
//! anywhere and come back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::database::Kind;
use crate::support::{Reader, Script, TestApp, Upstream, app::eventually};

/// One answer and the clients that read it.
#[derive(Clone, Debug)]
struct Scene {
    thoughts: Vec<String>,
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
    /// Positions out of the blue.
    Guess {
        text: u64,
        thoughts: u64,
    },
}

/// A client of both texts.
#[derive(Clone, Debug, Default)]
struct Client {
    text: Reader,
    thoughts: Reader,
}

impl Client {
    /// Asks from these positions: what came of the text, and of the thoughts.
    async fn ask(app: &TestApp, answer: &str, text: u64, thoughts: u64) -> [Value; 2] {
        let path = format!("/chat/message/{answer}/tokens/{text}?reasoning={thoughts}");
        let text = app.get(&path).await.expect(200).json();
        let mut thoughts = text["reasoning"].clone();
        thoughts["status"] = text["status"].clone();
        [text, thoughts]
    }

    async fn poll(&mut self, app: &TestApp, answer: &str) {
        let (text, thoughts) = (self.text.position, self.thoughts.position);
        let [text, thoughts] = Self::ask(app, answer, text, thoughts).await;
        take(&mut self.text, &text);
        take(&mut self.thoughts, &thoughts);
    }

    /// P5: what fits nothing heals at once.
    async fn guess(&mut self, app: &TestApp, answer: &str, text: u64, thoughts: u64) {
        let [text, thoughts] = Self::ask(app, answer, text, thoughts).await;
        if text["append"] == false {
            self.text.apply(&text);
        }
        if thoughts["append"] == false {
            self.thoughts.apply(&thoughts);
        }
    }
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => Just(Move::Poll),
        2 => (1_u64..8).prop_map(|ms| Move::Pause { ms }),
        2 => Just(Move::Lose),
        1 => Just(Move::Forget),
        1 => (guess(), guess()).prop_map(|(text, thoughts)| Move::Guess { text, thoughts }),
    ]
}

fn guess() -> impl Strategy<Value = u64> {
    prop_oneof![0..64_u64, Just((1 << 32) + 3), Just((1 << 53) - 1)]
}

fn scene() -> impl Strategy<Value = Scene> {
    let character = prop::sample::select(vec![
        'a', ' ', '\n', '"', '\\', 'é', '€', '字', '🌼', '\u{7f}',
    ]);
    let piece = prop::collection::vec(character, 1..9).prop_map(String::from_iter);
    (
        prop::collection::vec(piece.clone(), 0..8),
        prop::collection::vec(piece, 1..14),
        prop::collection::vec(1_usize..60, 1..8),
        0_u64..3,
        prop::collection::vec(prop::collection::vec(moves(), 0..12), 1..4),
    )
        .prop_map(|(thoughts, pieces, cuts, pause_ms, clients)| Scene {
            thoughts,
            pieces,
            cuts,
            pause_ms,
            clients,
        })
}

async fn play(app: &TestApp, current: &Mutex<Option<Scene>>, scene: Scene) {
    let (thought, whole) = (scene.thoughts.concat(), scene.pieces.concat());
    *current.lock().unwrap() = Some(scene.clone());
    let chat = app.create_chat().await;
    let message = app.send(&chat, "go").await;
    let answer = app.answer_to(&chat, &message).await;
    let readers = scene
        .clients
        .iter()
        .map(|moves| client(app, &answer, moves));
    for Client { text, thoughts } in futures::future::join_all(readers).await {
        assert_eq!(
            (text.text, thoughts.text),
            (whole.clone(), thought.clone()),
            "P4"
        );
        assert_eq!(text.status, "completed");
    }
    let stored = app.message(&answer).await;
    assert_eq!(stored["content"], whole.as_str());
    let kept = stored["reasoning"]["content"].as_str();
    assert_eq!(kept.unwrap_or_default(), thought);
}

async fn client(app: &TestApp, answer: &str, moves: &[Move]) -> Client {
    let mut client = Client::default();
    for next in moves {
        match next {
            Move::Poll => client.poll(app, answer).await,
            Move::Pause { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Move::Lose => client.clone().poll(app, answer).await,
            Move::Forget => client = Client::default(),
            Move::Guess { text, thoughts } => client.guess(app, answer, *text, *thoughts).await,
        }
    }
    eventually("the answer ends", async || {
        client.poll(app, answer).await;
        client.text.is_done().then(|| client.clone())
    })
    .await
}

async fn poll(app: &TestApp, answer: &str, reader: &mut Reader) {
    let got = app.tokens(answer, reader.position).await;
    take(reader, &got);
}

/// Takes in an answer that keeps to P1 to P3.
fn take(reader: &mut Reader, got: &Value) {
    let position = got["position"].as_u64().unwrap();
    assert!(position < (1 << 53), "P1");
    if got["append"] == true {
        let bytes = got["tokens"].as_str().unwrap().len() as u64;
        assert_eq!(
            position - reader.position,
            bytes,
            "P3: what lies between the positions"
        );
    }
    assert!(position >= reader.position, "P2");
    reader.apply(got);
}

fn thought(text: &str) -> String {
    let chunk = json!({"choices": [{"index": 0, "delta": {"reasoning_content": text}}]});
    format!("data: {chunk}\n\n")
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
            let thoughts = scene.thoughts.iter().map(|text| thought(text));
            Script::stream()
                .raw(thoughts.collect::<String>())
                .say(&scene.pieces)
                .finish()
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
        // The state that another node's running answer leaves in the database, read by this one, which
        // has nothing of the request in memory and nothing of it yet to purge.
        let settings = [("ledger.follow_interval_ms", "0"), ("worker.repair_interval_ms", "60000")];
        let mut app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let (_, answer, _) = app.ask("one").await;
        app.shut_down().await;
        app.run().await;
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
        let mut client = Client { text: reader, ..Client::default() };
        for (offset, text) in [(0, "Hm, "), (4, "é")] {
            let chunk = entity::token_ledger::ActiveModel {
                request_id: Set(request),
                attempt: Set(0),
                channel: Set(entity::token_ledger::Channel::Reasoning),
                start_offset: Set(offset),
                text: Set(text.into()),
                ..Default::default()
            };
            entity::token_ledger::Entity::insert(chunk).exec(&db).await.unwrap();
            client.poll(&app, &answer).await;
            assert!(client.thoughts.text.ends_with(text), "{client:?}");
        }
        assert_eq!((client.text.text.as_str(), client.thoughts.text.as_str()), ("Grüße dich", "Hm, é"));
        let [_, ahead] = Client::ask(&app, &answer, 0, 100).await;
        assert_eq!((&ahead["tokens"], &ahead["append"], &ahead["position"]),
            (&"".into(), &true.into(), &100.into()));
        let [_, inside] = Client::ask(&app, &answer, 0, 5).await;
        assert_eq!((&inside["tokens"], &inside["append"]), (&"Hm, é".into(), &false.into()));
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
