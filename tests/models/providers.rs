//! Two providers in the file, the switch between them, the list of models, and the terminal's view.

use serde_json::{Value, json};

use crate::support::process::{Server, run};
use crate::support::upstream::Received;
use crate::support::{Database, Remote, Script, TestApp, Upstream};

/// An answer in Anthropic's format.
fn anthropic(text: &str) -> Script {
    let event = |value: Value| format!("data: {value}\n\n");
    let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}});
    Script::stream()
        .raw(event(
            json!({"type": "message_start", "message": {"usage": {"input_tokens": 5}}}),
        ))
        .raw(event(delta))
        .raw(event(end))
        .raw(event(json!({"type": "message_stop"})))
}

fn file_of(two: &Upstream) -> String {
    format!(
        "[[provider]]\nname = \"one\"\nkind = \"openai\"\nbase_url = \"UPSTREAM\"\napi_key = \"sk-one\"\n\
         [[provider]]\nname = \"two\"\nkind = \"anthropic\"\nbase_url = \"{}\"\napi_key = \"sk-two\"\n\
         [[model]]\nid = \"gpt\"\nprovider = \"one\"\nupstream = \"gpt-x\"\nprice_in = 1.0\nprice_out = 2.0\n\
         [[model]]\nid = \"claude\"\nprovider = \"two\"\nupstream = \"claude-x\"\ntier = \"basic\"\n",
        two.base_url()
    )
}

