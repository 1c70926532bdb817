//! Texts that come from outside, as types that cannot hold what the rest could not bear.

use std::borrow::Cow;

/// PostgreSQL stores no U+0000 in a text, so none gets in.
const NUL: char = '\0';

const TITLE_CHARS: usize = 200;
const DERIVED_TITLE_CHARS: usize = 60;
const AGENT_CHARS: usize = 64;
const MODEL_CHARS: usize = 200;
const COMMENT_CHARS: usize = 2_000;
const QUOTATION_MARKS: [char; 12] = [
    '"', '\'', '“', '”', '„', '‘', '’', '«', '»', '「', '」', ' ',
];

/// Why a text is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("`{field}` is missing or empty")]
    Empty { field: &'static str },
    #[error("`{field}` is {bytes} bytes long; at most {limit} bytes of UTF-8 are taken")]
    TooLong {
        field: &'static str,
        bytes: usize,
        limit: usize,
    },
    #[error("`{field}` holds the character U+0000, which cannot be stored")]
    Nul { field: &'static str },
    #[error("`{field}` {rule}")]
    Shape {
        field: &'static str,
        rule: &'static str,
    },
}

impl TextError {
    /// The field that is wrong.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Empty { field }
            | Self::TooLong { field, .. }
            | Self::Nul { field }
            | Self::Shape { field, .. } => field,
        }
    }
}

/// What a user says: not blank, within the limit, storable, otherwise kept to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText(String);

impl MessageText {
    /// # Errors
    /// If the text is blank, longer than `limit` bytes of UTF-8, or holds U+0000.
    pub fn parse(text: String, limit: usize) -> Result<Self, TextError> {
        let field = "message";
        if text.trim().is_empty() {
            return Err(TextError::Empty { field });
        }
        if text.len() > limit {
            return Err(TextError::TooLong {
                field,
                bytes: text.len(),
                limit,
            });
        }
        refuse_nul(field, &text)?;
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A chat's first title: the beginning of its first line that says something.
    #[must_use]
    pub fn derive_title(&self) -> Title {
        let mut lines = self
            .0
            .lines()
            .map(|line| line.replace(char::is_control, " "));
        let line = lines.find(|line| !line.trim().is_empty());
        match line {
            Some(line) => Title(head(line.trim(), DERIVED_TITLE_CHARS).into_owned()),
            None => Title::of_new_chat(),
        }
    }
}

/// Whether a text that may be blank can be stored.
///
/// # Errors
/// If it is longer than `limit` bytes of UTF-8, or holds U+0000.
pub fn check_text(field: &'static str, text: &str, limit: usize) -> Result<(), TextError> {
    if text.len() > limit {
        return Err(TextError::TooLong {
            field,
            bytes: text.len(),
            limit,
        });
    }
    refuse_nul(field, text)
}

/// A chat's title: one line, never blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title(String);

impl Title {
    /// # Errors
    /// If the text is blank, longer than 200 characters, or holds a control character.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let field = "title";
        let text = text.trim();
        if text.is_empty() {
            return Err(TextError::Empty { field });
        }
        refuse_nul(field, text)?;
        if text.chars().any(char::is_control) {
            return Err(TextError::Shape {
                field,
                rule: "must be one line without control characters",
            });
        }
        if text.chars().count() > TITLE_CHARS {
            return Err(TextError::Shape {
                field,
                rule: "must be 200 characters long at most",
            });
        }
        Ok(Self(text.to_owned()))
    }

    /// What a model calls a chat: the first line of it, as plain words without quotation marks.
    ///
    /// # Errors
    /// If nothing is left of it.
    pub fn of_model(text: &str) -> Result<Self, TextError> {
        let lines = text.lines().map(plain_words);
        let line = lines.map(|line| {
            let line: String = line.chars().filter(|c| !c.is_control()).collect();
            line.trim_matches(QUOTATION_MARKS)
                .trim_end_matches(['.', ' '])
                .trim_matches(QUOTATION_MARKS)
                .trim()
                .to_owned()
        });
        let mut line = line.filter(|line| !line.is_empty());
        Self::parse(&head(&line.next().unwrap_or_default(), DERIVED_TITLE_CHARS))
    }

