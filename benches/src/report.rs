//! The table: a row for each thing that was measured, printed as soon as it is there, and in two files when a case ends.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::machine::Facts;

/// Letters of an error that are shown.
const LONGEST: usize = 500;

/// What a figure is to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    AtLeast(f64),
    AtMost(f64),
}

impl Want {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

/// One thing that was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    pub case: String,
    pub what: String,
    want: Option<Want>,
    unit: String,
    #[serde(skip)]
    places: usize,
    measured: String,
    value: Option<f64>,
    spread: String,
    errors: u64,
    failed: Option<String>,
    raw: Value,
    depends_on_speed: bool,
    /// What the value would be on the machine of the targets.
    there: Option<f64>,
}

impl Row {
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ..Self::default()
        }
    }

    /// What ended a case.
    pub fn failed(error: &anyhow::Error) -> Self {
        Self {
            failed: Some(format!("{error:#}").chars().take(LONGEST).collect()),
            ..Self::new("the case failed")
        }
    }

    /// What the value is to be, in which unit, and how many places of it are shown.
    pub fn wants(self, want: Want, unit: &str, places: usize) -> Self {
        Self {
            want: Some(want),
            ..self.unit(unit, places)
        }
    }

    /// Of a value that nothing is wanted of.
    pub fn unit(self, unit: &str, places: usize) -> Self {
        Self {
            unit: unit.to_owned(),
            places,
            ..self
        }
    }

    /// In words: what the value was made of.
    pub fn measured(self, measured: impl Into<String>) -> Self {
        Self {
            measured: measured.into(),
            ..self
        }
    }

    pub fn value(self, value: f64) -> Self {
        Self {
            value: Some(value),
            ..self
        }
    }

    pub fn spread(self, spread: impl Into<String>) -> Self {
        Self {
            spread: spread.into(),
            ..self
        }
    }

    /// It is a matter of the machine's speed too: a time, or so many in one.
    pub fn depends_on_speed(self) -> Self {
        Self {
            depends_on_speed: true,
            ..self
        }
    }

    /// Measured on a machine that takes so many times as long as the one of the targets.
    fn on(self, slowness: f64) -> Self {
        let value = self.value.filter(|_| self.depends_on_speed);
        let there = value.zip(self.want).map(|(value, want)| match want {
            Want::AtLeast(_) => value * slowness,
            Want::AtMost(_) => value / slowness,
        });
        Self { there, ..self }
    }

    /// Answers that were none.
    pub fn errors(self, errors: u64) -> Self {
        Self { errors, ..self }
    }

    /// All figures, for programs.
    pub fn raw(self, raw: Value) -> Self {
        Self { raw, ..self }
    }

    /// None where nothing was wanted.
    pub fn is_met(&self) -> Option<bool> {
        if self.failed.is_some() {
            return Some(false);
        }
        let (want, value) = (self.want?, self.value?);
        Some(want.is_met_by(value) && self.errors == 0)
    }

    fn line(&self) -> String {
        let (places, unit) = (self.places, &self.unit);
        let target = match self.want {
            Some(Want::AtLeast(least)) => format!("≥ {least} {unit}"),
            Some(Want::AtMost(most)) => format!("≤ {most} {unit}"),
            None => String::new(),
        };
        let value = match self.value {
            Some(value) if self.want.is_none() => format!("{value:.places$} {unit}"),
            Some(value) => format!("{value:.places$}"),
            None => String::new(),
        };
        let mut measured = self.measured.clone();
        if self.errors > 0 {
            let _ = write!(measured, "; {} errors", self.errors);
        }
        if let Some(error) = &self.failed {
            let _ = write!(measured, "{}", error.replace('\n', " / "));
        }
        let met = match (self.is_met(), self.there) {
            (Some(true), _) => "yes".to_owned(),
            (Some(false), Some(there)) => {
                format!("**no**; {there:.places$} on the targets' machine")
            }
            (Some(false), None) => "**no**".to_owned(),
            (None, _) => String::new(),
        };
        let cells = [
            self.case.as_str(),
            &self.what,
            &target,
            &value,
            &self.spread,
            &measured,
            &met,
        ];
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    }
}

const HEADING: &str = "\
| case | what | target | value (median) | spread | measured | met? |
| --- | --- | --- | --- | --- | --- | --- |";

