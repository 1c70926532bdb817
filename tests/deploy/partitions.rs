//! The ledger in partitions, by the very statements of `docs/SCALING.md`: an answer is written, followed by another node,
//! ended and purged.

use std::fs;
use std::time::Duration;

use crate::support::database::Kind;
use crate::support::{Database, Reader, Script, TestApp, Upstream, app::eventually};

/// The statements between this and the end of the block.
const FIRST: &str = "BEGIN;\nALTER TABLE token_ledger RENAME TO token_ledger_whole;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_may_be_in_partitions() {
    let pieces: Vec<String> = (0..60).map(|n| format!("piece {n} ")).collect();
    let script = Script::answer(&pieces).paced(Duration::from_millis(10));
    let upstream = Upstream::scripted([Script::answer(["whole"]), script]).await;
    let database = Database::create(Kind::Postgres).await;
    let settings = [
        ("ledger.follow_interval_ms", "20"),
        ("ledger.flush_interval_ms", "50"),
    ];
    let before = TestApp::start_on(database.clone(), upstream.clone(), &settings).await;
    let (_, _, read) = before.ask("one").await;
    assert_eq!(read.text, "whole");
    before.stop().await;

    let document = fs::read_to_string("docs/SCALING.md").unwrap();
    let (_, rest) = document
        .split_once(FIRST)
        .expect("the statements are there");
    let (rest, _) = rest.split_once("```").unwrap();
    // A row that was there is still there, and the next one comes behind it.
    let row = "INSERT INTO token_ledger (request_id, attempt, channel, start_offset, text) \
               VALUES (gen_random_uuid(), 0, 0, 0, 'left over')";
    database.execute(row).await;
    database.execute(&format!("{FIRST}{rest}")).await;
    assert_eq!(database.count("token_ledger").await, 1);
    database.execute(row).await;
    assert_eq!(database.count("token_ledger").await, 2);
    database.execute("DELETE FROM token_ledger").await;

    let first = TestApp::start_on(database.clone(), upstream, &settings).await;
    let second = first.another_node(&[]).await;
    let chat = first.create_chat().await;
    let message = first.send(&chat, "two").await;
    let answer = first.answer_to(&chat, &message).await;
    let (mut reader, mut polls) = (Reader::default(), 0);
    eventually("the answer is read on both nodes", async || {
        let node = [&first, &second][polls % 2];
        polls += 1;
        let answered = node.tokens(&answer, reader.position).await;
        reader.apply(&answered);
        reader.is_done().then_some(())
    })
    .await;
    assert_eq!((reader.text, reader.replaced), (pieces.concat(), 0));
    eventually("the ledger is purged", async || {
        (database.count("token_ledger").await == 0).then_some(())
    })
    .await;
    second.abandon().await;
    first.stop().await;
}
