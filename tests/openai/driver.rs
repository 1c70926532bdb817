//! A program that drives Pollen by a client that none of us wrote, and what it says.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::Model;
use crate::support::app::PATIENCE;

const PYTHON: &str = "tests/third_party/.venv/bin/python";
const NODE_MODULES: &str = "tests/third_party/node_modules";
const MISSING: &str = "OpenAI's clients are missing: `./scripts/prepare.sh`, then \
    `npm ci --prefix tests/third_party` (./scripts/test.sh does both)";
/// Of what it is told first, so much is its name.
const NAME_CHARS: usize = 60;
/// What it says in order to have the model go on.
const OPEN: &str = "open grow";

/// A running program, ended with this value.
pub struct Driver {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Vec<String>,
    dir: TempDir,
}

impl Driver {
    /// `drive.py` with these scenarios.
    pub fn python(scenarios: &str, arguments: &[&str]) -> Self {
        Self::python_program(Path::new("tests/openai/drive.py"), scenarios, arguments)
    }

    /// Any program of Python, in the environment that has the client.
    pub fn python_program(program: &Path, first: &str, arguments: &[&str]) -> Self {
        assert!(Path::new(PYTHON).exists(), "{MISSING}");
        let mut command = Command::new(PYTHON);
        command
            // Of the environment's variables none but those below.
            .args(["-X", "utf8", "-W", "ignore::DeprecationWarning", "-B", "-s"])
            .arg(program)
            .arg(first)
            .args(arguments);
        Self::start(command, first, tempfile::tempdir().unwrap())
    }

    /// `drive.mjs` with these scenarios.
    pub fn javascript(scenarios: &str, arguments: &[&str]) -> Self {
        let program = fs::read_to_string("tests/openai/drive.mjs").unwrap();
        Self::javascript_program(&program, scenarios, arguments)
    }

    /// A module of JavaScript, in a folder that has the client.
    pub fn javascript_program(program: &str, first: &str, arguments: &[&str]) -> Self {
        let dir = folder_with_the_packages();
        let path = dir.path().join("drive.mjs");
        fs::write(&path, program).unwrap();
        let mut command = Command::new("node");
        command.arg(path).arg(first).args(arguments);
        Self::start(command, first, dir)
    }

    fn start(mut command: Command, name: &str, dir: TempDir) -> Self {
        for unwanted in ["OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_LOG"] {
            command.env_remove(unwanted);
        }
        let errors = fs::File::create(dir.path().join("errors")).unwrap();
        let mut child = command
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .env("RECORDED", dir.path().join("recorded"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .expect(MISSING);
        Self {
            name: name.chars().take(NAME_CHARS).collect(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            said: Vec::new(),
            dir,
        }
    }

    /// Lets it come to its end, and the model go on when it says so; what it said.
    pub async fn end(mut self, model: &Model) -> Said {
        let read = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line == OPEN {
                    model.go_on();
                }
                self.said.push(line);
            }
            self.child.wait().await.unwrap()
        };
        let ended = tokio::time::timeout(PATIENCE, read).await;
        let errors = || fs::read_to_string(self.dir.path().join("errors")).unwrap_or_default();
        let status = ended
            .unwrap_or_else(|_| panic!("{} has no end: {:?}\n{}", self.name, self.said, errors()));
        assert!(
            status.success(),
            "{}: {:?}\n{}",
            self.name,
            self.said,
            errors()
        );
        Said {
            lines: self.said,
            dir: self.dir,
        }
    }
}

/// What a program said, and the folder that it wrote to.
pub struct Said {
    pub lines: Vec<String>,
    pub dir: TempDir,
}

impl Said {
    /// What stands behind a word at the beginning of a line.
    pub fn of(&self, word: &str) -> &str {
        let found = self.lines.iter().find_map(|line| {
            let (first, rest) = line.split_once(' ')?;
            (first == word).then_some(rest)
        });
        found.unwrap_or_else(|| panic!("no {word} in {:?}", self.lines))
    }
}

/// A folder of its own in which programs find npm's packages.
pub fn folder_with_the_packages() -> TempDir {
    let packages = fs::canonicalize(NODE_MODULES).expect(MISSING);
    assert!(packages.join("openai").exists(), "{MISSING}");
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(packages, dir.path().join("node_modules")).unwrap();
    dir
}
