//! What `docs/OPENAI.md` says: its programs do it, as they stand there, and its tables are those of the client.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use super::{Driver, Model};
use crate::support::database::Kind;
use crate::support::{Server, TestApp};

/// Where the document says that the server listens.
const DOCUMENTED: &str = "http://127.0.0.1:8080";
const STATES: [&str; 3] = ["supported", "ignored", "refused"];
/// Lines that are enough.
const LINES: usize = 10;

fn document() -> String {
    fs::read_to_string("docs/OPENAI.md").unwrap()
}

/// The program of this name.
fn block(name: &str) -> String {
    let document = document();
    let mut lines = document.lines();
    let opens = |line: &str| line.starts_with("```") && line.ends_with(&format!(" {name}"));
    lines
        .find(|line| opens(line))
        .unwrap_or_else(|| panic!("docs/OPENAI.md has no {name}"));
    lines
        .take_while(|line| *line != "```")
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// The tables of parameters: the methods that a heading names, and the state of each parameter below it.
fn tables() -> Vec<(Vec<String>, BTreeMap<String, String>)> {
    let document = document();
    let mut tables: Vec<(Vec<String>, BTreeMap<String, String>)> = Vec::new();
    for line in document.lines() {
        if let Some(heading) = line.strip_prefix("### `") {
            let methods = heading.split('`').step_by(2);
            let methods = methods.filter(|method| !method.is_empty());
            tables.push((methods.map(str::to_owned).collect(), BTreeMap::new()));
        } else if line.starts_with('#') {
            tables.push((Vec::new(), BTreeMap::new()));
        } else if let Some(row) = line.strip_prefix("| `") {
            let Some((names, rest)) = row.split_once(" | ") else {
                continue;
            };
            let Some((methods, rows)) = tables.last_mut() else {
                continue;
            };
            if methods.is_empty() {
                continue;
            }
            let state = rest.split(" | ").next().unwrap_or_default();
            assert!(STATES.contains(&state), "{line}");
            for name in names.split('`').step_by(2).filter(|name| !name.is_empty()) {
                let before = rows.insert(name.to_owned(), state.to_owned());
                assert_eq!(before, None, "{name} is there twice");
            }
        }
    }
    tables.retain(|(methods, _)| !methods.is_empty());
    tables
}

/// The program, told where the server is and nothing else.
fn told(name: &str, server: &Server) -> String {
    let program = block(name);
    assert!(program.lines().count() <= LINES, "{program}");
    assert_eq!(program.matches(DOCUMENTED).count(), 1, "{program}");
    program.replace(DOCUMENTED, &server.base)
}

/// Fails if a program did not print the answer that the server has.
async fn assert_printed(server: &Server, lines: &[String]) {
    let client = crate::support::http_client();
    let get = async |path: &str| -> Value {
        let response = client.get(format!("{}{path}", server.base)).send();
        let text = response.await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let chats = get("/chat/list").await;
    assert_eq!(chats["chats"].as_array().unwrap().len(), 1);
    let chat = chats["chats"][0]["uuid"].as_str().unwrap();
    let messages = get(&format!("/chat/{chat}/messages")).await;
    let answer = &messages["messages"][1];
    assert_eq!(answer["status"], "completed");
    let text = answer["content"].as_str().unwrap();
    assert!(text.len() > 20);
    let printed = lines.join("\n");
    assert!(printed.contains(text), "{text:?} is not in {printed:?}");
}

async fn assert_python_works(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]).await;
    let path = dir.path().join(name);
    fs::write(&path, told(name, &server)).unwrap();
    let driver = Driver::python_program(&path, name, &[]);
    let said = driver.end(&Model::default()).await;
    assert_printed(&server, &said.lines).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_lines_of_python() {
    assert_python_works("ask.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_and_its_run() {
    assert_python_works("run.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_lines_of_javascript() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]).await;
    let program = told("ask.mjs", &server);
    let driver = Driver::javascript_program(&program, "ask.mjs", &[]);
    let said = driver.end(&Model::default()).await;
    assert_printed(&server, &said.lines).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_parameter_is_in_its_table_and_treated_so() {
    let (model, upstream) = Model::start().await;
    let app = TestApp::start(Kind::Sqlite, upstream).await;
    let tables = tables();
    let methods: Vec<&str> = tables
        .iter()
        .flat_map(|(methods, _)| methods)
        .map(String::as_str)
        .collect();
    for method in [
        "responses.create",
        "responses.retrieve",
        "chat.completions.create",
        "beta.threads.create",
        "beta.threads.messages.create",
        "beta.threads.runs.create",
        "beta.threads.runs.create_and_poll",
    ] {
        assert!(methods.contains(&method), "{method} has no table");
    }
    let count = tables.len();
    let tables = json!(tables).to_string();
    let program = std::path::Path::new("tests/openai/table.py");
    let driver = Driver::python_program(program, &tables, &[&app.base]);
    let said = driver.end(&model).await;
    assert_eq!(said.lines.len(), count, "{:?}", said.lines);
    app.stop().await;
}
