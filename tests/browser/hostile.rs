//! Texts that want to be more than text, everywhere where a text comes from somebody else. In the real browser
//! none of them runs, none becomes an element that is not ours, and all of them can be read.

use std::fmt::Write as _;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::FINISHED;
use crate::support::browser::Browser;
use crate::support::{Database, Script, TestApp, Upstream, app::eventually, database::Kind};

/// HTML, plain and in disguise. Each sets `hacked`, opens a dialog, or leads away.
const HTML: [&str; 42] = [
    "<script>window.hacked=1</script>",
    "<ScRiPt src=//hacked.invalid/x.js></ScRiPt>",
    "<img src=x onerror=window.hacked=1>",
    "<img src=x onerror=\"window.hacked=1\"//",
    "<img src=\"https://hacked.invalid/pixel.png\">",
    "<svg onload=window.hacked=1>",
    "<svg><script>window.hacked=1</script></svg>",
    "<svg><animate onbegin=window.hacked=1 attributeName=x dur=1s></svg>",
    "<math><mtext><style><img src=x onerror=window.hacked=1></style></mtext></math>",
    "<iframe srcdoc=\"<script>parent.hacked=1</script>\"></iframe>",
    "<iframe src=javascript:parent.hacked=1></iframe>",
    "<object data=\"javascript:window.hacked=1\"></object>",
    "<embed src=\"data:text/html,<script>top.hacked=1</script>\">",
    "<body onload=window.hacked=1>",
    "<details open ontoggle=window.hacked=1>hacked</details>",
    "<input autofocus onfocus=window.hacked=1>",
    "<video><source onerror=window.hacked=1></video>",
    "<marquee onstart=window.hacked=1>hacked</marquee>",
    "<a href=\"javascript:window.hacked=1\">hacked</a>",
    "<form action=\"https://hacked.invalid\"><button>hacked</button></form>",
    "<button formaction=\"javascript:window.hacked=1\">hacked</button>",
    "<base href=\"https://hacked.invalid/\">",
    "<meta http-equiv=refresh content=\"0;url=https://hacked.invalid\">",
    "<link rel=stylesheet href=//hacked.invalid/x.css>",
    "<style>body{display:none}/*hacked*/</style>",
    "<style>@import '//hacked.invalid/x.css';</style>",
    "<div style=\"position:fixed;inset:0;background:red\">hacked</div>",
    "<div hx-get=\"/hacked\" hx-trigger=\"load\" hx-on:click=\"window.hacked=1\">hacked</div>",
    "<div data-hx-get=\"/hacked\" data-hx-trigger=\"load\">hacked</div>",
    "<div hx-on::load=\"window.hacked=1\" hx-trigger=load hx-vals=\"js:{x:window.hacked=1}\">hacked</div>",
    "<hx-partial hx-target=\"body\" hx-swap=\"innerHTML\"><h1>hacked</h1></hx-partial>",
    "<template hx type=\"partial\" hx-target=\"body\"><h1>hacked</h1></template>",
    "<div id=\"main\" hx-swap-oob=\"true\">hacked</div>",
    "<p id=\"message\" hx-swap-oob=\"outerHTML:body\">hacked</p>",
    "\"><script>window.hacked=1</script>",
    "'><img src=x onerror=window.hacked=1>",
    "\" onfocus=\"window.hacked=1\" autofocus x=\"",
    "' onmouseover='window.hacked=1",
    "</textarea></title></li></main><script>window.hacked=1</script>",
    "</noscript><noscript><p title=\"</noscript><img src=x onerror=window.hacked=1>\">",
    "<!--><img src=x onerror=window.hacked=1>-->",
    "<a id=\"messages-poll\" name=\"htmx\" class=\"dock\" ping=\"//hacked.invalid\" href=/x target=_blank>hacked</a>",
];

