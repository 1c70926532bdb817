//! `pollen doctor`: looks at everything that a server needs, and says what is wrong and what to do about it. It changes
//! nothing: it makes no database, migrates none, and starts no server. It shows no secret.

mod config;
mod database;
mod machine;
mod services;

use std::fmt::Write as _;

use serde::Serialize;

use crate::config::{Config, Layers};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// The server works, but not as it should.
    Warning,
    /// The server does not start, or does not do its work.
    Problem,
}

/// What one look has found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at: `config`, `database`, `provider`, …
    pub check: &'static str,
    pub level: Level,
    pub found: String,
    /// What to do; empty where nothing is to be done.
    pub advice: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, found, "")
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, found, advice)
    }

    fn problem(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Level::Problem, found, advice)
    }

    fn new(
        check: &'static str,
        level: Level,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            check,
            level,
            found: found.into(),
            advice: advice.into(),
        }
    }
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Nothing keeps the server from its work.
    pub healthy: bool,
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    fn of(findings: Vec<Finding>) -> Self {
        let healthy = findings.iter().all(|found| found.level < Level::Problem);
        Self { healthy, findings }
    }

    /// For people: a line for each finding, and below it what to do.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for Finding {
            check,
            level,
            found,
            advice,
        } in &self.findings
        {
            let level = match level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Problem => "problem",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{level:7}  {check:9}  {found}");
            if !advice.is_empty() {
                let _ = writeln!(text, "{:20}→ {advice}", "");
            }
        }
        text
    }
}

/// Looks at everything. `enough`: free space in bytes below which a disk is nearly full.
pub async fn doctor(layers: &Layers, enough: u64) -> Diagnosis {
    let config = match Config::load(layers) {
        Ok(config) => config,
        Err(error) => {
            let advice = "Put that right; docs/CONFIGURATION.md has all keys, and `pollen config` shows the values in force. \
                          The rest could not be looked at.";
            return Diagnosis::of(vec![Finding::problem("config", error.to_string(), advice)]);
        }
    };
    let mut findings = config::look(&config, layers);
    findings.extend(database::look(&config).await);
    findings.extend(machine::look(&config, enough));
    findings.push(machine::port(&config).await);
    findings.extend(Box::pin(services::look(&config)).await);
    Diagnosis::of(findings)
}
