//! The sessions that the documents print, run: every `console` block of the README, of
//! `docs/POLLING.md`, `docs/OPERATIONS.md`, `docs/EXPORT.md` and `docs/CLIENT.md`, command by command, against the real binary.
//!
//! In what a command is to print, `…` stands for anything, and UUIDs and times for any others.
//! A line `# …` between commands is a comment.

mod contract;

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::support::app::PATIENCE;
use crate::support::process::Server;

/// Where the documents say that the server listens.
const DOCUMENTED: &str = "http://127.0.0.1:8080";
const END: &str = "--- end of what it printed ---";

/// A command and what it is to print.
struct Step {
    command: String,
    expected: String,
}

/// The commands of all `console` blocks, in order.
fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut in_block = false;
    for line in document.lines() {
        match line {
            "```console" => in_block = true,
            "```" => in_block = false,
            _ if !in_block || line.starts_with("# ") => {}
            _ => {
                if let Some(command) = line.strip_prefix("$ ") {
                    let (command, expected) = (command.to_owned(), String::new());
                    steps.push(Step { command, expected });
                } else if let Some(more) = line.strip_prefix("> ") {
                    let last = steps.last_mut().expect("a command before its second line");
                    last.command.push('\n');
                    last.command.push_str(more);
                } else {
                    let last = steps.last_mut().expect("a command before its output");
                    last.expected.push_str(line);
                    last.expected.push('\n');
                }
            }
        }
    }
    steps
}

/// UUIDs and times look alike in every run.
fn masked(text: &str) -> String {
    let is_hex = |c: char| c.is_ascii_hexdigit();
    let mut out = String::new();
    let mut rest = text.trim();
    while let Some(c) = rest.chars().next() {
        let uuid = rest
            .get(..36)
            .filter(|word| uuid::Uuid::try_parse(word).is_ok());
        let time = rest
            .get(..24)
            .filter(|word| chrono::DateTime::parse_from_rfc3339(word).is_ok());
        let (masked, length) = match (uuid, time) {
            (Some(_), _) if !out.ends_with(is_hex) => ("<uuid>", 36),
            (_, Some(_)) => ("<time>", 24),
            _ => ("", c.len_utf8()),
        };
        out.push_str(if masked.is_empty() {
            &rest[..length]
        } else {
            masked
        });
        rest = &rest[length..];
    }
    out
}

/// Whether `text` is `pattern` with something in place of each `…`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

async fn run_sessions(path: &str) {
    let steps = steps(&std::fs::read_to_string(path).unwrap());
    assert!(!steps.is_empty(), "{path} shows no session");
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]).await;
    let mut shell = Command::new("bash")
        .args(["--noprofile", "--norc"])
        .current_dir(dir.path())
        .env("no_proxy", "127.0.0.1")
        .env("PATH", with_pollen())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    let mut output = BufReader::new(shell.stdout.take().unwrap()).lines();
    for step in steps {
        // The documents' second is for a machine that has nothing else to do.
        let command = step.command.replace("sleep 1;", "sleep 2.5;");
        let command = command.replace(DOCUMENTED, &server.base);
        let script = format!("{command}\nprintf '\\n%s\\n' '{END}'\n");
        input.write_all(script.as_bytes()).await.unwrap();
        let mut printed = String::new();
        loop {
            let next = tokio::time::timeout(PATIENCE, output.next_line()).await;
            let next = next.unwrap_or_else(|_| panic!("{path}: no end to\n{command}\n{printed}"));
            let Some(line) = next.unwrap() else {
                let mut errors = String::new();
                shell
                    .stderr
                    .take()
                    .unwrap()
                    .read_to_string(&mut errors)
                    .await
                    .unwrap();
                panic!("{path}: the shell ended at\n{command}\n{printed}{errors}");
            };
            if line == END {
                break;
            }
            printed.push_str(&line);
            printed.push('\n');
        }
        let printed = printed.replace('\r', "").replace(&server.base, DOCUMENTED);
        let (expected, printed) = (masked(&step.expected), masked(&printed));
        assert!(
            matches(&expected, &printed),
            "{path}:\n$ {}\nis to print\n{expected}\nbut prints\n{printed}",
            step.command
        );
    }
    server.terminate("-TERM").await;
}

/// The path on which the shell finds the binary.
fn with_pollen() -> std::ffi::OsString {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_pollen"));
    let mut dirs = vec![binary.parent().unwrap().to_owned()];
    let path = std::env::var_os("PATH").unwrap_or_default();
    dirs.extend(std::env::split_paths(&path));
    std::env::join_paths(dirs).unwrap()
}

#[tokio::test]
async fn the_operators_sessions_can_be_repeated() {
    run_sessions("docs/OPERATIONS.md").await;
}

#[tokio::test]
async fn the_readmes_session_can_be_repeated() {
    run_sessions("README.md").await;
}

#[tokio::test]
async fn the_protocols_sessions_can_be_repeated() {
    run_sessions("docs/POLLING.md").await;
}

#[tokio::test]
async fn the_sessions_of_export_and_import_can_be_repeated() {
    run_sessions("docs/EXPORT.md").await;
}

#[tokio::test]
async fn the_sessions_of_the_terminal_client_can_be_repeated() {
    run_sessions("docs/CLIENT.md").await;
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut documents = vec![std::path::PathBuf::from("README.md")];
    documents.extend(
        std::fs::read_dir("docs")
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    for document in documents
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
    {
        let text = std::fs::read_to_string(document).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let file = target.split('#').next().unwrap();
            let path = document.parent().unwrap().join(file);
            assert!(path.exists(), "{} links to {target}", document.display());
        }
    }
}

#[test]
fn patterns_match_what_they_say() {
    assert!(
        matches("a…c", "abc")
            && matches("a…", "a")
            && matches("…b…", "abc")
            && matches("abc", "abc")
    );
    assert!(!matches("a…c", "ab") && !matches("abc", "abcd") && !matches("…b", "abc"));
    let text =
        "{\"u\":\"01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a61\",\"t\":\"2026-11-21T03:44:47.429Z\"}";
    assert_eq!(masked(text), "{\"u\":\"<uuid>\",\"t\":\"<time>\"}");
}
