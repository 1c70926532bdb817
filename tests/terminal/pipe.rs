//! `pollen ask` in a pipe and in a script: exact bytes, exit statuses, JSON, and who an anonymous caller is.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::{halting, only_chat, piped, saying};
use crate::support::database::Kind;
use crate::support::process::{run, send_signal};
use crate::support::{Script, TestApp, Upstream};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_pipe_gets_the_stored_text_to_the_byte_and_nothing_else() {
    // Also what a terminal would obey, Windows' line ends, and no line end behind it.
    let stored = "# Head\r\n\n**bold** \u{1b}[31m 你好\ttab  \nno end";
    let app = saying(stored).await;
    let dir = tempfile::tempdir().unwrap();
    let output = piped(dir.path(), &["ask", "--url", &app.base, "Hello"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), stored);
    assert_eq!(text(&output.stderr), "");
    let (_, messages) = only_chat(&app).await;
    assert_eq!(messages[1]["content"], stored);
    app.stop().await;
}

#[tokio::test]
async fn the_question_comes_from_the_words_or_standard_input_or_both() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    let dir = tempfile::tempdir().unwrap();
    for (words, input, asked) in [
        (&[][..], "from a pipe", "from a pipe"),
        (&["-"], "after a dash", "after a dash"),
        (
            &["What is this?"],
            "some\ntext\n",
            "What is this?\n\nsome\ntext\n",
        ),
        (&["only words"], "", "only words"),
    ] {
        let arguments = [&["ask", "--url", &app.base], words].concat();
        let mut command = piped(dir.path(), &arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(text(&output.stdout), format!("You said: {asked}"));
    }
    let output = piped(dir.path(), &["ask", "--url", &app.base])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "nothing was asked");
    app.stop().await;
}

