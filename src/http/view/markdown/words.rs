//! A paragraph of words alone, which needs no parser: what most polls of a growing answer find at its end. Where there is a
//! doubt, it is not one.

/// The text's HTML, as the parser and the sanitiser would make it. None: they are to be asked.
pub(super) fn paragraph(text: &str) -> Option<String> {
    // No mark of a block begins with a letter.
    let is_words = text.starts_with(char::is_alphabetic) && text.chars().all(is_of_words);
    // These two the parser takes for links.
    if !is_words || text.contains("://") || text.contains("www.") {
        return None;
    }
    let text = text.trim_end_matches(' ');
    Some(["<p>", text, "</p>\n"].concat())
}

/// What means nothing in Markdown, at least within a line that begins with a letter, and is written in HTML as it is.
fn is_of_words(letter: char) -> bool {
    letter.is_alphanumeric() || " ,.;:?!'\"()-–—’‘“”…/%+".contains(letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::growing::tests::{MARKS, config};
    use super::super::{blocks, limits, parsed};
    use super::*;

    /// The long way.
    fn by_the_parser(text: &str) -> String {
        let mut html = String::new();
        blocks::each(text, |block| html.push_str(&parsed(block)));
        html
    }

    #[test]
    fn words_are_a_paragraph_and_what_may_be_more_is_left_to_the_parser() {
        for text in [
            "Tea",
            "Tea, said the “other” (or: 5 % of them) – isn't it?  ",
            "Ça 中文. \"So\" -- 1. 2) a/b + c: d!",
        ] {
            assert_eq!(paragraph(text), Some(by_the_parser(text)), "{text}");
        }
        for text in [
            "",
            " a",
            "1. a",
            "- a",
            "a\nb",
            "a *b*",
            "a_b_",
            "`a`",
            "a & b",
            "a < b",
            "a|b",
            "a $1$",
            "a \\b",
            "a [b]",
            "a@b.example",
            "see http://a.example",
            "see www.a.example",
            "a\u{a0}b",
            "a\tb",
            "a\rb",
            "\u{feff}a",
        ] {
            assert_eq!(paragraph(text), None, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn they_are_what_the_parser_makes_of_them(
            words in prop::collection::vec(prop_oneof![
                4 => "[a-zA-Z0-9é中 ,.;:?!'\"()–—’“”…/%+-]{1,12}",
                2 => prop::sample::select(&MARKS[..]).prop_map(str::to_owned),
                1 => prop::sample::select(&["www.", "http", "https:", "ftp:", "mailto:", "//", "a@b", "\u{3000}", "ß", "١"][..])
                    .prop_map(str::to_owned),
                1 => any::<char>().prop_map(String::from),
            ], 1..8)
        ) {
            let text = words.concat();
            if limits::parses_fast(&text) && let Some(html) = paragraph(&text) {
                prop_assert_eq!(html, by_the_parser(&text));
            }
        }
    }
}
