//! Where the output goes: a terminal or a pipe, in colours or without.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anstyle::Style;
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use url::Url;

use super::clean::clean_line;
use super::growing::{Growing, How};
use super::lines::Line;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);
/// Of a terminal that does not say how large it is.
const USUAL_SIZE: (usize, usize) = (24, 80);

/// Whether there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// What the output is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    pub is_terminal: bool,
    has_colours: bool,
    /// Notes are seen by somebody.
    has_notes: bool,
    how: How,
}

impl Screen {
    /// `is_raw`: texts are shown as they are, not rendered.
    pub fn find(colour: Colour, is_raw: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let has_colours = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => is_terminal && !is_dumb && !is_set("NO_COLOR"),
        };
        let how = match (is_terminal, has_colours && !is_raw) {
            (true, true) if !is_dumb => How::Painted,
            (true, _) => How::Typed,
            (false, true) => How::Rendered,
            (false, false) => How::Silent,
        };
        Self {
            is_terminal,
            has_colours,
            has_notes: io::stderr().is_terminal(),
            how,
        }
    }

    /// The same where nothing is shown before its end.
    pub fn silent(self) -> Self {
        Self {
            how: How::Silent,
            ..self
        }
    }

    pub fn growing(self, base: &str) -> Growing {
        let base = Url::parse(&format!("{base}/")).ok();
        Growing::new(self.how, size, base)
    }

    pub fn has_colours(self) -> bool {
        self.has_colours
    }

    /// Whether a text is written to the letter, once it is certain.
    pub fn is_silent(self) -> bool {
        self.how == How::Silent
    }

    /// What a person is told besides: on standard error, and only if somebody sees it.
    pub fn note(self, words: &str) {
        if self.has_notes && !words.is_empty() {
            complain(&self.styled(words, super::lines::DIM));
        }
    }

    /// A line of words of ours or of others, in a style if there are any.
    pub fn styled(self, words: &str, style: Style) -> String {
        if self.has_colours {
            Line::of(&clean_line(words), style).painted()
        } else {
            clean_line(words)
        }
    }

    /// What turns while nothing has come; it is not there where nobody sees it.
    pub fn spinner(self, words: &'static str) -> Spinner {
        if !(self.is_terminal && self.has_notes && self.how == How::Painted) {
            return Spinner(None);
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(words);
        bar.enable_steady_tick(TICK);
        Spinner(Some(bar))
    }
}

/// What shows that something is going on. It goes when it is dropped.
pub(super) struct Spinner(Option<ProgressBar>);

impl Spinner {
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    pub fn say(&self, words: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(clean_line(words));
        }
    }

    pub fn clear(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.clear();
    }
}

/// While it is there, what is typed is not shown: it would stand in the middle of what is painted. It is kept for the next
/// line that is read.
pub(super) struct Unseen(Option<Termios>);

impl Unseen {
    pub fn begin(screen: Screen) -> Self {
        if screen.how != How::Painted {
            return Self(None);
        }
        let Ok(before) = tcgetattr(io::stdin()) else {
            return Self(None);
        };
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        let done = tcsetattr(io::stdin(), OptionalActions::Now, &unseen);
        Self(done.ok().map(|()| before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A terminal that has gone away needs it no more.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Rows and columns of the terminal.
fn size() -> (usize, usize) {
    let of_terminal = Term::stdout()
        .size_checked()
        .map(|(rows, columns)| (rows.into(), columns.into()));
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    of_terminal.unwrap_or_else(|| (USUAL_SIZE.0, columns().unwrap_or(USUAL_SIZE.1)))
}

/// Writes to standard output, at once.
///
/// # Errors
/// If it cannot be written, as when nobody reads any more.
pub(super) fn put(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to standard error, if that is possible.
pub(super) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
