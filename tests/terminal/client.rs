//! `pollen::client` as somebody else's program uses it: through a way that loses answers, over restarts of its own, and as the
//! example does it.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pollen::client::{
    Answer, Client, Error, Following, NewChat, NewMessage, Patience, Progress, Status,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::{halting, saying};
use crate::support::app::{PATIENCE, eventually};
use crate::support::database::Kind;
use crate::support::{Script, TestApp, Upstream, http_client};

/// What happens to one request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    /// The server has done it, and the client never hears of it.
    Lost,
    /// The server never hears of it.
    Dropped,
    /// Half of the answer arrives.
    Cut,
    /// Somebody on the way says that it cannot be done now.
    Gateway,
    /// The server has too much to do, and says for how long.
    Busy,
}

/// A way to a server on which each request has the fate that is drawn for it. It ends with the test.
async fn way(target: &str, fate: impl Fn() -> Fate + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (target, fate) = (target.to_owned(), Arc::new(fate));
    tokio::spawn(async move {
        let client = http_client();
        while let Ok((stream, _)) = listener.accept().await {
            let (client, target, fate) = (client.clone(), target.clone(), Arc::clone(&fate));
            tokio::spawn(async move {
                // A client that has gone away is no failure here.
                let _ = pass(stream, client, target, fate()).await;
            });
        }
    });
    base
}

