//! Markdown as lines in colours: the parser is the page's, what is made of its blocks is for a terminal.

use anstyle::Style;
use comrak::nodes::{ListType, Node, NodeLink, NodeValue};
use comrak::{Arena, Options, parse_document};
use url::Url;

use super::code;
use super::lines::{BOLD, CODE, DIM, HEADING, Line, PLAIN, Span, width, wrap};

/// Deeper nesting is shown as it was written.
const MAX_NESTING: usize = 24;
/// More marks of quotes and lists than this at the start of a line make the parser slow, and so do so many formulas.
const MAX_MARKS: usize = 40;
const MAX_FORMULAS: usize = 500;
/// Wider lines are hard to read.
const MAX_COLUMNS: usize = 100;
/// A table's column is not made narrower than this to make room for others.
const MIN_CELL: usize = 6;

/// A top-level block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where the line begins with which it begins, in bytes.
    pub start: usize,
    pub lines: Vec<Line>,
    /// Its first lines may still change when more of it comes.
    pub is_unsteady: bool,
    /// No later line can be a part of it, whatever it is.
    pub ends_with_its_line: bool,
    /// It may go on behind a blank line.
    pub is_list: bool,
}

/// The blocks of a text. Addresses without a server are of this one.
pub(super) fn blocks(text: &str, columns: usize, base: Option<&Url>) -> Vec<Block> {
    if !parses_fast(text) {
        return vec![as_written(text, columns)];
    }
    let arena = Arena::new();
    let root = parse_document(&arena, text, &options());
    let too_deep = |node: Node<'_>| node.ancestors().take(MAX_NESTING + 1).count() > MAX_NESTING;
    if root.descendants().any(too_deep) {
        return vec![as_written(text, columns)];
    }
    let ends = text.match_indices('\n').map(|(at, _)| at + 1);
    let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
    root.children()
        .map(|node| {
            let mut writer = Writer {
                columns: columns.clamp(8, MAX_COLUMNS),
                base,
                frames: Vec::new(),
                lines: Vec::new(),
            };
            writer.block(node);
            let data = node.data();
            let line = data.sourcepos.start.line;
            Block {
                start: starts.get(line.saturating_sub(1)).copied().unwrap_or(0),
                lines: writer.lines,
                is_unsteady: matches!(data.value, NodeValue::Table(_)),
                ends_with_its_line: match &data.value {
                    NodeValue::Heading(_) | NodeValue::ThematicBreak => true,
                    NodeValue::CodeBlock(code) => code.fenced && code.closed,
                    _ => false,
                },
                is_list: matches!(data.value, NodeValue::List(_)),
            }
        })
        .collect()
}

fn as_written(text: &str, columns: usize) -> Block {
    let lines = wrap(&[Span::new(text, PLAIN)], columns.clamp(8, MAX_COLUMNS));
    Block {
        start: 0,
        lines,
        is_unsteady: false,
        ends_with_its_line: false,
        is_list: false,
    }
}

fn options() -> Options<'static> {
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.autolink = true;
    options.extension.tasklist = true;
    options.extension.math_dollars = true;
    options.extension.math_latex = true;
    options
}

/// Whether the parser takes no longer for it than for others of its length.
fn parses_fast(text: &str) -> bool {
    let is_mark = |c: char| matches!(c, '>' | '-' | '+' | '*' | '.' | ')');
    let marks = |line: &str| {
        let start =
            line.find(|c: char| !(is_mark(c) || c.is_ascii_digit() || c == ' ' || c == '\t'));
        line[..start.unwrap_or(line.len())].matches(is_mark).count()
    };
    // A rule is made of many marks of one kind, and nothing else.
    let is_rule = |line: &str| {
        let mut marks = line.chars().filter(|c| !matches!(c, ' ' | '\t'));
        let first = marks.next();
        matches!(first, Some('-' | '*')) && marks.all(|c| Some(c) == first)
    };
    let formulas = text.matches("\\(").count() + text.matches("\\[").count();
    formulas <= MAX_FORMULAS
        && text
            .lines()
            .all(|line| marks(line) <= MAX_MARKS || is_rule(line))
}

