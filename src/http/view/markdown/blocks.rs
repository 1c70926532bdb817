//! A text's top-level blocks, and where each begins. A block begins with a line, so a text can be cut
//! there and its end be parsed alone.

use comrak::nodes::{Node, NodeValue};
use comrak::{Arena, Options, parse_document};

/// A top-level block of a text.
pub(super) struct Block<'a> {
    pub node: Node<'a>,
    /// The text it comes from, and the offsets of its lines: to look up what the parser has dropped.
    pub source: &'a Source<'a>,
    /// The offset of the line with which the block begins, and that of the next block's.
    start: usize,
    end: usize,
}

impl Block<'_> {
    /// What was written, without the blank lines that follow.
    pub fn text(&self) -> &str {
        let text = self.source.text.get(self.start..self.end);
        text.unwrap_or_default().trim_end()
    }

    /// Where in the text it begins, in bytes.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Whether it is a table that may have begun as the last lines of the paragraph before it. Its
    /// first line is then no table without them: what is indented, for one, would be code.
    pub fn may_have_been_of(&self, before: &Self) -> bool {
        let between = before.start + before.text().len()..self.start;
        let between = self.source.text.get(between).unwrap_or_default();
        matches!(self.node.data().value, NodeValue::Table(_))
            && matches!(before.node.data().value, NodeValue::Paragraph)
            && between.lines().count() <= 1
    }

    /// Whether it is a paragraph that is over, for a paragraph never goes on beyond a blank line.
    pub fn is_paragraph_before_a_blank_line(&self) -> bool {
        let after = self.start + self.text().len()..self.end;
        let after = self.source.text.get(after).unwrap_or_default();
        // Of the spaces that are cut off at the end of a text, Markdown's blank lines know two.
        let is_blank = |line: &str| {
            line.ends_with('\n') && line.trim_matches([' ', '\t', '\r', '\n']).is_empty()
        };
        matches!(self.node.data().value, NodeValue::Paragraph)
            && after.split_inclusive('\n').skip(1).any(is_blank)
    }

    /// Whether no later line can be a part of it.
    pub fn ends_with_its_line(&self) -> bool {
        match &self.node.data().value {
            NodeValue::Heading(_) | NodeValue::ThematicBreak => true,
            NodeValue::CodeBlock(code) => code.fenced && code.closed,
            _ => false,
        }
    }
}

/// A text whose lines can be found by their number.
pub(super) struct Source<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let ends = (0..bytes.len()).filter(|&at| match bytes[at] {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        let lines = std::iter::once(0).chain(ends.map(|at| at + 1)).collect();
        Self { text, lines }
    }

    /// Where a line begins, in bytes. Lines are counted from 1, as the parser does.
    fn line(&self, number: usize) -> usize {
        let offset = self.lines.get(number.saturating_sub(1));
        offset.copied().unwrap_or(self.text.len())
    }

    /// The byte with which a node begins.
    pub fn first_byte(&self, node: Node<'_>) -> Option<u8> {
        let start = node.data().sourcepos.start;
        let at = self.line(start.line) + start.column.checked_sub(1)?;
        self.text.as_bytes().get(at).copied()
    }
}

/// Parses the text and hands over its blocks, in order.
pub(super) fn each(text: &str, mut then: impl FnMut(&Block<'_>)) {
    all(text, |blocks| blocks.iter().for_each(&mut then));
}

/// Parses the text and hands over all of its blocks at once.
pub(super) fn all<R>(text: &str, then: impl FnOnce(&[Block<'_>]) -> R) -> R {
    let arena = Arena::new();
    let source = Source::new(text);
    let root = parse_document(&arena, text, &options());
    let start = |node: Node<'_>| source.line(node.data().sourcepos.start.line);
    let blocks: Vec<_> = root
        .children()
        .map(|node| Block {
            node,
            source: &source,
            start: start(node),
            end: node.next_sibling().map_or(text.len(), start),
        })
        .collect();
    then(&blocks)
}

/// GitHub's Markdown, and formulas: they are shown as they are, but not taken for emphasis.
pub(super) fn options() -> Options<'static> {
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.autolink = true;
    options.extension.tasklist = true;
    options.extension.math_dollars = true;
    options.extension.math_latex = true;
    // Inline HTML in an answer is meant to be read: without this it would vanish.
    options.render.escape = true;
    options
}
