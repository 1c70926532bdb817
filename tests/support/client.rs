//! A client that follows the protocol and nothing else: it starts somewhere, sends back the
//! position that it got, and does what `append` says.

use std::time::Duration;

use serde_json::Value;

/// A client of its own, with connections of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' own client, on loopback"
)]
pub fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        // Bodies as they are, with their lengths: `tests/browser/weight.rs` looks at the others.
        .no_gzip()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_mins(1))
        // It speaks to nobody over TLS, and reading the system's certificates takes its time.
        .tls_certs_only([])
        .build()
        .unwrap()
}

/// Snapshots in which every UUID and every time is the same one.
pub fn masked() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[uuid]");
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "[time]");
    settings
}

/// What a client has of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    pub text: String,
    pub position: u64,
    pub status: String,
    /// How often a whole text replaced what was there.
    pub replaced: usize,
}

impl Reader {
    /// Takes in one answer of the token poll (P3).
    pub fn apply(&mut self, answer: &Value) {
        let tokens = answer["tokens"].as_str().unwrap();
        if answer["append"].as_bool().unwrap() {
            self.text.push_str(tokens);
        } else {
            self.replaced += 1;
            tokens.clone_into(&mut self.text);
        }
        self.position = answer["position"].as_u64().unwrap();
        answer["status"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.status);
    }

    pub fn is_done(&self) -> bool {
        !self.status.is_empty() && self.status != "pending"
    }
}
