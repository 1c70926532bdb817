//! Examples of what is sent and answered, made of the schemas: so each body has one, and none is out of date.
//!
//! What a schema says of itself (`#[schema(example = …)]`) goes first; the rest is what its type and its limits allow.

use serde_json::{Map, Value, json};
use utoipa::openapi::{Components, Content, OpenApi, RefOr, Schema};

use super::{EXAMPLE_UUID, operations_mut};

/// Shapes within shapes, at most.
const MAX_DEPTH: usize = 8;
const TIME: &str = "2026-11-21T09:30:00.000Z";
const MEDIA: &str = "application/json";

/// Gives each body that is JSON its example.
pub(super) fn add(document: &mut OpenApi) {
    let shapes = Shapes::of(document.components.as_ref());
    for item in document.paths.paths.values_mut() {
        for (_, operation) in operations_mut(item) {
            let Some(operation) = operation else { continue };
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                body.content
                    .values_mut()
                    .for_each(|content| shapes.give(content));
            }
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response
                    && let Some(content) = response.content.get_mut(MEDIA)
                {
                    shapes.give(content);
                }
            }
        }
    }
}

/// All named schemas, as JSON.
struct Shapes(Value);

impl Shapes {
    fn of(components: Option<&Components>) -> Self {
        let schemas = components.map(|components| json!(components.schemas));
        Self(schemas.unwrap_or_default())
    }

    fn give(&self, content: &mut RefOr<Content>) {
        if let RefOr::T(content) = content
            && content.example.is_none()
            && let Some(schema) = &content.schema
        {
            content.example = Some(self.of_schema(schema));
        }
    }

    fn of_schema(&self, schema: &RefOr<Schema>) -> Value {
        self.sample(&json!(schema), "", 0)
    }

    /// A value that this schema allows, of a property of this name.
    fn sample(&self, schema: &Value, name: &str, depth: usize) -> Value {
        if let Some(said) = schema.get("example").or_else(|| schema["examples"].get(0)) {
            return said.clone();
        }
        if let Some(named) = schema["$ref"]
            .as_str()
            .and_then(|path| path.rsplit('/').next())
        {
            return self.sample(&self.0[named], name, depth + 1);
        }
        if let Some(one) = schema.get("const").or_else(|| schema["enum"].get(0)) {
            return one.clone();
        }
        if let Some(all) = schema["allOf"].as_array() {
            let mut whole = Map::new();
            for part in all {
                if let Value::Object(part) = self.sample(part, name, depth + 1) {
                    whole.extend(part);
                }
            }
            return Value::Object(whole);
        }
        let choices = schema["oneOf"]
            .as_array()
            .or_else(|| schema["anyOf"].as_array());
        if let Some(choices) = choices {
            let chosen = choices.iter().find(|choice| choice["type"] != "null");
            let chosen = chosen.filter(|_| depth < MAX_DEPTH);
            return chosen.map_or(Value::Null, |chosen| self.sample(chosen, name, depth + 1));
        }
        self.of_type(schema, name, depth)
    }

    fn of_type(&self, schema: &Value, name: &str, depth: usize) -> Value {
        let kind = &schema["type"];
        let kind = kind
            .as_array()
            .and_then(|kinds| kinds.iter().find(|kind| **kind != "null"))
            .unwrap_or(kind);
        match kind.as_str().unwrap_or_default() {
            "object" => self.object(schema, depth),
            "array" if depth < MAX_DEPTH => json!([self.sample(&schema["items"], name, depth + 1)]),
            "array" => json!([]),
            "string" => text(schema, name),
            "integer" => integer(schema, name),
            "number" => json!(schema["maximum"].as_f64().map_or(0.5, |most| most.min(0.5))),
            "boolean" => json!(false),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let mut whole = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            whole.insert(name.clone(), self.sample(property, name, depth + 1));
        }
        Value::Object(whole)
    }
}

/// What a pattern allows that allows one text only.
fn literal(pattern: &str) -> Option<String> {
    let text = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let text = text.replace("\\.", ".");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._".contains(c);
    text.chars().all(is_plain).then_some(text)
}

fn text(schema: &Value, name: &str) -> Value {
    if let Some(text) = schema["pattern"].as_str().and_then(literal) {
        return json!(text);
    }
    json!(match schema["format"].as_str() {
        Some("uuid") => EXAMPLE_UUID,
        Some("date-time") => TIME,
        Some("date") => &TIME[..10],
        Some("uri") => "https://example.com/",
        _ => match name {
            "title" => "First steps",
            "message" | "content" | "preview" => "Hello there",
            "tokens" => " and on",
            "model" | "provider" => "demo",
            "agent" | "alias" => "tutor",
            "url" | "poll_url" | "instance" => "/chat/01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a62",
            "confirm" => "delete",
            "type" => "/problems/chat-not-found",
            "revision" => "5b1f0c2a9d7e4f38",
            _ => "text",
        },
    })
}

fn integer(schema: &Value, name: &str) -> Value {
    let usual = match name {
        "position" => 241,
        "revision" => 3,
        "poll_after_ms" => 300,
        "status" => 404,
        _ => 1,
    };
    let least = schema["minimum"].as_i64().unwrap_or(i64::MIN);
    json!(
        usual
            .max(least)
            .min(schema["maximum"].as_i64().unwrap_or(i64::MAX))
    )
}