/// All rows so far, and where they go.
pub struct Report {
    directory: PathBuf,
    facts: Facts,
    /// How it was run: pinning, what was raised, full or quick.
    how: Vec<String>,
    rows: Vec<Row>,
}

impl Report {
    pub fn begin(directory: PathBuf, facts: Facts, how: Vec<String>) -> Self {
        let report = Self {
            directory,
            facts,
            how,
            rows: Vec::new(),
        };
        print(&report.preamble());
        print(HEADING);
        report
    }

    /// Prints the rows of a case that has ended, and writes all that there are. `slowness`: that of the machine just
    /// before it.
    pub fn add(&mut self, case: &str, slowness: f64, rows: Vec<Row>) -> Result<()> {
        for row in rows {
            let row = Row {
                case: case.to_owned(),
                ..row.on(slowness)
            };
            print(&format!("| {} |", row.line()));
            self.rows.push(row);
        }
        let all =
            json!({"machine": self.facts, "how": self.how, "rows": self.rows_with_verdicts()?});
        fs::write(
            self.directory.join("report.json"),
            serde_json::to_string_pretty(&all)?,
        )?;
        fs::write(self.directory.join("report.md"), self.markdown())?;
        Ok(())
    }

    /// Whether a case ended before its time.
    pub fn has_failures(&self) -> bool {
        self.rows.iter().any(|row| row.failed.is_some())
    }

    fn rows_with_verdicts(&self) -> Result<Vec<Value>> {
        let row = |row: &Row| {
            let mut value = serde_json::to_value(row)?;
            value["met"] = json!(row.is_met());
            Ok(value)
        };
        self.rows.iter().map(row).collect()
    }

    fn markdown(&self) -> String {
        let mut text = format!("{}{HEADING}\n", self.preamble());
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.line());
        }
        text
    }

    fn preamble(&self) -> String {
        let facts = &self.facts;
        let mut text = format!(
            "{}, {} cores, {} MiB; {}; {}; revision {}; {}\n\n",
            facts.cpu,
            facts.cores,
            facts.memory_mib,
            facts.kernel,
            facts.rustc,
            facts.revision,
            facts.date
        );
        for line in &self.how {
            let _ = writeln!(text, "- {line}");
        }
        text.push('\n');
        text
    }
}

/// To the terminal.
pub fn print(text: &str) {
    #[expect(clippy::print_stdout, reason = "it is what the program is for")]
    {
        println!("{text}");
    }
}

/// What is going on, for who waits.
pub fn note(text: &str) {
    #[expect(clippy::print_stderr, reason = "it is not part of the table")]
    {
        eprintln!("… {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_was_wanted_and_whether_it_was_met() {
        let row = Row::new("a poll")
            .wants(Want::AtLeast(0.8), "of bare", 2)
            .value(0.791)
            .spread("0.78–0.80");
        assert_eq!(
            row.line(),
            " | a poll | ≥ 0.8 of bare | 0.79 | 0.78–0.80 |  | **no**"
        );
        assert_eq!(row.value(0.8).is_met(), Some(true));
    }

    #[test]
    fn what_depends_on_the_machine_s_speed_is_told_for_the_targets_machine_too() {
        let row = Row::new("a send").wants(Want::AtMost(5.0), "ms", 1);
        let slow = row.clone().depends_on_speed().value(12.0).on(2.5);
        assert!(
            slow.line()
                .ends_with("| **no**; 4.8 on the targets' machine"),
            "{}",
            slow.line()
        );
        assert_eq!(slow.is_met(), Some(false), "not here");
        assert!(row.value(12.0).on(2.5).line().ends_with("| **no**"));
        let many = Row::new("sends").wants(Want::AtLeast(1_000.0), "a second", 0);
        let many = many.depends_on_speed().value(400.0).on(2.0);
        assert!(many.line().contains("; 800 on"), "{}", many.line());
    }

    #[test]
    fn errors_and_failures_are_never_met() {
        let met = Row::new("x").wants(Want::AtMost(1.0), "ms", 0).value(0.5);
        assert_eq!(met.is_met(), Some(true));
        assert_eq!(met.clone().errors(1).is_met(), Some(false));
        assert_eq!(Row::failed(&anyhow::anyhow!("no")).is_met(), Some(false));
        assert_eq!(Row::new("x").value(1.0).is_met(), None, "nothing is wanted");
    }
}