on_both_databases! {
    async fn one_chat_switches_its_model_in_the_middle_and_keeps_its_history(kind: Kind) {
        let one = Upstream::start(|_| Script::answer(["from one"])).await;
        let two = Upstream::start(|_| anthropic("from two")).await;
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        std::fs::write(&path, file_of(&two).replace("UPSTREAM", &one.base_url())).unwrap();
        let settings = [("default_provider", "auto")];
        let app = TestApp::start_with_file_and(database, one.clone(), &path, &settings).await;
        let (chat, answer, reader) = app.ask("first").await;
        assert_eq!(reader.text, "from one");
        let told = app.message(&answer).await;
        assert_eq!((&told["model"], &told["finish_reason"]), (&json!("gpt"), &json!("stop")));
        assert_eq!(one.received()[0].body["model"], "gpt-x");
        let change = json!({"model": "claude"});
        app.request(reqwest::Method::PATCH, &format!("/chat/{chat}"), |r| r.json(&change)).await.expect(200);
        let second = app.send(&chat, "second").await;
        let answer = app.answer_to(&chat, &second).await;
        assert_eq!(app.read(&answer).await.text, "from two");
        let asked = two.received().pop().unwrap();
        assert_eq!(asked.body["model"], "claude-x");
        assert!(asked.head.contains("sk-two") && !asked.head.contains("sk-one"), "each its own key");
        let said: Vec<&Value> = asked.body["messages"].as_array().unwrap().iter().map(|m| &m["role"]).collect();
        assert_eq!(said, ["user", "assistant", "user"]);
        assert!(asked.body.to_string().contains("from one"));
        // A single message may be answered by another one, and one that is not there is refused.
        let sent = app.post(&format!("/chat/{chat}/send"), &json!({"message": "third", "model": "gpt"})).await.expect(202).json();
        let answer = app.answer_to(&chat, sent["message"]["uuid"].as_str().unwrap()).await;
        assert_eq!(app.read(&answer).await.text, "from one");
        let refused = app.post(&format!("/chat/{chat}/send"), &json!({"message": "x", "model": "nope"})).await.expect(422).json();
        assert!(refused["detail"].as_str().unwrap().contains("\"gpt\", \"claude\""), "{refused}");
        let models = app.get("/models").await.expect(200).json();
        let ids: Vec<&Value> = models["models"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
        assert_eq!(ids[..2], ["gpt", "claude"]);
        assert_eq!((&models["models"][0]["default"], &models["models"][0]["price_out"]), (&json!(true), &json!(2.0)));
        app.stop().await;
    }

    async fn each_provider_has_a_way_of_its_own(kind: Kind) {
        // One says nothing for longer than it may; the other is reached through a proxy.
        let slow = Upstream::start(|_| Script::stream().stall()).await;
        let proxy = Upstream::start(|_| Script::answer(["through the proxy"])).await;
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        let file = format!(
            "[[provider]]\nname = \"slow\"\nkind = \"openai\"\nbase_url = \"{}\"\nfirst_byte_timeout_ms = 300\n\
             [[provider]]\nname = \"far\"\nkind = \"openai\"\nbase_url = \"http://models.invalid/v1\"\nproxy = \"{}\"\n\
             [[model]]\nid = \"one\"\nprovider = \"slow\"\n[[model]]\nid = \"two\"\nprovider = \"far\"\n",
            slow.base_url(),
            proxy.root()
        );
        std::fs::write(&path, file).unwrap();
        let settings = [("default_provider", "auto")];
        let app = TestApp::start_with_file_and(database, slow.clone(), &path, &settings).await;
        let (chat, answer, reader) = app.ask("first").await;
        assert_eq!(reader.status, "failed");
        let error = app.message(&answer).await["error"].clone();
        assert_eq!(error["code"], "provider_stalled");
        assert!(error["message"].as_str().unwrap().contains("0.3 s"), "{error}");
        app.send(&chat, "/model two").await;
        assert_eq!(app.ask_in(&chat, "second").await.1.text, "through the proxy");
        let asked = proxy.received().pop().unwrap();
        assert!(asked.head.starts_with("POST http://models.invalid/v1/chat/completions "), "{}", asked.head);
        app.stop().await;
    }

    async fn each_model_takes_what_its_provider_can_carry(kind: Kind) {
        let one = Upstream::start(|_| Script::answer(["from one"])).await;
        let two = Upstream::start(|_| anthropic("from two")).await;
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        let file = file_of(&two).replace("UPSTREAM", &one.base_url());
        let file = file.replace("upstream = \"gpt-x\"\n", "upstream = \"gpt-x\"\nmax_output = 500\nparameters = { top_p = 0.5, seed = 7 }\n");
        std::fs::write(&path, file).unwrap();
        let settings = [("default_provider", "auto")];
        let app = TestApp::start_with_file_and(database, one.clone(), &path, &settings).await;
        let chat = app.create_chat().await;
        let at = format!("/chat/{chat}");
        let change_chat = async |body: Value, status: u16| {
            let answer = app.request(reqwest::Method::PATCH, &at, |r| r.json(&body)).await;
            answer.expect(status).json()
        };
        let told = change_chat(json!({"parameters": {"temperature": 1.5, "max_tokens": 200, "reasoning_effort": "high"}}), 200).await;
        assert_eq!(told["parameters"]["reasoning_effort"], "high");
        let refused = change_chat(json!({"parameters": {"max_tokens": 501}}), 422).await;
        assert!(refused["detail"].as_str().unwrap().contains("`max_tokens` must be from 1 to 500"), "{refused}");
        let (answer, _) = app.ask_in(&chat, "first").await;
        let asked = |upstream: &Upstream| upstream.received().pop().unwrap().body;
        let body = asked(&one);
        assert_eq!((&body["top_p"], &body["seed"]), (&json!(0.5), &json!(7)), "the model's own");
        assert_eq!((&body["temperature"], &body["max_tokens"], &body["reasoning_effort"]), (&json!(1.5), &json!(200), &json!("high")), "the chat's");
        // Another version may be asked for otherwise; the chat stays as it is.
        let again = format!("/chat/message/{answer}/regenerate");
        app.post(&again, &json!({"parameters": {"temperature": 0.1, "stop": ["x"]}})).await.expect(202);
        app.read(&answer).await;
        let body = asked(&one);
        assert_eq!((&body["temperature"], &body["stop"], &body["seed"]), (&json!(0.1), &json!(["x"]), &json!(7)));
        // What the other model does not take is refused when it is named for that one.
        for (parameters, field) in [(json!({"seed": 7}), "`seed`"), (json!({"temperature": 1.5}), "`temperature`")] {
            let body = json!({"message": "x", "model": "claude", "parameters": parameters});
            let refused = app.post(&format!("{at}/send"), &body).await.expect(422);
            assert!(refused.text.contains(field) && refused.text.contains("claude"), "{}", refused.text);
            let body = json!({"model": "claude", "parameters": parameters});
            app.post(&again, &body).await.expect(422);
            assert!(change_chat(body, 422).await["detail"].as_str().unwrap().contains(field));
        }
        // What a chat has from before is cut to what the other one takes.
        app.send(&chat, "/model claude").await;
        assert_eq!(app.ask_in(&chat, "second").await.1.text, "from two");
        let body = asked(&two);
        assert!(body.get("seed").is_none() && body["temperature"].as_f64().is_none_or(|t| t <= 1.0), "{body}");
        app.stop().await;
    }

    async fn parameters_reach_the_model_and_the_nearest_word_counts(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let create = json!({"parameters": {"temperature": 0.5, "max_tokens": 50}});
        let chat = app.post("/chat/create", &create).await.expect(201).json();
        let chat = chat["uuid"].as_str().unwrap();
        let body = json!({"message": "one", "parameters": {"temperature": 0.1, "stop": ["x"]}});
        let sent = app.post(&format!("/chat/{chat}/send"), &body).await.expect(202).json();
        let answer = app.answer_to(chat, sent["message"]["uuid"].as_str().unwrap()).await;
        app.read(&answer).await;
        let body = app.upstream.received().pop().unwrap().body;
        assert_eq!((&body["temperature"], &body["max_tokens"], &body["stop"]), (&json!(0.1), &json!(50), &json!(["x"])));
        for bad in [json!({"temperature": 9}), json!({"top_p": 0}), json!({"heat": 1}), json!({"max_tokens": 0})] {
            let body = json!({"message": "one", "parameters": bad});
            app.post(&format!("/chat/{chat}/send"), &body).await.expect(422);
        }
        app.stop().await;
    }
}

#[tokio::test]
async fn an_environment_key_alone_is_enough() {
    let two = Upstream::start(|_| anthropic("hello")).await;
    let dir = tempfile::tempdir().unwrap();
    let url = two.base_url();
    let variables = [
        ("ANTHROPIC_API_KEY", "sk-planted"),
        ("ANTHROPIC_BASE_URL", url.as_str()),
        ("ANTHROPIC_MODEL", "claude-x"),
    ];
    let server = Server::start(dir.path(), &variables).await;
    assert!(
        server.summary.ends_with("model claude-x (anthropic)"),
        "{}",
        server.summary
    );
    let client = Remote::of(&server.base);
    let reader = client.converse("hi").await;
    assert_eq!(reader.text, "hello");
    let (_, log) = server.terminate("-TERM").await;
    assert!(!log.contains("sk-planted"), "{log}");
}

#[tokio::test]
async fn the_terminal_lists_and_checks_models() {
    let good = Upstream::start(|_| Script::answer(["OK"])).await;
    let bad =
        Upstream::start(|_| Script::json(401, &json!({"error": {"message": "no: sk-planted"}})))
            .await;
    let dir = tempfile::tempdir().unwrap();
    let file = format!(
        "[[provider]]\nname = \"good\"\nkind = \"openai\"\nbase_url = \"{}\"\n[[provider]]\nname = \"bad\"\nkind = \"openai\"\nbase_url = \"{}\"\napi_key_env = \"BAD_KEY\"\n\
         [[model]]\nid = \"a\"\nprovider = \"good\"\n[[model]]\nid = \"b\"\nprovider = \"bad\"\n",
        good.base_url(),
        bad.base_url()
    );
    std::fs::write(dir.path().join("pollen.toml"), file).unwrap();
    let variables = [("BAD_KEY", "sk-planted")];
    let listed = run(dir.path(), &variables, &["models"]).await;
    assert_eq!(
        String::from_utf8(listed.stdout).unwrap(),
        "ID           NAME  PROVIDER  WINDOW  PRICE IN  PRICE OUT  TIER\n\
         a (default)  a     good           -         -          -  -\n\
         b            b     bad            -         -          -  -\n"
    );
    let checked = run(dir.path(), &variables, &["check"]).await;
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains("ok    good a: first token after"), "{said}");
    assert!(
        said.contains("fail  bad b: ") && said.contains("refused the key"),
        "{said}"
    );
    assert!(!said.contains("sk-planted") && !checked.status.success());
    let unset = run(dir.path(), &[], &["models"]).await;
    let said = String::from_utf8(unset.stderr).unwrap();
    assert!(said.contains("BAD_KEY, which is not set"), "{said}");
}

