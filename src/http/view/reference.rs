//! The OpenAPI document as a page: what there is to ask, what is answered, and what it looks like.
//!
//! It is rendered here and needs no script: the usual viewers are larger than the rest of the page's files together,
//! and want to fetch what they show.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use askama::Template;
use serde_json::Value;

use super::assets::{self, Icon};
use super::frame::{Frame, Theme};
use super::markdown;
use super::words::W;
use crate::http::{openapi, problem};

/// All that is on the page.
struct Reference {
    about: String,
    groups: Vec<Group>,
    shapes: Vec<Shape>,
}

/// The operations whose paths begin alike.
struct Group {
    name: String,
    operations: Vec<OperationView>,
}

struct OperationView {
    id: String,
    method: String,
    path: String,
    summary: String,
    parameters: Vec<Field>,
    body: Option<Sample>,
    answers: Vec<AnswerView>,
    /// Statuses of problems.
    problems: Vec<Status>,
}

struct AnswerView {
    status: Status,
    note: String,
    sample: Option<Sample>,
}

#[derive(Clone)]
struct Status(String);

/// A body: what it is, and an example.
struct Sample {
    kind: Kind,
    example: String,
}

/// A schema that has a name.
struct Shape {
    name: String,
    note: String,
    fields: Vec<Field>,
    /// The words that it may be, if it is one of some.
    words: Vec<String>,
}

struct Field {
    name: String,
    /// Where a parameter stands.
    place: String,
    kind: Kind,
    is_required: bool,
    note: String,
}

/// A type in words, and the shape that it leads to.
struct Kind {
    words: String,
    shape: Option<String>,
}

#[derive(Template)]
#[template(path = "reference.html")]
pub struct ReferencePage {
    pub frame: Frame,
    reference: &'static Reference,
    kinds: BTreeMap<u16, Vec<problem::Kind>>,
}

impl ReferencePage {
    pub fn new(frame: Frame) -> Self {
        Self {
            frame,
            reference: Reference::made(),
            kinds: problem_kinds(),
        }
    }
}

impl Reference {
    /// What the document says.
    fn made() -> &'static Self {
        static MADE: LazyLock<Reference> = LazyLock::new(|| {
            let document = serde_json::to_value(openapi::document());
            Reference::of(&document.unwrap_or_default())
        });
        &MADE
    }

    fn of(document: &Value) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for (path, item) in entries(&document["paths"]) {
            let name = group_of(path);
            let place = groups.iter().position(|group| group.name == name);
            let place = place.unwrap_or_else(|| {
                groups.push(Group {
                    name,
                    operations: Vec::new(),
                });
                groups.len() - 1
            });
            let operations =
                entries(item).map(|(method, said)| OperationView::of(method, path, said));
            groups[place].operations.extend(operations);
        }
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        let schemas = &document["components"]["schemas"];
        Self {
            about: note(&document["info"]["description"]),
            groups,
            shapes: entries(schemas)
                .map(|(name, said)| Shape::of(name, said))
                .collect(),
        }
    }
}