/// What Markdown, entities and odd characters make of it.
const MARKDOWN: [&str; 30] = [
    "[hacked](javascript:window.hacked=1)",
    "[hacked](JaVaScRiPt:window.hacked=1)",
    "[hacked](<java\tscript:window.hacked=1>)",
    "[hacked](&#106;avascript:window.hacked=1)",
    "[hacked](java&Tab;script&colon;window.hacked=1)",
    "[hacked](\\javascript:window.hacked=1)",
    "[hacked](%6Aavascript:window.hacked=1)",
    "[hacked](\u{1}javascript:window.hacked=1)",
    "[hacked](vbscript:hacked)",
    "[hacked](data:text/html,<script>top.hacked=1</script>)",
    "[hacked](data:text/html;base64,PHNjcmlwdD50b3AuaGFja2VkPTE8L3NjcmlwdD4=)",
    "[hacked](file:///etc/hacked)",
    "[hacked](//hacked.invalid/x)",
    "[hacked](/x \"onmouseover=window.hacked=1\")",
    "[hacked](/x '\"><script>window.hacked=1</script>')",
    "[hacked][h]\n\n[h]: javascript:window.hacked=1",
    "![hacked](javascript:window.hacked=1)",
    "![hacked\" onerror=\"window.hacked=1](x)",
    "![hacked](https://hacked.invalid/pixel.png)",
    "<javascript:window.hacked=1>",
    "<https://example.org/\"onmouseover=\"window.hacked=1>",
    "https://example.org/?\"onmouseover=\"window.hacked=1",
    "www.example.org/<script>window.hacked=1</script>",
    "| hacked |\n| --- |\n| <img src=x onerror=window.hacked=1> [x](javascript:window.hacked=1) |",
    "```<img/src=x/onerror=window.hacked=1>\nhacked\n```",
    "```html\" onmouseover=\"window.hacked=1\n<script>window.hacked=1</script>\n```",
    "`<img src=x onerror=window.hacked=1>`",
    "&lt;img src=x onerror=window.hacked=1&gt; &#60;script&#62;window.hacked=1&#60;/script&#62;",
    "\u{ff1c}script\u{ff1e}window.hacked=1\u{ff1c}/script\u{ff1e} \u{202e}hacked <\u{0}script>",
    "{{constructor.constructor('window.hacked=1')()}} ${window.hacked=1} {% raw %} <%= hacked %> #{hacked}",
];

/// What is wrong with the page, if anything: what ran, and what is not ours.
const HARM: &str = r#"(() => {
  const harm = [];
  const complain = (what, element) => harm.push(`${what}: ${(element.outerHTML ?? element).slice(0, 200)}`);
  if (window.hacked) complain('something ran', location.href);
  if (document.scripts.length !== 2) complain('scripts', `${document.scripts.length} of them`);
  const never = 'iframe, frame, object, embed, base, style, video, audio, source, math, marquee, template, hx-partial, '
    + 'link:not(head > link), meta:not(head > meta, noscript > meta), img:not([src^="/assets/"]), svg:not(.icon, .agent-colour), '
    + 'script:not(head > script), form:not([action^="/chat"], [action="/theme"]), [style], [srcdoc], [formaction], [ping], [target]';
  for (const element of document.querySelectorAll(never)) complain('not ours', element);
  for (const element of document.querySelectorAll('*')) {
    for (const { name } of element.attributes) if (/^(on|data-hx)/.test(name)) complain(name, element);
    if (element.localName === 'a' && !/^(https?|mailto|tel):$/.test(element.protocol)) {
      if (element.getAttribute('href')) complain('an address', element);
    }
  }
  for (const element of document.querySelectorAll('.markdown *')) {
    for (const { name } of element.attributes) {
      if (/^(hx-|name$)/.test(name) || (name === 'id' && !element.matches('.open'))) complain(name, element);
    }
  }
  const plain = '.text, .thought, #chat-title, .chat-title, .chat-preview, .agent strong, .agent span, .note, .notice p, .problem p, bdi, code > code';
  for (const element of document.querySelectorAll(plain)) {
    const inside = element.querySelector(':scope > :not(.dot, mark, code, strong, .notice p > bdi, a[href="/models"])');
    if (inside) complain('in a plain text', inside);
  }
  for (const { name } of performance.getEntriesByType('resource')) {
    if (!name.startsWith(`${location.origin}/`) || name.includes('/hacked')) complain('asked for', name);
  }
  return harm;
})()"#;

