//! Code in colours. The syntaxes name hundreds of scopes; a page has use for a dozen classes, which
//! keeps its HTML short and its style in one hand.

use std::fmt::Write;
use std::sync::LazyLock;

use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet};
use syntect::util::LinesWithEndings;

use super::safe;

/// Longer code is shown without colours.
const MAX_BYTES: usize = 16 * 1024;

/// A longer line is passed over: patterns may go over a line from each of its characters.
const MAX_LINE_BYTES: usize = 160;

/// A line with a longer word is passed over, for the same reason. A checksum is shorter.
const MAX_WORD_BYTES: usize = 80;

/// Which class a scope has: the first that fits. One without a class is shown like other text, whatever
/// is around it.
const CLASSES: [(&str, Option<&str>); 31] = [
    ("comment", Some("hl-comment")),
    ("string", Some("hl-string")),
    ("constant.numeric", Some("hl-number")),
    ("constant", Some("hl-constant")),
    ("keyword.operator.word", Some("hl-keyword")),
    ("keyword.operator", None),
    ("keyword", Some("hl-keyword")),
    ("storage.type.numeric", Some("hl-number")),
    ("storage", Some("hl-keyword")),
    ("entity.name.function", Some("hl-function")),
    ("entity.name.tag", Some("hl-tag")),
    ("entity.name.section", Some("hl-keyword")),
    ("entity.other.attribute-name", Some("hl-attribute")),
    ("entity.other.inherited-class", Some("hl-type")),
    ("entity.name.type", Some("hl-type")),
    ("entity.name.class", Some("hl-type")),
    ("entity.name.struct", Some("hl-type")),
    ("entity.name.enum", Some("hl-type")),
    ("entity.name.trait", Some("hl-type")),
    ("entity.name.impl", Some("hl-type")),
    ("support.function", Some("hl-function")),
    ("support.macro", Some("hl-function")),
    ("variable.function", Some("hl-function")),
    ("support.type.property-name", Some("hl-attribute")),
    ("support.type", Some("hl-type")),
    ("support.class", Some("hl-type")),
    ("support.constant", Some("hl-constant")),
    ("variable.language", Some("hl-constant")),
    ("variable", Some("hl-variable")),
    ("markup.inserted", Some("hl-inserted")),
    ("markup.deleted", Some("hl-deleted")),
];

/// What begins anew inside of something else: code within a string is not a string.
const FRESH: [&str; 4] = [
    "meta.interpolation",
    "meta.template.expression",
    "source",
    "text",
];

/// Names that are written after fences and that the syntaxes do not know.
const OTHER_NAMES: [(&str, &str); 14] = [
    ("console", "bash"),
    ("csharp", "cs"),
    ("docker", "dockerfile"),
    ("fsharp", "f#"),
    ("golang", "go"),
    ("json5", "json"),
    ("jsonc", "json"),
    ("jsx", "tsx"),
    ("node", "js"),
    ("objc", "objective-c"),
    // The other one begins as HTML, and waits for `<?php`.
    ("php", "php source"),
    ("regex", "re"),
    ("shell", "bash"),
    ("shellsession", "bash"),
];

/// Unpacked when the first code is coloured, and a language's patterns when the first of it is.
static SYNTAXES: LazyLock<SyntaxSet> = LazyLock::new(two_face::syntax::extra_newlines);

static SCOPES: LazyLock<Vec<(Scope, Option<&str>)>> = LazyLock::new(|| {
    let fresh = FRESH.map(|name| (name, None));
    let all = CLASSES.into_iter().chain(fresh);
    all.filter_map(|(name, class)| Some((Scope::new(name).ok()?, class)))
        .collect()
});

/// All classes that `html` may use.
pub(super) fn classes() -> impl Iterator<Item = &'static str> {
    CLASSES.into_iter().filter_map(|(_, class)| class)
}

/// The code as HTML, in `<span>`s with classes; `None` if it is to be shown without colours.
pub(super) fn html(code: &str, language: &str) -> Option<String> {
    if code.len() > MAX_BYTES {
        return None;
    }
    let mut state = ParseState::new(syntax(language)?);
    let mut scopes = ScopeStack::new();
    let mut painted = Painted::default();
    for line in LinesWithEndings::from(code) {
        if slow(line) {
            painted.add(line, class(&scopes));
            continue;
        }
        let mut from = 0;
        for (at, change) in state.parse_line(line, &SYNTAXES).ok()? {
            painted.add(line.get(from..at)?, class(&scopes));
            scopes.apply(&change).ok()?;
            from = at;
        }
        painted.add(line.get(from..)?, class(&scopes));
    }
    Some(painted.end())
}

