//! The rules of the search: what its words are, and which piece of a text is shown for them.

/// Characters of a query that count.
const QUERY_CHARS: usize = 200;
/// Characters of a snippet, and how many of them stand before the first word that was found.
const SNIPPET_CHARS: usize = 160;
const LEAD_CHARS: usize = 40;

/// Words that are looked for at most: each costs the database a look of its own.
const MAX_WORDS: usize = 12;

/// What is looked for: each of the words, as the beginning of one. They are nothing but letters, digits
/// and accents, so no query of a database can be made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchWords(Vec<String>);

impl SearchWords {
    /// The first words of a query's first 200 characters, in lower case; what stands between them separates
    /// them.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let query: String = query.chars().take(QUERY_CHARS).collect();
        let words = query.split(|letter| !is_of_word(letter));
        let words = words.filter(|word| word.contains(char::is_alphanumeric));
        Self(words.take(MAX_WORDS).map(str::to_lowercase).collect())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// A part of a snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    /// It is what was looked for.
    pub is_match: bool,
}

/// The text around the first word that was found, on one line. Its beginning where no word is found
/// as it is spelt: a database may see more in it, such as letters without their accents.
#[must_use]
pub fn snippet(text: &str, words: &SearchWords) -> Vec<Piece> {
    let found = matches(text, words).next().map_or(0, |(at, _)| at);
    let begin = text[..found].char_indices().rev().nth(LEAD_CHARS - 1);
    let begin = begin.map_or(0, |(at, _)| next_word(text, at, found));
    let length = text[begin..].char_indices().nth(SNIPPET_CHARS);
    let end = length.map_or(text.len(), |(length, _)| begin + length);
    let line = one_line(&text[begin..end]);
    let before = if begin > 0 { "…" } else { "" };
    let after = if end < text.len() { "…" } else { "" };
    pieces(&format!("{before}{line}{after}"), words)
}

fn is_of_word(letter: char) -> bool {
    // An accent may be a letter of its own behind the one that bears it.
    letter.is_alphanumeric() || ('\u{300}'..='\u{36F}').contains(&letter)
}

/// Where the first whole word begins from `from` on, but no later than at `limit`.
fn next_word(text: &str, from: usize, limit: usize) -> usize {
    let gap = text[from..limit].find(char::is_whitespace);
    gap.map_or(from, |gap| {
        let rest = &text[from + gap..limit];
        limit - rest.trim_start().len()
    })
}

fn one_line(text: &str) -> String {
    let is_gap = |letter: char| letter.is_whitespace() || letter.is_control();
    let words = text.split(is_gap).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn pieces(line: &str, words: &SearchWords) -> Vec<Piece> {
    let piece = |text: &str, is_match| Piece {
        text: text.to_owned(),
        is_match,
    };
    let (mut pieces, mut done) = (Vec::new(), 0);
    for (at, length) in matches(line, words) {
        if at > done {
            pieces.push(piece(&line[done..at], false));
        }
        done = at + length;
        pieces.push(piece(&line[at..done], true));
    }
    if done < line.len() {
        pieces.push(piece(&line[done..], false));
    }
    pieces
}

/// Where words of the text begin with one of these words, and over how many bytes; the longest of
/// several.
fn matches<'a>(text: &'a str, words: &'a SearchWords) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut was_of_word = false;
    let starts = text.char_indices().filter_map(move |(at, letter)| {
        let is_start = is_of_word(letter) && !was_of_word;
        was_of_word = is_of_word(letter);
        is_start.then_some(at)
    });
    starts.filter_map(|at| {
        let lengths = words.iter().filter_map(|word| begins(&text[at..], word));
        lengths.max().map(|length| (at, length))
    })
}

/// Bytes at the beginning of the text that say the same as the word, in whichever case.
fn begins(text: &str, word: &str) -> Option<usize> {
    let mut left = word.chars().peekable();
    for (at, letter) in text.char_indices() {
        for lower in letter.to_lowercase() {
            match left.peek() {
                None => break,
                Some(wanted) if *wanted != lower => return None,
                Some(_) => left.next(),
            };
        }
        if left.peek().is_none() {
            return Some(at + letter.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(query: &str) -> Vec<String> {
        SearchWords::parse(query).0
    }

    /// What is found stands in brackets.
    fn shown(text: &str, query: &str) -> String {
        let pieces = snippet(text, &SearchWords::parse(query));
        let parts = pieces.iter().map(|piece| {
            if piece.is_match {
                format!("[{}]", piece.text)
            } else {
                piece.text.clone()
            }
        });
        parts.collect()
    }

    #[test]
    fn a_query_is_its_words_and_nothing_of_its_marks() {
        assert_eq!(
            words("Tea, \"coffee\"* & NEAR(x)"),
            ["tea", "coffee", "near", "x"]
        );
        assert_eq!(
            words("größe\0字典 e\u{301}t"),
            ["größe", "字典", "e\u{301}t"]
        );
        for none in ["", " ", "\"*:'&|!()", "🌼", "\u{301}"] {
            assert!(words(none).is_empty(), "{none:?}");
        }
        assert_eq!(words(&"x".repeat(300))[0].len(), 200);
    }

    #[test]
    fn words_are_found_by_their_beginnings_in_either_case() {
        assert_eq!(shown("Retea tea TEAPOT", "tea"), "Retea [tea] [TEA]POT");
        assert_eq!(shown("ÄRGER ärgern", "ärger"), "[ÄRGER] [ärger]n");
        assert_eq!(shown("one two", "t on o"), "[on]e [t]wo");
        assert_eq!(shown("İstanbul", "i"), "[İ]stanbul");
        assert_eq!(shown("Ⱥbc", "ⱥb"), "[Ⱥb]c");
    }

    #[test]
    fn what_is_shown_stands_around_the_first_word_on_one_line() {
        assert_eq!(shown("a\n\n  b\t\u{1b}c", "b"), "a [b] c");
        let text = format!("{} needle {}", "hay ".repeat(100), "straw ".repeat(100));
        let line = shown(&text, "needle");
        assert!(
            line.starts_with("…hay hay") && line.ends_with('…'),
            "{line}"
        );
        assert!(
            line.contains(" [needle] straw") && line.chars().count() <= 170,
            "{line}"
        );
    }

    #[test]
    fn without_a_word_as_it_is_spelt_the_beginning_is_shown() {
        let text = format!("Café {}", "x ".repeat(200));
        let line = shown(&text, "cafe");
        assert!(line.starts_with("Café x") && line.ends_with('…'), "{line}");
        assert_eq!(shown("", "x"), "");
    }

    proptest! {
        #[test]
        fn any_text_gives_a_short_line(text in "(\\PC|\\s|字|é|İ){0,400}", query in "\\PC{0,12}") {
            let line: String = snippet(&text, &SearchWords::parse(&query)).into_iter().map(|p| p.text).collect();
            prop_assert!(line.chars().count() <= SNIPPET_CHARS + 2);
            prop_assert!(!line.contains(char::is_control));
            let mut rest = text.as_str();
            for word in line.trim_matches('…').split(' ').filter(|word| !word.is_empty()) {
                let at = rest.find(word);
                prop_assert!(at.is_some(), "{word:?} is of the text");
                rest = &rest[at.unwrap()..];
            }
        }
    }
}
