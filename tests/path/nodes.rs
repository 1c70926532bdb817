//! Several nodes on one PostgreSQL: any of them answers any poll, cursor and cancel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::proxy::Proxy;
use crate::support::{Database, Reader, Script, TestApp, Upstream, app::eventually};

const SETTINGS: [(&str, &str); 2] = [
    ("ledger.follow_interval_ms", "20"),
    // Longer than a busy machine keeps a node waiting.
    ("worker.lease_ms", "2500"),
];

/// A flush, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(5);

/// Two nodes, of which the first one writes an answer that goes on when the gate is opened.
async fn two_nodes(script: Script) -> (TestApp, TestApp, String, String) {
    let upstream = Upstream::scripted([script, Script::answer(["written ", "anew"])]).await;
    let first = TestApp::start_with(Kind::Postgres, upstream, &SETTINGS).await;
    let chat = first.create_chat().await;
    let message = first.send(&chat, "one").await;
    let answer = first.answer_to(&chat, &message).await;
    let second = first.another_node(&[]).await;
    (first, second, chat, answer)
}

/// Polls the nodes in turn until the answer has ended.
async fn read_hopping(nodes: [&TestApp; 2], answer: &str, mut reader: Reader) -> Reader {
    let mut polls = 0;
    eventually("the answer ends", async || {
        let node = nodes[polls % 2];
        polls += 1;
        let before = reader.position;
        reader.apply(&node.tokens(answer, before).await);
        assert!(
            reader.position >= before,
            "P2: {} after {before}",
            reader.position
        );
        reader.is_done().then(|| reader.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_hop_between_nodes_at_every_poll() {
    let pieces: Vec<String> = (0..150).map(|n| format!("wört {n} ")).collect();
    let script = Script::answer(&pieces).paced(Duration::from_millis(10));
    let (first, second, chat, answer) = two_nodes(script).await;
    let reader = read_hopping([&first, &second], &answer, Reader::default()).await;
    assert_eq!((reader.text, reader.replaced), (pieces.concat(), 0));
    assert_eq!(first.messages(&chat).await, second.messages(&chat).await);
    second.abandon().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_reaches_another_node_soon() {
    let script = Script::stream()
        .say(["half ", "an "])
        .wait(&CancellationToken::new())
        .finish();
    let (first, second, chat, answer) = two_nodes(script).await;
    let reader = first.read_until(&answer, "half an ").await;
    let path = format!("/chat/message/{answer}/cancel");
    let done = second.post_bare(&path).await.expect(200).json();
    assert_eq!(
        (&done["cancelled"], &done["message"]["status"]),
        (&json!(true), &json!("cancelled"))
    );
    let gone = first.upstream.received()[0].gone.clone();
    timeout(SOON, gone.cancelled())
        .await
        .expect("the connection is closed");
    let reader = read_hopping([&first, &second], &answer, reader).await;
    assert_eq!(reader.status, "cancelled");
    assert_eq!(reader.text, done["message"]["content"].as_str().unwrap());
    assert_eq!(reader.text, "half an ", "it had been flushed");
    assert_eq!(
        first.get(&format!("/chat/{chat}")).await.json()["status"],
        "waiting_for_user"
    );
    second.abandon().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_lost_a_request_drops_its_connection_and_its_memory() {
    use sea_orm::ConnectionTrait;
    let script = Script::stream()
        .say(["mine "])
        .wait(&CancellationToken::new())
        .finish();
    let (first, second, _, answer) = two_nodes(script).await;
    let reader = first.read_until(&answer, "mine ").await;
    // As a rescue by a third node leaves it: the next attempt, under somebody else's lease.
    let db = first.database.connect().await;
    db.execute_unprepared(
        "UPDATE llm_request SET attempt = 1, edition = 1, lease_owner = 'a third node', \
           lease_expires_at = lease_expires_at + 2500; \
         UPDATE chat_message SET edition = 1 WHERE status = 'pending'",
    )
    .await
    .unwrap();
    db.close().await.unwrap();
    let gone = first.upstream.received()[0].gone.clone();
    timeout(SOON, gone.cancelled())
        .await
        .expect("dropped at its next flush");
    // The third node never comes: one of the two rescues its attempt, which is the last one.
    let reader = read_hopping([&first, &second], &answer, reader).await;
    assert_eq!(
        (reader.status.as_str(), reader.text.as_str()),
        ("failed", "mine ")
    );
    second.abandon().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_hands_its_answers_over() {
    let script = Script::stream()
        .say(["half "])
        .wait(&CancellationToken::new())
        .finish();
    let (mut first, second, _, answer) = two_nodes(script).await;
    let reader = first.read_until(&answer, "half ").await;
    first.shut_down().await;
    let reader = second.read_on(&answer, reader).await;
    assert_eq!(
        (reader.status.as_str(), reader.text.as_str()),
        ("completed", "written anew")
    );
    assert_eq!(reader.replaced, 1);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_stops_listening_and_another_takes_over() {
    let script = Script::stream()
        .say(["half "])
        .wait(&CancellationToken::new())
        .finish();
    let upstream = Upstream::scripted([script, Script::answer(["written ", "anew"])]).await;
    let database = Database::create(Kind::Postgres).await;
    let (_, rest) = database.url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let proxy = Proxy::to(server.to_owned()).await;
    let through = format!("postgres://postgres@{}/{name}", proxy.address);
    let cut_off = [
        ("database_url", through.as_str()),
        ("database.acquire_timeout_ms", "200"),
        ("worker.lease_ms", "2500"),
    ];
    let first = TestApp::start_on(database.clone(), upstream.clone(), &cut_off).await;
    let chat = first.create_chat().await;
    let message = first.send(&chat, "one").await;
    let answer = first.answer_to(&chat, &message).await;
    let reader = first.read_until(&answer, "half ").await;
    let second = TestApp::start_on(database, upstream, &SETTINGS).await;
    proxy.cut();
    let begun = Instant::now();
    let gone = first.upstream.received()[0].gone.clone();
    let reader = second.read_on(&answer, reader).await;
    assert_eq!(
        (reader.status.as_str(), reader.text.as_str()),
        ("completed", "written anew")
    );
    timeout(Duration::from_secs(10), gone.cancelled())
        .await
        .expect("it stops listening");
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    proxy.mend();
    // What the first node still has in memory is void; a client that comes back to it sees so.
    let reader = first
        .read_on(
            &answer,
            Reader {
                status: String::new(),
                ..reader
            },
        )
        .await;
    assert_eq!(
        (reader.text.as_str(), reader.status.as_str()),
        ("written anew", "completed")
    );
    first.abandon().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_a_provider_holds_for_all_nodes_together() {
    const CHATS: usize = 6;
    const LIMIT: usize = 2;
    let gates: Vec<_> = (0..CHATS).map(|_| CancellationToken::new()).collect();
    let (held, calls) = (gates.clone(), AtomicUsize::new(0));
    let upstream = Upstream::start(move |_| {
        let gate = &held[calls.fetch_add(1, Ordering::SeqCst)];
        Script::stream().say(["x"]).wait(gate).finish()
    })
    .await;
    let settings = [
        ("openai.max_running", "2"),
        ("worker.scan_interval_ms", "50"),
    ];
    let first = TestApp::start_with(Kind::Postgres, upstream, &settings).await;
    let second = first.another_node(&[]).await;
    for n in 0..CHATS {
        let node = if n % 2 == 0 { &first } else { &second };
        let chat = node.create_chat().await;
        node.send(&chat, "go").await;
    }
    for (ended, gate) in gates.iter().enumerate() {
        let expected = (ended + LIMIT).min(CHATS);
        eventually("as many as may run do", async || {
            (first.upstream.received().len() == expected).then_some(())
        })
        .await;
        // Time enough for both nodes to look for more.
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(first.upstream.received().len(), expected, "and no more");
        gate.cancel();
    }
    first.settle().await;
    second.abandon().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_on_two_nodes_is_one_message() {
    let first = TestApp::start(Kind::Postgres, Upstream::echo().await).await;
    let second = first.another_node(&[]).await;
    let chat = first.create_chat().await;
    let (path, body) = (format!("/chat/{chat}/send"), json!({"message": "Hello"}));
    for key in 0..10 {
        let key = key.to_string();
        let (a, b) = tokio::join!(
            first.post_once(&path, &key, &body),
            second.post_once(&path, &key, &body)
        );
        assert_eq!(a.expect(202).text, b.expect(202).text);
    }
    first.settle().await;
    assert_eq!(first.messages(&chat).await.len(), 20);
    second.abandon().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_follow_an_answer_it_is_read_once_per_interval() {
    use pollen::ledger::Follower;
    use pollen::store::{Store, StoreSettings};
    let gate = CancellationToken::new();
    let script = Script::stream().say(["half "]).wait(&gate).finish();
    let (first, second, _, answer) = two_nodes(script).await;
    first.read_until(&answer, "half ").await;
    let settings = StoreSettings {
        url: first.database.url.clone(),
        max_connections: 4,
        acquire_timeout: Duration::from_secs(5),
    };
    let store = Arc::new(Store::open(&settings).await.unwrap());
    let follower = Follower::new(Arc::clone(&store), Duration::from_mins(1));
    let id = answer.parse().unwrap();
    let seen = futures::future::join_all((0..200).map(|_| follower.read(id))).await;
    let seen: Vec<_> = seen
        .into_iter()
        .map(|read| read.unwrap().unwrap())
        .collect();
    assert!(
        seen.iter().all(|read| Arc::ptr_eq(read, &seen[0])),
        "all got one reading"
    );
    gate.cancel();
    first.read(&answer).await;
    follower.forget(id);
    let ended = follower.read(id).await.unwrap().unwrap();
    assert_eq!(ended.message.content, "half ");
    let again = follower.read(id).await.unwrap().unwrap();
    assert!(
        !Arc::ptr_eq(&ended, &again),
        "what has ended is never remembered"
    );
    store.close().await.unwrap();
    second.abandon().await;
    first.stop().await;
}
