//! A real browser: Debian's Chromium, headless, driven through ChromeDriver.

use std::process::Stdio;
use std::time::Duration;

use fantoccini::wd::{TimeoutConfiguration, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use reqwest::{Method, Url};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::app::{PATIENCE, eventually};
use super::ports::free_port;

const MISSING: &str = "the browser is missing: install Debian's packages `chromium` and `chromium-driver` (./scripts/test.sh does)";

/// How often chromedriver is started, or a script is tried again that met a page on its way; the
/// pause between.
const TRIES: usize = 10;
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// ChromeDriver's own command for the console's log.
#[derive(Debug)]
struct BrowserLog;

impl WebDriverCompatibleCommand for BrowserLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}

/// ChromeDriver's own command for Chrome's developer tools.
#[derive(Debug)]
struct DevTools(serde_json::Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.0.to_string()))
    }
}

/// What a browser is like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    pub scripting: bool,
    pub reduced_motion: bool,
}

impl Kind {
    pub const WIDE: Self = Self {
        width: 1100,
        height: 800,
        dark: false,
        scripting: true,
        reduced_motion: false,
    };
    /// The narrowest that WCAG asks for.
    pub const NARROW: Self = Self {
        width: 320,
        height: 640,
        ..Self::WIDE
    };
    pub const WITHOUT_SCRIPT: Self = Self {
        scripting: false,
        ..Self::WIDE
    };

    pub const fn dark(self) -> Self {
        Self { dark: true, ..self }
    }
}

/// A chromedriver, and the port on which it listens. One whose port is not free over both IPv4 and
/// IPv6 gives up at once; the next has another.
async fn driver() -> (Child, String) {
    let mut said = String::new();
    for _ in 0..TRIES {
        let mut driver = Command::new("chromedriver")
            .arg(format!("--port={}", free_port()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect(MISSING);
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, port)) = line.split_once("successfully on port ") {
                let port = port.trim_end_matches('.').to_owned();
                // Chromedriver goes on talking; somebody has to listen, or the pipe fills.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return (driver, port);
            }
            said = line;
        }
    }
    panic!("chromedriver ended {TRIES} times, the last time with {said:?}");
}

/// One browser with a profile of its own.
pub struct Browser {
    pub page: Client,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    pub async fn open() -> Self {
        Self::open_as(Kind::WIDE).await
    }

    /// One that asks everything of this forward proxy (`http://…`), loopback addresses too.
    pub async fn open_through(proxy: &str) -> Self {
        let proxy = format!("--proxy-server={proxy}");
        Self::open_with(Kind::WIDE, &[&proxy, "--proxy-bypass-list=<-loopback>"]).await
    }

    pub async fn open_as(kind: Kind) -> Self {
        Self::open_with(kind, &[]).await
    }

