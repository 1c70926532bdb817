//! `pollen tail`: a chat as others write it.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

use super::piped;
use crate::support::app::PATIENCE;
use crate::support::database::Kind;
use crate::support::process::send_signal;
use crate::support::{Script, Server, Terminal, TestApp, Upstream};

#[tokio::test]
async fn a_chat_is_followed_as_it_grows() {
    let gate = CancellationToken::new();
    let scripts = [
        Script::answer(["An old answer."]),
        Script::answer(["A later answer."]),
        Script::stream()
            .say(["It **grows** "])
            .wait(&gate)
            .say(["to its end."])
            .finish(),
    ];
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted(scripts).await).await;
    let (chat, _, _) = app.ask("An old question").await;
    app.ask_in(&chat, "A later question").await;
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["tail", "--url", &app.base, "-n", "2", &chat];
    let mut terminal = Terminal::start(dir.path(), &[], &arguments);
    terminal.shows("A later answer.").await;
    assert!(
        terminal.text().contains("A later question"),
        "{}",
        terminal.text()
    );
    assert!(!terminal.text().contains("old"), "{}", terminal.text());
    // What somebody else asks now.
    let message = app.send(&chat, "A new question").await;
    terminal.shows("A new question").await;
    terminal.shows("It grows").await;
    assert!(
        !terminal.text().contains("to its end"),
        "{}",
        terminal.text()
    );
    gate.cancel();
    terminal.shows("It grows to its end.").await;
    let answer = app.answer_to(&chat, &message).await;
    app.delete(&format!("/chat/message/{answer}"))
        .await
        .expect(204);
    terminal.shows("a message was deleted").await;
    terminal.press("\u{3}").await;
    assert_eq!(terminal.ends().await, 130);
    app.stop().await;
}

#[tokio::test]
async fn leaving_a_chat_stops_nothing() {
    let gate = CancellationToken::new();
    let app = super::halting(&["It grows "], &gate, &["on."]).await;
    let chat = app.create_chat().await;
    let message = app.send(&chat, "Grow").await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), &[], &["tail", "--url", &app.base, &chat]);
    terminal.shows("It grows").await;
    terminal.press("\u{3}").await;
    assert_eq!(terminal.ends().await, 130);
    gate.cancel();
    let answer = app.answer_to(&chat, &message).await;
    assert_eq!(app.read(&answer).await.text, "It grows on.");
    app.stop().await;
}

#[tokio::test]
async fn a_pipe_gets_messages_once_they_are_over() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let (chat, _, _) = app.ask("One").await;
    let dir = tempfile::tempdir().unwrap();
    for is_json in [false, true] {
        let flag: &[&str] = if is_json { &["--json"] } else { &[] };
        let arguments = [&["tail", "--url", &app.base, "-n", "2"], flag, &[&chat]].concat();
        let mut child = piped(dir.path(), &arguments).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = async || {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
            line.expect("a line").unwrap().expect("more")
        };
        let first = [next().await, next().await];
        app.ask_in(&chat, "Two").await;
        let then = [next().await, next().await];
        if is_json {
            let messages: Vec<Value> = then
                .iter()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert_eq!(messages[0]["content"], "Two");
            assert_eq!(messages[1]["content"], "You said: Two");
            assert_eq!(messages[1]["status"], "completed");
        } else {
            assert_eq!(first, ["you: One", "scripted-model: You said: One"]);
            assert_eq!(then, ["you: Two", "scripted-model: You said: Two"]);
        }
        send_signal(&child, "-INT").await;
        assert_eq!(child.wait().await.unwrap().code(), Some(130));
    }
    app.stop().await;
}

#[tokio::test]
async fn a_chat_is_followed_over_a_restart() {
    let upstream = Upstream::echo().await;
    let dir = tempfile::tempdir().unwrap();
    let base_url = upstream.base_url();
    let variables = [
        ("POLLEN_OPENAI__BASE_URL", base_url.as_str()),
        ("POLLEN_OPENAI__MODEL", "scripted-model"),
    ];
    let server = Server::start(dir.path(), &variables).await;
    let (base, address) = (server.base.clone(), server.base.replace("http://", ""));
    let asked = piped(dir.path(), &["ask", "--json", "--url", &base, "One"])
        .output()
        .await;
    let report: Value = serde_json::from_slice(&asked.unwrap().stdout).unwrap();
    let chat = report["chat"].as_str().unwrap();
    let mut terminal = Terminal::start(dir.path(), &[], &["tail", "--url", &base, chat]);
    terminal.shows("You said: One").await;
    server.kill().await;
    terminal.shows("cannot be reached").await;
    let server = Server::start_at(dir.path(), &variables, &address).await;
    let again = piped(dir.path(), &["ask", "--url", &base, "--chat", chat, "Two"])
        .output()
        .await;
    assert_eq!(again.unwrap().status.code(), Some(0));
    terminal.shows("You said: Two").await;
    terminal.press("\u{3}").await;
    assert_eq!(terminal.ends().await, 130);
    server.terminate("-TERM").await;
}
