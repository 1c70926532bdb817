//! `GET /chat/{uuid}/export`: the formats.

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
        fits(&exported, &schema, &schema);
        fits(&exported["messages"][1], &schema["$defs"]["MessageDocument"], &schema);
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

/// Whether each field of a value is one that the schema knows, and each that it asks for is there.
fn fits(value: &Value, schema: &Value, root: &Value) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &root["$defs"][name.rsplit('/').next().unwrap()],
        None => schema,
    };
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(schema["additionalProperties"], false);
    for name in value.as_object().unwrap().keys() {
        assert!(properties.contains_key(name), "{name} is not in the schema");
    }
    for name in schema["required"].as_array().unwrap() {
        assert!(
            value.get(name.as_str().unwrap()).is_some(),
            "{name} is missing"
        );
    }
}
