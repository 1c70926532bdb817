//! The HTML of an answer that is still being written. Nothing is remembered between two polls: a
//! client gives back from where on its text may still change, and the next poll renders from there.
//!
//! A block is over when a further one has begun, since Markdown never goes back beyond the last
//! block, and a paragraph is already at a blank line. That is known of complete lines only: `#` after
//! a paragraph is a part of it if the line goes on `x`, and a heading if it goes on ` x`.

use super::blocks::{self, Block};
use super::{finished, limits, parsed, words};

/// More than this that may still change is not rendered at every poll.
pub const MAX_OPEN_BYTES: usize = 32 * 1024;

/// A growing text as HTML.
#[derive(Debug, PartialEq, Eq)]
pub struct Growing {
    /// The HTML of all blocks that nothing appended can change: to be appended once.
    pub closed: String,
    /// What follows them: to take the place of what was open before.
    pub open: Open,
    /// How many bytes of the text's end have become `open`. The next poll's text begins there.
    pub open_bytes: usize,
}

/// The end of a growing text, which may still become something else.
#[derive(Debug, PartialEq, Eq)]
pub enum Open {
    /// As far as it is.
    Html(String),
    /// It is so long that its text is better appended to what is there than rendered anew.
    Plain,
}

/// Renders a text that begins where a block does: with the first one, or `open_bytes` before the end
/// of what was rendered before.
///
/// Time and answer grow with the text given, which is what was open before and what came since.
pub fn growing(text: &str) -> Growing {
    if !limits::parses_fast(text) {
        return Growing {
            closed: String::new(),
            open: Open::Plain,
            open_bytes: text.len(),
        };
    }
    let complete = text.rfind('\n').map_or(0, |end| end + 1);
    let (closed, closed_bytes) = match &text[..complete] {
        // Most of the time there is nothing to parse twice.
        "" => (String::new(), 0),
        lines => blocks::all(lines, |blocks| closed(blocks, complete)),
    };
    let rest = &text[closed_bytes..];
    Growing {
        closed,
        open: open(rest),
        open_bytes: rest.len(),
    }
}

