//! The configuration in force as text, for `pollen config`: every key, its value with secrets
//! masked, and its source.

use std::fmt::Write as _;

use config::{Value, ValueKind};

use super::{ConfigError, Layers};

const MASK: &str = "********";

/// TOML lines `key = value  # source`, in key order. What it prints is a valid `pollen.toml`,
/// but for the masks.
///
/// # Errors
/// As [`super::Config::load`].
pub fn report(layers: &Layers) -> Result<String, ConfigError> {
    let lines: Vec<(String, String)> = layers
        .settings()?
        .iter()
        .map(|setting| {
            let value = shown(&setting.key, &setting.value);
            (
                format!("{} = {value}", setting.key),
                setting.source().to_owned(),
            )
        })
        .collect();
    let width = lines.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (left, source) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{left:width$}  # {source}");
    }
    Ok(out)
}

/// A value as it may be shown: never a secret.
pub(super) fn shown(key: &str, value: &Value) -> String {
    let text = value.to_string();
    if is_secret(key) && !text.is_empty() {
        return format!("\"{MASK}\"");
    }
    if key.ends_with("url") {
        return format!("{:?}", without_password(&text));
    }
    literal(value)
}

/// A value as TOML has it.
fn literal(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Table(table) => {
            let mut pairs: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{key} = {}", literal(value)))
                .collect();
            pairs.sort();
            format!("{{ {} }}", pairs.join(", "))
        }
        _ => value.to_string(),
    }
}

/// By its name, so that a secret is masked also where its key is misspelt.
fn is_secret(key: &str) -> bool {
    // A time limit on a first token is none.
    !key.ends_with("_ms")
        && key
            .to_lowercase()
            .split(['.', '_'])
            .any(|word| ["key", "token", "secret", "password"].contains(&word))
}

pub(super) fn without_password(text: &str) -> String {
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    let Ok(mut url) = url::Url::parse(text) else {
        // Not an address: it may still hold a password, so nothing after a colon is shown.
        return text
            .split_once('@')
            .map_or_else(|| text.to_owned(), |(_, rest)| format!("{MASK}@{rest}"));
    };
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    let pairs: Vec<(String, String)> = url
        .query_pairs()
        .map(|(key, value)| {
            let value = if is_secret(&key) { MASK.into() } else { value };
            (key.into_owned(), value.into_owned())
        })
        .collect();
    if pairs.iter().any(|(_, value)| value == MASK) {
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    url.to_string()
}