#[tokio::test]
async fn a_chat_goes_on_with_its_id() {
    let upstream = Upstream::echo().await;
    let app = TestApp::start(Kind::Sqlite, upstream.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let ask = async |arguments: &[&str]| {
        let arguments = [&["ask", "--json", "--url", &app.base], arguments].concat();
        let output = piped(dir.path(), &arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let lines = text(&output.stdout);
        assert_eq!(lines.lines().count(), 1, "{lines}");
        serde_json::from_str::<Value>(&lines).unwrap()
    };
    let first = ask(&["One"]).await;
    let chat = first["chat"].as_str().unwrap();
    let second = ask(&["--chat", chat, "Two"]).await;
    let messages = app.messages(chat).await;
    assert_eq!(messages.len(), 4);
    assert_eq!(
        second,
        json!({"chat": chat, "question": messages[2]["uuid"], "message": messages[3]["uuid"],
            "status": "completed", "content": "You said: Two", "error": null,
            "model": "scripted-model", "finish_reason": "stop"})
    );
    // The model has seen what was said before.
    assert_eq!(upstream.received()[1].turns().len(), 3);
    app.stop().await;
}

#[tokio::test]
async fn a_model_and_an_agent_can_be_chosen() {
    let upstream = Upstream::echo().await;
    upstream.lists(
        200,
        json!({"data": [{"id": "scripted-model"}, {"id": "other-model"}]}),
    );
    let app = TestApp::start(Kind::Sqlite, upstream.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let ask = async |arguments: &[&str]| {
        let arguments = [&["ask", "--url", &app.base], arguments].concat();
        piped(dir.path(), &arguments).output().await.unwrap()
    };
    let output = ask(&["--model", "other-model", "--agent", "tutor", "Hello"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (chat, messages) = only_chat(&app).await;
    assert_eq!(messages.last().unwrap()["model"], "other-model");
    assert_eq!(
        app.get(&format!("/chat/{chat}")).await.json()["agent"],
        "tutor"
    );
    assert_eq!(upstream.received()[0].body["model"], "other-model");

    let output = ask(&["--agent", "nobody", "Hello"]).await;
    assert_eq!(output.status.code(), Some(3));
    let output = ask(&["--chat", &chat, "--agent", "tutor", "Hello"]).await;
    assert_eq!(output.status.code(), Some(2), "an agent is for a new chat");
    app.stop().await;
}

#[tokio::test]
async fn a_failed_answer_keeps_its_text_and_has_status_1() {
    let script = Script::stream().say(["The first half"]).cut();
    let app = TestApp::start(
        Kind::Sqlite,
        Upstream::scripted([script.clone(), script]).await,
    )
    .await;
    let dir = tempfile::tempdir().unwrap();
    let output = piped(dir.path(), &["ask", "--url", &app.base, "Hello"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "The first half");
    let said = text(&output.stderr);
    assert!(
        said.starts_with("pollen: the answer failed: ") && said.contains("(provider_broke_off)"),
        "{said}"
    );

    let output = piped(dir.path(), &["ask", "--json", "--url", &app.base, "Hello"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["status"], "failed");
    assert_eq!(report["content"], "The first half");
    assert_eq!(report["error"]["code"], "provider_broke_off");
    app.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_or_says_no_has_status_3() {
    let app = saying("Yes").await;
    let dir = tempfile::tempdir().unwrap();
    let nobody = "01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a61";
    for (arguments, words, code) in [
        (
            &["--url", "http://127.0.0.1:9", "Hello"][..],
            "cannot be reached",
            "unreachable",
        ),
        (
            &["--url", &app.base, "--chat", nobody, "Hello"],
            "chat",
            "chat-not-found",
        ),
        (
            &["--url", &app.base, "--agent", "nobody", "Hello"],
            "nobody",
            "invalid-field",
        ),
        (&["--url", &app.upstream.root(), "Hello"], "", "refused"),
    ] {
        let arguments = [&["ask", "--json"], arguments].concat();
        let output = piped(dir.path(), &arguments).output().await.unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {said}");
        assert!(
            said.starts_with("pollen: ") && said.contains(words),
            "{said}"
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let known = report["error"]["code"].as_str().unwrap();
        assert!(known == code || code == "refused", "{report}");
        assert_eq!(report["status"], Value::Null);
    }
    app.stop().await;
}

#[tokio::test]
async fn an_interrupt_cancels_also_in_a_pipe() {
    let gate = CancellationToken::new();
    let app = halting(&["Half"], &gate, &["never"]).await;
    let dir = tempfile::tempdir().unwrap();
    let child = piped(dir.path(), &["ask", "--url", &app.base, "Go on"])
        .spawn()
        .unwrap();
    let answer = crate::support::app::eventually("the answer grows", async || {
        let list = app.get("/chat/list").await.json();
        let chat = list["chats"][0]["uuid"].as_str()?.to_owned();
        let messages = app.messages(&chat).await;
        messages
            .into_iter()
            .find(|m| m["content"] == "Half" && m["role"] == "assistant")
    })
    .await;
    send_signal(&child, "-INT").await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(text(&output.stdout), "Half");
    let stored = app.message(answer["uuid"].as_str().unwrap()).await;
    assert_eq!(stored["status"], "cancelled");
    app.stop().await;
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let app = saying(&"a line\n".repeat(100_000)).await;
    let dir = tempfile::tempdir().unwrap();
    let mut child = piped(dir.path(), &["ask", "--url", &app.base, "Hello"])
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    app.stop().await;
}

#[tokio::test]
async fn somebody_anonymous_is_the_same_in_the_next_run() {
    let upstream = Upstream::echo().await;
    let settings = [
        ("auth.modes", "anonymous"),
        ("auth.allow_anonymous", "true"),
    ];
    let app = TestApp::start_with(Kind::Sqlite, upstream, &settings).await;
    let dir = tempfile::tempdir().unwrap();
    let ask = async |home: &std::path::Path, arguments: &[&str]| {
        let arguments = [&["ask", "--json", "--url", &app.base], arguments].concat();
        let output = piped(home, &arguments).output().await.unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), report)
    };
    let (status, first) = ask(dir.path(), &["One"]).await;
    assert_eq!(status, 0, "{first}");
    let chat = first["chat"].as_str().unwrap();
    let (status, second) = ask(dir.path(), &["--chat", chat, "Two"]).await;
    assert_eq!((status, &second["content"]), (0, &json!("You said: Two")));

    // Who they are is a file of theirs alone, and nobody else's.
    let state = dir.path().join(".local/state/pollen");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    let files: Vec<_> = std::fs::read_dir(&state)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(mode(&files[0]), 0o600);
    let elsewhere = tempfile::tempdir().unwrap();
    let (status, report) = ask(elsewhere.path(), &["--chat", chat, "Three"]).await;
    assert_eq!(
        (status, &report["error"]["code"]),
        (3, &json!("chat-not-found"))
    );
    app.stop().await;
}

#[tokio::test]
async fn a_token_is_taken_from_the_environment_and_told_to_nobody() {
    let upstream = Upstream::echo().await;
    let app = TestApp::start_with(Kind::Sqlite, upstream, &[("auth.modes", "token")]).await;
    let dir = tempfile::tempdir().unwrap();
    let variables = [("POLLEN_DATABASE_URL", app.database.url.as_str())];
    let made = run(
        dir.path(),
        &variables,
        &["token", "create", "--user", "alice"],
    )
    .await;
    let token = text(&made.stdout).trim().to_owned();
    assert!(token.starts_with("pln_"), "{}", text(&made.stderr));
    let ask = async |token: &str, url: &str| {
        let mut command = piped(dir.path(), &["ask", "Hello"]);
        command.env("POLLEN_TOKEN", token).env("POLLEN_URL", url);
        let output = command.output().await.unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code().unwrap(), said)
    };
    assert_eq!(
        ask(&token, &app.base).await,
        (0, "You said: Hello".to_owned())
    );
    let (status, said) = ask("", &app.base).await;
    assert_eq!(status, 3);
    assert!(said.contains("POLLEN_TOKEN"), "{said}");
    let wrong = "pln_wrong-secret";
    for url in [
        app.base.as_str(),
        "http://127.0.0.1:9",
        "http://192.0.2.1:8080",
    ] {
        let (status, said) = ask(wrong, url).await;
        // To another machine it does not go in plain text at all.
        assert_eq!(status, if url.contains("192") { 2 } else { 3 }, "{said}");
        assert!(!said.contains("wrong-secret"), "{said}");
    }
    // The server's own commands do not stumble over the client's variables.
    let variables = [
        ("POLLEN_TOKEN", token.as_str()),
        ("POLLEN_URL", app.base.as_str()),
    ];
    let config = run(dir.path(), &variables, &["config"]).await;
    assert_eq!(config.status.code(), Some(0), "{}", text(&config.stderr));
    assert!(!text(&config.stdout).contains(&token));
    app.stop().await;
}

#[tokio::test]
async fn a_server_that_stays_away_is_not_waited_for_without_end() {
    let gate = CancellationToken::new();
    let mut app = halting(&["Half"], &gate, &["never"]).await;
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        "ask",
        "--json",
        "--patience",
        "1",
        "--url",
        &app.base,
        "Go on",
    ];
    let child = piped(dir.path(), &arguments).spawn().unwrap();
    crate::support::app::eventually("the answer is begun", async || {
        (!app.upstream.received().is_empty()).then_some(())
    })
    .await;
    let (chat, _) = only_chat(&app).await;
    app.shut_down().await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Where it can be found when the server is back.
    assert_eq!(report["chat"], chat.as_str());
    assert_eq!(report["error"]["code"], "unreachable");
    let said = text(&output.stderr);
    assert!(said.contains(&format!("pollen tail {chat}")), "{said}");
    app.abandon().await;
}
