//! A text that grows on the screen. Blocks that are finished are printed for good; the last one, which may still change its
//! looks, is painted over at each step. What it has too much for the screen is printed for good as well.

use std::fmt::Write as _;

use url::Url;

use super::clean::{clean, clean_line};
use super::lines::{DIM, Line};
use super::markdown::{self, Block};

/// How a text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Rendered, and painted over.
    Painted,
    /// As it is, piece by piece: where nothing can be painted over, or nothing is to be rendered.
    Typed,
    /// Rendered, once it is all there.
    Rendered,
    /// Not at all: whoever reads it gets it as it is stored, once it is certain.
    Silent,
}

/// The screen's rows and columns.
pub(super) type Size = fn() -> (usize, usize);

/// What begins the last block's lines where the first ones that were printed have changed.
const ANEW: &str = "⋯";

pub(super) struct Growing {
    how: How,
    size: Size,
    base: Option<Url>,
    text: String,
    /// The bytes that have been printed for good.
    done: usize,
    /// Of what goes on, the lines that have been printed for good.
    scrolled: Vec<Line>,
    /// What is painted over next time: each is one row.
    rows: Vec<String>,
    /// How wide the screen was then.
    columns: usize,
    /// Something was printed before, from which a line keeps distance.
    has_printed: bool,
    note: Option<String>,
    /// The last character that was typed is a line break.
    is_at_start: bool,
}

impl Growing {
    pub fn new(how: How, size: Size, base: Option<Url>) -> Self {
        Self {
            how,
            size,
            base,
            text: String::new(),
            done: 0,
            scrolled: Vec::new(),
            rows: Vec::new(),
            columns: 0,
            has_printed: false,
            note: None,
            is_at_start: true,
        }
    }

    /// What to print when so much more has come.
    pub fn push(&mut self, more: &str) -> String {
        let more = clean(more);
        self.text.push_str(&more);
        match self.how {
            How::Painted => self.paint(false),
            How::Typed => {
                if !more.is_empty() {
                    self.is_at_start = more.ends_with('\n');
                }
                more
            }
            How::Rendered | How::Silent => String::new(),
        }
    }

    /// What to print when all of it is written anew: the screen cannot take back what it has shown.
    pub fn anew(&mut self, text: &str) -> String {
        let mut out = String::new();
        if !self.text.is_empty() && matches!(self.how, How::Painted | How::Typed) {
            out = self.finish();
            let line = "— the answer is written anew —";
            let line = if self.how == How::Painted {
                Line::of(line, DIM).painted()
            } else {
                line.to_owned()
            };
            let _ = writeln!(out, "{line}");
        }
        *self = Self::new(self.how, self.size, self.base.take());
        out.push_str(&self.push(text));
        out
    }

    /// What to print when a line of ours is to stand below the text, or to go.
    pub fn note(&mut self, note: Option<&str>) -> String {
        self.note = note.map(clean_line);
        if self.how == How::Painted {
            self.paint(false)
        } else {
            String::new()
        }
    }

    /// What to print when nothing more comes: the cursor is then at the start of a line.
    pub fn finish(&mut self) -> String {
        self.note = None;
        match self.how {
            How::Painted => self.paint(true),
            How::Typed if self.is_at_start => String::new(),
            How::Typed => {
                self.is_at_start = true;
                "\n".to_owned()
            }
            How::Rendered => self.paint(true).replace("\r\n", "\n"),
            How::Silent => String::new(),
        }
    }

