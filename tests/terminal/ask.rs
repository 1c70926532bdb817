//! `pollen ask` on a terminal.

use tokio_util::sync::CancellationToken;

use super::{halting, only_chat, saying};
use crate::support::database::Kind;
use crate::support::{Script, Terminal, TestApp, Upstream};

#[tokio::test]
async fn the_answer_grows_on_the_terminal() {
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let script = Script::stream()
        .wait(&first)
        .say(["It is **gro", "wing** "])
        .wait(&second)
        .say(["and done."])
        .finish();
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted([script]).await).await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), &[], &["ask", "--url", &app.base, "Grow!"]);
    // A spinner before the first token.
    terminal.has_had("waiting for the first word").await;
    first.cancel();
    terminal.shows("It is growing").await;
    assert!(!terminal.text().contains("done"), "{}", terminal.text());
    assert!(
        !terminal.text().contains("waiting for"),
        "{}",
        terminal.text()
    );
    second.cancel();
    terminal.shows("It is growing and done.").await;
    assert_eq!(terminal.ends().await, 0);
    assert!(terminal.is_bold("growing") && !terminal.is_bold("done"));
    let (chat, messages) = only_chat(&app).await;
    assert_eq!(messages[1]["content"], "It is **growing** and done.");
    terminal.shows(&format!("pollen ask --chat {chat}")).await;
    app.stop().await;
}

#[tokio::test]
async fn without_colours_the_text_is_typed_as_it_is() {
    for (variables, arguments) in [
        (&[("NO_COLOR", "1")][..], &[][..]),
        (&[("TERM", "dumb")], &[]),
        (&[], &["--color", "never"]),
        (&[], &["--raw"]),
    ] {
        let app = saying("It is **bold**.").await;
        let dir = tempfile::tempdir().unwrap();
        let arguments = [&["ask", "-q", "--url", &app.base, "Hello"], arguments].concat();
        let mut terminal = Terminal::start(dir.path(), variables, &arguments);
        assert_eq!(terminal.ends().await, 0);
        assert_eq!(terminal.text(), "It is **bold**.");
        assert!(
            !terminal.bytes().contains('\u{1b}'),
            "{:?}",
            terminal.bytes()
        );
        app.stop().await;
    }
}

#[tokio::test]
async fn ctrl_c_stops_the_answer_on_the_server_and_keeps_its_text() {
    let gate = CancellationToken::new();
    let app = halting(&["What has come"], &gate, &[" and never comes"]).await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), &[], &["ask", "--url", &app.base, "Go on"]);
    terminal.shows("What has come").await;
    terminal.press("\u{3}").await;
    assert_eq!(terminal.ends().await, 130);
    assert!(
        terminal.text().contains("What has come"),
        "{}",
        terminal.text()
    );
    assert!(terminal.text().contains("stopped"), "{}", terminal.text());
    let (_, messages) = only_chat(&app).await;
    assert_eq!(messages[1]["status"], "cancelled");
    assert_eq!(messages[1]["content"], "What has come");
    app.stop().await;
}

#[tokio::test]
async fn ctrl_c_before_the_first_word_stops_it_too() {
    let gate = CancellationToken::new();
    let app = halting(&[], &gate, &["never"]).await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), &[], &["ask", "--url", &app.base, "Go on"]);
    terminal.has_had("waiting for the first word").await;
    terminal.press("\u{3}").await;
    assert_eq!(terminal.ends().await, 130);
    app.settle().await;
    let (_, messages) = only_chat(&app).await;
    let is_stopped = |m: &serde_json::Value| m["status"] == "cancelled" || m["deleted"] == true;
    assert!(messages.iter().any(is_stopped), "{messages:?}");
    app.stop().await;
}

#[tokio::test]
async fn nothing_that_the_model_says_is_obeyed_by_the_terminal() {
    let hostile = "a\u{1b}[31mred\u{1b}]0;owned\u{7} \u{9b}2J &#27;[2J `\u{1b}]52;c;eA==\u{7}` z";
    for arguments in [&[][..], &["--raw"], &["--color", "never"]] {
        let app = saying(hostile).await;
        let dir = tempfile::tempdir().unwrap();
        let arguments = [&["ask", "--url", &app.base, "Hello"], arguments].concat();
        let mut terminal = Terminal::start(dir.path(), &[], &arguments);
        assert_eq!(terminal.ends().await, 0);
        let bytes = terminal.bytes();
        for sequence in [
            "\u{1b}[31m",
            "\u{1b}]0",
            "\u{1b}]52",
            "\u{9b}",
            "\u{1b}[2J",
            "\u{7}",
        ] {
            assert!(!bytes.contains(sequence), "{sequence:?} in {bytes:?}");
        }
        assert!(
            terminal.text().contains("a␛[31mred␛]0;owned␇"),
            "{}",
            terminal.text()
        );
        app.stop().await;
    }
}

#[tokio::test]
async fn a_question_has_to_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), &[], &["ask", "--url", "http://127.0.0.1:9"]);
    assert_eq!(terminal.ends().await, 2);
    assert!(
        terminal
            .text()
            .contains("there is no question. Try: pollen ask"),
        "{}",
        terminal.text()
    );
}

#[tokio::test]
async fn an_answer_that_is_written_anew_says_so() {
    let gate = CancellationToken::new();
    let broken = Script::stream().say(["The first half"]).wait(&gate).cut();
    let upstream = Upstream::scripted([broken, Script::answer(["All of it."])]).await;
    let settings = [("worker.on_broken_answer", "replace")];
    let app = TestApp::start_with(Kind::Sqlite, upstream, &settings).await;
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), &[], &["ask", "--url", &app.base, "Go on"]);
    terminal.shows("The first half").await;
    gate.cancel();
    assert_eq!(terminal.ends().await, 0);
    let text = terminal.text();
    let (before, after) = text.split_once("— the answer is written anew —").unwrap();
    assert!(
        before.contains("The first half") && after.contains("All of it."),
        "{text}"
    );
    app.stop().await;
}
