//! Lines in styles: how wide they are, and where they are broken.

use std::fmt::Write as _;
use std::ops::Range;

use anstyle::{AnsiColor, Style};
use unicode_linebreak::{BreakOpportunity, linebreaks};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::clean::clean;

pub(super) const PLAIN: Style = Style::new();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const BOLD: Style = Style::new().bold();
pub(super) const CODE: Style = AnsiColor::Cyan.on_default();
pub(super) const HEADING: Style = AnsiColor::Magenta.on_default().bold();
pub(super) const YOU: Style = AnsiColor::Green.on_default().bold();
pub(super) const THEM: Style = AnsiColor::Blue.on_default().bold();
pub(super) const WRONG: Style = AnsiColor::Red.on_default();

/// A tab is as wide as this in what is painted.
const TAB: &str = "    ";

/// A run of text in one style. There is nothing in it that a terminal obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    text: String,
    pub style: Style,
}

impl Span {
    pub fn new(text: &str, style: Style) -> Self {
        Self {
            text: clean(text).replace('\t', TAB),
            style,
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What stands in one line of the screen, or would if it were wide enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(pub Vec<Span>);

impl Line {
    pub fn of(text: &str, style: Style) -> Self {
        Self(vec![Span::new(text, style)])
    }

    pub fn width(&self) -> usize {
        self.0.iter().map(|span| width(span.text())).sum()
    }

    /// As a terminal shows it.
    pub fn painted(&self) -> String {
        let mut out = String::new();
        for span in &self.0 {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}{}{:#}", span.style, span.text(), span.style);
        }
        out
    }

    /// The same, cut where the screen ends.
    pub fn fitted(&self, columns: usize) -> String {
        if self.width() <= columns {
            return self.painted();
        }
        let mut room = columns.saturating_sub(1);
        let mut cut = Self::default();
        for span in &self.0 {
            let mut text = String::new();
            for c in span.text().chars() {
                let wide = c.width().unwrap_or_default();
                if wide > room {
                    room = 0;
                    break;
                }
                room -= wide;
                text.push(c);
            }
            cut.0.push(Span::new(&text, span.style));
            if room == 0 {
                break;
            }
        }
        cut.0.push(Span::new("…", DIM));
        cut.painted()
    }
}

pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Spans as lines that are no wider than so many columns, broken where their script breaks lines.
pub(super) fn wrap(spans: &[Span], columns: usize) -> Vec<Line> {
    let columns = columns.max(1);
    let text: String = spans.iter().map(Span::text).collect();
    let mut lines = Vec::new();
    let (mut line, mut filled): (Option<Range<usize>>, usize) = (None, 0);
    let mut from = 0;
    for (at, opportunity) in linebreaks(&text) {
        for piece in pieces(&text, from..at, columns) {
            // Spaces at the end of a line may stand beyond it.
            let visible = width(text[piece.clone()].trim_end());
            if let Some(full) = line.take_if(|_| filled + visible > columns) {
                lines.push(cut(spans, &text, full));
                filled = 0;
            }
            filled += width(text[piece.clone()].trim_end_matches('\n'));
            let start = line.map_or(piece.start, |line| line.start);
            line = Some(start..piece.end);
        }
        from = at;
        if opportunity == BreakOpportunity::Mandatory
            && let Some(full) = line.take()
        {
            lines.push(cut(spans, &text, full));
            filled = 0;
        }
    }
    lines
}

/// A word, or the parts of one that is wider than a line.
fn pieces(text: &str, word: Range<usize>, columns: usize) -> Vec<Range<usize>> {
    if width(text[word.clone()].trim_end()) <= columns {
        return vec![word];
    }
    let (mut pieces, mut start, mut filled) = (Vec::new(), word.start, 0);
    for (at, c) in text[word.clone()].char_indices() {
        let (at, wide) = (word.start + at, c.width().unwrap_or_default());
        if filled + wide > columns && at > start {
            pieces.push(start..at);
            (start, filled) = (at, 0);
        }
        filled += wide;
    }
    pieces.push(start..word.end);
    pieces
}

/// A part of the text in its styles, without the space at its end.
fn cut(spans: &[Span], text: &str, range: Range<usize>) -> Line {
    let end = range.start + text[range.clone()].trim_end().len();
    let (mut line, mut at) = (Line::default(), 0);
    for span in spans {
        let (from, to) = (range.start.max(at), end.min(at + span.text.len()));
        if from < to {
            line.0.push(Span {
                text: text[from..to].to_owned(),
                style: span.style,
            });
        }
        at += span.text.len();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, columns: usize) -> Vec<String> {
        let lines = wrap(&[Span::new(text, PLAIN)], columns);
        lines.iter().map(Line::painted).collect()
    }

    #[test]
    fn lines_are_broken_between_words_and_nothing_is_lost() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("one\ntwo", 7), ["one", "two"]);
        assert_eq!(wrapped("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrapped("你好世界", 4), ["你好", "世界"]);
        assert_eq!(wrapped("", 4), Vec::<String>::new());
        for columns in 1..40 {
            let text = "Some words, 你好, and-a-very-long-one/with/slashes. 👩‍👩‍👧 end";
            let lines = wrap(&[Span::new(text, PLAIN)], columns);
            let all: String = lines.iter().map(Line::painted).collect();
            let letters = |text: &str| text.replace(' ', "");
            assert_eq!(letters(&all), letters(text));
            assert!(lines.iter().all(|line| line.width() <= columns.max(2)));
        }
    }

    #[test]
    fn styles_stay_with_their_words() {
        let spans = [Span::new("plain ", PLAIN), Span::new("bold word", BOLD)];
        let lines = wrap(&spans, 10);
        assert_eq!(lines[0].painted(), "plain \u{1b}[1mbold\u{1b}[0m");
        assert_eq!(lines[1].painted(), "\u{1b}[1mword\u{1b}[0m");
    }

    #[test]
    fn a_line_is_cut_where_the_screen_ends() {
        let line = Line::of("abcdef", PLAIN);
        assert_eq!(line.fitted(6), "abcdef");
        assert_eq!(line.fitted(4), format!("abc{DIM}…{DIM:#}"));
        assert_eq!(
            Line::of("你好吗", PLAIN).fitted(4),
            format!("你{DIM}…{DIM:#}")
        );
    }
}