    fn paint(&mut self, is_all: bool) -> String {
        let (height, columns) = (self.size)();
        // In the last column some terminals are already in the next line.
        let columns = columns.saturating_sub(1).max(8);
        let text = &self.text[self.done..];
        let mut blocks = markdown::blocks(text, columns, self.base.as_ref());
        let finished = if is_all {
            blocks.len()
        } else {
            finished(text, &blocks)
        };
        let last = blocks.split_off(finished);
        let begins = last.first().map(|block| block.start);
        let is_unsteady = last.iter().any(|block| block.is_unsteady);
        let (mut fixed, mut gap, mut lines) = self.rest_of(joined(blocks), joined(last));
        match begins {
            Some(start) => self.done += start,
            None if is_all => self.done = self.text.len(),
            // What is no block so far may become one.
            None => {}
        }
        let room = height
            .saturating_sub(2 + usize::from(self.note.is_some()))
            .max(1);
        let too_many = lines.len().saturating_sub(room);
        let above: Vec<Line> = lines.drain(..too_many).collect();
        if !is_unsteady && too_many > 0 {
            self.scrolled.extend(above.iter().cloned());
            fixed.append(&mut gap);
            fixed.extend(above);
        }
        gap.extend(lines);
        self.put(&fixed, &gap, columns, is_all)
    }

    /// Of what has ended and of what goes on, the lines that have not been printed for good; between both, the gap
    /// before what goes on. What was printed of that stays in `scrolled`.
    fn rest_of(
        &mut self,
        mut ended: Vec<Line>,
        mut open: Vec<Line>,
    ) -> (Vec<Line>, Vec<Line>, Vec<Line>) {
        let printed = std::mem::take(&mut self.scrolled);
        let blank = || vec![Line::default()];
        let is_first = printed.is_empty() && !self.has_printed;
        let mut all = ended.clone();
        if !ended.is_empty() && !open.is_empty() {
            all.push(Line::default());
        }
        all.extend(open.iter().cloned());
        if !all.starts_with(&printed) {
            // They look otherwise now: all of it is to be seen as it is.
            ended.insert(0, Line::of(ANEW, DIM));
            let gap = if ended.len() > 1 && !open.is_empty() {
                blank()
            } else {
                Vec::new()
            };
            return (ended, gap, open);
        }
        let count = printed.len();
        if count > ended.len() {
            // The gap behind what has ended was printed too, if there is one.
            let of_open = count - ended.len() - usize::from(!ended.is_empty());
            let rest = open.split_off(of_open);
            self.scrolled = open;
            return (Vec::new(), Vec::new(), rest);
        }
        let mut fixed = ended.split_off(count);
        let has_ended = count > 0 || !fixed.is_empty();
        if count == 0 && !is_first && !fixed.is_empty() {
            fixed.insert(0, Line::default());
        }
        let gap = if open.is_empty() || (is_first && !has_ended) {
            Vec::new()
        } else {
            blank()
        };
        (fixed, gap, open)
    }

    /// Takes away what was painted, prints lines for good, and paints others.
    fn put(&mut self, fixed: &[Line], open: &[Line], columns: usize, is_all: bool) -> String {
        let note = self.note.as_ref().map(|note| Line::of(note, DIM));
        let rows = open.iter().chain(&note).map(|line| line.fitted(columns));
        let rows: Vec<String> = rows.collect();
        let is_resized = self.columns != columns && !self.rows.is_empty();
        self.columns = columns;
        let mut out = String::new();
        let same = if fixed.is_empty() && !is_all && !is_resized {
            let pairs = self.rows.iter().zip(&rows);
            pairs.take_while(|(old, new)| old == new).count()
        } else {
            0
        };
        if same == rows.len() && same == self.rows.len() && fixed.is_empty() && !is_all {
            return out;
        }
        if is_resized {
            // Nobody knows where its rows are now.
            out.push_str("\r\n");
        } else if !self.rows.is_empty() {
            // The cursor is in the last row: it goes to the first that is another one.
            let up = (self.rows.len() - 1).saturating_sub(same);
            if same == self.rows.len() {
                out.push_str("\r\n");
            } else if up > 0 {
                let _ = write!(out, "\r\u{1b}[{up}A\u{1b}[J");
            } else {
                out.push_str("\r\u{1b}[J");
            }
        }
        if same > 0 && same == rows.len() && same < self.rows.len() {
            // Only rows at the end have gone: the cursor goes to the end of the last that stays.
            let _ = write!(out, "\u{1b}[1A\r{}", rows[same - 1]);
        }
        for line in fixed {
            let _ = write!(out, "{}\r\n", line.painted());
        }
        out.push_str(&rows[same..].join("\r\n"));
        self.has_printed |= !fixed.is_empty();
        self.rows = rows;
        out
    }
}

