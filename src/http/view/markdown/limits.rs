//! What is not given to the parser. It is linear in nearly everything; these are the shapes of text
//! that make it slow. Nobody writes them by chance, so the whole text is then shown as it is.

/// More marks of quotes and list items than this at the start of one line: each following line
/// would be held against each of them.
const MAX_MARKS_PER_LINE: usize = 40;

/// More `\(` and `\[` than this between two blank lines: from each of them the rest of the paragraph
/// is searched for its end.
const MAX_FORMULAS_PER_PARAGRAPH: usize = 500;

/// Whether the parser needs about as long for the text as for others of its length.
pub(super) fn parses_fast(text: &str) -> bool {
    let mut formulas = 0;
    for line in text.split(['\n', '\r']) {
        if line.trim().is_empty() {
            formulas = 0;
            continue;
        }
        formulas += line.matches("\\(").count() + line.matches("\\[").count();
        if formulas > MAX_FORMULAS_PER_PARAGRAPH || marks(line) > MAX_MARKS_PER_LINE {
            return false;
        }
    }
    true
}

/// How many quotes and list items the line may begin.
fn marks(line: &str) -> usize {
    let bytes = line.as_bytes();
    let mut marks = 0;
    let mut rest = bytes;
    while let [byte, after @ ..] = rest {
        match byte {
            b' ' | b'\t' | b'0'..=b'9' => {}
            b'>' => marks += 1,
            b'-' | b'+' | b'*' | b'.' | b')' if matches!(after, [] | [b' ' | b'\t', ..]) => {
                marks += 1;
            }
            _ => return marks,
        }
        rest = after;
    }
    // `- - -` to the end of a line is a rule and no lists.
    if rule(bytes) { 0 } else { marks }
}

fn rule(line: &[u8]) -> bool {
    let mut marks = line.iter().filter(|byte| !matches!(byte, b' ' | b'\t'));
    let Some(first @ (b'-' | b'*')) = marks.next() else {
        return false;
    };
    marks.all(|mark| mark == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_parsed() {
        for text in [
            "",
            "> > - a\n  1. b\n",
            &"- ".repeat(200),
            &"-".repeat(200),
            &"\\(x\\) ".repeat(400),
            &"a \\(x\\)\n\n".repeat(2_000),
        ] {
            assert!(parses_fast(text), "{text}");
        }
    }

    #[test]
    fn what_would_be_slow_is_not() {
        for text in [
            ">".repeat(50),
            "- ".repeat(50) + "a",
            "a\n".to_owned() + &"1. ".repeat(50),
            "\\(".repeat(600),
        ] {
            assert!(!parses_fast(&text), "{text}");
        }
    }
}
