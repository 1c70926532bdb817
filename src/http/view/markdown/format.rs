//! One block as HTML: the parser's own way of writing it, but for what this page shows otherwise.

use std::fmt::{Result as Written, Write};

use comrak::html::{
    ChildRendering, Context, dangerous_url, format_document_with_formatter, format_node_default,
};
use comrak::nodes::{Node, NodeCodeBlock, NodeLink, NodeMath, NodeTaskItem, NodeValue};
use comrak::options::Plugins;

use super::blocks::{self, Block, Source};
use super::{highlight, safe};
use crate::http::view::words::W;

/// Deeper nesting is shown as plain text: the sanitiser's time grows with the square of it.
const MAX_NESTING: usize = 40;

/// A longer word after a fence is no language's name.
const MAX_LANGUAGE_BYTES: usize = 24;

/// Whether code is coloured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    With,
    Without,
}

struct Manner<'a> {
    colours: Colours,
    source: &'a Source<'a>,
}

type Page<'o, 'c, 'a> = Context<'o, 'c, Manner<'a>>;
type Rendered = Result<ChildRendering, std::fmt::Error>;

/// The block as HTML that has not been sanitised; `None` if it is nested too deeply for that.
pub(super) fn html(block: &Block<'_>, colours: Colours) -> Option<String> {
    let too_deep = |node: Node<'_>| node.ancestors().take(MAX_NESTING + 1).count() > MAX_NESTING;
    if block.node.descendants().any(too_deep) {
        return None;
    }
    let manner = Manner {
        colours,
        source: block.source,
    };
    let mut html = String::new();
    format_document_with_formatter(
        block.node,
        &blocks::options(),
        &mut html,
        &Plugins::default(),
        node,
        manner,
    )
    .ok()?;
    Some(html)
}

fn node(page: &mut Page<'_, '_, '_>, node: Node<'_>, entering: bool) -> Rendered {
    match &node.data().value {
        NodeValue::CodeBlock(block) if entering => code(page, block)?,
        NodeValue::CodeBlock(_) => {}
        NodeValue::Table(_) => return table(page, node, entering),
        NodeValue::TaskItem(item) => task(page, item, entering)?,
        NodeValue::Image(picture) => return link_to(page, node, picture, entering),
        NodeValue::Math(formula) if entering => math(page, node, formula)?,
        NodeValue::HtmlInline(tag) if entering && line_break(tag) => page.write_str("<br />")?,
        NodeValue::HtmlBlock(block) if entering => {
            page.cr()?;
            page.write_str("<p>")?;
            page.escape(block.literal.trim_end())?;
            page.write_str("</p>\n")?;
        }
        _ => return format_node_default(page, node, entering),
    }
    Ok(ChildRendering::HTML)
}

/// Code in a frame with its language and a button.
fn code(page: &mut Page<'_, '_, '_>, block: &NodeCodeBlock) -> Written {
    let language = language(&block.info);
    page.cr()?;
    page.write_str("<div class=\"code\">")?;
    if let Some(language) = language {
        write!(page, "<span class=\"code-language\">{language}</span>")?;
    }
    page.write_str(&beginning())?;
    let coloured = match (page.user.colours, language) {
        (Colours::With, Some(language)) => highlight::html(&block.literal, language),
        _ => None,
    };
    match coloured {
        Some(html) => page.write_str(&html)?,
        None => page.escape(&block.literal)?,
    }
    page.write_str(END)
}

/// What is not to be taken for Markdown, in the same frame.
pub(super) fn plain(text: &str) -> String {
    let (beginning, text) = (beginning(), safe::escape(text));
    format!("<div class=\"code\">{beginning}{text}{END}")
}

/// The button, and what comes before the code itself.
fn beginning() -> String {
    let copy = W.copy;
    format!(
        "<button type=\"button\" class=\"copy needs-script\">{copy}</button>\
         <pre tabindex=\"0\"><code>"
    )
}

const END: &str = "</code></pre></div>\n";

/// The first word after a fence, if it may be a language's name: nothing that HTML would have to
/// escape.
fn language(info: &str) -> Option<&str> {
    let word = info.split([' ', '\t', ',', '{']).next()?;
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"+#-_.".contains(&byte);
    let fits = !word.is_empty() && word.len() <= MAX_LANGUAGE_BYTES;
    (fits && word.bytes().all(named)).then_some(word)
}

/// A table in a frame that scrolls.
fn table(page: &mut Page<'_, '_, '_>, node: Node<'_>, entering: bool) -> Rendered {
    if entering {
        page.cr()?;
        let name = W.table;
        write!(
            page,
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{name}\">"
        )?;
        return format_node_default(page, node, entering);
    }
    let rendered = format_node_default(page, node, entering)?;
    page.write_str("</div>\n")?;
    Ok(rendered)
}

/// An item with a box that has a name, and cannot be changed.
fn task(page: &mut Page<'_, '_, '_>, item: &NodeTaskItem, entering: bool) -> Written {
    if !entering {
        return page.write_str("</li>\n");
    }
    let (name, checked) = match item.symbol {
        Some(_) => (W.done, " checked=\"\""),
        None => (W.to_do, ""),
    };
    page.cr()?;
    write!(
        page,
        "<li><input type=\"checkbox\" disabled=\"\" aria-label=\"{name}\"{checked} /> "
    )
}

/// A picture is fetched without being asked for, from wherever the text says; a link is not.
/// Inside of a link, which cannot hold another, it is what it would say if it could not be shown.
fn link_to(
    page: &mut Page<'_, '_, '_>,
    node: Node<'_>,
    picture: &NodeLink,
    entering: bool,
) -> Rendered {
    let linked = |node: Node<'_>| matches!(node.data().value, NodeValue::Link(_));
    if node.ancestors().any(linked) {
        return Ok(ChildRendering::Plain);
    }
    if !entering {
        page.write_str("</a>")?;
        return Ok(ChildRendering::Plain);
    }
    page.write_str("<a href=\"")?;
    if !dangerous_url(&picture.url) {
        page.escape_href(&picture.url)?;
    }
    page.write_str("\">")?;
    if node.first_child().is_none() {
        page.escape(&picture.url)?;
    }
    Ok(ChildRendering::Plain)
}

/// A formula to the letter, with its delimiters. The parser has dropped them; whether they were
/// dollars or backslashes stands where the formula begins.
fn math(page: &mut Page<'_, '_, '_>, node: Node<'_>, formula: &NodeMath) -> Written {
    let latex = page.user.source.first_byte(node) == Some(b'\\');
    let (open, close) = match (latex, formula.display_math) {
        (false, false) => ("$", "$"),
        (false, true) => ("$$", "$$"),
        (true, false) => ("\\(", "\\)"),
        (true, true) => ("\\[", "\\]"),
    };
    page.write_str(open)?;
    page.escape(&formula.literal)?;
    page.write_str(close)
}

/// `<br>` is the one tag that is not shown: there is no other way to break a line in a table.
fn line_break(tag: &str) -> bool {
    matches!(tag, "<br>" | "<br/>" | "<br />")
}
