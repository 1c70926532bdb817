//! A server in a process of its own, whose counts are nobody else's, with a model and an address for those who watch.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::exposition::Exposition;
use crate::support::app::eventually;
use crate::support::{Remote, Server, Upstream, http_client};

const FILE: &str = r#"
[[model]]
id = "scripted-model"
price_in = 2.0
price_out = 8.0
"#;

pub struct House {
    pub server: Server,
    pub remote: Remote,
    pub upstream: Upstream,
    pub dir: TempDir,
}

impl House {
    pub async fn start(upstream: Upstream, variables: &[(&str, &str)]) -> Self {
        Self::start_with_file(FILE, upstream, variables).await
    }

    pub async fn start_with_file(
        file: &str,
        upstream: Upstream,
        variables: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pollen.toml"), file).unwrap();
        let server = serve(dir.path(), &upstream, variables).await;
        Self {
            remote: Remote::of(&server.base),
            server,
            upstream,
            dir,
        }
    }

    /// Kills it, and starts it again.
    pub async fn restart(self) -> Self {
        self.server.kill().await;
        let server = serve(self.dir.path(), &self.upstream, &[]).await;
        Self {
            remote: Remote::of(&server.base),
            server,
            upstream: self.upstream,
            dir: self.dir,
        }
    }

    /// What it has counted, as its own address for that says.
    pub async fn counted(&self) -> Exposition {
        let text = http_client().get(self.metrics_url()).send().await.unwrap();
        Exposition::parse(&text.error_for_status().unwrap().text().await.unwrap())
    }

    /// What it has counted as soon as that is as it should be: what is told of an answer follows its end.
    pub async fn counted_until(&self, is_so: impl Fn(&Exposition) -> bool) -> Exposition {
        eventually("it is counted", async || {
            let counted = self.counted().await;
            is_so(&counted).then_some(counted)
        })
        .await
    }

    pub fn metrics_url(&self) -> String {
        let words = self.server.summary.split_whitespace();
        let mut addresses = words.filter(|word| word.starts_with("http://"));
        addresses.nth(1).expect("an address for metrics").to_owned()
    }

    /// The status of a GET, and what it says.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.server.base);
        let answer = http_client().get(url).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }
}

async fn serve(dir: &Path, upstream: &Upstream, variables: &[(&str, &str)]) -> Server {
    let base_url = upstream.base_url();
    let mut all = vec![
        ("OPENAI_API_KEY", "sk-secret-of-the-provider"),
        ("OPENAI_BASE_URL", base_url.as_str()),
        ("OPENAI_MODEL", "scripted-model"),
        ("POLLEN_METRICS__LISTEN", "127.0.0.1:0"),
        ("POLLEN_UPSTREAM__MAX_RETRIES", "0"),
        ("POLLEN_LEDGER__FLUSH_INTERVAL_MS", "30"),
        ("POLLEN_WORKER__SCAN_INTERVAL_MS", "100"),
        ("POLLEN_DATABASE__ACQUIRE_TIMEOUT_MS", "30000"),
    ];
    all.extend_from_slice(variables);
    Server::start(dir, &all).await
}
