//! Chats that leave and come back: metadata and history, formats, archives, imports.

mod archives;
mod formats;
mod history;
mod imports;
mod metadata;
mod printed;
mod round_trips;

use serde_json::{Value, json};

use crate::support::TestApp;

/// A document with a question and its answer.
fn document() -> Value {
    let uuid = uuid::Uuid::now_v7;
    let (question, time) = (uuid(), "2026-11-21T09:30:00.250Z");
    json!({
        "schema": "/schemas/chat-export-1.json", "version": 1, "uuid": uuid(), "title": "Tea from elsewhere",
        "metadata": {"project_id": "7"},
        "created_at": time, "updated_at": time,
        "messages": [
            {"uuid": question, "role": "user", "status": "completed", "content": "Tea?", "created_at": time, "completed_at": time},
            {"uuid": uuid(), "role": "assistant", "status": "completed", "reply_to": question, "content": "Yes, 请.",
             "reasoning": "They like tea.", "model": "other-model", "finish_reason": "stop", "created_at": time, "completed_at": time,
             "reaction": {"reaction": "like", "comment": "warm"}, "version": 2,
             "versions": [{"version": 1, "status": "failed", "content": "N", "error": {"code": "provider_error", "message": "It failed."},
                           "completed_at": time}]},
        ],
    })
}

async fn export(app: &TestApp, chat: &str) -> Value {
    app.get(&format!("/chat/{chat}/export?format=json"))
        .await
        .expect(200)
        .json()
}

/// The same document with its UUIDs by the order in which they come: all that an import may change.
fn normalised(mut document: Value) -> Value {
    let mut known: Vec<String> = Vec::new();
    let mut number = |value: &mut Value| {
        if let Some(uuid) = value.as_str() {
            let place = known.iter().position(|other| other == uuid);
            let place = place.unwrap_or_else(|| {
                known.push(uuid.to_owned());
                known.len() - 1
            });
            *value = json!(place);
        }
    };
    number(&mut document["uuid"]);
    for message in document["messages"].as_array_mut().unwrap() {
        number(&mut message["uuid"]);
        number(&mut message["reply_to"]);
    }
    document
}
