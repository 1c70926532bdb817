//! A real browser: Debian's Chromium, headless, driven through ChromeDriver.

use std::process::Stdio;
use std::time::Duration;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use reqwest::{Method, Url};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::app::eventually;

const MISSING: &str = "the browser is missing: install Debian's packages `chromium` and `chromium-driver` (./scripts/test.sh does)";

/// How long to wait for something to show.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// One browser with a profile of its own.
pub struct Browser {
    pub page: Client,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    pub async fn open() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect(MISSING);
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("chromedriver ended");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // Chromedriver goes on talking; somebody has to listen, or the pipe fills.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let profile = tempfile::tempdir().unwrap();
        let profile_flag = format!("--user-data-dir={}", profile.path().display());
        let capabilities = json!({
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--window-size=1100,800", profile_flag,
            ]},
        });
        let page = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect(MISSING);
        Self {
            page,
            driver,
            _profile: profile,
        }
    }

    /// Waits until there is such an element that says something; its text. Looked up and read in
    /// one go, for the page may replace the element at any time.
    pub async fn text_of(&self, css: &str) -> String {
        let script = format!("document.querySelector({css:?})?.innerText.trim() || null");
        eventually(css, async || {
            self.evaluate(&script).await.as_str().map(str::to_owned)
        })
        .await
    }

    pub async fn count(&self, css: &str) -> usize {
        self.page.find_all(Locator::Css(css)).await.unwrap().len()
    }

    pub async fn type_into(&self, css: &str, keys: &str) {
        let element = self
            .page
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::Css(css))
            .await
            .unwrap();
        element.send_keys(keys).await.unwrap();
    }

    /// Presses a button as soon as it is there. In one go, for the page may replace it at any time.
    pub async fn press(&self, css: &str) {
        let script =
            format!("(button => (button?.click(), !!button))(document.querySelector({css:?}))");
        eventually(css, async || {
            (self.evaluate(&script).await == true).then_some(())
        })
        .await;
    }

    /// A value that the page computes.
    pub async fn evaluate(&self, script: &str) -> serde_json::Value {
        let script = format!("return {script}");
        self.page.execute(&script, Vec::new()).await.unwrap()
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
