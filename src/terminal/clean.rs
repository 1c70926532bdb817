//! What others have written, made harmless for a terminal. A model, a chat's other users and a server may put anything into
//! a text: an escape sequence in it would colour the screen, name the window, write to the clipboard, or answer
//! in the reader's name.

use std::fmt::Write as _;

/// The same text without anything that a terminal obeys. Characters of control are shown as their pictures
/// (`␛` for an escape), but for line breaks and tabs; carriage returns and marks that turn the order of letters around are left out.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter_map(harmless).collect()
}

/// The same in one line.
pub(super) fn clean_line(text: &str) -> String {
    let in_line = |c| if matches!(c, '\n' | '\t') { ' ' } else { c };
    text.chars().filter_map(harmless).map(in_line).collect()
}

fn harmless(c: char) -> Option<char> {
    match c {
        '\n' | '\t' => Some(c),
        '\0'..='\u{c}' | '\u{e}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)),
        '\u{7f}' => Some('\u{2421}'),
        '\u{80}'..='\u{9f}' => Some(char::REPLACEMENT_CHARACTER),
        '\u{2028}' | '\u{2029}' => Some('\n'),
        // What is written from right to left needs none of them, and what is not is misread with them.
        '\r' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}' => {
            None
        }
        _ => Some(c),
    }
}

/// JSON whose strings have nothing that a terminal obeys: what JSON leaves as it is, is spelt out.
pub(super) fn clean_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        let is_obeyed = matches!(
            c,
            '\u{7f}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        if is_obeyed {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        let hostile =
            "a\u{1b}[31mb\u{1b}]0;title\u{7}c\u{9b}2Jd\u{8}\u{7f}\r\ne\tf\u{202e}g\u{2028}h";
        let harmless = clean(hostile);
        assert_eq!(harmless, "a␛[31mb␛]0;title␇c\u{fffd}2Jd␈␡\ne\tfg\nh");
        let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        for code in 0..0x3000 {
            let c = char::from_u32(code).unwrap_or('x');
            assert!(!clean(&c.to_string()).contains(is_control), "{code:x}");
            assert!(!clean_line(&c.to_string()).contains(char::is_control));
        }
    }

    #[test]
    fn what_people_write_stays() {
        let text = "Grüße, שלום, 你好 👩‍👩‍👧 – e\u{301}\n\tcode";
        assert_eq!(clean(text), text);
    }

    #[test]
    fn json_says_the_same_without_what_terminals_obey() {
        let text = "\u{1b}[31m \u{9b}2J \u{7f} ü";
        let json = serde_json::to_string(text).expect("a string");
        let clean = clean_json(&json);
        assert!(!clean.contains(char::is_control), "{clean:?}");
        let back: String = serde_json::from_str(&clean).expect("JSON");
        assert_eq!(back, text);
    }
}
