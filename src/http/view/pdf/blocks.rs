//! What is said as blocks to be put on paper: an answer's Markdown through the page's own parser, a question as it was typed.

use comrak::nodes::{ListType, Node, NodeList, NodeValue};

use super::shape::{Span, Style};
use crate::http::view::markdown;

/// Deeper nesting is shown as it was written.
const MAX_NESTING: usize = 40;
/// A longer paragraph is cut, for the work on one grows faster than its length.
const MAX_PARAGRAPH_BYTES: usize = 16 * 1024;
/// Of text, headings and code, in points.
pub(super) const TEXT: f32 = 10.0;
const HEADINGS: [f32; 6] = [16.0, 14.0, 12.5, 11.5, 10.5, 10.0];
/// How far what is in a list or a quotation is moved in.
const STEP: f32 = 16.0;

pub(super) const INK: [u8; 3] = [0x26, 0x24, 0x1d];
pub(super) const FAINT: [u8; 3] = [0x65, 0x5f, 0x51];
const LINK: [u8; 3] = [0x7a, 0x4e, 0x00];

pub(super) const PLAIN: Style = Style {
    size: TEXT,
    bold: false,
    italic: false,
    mono: false,
    strike: false,
    colour: INK,
    link: None,
};

/// Something that stands below what was before it.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub what: What,
    /// In points, from the column's edge.
    pub indent: f32,
    /// Where the quotations around it begin, as `indent`.
    pub quotes: Vec<f32>,
    /// What stands before its first line: a bullet, a number.
    pub marker: Option<String>,
    /// Above it, in points.
    pub gap: f32,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Words(Words),
    /// Lines of code, and their language.
    Code(Vec<String>, Option<String>),
    Table(Vec<Row>),
    Rule,
}

/// A paragraph, and the addresses that its links lead to.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    pub spans: Vec<Span>,
    pub links: Vec<String>,
    pub is_heading: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub cells: Vec<Words>,
    pub is_head: bool,
}

impl Words {
    pub fn plain(text: impl Into<String>, style: Style) -> Self {
        Self {
            spans: vec![Span {
                text: text.into(),
                style,
            }],
            ..Self::default()
        }
    }
}

/// What was typed, line by line.
pub(super) fn typed(text: &str) -> Vec<Block> {
    let lines = text.trim_end().lines().flat_map(pieces);
    lines
        .map(|line| Block {
            what: What::Words(Words::plain(line, PLAIN)),
            indent: 0.0,
            quotes: Vec::new(),
            marker: None,
            gap: 0.0,
        })
        .collect()
}

/// An answer.
pub(super) fn written(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let parsed = markdown::each_node(text, |node| {
        let too_deep =
            |node: Node<'_>| node.ancestors().take(MAX_NESTING + 1).count() > MAX_NESTING;
        if !node.descendants().any(too_deep) {
            Writer::default().block(node, &mut blocks);
        }
    });
    if parsed { blocks } else { typed(text) }
}

/// Where in the text the writer is.
#[derive(Clone, Default)]
struct Writer {
    indent: f32,
    quotes: Vec<f32>,
    marker: Option<String>,
    is_tight: bool,
}

impl Writer {
    fn push(&mut self, what: What, gap: f32, blocks: &mut Vec<Block>) {
        blocks.push(Block {
            what,
            indent: self.indent,
            quotes: self.quotes.clone(),
            marker: self.marker.take(),
            gap: if blocks.is_empty() { 0.0 } else { gap },
        });
    }

    fn block(&mut self, node: Node<'_>, blocks: &mut Vec<Block>) {
        let gap = if self.is_tight { 1.5 } else { 6.0 };
        match &node.data().value {
            NodeValue::Heading(heading) => {
                let size = HEADINGS.get(usize::from(heading.level).saturating_sub(1));
                let style = Style {
                    size: size.copied().unwrap_or(TEXT),
                    bold: true,
                    ..PLAIN
                };
                let mut words = inlines(node, style);
                words.is_heading = true;
                self.push(What::Words(words), 11.0, blocks);
            }
            NodeValue::CodeBlock(code) => {
                let lines = code.literal.trim_end_matches('\n').lines().map(expanded);
                let language = code.info.split([' ', ',', '{']).next();
                let language = language.filter(|word| !word.is_empty()).map(str::to_owned);
                self.push(What::Code(lines.collect(), language), 6.0, blocks);
            }
            NodeValue::HtmlBlock(html) => {
                let words = Words::plain(html.literal.trim_end(), PLAIN);
                self.push(What::Words(words), gap, blocks);
            }
            NodeValue::ThematicBreak => self.push(What::Rule, 8.0, blocks),
            NodeValue::Table(_) => self.push(What::Table(table(node)), 8.0, blocks),
            NodeValue::BlockQuote => {
                let mut quotes = self.quotes.clone();
                quotes.push(self.indent);
                let mut inside = Self {
                    indent: self.indent + STEP,
                    quotes,
                    marker: self.marker.take(),
                    is_tight: false,
                };
                node.children()
                    .for_each(|child| inside.block(child, blocks));
            }
            NodeValue::List(list) => self.list(node, list, blocks),
            NodeValue::Paragraph => {
                for words in cut(inlines(node, PLAIN)) {
                    self.push(What::Words(words), gap, blocks);
                }
            }
            _ => node.children().for_each(|child| self.block(child, blocks)),
        }
    }