/// One request of one connection.
async fn pass(
    mut stream: TcpStream,
    client: reqwest::Client,
    target: String,
    fate: Fate,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let head_end = loop {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await?;
        if length == 0 {
            return Ok(());
        }
        bytes.extend(&part[..length]);
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (
        first.next().unwrap_or_default(),
        first.next().unwrap_or_default(),
    );
    let header = |name: &str| {
        let mut named = head.lines().filter_map(|line| line.split_once(": "));
        named
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes.split_off(head_end);
    while body.len() < length {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await?;
        body.extend(&part[..read]);
    }
    let refusal = match fate {
        Fate::Dropped => return Ok(()),
        Fate::Gateway => Some("HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\n"),
        Fate::Busy => Some("HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\n"),
        Fate::Passed | Fate::Lost | Fate::Cut => None,
    };
    if let Some(refusal) = refusal {
        let answer = format!("{refusal}content-length: 4\r\nconnection: close\r\n\r\nnope");
        return stream.write_all(answer.as_bytes()).await;
    }
    let mut request = client
        .request(method.parse().unwrap(), format!("{target}{path}"))
        .body(body);
    if let Some(kind) = header("content-type") {
        request = request.header("content-type", kind);
    }
    let Ok(response) = request.send().await else {
        return Ok(());
    };
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let said = match fate {
        Fate::Lost => return Ok(()),
        Fate::Cut => &text.as_bytes()[..text.len() / 2],
        _ => text.as_bytes(),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(said).await
}

/// A client that is in a hurry, as tests are.
fn hasty(base: &str) -> Client {
    let patience = Patience {
        first: Duration::from_millis(2),
        longest: Duration::from_millis(20),
        total: Some(PATIENCE),
        ..Patience::default()
    };
    Client::builder(base).patience(patience).build().unwrap()
}

#[tokio::test]
async fn whatever_is_lost_the_text_is_the_stored_one_and_nothing_is_asked_twice() {
    for seed in 0..4 {
        let words: Vec<String> = (0..40).map(|n| format!("word {n} 你好 ")).collect();
        let pause = Duration::from_millis(10);
        let script = Script::answer(&words).paced(pause);
        let upstream = Upstream::start(move |_| script.clone()).await;
        let app = TestApp::start(Kind::Sqlite, upstream.clone()).await;
        let dice = Mutex::new(fastrand::Rng::with_seed(seed));
        let base = way(&app.base, move || {
            let fates = [
                Fate::Lost,
                Fate::Dropped,
                Fate::Cut,
                Fate::Gateway,
                Fate::Busy,
            ];
            let mut dice = dice.lock().unwrap();
            // Half of them pass.
            if dice.bool() {
                Fate::Passed
            } else {
                dice.choice(fates).unwrap()
            }
        })
        .await;
        let (_, answer) = hasty(&base).ask(&NewChat::asking("Tell me")).await.unwrap();
        let mut dice = fastrand::Rng::with_seed(100 + seed);
        let (mut answer, mut text) = (answer, String::new());
        let message = loop {
            // Another process goes on with what was written down.
            let written = serde_json::to_string(&answer).unwrap();
            answer = serde_json::from_str::<Answer>(&written).unwrap();
            let client = hasty(&base);
            let next = answer.next(&client);
            // Or it ends in the middle of a step.
            let patience = if dice.bool() {
                Duration::from_millis(dice.u64(1..40))
            } else {
                PATIENCE
            };
            let Ok(progress) = tokio::time::timeout(patience, next).await else {
                continue;
            };
            match progress.unwrap() {
                Progress::Begun(_) => {}
                Progress::Appended(more) => text.push_str(&more),
                Progress::Replaced(anew) => text = anew,
                Progress::Ended(message) => break message,
                Progress::Withdrawn => panic!("nobody took it back"),
            }
        };
        assert_eq!(message.status, Status::Completed, "seed {seed}");
        assert_eq!(text, words.concat(), "seed {seed}");
        let stored = app.message(&message.uuid.to_string()).await;
        assert_eq!(stored["content"], text);

        let new = NewMessage::new("And again");
        let client = hasty(&base);
        let mut answer = client.ask_in(answer.chat(), &new).await.unwrap();
        while !matches!(answer.next(&client).await.unwrap(), Progress::Ended(_)) {}
        let messages = app.messages(&answer.chat().to_string()).await;
        assert_eq!(messages.len(), 4, "seed {seed}: {messages:?}");
        assert_eq!(upstream.received().len(), 2, "seed {seed}");
        app.stop().await;
    }
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let app = saying("Yes").await;
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    // A server that says for how long it is busy, once.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let target = app.base.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let is_first = {
                let mut count = counted.lock().unwrap();
                *count += 1;
                *count == 1
            };
            if is_first {
                let mut part = [0; 4096];
                let _ = stream.read(&mut part).await;
                let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(busy.as_bytes()).await.unwrap();
            } else {
                let _ = pass(stream, http_client(), target.clone(), Fate::Passed).await;
            }
        }
    });
    let told = Arc::new(Mutex::new(Vec::new()));
    let listening = Arc::clone(&told);
    let client = Client::builder(&base)
        .on_setback(move |setback| {
            listening
                .lock()
                .unwrap()
                .push((setback.wait, setback.error.to_string()));
        })
        .build()
        .unwrap();
    let begun = tokio::time::Instant::now();
    assert!(!client.commands().await.unwrap().is_empty());
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].0 >= Duration::from_secs(1) && told[0].1.contains("429"),
        "{told:?}"
    );
    assert_eq!(*count.lock().unwrap(), 2);
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_pass_is_told_at_once() {
    let app = saying("Yes").await;
    let client = hasty(&app.base);
    let error = client.chat(uuid::Uuid::now_v7()).await.unwrap_err();
    assert_eq!(error.problem().unwrap().slug(), "chat-not-found");
    // Somebody who is no Pollen server.
    let error = hasty(&app.upstream.root()).models().await.unwrap_err();
    assert!(
        matches!(error, Error::NotPollen { .. } | Error::Refused(_)),
        "{error}"
    );
    // Nobody at all, with an end to the patience.
    let nobody = Client::builder("http://127.0.0.1:9").patience(Patience::lasting(Duration::ZERO));
    let error = nobody.build().unwrap().models().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    app.stop().await;
}

