//! Prometheus' text format, read.

use std::collections::BTreeMap;

/// What a server has counted.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    pub samples: Vec<Sample>,
    /// The type of each metric that was announced.
    pub types: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Exposition {
    pub fn parse(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(announced) = line.strip_prefix("# TYPE ") {
                let (name, kind) = announced.split_once(' ').unwrap();
                read.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                read.samples.push(Sample::parse(line));
            }
        }
        read
    }

    /// The sum of all samples of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map(|sample| sample.value).sum()
    }

    /// The same as a whole number.
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let sum = self.sum(name, labels);
        assert!(sum >= 0.0 && sum.fract() == 0.0, "{name} is {sum}");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a small whole number"
        )]
        {
            sum as u64
        }
    }

    pub fn find<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let has =
                |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|v| v == value);
            sample.name == name && labels.iter().all(has)
        })
    }

    /// The values that a label of a metric has.
    pub fn values(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<String> = self
            .find(name, &[])
            .filter_map(|sample| sample.labels.get(label).cloned())
            .collect();
        values.sort();
        values.dedup();
        values
    }

    /// The names under which samples are there: of a histogram all three.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.samples.iter().map(|s| s.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let (labels, value) = match rest.strip_prefix('{') {
            // No value of ours has a brace or a quotation mark in it, but those of routes: `{uuid}`.
            Some(rest) => rest.rsplit_once("} ").unwrap(),
            None => ("", rest.trim_start()),
        };
        let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
        let labels = pairs.map(|pair| {
            let (key, value) = pair.split_once("=\"").unwrap();
            (key.to_owned(), value.trim_end_matches('"').to_owned())
        });
        Self {
            name: name.to_owned(),
            labels: labels.collect(),
            value: value.parse().unwrap(),
        }
    }
}

#[test]
fn samples_are_read_as_they_are_written() {
    let read = Exposition::parse(
        "# HELP a_total Things.\n# TYPE a_total counter\na_total{route=\"/chat/{uuid}\",status=\"200\"} 3\na_total 4\n\n",
    );
    assert_eq!(read.types["a_total"], "counter");
    assert_eq!(read.count("a_total", &[("route", "/chat/{uuid}")]), 3);
    assert_eq!(read.count("a_total", &[]), 7);
    assert_eq!(read.values("a_total", "status"), ["200"]);
}
