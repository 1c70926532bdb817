//! Front ends of other people: what `docs/FRONTEND.md` shows is taken out of it and run.

mod htmx;
mod javascript;
mod python;
mod server;

/// The block of the document that it calls `name`.
fn block(name: &str) -> String {
    let document = std::fs::read_to_string("docs/FRONTEND.md").unwrap();
    let mut lines = document.lines();
    let opens = |line: &str| line.starts_with("```") && line.ends_with(&format!(" {name}"));
    lines
        .find(|line| opens(line))
        .unwrap_or_else(|| panic!("docs/FRONTEND.md has no {name}"));
    lines
        .take_while(|line| *line != "```")
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// What a model says that refuses, and what is told of it.
fn refusal() -> crate::support::Script {
    let body = serde_json::json!({"error": {"message": "too <much>"}});
    crate::support::Script::json(400, &body)
}
const REASON: &str = "It says: too <much>";

#[test]
fn the_plain_javascript_has_twenty_lines() {
    assert!(block("ask.js").lines().count() <= 20);
}
