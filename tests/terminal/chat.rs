//! `pollen chat`: a conversation as a person has it.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{halting, only_chat, saying};
use crate::support::database::Kind;
use crate::support::{Script, Server, Terminal, TestApp, Upstream};

const ENTER: &str = "\r";
const ALT_ENTER: &str = "\u{1b}\r";
const UP: &str = "\u{1b}[A";
const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";
const PROMPT: &str = "›";

/// A conversation that waits for words.
async fn begun(dir: &std::path::Path, base: &str, arguments: &[&str]) -> Terminal {
    let arguments = [&["chat", "--url", base], arguments].concat();
    let terminal = Terminal::start(dir, &[], &arguments);
    waits(&terminal).await;
    terminal
}

/// Until a line can be typed: what comes earlier goes to the terminal itself.
async fn waits(terminal: &Terminal) {
    terminal
        .until("the prompt", |t| t.text().lines().last() == Some(PROMPT))
        .await;
}

async fn says(terminal: &mut Terminal, keys: &str) {
    waits(terminal).await;
    terminal.press(keys).await;
}

async fn leave(mut terminal: Terminal) {
    waits(&terminal).await;
    terminal.press(CTRL_D).await;
    assert_eq!(terminal.ends().await, 0, "{}", terminal.text());
}

#[tokio::test]
async fn a_conversation_goes_back_and_forth() {
    let upstream = Upstream::echo().await;
    let app = TestApp::start(Kind::Sqlite, upstream.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = begun(dir.path(), &app.base, &[]).await;
    says(&mut terminal, "One **word**").await;
    terminal.press(ENTER).await;
    terminal.shows("You said: One word").await;
    assert!(terminal.is_bold("word") || terminal.bytes().contains("\u{1b}[1mword"));
    says(&mut terminal, "Two").await;
    terminal.press(ENTER).await;
    terminal.shows("You said: Two").await;
    leave(terminal).await;
    let (chat, messages) = only_chat(&app).await;
    assert_eq!(messages.len(), 4);
    assert_eq!(upstream.received()[1].turns().len(), 3);

    // It is gone on with, and what was said is there.
    let mut terminal = begun(dir.path(), &app.base, &[&chat]).await;
    assert!(
        terminal.text().contains("You said: One word"),
        "{}",
        terminal.text()
    );
    says(&mut terminal, "Three").await;
    terminal.press(ENTER).await;
    terminal.shows("You said: Three").await;
    leave(terminal).await;
    assert_eq!(app.messages(&chat).await.len(), 6);
    app.stop().await;
}

#[tokio::test]
async fn the_line_is_edited_remembered_and_completed() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = begun(dir.path(), &app.base, &[]).await;
    // Written, and mended at its beginning (Ctrl-A).
    says(&mut terminal, "orld\u{1}w\r").await;
    terminal.shows("You said: world").await;
    // Out of the history, with more behind it.
    says(&mut terminal, UP).await;
    terminal.press(" again\r").await;
    terminal.shows("You said: world again").await;
    // A command by its first letters.
    says(&mut terminal, "/ti\t").await;
    terminal.shows("› /title").await;
    terminal.press("Another name\r").await;
    crate::support::app::eventually("the title changes", async || {
        let list = app.get("/chat/list").await.json();
        (list["chats"][0]["title"] == "Another name").then_some(())
    })
    .await;
    // What may follow a command, too.
    says(&mut terminal, "/agent tu\t").await;
    terminal.shows("› /agent tutor").await;
    terminal.press(CTRL_C).await;
    // Several lines.
    says(&mut terminal, "first").await;
    terminal.press(ALT_ENTER).await;
    terminal.press("second\\\rthird\r").await;
    terminal.shows("You said: first second third").await;
    leave(terminal).await;
    let (_, messages) = only_chat(&app).await;
    let said = messages.iter().rfind(|m| m["role"] == "user").unwrap();
    assert_eq!(said["content"], "first\nsecond\nthird");

    // The next conversation remembers, in a file of this user's alone.
    let file = dir.path().join(".local/state/pollen/history");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut terminal = begun(dir.path(), &app.base, &[]).await;
    // Three lines, the command, and what was said before it.
    for _ in 0..5 {
        terminal.press(UP).await;
    }
    terminal.shows("› world again").await;
    terminal.press(CTRL_C).await;
    leave(terminal).await;
    app.stop().await;
}

#[tokio::test]
async fn tab_lists_all_commands_of_the_server_and_ours_are_not_among_them() {
    let app = saying("Yes").await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = begun(dir.path(), &app.base, &[]).await;
    says(&mut terminal, "/\t").await;
    let listed = app.get("/commands").await.expect(200).json();
    for entry in listed["commands"].as_array().unwrap() {
        let command = entry["command"].as_str().unwrap();
        terminal.shows(command).await;
        assert!(
            !["/quit", "/exit"].contains(&command),
            "{command} is the server's"
        );
    }
    terminal.shows("/quit").await;
    terminal.press("quit\r").await;
    assert_eq!(terminal.ends().await, 0);
    let list = app.get("/chat/list").await.json();
    assert_eq!(
        list["chats"],
        json!([]),
        "nothing was said, so there is no chat"
    );
    app.stop().await;
}