/// The lines of blocks, with an empty one between each two.
fn joined(blocks: Vec<Block>) -> Vec<Line> {
    let mut lines = Vec::new();
    for block in blocks {
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.extend(block.lines);
    }
    lines
}

/// How many of the blocks nothing that comes can change. A block that is followed by another one may still take its lines in:
/// the next row of a table begins as something else. A blank line ends all but lists, which go on with another item.
fn finished(text: &str, blocks: &[Block]) -> usize {
    let pairs = blocks.iter().zip(blocks.iter().skip(1));
    let is_end = |(block, next): (&Block, &Block)| {
        let (before, after) = text.split_at(next.start);
        let line = before.trim_end_matches('\n').len();
        let is_blank = before[line..].len() > 1
            || before
                .lines()
                .last()
                .is_some_and(|line| line.trim().is_empty());
        block.ends_with_its_line || (is_blank && (!block.is_list || after.contains('\n')))
    };
    let ends: Vec<bool> = pairs.map(is_end).collect();
    ends.iter()
        .rposition(|is_end| *is_end)
        .map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    const HEIGHT: u16 = 10;
    const COLUMNS: u16 = 30;

    fn size() -> (usize, usize) {
        (HEIGHT.into(), COLUMNS.into())
    }

    fn screen(columns: u16) -> vt100::Parser {
        let size = |n| NonZero::new(n).expect("a size");
        vt100::Parser::new(size(HEIGHT), size(columns), 1_000)
    }

    /// All that the terminal has shown, with what has scrolled out of it.
    fn seen(screen: &mut vt100::Parser) -> Vec<String> {
        let mut lines = Vec::new();
        screen.screen_mut().set_scrollback(usize::MAX);
        let above = screen.screen().scrollback();
        for back in (1..=above).rev() {
            screen.screen_mut().set_scrollback(back);
            lines.extend(screen.screen().rows(0, COLUMNS).next());
        }
        screen.screen_mut().set_scrollback(0);
        lines.extend(screen.screen().rows(0, COLUMNS));
        let end = lines.iter().rposition(|line| !line.is_empty());
        lines.truncate(end.map_or(0, |end| end + 1));
        lines
    }

    /// What stands on the screen when the text has come in pieces of so many characters.
    fn grown(text: &str, piece: usize) -> Vec<String> {
        let mut screen = screen(COLUMNS);
        let mut growing = Growing::new(How::Painted, size, None);
        let letters: Vec<char> = text.chars().collect();
        for part in letters.chunks(piece) {
            let part: String = part.iter().collect();
            screen.process(growing.push(&part).as_bytes());
        }
        screen.process(growing.finish().as_bytes());
        seen(&mut screen)
    }

    const TEXT: &str = "# Head\n\nSome **bold** words that are longer than a line of this narrow screen is.\n\n\
        - one\n- two\n\n  more of two\n- three\n\n```rust\nfn a() {\n    b();\n}\n```\n\n\
        | a | b |\n|---|---|\n| 1 | a long cell with words |\n\n> said\n\nThe end.";

    #[test]
    fn a_text_looks_the_same_however_it_came() {
        let whole = grown(TEXT, usize::MAX);
        assert!(whole.contains(&"  fn a() {".to_owned()), "{whole:#?}");
        for piece in [1, 2, 3, 7, 20] {
            assert_eq!(grown(TEXT, piece), whole, "{piece}");
        }
    }

    #[test]
    fn a_block_that_is_larger_than_the_screen_is_all_there() {
        let code = (0..40).map(|n| format!("line {n}\n"));
        let code = code.collect::<Vec<_>>().concat();
        let text = format!("Look:\n\n```\n{code}```\n\nDone.");
        let whole = grown(&text, usize::MAX);
        for n in 0..40 {
            assert!(whole.contains(&format!("  line {n}")), "{n}");
        }
        for piece in [1, 5, 50] {
            assert_eq!(grown(&text, piece), whole, "{piece}");
        }
    }

    #[test]
    fn blocks_that_stand_together_are_shown_once() {
        let items = (1..=30).map(|n| format!("{n}. step {n}\n"));
        let items = items.collect::<Vec<_>>().concat();
        let code = (0..40).map(|n| format!("line {n}\n"));
        let code = code.collect::<Vec<_>>().concat();
        for text in [
            format!("The steps are:\n{items}\nThat is all."),
            format!("Use this:\n```python\n{code}```"),
            format!("Use this:\n```python\n{code}```\nand then:\n{items}\n\nThe end.\n"),
        ] {
            let whole = grown(&text, usize::MAX);
            assert!(!whole.contains(&ANEW.to_owned()), "{whole:#?}");
            for piece in [1, 5, 50] {
                assert_eq!(grown(&text, piece), whole, "{piece}: {text}");
            }
        }
    }

    #[test]
    fn what_is_no_block_yet_is_not_lost() {
        for text in [
            "[Alice]: Hello there, friend.",
            "Before.\n\n[a]: http://e.org is what she said",
            "    code that is indented\n    and more",
        ] {
            let whole = grown(text, usize::MAX);
            for piece in 1..20 {
                assert_eq!(grown(text, piece), whole, "{piece}: {text}");
            }
        }
    }

    #[test]
    fn what_has_scrolled_away_and_changed_is_shown_again() {
        // A list becomes a loose one by its last item.
        let items = (0..20).map(|n| format!("- item {n}\n"));
        let items = items.collect::<Vec<_>>().concat();
        let text = format!("{items}\n- last\n");
        let shown = grown(&text, 3);
        assert!(shown.contains(&ANEW.to_owned()), "{shown:#?}");
        let after: Vec<_> = shown.iter().skip_while(|line| *line != ANEW).collect();
        for n in 0..20 {
            assert!(after.contains(&&format!("• item {n}")), "{n}: {shown:#?}");
        }
    }

    #[test]
    fn a_note_comes_and_goes() {
        let mut screen = screen(COLUMNS);
        let mut growing = Growing::new(How::Painted, size, None);
        screen.process(growing.push("One\n\nTwo").as_bytes());
        screen.process(growing.note(Some("away\u{1b}[2J")).as_bytes());
        assert_eq!(seen(&mut screen), ["One", "", "Two", "away␛[2J"]);
        screen.process(growing.note(None).as_bytes());
        assert_eq!(seen(&mut screen), ["One", "", "Two"]);
        screen.process(growing.push(" and\n\nthree").as_bytes());
        screen.process(growing.finish().as_bytes());
        assert_eq!(seen(&mut screen), ["One", "", "Two and", "", "three"]);
        assert_eq!(screen.screen().cursor_position(), (5, 0));
    }

    #[test]
    fn a_text_that_is_written_anew_says_so() {
        for how in [How::Painted, How::Typed] {
            let mut screen = screen(60);
            let mut growing = Growing::new(how, size, None);
            screen.process(growing.push("Half an ans").as_bytes());
            screen.process(growing.anew("A whole ").replace('\n', "\r\n").as_bytes());
            screen.process(growing.push("answer").as_bytes());
            let contents = screen.screen().contents();
            assert_eq!(
                contents,
                "Half an ans\n— the answer is written anew —\nA whole answer"
            );
        }
    }

    #[test]
    fn what_is_typed_is_what_came_and_harmless() {
        let mut growing = Growing::new(How::Typed, size, None);
        assert_eq!(growing.push("a **b** \u{1b}[2J"), "a **b** ␛[2J");
        assert_eq!(growing.finish(), "\n");
        assert_eq!(growing.push("\n"), "\n");
        assert_eq!(growing.finish(), "");
    }
}
