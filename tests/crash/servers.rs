//! Where the servers are. They come and go; who asks, asks the next one.

use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::support::{app::PATIENCE, http_client};

/// A halted server accepts connections and says nothing: who waits longer asks another one.
const CALL_LIMIT: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(40);

/// The addresses, one place for each server.
pub struct Servers {
    client: reqwest::Client,
    addresses: Mutex<Vec<Option<String>>>,
}

/// One call, which may be made again.
pub struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    pub key: Option<&'a str>,
    pub body: Option<&'a Value>,
}

impl<'a> Call<'a> {
    pub fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            key: None,
            body: None,
        }
    }

    pub fn post(path: &'a str, body: &'a Value) -> Self {
        Self {
            method: Method::POST,
            path,
            key: None,
            body: Some(body),
        }
    }

    pub fn under(self, key: Option<&'a str>) -> Self {
        Self { key, ..self }
    }
}

/// How the calls of one client went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    pub made: u64,
    /// Not answered, or told to come again.
    pub repeated: u64,
    /// Answered by a 500, which no fault of the database's should be.
    pub faults: u64,
}

impl Servers {
    pub fn new(places: usize) -> Self {
        Self {
            client: http_client(),
            addresses: Mutex::new(vec![None; places]),
        }
    }

    pub fn put(&self, place: usize, base: &str) {
        self.addresses.lock().unwrap()[place] = Some(base.to_owned());
    }

    /// Asks one server after the other until one answers; anything but a success and a reason to
    /// come again is a failure of the test.
    pub async fn ask(&self, dice: &mut fastrand::Rng, calls: &mut Calls, call: Call<'_>) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = match self.ask_once(dice, calls, &call).await {
                Ok(answer) => return answer,
                Err(said) => said,
            };
            calls.repeated += 1;
            assert!(
                Instant::now() < deadline,
                "nobody answers {} {}: {said}",
                call.method,
                call.path
            );
            sleep(PAUSE).await;
        }
    }

    async fn ask_once(
        &self,
        dice: &mut fastrand::Rng,
        calls: &mut Calls,
        call: &Call<'_>,
    ) -> Result<Value, String> {
        let base = dice.choice(self.addresses.lock().unwrap().iter()).cloned();
        let base = base.flatten().ok_or("no server yet")?;
        let url = format!("{base}{}", call.path);
        let mut request = self.client.request(call.method.clone(), url);
        if let Some(key) = call.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        calls.made += 1;
        let response = request.timeout(CALL_LIMIT).send().await;
        let response = response.map_err(|error| error.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        calls.faults += u64::from(status == StatusCode::INTERNAL_SERVER_ERROR);
        // 409: the same call is still under way.
        if status.is_server_error() || status == StatusCode::CONFLICT {
            return Err(format!("{status} {text}"));
        }
        assert!(status.is_success(), "{}: {status} {text}", call.path);
        Ok(serde_json::from_str(&text).unwrap())
    }
}
