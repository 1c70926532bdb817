//! The house, checked from the files themselves: imports point down, siblings never meet, and
//! each library stays in its room.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may import. What is not named here is not a room.
const ROOMS: [(&str, &[&str]); 19] = [
    ("main", &["cli"]),
    // Only in builds for tests: nobody imports it.
    ("fuzz", &["http", "identity", "provider", "model"]),
    ("cli", &["app", "config", "identity", "store", "terminal"]),
    ("terminal", &["client"]),
    // Anybody's: it knows nothing of the server's inside.
    ("client", &[]),
    (
        "app",
        &[
            "http", "worker", "chat", "identity", "limit", "ledger", "provider", "cache", "store",
            "model", "config", "trace",
        ],
    ),
    (
        "http",
        &["chat", "identity", "limit", "model", "store", "trace"],
    ),
    ("identity", &["provider", "store", "model"]),
    ("worker", &["chat", "store"]),
    (
        "chat",
        &[
            "ledger", "provider", "cache", "store", "model", "trace", "fault",
        ],
    ),
    ("ledger", &["store", "model", "fault"]),
    ("provider", &["model", "trace"]),
    // The way to Redis is the cache's.
    ("limit", &["cache"]),
    ("cache", &["model"]),
    ("store", &["model"]),
    ("model", &[]),
    ("config", &[]),
    ("fault", &[]),
    ("trace", &[]),
];

/// Libraries that one room keeps to itself.
const KEPT: [(&str, &[&str]); 17] = [
    ("sea_orm", &["store"]),
    ("sqlx", &["store"]),
    ("migration", &["store"]),
    ("axum", &["http", "app"]),
    ("hyper", &["http"]),
    ("askama", &["http"]),
    ("reqwest", &["provider", "client"]),
    ("rustyline", &["terminal"]),
    ("indicatif", &["terminal"]),
    ("console", &["terminal"]),
    ("redis", &["cache", "limit"]),
    ("governor", &["limit"]),
    ("opentelemetry", &["trace", "app"]),
    ("opentelemetry_sdk", &["trace", "app"]),
    ("opentelemetry_otlp", &["app"]),
    ("utoipa", &["http", "model"]),
    ("utoipa_axum", &["http"]),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

fn room_of(path: &Path) -> String {
    let first = path
        .strip_prefix("src")
        .unwrap()
        .components()
        .next()
        .unwrap();
    let name = first.as_os_str().to_str().unwrap();
    name.trim_end_matches(".rs").to_owned()
}

/// The words that follow `prefix` in the file's code.
fn named_after(text: &str, prefix: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    code.match_indices(prefix)
        .filter(|(at, _)| {
            let before = code[..*at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
        })
        .map(|(at, _)| {
            let rest = &code[at + prefix.len()..];
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

#[test]
fn imports_point_down() {
    let rooms: BTreeMap<_, _> = ROOMS.into_iter().collect();
    let mut complaints = Vec::new();
    for path in sources(Path::new("src")) {
        let room = room_of(&path);
        if room == "lib" {
            continue;
        }
        let allowed = rooms
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{room} is no room of the house"));
        let text = fs::read_to_string(&path).unwrap();
        let imported = [
            named_after(&text, "crate::"),
            named_after(&text, "pollen::"),
        ]
        .concat();
        for other in imported {
            if other != room && !other.is_empty() && !allowed.contains(&other.as_str()) {
                complaints.push(format!("{}: {room} imports {other}", path.display()));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn each_library_stays_in_its_room() {
    let mut complaints = Vec::new();
    for path in sources(Path::new("src")) {
        let (room, text) = (room_of(&path), fs::read_to_string(&path).unwrap());
        for (library, rooms) in KEPT {
            let used = !named_after(&text, &format!("{library}::")).is_empty();
            if used && !rooms.contains(&room.as_str()) {
                complaints.push(format!("{}: {room} uses {library}", path.display()));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn only_the_dialect_knows_which_database_it_is() {
    for path in sources(Path::new("src/store")) {
        if path.ends_with("dialect.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for word in ["Dialect::Sqlite", "Dialect::Postgres", "DbBackend::"] {
            assert!(!text.contains(word), "{} says {word}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for dir in ["src", "entity/src", "migration/src", "tests"] {
        for path in sources(Path::new(dir)) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(
                text.starts_with("//! "),
                "{} opens without a word",
                path.display()
            );
        }
    }
}

#[test]
fn nothing_of_the_page_is_inline() {
    for entry in fs::read_dir("src/http/templates").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for word in [
            "<style",
            "style=",
            "javascript:",
            "hx-on",
            " onclick",
            "http://",
            "https://",
        ] {
            // An exported chat is a file, and nobody's page: what it needs is in it.
            let is_file = word == "<style" && path.ends_with("export.html");
            assert!(
                is_file || !text.contains(word),
                "{} has {word}",
                path.display()
            );
        }
    }
}

/// The workspace forbids it, and each crate has its lints from there. The fuzz targets' crate, which is not in
/// the workspace, says it itself.
#[test]
fn no_crate_of_ours_escapes_the_ban_on_unsafe() {
    let manifests = manifests(Path::new("."));
    assert!(manifests.len() >= 4, "{manifests:?}");
    for path in manifests {
        let text = fs::read_to_string(&path).unwrap();
        let forbids = section(&text, "lints.rust")
            .chain(section(&text, "workspace.lints.rust"))
            .any(|line| line == "unsafe_code = \"forbid\"");
        let inherits = section(&text, "lints").any(|line| line == "workspace = true");
        assert!(forbids || inherits, "{} may be unsafe", path.display());
    }
    let root = fs::read_to_string("Cargo.toml").unwrap();
    let mut forbidden = section(&root, "workspace.lints.rust");
    assert!(forbidden.any(|line| line == "unsafe_code = \"forbid\""));
}

/// The manifests of all crates in this repository.
fn manifests(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&name) {
            found.extend(manifests(&path));
        } else if name == "Cargo.toml" {
            found.push(path);
        }
    }
    found
}

/// The lines of a section of a manifest.
fn section<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let head = format!("[{name}]");
    let lines = text.lines().skip_while(move |line| *line != head).skip(1);
    lines.take_while(|line| !line.starts_with('['))
}
