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

/// What needs no look: texts, and these tags without an attribute.
const PLAIN: [&str; 15] = [
    "blockquote",
    "code",
    "del",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "li",
    "ol",
    "p",
    "strong",
    "ul",
];

/// Where links may go. An address without a scheme goes to this server.
pub(super) const SCHEMES: [&str; 4] = ["http", "https", "mailto", "tel"];

static SANITISER: LazyLock<Builder<'static>> = LazyLock::new(sanitiser);

/// The HTML without all that this page does not write itself.
///
/// Most of what a model writes is words, and they would take the sanitiser, which reads HTML as a browser does, longer
/// than all else: what is plain is told apart first, and written as the sanitiser would.
pub(super) fn sanitise(html: &str) -> String {
    if is_plain(html) {
        html.replace("&quot;", "\"")
    } else {
        clean(html)
    }
}

fn clean(html: &str) -> String {
    SANITISER.clean(html).to_string()
}

/// Whether there is nothing in it but text and `PLAIN` tags, each closed in its turn.
fn is_plain(html: &str) -> bool {
    let mut open = Vec::new();
    for piece in html.split('<').skip(1) {
        let Some((tag, _)) = piece.split_once('>') else {
            return false;
        };
        let fits = if let Some(name) = tag.strip_prefix('/') {
            open.pop() == Some(name)
        } else {
            open.push(tag);
            PLAIN.contains(&tag)
        };
        if !fits {
            return false;
        }
    }
    // These it writes in another way.
    open.is_empty() && !html.contains(['\u{a0}', '\r', '\0'])
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::blocks;
    use super::super::format::{self, Colours};
    use super::super::growing::tests::config;
    use super::super::tests::marks_and_attacks;
    use super::*;

    #[test]
    fn words_are_plain_and_whatever_has_an_attribute_is_not() {
        for html in [
            "",
            "<p>words &lt;b&gt; &amp; &quot;more&quot;</p>\n",
            "<ul>\n<li><em>a</em> <code>b</code></li>\n</ul>\n",
        ] {
            assert!(is_plain(html), "{html}");
            assert_eq!(sanitise(html), clean(html));
        }
        for html in [
            "<p class=\"x\">a</p>",
            "<p>a</p",
            "<p>a",
            "a</p>",
            "<em><p>a</em></p>",
            "<script>a</script>",
            "<p>a<br /></p>",
            "<p>a\u{a0}b</p>",
            "<P>a</P>",
            "< p>a</ p>",
        ] {
            assert!(!is_plain(html), "{html}");
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn what_is_not_cleaned_is_as_if_it_had_been(text in marks_and_attacks()) {
            let mut htmls = Vec::new();
            blocks::each(&text, |block| htmls.extend(format::html(block, Colours::Without)));
            for html in htmls {
                prop_assert_eq!(sanitise(&html), clean(&html));
            }
        }
    }
}