#[tokio::test]
async fn a_question_that_is_taken_back_has_no_answer_and_a_late_cancel_stops_it() {
    let gate = CancellationToken::new();
    let app = halting(&["It begins"], &gate, &["never"]).await;
    let client = hasty(&app.base);
    let (chat, mut first) = client.ask(&NewChat::asking("One")).await.unwrap();
    while !matches!(first.next(&client).await.unwrap(), Progress::Appended(_)) {}
    // The second one waits behind the first, and is taken back.
    let new = NewMessage::new("Two");
    let mut second = client.ask_in(chat.uuid, &new).await.unwrap();
    second.cancel(&client).await.unwrap();
    assert_eq!(second.next(&client).await.unwrap(), Progress::Withdrawn);
    // The first one, cancelled by somebody who has not seen it begin.
    let mut late = Answer::to(&client.message(first.question()).await.unwrap(), 0);
    late.cancel(&client).await.unwrap();
    let message = loop {
        if let Progress::Ended(message) = late.next(&client).await.unwrap() {
            break message;
        }
    };
    assert_eq!(message.status, Status::Cancelled);
    assert_eq!(message.content, "It begins");
    app.stop().await;
}

#[tokio::test]
async fn held_polls_bring_the_same() {
    let app = saying("Yes, held.").await;
    let client = Client::builder(&app.base)
        .held_polls(Duration::from_secs(2))
        .build()
        .unwrap();
    let (chat, mut answer) = client.ask(&NewChat::asking("Held?")).await.unwrap();
    let mut text = String::new();
    loop {
        match answer.next(&client).await.unwrap() {
            Progress::Appended(more) => text.push_str(&more),
            Progress::Ended(_) => break,
            _ => {}
        }
    }
    assert_eq!(text, "Yes, held.");
    let mut following = Following::new(chat.uuid);
    let messages = following.catch_up(&client).await.unwrap();
    assert_eq!(messages.len(), 2);
    app.stop().await;
}

#[tokio::test]
async fn the_example_goes_on_where_it_was_killed() {
    let gate = CancellationToken::new();
    let app = halting(&["The first half, "], &gate, &["and the second."]).await;
    let dir = tempfile::tempdir().unwrap();
    let example = || {
        let pollen = PathBuf::from(env!("CARGO_BIN_EXE_pollen"));
        let mut command = Command::new(pollen.with_file_name("examples").join("resume"));
        command
            .args([app.base.as_str(), "state.json", "Tell me"])
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    };
    let mut child = example().spawn().unwrap();
    eventually("half of it is written down", async || {
        let state = std::fs::read_to_string(dir.path().join("state.json")).ok()?;
        state.contains("The first half").then_some(())
    })
    .await;
    child.kill().await.unwrap();
    gate.cancel();
    let output = example().output().await.unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, "The first half, and the second.\n");
    assert_eq!(app.upstream.received().len(), 1);
    assert!(!dir.path().join("state.json").exists(), "it is done with");
    app.stop().await;
}

/// The ten lines of docs/CLIENT.md and of the module's own words: that they compile is seen here.
#[expect(dead_code, reason = "it is to be compiled")]
#[expect(clippy::print_stdout, reason = "it is an example")]
async fn ten_lines() -> Result<(), Error> {
    use pollen::client::{Client, NewChat, Progress};

    let client = Client::builder("http://127.0.0.1:8080").build()?;
    let (_chat, mut answer) = client.ask(&NewChat::asking("What are you?")).await?;
    let mut text = String::new();
    loop {
        match answer.next(&client).await? {
            Progress::Appended(more) => text.push_str(&more),
            Progress::Replaced(anew) => text = anew,
            Progress::Ended(message) => break println!("{text} ({:?})", message.status),
            Progress::Begun(_) | Progress::Withdrawn => {}
        }
    }
    Ok(())
}

#[test]
fn the_ten_lines_are_those_that_compile() {
    let trimmed = |text: &str| {
        let lines = text
            .lines()
            .map(|line| line.trim_start_matches("//!").trim());
        lines.collect::<Vec<_>>().join("\n")
    };
    let document = include_str!("../../docs/CLIENT.md");
    let (_, code) = document.split_once("```rust\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    assert!(code.contains("answer.next(&client)"), "{code}");
    for file in [
        include_str!("client.rs"),
        include_str!("../../src/client/mod.rs"),
    ] {
        assert!(trimmed(file).contains(&trimmed(code)), "{code}");
    }
}