/// The HTML of the blocks that are over, and the bytes they come from.
fn closed(blocks: &[Block<'_>], complete: usize) -> (String, usize) {
    let (over, bytes) = match blocks {
        [] => (blocks, 0),
        [.., last] if last.ends_with_its_line() || last.is_paragraph_before_a_blank_line() => {
            (blocks, complete)
        }
        [over @ .., before, last] if last.may_have_been_of(before) => (over, before.start()),
        [over @ .., last] => (over, last.start()),
    };
    (over.iter().map(finished).collect(), bytes)
}

fn open(text: &str) -> Open {
    if text.len() > MAX_OPEN_BYTES {
        return Open::Plain;
    }
    // What may still change is not worth remembering, nor colouring.
    let html = words::paragraph(text).unwrap_or_else(|| {
        let mut html = String::with_capacity(text.len() * 2);
        blocks::each(text, |block| html.push_str(&parsed(block)));
        html
    });
    Open::Html(html)
}

/// Whether `growing`, step by step, and `to_html` of what is open at the end, give `to_html` of the
/// whole text. If not, a client replaces all it has with that.
///
/// No block knows of another, with these exceptions: an address that is defined in one is used in
/// others, also before it; a mark of the byte order is dropped where a text begins and nowhere else;
/// and a text that is shown as it is because of one line is so from its start.
pub fn blocks_stand_alone(text: &str) -> bool {
    let beyond_start = text.strip_prefix('\u{feff}').unwrap_or(text);
    !text.contains("]:") && !beyond_start.contains('\u{feff}') && limits::parses_fast(text)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::fuzz::grown;
    use super::super::to_html;
    use super::*;

    fn closed_and_open(text: &str) -> (String, String) {
        let step = growing(text);
        match step.open {
            Open::Html(open) => (step.closed, open),
            Open::Plain => panic!("plain: {text}"),
        }
    }

    #[test]
    fn a_block_is_closed_when_another_has_begun() {
        let (closed, open) = closed_and_open("a\n\nb\n");
        assert_eq!(
            (closed.as_str(), open.as_str()),
            ("<p>a</p>\n", "<p>b</p>\n")
        );
    }

    #[test]
    fn a_paragraph_is_closed_by_a_blank_line() {
        for blank in ["\n\n", "\n \t\n", "\r\n\r\n", "\n\n\n", "\n\u{2003}\n\n"] {
            let step = growing(&format!("a\nb{blank}c"));
            assert_eq!(step.open_bytes, 1, "{blank:?}");
            assert_eq!(step.open, Open::Html("<p>c</p>\n".to_owned()));
        }
        // A line of other spaces is not blank: the paragraph goes on in it.
        for text in ["a\n\u{2003}\nc", "a\n\u{c}\nc", "a\n \nb"] {
            let is_open = growing(text).closed.is_empty();
            assert_eq!(is_open, text != "a\n \nb", "{text:?}");
        }
    }

    #[test]
    fn the_last_line_may_still_become_anything() {
        for text in ["b\n#", "b\n---", "a | b\n- | -", "- a\n\nb"] {
            let step = growing(text);
            assert_eq!(
                (step.closed.as_str(), step.open_bytes),
                ("", text.len()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_heading_a_rule_and_a_fence_are_closed_by_their_last_line() {
        for text in ["# a\n", "a\n===\n", "---\n", "```\na\n```\n", "# a\n\n"] {
            let step = growing(text);
            assert_eq!(step.open_bytes, 0, "{text}");
            assert_eq!(step.closed, to_html(text));
            assert_eq!(step.open, Open::Html(String::new()));
        }
    }

    #[test]
    fn a_fence_that_is_open_is_code_without_colours() {
        let (closed, open) = closed_and_open("```rust\nlet x");
        assert_eq!(closed, "");
        assert!(open.contains("<code>let x</code>"), "{open}");
    }

    #[test]
    fn a_list_is_one_block() {
        let step = growing("- a\n\n- b\n\n  c\n");
        assert_eq!(step.closed, "");
    }

    #[test]
    fn the_next_poll_begins_where_a_block_does() {
        let text = "a\n\nb\nc";
        let step = growing(text);
        assert_eq!(&text[text.len() - step.open_bytes..], "b\nc");
    }

    #[test]
    fn what_is_open_for_long_is_left_to_the_client() {
        let step = growing(&("a\n\n".to_owned() + &"b\n".repeat(MAX_OPEN_BYTES)));
        assert_eq!(step.open, Open::Plain);
        assert_eq!(step.closed, "<p>a</p>\n");
        assert_eq!(step.open_bytes, 2 * MAX_OPEN_BYTES);
    }

    #[test]
    fn what_makes_blocks_depend_on_each_other_is_seen() {
        assert!(blocks_stand_alone("\u{feff}a [b]\n\n- [x] c: d\n"));
        for text in [
            "[a]\n\n[a]: /b\n".to_owned(),
            "a\n\n\u{feff}b\n".to_owned(),
            "a\n\n".to_owned() + &">".repeat(100),
        ] {
            assert!(!blocks_stand_alone(&text), "{text}");
        }
    }

    #[test]
    fn pieces_and_the_whole_are_alike() {
        for pieces in [
            &["b\n#", "x\n", "\n#"][..],
            &["a\n-", "--\n"],
            &["a\n-", " b\n"],
            &["a | b\n", "- | -\n", "1 | 2\n\n", "c"],
            &["```", "a`b\n", "c\n\n```\n", "d\n"],
            &["# a\r", "\nb\r", "\n\r\n"],
            &["\u{feff}", "# a\n\n", "b"],
            &["a\n    b|c\n-|-\n", "d"],
            &["a\n2) b|c\n-|-\n", "d"],
            &["- a\n\n", "\n\n  b\n", "\n\nc\n", "d"],
            &["    a\n\n", "\n    b\n", "c\n\n"],
            &["<div>\n", "\n# a\n", "<!-- \n\n", " -->\nb"],
        ] {
            assert_eq!(grown(pieces), to_html(&pieces.concat()), "{pieces:?}");
        }
        let deep: String = (0..60).map(|level| "  ".repeat(level) + "- a\n").collect();
        let pieces = ["a\n\n", &deep, " \n\n", "b\n\n", &deep];
        assert_eq!(grown(&pieces), to_html(&pieces.concat()));
    }

    /// What means something in Markdown, whole and in part.
    pub const MARKS: [&str; 88] = [
        "\n",
        "\n",
        "\n",
        "\n\n",
        "\n\n",
        "\r\n",
        "\r",
        "\n\n\n",
        " ",
        "  ",
        "    ",
        "\t",
        "a",
        "b c",
        "é",
        "中",
        "🦀",
        "# ",
        "## a",
        "#",
        "---",
        "--",
        "===",
        "=",
        "***",
        "* * *",
        "- ",
        "-",
        "+ ",
        "* ",
        "1. ",
        "2) ",
        "1",
        "> ",
        ">",
        "```",
        "````",
        "``",
        "`",
        "~~~",
        "```rust",
        "``` a`b",
        "\n```\n",
        "\n```rust\nlet x;\n",
        "\n~~~\n",
        "|",
        "| a | b |",
        "\n| - | - |\n",
        "a|b\n-|-\n",
        "|-",
        ":-:|",
        "- [x] ",
        "[ ] ",
        "*",
        "**",
        "_",
        "__",
        "~~",
        "[",
        "]",
        "](",
        "[a](b)",
        "![a](b)",
        "(",
        ")",
        "<",
        "<a",
        "<div>",
        "</div>",
        "<!--",
        "-->",
        "<br>",
        "<?",
        "<script>",
        "</script>",
        "$",
        "$$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "\\",
        "https://e.example",
        "www.e.example",
        "a@e.example",
        "&amp;",
        "\u{feff}",
        "[a]: /b",
    ];

    /// Some hundred texts in each run of the tests, and as many as one likes by `PROPTEST_CASES`.
    pub fn config() -> ProptestConfig {
        let wanted = std::env::var("PROPTEST_CASES").ok();
        ProptestConfig {
            cases: wanted.and_then(|cases| cases.parse().ok()).unwrap_or(500),
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    fn pieces() -> impl Strategy<Value = Vec<String>> {
        let mark = prop_oneof![
            12 => prop::sample::select(&MARKS[..]).prop_map(str::to_owned),
            1 => "[ -~\\t\\n]{0,8}",
        ];
        let piece = prop::collection::vec(mark, 1..4).prop_map(|marks| marks.concat());
        prop::collection::vec(piece, 0..16)
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_text_that_grew_is_the_text(pieces in pieces()) {
            let pieces: Vec<_> = pieces.iter().map(String::as_str).collect();
            let text = pieces.concat();
            let grown = grown(&pieces);
            if blocks_stand_alone(&text) {
                prop_assert_eq!(grown, to_html(&text));
            }
        }

        #[test]
        fn cuts_within_marks_change_nothing(pieces in pieces()) {
            let text = pieces.concat();
            let letters: Vec<_> = text.split("").collect();
            let grown = grown(&letters);
            if blocks_stand_alone(&text) {
                prop_assert_eq!(grown, to_html(&text));
            }
        }
    }
}