/// The shape that the file was asked to have, word by word.
const FILE: &str = r#"
[[provider]]
name = "two"
kind = "anthropic"             # openai | openai-responses | anthropic | gemini | ollama
base_url = "http://127.0.0.1:9000"
api_key_env = "KEY_TWO"

[[model]]
id = "claude"
provider = "two"
upstream = "claude-x"          # the provider's own name for it
price_in = 1.0                 # per million tokens
price_out = 2.0
tier = "basic"
cache = true
"#;

/// Starts the binary, asks it once, and gives what its model's server was sent.
async fn asked_of(two: &Upstream, file: &str, variables: &[(&str, &str)]) -> Received {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pollen.toml"), file).unwrap();
    let server = Server::start(dir.path(), variables).await;
    let client = Remote::of(&server.base);
    let reader = client.converse("hi").await;
    assert_eq!(reader.text, "hello");
    server.terminate("-TERM").await;
    two.received().pop().unwrap()
}

#[tokio::test]
async fn the_address_of_a_service_alone_is_enough() {
    let two = Upstream::start(|_| anthropic("hello")).await;
    let file = FILE.replace("127.0.0.1:9000", &two.address.to_string());
    let asked = asked_of(&two, &file, &[("KEY_TWO", "sk-two")]).await;
    assert!(
        asked.head.starts_with("POST /v1/messages HTTP/1.1"),
        "{}",
        asked.head
    );
    assert!(asked.head.contains("x-api-key: sk-two"), "{}", asked.head);
    assert_eq!(asked.body["model"], "claude-x");
    for url in [two.root(), format!("{}/", two.root()), two.base_url()] {
        let variables = [
            ("ANTHROPIC_API_KEY", "sk-two"),
            ("ANTHROPIC_BASE_URL", url.as_str()),
            ("ANTHROPIC_MODEL", "claude-x"),
        ];
        let asked = asked_of(&two, "", &variables).await;
        assert!(
            asked.head.starts_with("POST /v1/messages HTTP/1.1"),
            "{url}: {}",
            asked.head
        );
    }
    let gemini = Upstream::start(|_| {
        let said = json!({"candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"}]});
        Script::stream().raw(format!("data: {said}\n\n"))
    })
    .await;
    let url = gemini.root();
    let variables = [
        ("GOOGLE_API_KEY", "sk-g"),
        ("GEMINI_BASE_URL", url.as_str()),
        ("GEMINI_MODEL", "gemini-x"),
    ];
    let asked = asked_of(&gemini, "", &variables).await;
    assert!(
        asked
            .head
            .starts_with("POST /v1beta/models/gemini-x:streamGenerateContent?alt=sse "),
        "{}",
        asked.head
    );
    // Some servers of OpenAI's format have no version.
    let plain = Upstream::start(|_| Script::answer(["hello"])).await;
    let url = plain.root();
    let asked = asked_of(&plain, "", &[("OPENAI_BASE_URL", url.as_str())]).await;
    assert!(
        asked.head.starts_with("POST /chat/completions "),
        "{}",
        asked.head
    );
}

