//! Two thousand clients that send a byte now and then, or none, so that nobody else be served: everybody else is, and
//! they are let go of.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::app::eventually;
use crate::support::{Server, http_client};

const CLIENTS: u32 = 2_000;
/// What the server gives them.
const LIMIT: &str = "3000";
/// What it may take until the last of them is let go of, on a machine that has other things to do.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(20);
/// They come one after the other: of more than the listener's queue holds some would wait for the system, unseen by the
/// server.
const COME_WITHIN: Duration = Duration::from_millis(1_500);
/// Between two bytes.
const DRIBBLE: Duration = Duration::from_millis(500);
/// A client that behaves is served in this time.
const IN_TIME: Duration = Duration::from_secs(3);
/// Sockets, files of the database and the like that may have been opened meanwhile.
const OTHER_FILES: usize = 60;

/// What a slow client begins with.
const BEGINNINGS: [&str; 5] = [
    "GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
    "POST /chat/create HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{\"title\": \"",
    "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nx-slow: ",
    "P",
    "",
];

/// Dribbles until the server has had enough; how long that took.
async fn dribble(address: String, beginning: &'static str) -> Duration {
    let stream = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    let (mut from, mut to) = stream.into_split();
    let write = async {
        let mut is_open = to.write_all(beginning.as_bytes()).await.is_ok();
        while is_open && !beginning.is_empty() {
            tokio::time::sleep(DRIBBLE).await;
            is_open = to.write_all(b"x").await.is_ok();
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    // Whether it ends or is cut off: nothing more comes.
    let closed = from.read_to_end(&mut answer);
    tokio::select! {
        _ = closed => {}
        () = write => {}
        () = tokio::time::sleep(GIVEN_UP_AFTER * 2) => {}
    }
    begun.elapsed()
}

async fn json(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_clients_hold_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let limits = [
        ("POLLEN_LIMITS__HEADER_TIMEOUT_MS", LIMIT),
        ("POLLEN_LIMITS__BODY_TIMEOUT_MS", LIMIT),
        ("POLLEN_LOG__FILTER", "warn"),
    ];
    let server = Server::start(dir.path(), &limits).await;
    let (base, client) = (server.base.clone(), http_client());
    let chat = json(client.post(format!("{base}/chat/create"))).await;
    let messages = format!("{base}/chat/{}/messages", chat["uuid"].as_str().unwrap());
    json(client.get(&messages)).await;
    let before = server.open_files();

    let address = base.trim_start_matches("http://");
    let slow = (0..CLIENTS).map(|number| {
        let beginning = BEGINNINGS[number as usize % BEGINNINGS.len()];
        let (address, after) = (address.to_owned(), COME_WITHIN * number / CLIENTS);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            dribble(address, beginning).await
        })
    });
    let slow = tokio::spawn(join_all(slow.collect::<Vec<_>>()));
    let (mut most, mut longest, mut polls) = (0, Duration::ZERO, 0);
    while !slow.is_finished() {
        most = most.max(server.open_files());
        let begun = Instant::now();
        json(client.get(&messages)).await;
        longest = longest.max(begun.elapsed());
        polls += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(longest < IN_TIME, "a poll took {longest:?}");
    assert!(polls > 10, "{polls} polls");
    assert!(
        most > before + CLIENTS as usize / 2,
        "they were there at once: {most}"
    );
    for held in slow.await.unwrap() {
        let held = held.unwrap();
        assert!(held < GIVEN_UP_AFTER, "held for {held:?}");
    }
    eventually("nothing of them is left", async || {
        (server.open_files() <= before + OTHER_FILES).then_some(())
    })
    .await;
    let sent = messages.replace("/messages", "/send");
    json(client.post(sent).form(&[("message", "and on")])).await;
    server.terminate("-TERM").await;
}