/// All of them.
fn corpus() -> impl Iterator<Item = &'static str> {
    HTML.into_iter().chain(MARKDOWN)
}

/// All of them, as one text.
fn everything() -> String {
    corpus().collect::<Vec<_>>().join("\n\n")
}

async fn harmless(browser: &Browser, state: &str) {
    assert_eq!(browser.evaluate(HARM).await, json!([]), "{state}");
    assert_eq!(browser.complaints().await, Vec::<String>::new(), "{state}");
}

/// The texts that elements show, as they stand in the document.
async fn texts(browser: &Browser, css: &str) -> Vec<String> {
    let all = format!("[...document.querySelectorAll({css:?})].map(one => one.textContent)");
    let all = browser.evaluate(&all).await;
    let all = all.as_array().unwrap().iter();
    all.map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Hovers over, focuses and presses all that came with a text: what waits for that must not run either.
async fn touch_everything(browser: &Browser) {
    let touch = "(all => (all.forEach(one => { for (const name of ['mouseover', 'focus', 'toggle', 'load', 'error']) one.dispatchEvent(new Event(name, {bubbles: true})); }), all.length))([...document.querySelectorAll('.markdown *, .text, .chat-title, .agent, .note')])";
    browser.evaluate(touch).await;
}

/// A model that says what it is asked, in pieces that end in the middle of everything.
async fn parrot() -> Upstream {
    Upstream::start(|request| {
        let asked: Vec<char> = request.asked().chars().collect();
        let pieces = asked
            .chunks(5)
            .map(|piece| piece.iter().collect::<String>());
        Script::answer(pieces)
    })
    .await
}

/// What is left of a text when blanks and characters that nobody sees are not counted.
fn visible(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !c.is_control() && *c != '\u{fffd}')
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_answers_and_comments_are_text() {
    let app = TestApp::start(Kind::Sqlite, parrot().await).await;
    let chat = app.create_chat().await;
    let sent: Vec<&str> = corpus().filter(|text| !text.contains('\0')).collect();
    for text in &sent {
        let (answer, reader) = app.ask_in(&chat, text).await;
        assert_eq!(reader.status, "completed", "{text}");
        let liked = json!({"reaction": "like", "comment": text});
        let path = format!("/chat/message/{answer}/reaction");
        app.put(&path, &liked).await.expect(200);
    }
    let browser = Browser::open().await;
    browser.visit(&app.base, &format!("/chat/{chat}")).await;
    eventually("all answers", async || {
        (browser.count(FINISHED).await == sent.len()).then_some(())
    })
    .await;
    touch_everything(&browser).await;
    harmless(&browser, "the chat").await;
    assert_eq!(texts(&browser, ".message-user .text").await, sent);
    for answer in texts(&browser, FINISHED).await {
        assert!(answer.contains("hacked"), "it can be read: {answer}");
    }
    // HTML is shown to the letter, but for what Markdown makes of quotes and slashes in it: nothing.
    let shown = texts(&browser, FINISHED).await;
    for (text, shown) in HTML.iter().zip(&shown) {
        assert_eq!(visible(shown), visible(text));
    }
    let comments =
        "[...document.querySelectorAll('.comment input[name=comment]')].map(one => one.value)";
    assert_eq!(
        browser.evaluate(comments).await,
        json!(
            sent.iter()
                .map(|text| text.replace('\n', ""))
                .collect::<Vec<_>>()
        )
    );
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_text_wherever_it_is_cut() {
    let text: Vec<char> = everything().chars().collect();
    let pieces: Vec<String> = text
        .chunks(19)
        .map(|piece| piece.iter().collect())
        .collect();
    let gates: Vec<_> = pieces.iter().map(|_| CancellationToken::new()).collect();
    let mut script = Script::stream().raw(thought(&everything()));
    for (piece, gate) in pieces.iter().zip(&gates) {
        script = script.wait(gate).say([piece]);
    }
    let upstream = Upstream::scripted([script.finish()]).await;
    let app = TestApp::start(Kind::Sqlite, upstream).await;
    let browser = Browser::open().await;
    browser.visit(&app.base, "/").await;
    browser.type_into("#message", "Go on\u{E007}").await;
    browser.text_of(".typing").await;
    // The text as the server has rendered it so far is another one after each piece.
    let state = "(document.querySelector('[id^=poll-]')?.getAttribute('hx-get') ?? 'over')";
    for (at, gate) in gates.iter().enumerate() {
        let before = browser.evaluate(state).await;
        gate.cancel();
        let ask = format!("(pollNow(), {state})");
        eventually("the next piece", async || {
            (browser.evaluate(&ask).await != before).then_some(())
        })
        .await;
        let harm = browser.evaluate(HARM).await;
        assert_eq!(harm, json!([]), "after {:?}", &pieces[at]);
    }
    browser.text_of(FINISHED).await;
    touch_everything(&browser).await;
    harmless(&browser, "grown").await;
    let thoughts = texts(&browser, ".thought").await;
    assert_eq!(visible(&thoughts[0]), visible(&everything()));
    browser.page.refresh().await.unwrap();
    browser.text_of(FINISHED).await;
    harmless(&browser, "reloaded").await;
    browser.close().await;
    app.stop().await;
}

fn thought(text: &str) -> String {
    let delta = json!({"choices": [{"index": 0, "delta": {"reasoning_content": text}}]});
    format!("data: {delta}\n\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn titles_previews_snippets_and_searches_are_text() {
    let app = TestApp::start(Kind::Sqlite, parrot().await).await;
    // A title is one line of what can be seen.
    for text in corpus().filter(|text| !text.contains(char::is_control)) {
        // One is given its title, the other one has it from its first message.
        app.post("/chat/create", &json!({"title": text}))
            .await
            .expect(201);
        app.post("/chat/create", &json!({"message": text}))
            .await
            .expect(201);
    }
    app.settle().await;
    let browser = Browser::open().await;
    let mut page = "/chats".to_owned();
    let mut titles = Vec::new();
    while !page.is_empty() {
        browser.visit(&app.base, &page).await;
        browser.text_of("#side-list .chat-row").await;
        touch_everything(&browser).await;
        harmless(&browser, &page).await;
        titles.extend(texts(&browser, "main .chat-title").await);
        let next =
            "document.querySelector('.pager a[href^=\"/chats?\"]')?.getAttribute('href') ?? ''";
        browser
            .evaluate(next)
            .await
            .as_str()
            .unwrap()
            .clone_into(&mut page);
    }
    for text in HTML {
        let first = visible(&text.chars().take(20).collect::<String>());
        let count = titles
            .iter()
            .filter(|title| visible(title).starts_with(&first))
            .count();
        assert!(count >= 2, "{text} among {titles:#?}");
    }
    // What is found, and what was looked for.
    for text in [
        "hacked",
        "window",
        HTML[0],
        HTML[2],
        HTML[34],
        HTML[36],
        MARKDOWN[0],
    ] {
        let query = url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        browser.visit(&app.base, &format!("/chats?q={query}")).await;
        let asked = browser.text_of("main .day-name").await;
        assert!(asked.contains(text), "{asked}");
        assert!(browser.count("main .chat-row").await > 0, "{text}");
        harmless(&browser, text).await;
    }
    browser.type_into("#search", "onerror").await;
    browser.text_of("#side-list mark").await;
    harmless(&browser, "the search at the side").await;
    // A title that is typed, and a draft that is not sent.
    let chat = app.create_chat().await;
    browser.visit(&app.base, &format!("/chat/{chat}")).await;
    for text in [HTML[0], HTML[2], HTML[38], HTML[32]] {
        browser.press(".chat-head summary").await;
        browser
            .evaluate("(document.getElementById('new-title').value = '')")
            .await;
        browser
            .type_into("#new-title", &format!("{text}\u{E007}"))
            .await;
        eventually(text, async || {
            (browser.text_of("#chat-title").await == text).then_some(())
        })
        .await;
        harmless(&browser, text).await;
        eventually("the name of the page", async || {
            let name = browser.page.title().await.unwrap();
            name.contains(&text[..20]).then_some(())
        })
        .await;
    }
    browser.type_into("#message", HTML[38]).await;
    browser.page.refresh().await.unwrap();
    let draft = "document.getElementById('message').value";
    assert_eq!(browser.evaluate(draft).await, HTML[38]);
    harmless(&browser, "the draft").await;
    browser.press("main form[action$='/delete'] button").await;
    assert!(browser.text_of("#notice p").await.contains("hacked"));
    assert_eq!(browser.evaluate(HARM).await, json!([]), "the notice");
    assert_eq!(
        browser.complaints_without(&chat).await,
        Vec::<String>::new()
    );
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_text() {
    let database = Database::create(Kind::Sqlite).await;
    let file = database.dir().join("pollen.toml");
    let mut agents = String::from("[agents]\nshipped = false\n");
    for (number, text) in corpus().filter(|text| !text.contains('\0')).enumerate() {
        let text = json!(text);
        write!(agents, "[[agent]]\nalias = \"a{number}\"\nname = {text}\ndescription = {text}\nicon = {text}\ngreeting = {text}\nsuggestions = [{text}]\n").unwrap();
    }
    std::fs::write(&file, agents).unwrap();
    let app = TestApp::start_with_file(database, parrot().await, &file).await;
    let browser = Browser::open().await;
    for path in ["/", "/agents"] {
        browser.visit(&app.base, path).await;
        assert!(browser.count(".agent").await >= HTML.len());
        touch_everything(&browser).await;
        harmless(&browser, path).await;
        let names = texts(&browser, ".agent strong").await;
        assert_eq!(names[0], HTML[0]);
    }
    // Picked, and greeting.
    for number in [0, 2, 5, 9, 30, 32, 36, 38] {
        browser.visit(&app.base, "/").await;
        browser
            .press(&format!("li:nth-child({}) > form .agent", number + 1))
            .await;
        browser.text_of(FINISHED).await;
        harmless(&browser, HTML[number]).await;
        let greeting = texts(&browser, FINISHED).await;
        assert_eq!(visible(&greeting[0]), visible(HTML[number]));
    }
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_models_server_complains_of_is_text() {
    let upstream = Upstream::start(|request| {
        Script::json(400, &json!({"error": {"message": request.asked()}}))
    });
    let app = TestApp::start(Kind::Sqlite, upstream.await).await;
    let chat = app.create_chat().await;
    for text in HTML {
        app.ask_in(&chat, text).await;
    }
    let browser = Browser::open().await;
    browser.visit(&app.base, &format!("/chat/{chat}")).await;
    eventually("all errors", async || {
        (browser.count(".note.error").await == HTML.len()).then_some(())
    })
    .await;
    touch_everything(&browser).await;
    harmless(&browser, "errors").await;
    for (text, shown) in HTML.iter().zip(texts(&browser, ".note.error").await) {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    // And live, as the answer to what was just sent.
    browser
        .type_into("#message", &format!("{}\u{E007}", HTML[2]))
        .await;
    eventually("one more", async || {
        (browser.count(".note.error").await == HTML.len() + 1).then_some(())
    })
    .await;
    harmless(&browser, "a new error").await;
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_what_is_not_ours() {
    let app = TestApp::start(Kind::Sqlite, parrot().await).await;
    let (chat, ..) = app.ask("Hello").await;
    let browser = Browser::open().await;
    browser.visit(&app.base, &format!("/chat/{chat}")).await;
    browser.text_of(FINISHED).await;
    assert_eq!(browser.evaluate(HARM).await, json!([]));
    // What an answer would be if nobody had escaped it. The page's policy lets nothing of it run; but the one
    // would lead away, and the other one is no element in the middle of a page.
    let elements = HTML.iter().filter(|text| text.starts_with('<'));
    for text in elements.filter(|text| !text.starts_with("<meta") && !text.starts_with("<body")) {
        let place = format!("document.querySelector('{FINISHED}')");
        let html = json!(format!("{text}>"));
        let put = format!("({place}.innerHTML = {html}, {HARM}.length > 0)");
        assert_eq!(browser.evaluate(&put).await, true, "{text}");
    }
    assert_eq!(browser.evaluate("window.hacked ?? null").await, json!(null));
    browser.close().await;
    app.stop().await;
}
