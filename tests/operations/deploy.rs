//! What stands in `deploy/` and in `docs/OPERATIONS.md` is about what a server really tells: names, types, labels, alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use super::exposition::Exposition;
use super::house::House;
use crate::support::{Script, Upstream};

const DASHBOARD: &str = "deploy/grafana/pollen.json";
const ALERTS: &str = "deploy/prometheus/alerts.yml";
const DOCUMENT: &str = "docs/OPERATIONS.md";

/// What a server has counted that has answered once and failed once.
async fn exposed() -> Exposition {
    let refusal = Script::json(500, &json!({"error": {"message": "no"}}));
    let scripts = [Script::answer(["yes"]), refusal];
    let house = House::start(Upstream::scripted(scripts).await, &[]).await;
    house.remote.converse("one").await;
    house.remote.converse("two").await;
    let counted = house
        .counted_until(|counted| {
            counted.count("pollen_answers_ended_total", &[("outcome", "failed")]) == 1
                && counted.sum("pollen_table_bytes", &[]) > 0.0
                && counted.sum("process_resident_memory_bytes", &[]) > 0.0
        })
        .await;
    house.server.kill().await;
    counted
}

/// The metric that a sample belongs to.
fn base<'a>(name: &'a str, counted: &Exposition) -> &'a str {
    let endings = ["_bucket", "_sum", "_count"];
    let stripped = endings.iter().find_map(|ending| name.strip_suffix(ending));
    let is_histogram = |base: &&str| counted.types.get(*base).is_some_and(|t| t == "histogram");
    stripped.filter(is_histogram).unwrap_or(name)
}

/// The names of metrics in a query.
fn named(query: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    query
        .split(|c| !is_part(c))
        .filter(|word| word.starts_with("pollen_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// All queries of the dashboard.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if key == "expr" || key == "definition" => found.push(text.into()),
                    _ => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

/// The rows of the document's table of metrics: by name, (type, labels).
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.trim_end_matches('`').to_owned();
        let kind = cells.next()?.to_owned();
        let labels = cells
            .next()?
            .split(',')
            .map(|l| l.trim().trim_matches('`').to_owned());
        let is_metric = ["counter", "gauge", "histogram"].contains(&kind.as_str());
        is_metric.then(|| (name, (kind, labels.filter(|l| !l.is_empty()).collect())))
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_alerts_and_document_are_about_what_is_told() {
    let counted = exposed().await;
    let names = counted.names();
    let told: BTreeSet<&str> = names.iter().map(|name| base(name, &counted)).collect();

    let dashboard: Value = serde_json::from_str(&fs::read_to_string(DASHBOARD).unwrap()).unwrap();
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() > 50, "{}", found.len());
    let shown: BTreeSet<String> = found.iter().flat_map(|query| named(query)).collect();
    let alerts = fs::read_to_string(ALERTS).unwrap();
    let watched: BTreeSet<String> = named(&alerts).into_iter().collect();
    for name in shown.iter().chain(&watched) {
        assert!(names.contains(name), "nobody tells {name}");
    }
    for name in &told {
        let is_shown = shown.iter().any(|shown| base(shown, &counted) == *name);
        assert!(
            is_shown || name.starts_with("process_"),
            "nobody shows {name}"
        );
    }

    let documented = documented();
    for name in &told {
        let (kind, labels) = documented
            .get(*name)
            .unwrap_or_else(|| panic!("{DOCUMENT} says nothing of {name}"));
        assert_eq!(kind, &counted.types[*name], "{name}");
        let samples = counted.samples.iter();
        let of_it = samples.filter(|sample| base(&sample.name, &counted) == *name);
        let has: BTreeSet<String> = of_it
            .flat_map(|sample| sample.labels.keys().cloned())
            .filter(|label| label != "le")
            .collect();
        assert_eq!(labels, &has, "the labels of {name}");
    }
    for name in documented.keys() {
        assert!(told.contains(name.as_str()), "{DOCUMENT} makes up {name}");
    }
    for (name, kind) in &counted.types {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
    }
}

#[test]
fn each_alert_says_what_to_do() {
    let alerts = fs::read_to_string(ALERTS).unwrap();
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let headings: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|heading| heading.starts_with("Pollen"))
        .collect();
    let mut rules = alerts.split("- alert: ").skip(1).peekable();
    assert!(rules.peek().is_some());
    let mut seen = BTreeSet::new();
    for rule in rules {
        let name = rule.lines().next().unwrap().trim();
        assert!(seen.insert(name), "{name} is there twice");
        assert!(headings.contains(name), "{DOCUMENT} says nothing of {name}");
        let runbook = format!("runbook_url: {DOCUMENT}#{}", name.to_lowercase());
        for part in ["expr: ", "severity: ", "summary: ", runbook.as_str()] {
            assert!(rule.contains(part), "{name} has no {part}");
        }
    }
    assert_eq!(headings, seen, "alerts that there are not");
}

#[test]
fn the_dashboard_can_be_taken_into_any_grafana() {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(DASHBOARD).unwrap()).unwrap();
    assert_eq!(dashboard["title"], "Pollen");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(
        variables
            .iter()
            .any(|v| v["type"] == "datasource" && v["name"] == "datasource")
    );
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        }
    }
}
