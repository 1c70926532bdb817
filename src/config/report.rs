//! The configuration in force as text, for `pollen config`: every key, its value with secrets
//! masked, and its source.

use std::fmt::Write as _;

use config::{Value, ValueKind};

use super::{ConfigError, Layers};

const MASK: &str = "********";
/// Tables of which no value is shown.
const MASKED_TABLES: [&str; 2] = ["headers", "query"];
/// What the name of a secret has in it.
const SECRET_WORDS: [&str; 15] = [
    "headers",
    "key",
    "keys",
    "secrets",
    "passwords",
    "apikey",
    "token",
    "secret",
    "password",
    "passwd",
    "pass",
    "authorization",
    "auth",
    "cookie",
    "signature",
];

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
    // Whatever a header or a query parameter is called, it may be what lets us in.
    if MASKED_TABLES.contains(&last_part(key)) {
        return masked(value);
    }
    // Only words are secrets: not a limit on tokens, and not a table of such.
    let Some(text) = word(value) else {
        return literal(value);
    };
    if is_secret(key) && !text.is_empty() {
        return format!("\"{MASK}\"");
    }
    if ["url", "proxy", "endpoint"]
        .iter()
        .any(|end| key.ends_with(end))
    {
        return format!("{:?}", without_password(&text));
    }
    literal(value)
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// A table with its keys alone.
fn masked(value: &Value) -> String {
    let ValueKind::Table(table) = &value.kind else {
        return format!("\"{MASK}\"");
    };
    let mut pairs: Vec<String> = table
        .keys()
        .map(|key| format!("{} = \"{MASK}\"", toml_key(key)))
        .collect();
    pairs.sort();
    format!("{{ {} }}", pairs.join(", "))
}

/// A key as TOML has it.
fn toml_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

/// A value in a complaint: a table, or a list of them, is too long to be read there, and the reason names
/// what is wrong with it. In the place of a secret whatever is there may be one.
pub(super) fn shown_in_complaint(key: &str, value: &Value) -> String {
    let is_table = |value: &Value| matches!(value.kind, ValueKind::Table(_));
    match &value.kind {
        ValueKind::Table(_) => "{…}".to_owned(),
        ValueKind::Array(items) if is_secret(key) || items.iter().any(is_table) => "[…]".to_owned(),
        _ => shown(key, value),
    }
}

fn word(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::Array(_) | ValueKind::Table(_) => None,
        _ => Some(value.to_string()),
    }
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
                .map(|(key, value)| format!("{} = {}", toml_key(key), shown(key, value)))
                .collect();
            pairs.sort();
            format!("{{ {} }}", pairs.join(", "))
        }
        _ => value.to_string(),
    }
}

/// By its name, so that a secret is masked also where its key is misspelt.
fn is_secret(key: &str) -> bool {
    // Neither a time limit on a first token is one, nor what a key is to be found by.
    let is_none = [
        "_ms",
        "_env",
        "_file",
        "key_header",
        "_tokens",
        "per_second",
        "per_day",
        "per_month",
    ];
    // A table's name is no secret's.
    let name = key.strip_prefix("auth.").unwrap_or(key);
    !is_none.iter().any(|ending| name.ends_with(ending))
        && name
            .to_lowercase()
            .split(['.', '_', '-'])
            .any(|word| SECRET_WORDS.contains(&word))
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
