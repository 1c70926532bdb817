//! `GET /chat/{uuid}/export`: the formats.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{document, export};
use crate::support::{TestApp, Upstream};

on_both_databases! {
    async fn the_json_names_its_schema_and_fits_it(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, ..) = app.ask("Hello").await;
        let exported = export(&app, &chat).await;
        assert_eq!((&exported["schema"], &exported["version"]), (&json!("/schemas/chat-export-1.json"), &json!(1)));
        let schema = app.get(exported["schema"].as_str().unwrap()).await.expect(200);
        assert_eq!(schema.header("content-type"), "application/schema+json");
        let schema = schema.json();
        assert_eq!(complaints(&schema, &exported), "");
        // With all that a document can have, too.
        let made = app.post("/chats/import", &document()).await.expect(201).json();
        let full = export(&app, made["chats"][0]["uuid"].as_str().unwrap()).await;
        assert_eq!(complaints(&schema, &full), "");
        for (pointer, value) in [
            ("/title", json!("")), ("/schema", json!("other")), ("/version", json!(2)), ("/uuid", json!("x")),
            ("/messages/0/role", json!("system")), ("/messages/0/status", json!("done")), ("/messages/0/colour", json!("red")),
            ("/messages/1/versions/0/version", json!(0)), ("/metadata/a", json!(1)), ("/created_at", Value::Null),
        ] {
            let mut wrong = full.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            wrong.pointer_mut(parent).unwrap()[key] = value;
            assert_ne!(complaints(&schema, &wrong), "", "{pointer}");
        }
        app.stop().await;
    }

    async fn a_page_is_a_file_that_needs_nothing_else(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let made = app.post("/chats/import", &document()).await.expect(201).json();
        let chat = made["chats"][0]["uuid"].as_str().unwrap();
        let page = app.get(&format!("/chat/{chat}/export?format=html")).await.expect(200);
        assert_eq!(page.header("content-disposition"), format!("attachment; filename=\"chat-{chat}.html\""));
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        for part in ["Tea from elsewhere", "Yes, 请.", "other-model", "They like tea."] {
            assert!(page.text.contains(part), "{part}: {}", page.text);
        }
        for other in ["<script", "<link", "src=", "http://", "https://", "url("] {
            assert!(!page.text.contains(other), "{other}: {}", page.text);
        }
        app.stop().await;
    }
}

/// What a validator that we did not write says of a value, by a schema.
fn complaints(schema: &Value, value: &Value) -> String {
    const PYTHON: &str = "tests/third_party/.venv/bin/python";
    const SCRIPT: &str = "import json, sys, jsonschema_rs\n\
        schema, value = json.load(sys.stdin)\n\
        for error in jsonschema_rs.validator_for(schema, validate_formats=True).iter_errors(value): print(error.message)";
    let mut python = Command::new(PYTHON)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("scripts/prepare.sh installs it");
    let both = serde_json::to_vec(&[schema, value]).unwrap();
    python.stdin.take().unwrap().write_all(&both).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
