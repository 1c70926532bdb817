//! The program of the document, run as its reader would.

use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use super::{REASON, block, refusal};
use crate::support::app::PATIENCE;
use crate::support::{Script, TestApp, Upstream, database::Kind, ports::free_port};

const MISSING: &str =
    "Python is missing: install Debian's package `python3` (./scripts/test.sh does)";
/// Where the document says that the server listens.
const DOCUMENTED: &str = "http://127.0.0.1:8080";

/// The program, and what it has printed so far.
struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
    printed: Vec<u8>,
    _dir: TempDir,
}

impl Program {
    fn start(base: &str, messages: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ask.py");
        let program = block("ask.py");
        assert!(program.contains(DOCUMENTED), "{program}");
        std::fs::write(&path, program.replace(DOCUMENTED, base)).unwrap();
        let mut child = python(&path)
            .args(messages)
            .stdout(Stdio::piped())
            .spawn()
            .expect(MISSING);
        Self {
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            printed: Vec::new(),
            _dir: dir,
        }
    }

    /// Waits until it has printed exactly this.
    async fn until(&mut self, text: &str) {
        let mut more = vec![0; text.len() - self.printed.len()];
        let read = tokio::time::timeout(PATIENCE, self.output.read_exact(&mut more));
        read.await.expect("it prints").expect("all of it");
        self.printed.extend(more);
        assert_eq!(String::from_utf8_lossy(&self.printed), text);
    }

    /// All that it has printed at its end, and whether it is content.
    async fn end(mut self) -> (String, bool) {
        let read = self.output.read_to_end(&mut self.printed);
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("it ends")
            .unwrap();
        let status = self.child.wait().await.unwrap();
        (String::from_utf8(self.printed).unwrap(), status.success())
    }
}

fn python(program: &Path) -> Command {
    let mut command = Command::new("python3");
    command
        // It is on its own: nothing of the machine's, but the standard library.
        .args(["-I", "-X", "utf8"])
        .arg(program)
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation() {
    let gate = CancellationToken::new();
    let first = Script::stream()
        .say(["**Half ", "of "])
        .wait(&gate)
        .say(["it** 花", "粉"])
        .finish();
    let scripts = [first, Script::answer(["Second"])];
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted(scripts).await).await;
    let mut program = Program::start(&app.base, &["Tell me", "And now?"]);
    program.until("**Half of ").await;
    gate.cancel();
    let ended = program.end().await;
    assert_eq!(ended, ("**Half of it** 花粉\nSecond\n".to_owned(), true));

    let chats = app.get("/chat/list").await.json();
    assert_eq!(chats["chats"].as_array().unwrap().len(), 1);
    let chat = chats["chats"][0]["uuid"].as_str().unwrap();
    let messages = app.messages(chat).await;
    let said: Vec<&str> = messages
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(
        said,
        ["Tell me", "**Half of it** 花粉", "And now?", "Second"]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_told() {
    let app = TestApp::start(Kind::Sqlite, Upstream::scripted([refusal()]).await).await;
    let (printed, is_content) = Program::start(&app.base, &["Hello"]).end().await;
    assert!(printed.contains(REASON) && !is_content, "{printed}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_waited_for() {
    let gate = CancellationToken::new();
    let script = Script::stream().say(["shown "]).wait(&gate).finish();
    let listen = format!("127.0.0.1:{}", free_port());
    let upstream = Upstream::scripted([script, Script::answer(["said anew"])]).await;
    let settings = [("listen", listen.as_str())];
    let mut app = TestApp::start_with(Kind::Sqlite, upstream, &settings).await;
    let mut program = Program::start(&app.base, &["Hello"]);
    program.until("shown ").await;
    app.shut_down().await;
    app.run().await;
    let ended = program.end().await;
    assert_eq!(ended, ("shown \n[once more]\nsaid anew\n".to_owned(), true));
    assert_eq!(app.upstream.received().len(), 2);
    app.stop().await;
}
