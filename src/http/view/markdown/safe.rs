//! What may come out. The text's own HTML has been escaped before; should a mark ever get around
//! that, here is a list of what this page writes itself, and nothing else passes.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use ammonia::Builder;

use super::highlight;
use crate::http::view::words::W;

pub(super) const TAGS: [&str; 29] = [
    "a",
    "blockquote",
    "br",
    "button",
    "code",
    "del",
    "div",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "input",
    "li",
    "ol",
    "p",
    "pre",
    "span",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
];

/// Attributes with any value; an address has one of `SCHEMES`.
const ATTRIBUTES: [(&str, &[&str]); 2] = [("a", &["href", "title"]), ("ol", &["start"])];

/// Attributes with these values.
const VALUES: [(&str, &str, &[&str]); 11] = [
    ("button", "type", &["button"]),
    ("div", "aria-label", &[W.table]),
    ("div", "role", &["group"]),
    ("div", "tabindex", &["0"]),
    ("input", "aria-label", &[W.done, W.to_do]),
    ("input", "checked", &[""]),
    ("input", "disabled", &[""]),
    ("input", "type", &["checkbox"]),
    ("pre", "tabindex", &["0"]),
    ("td", "align", &["left", "center", "right"]),
    ("th", "align", &["left", "center", "right"]),
];

/// Where links may go. An address without a scheme goes to this server.
pub(super) const SCHEMES: [&str; 4] = ["http", "https", "mailto", "tel"];

static SANITISER: LazyLock<Builder<'static>> = LazyLock::new(sanitiser);

/// The HTML without all that this page does not write itself.
pub(super) fn sanitise(html: &str) -> String {
    SANITISER.clean(html).to_string()
}

/// Text that stays text between tags.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn sanitiser() -> Builder<'static> {
    let mut values: HashMap<_, HashMap<_, HashSet<_>>> = HashMap::new();
    for (tag, attribute, allowed) in VALUES {
        let of_tag = values.entry(tag).or_default();
        of_tag.insert(attribute, allowed.iter().copied().collect());
    }
    let any = ATTRIBUTES.map(|(tag, names)| (tag, names.iter().copied().collect()));
    let classes = [
        ("button", HashSet::from(["copy", "needs-script"])),
        ("div", HashSet::from(["code", "scroll"])),
        (
            "span",
            highlight::classes().chain(["code-language"]).collect(),
        ),
    ];
    let mut builder = Builder::empty();
    builder
        .tags(HashSet::from(TAGS))
        .tag_attributes(HashMap::from(any))
        .tag_attribute_values(values)
        .allowed_classes(HashMap::from(classes))
        .generic_attributes(HashSet::new())
        .url_schemes(HashSet::from(SCHEMES))
        .link_rel(Some("noopener nofollow noreferrer"));
    builder
}