    async fn open_with(kind: Kind, flags: &[&str]) -> Self {
        let (driver, port) = driver().await;
        let profile = tempfile::tempdir().unwrap();
        let profile_flag = format!("--user-data-dir={}", profile.path().display());
        let size_flag = format!("--window-size={},{}", kind.width, kind.height);
        // Chrome's setting for all sites: 2 is "do not allow".
        let prefs = if kind.scripting {
            json!({})
        } else {
            json!({"profile.managed_default_content_settings.javascript": 2})
        };
        let usual = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            &size_flag,
            &profile_flag,
        ];
        let flags = [usual.as_slice(), flags].concat();
        let capabilities = json!({
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": flags, "prefs": prefs},
        });
        let page = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect(MISSING);
        let limits = TimeoutConfiguration::new(Some(PATIENCE), Some(PATIENCE), None);
        page.update_timeouts(limits).await.unwrap();
        let browser = Self {
            page,
            driver,
            _profile: profile,
        };
        browser.resize(kind.width, kind.height).await;
        if !kind.scripting {
            // The setting for sites may reach a new page after its parser has begun.
            let off = json!({"value": true});
            browser
                .dev_tools("Emulation.setScriptExecutionDisabled", off)
                .await;
        }
        let media = |on: bool, yes: &'static str| if on { yes } else { "" };
        let features = json!({"features": [
            {"name": "prefers-color-scheme", "value": media(kind.dark, "dark")},
            {"name": "prefers-reduced-motion", "value": media(kind.reduced_motion, "reduce")},
        ]});
        browser
            .dev_tools("Emulation.setEmulatedMedia", features)
            .await;
        browser
    }

    /// A command of Chrome's developer tools.
    pub async fn dev_tools(&self, command: &str, params: serde_json::Value) -> serde_json::Value {
        let command = DevTools(json!({"cmd": command, "params": params}));
        self.page.issue_cmd(command).await.unwrap()
    }

    /// The size of the page in CSS pixels, whatever the window's.
    pub async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.dev_tools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    /// Cuts the network, or joins it again.
    pub async fn set_offline(&self, offline: bool) {
        let conditions = json!({
            "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.dev_tools("Network.enable", json!({})).await;
        self.dev_tools("Network.emulateNetworkConditions", conditions)
            .await;
    }

    /// Goes to a page of a server.
    pub async fn visit(&self, base: &str, path: &str) {
        self.page.goto(&format!("{base}{path}")).await.unwrap();
    }

    /// Waits until there is such an element that says something; its text. Looked up and read in
    /// one go, for the page may replace the element at any time.
    pub async fn text_of(&self, css: &str) -> String {
        let script = format!("document.querySelector({css:?})?.innerText.trim() || null");
        self.wait_for(css, async || {
            self.evaluate(&script).await.as_str().map(str::to_owned)
        })
        .await
    }

    /// Waits until there is something, and says what the page shows if there never is.
    async fn wait_for<T>(&self, css: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
        let found = tokio::time::timeout(PATIENCE / 2, eventually(css, ask)).await;
        if let Ok(found) = found {
            return found;
        }
        let shown = "[location.href, document.body.innerText].join('\\n')";
        let shown = self.evaluate(shown).await;
        panic!(
            "waited in vain for {css} at {}",
            shown.as_str().unwrap_or_default()
        );
    }

    pub async fn count(&self, css: &str) -> usize {
        let script = format!("document.querySelectorAll({css:?}).length");
        let count = self.evaluate(&script).await.as_u64().unwrap_or_default();
        usize::try_from(count).unwrap()
    }

    pub async fn type_into(&self, css: &str, keys: &str) {
        self.wait_for(css, async || {
            let element = self.page.find(Locator::Css(css)).await.ok()?;
            match element.send_keys(keys).await {
                Ok(()) => Some(()),
                // A poll has just put another in its place: no key has been pressed yet.
                Err(error) if error.is_stale_element_reference() => None,
                Err(error) => panic!("{css}: {error}"),
            }
        })
        .await;
    }

    /// Takes all text out of the message box, as somebody does who deletes it: else it comes back as a
    /// draft.
    pub async fn empty_the_box(&self) {
        self.evaluate(
            "(box => (box.value = '', box.dispatchEvent(new Event('input', {bubbles: true}))))(document.getElementById('message'))",
        )
        .await;
    }

    /// Presses a button as soon as it is there. In one go, for the page may replace it at any time;
    /// and once, though the answer to the press may be lost to the page that it leads to.
    pub async fn press(&self, css: &str) {
        let once = uuid::Uuid::new_v4();
        let script = format!(
            "(() => {{
                if (sessionStorage.pressed === '{once}') return true;
                const button = document.querySelector({css:?});
                if (!button) return false;
                sessionStorage.pressed = '{once}';
                button.focus();
                button.click();
                return true;
            }})()"
        );
        self.wait_for(css, async || {
            (self.evaluate(&script).await == true).then_some(())
        })
        .await;
    }

    /// A value that the page computes.
    pub async fn evaluate(&self, script: &str) -> serde_json::Value {
        let script = format!("return {script}");
        for _ in 0..TRIES {
            if let Ok(value) = self.page.execute(&script, Vec::new()).await {
                return value;
            }
            // The page may just have been on its way to another one.
            tokio::time::sleep(TRY_AGAIN).await;
        }
        self.page.execute(&script, Vec::new()).await.unwrap()
    }

    /// What the browser has complained of so far, but for polls that met a chat just deleted: the page
    /// polls until the answer to its delete is there.
    pub async fn complaints_without(&self, deleted: &str) -> Vec<String> {
        let of_poll = |text: &String| {
            text.contains(&format!("/chat/{deleted}/messages")) && text.contains("404")
        };
        let mut complaints = self.complaints().await;
        complaints.retain(|text| !of_poll(text));
        complaints
    }

    /// What the browser has complained of so far: script errors, policy violations, failed loads.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.page.issue_cmd(BrowserLog).await.unwrap();
        let entries = log.as_array().unwrap().iter();
        entries
            .filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING")
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    pub async fn close(mut self) {
        self.page.close().await.unwrap();
        self.driver.kill().await.unwrap();
    }
}
