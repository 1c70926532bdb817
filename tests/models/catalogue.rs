//! The catalogue: what a name means, whatever the lists say; lists that come, grow old and fail; which
//! models are offered to whom.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use pollen::model::spec::ModelSpec;
use pollen::provider::{
    Call, Capabilities, Catalogue, DefaultModel, Demo, DemoSettings, Entry, Event, ListedModel,
    Provider, ProviderError,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::process::{Server, run};
use crate::support::{Database, Remote, Script, TestApp, Upstream};

/// Two providers, the second not the default one, and tiers.
fn tiers(two: &Upstream) -> String {
    format!(
        "default_tier = \"basic\"\n[[tier]]\nname = \"basic\"\n[[tier]]\nname = \"pro\"\n\
         [[provider]]\nname = \"one\"\nkind = \"openai\"\nbase_url = \"UPSTREAM\"\nlist_models = true\n\
         [[provider]]\nname = \"two\"\nkind = \"openai\"\nbase_url = \"{}\"\nlist_models = true\n\
         [[model]]\nid = \"small\"\nupstream = \"small-x\"\nprice_in = 100.0\nprice_out = 100.0\n\
         [[model]]\nid = \"big\"\ntier = \"pro\"\n\
         [[model]]\nid = \"other\"\nprovider = \"two\"\nupstream = \"other-x\"\ntier = \"pro\"\n",
        two.base_url()
    )
}

async fn start(kind: Kind, one: Upstream, file: &str) -> TestApp {
    let database = Database::create(kind).await;
    let path = database.dir().join("pollen.toml");
    std::fs::write(&path, file.replace("UPSTREAM", &one.base_url())).unwrap();
    let settings = [("default_provider", "auto"), ("openai.base_url", "")];
    TestApp::start_with_file_and(database, one, &path, &settings).await
}

async fn ids(app: &TestApp) -> Vec<String> {
    let models = app.get("/models").await.expect(200).json();
    let models = models["models"].as_array().unwrap();
    models
        .iter()
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect()
}

fn list(names: &[&str]) -> Value {
    let models: Vec<Value> = names.iter().map(|name| json!({"id": name})).collect();
    json!({"object": "list", "data": models})
}

on_both_databases! {
    async fn a_tier_holds_under_every_name_of_a_model(kind: Kind) {
        let (one, two) = (Upstream::echo().await, Upstream::echo().await);
        one.lists(200, list(&["small-x", "big", "free"]));
        two.lists(200, list(&["other-x", "big"]));
        let app = start(kind, one, &tiers(&two)).await;
        for asked in [false, true] {
            if asked {
                app.get("/models").await.expect(200);
            }
            for name in ["big", "one/big", "one/models/big", "BIG", "one/Big", "other", "two/other-x", "two/OTHER-X"] {
                let refused = app.post("/chat/create", &json!({"model": name})).await;
                assert_eq!(refused.status, 403, "{name}: {}", refused.text);
            }
            for name in ["small", "small-x", "one/small-x", "free", "one/free", "two/big"] {
                app.post("/chat/create", &json!({"model": name})).await.expect(201);
            }
        }
        app.stop().await;
    }

    async fn a_listed_name_keeps_the_price_that_the_file_gives_it(kind: Kind) {
        let (one, two) = (Upstream::echo().await, Upstream::echo().await);
        one.lists(200, list(&["small-x", "free"]));
        let app = start(kind, one, &tiers(&two)).await;
        assert_eq!(ids(&app).await, ["small", "free", "two/scripted-model"]);
        for name in ["one/small-x", "small-x"] {
            let created = app.post("/chat/create", &json!({"model": name})).await.expect(201).json();
            let chat = created["uuid"].as_str().unwrap();
            let message = app.send(chat, "hello").await;
            let answer = app.answer_to(chat, &message).await;
            app.read(&answer).await;
            assert_eq!(app.upstream.received().pop().unwrap().body["model"], "small-x");
        }
        app.settle().await;
        let usage = app.get("/usage").await.expect(200).text;
        // Two answers of 7 tokens read and 11 written, at 100 a million.
        assert!(usage.contains("0.0036"), "{usage}");
        app.stop().await;
    }

    async fn two_models_of_one_name_upstream_are_both_there(kind: Kind) {
        let file = "[[model]]\nid = \"precise\"\nname = \"The precise one\"\nupstream = \"scripted-model\"\nmax_output = 100\nparameters = { temperature = 0.1 }\n\
                    [[model]]\nid = \"creative\"\nupstream = \"scripted-model\"\nparameters = { temperature = 1.1 }\n\
                    [[provider]]\nname = \"one\"\nkind = \"openai\"\nbase_url = \"UPSTREAM\"\nlist_models = true\n";
        let app = start(kind, Upstream::echo().await, file).await;
        assert_eq!(ids(&app).await, ["precise", "creative"]);
        let models = app.get("/models").await.json();
        let first = &models["models"][0];
        assert_eq!((&first["name"], &first["max_output"]), (&json!("The precise one"), &json!(100)));
        for (model, temperature) in [("precise", 0.1), ("creative", 1.1), ("scripted-model", 0.1)] {
            let created = app.post("/chat/create", &json!({"model": model})).await.expect(201).json();
            let chat = created["uuid"].as_str().unwrap();
            let message = app.send(chat, "hello").await;
            app.read(&app.answer_to(chat, &message).await).await;
            assert_eq!(app.upstream.received().pop().unwrap().body["temperature"], json!(temperature), "{model}");
        }
        app.stop().await;
    }

    async fn only_a_provider_that_lists_offers_what_it_lists(kind: Kind) {
        for (listing, offered) in [("list_models = true", true), ("list_models = false", false), ("", false)] {
            let file = format!(
                "[[provider]]\nname = \"one\"\nkind = \"openai\"\nbase_url = \"UPSTREAM\"\n{listing}\n[[model]]\nid = \"a\"\n"
            );
            let app = start(kind, Upstream::echo().await, &file).await;
            let expected: &[&str] = if offered { &["a", "scripted-model"] } else { &["a"] };
            assert_eq!(ids(&app).await, expected, "{listing}");
            let page = app.request(Method::GET, "/models", |r| r.header("accept", "text/html")).await.expect(200).text;
            assert!(page.contains("<code>a</code>"), "{page}");
            assert_eq!(page.contains("scripted-model"), offered, "the page shows the same: {page}");
            let other = app.post("/chat/create", &json!({"model": "scripted-model"})).await;
            assert_eq!(other.status, if offered { 201 } else { 422 }, "{listing}");
            app.stop().await;
        }
    }

    async fn lists_are_asked_for_at_start_and_tell_the_windows(kind: Kind) {
        // However a list writes a name that means the same.
        for listed in ["a-x", "models/A-x"] {
            let one = Upstream::echo().await;
            one.lists(200, json!({"data": [{"id": listed, "context_length": 4321}]}));
            let file = "[[provider]]\nname = \"one\"\nkind = \"openai\"\nbase_url = \"UPSTREAM\"\n[[model]]\nid = \"a\"\nupstream = \"a-x\"\n";
            let app = start(kind, one, file).await;
            eventually("the list is asked for", async || (app.upstream.listings_asked().len() == 1).then_some(())).await;
            let models = app.get("/models").await.json();
            assert_eq!(models["models"][0]["context_window"], 4321, "{models}");
            assert_eq!(app.upstream.listings_asked().len(), 1);
            app.stop().await;
        }
    }

    async fn a_window_that_costs_memory_is_not_guessed(kind: Kind) {
        for (format, own, expected) in [
            ("openai", "", json!(131_072)),
            ("ollama", "", Value::Null),
            ("ollama", "context_window = 8000\n", json!(8_000)),
        ] {
            let one = Upstream::echo().await;
            let file = format!(
                "[[provider]]\nname = \"one\"\nkind = \"{format}\"\nbase_url = \"{}\"\n\
                 [[model]]\nid = \"a\"\nupstream = \"deepseek-r1:8b\"\n{own}",
                one.root()
            );
            let app = start(kind, one, &file).await;
            let models = app.get("/models").await.json();
            assert_eq!(models["models"][0]["context_window"], expected, "{file}");
            app.stop().await;
        }
    }

    async fn a_start_does_not_wait_for_a_list(kind: Kind) {
        // It takes the connection, and never says a word.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let file = format!(
            "[[provider]]\nname = \"one\"\nkind = \"openai\"\nbase_url = \"UPSTREAM\"\n\
             [[provider]]\nname = \"two\"\nkind = \"openai\"\nbase_url = \"http://{address}/v1\"\n[[model]]\nid = \"a\"\nprovider = \"one\"\n"
        );
        let app = start(kind, Upstream::echo().await, &file).await;
        assert_eq!(app.ask("hi").await.2.text, "You said: hi");
        app.stop().await;
    }
}

