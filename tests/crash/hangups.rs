//! Clients that hang up in the middle: the server drops what it does for them wherever it is, and
//! the connections to its database must be as good as new for whoever comes next.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use super::chaos::Setup;
use super::{Seed, dice};
use crate::support::database::Kind;
use crate::support::{Database, Upstream, http_client};

const SEED: u64 = 12;
const CALLS: usize = 600;
const CALLS_AT_ONCE: usize = 30;
/// Clients wait for less than this, in microseconds.
const PATIENCE_US: u64 = 30_000;
/// What PostgreSQL says to a BEGIN in a transaction that somebody else has left open.
const COMPLAINT: &str = "already a transaction in progress";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_leaves_no_transaction_open() {
    let seed = Seed::from_env(SEED);
    let mut dice = dice(seed.0, 0);
    let upstream = Upstream::echo().await;
    let database = Database::create(Kind::Postgres).await;
    let log = database.dir().join("hangups.log");
    let set = |key: &str, value: String| (format!("POLLEN_{key}"), value);
    let setup = Setup {
        dir: database.dir(),
        log: log.clone(),
        lease: Duration::ZERO,
        variables: vec![
            set("DATABASE_URL", database.url.clone()),
            // Few, so that what is left behind is soon met with.
            set("DATABASE__MAX_CONNECTIONS", "4".into()),
            set("OPENAI__BASE_URL", upstream.base_url()),
            set("OPENAI__MODEL", "scripted-model".into()),
        ],
    };
    let server = setup.start("the only one").await.expect("it starts");
    let (client, url) = (http_client(), format!("{}/chat/create", server.base));
    for _ in 0..CALLS / CALLS_AT_ONCE {
        let calls = (0..CALLS_AT_ONCE).map(|_| {
            let patience = Duration::from_micros(dice.u64(..PATIENCE_US));
            client.post(&url).json(&json!({})).timeout(patience).send()
        });
        join_all(calls).await;
    }
    let created = client.post(&url).json(&json!({})).send().await.unwrap();
    assert_eq!(created.status(), 201);
    server.kill().await;
    let log = std::fs::read_to_string(log).unwrap();
    let complaints = log.matches(COMPLAINT).count();
    assert_eq!(complaints, 0, "transactions were left open");
}
