//! Code in a terminal's sixteen colours, by the syntaxes that the page uses too.

use std::sync::LazyLock;

use anstyle::{AnsiColor, Style};
use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxSet};
use syntect::util::LinesWithEndings;

use super::lines::{DIM, Line, PLAIN, Span};

/// Longer code is shown without colours, and so is a longer line: patterns may go over it from each of its letters.
const MAX_BYTES: usize = 16 * 1024;
const MAX_LINE_BYTES: usize = 160;

const WORD: Style = AnsiColor::Magenta.on_default();
const TEXT: Style = AnsiColor::Green.on_default();
const NUMBER: Style = AnsiColor::Yellow.on_default();
const NAME: Style = AnsiColor::Blue.on_default();
const KIND: Style = AnsiColor::Cyan.on_default();

/// Which style a scope has: the first that fits.
const STYLES: [(&str, Style); 15] = [
    ("comment", DIM),
    ("string", TEXT),
    ("constant", NUMBER),
    ("keyword.operator.word", WORD),
    ("keyword.operator", PLAIN),
    ("keyword", WORD),
    ("storage.type.numeric", NUMBER),
    ("storage", WORD),
    ("entity.name.function", NAME),
    ("entity.name.tag", WORD),
    ("entity", KIND),
    ("support.function", NAME),
    ("variable.function", NAME),
    ("support", KIND),
    ("meta.interpolation", PLAIN),
];

/// Unpacked when the first code is coloured.
static SYNTAXES: LazyLock<SyntaxSet> = LazyLock::new(two_face::syntax::extra_newlines);

static SCOPES: LazyLock<Vec<(Scope, Style)>> = LazyLock::new(|| {
    let styles = STYLES.into_iter();
    styles
        .filter_map(|(name, style)| Some((Scope::new(name).ok()?, style)))
        .collect()
});

/// The lines of the code, coloured if its language is known.
pub(super) fn lines(code: &str, language: &str) -> Vec<Line> {
    coloured(code, language).unwrap_or_else(|| {
        let lines = code.lines();
        lines.map(|line| Line::of(line, PLAIN)).collect()
    })
}

fn coloured(code: &str, language: &str) -> Option<Vec<Line>> {
    if code.len() > MAX_BYTES || language.is_empty() {
        return None;
    }
    let language = match language {
        "console" | "shell" | "shellsession" => "bash",
        other => other,
    };
    let mut state = ParseState::new(SYNTAXES.find_syntax_by_token(language)?);
    let mut scopes = ScopeStack::new();
    let mut lines = Vec::new();
    for text in LinesWithEndings::from(code) {
        let mut line = Line::default();
        let mut add = |part: &str, scopes: &ScopeStack| {
            let part = part.trim_end_matches('\n');
            if !part.is_empty() {
                line.0.push(Span::new(part, style(scopes)));
            }
        };
        let mut from = 0;
        if text.len() <= MAX_LINE_BYTES {
            for (at, change) in state.parse_line(text, &SYNTAXES).ok()? {
                add(text.get(from..at)?, &scopes);
                scopes.apply(&change).ok()?;
                from = at;
            }
        }
        add(text.get(from..)?, &scopes);
        lines.push(line);
    }
    Some(lines)
}

fn style(scopes: &ScopeStack) -> Style {
    let known = |scope: &Scope| {
        let fits = |(prefix, _): &&(Scope, Style)| prefix.is_prefix_of(*scope);
        SCOPES.iter().find(fits).map(|(_, style)| *style)
    };
    let scopes = scopes.as_slice().iter().rev();
    scopes
        .copied()
        .find_map(|scope| known(&scope))
        .unwrap_or(PLAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_keeps_its_letters_and_gets_colours() {
        let code = "// two\nlet x = \"<b>\";\n\n";
        let lines = lines(code, "rust");
        let text = |line: &Line| line.0.iter().map(Span::text).collect::<String>();
        let plain: Vec<String> = lines.iter().map(text).collect();
        assert_eq!(plain, ["// two", "let x = \"<b>\";", ""]);
        assert!(
            lines[1].painted().contains("\u{1b}[35mlet"),
            "{:?}",
            lines[1].painted()
        );
        assert_eq!(SCOPES.len(), STYLES.len());
    }

    #[test]
    fn an_unknown_language_has_no_colours() {
        assert_eq!(
            lines("a\nb\n", "nonsense"),
            [Line::of("a", PLAIN), Line::of("b", PLAIN)]
        );
        assert!(!lines("x\u{1b}[2J\n", "")[0].painted().contains('\u{1b}'));
    }
}
