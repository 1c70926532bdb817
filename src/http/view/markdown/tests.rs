//! What comes out of a text, feature by feature; and what never does.

use proptest::prelude::*;

use super::fuzz::only_ours;
use super::*;

/// Each part is in the text's HTML.
fn shows(text: &str, parts: &[&str]) {
    let html = to_html(text);
    for part in parts {
        assert!(html.contains(part), "{part} in {html}");
    }
}

#[test]
fn markdown_becomes_html() {
    shows(
        "# Hi\n\n- a *b* **c** ~~d~~\n\n> e\n\n2. f\n\n***\n",
        &[
            "<h1>Hi</h1>",
            "<li>a <em>b</em> <strong>c</strong> <del>d</del></li>",
            "<blockquote>",
            "<ol start=\"2\">",
            "<hr>",
        ],
    );
}

#[test]
fn code_has_a_frame_with_its_language_and_a_button() {
    shows(
        "```rust\nfn main() {}\n```\n",
        &[
            "<div class=\"code\"><span class=\"code-language\">rust</span>\
             <button type=\"button\" class=\"copy needs-script\">Copy</button>\
             <pre tabindex=\"0\"><code><span class=\"hl-keyword\">fn </span>",
            "</code></pre></div>",
        ],
    );
}

#[test]
fn code_of_no_known_language_has_no_colours() {
    for text in [
        "```\nlet x;\n```\n",
        "    let x;\n",
        "```nothing\nlet x;\n```\n",
    ] {
        shows(text, &["<code>let x;\n</code>"]);
    }
}

#[test]
fn a_language_is_the_first_word_after_the_fence() {
    for info in [
        "rust",
        "rust,ignore",
        "rust title=\"x\"",
        "rust{1,2}",
        "Rust",
    ] {
        shows(
            &format!("```{info}\nlet x;\n```\n"),
            &["hl-keyword", "ust</span><button"],
        );
    }
}

#[test]
fn what_follows_a_fence_is_no_html() {
    let html = to_html("```\"><img src=x onerror=alert(1)>\nx\n```\n\n~~~ <b>`\"'\nx\n~~~\n");
    assert!(!html.contains("img") && !html.contains("<b>"), "{html}");
    assert!(!html.contains("code-language"), "{html}");
}

#[test]
fn a_table_has_a_frame_that_scrolls() {
    shows(
        "| a | b |\n| - | :-: |\n| 1<br>2 | 3 |\n",
        &[
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Table\">\n<table>",
            "<td>1<br>2</td>",
            "<td align=\"center\">3</td>",
            "</table>\n</div>",
        ],
    );
}

#[test]
fn the_box_of_a_task_has_a_name() {
    shows(
        "- [x] a\n- [ ] b\n",
        &[
            "<li><input type=\"checkbox\" disabled=\"\" aria-label=\"done\" checked=\"\"> a</li>",
            "<li><input type=\"checkbox\" disabled=\"\" aria-label=\"to do\"> b</li>",
        ],
    );
}

#[test]
fn links_say_nothing_of_where_they_come_from() {
    let rel = "rel=\"noopener nofollow noreferrer\"";
    for text in [
        "[a](https://e.example)",
        "https://e.example",
        "<https://e.example>",
    ] {
        shows(text, &["<a href=\"https://e.example\"", rel]);
    }
}

#[test]
fn a_picture_is_a_link() {
    shows(
        "![a *b*](http://e.example/p)",
        &["<a href=\"http://e.example/p\"", ">a b</a>"],
    );
    shows("![](http://e.example/p)", &[">http://e.example/p</a>"]);
}

#[test]
fn links_do_not_hold_links() {
    for text in ["[![a](b)](c)", "![a [b](c)](d)"] {
        let html = to_html(text);
        assert_eq!(html.matches("<a ").count(), 1, "{html}");
        assert_eq!(html.matches("</a>").count(), 1, "{html}");
    }
}

#[test]
fn formulas_are_left_as_they_are() {
    for formula in [
        "$x_1 + y_1$",
        "$a*b*c$",
        "$$\\mathbf{x}_{1} + \\mathbf{y}_{1}$$",
        "\\(a_{1} * b_{1} * c\\)",
        "\\[\\{a\\} \\\\ b\\]",
    ] {
        for text in [
            formula.to_owned(),
            format!("é {formula} *b* {formula}"),
            format!("- a\n  - b {formula}\n"),
            format!("> > {formula}\n"),
            format!("1. a\n   b {formula}\n"),
            format!("| a | é {formula} |\n| - | - |\n| {formula} | b |\n"),
            format!("a\n\n\t\r\n# {formula}\n"),
        ] {
            let html = to_html(&text);
            assert_eq!(
                html.matches(formula).count(),
                text.matches(formula).count(),
                "{html}"
            );
        }
    }
}

