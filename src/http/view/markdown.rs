//! A finished answer as HTML. The text is a model's, so it is nobody's we trust: raw HTML is
//! escaped, pictures from elsewhere become links, and a sanitiser has the last word.

use comrak::nodes::{AstNode, NodeValue};
use comrak::{Arena, Options, format_html, parse_document};

/// Deeper nesting is shown as plain text: the sanitiser's time grows with the square of it.
const MAX_NESTING: usize = 40;

/// The text as sanitised HTML.
pub fn to_html(text: &str) -> String {
    render(text).map_or_else(|| plain(text), |html| sanitise(&html))
}

fn render(text: &str) -> Option<String> {
    let options = options();
    let arena = Arena::new();
    let root = parse_document(&arena, text, &options);
    for node in root.descendants() {
        if node.ancestors().take(MAX_NESTING + 1).count() > MAX_NESTING {
            return None;
        }
        pictures_to_links(node);
    }
    let mut html = String::with_capacity(text.len() * 2);
    format_html(root, &options, &mut html).ok()?;
    Some(html)
}

/// A picture is fetched without being asked for, from wherever the text says; a link is not.
fn pictures_to_links<'a>(node: &'a AstNode<'a>) {
    let mut data = node.data.borrow_mut();
    if let NodeValue::Image(link) = &data.value {
        data.value = NodeValue::Link(link.clone());
    }
}

fn options() -> Options<'static> {
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.autolink = true;
    options.extension.tasklist = true;
    // Inline HTML in an answer is meant to be read: without this it would vanish.
    options.render.escape = true;
    options
}

fn sanitise(html: &str) -> String {
    ammonia::Builder::default()
        .link_rel(Some("noopener nofollow noreferrer"))
        .add_tags(["input"])
        .add_tag_attributes("input", ["type", "checked", "disabled"])
        .add_tag_attribute_values("input", "type", ["checkbox"])
        .rm_tags(["img", "map", "area"])
        .clean(html)
        .to_string()
}

fn plain(text: &str) -> String {
    format!("<pre>{}</pre>", ammonia::clean_text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_html() {
        let html = to_html("# Hi\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n- [x] done\n");
        for part in ["<h1>Hi</h1>", "<table>", "<td>1</td>", "checkbox"] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }

    #[test]
    fn nothing_in_a_text_runs_or_loads() {
        let html = to_html(
            "<script>alert(1)</script>\n\n<img src=x onerror=alert(1)>\n\n\
             [x](javascript:alert(1)) ![y](http://evil.example/?q=secret)",
        );
        for part in ["<script", "<img", "href=\"javascript"] {
            assert!(!html.contains(part), "{part} in {html}");
        }
        assert!(
            html.contains("&lt;script&gt;"),
            "inline HTML stays readable: {html}"
        );
    }

    #[test]
    fn deep_nesting_is_shown_as_it_is() {
        let html = to_html(&">".repeat(50_000));
        assert!(html.starts_with("<pre>"));
    }
}
