//! SIGHUP: models, agents, tiers and limits are read again while people use the server; what is wrong changes nothing.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::database::Kind;
use crate::support::{Database, Remote, Server, app::eventually, http_client};

const BEFORE: &str = r#"
default_tier = "small"
default_model = "steady"

[demo]
tokens = 120
tokens_per_second = 40

[[model]]
id = "steady"
provider = "demo"
price_in = 1.0
price_out = 1.0

[[model]]
id = "old"
provider = "demo"
price_in = 2.0
price_out = 2.0

[[tier]]
name = "small"
requests_per_minute = 2

[[agent]]
alias = "bee"
name = "Bee"
system_prompt = "You are a bee."
"#;

struct Running {
    server: Server,
    file: std::path::PathBuf,
    base: String,
    client: reqwest::Client,
}

impl Running {
    async fn start(dir: &Path, database: &Database) -> Self {
        let file = dir.join("pollen.toml");
        std::fs::write(&file, BEFORE).unwrap();
        let variables = [("POLLEN_DATABASE_URL", database.url.as_str())];
        let server = Server::start(dir, &variables).await;
        let base = server.base.clone();
        Self {
            server,
            file,
            base,
            client: http_client(),
        }
    }

    /// Changes the file, sends the signal, and waits until it has been read.
    async fn reload(&self, text: &str, result: &str) {
        let before = self.reloads(result).await;
        std::fs::write(&self.file, text).unwrap();
        self.server.signal("-HUP").await;
        eventually("the configuration is read again", async || {
            (self.reloads(result).await > before).then_some(())
        })
        .await;
    }

    async fn reloads(&self, result: &str) -> u64 {
        let (_, text) = self.get_text("/metrics").await;
        let name = format!("pollen_reloads_total{{result=\"{result}\"}} ");
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |number| number.parse().unwrap())
    }

    async fn get_text(&self, path: &str) -> (u16, String) {
        let response = self.client.get(format!("{}{path}", self.base)).send();
        let response = response.await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, text) = self.get_text(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn models(&self) -> Vec<String> {
        let models = self.get("/models").await;
        let ids = models["models"].as_array().unwrap().iter();
        ids.map(|model| model["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The names of the agents that the file has.
    async fn agents(&self) -> Vec<String> {
        let agents = self.get("/agents").await;
        let agents = agents["agents"].as_array().unwrap().iter();
        let own = agents.filter(|agent| ["bee", "ant"].contains(&agent["alias"].as_str().unwrap()));
        own.map(|agent| agent["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_agents_tiers_and_limits_change_while_the_server_runs() {
    let database = Database::create(Kind::Sqlite).await;
    let running = Running::start(&database.dir(), &database).await;
    assert_eq!(running.models().await, ["steady", "old"]);
    assert_eq!(running.agents().await, ["Bee"]);
    // An answer of a model that is gone before it ends, and all that the tier allows.
    let (status, created) = running
        .post("/chat/create", &json!({"model": "old", "message": "Hello"}))
        .await;
    assert_eq!(status, 201, "{created}");
    let answer = Remote::of(&running.base).answer(&created).await;
    let (status, _) = running
        .post("/chat/create", &json!({"message": "Again"}))
        .await;
    assert_eq!(status, 201);
    let (status, problem) = running
        .post("/chat/create", &json!({"message": "And again"}))
        .await;
    assert_eq!(
        (status, &problem["type"]),
        (429, &json!("/problems/rate-limited")),
        "{problem}"
    );

    let after = BEFORE
        .replace("id = \"old\"", "id = \"new\"")
        .replace("name = \"Bee\"", "name = \"Queen\"")
        .replace(
            "requests_per_minute = 2",
            "requests_per_minute = 50\nmessage_bytes = 100",
        )
        + "\n[[agent]]\nalias = \"ant\"\nname = \"Ant\"\nsystem_prompt = \"You are an ant.\"\n\
           [limits]\npolls_per_minute = 11999\n[worker]\nmax_running = 3\n";
    running.reload(&after, "done").await;
    assert_eq!(running.models().await, ["steady", "new"]);
    assert_eq!(running.agents().await, ["Queen", "Ant"]);
    let (status, sent) = running
        .post(
            "/chat/create",
            &json!({"message": "And again", "model": "new"}),
        )
        .await;
    assert_eq!(status, 201, "the limit is another one: {sent}");
    let (status, problem) = running
        .post("/chat/create", &json!({"message": "x".repeat(101)}))
        .await;
    assert_eq!(
        (status, problem["type"].as_str()),
        (422, Some("/problems/invalid-field")),
        "{problem}"
    );
    let (status, problem) = running
        .post("/chat/create", &json!({"message": "Hello", "model": "old"}))
        .await;
    assert_eq!(status, 422, "{problem}");
    // What was under way goes on to its end, and costs what it cost.
    let mut reader = crate::support::Reader::default();
    Remote::of(&running.base)
        .poll_until(&answer, &mut reader, crate::support::Reader::is_done)
        .await;
    assert_eq!((reader.status.as_str(), reader.replaced), ("completed", 0));
    assert_eq!(reader.text.split_inclusive(' ').count(), 120);
    let about = running.get(&format!("/chat/message/{answer}/about")).await;
    assert!(about["cost"].as_f64().unwrap() > 0.0, "{about}");

    let (status, log) = running.server.terminate("-TERM").await;
    assert!(status.success());
    let line = |words: &str| {
        let mut lines = log.lines();
        lines
            .find(|line| line.contains(words))
            .unwrap_or_else(|| panic!("{words}: {log}"))
    };
    let changed = line("the configuration was read again");
    for key in ["agent", "limits.polls_per_minute", "model", "tier"] {
        assert!(changed.contains(key), "{changed}");
    }
    let held = line("need a new start");
    assert!(held.contains("worker.max_running"), "{held}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_changes_nothing_and_the_log_says_why() {
    let database = Database::create(Kind::Sqlite).await;
    let running = Running::start(&database.dir(), &database).await;
    let gone = running.file.with_extension("gone");
    let cases = [
        (
            BEFORE.replace("[demo]", "[demo"),
            "cannot read the configuration file",
        ),
        (
            BEFORE.replace("tokens = 120", "tokenz = 120"),
            "demo.tokenz",
        ),
        (
            BEFORE.replace("\"small\"\nrequests", "\"large\"\nrequests"),
            "there is no such tier",
        ),
        (
            format!(
                "{}\n[chat]\ntitle_model = \"nobody\"\n",
                BEFORE.replace("id = \"old\"", "id = \"new\"")
            ),
            "nobody",
        ),
    ];
    for (text, _) in &cases {
        running.reload(text, "refused").await;
    }
    std::fs::rename(&running.file, &gone).unwrap();
    let before = running.reloads("refused").await;
    running.server.signal("-HUP").await;
    eventually("a file that is gone is a mistake", async || {
        (running.reloads("refused").await > before).then_some(())
    })
    .await;
    assert_eq!(running.models().await, ["steady", "old"]);
    assert_eq!(running.agents().await, ["Bee"]);
    // And once it is right again, it holds.
    let right = BEFORE.replace("id = \"old\"", "id = \"new\"");
    running.reload(&right, "done").await;
    assert_eq!(running.models().await, ["steady", "new"]);
    let (_, log) = running.server.terminate("-TERM").await;
    for (_, reason) in &cases {
        let is_told = |line: &str| line.contains("all stays as it was") && line.contains(reason);
        assert!(log.lines().any(is_told), "{reason}: {log}");
    }
}