impl OperationView {
    fn of(method: &str, path: &str, said: &Value) -> Self {
        let parameters = said["parameters"].as_array().into_iter().flatten();
        let (mut answers, mut problems) = (Vec::new(), Vec::new());
        for (status, answer) in entries(&said["responses"]) {
            let status = Status(status.to_owned());
            if answer.get("$ref").is_some() {
                problems.push(status);
            } else {
                answers.push(AnswerView {
                    status,
                    note: note(&answer["description"]),
                    sample: Sample::of(&answer["content"]),
                });
            }
        }
        Self {
            id: text(&said["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: note(&said["summary"]),
            parameters: parameters.map(Field::parameter).collect(),
            body: Sample::of(&said["requestBody"]["content"]),
            answers,
            problems,
        }
    }
}

impl Sample {
    fn of(content: &Value) -> Option<Self> {
        let (media, said) = entries(content).next()?;
        let example = said.get("example");
        let example = example.and_then(|value| serde_json::to_string_pretty(value).ok());
        let mut kind = Kind::of(&said["schema"]);
        if kind.shape.is_none() {
            media.clone_into(&mut kind.words);
        }
        Some(Self {
            kind,
            example: example.unwrap_or_default(),
        })
    }
}

impl Shape {
    fn of(name: &str, said: &Value) -> Self {
        // What is put together of several is shown as one.
        let parts = said["allOf"].as_array();
        let parts: Vec<&Value> = parts.map_or_else(|| vec![said], |parts| parts.iter().collect());
        let fields = parts.into_iter().flat_map(|part| {
            let (is_named, required) = (part.get("$ref").is_some(), &part["required"]);
            let all = is_named.then(|| Field::all_of(part));
            let own = entries(&part["properties"]).map(move |(name, said)| Field {
                name: name.to_owned(),
                place: String::new(),
                kind: Kind::of(said),
                is_required: has(required, name),
                note: note(&said["description"]),
            });
            all.into_iter().chain(own)
        });
        let words = said["enum"].as_array().into_iter().flatten();
        Self {
            name: name.to_owned(),
            note: note(&said["description"]),
            fields: fields.collect(),
            words: words.map(text).collect(),
        }
    }
}

impl Field {
    fn parameter(said: &Value) -> Self {
        Self {
            name: text(&said["name"]),
            place: text(&said["in"]),
            kind: Kind::of(&said["schema"]),
            is_required: said["required"] == true,
            note: note(&said["description"]),
        }
    }

    /// All fields of another shape.
    fn all_of(said: &Value) -> Self {
        Self {
            name: "…".to_owned(),
            place: String::new(),
            kind: Kind::of(said),
            is_required: true,
            note: String::new(),
        }
    }
}

impl Kind {
    fn of(schema: &Value) -> Self {
        if let Some(named) = schema["$ref"]
            .as_str()
            .and_then(|path| path.rsplit('/').next())
        {
            return Self {
                words: named.to_owned(),
                shape: Some(named.to_owned()),
            };
        }
        let choices = schema["oneOf"]
            .as_array()
            .or_else(|| schema["anyOf"].as_array());
        if let Some(choices) = choices {
            return Self::joined(choices.iter().map(Self::of), " | ");
        }
        if schema["type"] == "array" {
            let items = Self::of(&schema["items"]);
            return Self {
                words: format!("{}[]", items.words),
                shape: items.shape,
            };
        }
        let kinds = schema["type"].as_array();
        let kinds = kinds.map(|kinds| kinds.iter().map(text).collect::<Vec<_>>().join(" | "));
        let kind = kinds.unwrap_or_else(|| text(&schema["type"]));
        let format = schema["format"].as_str();
        let words = format.map_or_else(|| kind.clone(), |format| format!("{kind} ({format})"));
        Self { words, shape: None }
    }

    fn joined(kinds: impl Iterator<Item = Self>, by: &str) -> Self {
        let kinds: Vec<Self> = kinds.collect();
        let words: Vec<&str> = kinds.iter().map(|kind| kind.words.as_str()).collect();
        Self {
            words: words.join(by),
            shape: kinds.into_iter().find_map(|kind| kind.shape),
        }
    }
}

/// The kinds of problem of each status.
fn problem_kinds() -> BTreeMap<u16, Vec<problem::Kind>> {
    let mut kinds: BTreeMap<u16, Vec<problem::Kind>> = BTreeMap::new();
    for kind in problem::Kind::ALL {
        let alike = kinds.entry(kind.status().as_u16());
        alike.or_default().push(kind);
    }
    kinds
}

fn entries(said: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let said = said.as_object().into_iter().flatten();
    said.map(|(name, said)| (name.as_str(), said))
}

fn has(list: &Value, name: &str) -> bool {
    list.as_array()
        .is_some_and(|list| list.iter().any(|one| one == name))
}

/// A note as HTML, with what stands between backticks as code.
fn note(said: &Value) -> String {
    let mut html = String::new();
    for (n, part) in text(said).split('`').enumerate() {
        let part = markdown::escaped(part);
        let is_code = n % 2 == 1;
        let [before, after] = if is_code {
            ["<code>", "</code>"]
        } else {
            [""; 2]
        };
        html.extend([before, part.as_str(), after]);
    }
    html
}

fn text(said: &Value) -> String {
    said.as_str().unwrap_or_default().to_owned()
}

/// The first word of a path.
fn group_of(path: &str) -> String {
    let word = path.split('/').find(|part| !part.is_empty());
    word.map_or_else(|| "/".to_owned(), |word| format!("/{word}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_operation_and_leads_to_every_shape() {
        let page = ReferencePage::new(Frame::default());
        let reference = page.reference;
        let page = page.render().unwrap();
        for (method, path) in openapi::surface() {
            let written = path.replace('{', "&#123;").replace('}', "&#125;");
            assert!(
                page.contains(path) || page.contains(&written),
                "{method} {path}"
            );
        }
        let links = page.split("href=\"#").skip(1);
        for link in links.map(|link| link.split('"').next().unwrap()) {
            assert!(
                page.contains(&format!("id=\"{link}\"")),
                "{link} leads nowhere"
            );
        }
        for shape in &reference.shapes {
            assert!(page.contains(&format!("id=\"shape-{}\"", shape.name)));
        }
    }
}