/// Whether the patterns may take far longer for this line than for others.
fn slow(line: &str) -> bool {
    let of_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    let mut words = line.as_bytes().split(|&byte| !of_word(byte));
    line.len() > MAX_LINE_BYTES || words.any(|word| word.len() > MAX_WORD_BYTES)
}

fn syntax(language: &str) -> Option<&'static SyntaxReference> {
    let named = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(language);
    let other = OTHER_NAMES.iter().find(named).map(|(_, syntax)| *syntax);
    SYNTAXES.find_syntax_by_token(other.unwrap_or(language))
}

fn class(scopes: &ScopeStack) -> Option<&'static str> {
    let known = |scope: &Scope| {
        let fits = |(prefix, _): &&(Scope, _)| prefix.is_prefix_of(*scope);
        SCOPES.iter().find(fits).map(|(_, class)| *class)
    };
    scopes.as_slice().iter().rev().find_map(known).flatten()
}

/// HTML that is being written, with the class that is open at its end.
#[derive(Default)]
struct Painted {
    html: String,
    class: Option<&'static str>,
}

impl Painted {
    /// White space has no colour: it does not end a class, and begins none.
    fn add(&mut self, text: &str, class: Option<&'static str>) {
        if self.class != class && !text.trim().is_empty() {
            self.close();
            if let Some(class) = class {
                // Writing to a string does not fail.
                let _ = write!(self.html, "<span class=\"{class}\">");
            }
            self.class = class;
        }
        self.html.push_str(&safe::escape(text));
    }

    fn close(&mut self) {
        if self.class.take().is_some() {
            self.html.push_str("</span>");
        }
    }

    fn end(mut self) -> String {
        self.close();
        self.html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_has_few_classes_and_keeps_its_letters() {
        let code = "// two\nlet x = \"<b>\" + 1;\n";
        let html = html(code, "rust").expect("Rust");
        assert_eq!(
            html,
            "<span class=\"hl-comment\">// two\n</span>\
             <span class=\"hl-keyword\">let</span> x = \
             <span class=\"hl-string\">\"&lt;b&gt;\" </span>+ \
             <span class=\"hl-number\">1</span>;\n"
        );
    }

    #[test]
    fn languages_are_known_by_what_is_written_after_fences() {
        let common = "bash c c++ console cpp cs csharp css diff docker dockerfile elixir fsharp go \
            golang graphql haskell hcl html ini java javascript jinja js json json5 jsonc jsx \
            julia kotlin latex less lua make makefile markdown md nginx nix node objc ocaml perl \
            php proto protobuf py python r rb regex rs ruby rust scala scss sh shell \
            shellsession sql svelte swift terraform tex toml ts tsx typescript vim vue xml yaml \
            yml zig zsh Rust JSON";
        for language in common.split_whitespace() {
            assert!(syntax(language).is_some(), "{language}");
        }
        assert!(syntax("no-such-language").is_none());
    }

    #[test]
    fn no_syntax_or_too_much_code_is_no_colour() {
        assert_eq!(html("x", "no-such-language"), None);
        assert_eq!(html(&"x\n".repeat(MAX_BYTES), "rust"), None);
    }

    #[test]
    fn long_lines_and_words_are_passed_over() {
        for long in ["1 ".repeat(MAX_LINE_BYTES), "1".repeat(MAX_WORD_BYTES + 1)] {
            let html = html(&format!("let\n{long}\nlet\n"), "rust").expect("Rust");
            assert!(html.contains(&format!("\n</span>{long}\n")), "{html}");
            assert_eq!(html.matches("hl-keyword").count(), 2, "{html}");
        }
    }

    #[test]
    fn code_within_a_string_is_not_a_string() {
        let html = html("`a ${b} c`\n", "js").expect("JavaScript");
        assert!(!html.contains("${b"), "{html}");
        assert!(!html.contains("hl-string\">b"), "{html}");
    }

    #[test]
    fn every_scope_can_be_read() {
        assert_eq!(SCOPES.len(), CLASSES.len() + FRESH.len());
    }
}
