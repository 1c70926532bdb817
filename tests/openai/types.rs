//! What came from the server, held against the types of OpenAI's client of npm by the compiler of TypeScript.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::driver::folder_with_the_packages;

/// The compiler, in a folder that has the packages.
const COMPILER: &str = "node_modules/typescript/bin/tsc";
const PRELUDE: &str = "import type OpenAI from 'openai';\n\
    // Ours is in one object; the client itself makes `output_text`, and does not know `store`, nor that `usage` is null at first.\n\
    type Usage = { usage: OpenAI.Responses.ResponseUsage | null };\n\
    type Known = Omit<OpenAI.Responses.Response, 'output_text' | 'usage'>;\n\
    type Response = Known & Usage & { store: boolean; pollen: object };\n\
    type Page<T> = { object: 'list'; data: T[]; has_more?: boolean; first_id?: string | null; last_id?: string | null };\n";

/// The type that something of this kind is to have; none: the client has none for it.
fn type_of(path: &str, body: &Value) -> Option<&'static str> {
    Some(match body["object"].as_str()? {
        "response" if body["deleted"] == true => return None,
        "response" => "Response",
        "list" if path.ends_with("/input_items") => "Page<OpenAI.Responses.ResponseItem>",
        "list" if path.ends_with("/models") => "Page<OpenAI.Model & { pollen?: object }>",
        "model" => "OpenAI.Model & { pollen?: object }",
        "thread" => "OpenAI.Beta.Thread & { pollen?: object }",
        "thread.run" => "OpenAI.Beta.Threads.Run & { pollen?: object }",
        "thread.message" => "OpenAI.Beta.Threads.Message & { pollen?: object }",
        "chat.completion" => "OpenAI.ChatCompletion & { pollen?: object }",
        _ => return None,
    })
}

/// Each object of the file `recorded` in `dir` as a constant of its type; how many there are.
fn program(dir: &TempDir) -> (String, usize) {
    let recorded = fs::read_to_string(dir.path().join("recorded")).unwrap();
    // The same object comes many times.
    let lines: BTreeSet<&str> = recorded.lines().collect();
    let (mut program, mut count) = (PRELUDE.to_owned(), 0);
    for line in lines {
        let record: Value = serde_json::from_str(line).unwrap();
        let (path, body) = (record["path"].as_str().unwrap(), &record["body"]);
        if let Some(kind) = type_of(path, body) {
            writeln!(program, "export const it{count}: {kind} = {body};").unwrap();
            count += 1;
        }
    }
    (program, count)
}

/// Whether the compiler takes it, and what it says.
async fn compiled(program: &str) -> (bool, String) {
    let dir = folder_with_the_packages();
    fs::write(dir.path().join("recorded.mts"), program).unwrap();
    let output = Command::new("node")
        .args([COMPILER, "--noEmit", "--strict", "--skipLibCheck"])
        .args([
            "--target",
            "esnext",
            "--module",
            "nodenext",
            "--exactOptionalPropertyTypes",
            "recorded.mts",
        ])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

/// Fails if anything that was recorded is not as the client's types have it, or the compiler would not see that.
pub async fn hold(dir: &TempDir) {
    let (program, count) = program(dir);
    assert!(count > 20, "{count} objects");
    let (is_so, said) = compiled(&program).await;
    assert!(is_so, "{said}");
    for (right, wrong) in [
        ("\"annotations\":[]", "\"annotations\":{}"),
        ("\"status\":\"completed\"", "\"status\":\"done\""),
        ("\"pollen\":", "\"chat_uuid\":\"x\",\"pollen\":"),
    ] {
        assert!(program.contains(right), "{right}");
        let (is_so, _) = compiled(&program.replace(right, wrong)).await;
        assert!(!is_so, "{wrong} was taken");
    }
}