    fn list(&mut self, node: Node<'_>, list: &NodeList, blocks: &mut Vec<Block>) {
        let is_tight = list.tight;
        for (number, item) in (list.start..).zip(node.children()) {
            let marker = match (&item.data().value, list.list_type) {
                (NodeValue::TaskItem(task), _) if task.symbol.is_some() => "☑".to_owned(),
                (NodeValue::TaskItem(_), _) => "☐".to_owned(),
                (_, ListType::Bullet) => "•".to_owned(),
                (_, ListType::Ordered) => format!("{number}."),
            };
            let mut inside = Self {
                indent: self.indent + STEP,
                quotes: self.quotes.clone(),
                marker: Some(marker),
                is_tight: is_tight && (number > list.start || self.is_tight),
            };
            for child in item.children() {
                inside.block(child, blocks);
                inside.is_tight = is_tight;
            }
            if let Some(marker) = inside.marker.take() {
                // Nothing is in it.
                inside.marker = Some(marker);
                inside.push(What::Words(Words::default()), 1.5, blocks);
            }
        }
    }
}

fn table(node: Node<'_>) -> Vec<Row> {
    let rows = node.children().map(|row| {
        let is_head = matches!(row.data().value, NodeValue::TableRow(true));
        let style = Style {
            size: TEXT - 1.0,
            bold: is_head,
            ..PLAIN
        };
        Row {
            cells: row.children().map(|cell| inlines(cell, style)).collect(),
            is_head,
        }
    });
    rows.collect()
}

fn inlines(node: Node<'_>, style: Style) -> Words {
    let mut words = Words::default();
    for child in node.children() {
        inline(child, style, &mut words);
    }
    words
}

fn inline(node: Node<'_>, style: Style, words: &mut Words) {
    let mut say = |text: &str, style: Style| {
        words.spans.push(Span {
            text: text.to_owned(),
            style,
        });
    };
    let style = match &node.data().value {
        NodeValue::Text(text) => return say(text, style),
        NodeValue::SoftBreak => return say(" ", style),
        NodeValue::LineBreak => return say("\n", style),
        NodeValue::HtmlInline(tag) if matches!(tag.as_str(), "<br>" | "<br/>" | "<br />") => {
            return say("\n", style);
        }
        NodeValue::HtmlInline(tag) => return say(tag, style),
        NodeValue::Math(formula) => {
            let mark = if formula.display_math { "$$" } else { "$" };
            return say(&format!("{mark}{}{mark}", formula.literal), style);
        }
        NodeValue::Code(code) => {
            let mono = Style {
                mono: true,
                size: style.size * 0.9,
                ..style
            };
            return say(&code.literal, mono);
        }
        NodeValue::Emph => Style {
            italic: true,
            ..style
        },
        NodeValue::Strong => Style {
            bold: true,
            ..style
        },
        NodeValue::Strikethrough => Style {
            strike: true,
            ..style
        },
        NodeValue::Link(link) | NodeValue::Image(link) => {
            // Whatever else a link may do, it is shown and leads nowhere.
            let is_address = ["https://", "http://", "mailto:"]
                .iter()
                .any(|scheme| link.url.to_ascii_lowercase().starts_with(scheme));
            if node.first_child().is_none() {
                say(&link.url, style);
            }
            if is_address {
                words.links.push(link.url.clone());
                Style {
                    colour: LINK,
                    link: Some(words.links.len() - 1),
                    ..style
                }
            } else {
                style
            }
        }
        _ => style,
    };
    for child in node.children() {
        inline(child, style, words);
    }
}

/// A paragraph in pieces that are short enough.
fn cut(words: Words) -> Vec<Words> {
    let bytes: usize = words.spans.iter().map(|span| span.text.len()).sum();
    if bytes <= MAX_PARAGRAPH_BYTES {
        return vec![words];
    }
    let mut cut = vec![Words {
        links: words.links.clone(),
        ..Words::default()
    }];
    let mut used = 0;
    for span in words.spans {
        for piece in pieces(&span.text) {
            if used + piece.len() > MAX_PARAGRAPH_BYTES {
                used = 0;
                cut.push(Words {
                    links: words.links.clone(),
                    ..Words::default()
                });
            }
            used += piece.len();
            if let Some(last) = cut.last_mut() {
                last.spans.push(Span {
                    text: piece.to_owned(),
                    style: span.style,
                });
            }
        }
    }
    cut
}

/// A text in pieces that are short enough, cut behind spaces where there are some.
pub(super) fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while text.len() > MAX_PARAGRAPH_BYTES {
        let end = text.floor_char_boundary(MAX_PARAGRAPH_BYTES);
        let (head, _) = text.split_at(end);
        let end = head.rfind(' ').map_or(end, |space| space + 1);
        let (piece, rest) = text.split_at(end);
        pieces.push(piece);
        text = rest;
    }
    pieces.push(text);
    pieces
}

/// A line of code whose tabs reach to the next fourth column.
fn expanded(line: &str) -> String {
    let (mut out, mut column) = (String::with_capacity(line.len()), 0);
    for c in line.chars() {
        if c == '\t' {
            let spaces = 4 - column % 4;
            out.extend(std::iter::repeat_n(' ', spaces));
            column += spaces;
        } else {
            out.push(c);
            column += 1;
        }
    }
    out
}
