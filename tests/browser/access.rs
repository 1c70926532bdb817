//! The page for everybody: axe-core judges each page in each state, keys alone reach everything, and nothing
//! sticks out of a narrow screen.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{FINISHED, PENDING};
use crate::support::browser::{Browser, Kind as Like};
use crate::support::{Script, TestApp, Upstream, database::Kind};

const AXE: &str = "tests/third_party/node_modules/axe-core/axe.min.js";
const MISSING: &str = "axe-core is missing: install Node.js and npm, then \
    `npm ci --prefix tests/third_party` (./scripts/test.sh does)";

/// What axe-core finds: each rule with the elements that break it. In other colours only what depends
/// on them is looked at again. What stays in view while a page is scrolled lies over something by its
/// nature: it is put where it belongs for the time being. What lies under an open drawer or under the list
/// of commands cannot be pressed, and need not.
const RUN: &str = r"
const [colours, done] = arguments;
const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const runOnly = colours ? ['color-contrast', 'link-in-text-block'] : tags;
const isCovered = !!document.querySelector('#commands:not([hidden])');
const rules = isCovered && !colours ? { 'target-size': { enabled: false } } : {};
const sticky = [...document.querySelectorAll('.bar, .dock, .trouble, .new-text')];
for (const element of sticky) element.style.position = element.matches('.new-text') ? 'static' : 'relative';
axe.run(document.querySelector(':popover-open') ?? document, { runOnly, rules, resultTypes: ['violations'], preload: false })
  .then(({ violations }) => violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id} at ${target}: ${failureSummary}`)))
  .catch((error) => [String(error)])
  .then((faults) => {
    for (const element of sticky) element.removeAttribute('style');
    done(faults);
  });
";

/// How many pixels of the page are out of sight to the side, and what stands there.
const OVERFLOW: &str = "(width => [document.scrollingElement.scrollWidth - width, ...[...document.querySelectorAll('body *')].filter(one => one.checkVisibility() && one.getBoundingClientRect().right > width).map(one => one.cloneNode().outerHTML)])(innerWidth)";

const SAMPLE: &str = include_str!("../../src/http/view/sample.md");
/// The layout viewport of a window of 1100 pixels at 200 % zoom.
const ZOOMED: u32 = 550;

/// Looks at a page in all its forms, and remembers what is wrong with them.
struct Judge {
    browser: Browser,
    axe: String,
    faults: Vec<String>,
}

impl Judge {
    async fn open() -> Self {
        let still = Like {
            reduced_motion: true,
            ..Like::WIDE
        };
        Self {
            browser: Browser::open_as(still).await,
            axe: std::fs::read_to_string(AXE).expect(MISSING),
            faults: Vec::new(),
        }
    }

    /// The page as it is now, light and dark, wide and narrow.
    async fn look(&mut self, state: &str) {
        for width in [Like::WIDE.width, Like::NARROW.width] {
            self.look_at(state, width).await;
        }
        self.browser.resize(ZOOMED, 400).await;
        self.sticks_out(&format!("{state}, zoomed")).await;
        self.browser
            .resize(Like::WIDE.width, Like::WIDE.height)
            .await;
    }

    /// The same at one width: what is opened on a narrow screen is not there on a wide one.
    async fn look_at(&mut self, state: &str, width: u32) {
        self.browser.resize(width, 700).await;
        self.sticks_out(&format!("{state}, {width} wide")).await;
        for dark in [false, true] {
            self.colours(dark).await;
            self.ask(&format!("{state}, {width} wide, dark {dark}"), dark)
                .await;
        }
        self.colours(false).await;
    }

    async fn colours(&self, dark: bool) {
        let features = json!({"features": [
            {"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.browser
            .dev_tools("Emulation.setEmulatedMedia", features)
            .await;
    }

    async fn ask(&mut self, state: &str, only_colours: bool) {
        let is_there = self.browser.evaluate("!!window.axe").await;
        if is_there == false {
            self.browser
                .page
                .execute(&self.axe, Vec::new())
                .await
                .unwrap();
        }
        let found = self
            .browser
            .page
            .execute_async(RUN, vec![json!(only_colours)])
            .await
            .unwrap();
        let found = found.as_array().unwrap().iter();
        self.faults
            .extend(found.map(|fault| format!("{state}: {}", fault.as_str().unwrap())));
    }

    async fn sticks_out(&mut self, state: &str) {
        let overflow = self.browser.evaluate(OVERFLOW).await;
        if overflow[0].as_f64() > Some(0.0) {
            self.faults
                .push(format!("{state}: pixels stick out, {overflow}"));
        }
    }

    async fn visit(&mut self, app: &TestApp, path: &str) {
        self.browser.visit(&app.base, path).await;
        // The list at the side comes by itself.
        self.browser
            .text_of("#side-list .chat-row, #side-list .hint")
            .await;
    }

    async fn found_nothing(self, app: TestApp) {
        self.browser.close().await;
        app.stop().await;
        let faults = self.faults;
        assert!(
            faults.is_empty(),
            "{} faults:\n{}",
            faults.len(),
            faults.join("\n\n")
        );
    }
}

/// A model whose answer depends on the first word that it is asked. What waits, waits for the gate.
async fn model(gate: &CancellationToken) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |request| {
        let asked = request.asked();
        let half = &SAMPLE[..SAMPLE.len() / 2];
        match asked.split(' ').next().unwrap_or_default() {
            "Wait" => Script::stream().wait(&gate).say(["So."]).finish(),
            "Grow" => Script::stream().say([half]).wait(&gate).finish(),
            "Fail" => Script::json(400, &json!({"error": {"message": "too much"}})),
            "Tell" => Script::answer([SAMPLE]),
            _ => Script::answer([asked]),
        }
    })
    .await
}

/// A chat in which this has been asked; its path and the answer's UUID.
async fn asked(app: &TestApp, question: &str) -> (String, String) {
    let chat = app.create_chat().await;
    let message = app.send(&chat, question).await;
    let answer = app.answer_to(&chat, &message).await;
    (format!("/chat/{chat}"), answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_on_any_page() {
    let app = TestApp::start(Kind::Sqlite, model(&CancellationToken::new()).await).await;
    let mut judge = Judge::open().await;
    judge.visit(&app, "/").await;
    judge.look("home, empty").await;
    let (chat, answer) = asked(&app, "Tell me of tea").await;
    app.read(&answer).await;
    asked(&app, "Fail at it").await;
    let (doomed, _) = asked(&app, "Forget me").await;
    app.settle().await;
    let about = format!("/chat/message/{answer}/about");
    let pages = [
        "/",
        "/chats",
        "/chats?q=tea",
        "/chats?q=nothing",
        "/agents",
        "/models",
        "/usage",
        "/commands",
        &about,
        "/nothing/here",
    ];
    for page in pages {
        judge.visit(&app, page).await;
        judge.look(page).await;
    }
    judge.visit(&app, "/").await;
    judge.browser.type_into("#message", "/").await;
    judge.look("home, commands").await;
    judge.visit(&app, &chat).await;
    judge.browser.press(".chat-head .menu > summary").await;
    judge.browser.press(".share > summary").await;
    let make = "#shares form[action$='/shares'] button";
    judge.browser.press(make).await;
    judge.browser.text_of(".shares").await;
    judge.look("links in the menu").await;
    judge.visit(&app, &format!("{chat}/shares")).await;
    judge
        .browser
        .press("#shares form[action$='/revoke'] button")
        .await;
    judge.browser.press(make).await;
    judge.browser.text_of("#share-note p").await;
    judge.look("links").await;
    let link = "document.querySelector('[data-link]').value";
    let link = judge.browser.evaluate(link).await;
    judge
        .browser
        .page
        .goto(link.as_str().unwrap())
        .await
        .unwrap();
    judge.browser.text_of("#messages").await;
    judge.look("shared chat").await;
    judge.browser.visit(&app.base, "/shared/nothing").await;
    judge.look("no shared chat").await;
    judge.visit(&app, &doomed).await;
    judge
        .browser
        .press(&format!("main form[action='{doomed}/delete'] button"))
        .await;
    judge.browser.text_of("#notice .notice").await;
    judge.look("notice").await;
    judge.found_nothing(app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_beside_a_page() {
    let app = TestApp::start(Kind::Sqlite, model(&CancellationToken::new()).await).await;
    let (chat, answer) = asked(&app, "Tell me of tea").await;
    app.read(&answer).await;
    let mut judge = Judge::open().await;
    let narrow = Like::NARROW.width;
    judge.visit(&app, &chat).await;
    judge.browser.resize(narrow, 640).await;
    judge.browser.press(".bar button").await;
    judge.look_at("drawer", narrow).await;
    judge.browser.press("#side-list .chat-row summary").await;
    judge.look_at("drawer, menu of a chat", narrow).await;
    judge.visit(&app, &chat).await;
    judge.browser.resize(1100, 700).await;
    judge.browser.type_into("#search", "boil").await;
    judge.browser.text_of("#side-list mark").await;
    judge.look_at("found at the side", 1100).await;
    judge.visit(&app, &chat).await;
    judge.browser.press("#side-list .chat-row summary").await;
    judge.look_at("menu of a chat", 1100).await;
    judge.browser.set_offline(true).await;
    judge.browser.text_of("#trouble:not([hidden])").await;
    judge.look("reconnecting").await;
    judge.browser.set_offline(false).await;
    judge.found_nothing(app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_in_any_state_of_a_chat() {
    let gate = CancellationToken::new();
    let app = TestApp::start(Kind::Sqlite, model(&gate).await).await;
    let mut judge = Judge::open().await;

    let (chat, _) = asked(&app, "Wait for it").await;
    judge.visit(&app, &chat).await;
    judge.browser.text_of(".typing").await;
    judge.look("before the first word").await;

    let (chat, _) = asked(&app, "Grow on me").await;
    let uuid = chat.replace("/chat/", "");
    for text in ["And then?", "And after that?"] {
        app.send(&uuid, text).await;
    }
    judge.visit(&app, &chat).await;
    judge.browser.text_of(PENDING).await;
    judge.browser.text_of(".waiting").await;
    judge.look("growing, and two wait").await;

    let (chat, answer) = asked(&app, "Wait to be stopped").await;
    app.post_bare(&format!("/chat/message/{answer}/cancel"))
        .await
        .expect(200);
    app.ask_in(&chat.replace("/chat/", ""), "Fail at it").await;
    judge.visit(&app, &chat).await;
    judge.look("stopped, and failed").await;

    let (chat, answer) = asked(&app, "Tell me of tea").await;
    app.read(&answer).await;
    app.post_bare(&format!("/chat/message/{answer}/regenerate"))
        .await
        .expect(202);
    app.read(&answer).await;
    app.put(
        &format!("/chat/message/{answer}/reaction"),
        &json!({"reaction": "like"}),
    )
    .await
    .expect(200);
    judge.visit(&app, &chat).await;
    judge.browser.text_of(".versions").await;
    judge.look("finished, with versions, liked").await;
    let open = |css: &str| format!("document.querySelector('{css}').open = true");
    judge.browser.evaluate(&open(".edit")).await;
    judge.browser.evaluate(&open(".chat-head .menu")).await;
    judge.look("edit and menu open").await;
    judge
        .browser
        .evaluate(&open(".message-assistant .menu"))
        .await;
    judge
        .browser
        .press(".message-assistant .about summary")
        .await;
    judge.browser.text_of(".message-assistant .facts").await;
    judge.look("details shown").await;
    judge.browser.type_into("#message", "/").await;
    judge.look("commands").await;
    gate.cancel();
    judge.found_nothing(app).await;
}

/// One press of the tabulator.
async fn tab(browser: &Browser, shift: bool) {
    for kind in ["rawKeyDown", "keyUp"] {
        let key = json!({
            "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9,
            "modifiers": if shift { 8 } else { 0 },
        });
        browser.dev_tools("Input.dispatchKeyEvent", key).await;
    }
}

/// All that can be worked with and is seen, in the order of the document.
const STOPS: &str = "(window.stops = [...document.querySelectorAll('a[href], button, input, textarea, summary, [tabindex=\"0\"]')].filter(stop => !stop.disabled && stop.type !== 'hidden' && stop.checkVisibility({visibilityProperty: true}))).length";

/// Which of them has the focus, and whether one sees that.
const HERE: &str = r"(() => {
  const here = document.activeElement;
  const outlined = [here, here.closest('.composer')].some((element) =>
    element && getComputedStyle(element).outlineStyle !== 'none' && parseFloat(getComputedStyle(element).outlineWidth) > 0);
  const { left, right, top, bottom } = here.getClientRects()[0];
  const shown = [top + 2, (top + bottom) / 2, bottom - 2].some((y) => {
    const there = document.elementFromPoint((left + right) / 2, y);
    return there && (here.contains(there) || there.contains(here));
  });
  return { at: stops.indexOf(here), outlined, shown, what: here.outerHTML.slice(0, 120) };
})()";

/// Goes through the whole page with one key.
async fn walk(browser: &Browser, state: &str) -> Vec<String> {
    let count = browser.evaluate(STOPS).await.as_u64().unwrap();
    assert!(count > 10, "{state}: {count}");
    browser.evaluate("stops[0].focus()").await;
    tab(browser, false).await;
    tab(browser, true).await;
    let mut faults = Vec::new();
    for expected in 0..count {
        let here = browser.evaluate(HERE).await;
        let is_right = here["at"] == expected && here["outlined"] == true && here["shown"] == true;
        if !is_right {
            let missed = browser
                .evaluate(&format!("stops[{expected}].outerHTML.slice(0, 120)"))
                .await;
            faults.push(format!("{state}: {here} instead of {expected}: {missed}"));
        }
        tab(browser, false).await;
    }
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_alone_reach_everything() {
    let app = TestApp::start(Kind::Sqlite, model(&CancellationToken::new()).await).await;
    let (chat, answer) = asked(&app, "Tell me of tea").await;
    app.read(&answer).await;
    app.put(
        &format!("/chat/message/{answer}/reaction"),
        &json!({"reaction": "like"}),
    )
    .await
    .expect(200);
    let browser = Browser::open().await;
    let mut faults = Vec::new();
    for (path, width) in [("/", 1100), (&chat, 1100), (&chat, 320)] {
        browser.resize(width, 640).await;
        browser.visit(&app.base, path).await;
        browser.text_of("#side-list .chat-row").await;
        faults.extend(walk(&browser, &format!("{path}, {width} wide")).await);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // What is folded away opens with a key, and the next stop is in it.
    for menu in [".chat-head .menu", ".edit", ".message-assistant .menu"] {
        browser
            .type_into(&format!("{menu} > summary"), "\u{E007}")
            .await;
        tab(&browser, false).await;
        let inside = format!(
            "document.querySelector('{menu}').contains(document.activeElement) && document.activeElement.tagName !== 'SUMMARY' || document.activeElement.matches('.about summary')"
        );
        assert_eq!(browser.evaluate(&inside).await, true, "{menu}");
    }
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_from_the_right_is_laid_out_from_the_right() {
    let app = TestApp::start(
        Kind::Sqlite,
        Upstream::start(|request| Script::answer([request.asked()])).await,
    )
    .await;
    let (chat, ..) = app.ask("كيف أحضر الشاي الأخضر؟\nشكرا").await;
    let browser = Browser::open().await;
    browser.visit(&app.base, &format!("/chat/{chat}")).await;
    browser.text_of(FINISHED).await;
    for css in [
        ".message-user .text",
        ".message-assistant .markdown > p",
        "#chat-title",
    ] {
        // How far the last line ends from the right side, and begins from the left one.
        let measure = format!(
            "(element => {{ const range = document.createRange(); range.selectNodeContents(element); const lines = [...range.getClientRects()]; const last = lines[lines.length - 1], box = element.getBoundingClientRect(), style = getComputedStyle(element); return [style.direction, box.right - parseFloat(style.paddingRight) - last.right]; }})(document.querySelector('{css}'))"
        );
        let measured = browser.evaluate(&measure).await;
        assert_eq!(measured[0], "rtl", "{css}");
        let gap = measured[1].as_f64().unwrap();
        assert!(gap.abs() < 2.0, "{css}: {gap} pixels from the right");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_for_who_wants_no_motion() {
    let gate = CancellationToken::new();
    let app = TestApp::start(Kind::Sqlite, model(&gate).await).await;
    let (chat, _) = asked(&app, "Wait for it").await;
    let moving = "document.getAnimations().length";
    let name = "getComputedStyle(document.querySelector('.typing span')).animationName";
    for (reduced_motion, expected) in [(false, "breathe"), (true, "none")] {
        let browser = Browser::open_as(Like {
            reduced_motion,
            ..Like::WIDE
        })
        .await;
        browser.visit(&app.base, &chat).await;
        browser.text_of(".typing").await;
        browser.text_of("#side-list .chat-row").await;
        assert_eq!(browser.evaluate(name).await, expected);
        let count = browser.evaluate(moving).await;
        assert_eq!(count == 0, reduced_motion, "{count} animations");
        browser.close().await;
    }
    gate.cancel();
    app.stop().await;
}
