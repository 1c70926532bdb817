//! The schema of a chat's document, made of its own types: what is written is what is described.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::model::exchange::{ChatDocument, SCHEMA};

/// Where the types' own schemas say that others are, and where they are in this one.
const OPENAPI: &str = "#/components/schemas/";
const OWN: &str = "#/$defs/";

static CHAT: LazyLock<Value> = LazyLock::new(|| {
    let mut named = Vec::new();
    ChatDocument::schemas(&mut named);
    let value = |schema| serde_json::to_value(schema).unwrap_or_default();
    let definitions = named
        .into_iter()
        .map(|(name, schema)| (name, value(schema)));
    let mut definitions: Map<String, Value> = definitions.collect();
    definitions.values_mut().for_each(moved);
    let mut schema = value(ChatDocument::schema());
    moved(&mut schema);
    if let Some(fields) = schema.as_object_mut() {
        fields.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        fields.insert("$id".to_owned(), json!(SCHEMA));
        fields.insert("title".to_owned(), json!("A chat, exported from Pollen"));
        fields.insert("$defs".to_owned(), Value::Object(definitions));
    }
    schema
});

/// The schema (JSON Schema 2020-12).
pub fn chat() -> &'static Value {
    &CHAT
}

/// References to where things are here.
fn moved(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(target) if name == "$ref" => {
                        *target = target.replacen(OPENAPI, OWN, 1);
                    }
                    _ => moved(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(moved),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema as it stands in the documents. `POLLEN_UPDATE_DOCS=1` writes it.
    const DOCUMENT: &str = "docs/chat-export-1.schema.json";

    #[test]
    fn the_schema_is_the_one_in_the_documents() {
        let schema = serde_json::to_string_pretty(chat()).unwrap() + "\n";
        if std::env::var_os("POLLEN_UPDATE_DOCS").is_some() {
            std::fs::write(DOCUMENT, &schema).unwrap();
        }
        let document = std::fs::read_to_string(DOCUMENT).unwrap();
        assert_eq!(
            document, schema,
            "POLLEN_UPDATE_DOCS=1 cargo test the_schema_is_the_one"
        );
    }

    #[test]
    fn whatever_the_schema_refers_to_is_in_it() {
        let text = chat().to_string();
        let definitions = chat()["$defs"].as_object().unwrap();
        for part in text.split("\"$ref\":\"").skip(1) {
            let target = part.split('"').next().unwrap();
            let name = target
                .strip_prefix(OWN)
                .unwrap_or_else(|| panic!("{target}"));
            assert!(definitions.contains_key(name), "{name}");
        }
    }
}