/// What stands before each line of what is in a quote or a list.
struct Frame {
    /// Before its first line.
    first: Option<Span>,
    rest: Span,
}

struct Writer<'a> {
    columns: usize,
    base: Option<&'a Url>,
    frames: Vec<Frame>,
    lines: Vec<Line>,
}

impl Writer<'_> {
    fn room(&self) -> usize {
        let taken: usize = self
            .frames
            .iter()
            .map(|frame| width(frame.rest.text()))
            .sum();
        self.columns.saturating_sub(taken).max(4)
    }

    fn emit(&mut self, line: Line) {
        let before = self.frames.iter_mut();
        let mut spans: Vec<Span> = before
            .map(|frame| frame.first.take().unwrap_or_else(|| frame.rest.clone()))
            .collect();
        spans.extend(line.0);
        let is_blank = spans.iter().all(|span| span.text().trim().is_empty());
        self.lines.push(if is_blank {
            Line::default()
        } else {
            Line(spans)
        });
    }

    fn paragraph(&mut self, spans: &[Span]) {
        for line in wrap(spans, self.room()) {
            self.emit(line);
        }
    }

    fn framed(&mut self, first: Span, rest: Span, node: Node<'_>, is_tight: bool) {
        self.frames.push(Frame {
            first: Some(first),
            rest,
        });
        self.children(node, is_tight);
        if self
            .frames
            .last()
            .is_some_and(|frame| frame.first.is_some())
        {
            // It is empty.
            self.emit(Line::default());
        }
        self.frames.pop();
    }

    fn children(&mut self, node: Node<'_>, is_tight: bool) {
        for (n, child) in node.children().enumerate() {
            if n > 0 && !is_tight {
                self.emit(Line::default());
            }
            self.block(child);
        }
    }

    fn block(&mut self, node: Node<'_>) {
        let value = &node.data().value;
        match value {
            NodeValue::Heading(heading) => {
                let style = if heading.level == 1 {
                    HEADING.underline()
                } else {
                    HEADING
                };
                self.paragraph(&self.inlines(node, style));
            }
            NodeValue::BlockQuote => {
                let bar = Span::new("│ ", DIM);
                self.framed(bar.clone(), bar, node, false);
            }
            NodeValue::List(list) => {
                let start = list.start;
                let numbered = list.list_type == ListType::Ordered;
                for (n, item) in node.children().enumerate() {
                    if n > 0 && !list.tight {
                        self.emit(Line::default());
                    }
                    let marker = match &item.data().value {
                        NodeValue::TaskItem(task) if task.symbol.is_some() => "☑ ".to_owned(),
                        NodeValue::TaskItem(_) => "☐ ".to_owned(),
                        // Not aligned with those to come: what has been printed is not to move.
                        _ if numbered => format!("{}. ", start + n),
                        _ => "• ".to_owned(),
                    };
                    let rest = Span::new(&" ".repeat(width(&marker)), PLAIN);
                    self.framed(Span::new(&marker, DIM), rest, item, list.tight);
                }
            }
            NodeValue::CodeBlock(block) => {
                let language = block.info.split_whitespace().next().unwrap_or_default();
                let indent = Span::new("  ", PLAIN);
                for line in code::lines(&block.literal, language) {
                    self.emit(Line([vec![indent.clone()], line.0].concat()));
                }
            }
            NodeValue::HtmlBlock(block) => {
                self.paragraph(&[Span::new(block.literal.trim_end(), DIM)]);
            }
            NodeValue::ThematicBreak => {
                let rule = "─".repeat(self.room().min(40));
                self.emit(Line::of(&rule, DIM));
            }
            NodeValue::Table(_) => self.table(node),
            _ => self.paragraph(&self.inlines(node, PLAIN)),
        }
    }

    fn inlines(&self, node: Node<'_>, style: Style) -> Vec<Span> {
        let mut spans = Vec::new();
        for child in node.children() {
            self.inline(child, style, &mut spans);
        }
        spans
    }

    fn inline(&self, node: Node<'_>, style: Style, spans: &mut Vec<Span>) {
        let mut add = |text: &str, style: Style| spans.push(Span::new(text, style));
        match &node.data().value {
            NodeValue::Text(text) => add(text, style),
            NodeValue::SoftBreak => add(" ", style),
            NodeValue::LineBreak => add("\n", style),
            NodeValue::Code(code) => add(&code.literal, in_style(style, CODE)),
            NodeValue::HtmlInline(tag) if tag.starts_with("<br") => add("\n", style),
            NodeValue::HtmlInline(tag) | NodeValue::Raw(tag) => add(tag, style),
            NodeValue::Math(formula) => {
                let (open, close) = match (formula.dollar_math, formula.display_math) {
                    (true, true) => ("$$", "$$"),
                    (true, false) => ("$", "$"),
                    (false, true) => ("\\[", "\\]"),
                    (false, false) => ("\\(", "\\)"),
                };
                add(
                    &format!("{open}{}{close}", formula.literal),
                    in_style(style, CODE),
                );
            }
            NodeValue::Emph => spans.extend(self.inlines(node, style.italic())),
            NodeValue::Strong => spans.extend(self.inlines(node, style.bold())),
            NodeValue::Strikethrough => spans.extend(self.inlines(node, style.strikethrough())),
            NodeValue::Link(link) => self.link(node, link, style, spans),
            NodeValue::Image(link) => {
                add("picture: ", DIM);
                self.link(node, link, style, spans);
            }
            _ => spans.extend(self.inlines(node, style)),
        }
    }

    /// What it is called, and where it really leads.
    fn link(&self, node: Node<'_>, link: &NodeLink, style: Style, spans: &mut Vec<Span>) {
        let words = self.inlines(node, style.underline());
        let called: String = words.iter().map(Span::text).collect();
        let address = match self.base.and_then(|base| base.join(&link.url).ok()) {
            Some(full) if link.url.starts_with('/') => full.to_string(),
            _ => link.url.clone(),
        };
        let is_said = called == address || address.strip_prefix("mailto:") == Some(&called);
        spans.extend(words);
        if !is_said {
            spans.push(Span::new(&format!(" ({address})"), DIM));
        }
    }

    fn table(&mut self, table: Node<'_>) {
        let rows: Vec<(bool, Vec<Vec<Span>>)> = table
            .children()
            .map(|row| {
                let is_head = matches!(row.data().value, NodeValue::TableRow(true));
                let style = if is_head { BOLD } else { PLAIN };
                (
                    is_head,
                    row.children()
                        .map(|cell| self.inlines(cell, style))
                        .collect(),
                )
            })
            .collect();
        let count = rows.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
        let mut widths = vec![1; count];
        for (_, cells) in &rows {
            for (cell, widest) in cells.iter().zip(&mut widths) {
                let wide: usize = cell.iter().map(|span| width(span.text())).sum();
                *widest = wide.max(*widest);
            }
        }
        fit(&mut widths, self.room());
        for (is_head, cells) in &rows {
            let cells: Vec<Vec<Line>> = widths
                .iter()
                .enumerate()
                .map(|(n, wide)| wrap(cells.get(n).map_or(&[], Vec::as_slice), *wide))
                .collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
            for line in 0..height {
                let mut spans = Vec::new();
                for (n, (cell, wide)) in cells.iter().zip(&widths).enumerate() {
                    if n > 0 {
                        spans.push(Span::new(" │ ", DIM));
                    }
                    let part = cell.get(line).cloned().unwrap_or_default();
                    let space = if n + 1 < count {
                        wide.saturating_sub(part.width())
                    } else {
                        0
                    };
                    spans.extend(part.0);
                    spans.push(Span::new(&" ".repeat(space), PLAIN));
                }
                self.emit(Line(spans));
            }
            if *is_head {
                let rule: Vec<String> = widths.iter().map(|wide| "─".repeat(*wide)).collect();
                self.emit(Line::of(&rule.join("─┼─"), DIM));
            }
        }
    }
}

