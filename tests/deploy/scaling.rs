//! The arithmetic of `docs/SCALING.md`, done again from its own tables: a figure that does not follow from the inputs fails.

use std::collections::BTreeMap;
use std::fs;

/// Figures are rounded to three digits.
const ROUNDING: f64 = 0.01;
const SCENARIOS: usize = 3;

/// The values of a name in each scenario.
type Values = BTreeMap<String, [f64; SCENARIOS]>;

/// The cells of the rows that begin with a name in backquotes, of the table whose first row begins so.
fn table(document: &str, head: &str) -> Vec<Vec<String>> {
    let (_, rest) = document.split_once(head).expect("the table is there");
    rest.lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        })
        .collect()
}

fn number(cell: &str) -> f64 {
    let bare = cell.replace(',', "");
    bare.parse()
        .unwrap_or_else(|_| panic!("{cell:?} is no number"))
}

/// What comes of a formula: names, numbers, `+ - * /`, parentheses, `min(a, b)` and `ceil(a)`.
struct Formula<'a> {
    rest: &'a str,
    values: &'a Values,
    scenario: usize,
}

impl Formula<'_> {
    fn evaluate(text: &str, values: &Values, scenario: usize) -> f64 {
        let mut formula = Formula {
            rest: text,
            values,
            scenario,
        };
        let value = formula.sum();
        assert_eq!(formula.rest.trim(), "", "the end of {text:?}");
        value
    }

    fn takes(&mut self, sign: char) -> bool {
        let rest = self.rest.trim_start();
        let taken = rest.strip_prefix(sign);
        self.rest = taken.unwrap_or(rest);
        taken.is_some()
    }

    fn sum(&mut self) -> f64 {
        let mut value = self.product();
        loop {
            if self.takes('+') {
                value += self.product();
            } else if self.takes('-') {
                value -= self.product();
            } else {
                return value;
            }
        }
    }

    fn product(&mut self) -> f64 {
        let mut value = self.factor();
        loop {
            if self.takes('*') {
                value *= self.factor();
            } else if self.takes('/') {
                value /= self.factor();
            } else {
                return value;
            }
        }
    }

    fn factor(&mut self) -> f64 {
        if self.takes('(') {
            let value = self.sum();
            assert!(self.takes(')'), "a parenthesis before {:?}", self.rest);
            return value;
        }
        let rest = self.rest.trim_start();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        match word {
            "min" | "ceil" => {
                assert!(self.takes('('));
                let mut value = self.sum();
                if word == "ceil" {
                    value = value.ceil();
                } else {
                    assert!(self.takes(','));
                    value = value.min(self.sum());
                }
                assert!(self.takes(')'));
                value
            }
            _ if word.starts_with(|c: char| c.is_ascii_digit()) => number(word),
            _ => {
                let known = self.values.get(word);
                known.unwrap_or_else(|| panic!("{word:?} is not known yet"))[self.scenario]
            }
        }
    }
}

#[test]
fn the_figures_follow_from_the_inputs() {
    let document = fs::read_to_string("docs/SCALING.md").unwrap();
    let mut values = Values::new();
    for row in table(&document, "| input | value | unit | from |") {
        values.insert(row[0].clone(), [number(&row[1]); SCENARIOS]);
    }
    for row in table(&document, "| input | day | rush | show | |") {
        let each = [number(&row[1]), number(&row[2]), number(&row[3])];
        values.insert(row[0].clone(), each);
    }
    let figures = table(&document, "| figure | formula | day | rush | show | unit |");
    assert!(figures.len() > 15, "{} figures", figures.len());
    for row in figures {
        let mut each = [0.0; SCENARIOS];
        for (scenario, value) in each.iter_mut().enumerate() {
            *value = Formula::evaluate(&row[1], &values, scenario);
            let told = number(&row[2 + scenario]);
            assert!(
                (told - *value).abs() <= ROUNDING * value.abs(),
                "{}: {told} is told and {value} comes of {}",
                row[0],
                row[1]
            );
        }
        values.insert(row[0].clone(), each);
    }
}

/// The inputs that PERFORMANCE.md has are the ones that stand there.
#[test]
fn the_inputs_are_what_was_measured() {
    let measured = fs::read_to_string("docs/PERFORMANCE.md").unwrap();
    let document = fs::read_to_string("docs/SCALING.md").unwrap();
    let inputs = table(&document, "| input | value | unit | from |");
    // As they stand there: in words around the figure.
    for (name, words) in [
        (
            "viewers_cpu",
            "to 1250 viewers; 4161 pairs/s (100.0 % of those due), p50 1.0, p99 24.6, max 70 ms; the generator's own lag p99 3.2 ms; of a core: server 63 %",
        ),
        ("token_cpu_sqlite", "10000 streams, SQLite | ≤ 8 s | 20.0 |"),
        ("token_cpu", "10000 streams, PostgreSQL | ≤ 8 s | 12.3 |"),
        ("send_cpu", "512 chats; 3.35 ms of the server's CPU each"),
        ("idle_memory", "≤ 25 MiB resident | 25.6 |"),
        ("answer_memory", "≤ 40 KiB | 41.9 |"),
        ("connection_memory", "≤ 16 KiB | 14.4 |"),
        (
            "hop_reads",
            "1 pollers each, 3 nodes | ≤ 35 a second | 8.7 |",
        ),
        (
            "follow_reads",
            "100 pollers each, 3 nodes | ≤ 35 a second | 31.7 |",
        ),
        (
            "disk_factor",
            "by the disk's own count | ≤ 5 bytes | 29.12 |",
        ),
    ] {
        assert!(
            measured.contains(words),
            "{name}: PERFORMANCE.md no longer says {words:?}"
        );
        assert!(inputs.iter().any(|row| row[0] == name), "{name}");
    }
}