/// A model's server as it goes wrong at several addresses.
async fn wrong_in_many_ways() -> String {
    use axum::http::StatusCode;
    use axum::response::{Html, Redirect};
    use axum::routing::{get, post};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lists = || get(async || axum::Json(json!({"data": [{"id": "known"}]})));
    let gone = || {
        post(async || {
            (
                StatusCode::NOT_FOUND,
                axum::Json(json!({"detail": "Not Found"})),
            )
        })
    };
    let named = async || {
        let error = json!({"error": {"message": "no such", "code": "model_not_found"}});
        (StatusCode::NOT_FOUND, axum::Json(error))
    };
    let refused = async || {
        let error = json!({"error": {"message": "bad sk-planted"}});
        (StatusCode::UNAUTHORIZED, axum::Json(error))
    };
    let lost = async || (StatusCode::NOT_FOUND, Html("<h1>Not here</h1>"));
    let router = axum::Router::new()
        .route("/lists/models", lists())
        .route("/lists/chat/completions", gone())
        .route("/says/chat/completions", post(named))
        .route("/key/chat/completions", post(refused))
        .route("/page/chat/completions", post(async || Html("<h1>Hi</h1>")))
        .route("/lost/chat/completions", post(lost))
        .route(
            "/moved/chat/completions",
            post(async || Redirect::permanent("/elsewhere")),
        )
        .route("/read/chat/completions", get(async || "GET only"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn a_check_says_what_exactly_is_wrong() {
    let root = wrong_in_many_ways().await;
    let cases = [
        (
            "unknown",
            "/lists",
            "does not know the model \"m\". It lists: \"known\".",
        ),
        (
            "named",
            "/says",
            "does not know the model \"m\". It says: no such",
        ),
        ("key", "/key", "refused the key"),
        (
            "path",
            "/nowhere",
            "The address (`base_url`) of the model's server (path) is wrong: neither",
        ),
        (
            "page",
            "/page",
            "sent a web page, which is not an answer. Is its address (`base_url`) right?",
        ),
        (
            "lost",
            "/lost",
            "with status 404. Its address (`base_url`) is probably wrong.",
        ),
        (
            "moved",
            "/moved",
            "with status 308. Its address (`base_url`) is probably wrong.",
        ),
        (
            "method",
            "/read",
            "with status 405. Its address (`base_url`) is probably wrong.",
        ),
        (
            "port",
            "",
            "could not be reached. Is it running, and is its address (`base_url`) right?",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let tables = cases.map(|(name, path, _)| {
        let url = match path {
            "" => "http://127.0.0.1:9/v1".to_owned(),
            path => format!("{root}{path}"),
        };
        format!(
            "[[provider]]\nname = {name:?}\nkind = \"openai\"\nbase_url = {url:?}\napi_key = \"sk-planted\"\nmodel = \"m\"\n"
        )
    });
    let file = tables.concat();
    std::fs::write(dir.path().join("pollen.toml"), file).unwrap();
    let checked = run(dir.path(), &[], &["check"]).await;
    let said = String::from_utf8(checked.stdout).unwrap();
    for (name, _, words) in cases {
        let line = said
            .lines()
            .find(|line| line.starts_with(&format!("fail  {name} ")));
        let line = line.unwrap_or_else(|| panic!("{name} not in\n{said}"));
        assert!(line.contains(words), "{words} not in {line}");
    }
    let warned = String::from_utf8(checked.stderr).unwrap();
    assert!(
        warned
            .contains("warning: the key of the provider \"key\" stands in the configuration file"),
        "{warned}"
    );
    assert!(
        !said.contains("planted") && !warned.contains("planted"),
        "{said}{warned}"
    );
    let listed = run(dir.path(), &[], &["models"]).await;
    let warned = String::from_utf8(listed.stderr).unwrap();
    assert!(warned.contains("warning: the key of"), "{warned}");
}