#[test]
fn a_formula_may_have_lines_of_its_own() {
    shows("$$\nx_1 * y * z\n$$\n", &["<p>$$\nx_1 * y * z\n$$</p>"]);
    shows("\\[\nx_1 * y * z\n\\]\n", &["<p>\\[\nx_1 * y * z\n\\]</p>"]);
}

#[test]
fn prices_are_no_formulas() {
    shows("It costs $5 or *$6*.", &["It costs $5 or <em>$6</em>."]);
}

#[test]
fn html_is_shown_as_it_is() {
    shows("a <b>c</b>", &["<p>a &lt;b&gt;c&lt;/b&gt;</p>"]);
    shows(
        "<div>\n<p>a\n</div>\n",
        &["<p>&lt;div&gt;\n&lt;p&gt;a\n&lt;/div&gt;</p>"],
    );
}

#[test]
fn what_is_nested_deeply_is_shown_as_it_is() {
    assert!(to_html(&">".repeat(50_000)).contains("<code>&gt;&gt;"));
    let list: String = (0..60).map(|level| "  ".repeat(level) + "- a\n").collect();
    let html = to_html(&format!("before\n\n{list}\n\nafter <i>"));
    assert!(
        html.starts_with("<p>before</p>\n<div class=\"code\">"),
        "{html}"
    );
    assert!(html.contains("<code>- a\n  - a\n"), "{html}");
    assert!(
        html.ends_with("- a</code></pre></div>\n<p>after &lt;i&gt;</p>\n"),
        "{html}"
    );
}

#[test]
fn nothing_in_a_text_runs_or_loads() {
    for attack in ATTACKS {
        for text in [
            attack.to_string(),
            format!("a {attack} b"),
            format!("- [ ] {attack}\n"),
            format!("| {attack} |\n| - |\n| {attack} |\n"),
            format!("```{attack}\n{attack}\n```\n"),
            format!("```html\n{attack}\n```\n"),
            format!("$ {attack} $ and \\({attack}\\)"),
            format!("# {attack}\n\n> {attack}"),
            format!("[{attack}]({attack}) ![{attack}]({attack} \"{attack}\") <{attack}>"),
            ">".repeat(50) + attack,
        ] {
            only_ours(&to_html(&text)).unwrap_or_else(|error| panic!("{error} of {text}"));
            let Open::Html(open) = growing(&text).open else {
                continue;
            };
            only_ours(&open).unwrap_or_else(|error| panic!("{error} of {text}"));
        }
    }
}

const ATTACKS: [&str; 30] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe src=javascript:alert(1)>",
    "<a href=\"javascript:alert(1)\" onclick=alert(1)>x</a>",
    "<details open ontoggle=alert(1)>",
    "<style>*{background:url(http://evil.example)}</style>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<form action=http://evil.example><input name=password>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<div class=\"code\" style=\"position:fixed\" onmouseover=alert(1)>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "\"><img src=x onerror=alert(1)>",
    "</code></pre><script>alert(1)</script>",
    "</p></div></table><script>alert(1)</script>",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "&#106;avascript:alert(1)",
    "javascript&colon;alert(1)",
    "\u{1}javascript:alert(1)",
    " javascript:alert(1)",
    "vbscript:msgbox(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:image/svg+xml;base64,PHN2Zz4=",
    "file:///etc/passwd",
    "https://e.example/\"onmouseover=alert(1)//",
];

/// Marks of Markdown and HTML, and attacks, in any order.
pub(super) fn marks_and_attacks() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => prop::sample::select(&ATTACKS[..]).prop_map(str::to_owned),
        3 => prop::sample::select(&growing::tests::MARKS[..]).prop_map(str::to_owned),
        1 => "[ -~\\t\\n]{0,12}",
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(growing::tests::config())]

    #[test]
    fn nothing_but_ours_comes_out(text in marks_and_attacks()) {
        prop_assert_eq!(only_ours(&to_html(&text)), Ok(()));
    }
}