    /// The title of a chat in which nothing has been said.
    #[must_use]
    pub fn of_new_chat() -> Self {
        Self("New chat".to_owned())
    }

    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// An agent's alias: lower-case letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentAlias(String);

impl AgentAlias {
    /// # Errors
    /// If the text is not such a word, 64 characters long at most.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let field = "agent";
        if text.is_empty() {
            return Err(TextError::Empty { field });
        }
        let is_word = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if !is_word || text.len() > AGENT_CHARS {
            return Err(TextError::Shape {
                field,
                rule: "must be up to 64 lower-case letters, digits, `-` or `_`",
            });
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// The name of a model as its provider spells it. Whether there is such a model, the provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelName(String);

impl ModelName {
    /// # Errors
    /// If the text is blank, longer than 200 characters, or holds spaces or control characters.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let field = "model";
        if text.is_empty() {
            return Err(TextError::Empty { field });
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace())
            || text.chars().count() > MODEL_CHARS
        {
            return Err(TextError::Shape {
                field,
                rule: "must be up to 200 characters without spaces",
            });
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Why a user likes an answer, or does not: never blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment(String);

impl Comment {
    /// None if the text is blank.
    ///
    /// # Errors
    /// If the text is longer than 2,000 characters, or holds U+0000.
    pub fn parse(text: &str) -> Result<Option<Self>, TextError> {
        let field = "comment";
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        refuse_nul(field, text)?;
        if text.chars().count() > COMMENT_CHARS {
            return Err(TextError::Shape {
                field,
                rule: "must be 2000 characters long at most",
            });
        }
        Ok(Some(Self(text.to_owned())))
    }

    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

fn refuse_nul(field: &'static str, text: &str) -> Result<(), TextError> {
    if text.contains(NUL) {
        return Err(TextError::Nul { field });
    }
    Ok(())
}

/// A model's text as it can be stored: U+0000 becomes U+FFFD, all else stays.
#[must_use]
pub fn storable(text: &str) -> Cow<'_, str> {
    if text.contains(NUL) {
        Cow::Owned(text.replace(NUL, "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The first `chars` characters, with an ellipsis where something was left out.
#[must_use]
pub fn head(text: &str, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text[..end].trim_end())),
    }
}

/// Markdown as plain words on one line: without the commonest marks, which say nothing in a preview. It
/// is no parser: what only looks like a mark goes too.
#[must_use]
pub fn plain_words(markdown: &str) -> String {
    let lines = markdown.lines().map(without_line_marks);
    let words: Vec<String> = lines
        .flat_map(str::split_whitespace)
        .map(|word| word.replace(['*', '`', '|'], ""))
        .filter(|word| !word.is_empty() && !is_rule(word))
        .collect();
    words.join(" ")
}

/// The line behind the marks of quotations, headings, lists and tasks.
fn without_line_marks(line: &str) -> &str {
    let mut line = line.trim_start();
    loop {
        let rest = line.trim_start_matches(['>', '#']).trim_start();
        let rest = without_list_mark(rest);
        if rest.len() == line.len() {
            return line;
        }
        line = rest;
    }
}

fn without_list_mark(line: &str) -> &str {
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_numbered = number.len() < line.len();
    let marks: &[&str] = if is_numbered {
        &[". ", ") "]
    } else {
        &["- ", "* ", "+ ", "[ ] ", "[x] "]
    };
    let line_behind = if is_numbered { number } else { line };
    let behind = marks.iter().find_map(|mark| line_behind.strip_prefix(mark));
    behind.map_or(line, str::trim_start)
}

/// Whether it is a line drawn with signs: `---`, or below the head of a table `:--:`.
fn is_rule(word: &str) -> bool {
    word.contains("--") && word.chars().all(|c| matches!(c, '-' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_message_is_not_taken() {
        for blank in ["", " ", "\n\t "] {
            assert!(MessageText::parse(blank.to_owned(), 100).is_err());
        }
    }

    #[test]
    fn the_limit_counts_bytes_and_includes_its_end() {
        assert!(MessageText::parse("é".repeat(5), 10).is_ok());
        assert!(MessageText::parse("é".repeat(5) + "x", 10).is_err());
    }

    #[test]
    fn a_title_is_the_first_line_that_says_something() {
        let text = MessageText::parse("\n\n  Hello there \nmore".to_owned(), 100).unwrap();
        assert_eq!(text.derive_title().into_string(), "Hello there");
        let text = MessageText::parse("a\tb\u{1b}c".to_owned(), 100).unwrap();
        assert_eq!(text.derive_title().into_string(), "a b c");
        let text = MessageText::parse("\u{1}\n\u{7f}".to_owned(), 100).unwrap();
        assert_eq!(text.derive_title(), Title::of_new_chat());
    }

    #[test]
    fn a_models_title_is_its_first_line_without_marks() {
        let cases = [
            ("\n \"**Tea** and coffee.\"\nBecause", "Tea and coffee"),
            ("# Title", "Title"),
            ("„Über Tee“", "Über Tee"),
            ("It's \"so\" easy", "It's \"so\" easy"),
        ];
        for (text, title) in cases {
            assert_eq!(Title::of_model(text).unwrap().into_string(), title);
        }
        let long = Title::of_model(&"word ".repeat(100)).unwrap().into_string();
        assert!(long.chars().count() <= DERIVED_TITLE_CHARS + 1 && long.ends_with('…'));
        for nothing in ["", " \n", "\"\"", "**"] {
            assert!(Title::of_model(nothing).is_err(), "{nothing:?}");
        }
    }

    #[test]
    fn a_blank_comment_is_none_and_a_long_one_is_refused() {
        assert_eq!(Comment::parse(" \n"), Ok(None));
        let text = Comment::parse(" Why? ").unwrap().map(Comment::into_string);
        assert_eq!(text.as_deref(), Some("Why?"));
        assert!(Comment::parse(&"é".repeat(2_000)).is_ok());
        assert!(Comment::parse(&"é".repeat(2_001)).is_err());
        assert!(Comment::parse("a\0").is_err());
    }

    #[test]
    fn a_preview_has_words_and_no_marks() {
        let cases = [
            ("# **Tea** or `coffee`?\n\n> Both", "Tea or coffee? Both"),
            (
                "1. one\n2) two\n- [x] three\n* four\n+ five",
                "one two three four five",
            ),
            ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a b 1 2"),
            ("```rust\nlet x = 1;\n```", "rust let x = 1;"),
            ("> - ## nested", "nested"),
            (
                "2026 was 10 - 3, a-b and 1.5",
                "2026 was 10 - 3, a-b and 1.5",
            ),
            ("Text\n\n---\n\nmore -- and 字", "Text more and 字"),
            ("snake_case stays; C# too", "snake_case stays; C# too"),
            (" \n ", ""),
            ("-", "-"),
        ];
        for (markdown, words) in cases {
            assert_eq!(plain_words(markdown), words, "{markdown:?}");
        }
    }

    #[test]
    fn a_head_never_splits_a_character() {
        assert_eq!(head("äöü", 2), "äö…");
        assert_eq!(head("äöü", 3), "äöü");
    }
}