/// Makes columns narrower, the widest first, until the table has room.
fn fit(widths: &mut [usize], room: usize) {
    let between = 3 * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + between > room {
        let Some(widest) = widths.iter_mut().max().filter(|wide| **wide > MIN_CELL) else {
            return;
        };
        *widest -= 1;
    }
}

/// One style within another.
fn in_style(outer: Style, inner: Style) -> Style {
    inner.effects(outer.get_effects() | inner.get_effects())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(text: &str, columns: usize) -> String {
        let base = Url::parse("http://127.0.0.1:8080/").expect("a URL");
        let blocks = blocks(text, columns, Some(&base));
        let lines = blocks.iter().flat_map(|block| &block.lines);
        lines.map(|line| line.painted() + "\n").collect()
    }

    /// Without the styles.
    fn shown(text: &str, columns: usize) -> String {
        let mut out = String::new();
        let painted = painted(text, columns);
        let mut rest = painted.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            out.push_str(before);
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        out + rest
    }

    #[test]
    fn words_have_styles() {
        assert_eq!(
            painted("a **b** `c`", 40),
            "a \u{1b}[1mb\u{1b}[0m \u{1b}[36mc\u{1b}[0m\n"
        );
        assert!(painted("# Head", 40).contains("\u{1b}[1m"));
    }

    #[test]
    fn blocks_are_for_a_terminal() {
        let text = "> said\n\n1. one\n2. two\n   - deep\n\n- [x] done\n- [ ] open\n\n---\n\n```rust\nlet a;\n```\n";
        let expected = "│ said\n1. one\n2. two\n   • deep\n☑ done\n☐ open\n";
        let shown = shown(text, 40);
        assert!(shown.starts_with(expected), "{shown}");
        assert!(shown.ends_with("────\n  let a;\n"), "{shown}");
    }

    #[test]
    fn tables_have_columns_and_fit() {
        let text = "| a | second |\n|---|---|\n| x | one two three four five |\n";
        assert_eq!(
            shown(text, 60),
            "a │ second\n──┼────────────────────────\nx │ one two three four five\n"
        );
        assert_eq!(
            shown(text, 16),
            "a │ second\n──┼─────────────\nx │ one two\n  │ three four\n  │ five\n"
        );
    }

    #[test]
    fn links_say_where_they_lead() {
        assert_eq!(shown("[safe](http://evil/)", 60), "safe (http://evil/)\n");
        assert_eq!(shown("<http://a.b/>", 60), "http://a.b/\n");
        assert_eq!(
            shown("[file](/chat/x)", 60),
            "file (http://127.0.0.1:8080/chat/x)\n"
        );
    }

    #[test]
    fn nothing_that_a_terminal_obeys_comes_out_of_a_text() {
        let hostile = [
            "&#27;[2J &#x9b;31m [x](http://a/&#27;]0;y&#7;) `a\u{1b}[1m`",
            "```\n\u{1b}]52;c;AAAA\u{7}\n```",
            "| \u{1b}[5m | b |\n|---|---|\n| &#27;c | d |",
            "# \u{1b}[8m\n\n<b \u{1b}[8m>\n\n![\u{1b}](x)",
            "```rust\nlet a = \"\u{1b}[2J\"; // \u{9b}2J\n```",
        ];
        for text in hostile {
            let shown = shown(text, 40);
            let obeyed = shown.contains(|c: char| c.is_control() && c != '\n');
            assert!(!obeyed, "{shown:?}");
        }
    }

    #[test]
    fn what_would_be_slow_or_deep_is_shown_as_it_is() {
        for text in [
            ">".repeat(50_000),
            "- ".repeat(3_000) + "a",
            "*".repeat(20_000) + "a",
            "[".repeat(20_000),
            "\\(".repeat(20_000),
        ] {
            assert!(!blocks(&text, 80, None).is_empty());
        }
    }

    #[test]
    fn blocks_begin_where_their_lines_do() {
        let text = "one\n\n# two\nthree\n\n- four\n- five\n";
        let starts: Vec<usize> = blocks(text, 80, None)
            .iter()
            .map(|block| block.start)
            .collect();
        assert_eq!(starts, [0, 5, 11, 18]);
    }
}
