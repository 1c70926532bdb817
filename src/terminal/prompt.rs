//! The line that is typed in `pollen chat`: editing, history, completion of commands, several lines.

use std::borrow::Cow;
use std::path::PathBuf;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, CompletionType, Config, Context, Editor, EventHandler, Helper, KeyCode, KeyEvent,
    Modifiers,
};

use super::clean::clean_line;
use super::lines::{Line, YOU};

/// Lines that are remembered.
const HISTORY: usize = 2_000;
const PROMPT: &str = "› ";

/// What a first word can be, and what can follow it.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    /// With their slashes: (what is typed, what it does).
    pub commands: Vec<(String, String)>,
    /// What may follow a command: (command, words).
    pub arguments: Vec<(String, Vec<String>)>,
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Text(String),
    /// Ctrl-C: the line is thrown away.
    Nothing,
    /// Ctrl-D.
    End,
}

/// The editor. It is used by one thread at a time.
pub(super) struct Prompt {
    editor: Editor<Words, DefaultHistory>,
    history: Option<PathBuf>,
    has_colours: bool,
}

impl Prompt {
    /// `history`: a file that is there.
    pub fn new(
        words: Words,
        history: Option<PathBuf>,
        has_colours: bool,
    ) -> rustyline::Result<Self> {
        let config = Config::builder()
            .max_history_size(HISTORY)?
            .history_ignore_dups(true)?
            // What begins with a space is not remembered, as in shells.
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(words));
        let newline = KeyEvent(KeyCode::Enter, Modifiers::ALT);
        editor.bind_sequence(newline, EventHandler::Simple(Cmd::Newline));
        if let Some(file) = &history {
            // A conversation needs none: what cannot be read is not there.
            let _ = editor.load_history(file);
        }
        Ok(Self {
            editor,
            history,
            has_colours,
        })
    }

    /// Waits for a line, blocking this thread.
    pub fn read(&mut self) -> rustyline::Result<Typed> {
        let prompt = if self.has_colours {
            Line::of(PROMPT, YOU).painted()
        } else {
            PROMPT.to_owned()
        };
        let line = match self.editor.readline(&(PROMPT, prompt.as_str())) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => return Ok(Typed::Nothing),
            Err(ReadlineError::Eof) => return Ok(Typed::End),
            Err(error) => return Err(error),
        };
        let text = continued(&line);
        if !text.trim().is_empty() {
            self.editor.add_history_entry(&text)?;
            // What was typed is sent, whether it can be remembered or not.
            if let Some(file) = &self.history
                && self.editor.append_history(file).is_err()
            {
                self.history = None;
            }
        }
        Ok(Typed::Text(text))
    }
}

/// A backslash at the end of a line joins it to the next one, which stays a line of its own.
fn continued(line: &str) -> String {
    line.replace("\\\n", "\n")
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..at];
        if !typed.starts_with('/') {
            return Ok((0, Vec::new()));
        }
        let Some((command, begun)) = typed.split_once(' ') else {
            let fitting = self
                .commands
                .iter()
                .filter(|(word, _)| word.starts_with(typed));
            let pairs = fitting.map(|(word, does)| Pair {
                display: clean_line(&format!("{word}  {does}")),
                replacement: format!("{} ", clean_line(word)),
            });
            return Ok((0, pairs.collect()));
        };
        let of_it = self.arguments.iter().filter(|(word, _)| word == command);
        let fitting = of_it
            .flat_map(|(_, words)| words)
            .filter(|word| word.starts_with(begun));
        let pairs = fitting.map(|word| Pair {
            display: clean_line(word),
            replacement: clean_line(word),
        });
        Ok((command.len() + 1, pairs.collect()))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        if context.input().ends_with('\\') {
            return Ok(ValidationResult::Incomplete);
        }
        Ok(ValidationResult::Valid(None))
    }
}

impl Highlighter for Words {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Borrowed(hint)
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_what_follows_them_are_completed() {
        let words = Words {
            commands: ["/model", "/me", "/title"]
                .map(|word| (word.to_owned(), "does".to_owned()))
                .to_vec(),
            arguments: vec![(
                "/model".to_owned(),
                vec!["gpt-5".to_owned(), "demo".to_owned()],
            )],
        };
        let history = DefaultHistory::new();
        let complete = |line: &str| {
            let found = words.complete(line, line.len(), &Context::new(&history));
            let (start, pairs) = found.expect("words");
            let words: Vec<String> = pairs.into_iter().map(|pair| pair.replacement).collect();
            (start, words)
        };
        assert_eq!(
            complete("/m"),
            (0, vec!["/model ".to_owned(), "/me ".to_owned()])
        );
        assert_eq!(complete("/t"), (0, vec!["/title ".to_owned()]));
        assert_eq!(complete("/model g"), (7, vec!["gpt-5".to_owned()]));
        assert_eq!(complete("words /m").1, Vec::<String>::new());
    }

    #[test]
    fn lines_are_joined_at_backslashes() {
        assert_eq!(continued("a\\\nb\nc\\d"), "a\nb\nc\\d");
    }
}
