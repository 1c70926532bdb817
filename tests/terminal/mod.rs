//! The terminal client, driven as a person and as a script drive it: in a pseudo-terminal and in a pipe, against servers that
//! answer, fail, refuse, go away and come back; and the client of which it is made.

mod ask;
mod chat;
mod client;
mod pipe;
mod tail;

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::process::pollen;
use crate::support::{Script, TestApp, Upstream};

/// A server whose model says these pieces and then waits for the gate.
async fn halting(before: &[&str], gate: &CancellationToken, after: &[&str]) -> TestApp {
    let script = Script::stream().say(before).wait(gate).say(after).finish();
    TestApp::start(Kind::Sqlite, Upstream::scripted([script]).await).await
}

/// A server whose model says this.
async fn saying(text: &str) -> TestApp {
    let text = text.to_owned();
    let upstream = Upstream::start(move |_| Script::answer([text.clone()])).await;
    TestApp::start(Kind::Sqlite, upstream).await
}

/// The client in a pipe, with a home of its own.
fn piped(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = pollen(dir, &[]);
    command
        .env("HOME", dir)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// The messages of the one chat that there is.
async fn only_chat(app: &TestApp) -> (String, Vec<Value>) {
    let list = app.get("/chat/list").await.expect(200).json();
    let chats = list["chats"].as_array().unwrap();
    assert_eq!(chats.len(), 1, "{list}");
    let chat = chats[0]["uuid"].as_str().unwrap().to_owned();
    let messages = app.messages(&chat).await;
    (chat, messages)
}
