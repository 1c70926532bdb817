//! PDFs: what `pdftotext` reads in them is what was said.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::document;
use crate::support::{TestApp, Upstream, database::Kind};

/// The text of a PDF, and how many pages it has.
async fn printed(app: &TestApp, answer: &str) -> (String, usize) {
    let mut document = document();
    document["messages"][1]["content"] = json!(answer);
    let made = app
        .post("/chats/import", &document)
        .await
        .expect(201)
        .json();
    let chat = made["chats"][0]["uuid"].as_str().unwrap();
    let url = format!("{}/chat/{chat}/export?format=pdf", app.base);
    let response = app.client.get(url).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "application/pdf");
    assert_eq!(
        headers["content-disposition"],
        format!("attachment; filename=\"chat-{chat}.pdf\"").as_str()
    );
    let bytes = response.bytes().await.unwrap();
    assert!(bytes.starts_with(b"%PDF-"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("chat.pdf");
    std::fs::write(&file, &bytes).unwrap();
    if let Some(keep) = std::env::var_os("POLLEN_KEEP_PDF") {
        std::fs::write(PathBuf::from(keep).join(format!("{chat}.pdf")), &bytes).unwrap();
    }
    let read = |command: &str, arguments: &[&str]| {
        let output = Command::new(command)
            .args(arguments)
            .arg(&file)
            .arg("-")
            .output();
        let output = output
            .unwrap_or_else(|error| panic!("{command}: {error}; scripts/prepare.sh installs it"));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let text = read("pdftotext", &["-enc", "UTF-8"]);
    let pages = text.matches('\u{c}').count();
    (text, pages)
}

/// Words in their order, wherever the lines end. Marks of direction are a reader's own.
fn words(text: &str) -> String {
    let text: String = text
        .chars()
        .filter(|c| !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn app() -> TestApp {
    TestApp::start(Kind::Sqlite, Upstream::echo().await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_in_many_scripts_can_be_read_back() {
    let app = app().await;
    for said in [
        "Łódź façade naïve — “quotes” … 10 €",
        "Ελληνικά: η γλώσσα της φιλοσοφίας",
        "Українська мова та русский язык",
        "שלום עולם",
        "مرحبا بالعالم",
        "हैलो दुनिया",
        "你好，世界",
        "こんにちは世界",
    ] {
        let (text, _) = printed(&app, said).await;
        assert!(words(&text).contains(&words(said)), "{said}: {text}");
        assert!(!text.contains("U+"), "nothing is missing: {text}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pdf_has_a_title_who_said_what_and_when_and_its_pages_numbers() {
    let app = app().await;
    let (text, pages) = printed(&app, &"A paragraph of words.\n\n".repeat(120)).await;
    assert!(pages > 1, "{pages}");
    for part in [
        "Tea from elsewhere",
        "You",
        "Tea?",
        "Assistant",
        "other-model",
        "2026-11-21 09:30 UTC",
        &format!("1/{pages}"),
        &format!("{pages}/{pages}"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("A paragraph of words.").count(), 120);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_is_wrapped_and_nothing_of_it_is_lost() {
    let app = app().await;
    let arguments = (0..60).map(|n| format!("argument_{n:02}=value;"));
    let long = arguments.collect::<Vec<_>>().concat();
    let lines = (0..150).map(|n| format!("    let line_{n:03} = {n};\n"));
    let lines = lines.collect::<Vec<_>>().concat();
    let (text, pages) = printed(
        &app,
        &format!("Code:\n\n```rust\nfn main() {{\n{long}\n{lines}}}\n```\n\nAfter."),
    )
    .await;
    assert!(pages >= 3, "{pages}");
    let together: String = text.split_whitespace().collect();
    assert!(together.contains(&long), "{text}");
    for n in 0..150 {
        assert_eq!(
            text.matches(&format!("let line_{n:03} = {n};")).count(),
            1,
            "{n}"
        );
    }
    assert!(text.contains("After."));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markdown_reads_as_what_it_means() {
    let app = app().await;
    let answer = "# Heading\n\nSome *emphasis*, **strength**, `code` and [a link](https://example.org/x).\n\n\
        1. first\n2. second\n   - nested\n\n- [x] done\n- [ ] open\n\n> quoted\n\n| Name | Count |\n| --- | ---: |\n| tea | 2 |\n\n---\n\n<b>raw</b>";
    let (text, _) = printed(&app, answer).await;
    let text = words(&text);
    for part in [
        "Heading",
        "Some emphasis, strength, code and a link.",
        "1. first",
        "2. second",
        "• nested",
        "☑ done",
        "☐ open",
        "quoted",
        "Name Count",
        "tea 2",
        "<b>raw</b>",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("**") && !text.contains("# "), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_font_has_is_named() {
    let app = app().await;
    // Linear A, which hardly a machine has.
    let (text, _) = printed(&app, "Before \u{10600}\u{10601} after").await;
    assert!(text.contains("U+10600, U+10601"), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_is_too_long_is_refused_and_says_why() {
    let settings = [("export.pdf_bytes", "2000")];
    let app = TestApp::start_with(Kind::Sqlite, Upstream::echo().await, &settings).await;
    let mut document = document();
    document["messages"][1]["content"] = json!("word ".repeat(500));
    let made = app
        .post("/chats/import", &document)
        .await
        .expect(201)
        .json();
    let chat = made["chats"][0]["uuid"].as_str().unwrap();
    let refused = app
        .get(&format!("/chat/{chat}/export?format=pdf"))
        .await
        .expect(422);
    assert!(
        refused.text.contains("/problems/chat-too-long") && refused.text.contains("at most 2000"),
        "{}",
        refused.text
    );
    app.get(&format!("/chat/{chat}/export?format=html"))
        .await
        .expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_can_be_said_breaks_the_printer() {
    let app = app().await;
    for said in [
        "",
        "\u{200b}",
        "\u{202e}abc\u{202c}",
        "e\u{301}\u{301}\u{301}\u{301}",
        "\u{feff}x",
        "a\u{0}b",
        "👩‍👩‍👧‍👦 🇺🇦 👍🏽",
        "\u{e000}\u{10ffff}",
        "مرحبا hello שלום 123 (x) مرحبا",
        "| a |\n| - |\n",
        "```\n```",
        "- \n- \n",
        "> > > > > > deep",
        "$$x$$ \\(y\\)",
        "![](http://x/)",
        &"x".repeat(40_000),
        &"مرحبا ".repeat(4_000),
        &"#".repeat(3_000),
        &"- ".repeat(3_000),
        &"|x".repeat(200),
    ] {
        let said = said.replace('\0', "");
        let (_, pages) = printed(&app, &said).await;
        assert!(pages >= 1);
    }
    app.stop().await;
}
