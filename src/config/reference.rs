//! The tables of `docs/CONFIGURATION.md`, made from the types of the configuration and from its
//! defaults. A test compares them with the document.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value};

use super::{AgentConfig, Config, ConfigError, Layers, ModelConfig, ProviderConfig, TierConfig};

/// All keys, with their defaults and what they mean, as Markdown.
///
/// # Errors
/// Never, unless `defaults.toml` itself is wrong, which a test holds.
pub fn reference() -> Result<String, ConfigError> {
    let settings = Layers::default().settings()?;
    let defaults: BTreeMap<String, String> = settings
        .iter()
        .map(|setting| {
            let shown = super::report::shown(&setting.key, &setting.value);
            (setting.key.clone(), shown)
        })
        .collect();
    let mut out = String::from("### Keys\n\n| key | default | what |\n| --- | --- | --- |\n");
    let (mut plain, mut tables) = (Vec::new(), Vec::new());
    for (key, description) in keys::<Config>() {
        if key.contains('.') {
            tables.push((key, description));
        } else {
            plain.push((key, description));
        }
    }
    for (key, description) in plain.into_iter().chain(tables) {
        let default = defaults.get(&key).map_or("", String::as_str);
        let default = if default == "\"\"" {
            String::new()
        } else {
            format!("`{default}`")
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{key}` | {default} | {description} |");
    }
    section::<ProviderConfig>(&mut out, "provider");
    section::<ModelConfig>(&mut out, "model");
    section::<TierConfig>(&mut out, "tier");
    section::<AgentConfig>(&mut out, "agent");
    Ok(out)
}

/// The keys of a table that there may be several of.
fn section<T: JsonSchema>(out: &mut String, name: &str) {
    let schema = schema_for!(T);
    let about = description(schema.as_value());
    let _ = write!(
        out,
        "\n### `[[{name}]]`\n\n{about}\n\n| key | what |\n| --- | --- |\n"
    );
    for (key, description) in keys::<T>() {
        let _ = writeln!(out, "| `{key}` | {description} |");
    }
}

/// The keys of a type by their paths, each with what its documentation says.
fn keys<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = schema_for!(T);
    let root = schema.as_value();
    let definitions = root.get("$defs").and_then(Value::as_object);
    let empty = Map::new();
    let definitions = definitions.unwrap_or(&empty);
    let mut keys = Vec::new();
    collect("", root, definitions, &mut keys);
    keys
}

fn collect(
    prefix: &str,
    schema: &Value,
    definitions: &Map<String, Value>,
    keys: &mut Vec<(String, String)>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let target = property
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|target| definitions.get(target.rsplit('/').next()?));
        match target {
            Some(table) if table.get("properties").is_some() => {
                collect(&path, table, definitions, keys);
            }
            _ => keys.push((path, description(property))),
        }
    }
}

/// What the documentation says, on one line, fit for a cell of a table.
fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str);
    let text = text
        .unwrap_or_default()
        .replace('\n', " ")
        .replace('|', "\\|");
    let text = text.trim_end_matches('.');
    let mut letters = text.chars();
    match letters.next() {
        // An acronym stays one.
        Some(first) if !letters.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}