#[tokio::test]
async fn markdown_has_colours_and_a_spinner_turns_before_the_first_token() {
    let gate = CancellationToken::new();
    let answer = "# A heading\n\n- **bold** and `code`\n\n```rust\nlet x = 1;\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n";
    let app = halting(&[], &gate, &[answer]).await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = begun(dir.path(), &app.base, &[]).await;
    says(&mut terminal, "Show me\r").await;
    terminal.has_had("waiting for the first word").await;
    gate.cancel();
    terminal.shows("1 │ 2").await;
    terminal
        .until("the spinner is gone", |t| !t.text().contains("waiting for"))
        .await;
    let text = terminal.text();
    assert!(
        text.contains("• bold and code") && text.contains("  let x = 1;"),
        "{text}"
    );
    assert!(!text.contains("**") && !text.contains("```"), "{text}");
    let bytes = terminal.bytes();
    for painted in ["\u{1b}[1mbold", "\u{1b}[36mcode", "\u{1b}[35mlet"] {
        assert!(bytes.contains(painted), "{painted:?} in {bytes:?}");
    }
    assert!(terminal.is_bold("A heading"));
    leave(terminal).await;
    app.stop().await;
}

#[tokio::test]
async fn ctrl_c_stops_an_answer_and_the_conversation_goes_on() {
    let gate = CancellationToken::new();
    let first = Script::stream()
        .say(["Without an "])
        .wait(&gate)
        .say(["end"])
        .finish();
    let upstream = Upstream::scripted([first, Script::answer(["Here I am."])]).await;
    let app = TestApp::start(Kind::Sqlite, upstream).await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = begun(dir.path(), &app.base, &[]).await;
    says(&mut terminal, "Go on\r").await;
    terminal.shows("Without an").await;
    terminal.press(CTRL_C).await;
    terminal.shows("stopped").await;
    says(&mut terminal, "And now?\r").await;
    terminal.shows("Here I am.").await;
    leave(terminal).await;
    let (_, messages) = only_chat(&app).await;
    assert_eq!(messages[1]["status"], "cancelled");
    assert_eq!(messages[3]["status"], "completed");
    app.stop().await;
}

#[tokio::test]
async fn what_is_asked_again_is_shown_again() {
    let scripts = [
        Script::answer(["The first."]),
        Script::answer(["The second."]),
    ];
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted(scripts).await).await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = begun(dir.path(), &app.base, &[]).await;
    says(&mut terminal, "Tell me\r").await;
    terminal.shows("The first.").await;
    says(&mut terminal, "/retry\r").await;
    terminal.shows("The second.").await;
    leave(terminal).await;
    app.stop().await;
}

#[tokio::test]
async fn an_answer_survives_a_restart_of_the_server_in_its_middle() {
    let gate = CancellationToken::new();
    let whole = "The whole answer: one, two and three.";
    let halted = Script::stream()
        .say(["The whole answer: one, "])
        .wait(&gate)
        .finish();
    let upstream = Upstream::scripted([halted, Script::answer([whole])]).await;
    let dir = tempfile::tempdir().unwrap();
    let base_url = upstream.base_url();
    let variables = [
        ("POLLEN_OPENAI__BASE_URL", base_url.as_str()),
        ("POLLEN_OPENAI__MODEL", "scripted-model"),
        ("POLLEN_LEDGER__FLUSH_INTERVAL_MS", "50"),
        ("POLLEN_WORKER__LEASE_MS", "1500"),
        ("POLLEN_WORKER__SCAN_INTERVAL_MS", "200"),
    ];
    let server = Server::start(dir.path(), &variables).await;
    let (base, address) = (server.base.clone(), server.base.replace("http://", ""));
    let mut terminal = begun(dir.path(), &base, &[]).await;
    says(&mut terminal, "Tell me\r").await;
    terminal.shows("The whole answer: one,").await;
    server.kill().await;
    // It says what is going on, and waits.
    terminal.shows("cannot be reached").await;
    let server = Server::start_at(dir.path(), &variables, &address).await;
    terminal.shows(whole).await;
    terminal
        .until("the note is gone", |t| {
            !t.text().contains("cannot be reached")
        })
        .await;
    leave(terminal).await;
    let list: serde_json::Value = reqwest_get(&format!("{base}/chat/list")).await;
    let chat = list["chats"][0]["uuid"].as_str().unwrap();
    let page: serde_json::Value = reqwest_get(&format!("{base}/chat/{chat}/messages")).await;
    assert_eq!(page["messages"][1]["content"], whole);
    assert_eq!(
        page["messages"].as_array().unwrap().len(),
        2,
        "nothing was sent twice"
    );
    server.terminate("-TERM").await;
}

async fn reqwest_get(url: &str) -> serde_json::Value {
    let answer = crate::support::http_client().get(url).send().await.unwrap();
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_conversation_needs_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let output = super::piped(dir.path(), &["chat"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("pollen ask"), "{said}");
}