/// A provider that lists what it is told to, and counts how often it is asked.
struct Lister {
    name: &'static str,
    lists: Mutex<Vec<Option<&'static [&'static str]>>>,
}

impl Lister {
    /// It gives these lists one after the other, and the last one for ever. None: it fails.
    fn new(name: &'static str, lists: &[Option<&'static [&'static str]>]) -> Arc<Self> {
        let lists = lists.iter().rev().copied().collect();
        Arc::new(Self {
            name,
            lists: Mutex::new(lists),
        })
    }

    fn left(&self) -> usize {
        self.lists.lock().unwrap().len()
    }
}

impl Provider for Lister {
    fn name(&self) -> &str {
        self.name
    }

    fn address(&self) -> String {
        "lister".to_owned()
    }

    fn answer(&self, _: Call) -> BoxStream<'static, Result<Event, ProviderError>> {
        Box::pin(futures::stream::empty())
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ListedModel>, ProviderError>> {
        let mut lists = self.lists.lock().unwrap();
        let list = match lists.len() {
            1 => lists[0],
            _ => lists.pop().unwrap(),
        };
        let models = |names: &[&str]| {
            let model = |name: &&str| ListedModel {
                id: (*name).to_owned(),
                ..ListedModel::default()
            };
            names.iter().map(model).collect()
        };
        let list = list
            .map(models)
            .ok_or_else(|| ProviderError::broke_off(self.name));
        async move { list }.boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Demo::new(DemoSettings {
            tokens_per_second: 1.0,
            tokens: 1,
            seed: 0,
        })
        .capabilities()
    }
}

const REFRESH: Duration = Duration::from_mins(10);

fn catalogue(listers: &[&Arc<Lister>], default: &str) -> Catalogue {
    let entries = listers.iter().map(|lister| {
        let provider: Arc<dyn Provider> = Arc::clone(lister) as Arc<dyn Provider>;
        Entry::new(provider, true, None)
    });
    let default = DefaultModel::Upstream(listers[0].name, default);
    Catalogue::new(entries.collect(), Vec::new(), default, REFRESH)
}

fn names(models: &[Arc<ModelSpec>]) -> Vec<&str> {
    models.iter().map(|spec| spec.id.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_list_is_kept_until_it_is_too_old() {
    let lister = Lister::new("one", &[Some(&["a"]), Some(&["a", "b"]), Some(&[])]);
    let catalogue = catalogue(&[&lister], "m");
    for _ in 0..2 {
        assert_eq!(names(&catalogue.models().await), ["m", "a"]);
    }
    assert_eq!(lister.left(), 2, "two calls ask once");
    tokio::time::advance(REFRESH).await;
    assert_eq!(names(&catalogue.models().await), ["m", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_keeps_its_list_and_is_left_alone_for_a_while() {
    let lister = Lister::new("one", &[Some(&["a"]), None, Some(&["b"])]);
    let catalogue = catalogue(&[&lister], "m");
    assert_eq!(names(&catalogue.models().await), ["m", "a"]);
    tokio::time::advance(REFRESH).await;
    assert_eq!(names(&catalogue.models().await), ["m", "a"]);
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!(names(&catalogue.models().await), ["m", "a"], "not asked");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(names(&catalogue.models().await), ["m", "b"]);
}

#[tokio::test]
async fn a_list_that_fails_is_an_answer_all_the_same() {
    let one = Upstream::echo().await;
    one.lists(500, json!({"error": "down"}));
    let file =
        "[[provider]]\nname = \"one\"\nkind = \"openai\"\nbase_url = \"UPSTREAM\"\nmodel = \"m\"\n";
    let app = start(Kind::Sqlite, one, file).await;
    assert_eq!(ids(&app).await, ["m"]);
    app.stop().await;
}

#[tokio::test]
async fn what_another_provider_lists_is_found_by_its_whole_name_alone() {
    let one = Lister::new("one", &[Some(&["a"])]);
    let two = Lister::new("two", &[Some(&["b"])]);
    let entries = [(&one, false), (&two, true)].map(|(lister, is_open)| {
        let provider: Arc<dyn Provider> = Arc::clone(lister) as Arc<dyn Provider>;
        Entry::new(provider, is_open, None)
    });
    let default = DefaultModel::Upstream("one", "m");
    let catalogue = Catalogue::new(entries.into(), Vec::new(), default, REFRESH);
    for _ in 0..2 {
        assert!(catalogue.resolve(Some("b")).is_err());
        let route = catalogue.resolve(Some("two/b")).unwrap();
        assert_eq!((route.provider.name(), &*route.spec.upstream), ("two", "b"));
        assert_eq!(names(&catalogue.models().await), ["m", "two/b"]);
    }
}

#[tokio::test]
async fn what_a_name_means_does_not_depend_on_the_lists() {
    let one = Lister::new("one", &[Some(&["a", "shared", "two/x"])]);
    let two = Lister::new("two", &[Some(&["b", "shared", "x"])]);
    let catalogue = catalogue(&[&one, &two], "m");
    let meant = || -> Vec<(String, String)> {
        let names = [
            "a",
            "b",
            "shared",
            "one/shared",
            "two/shared",
            "two/x",
            "one/two/x",
            "one/m",
            "new",
            "two/new",
        ];
        let route = |name| catalogue.resolve(Some(name)).unwrap();
        names
            .into_iter()
            .map(|name| {
                let route = route(name);
                assert_eq!(route.provider.name(), route.spec.provider);
                let id = &route.spec.id;
                let again = catalogue.resolve(Some(id)).unwrap().spec;
                assert_eq!(
                    (&again.provider, &again.upstream),
                    (&route.spec.provider, &route.spec.upstream),
                    "{id}"
                );
                (route.spec.provider.clone(), route.spec.upstream.clone())
            })
            .collect()
    };
    let before = meant();
    let spelled: Vec<String> = before.iter().map(|(p, u)| format!("{p}: {u}")).collect();
    assert_eq!(
        spelled,
        [
            "one: a",
            "one: b",
            "one: shared",
            "one: shared",
            "two: shared",
            "two: x",
            "one: two/x",
            "one: m",
            "one: new",
            "two: new"
        ]
    );
    let models = catalogue.models().await;
    assert_eq!(
        names(&models),
        [
            "m",
            "a",
            "shared",
            "one/two/x",
            "two/b",
            "two/shared",
            "two/x"
        ]
    );
    assert_eq!(meant(), before);
}

#[tokio::test]
async fn a_default_model_with_a_provider_before_it_is_that_providers() {
    let two = Upstream::start(|_| Script::json(500, &json!({}))).await;
    let dir = tempfile::tempdir().unwrap();
    let url = two.root();
    let variables = [
        ("OPENAI_API_KEY", "sk-one"),
        ("ANTHROPIC_API_KEY", "sk-two"),
        ("ANTHROPIC_BASE_URL", url.as_str()),
        ("POLLEN_DEFAULT_MODEL", "anthropic/claude-x"),
    ];
    let server = Server::start(dir.path(), &variables).await;
    assert!(
        server.summary.ends_with("model claude-x (anthropic)"),
        "{}",
        server.summary
    );
    let client = Remote::of(&server.base);
    client.converse("hi").await;
    server.terminate("-TERM").await;
    let asked = two.received().pop().unwrap();
    assert_eq!(asked.body["model"], "claude-x");
    // Who chooses the provider too means its own name, slash and all.
    let variables = [
        ("OPENAI_API_KEY", "sk-one"),
        ("OPENROUTER_API_KEY", "sk-two"),
        ("POLLEN_DEFAULT_PROVIDER", "openrouter"),
        ("POLLEN_DEFAULT_MODEL", "openai/gpt-x"),
    ];
    let server = Server::start(dir.path(), &variables).await;
    assert!(
        server
            .summary
            .ends_with("model openrouter/openai/gpt-x (openrouter)"),
        "{}",
        server.summary
    );
    server.terminate("-TERM").await;
}

#[tokio::test]
async fn the_terminal_lists_what_the_route_gives() {
    let two = Upstream::echo().await;
    let one = Upstream::echo().await;
    one.lists(
        200,
        json!({"data": [{"id": "free", "context_length": 8000}]}),
    );
    let dir = tempfile::tempdir().unwrap();
    let file = tiers(&two).replace("UPSTREAM", &one.base_url());
    std::fs::write(dir.path().join("pollen.toml"), file).unwrap();
    let listed = run(dir.path(), &[], &["models"]).await;
    let printed = String::from_utf8(listed.stdout).unwrap();
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    // A default model of a higher tier is not there, and no other takes its mark.
    let higher = [("POLLEN_DEFAULT_MODEL", "big")];
    let without = run(dir.path(), &higher, &["models"]).await;
    let without = String::from_utf8(without.stdout).unwrap();
    assert!(
        without.contains("\nsmall ") && !without.contains("(default)"),
        "{without}"
    );
    assert_eq!(
        rows,
        [
            vec![
                "ID",
                "NAME",
                "PROVIDER",
                "WINDOW",
                "PRICE IN",
                "PRICE OUT",
                "TIER"
            ],
            vec!["small (default)", "small", "one", "-", "100", "100", "-"],
            vec!["free", "free", "one", "8000", "-", "-", "-"],
            vec![
                "two/scripted-model",
                "scripted-model",
                "two",
                "-",
                "-",
                "-",
                "-"
            ],
        ],
        "those of a higher tier are not there:\n{printed}"
    );
}
