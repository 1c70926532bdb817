//! Each file by its own tool. Those of nginx, `HAProxy` and Caddy are read as they are run: see `balancers.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use super::{content, tool, with};

/// systemd's own measure of what a service could still do: 10 for one without any precaution, and up to 2 is the least
/// that it has a word for.
const MOST_EXPOSURE: &str = "20";
/// A linter from `PyPI`, in the version that the tests' list names.
const HADOLINT: &str = "tests/third_party/.venv/bin/hadolint";

#[tokio::test]
async fn the_unit_is_one_and_exposes_little() {
    let dir = tempfile::tempdir().unwrap();
    // systemd looks whether the program is there.
    let binary = env!("CARGO_BIN_EXE_pollen");
    let unit = with(
        "deploy/systemd/pollen.service",
        &[(
            "ExecStart=/usr/local/bin/pollen ",
            &format!("ExecStart={binary} "),
        )],
    );
    let path = dir.path().join("pollen.service");
    fs::write(&path, unit).unwrap();
    let path = path.to_str().unwrap();
    let said = content(&tool("systemd-analyze", "systemd", &["verify", path]).await);
    assert_eq!(said.trim(), "", "warnings count too");
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    let arguments = ["security", "--offline=true", &threshold, path];
    let said = content(&tool("systemd-analyze", "systemd", &arguments).await);
    assert!(said.contains("Overall exposure level"), "{said}");
}

/// What stands in `shutdown.limit_ms` is over before systemd or Docker kills what is left.
#[test]
fn a_shutdown_has_the_time_that_it_takes() {
    let defaults = fs::read_to_string("src/config/defaults.toml").unwrap();
    let (_, shutdown) = defaults.split_once("[shutdown]").unwrap();
    let limit_ms: u64 = shutdown
        .lines()
        .find_map(|line| line.strip_prefix("limit_ms = "))
        .unwrap()
        .parse()
        .unwrap();
    let least = limit_ms / 1000 + 10;
    for (path, key) in [
        ("deploy/systemd/pollen.service", "TimeoutStopSec="),
        ("deploy/compose/compose.yaml", "stop_grace_period: "),
    ] {
        let text = fs::read_to_string(path).unwrap();
        let value = text.lines().find_map(|line| line.trim().strip_prefix(key));
        let seconds: u64 = value.unwrap().trim_end_matches('s').parse().unwrap();
        assert!(seconds >= least, "{path}: {seconds} s");
    }
}

/// The example of a configuration is a configuration, and its server would start.
#[tokio::test]
async fn the_example_of_a_configuration_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let example = fs::canonicalize("deploy/systemd/pollen.toml").unwrap();
    let arguments = ["--config", example.to_str().unwrap(), "config"];
    let output = crate::support::process::run(dir.path(), &[], &arguments).await;
    let said = content(&output);
    assert!(said.contains("sqlite:/var/lib/pollen/pollen.db"), "{said}");
}

#[tokio::test]
async fn the_dockerfile_has_nothing_to_complain_of() {
    assert!(
        Path::new(HADOLINT).exists(),
        "hadolint is missing: ./scripts/prepare.sh installs it"
    );
    let output = tool(HADOLINT, "python3-venv", &["deploy/docker/Dockerfile"]).await;
    assert_eq!(content(&output).trim(), "");
}

/// Whatever the build needs is let through by `.dockerignore`, and whatever is let through is there.
#[test]
fn the_image_is_built_of_what_there_is() {
    let ignored = fs::read_to_string("deploy/docker/Dockerfile.dockerignore").unwrap();
    let let_through: Vec<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    for path in &let_through {
        assert!(Path::new(path).exists(), "{path}");
    }
    let dockerfile = fs::read_to_string("deploy/docker/Dockerfile").unwrap();
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            words.pop();
            words
        })
        .collect();
    assert_eq!(sorted(&copied), sorted(&let_through));
    let toolchain = fs::read_to_string("rust-toolchain.toml").unwrap();
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = "));
    let image = format!("FROM rust:{}-", channel.unwrap().trim_matches('"'));
    assert!(dockerfile.contains(&image), "no {image}");
}

fn sorted<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut words = words.to_vec();
    words.sort_unstable();
    words
}

/// Rules of alerts, by Prometheus' own tool; and dashboards, which are JSON that names what they ask.
#[tokio::test]
async fn alerts_and_dashboards_can_be_read() {
    for path in files_in("deploy/prometheus", "yml") {
        // A file of rules, or a Prometheus' own configuration.
        let is_rules = fs::read_to_string(&path).unwrap().contains("\ngroups:")
            || fs::read_to_string(&path).unwrap().starts_with("groups:");
        let check = if is_rules { "rules" } else { "config" };
        let path = path.to_str().unwrap();
        content(&tool("promtool", "prometheus", &["check", check, path]).await);
    }
    for path in files_in("deploy/grafana", "json") {
        let text = fs::read_to_string(&path).unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(dashboard["panels"].is_array(), "{}", path.display());
    }
}

fn files_in(dir: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect()
}
