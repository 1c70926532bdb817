//! Agents: in a create, on an empty chat, and not on one in which something was asked; and the files
//! that they stand in.

use std::path::Path;

use pollen::config::{AgentConfig, Config, Layers};
use serde_json::{Value, json};

use crate::support::process::Server;
use crate::support::{Database, Script, TestApp, Upstream};

const BEE: &str = "name = \"Bee\"\ndescription = \"Buzzes.\"\nicon = \"🐝\"\ncolour = \"#f0b429\"\nmodel = \"second\"\n\
    greeting = \"Buzz.\"\nsuggestions = [\"Why do bees swarm?\", \"And wasps?\"]\n\
    system_prompt = \"\"\"\nYou are {{agent}} on {{model}}, asked by {{user}} on {{ date }}.\n{{else}}\"\"\"\n";
const TWO_MODELS: &str = "[[model]]\nid = \"first\"\n[[model]]\nid = \"second\"\nupstream = \"their-second\"\nname = \"Number two\"\n";

/// The agents that these files lead to, or the complaint.
fn load(files: &[(&str, &str)], shipped: bool) -> Result<Vec<AgentConfig>, String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let set = |key: &str, value: String| (format!("test {key}"), key.to_owned(), value);
    let flags = vec![
        set("agents.directory", dir.path().display().to_string()),
        set("agents.shipped", shipped.to_string()),
    ];
    let layers = Layers {
        flags,
        ..Layers::default()
    };
    let loaded = Config::load(&layers).map_err(|error| error.to_string());
    loaded.map(|config| config.all_agents)
}

fn aliases(agents: &[AgentConfig]) -> Vec<&str> {
    agents.iter().map(|agent| agent.alias.as_str()).collect()
}

#[test]
fn a_file_is_an_agent_and_its_name_the_alias() {
    let files = [("bee.toml", BEE), ("notes.txt", "no agent")];
    let agents = load(&files, false).unwrap();
    assert_eq!(aliases(&agents), ["bee"], "none is shipped, if so chosen");
    let other = BEE.replace("name =", "alias = \"wasp\"\nname =");
    let agents = load(&[("bee.toml", BEE), ("x.toml", &other)], false).unwrap();
    assert_eq!(aliases(&agents), ["bee", "wasp"]);
}

#[test]
fn a_file_takes_the_place_of_a_shipped_agent() {
    let shipped = load(&[], true).unwrap();
    assert!(aliases(&shipped).contains(&"tutor"), "{shipped:?}");
    let agents = load(&[("tutor.toml", BEE)], true).unwrap();
    assert_eq!(aliases(&agents), aliases(&shipped), "in its place");
    let tutor = agents.iter().find(|agent| agent.alias == "tutor").unwrap();
    assert_eq!(tutor.name, "Bee");
}

#[test]
fn a_bad_file_is_named_with_its_key() {
    let with = |line: &str| format!("name = \"Bee\"\n{line}\n");
    let cases = [
        ("bee.toml", "colour = \"#f0b429\"\n".to_owned(), "name"),
        ("bee.toml", "name = \" \"\n".to_owned(), "`name`"),
        ("bee.toml", with("promt = \"x\""), "promt"),
        ("bee.toml", with("colour = \"yellow\""), "`colour`"),
        ("bee.toml", with("suggestions = \"one\""), "suggestions"),
        ("bee.toml", with("parameters = { heat = 1 }"), "heat"),
        ("bee.toml", with("greeting = \"a\\u0000b\""), "`greeting`"),
        ("bee.toml", with("icon = "), "bee.toml"),
        ("Bee Keeper.toml", with(""), "`alias`"),
    ];
    for (name, text, key) in cases {
        let complaint = load(&[(name, &text)], true).unwrap_err();
        assert!(complaint.contains("agents.directory"), "{complaint}");
        assert!(complaint.contains(name), "{name} in {complaint}");
        assert!(complaint.contains(key), "{key} in {complaint}");
    }
}

#[test]
fn the_documented_agents_load() {
    let document = std::fs::read_to_string("docs/AGENTS.md").unwrap();
    let blocks = document.split("```toml\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "the document shows no agent");
    for block in blocks {
        let agents = load(&[("shown.toml", block)], false).unwrap();
        assert_eq!(aliases(&agents), ["shown"], "{block}");
    }
    let agents = load(&[], true).unwrap();
    for alias in aliases(&agents) {
        assert!(document.contains(&format!("`{alias}`")), "{alias}");
    }
}

#[tokio::test]
async fn a_misspelt_variable_or_model_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let agents = dir.path().join("agents");
    std::fs::create_dir(&agents).unwrap();
    let bee = "name = \"Bee\"\nmodel = \"nobodys\"\ngreeting = \"It is {{day}}.\"\n";
    std::fs::write(agents.join("bee.toml"), bee).unwrap();
    let only_demo = [("POLLEN_DEFAULT_PROVIDER", "demo")];
    let server = Server::start(dir.path(), &only_demo).await;
    let (_, log) = server.terminate("-TERM").await;
    assert!(log.contains("`{{day}}` in its `greeting`"), "{log}");
    assert!(log.contains("the model \"nobodys\" is not known"), "{log}");
}

/// A server with these agents' files beside its configuration.
async fn start(database: Database, files: &[(&str, &str)], settings: &[(&str, &str)]) -> TestApp {
    let agents = database.dir().join("agents");
    std::fs::create_dir_all(&agents).unwrap();
    for (name, text) in files {
        std::fs::write(agents.join(name), text).unwrap();
    }
    let path = database.dir().join("pollen.toml");
    std::fs::write(&path, TWO_MODELS).unwrap();
    let directory = directory(&agents);
    let mine = [("agents.directory", directory), ("default_model", "first")];
    let all = [&mine, settings].concat();
    TestApp::start_with_file_and(database, Upstream::echo().await, &path, &all).await
}

fn directory(path: &Path) -> &str {
    path.to_str().unwrap()
}

on_both_databases! {
    async fn an_agent_speaks_first_and_its_prompt_is_sent_and_not_shown(kind: Kind) {
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        std::fs::write(&path, "[[agent]]\nalias = \"bee\"\nname = \"Bee\"\ngreeting = \"Buzz, I am {{agent}}.\"\nsystem_prompt = \"You are {{agent}}. A secret.\"\nparameters = { temperature = 0.7 }\n").unwrap();
        let app = TestApp::start_with_file(database, Upstream::start(|_| Script::answer(["hi"])).await, &path).await;
        let agents = app.get("/agents").await.expect(200);
        assert!(agents.text.contains("\"alias\":\"bee\"") && agents.text.contains("\"alias\":\"tutor\"") && !agents.text.contains("secret"));
        let chat = app.create_chat().await;
        app.post_bare(&format!("/chat/{chat}/agent/nobody")).await.expect(404);
        app.post_bare(&format!("/chat/{chat}/agent/tutor")).await.expect(200);
        let told = app.post_bare(&format!("/chat/{chat}/agent/bee")).await.expect(200).json();
        assert_eq!(told["agent"], "bee");
        let shown = app.messages(&chat).await;
        assert_eq!(shown.len(), 1, "the last agent's greeting alone: {shown:?}");
        assert_eq!((&shown[0]["role"], &shown[0]["content"]), (&json!("assistant"), &json!("Buzz, I am Bee.")));
        let message = app.send(&chat, "hello").await;
        app.read(&app.answer_to(&chat, &message).await).await;
        let asked = app.upstream.received().pop().unwrap();
        let roles: Vec<String> = asked.turns().into_iter().map(|(role, _)| role).collect();
        assert_eq!(roles, ["system", "assistant", "user"]);
        assert_eq!((&asked.turns()[0].1[..], &asked.body["temperature"]), ("You are Bee. A secret.", &json!(0.7)));
        app.post_bare(&format!("/chat/{chat}/agent/tutor")).await.expect(409);
        assert!(!app.get(&format!("/chat/{chat}/messages")).await.text.contains("secret"));
        let greeting = shown[0]["uuid"].as_str().unwrap();
        app.post_bare(&format!("/chat/message/{greeting}/regenerate")).await.expect(409);
        let created = app.post("/chat/create", &json!({"agent": "bee", "message": "hi"})).await.expect(201).json();
        assert_eq!((&created["agent"], &created["title"]), (&json!("bee"), &json!("hi")));
        app.post("/chat/create", &json!({"agent": "nobody"})).await.expect(422);
        app.stop().await;
    }

    async fn an_agent_from_a_file_is_listed_and_fills_in_its_prompt(kind: Kind) {
        let app = start(Database::create(kind).await, &[("bee.toml", BEE)], &[("agents.shipped", "false")]).await;
        let agents = app.get("/agents").await.expect(200).json();
        assert_eq!(agents, json!({"agents": [{
            "alias": "bee", "name": "Bee", "description": "Buzzes.", "icon": "🐝", "colour": "#f0b429",
            "greeting": "Buzz.", "model": "second", "suggestions": ["Why do bees swarm?", "And wasps?"]}]}));
        let body = json!({"agent": "bee", "message": "hello"});
        let chat = app.post("/chat/create", &body).await.expect(201).json();
        assert_eq!((&chat["agent"], &chat["model"]), (&json!("bee"), &json!("second")));
        let uuid = chat["uuid"].as_str().unwrap();
        let answer = app.answer_to(uuid, chat["message"]["uuid"].as_str().unwrap()).await;
        app.read(&answer).await;
        let asked = app.upstream.received().pop().unwrap();
        assert_eq!(asked.body["model"], "their-second");
        // It may have been midnight in between.
        let days = [&chat["created_at"], &app.message(&answer).await["created_at"]];
        let prompt = |day: &Value| format!(
            "You are Bee on Number two, asked by the user on {}.\n{{{{else}}}}", &day.as_str().unwrap()[..10]);
        let turns = asked.turns();
        assert!(days.map(prompt).contains(&turns[0].1), "{turns:?}");
        app.stop().await;
    }

    async fn the_prompt_names_the_model_that_answers_and_no_other_has_to_be_there(kind: Kind) {
        let database = Database::create(kind).await;
        let path = database.dir().join("pollen.toml");
        let agent = |alias: &str, model: &str| format!("[[agent]]\nalias = \"{alias}\"\nname = \"{alias}\"\nsystem_prompt = \"I am {{{{model}}}}.\"\n{model}");
        let tiers = "default_tier = \"basic\"\n[[tier]]\nname = \"basic\"\n[[tier]]\nname = \"pro\"\n";
        let models = format!("{TWO_MODELS}[[model]]\nid = \"big\"\ntier = \"pro\"\n");
        let agents = agent("bee", "model = \"second\"\n") + &agent("rich", "model = \"big\"\n") + &agent("drone", "");
        std::fs::write(&path, format!("{tiers}{models}{agents}")).unwrap();
        let app = TestApp::start_with_file_and(database, Upstream::echo().await, &path, &[("default_model", "first")]).await;
        let prompt = async |chat: &Value| {
            app.ask_in(chat["uuid"].as_str().unwrap(), "hello").await;
            let asked = app.upstream.received().pop().unwrap();
            (asked.turns()[0].1.clone(), asked.body["model"].as_str().unwrap().to_owned())
        };
        let said = |name: &str, model: &str| (format!("I am {name}."), model.to_owned());
        let first = app.get("/models").await.json()["models"][0]["name"].as_str().unwrap().to_owned();
        // The agent's own model is another one, or one that the caller may not use.
        app.post("/chat/create", &json!({"agent": "rich"})).await.expect(403);
        for alias in ["bee", "rich"] {
            let body = json!({"agent": alias, "model": "first"});
            let chat = app.post("/chat/create", &body).await.expect(201).json();
            assert_eq!(prompt(&chat).await, said(&first, "first"), "{alias}");
        }
        for (body, expected) in [
            (json!({"agent": "bee", "model": "first"}), said(&first, "first")),
            (json!({"agent": "rich", "model": "first"}), said(&first, "first")),
            (json!({"agent": "drone", "model": "second"}), said("Number two", "their-second")),
            (json!({"agent": "drone"}), said(&first, "first")),
        ] {
            let chat = app.post("/chat/create", &json!({"model": "first"})).await.expect(201).json();
            let path = format!("/chat/{}", chat["uuid"].as_str().unwrap());
            app.request(reqwest::Method::PATCH, &path, |r| r.json(&body)).await.expect(200);
            assert_eq!(prompt(&chat).await, expected, "{body}");
        }
        app.stop().await;
    }

    async fn the_model_of_an_agent_goes_before_the_chats_and_the_named_one_before_both(kind: Kind) {
        let drone = "name = \"Drone\"\n";
        let app = start(Database::create(kind).await, &[("bee.toml", BEE), ("drone.toml", drone)], &[]).await;
        let patch = async |chat: &str, body: Value| {
            let path = format!("/chat/{chat}");
            app.request(reqwest::Method::PATCH, &path, |r| r.json(&body)).await.expect(200).json()
        };
        let chat = app.post("/chat/create", &json!({"model": "first"})).await.expect(201).json();
        let uuid = chat["uuid"].as_str().unwrap();
        // An agent without a model leaves the chat its own.
        let told = app.post_bare(&format!("/chat/{uuid}/agent/drone")).await.expect(200).json();
        assert_eq!((&told["agent"], &told["model"]), (&json!("drone"), &json!("first")));
        let told = patch(uuid, json!({"agent": "bee"})).await;
        assert_eq!((&told["agent"], &told["model"]), (&json!("bee"), &json!("second")));
        let told = patch(uuid, json!({"agent": "bee", "model": "first"})).await;
        assert_eq!((&told["agent"], &told["model"]), (&json!("bee"), &json!("first")));
        let named = app.post("/chat/create", &json!({"agent": "bee", "model": "first"})).await.expect(201).json();
        assert_eq!((&named["agent"], &named["model"]), (&json!("bee"), &json!("first")));
        // Too late: the route says so with its status, the command in words.
        let message = app.send(uuid, "hello").await;
        app.read(&app.answer_to(uuid, &message).await).await;
        app.post_bare(&format!("/chat/{uuid}/agent/drone")).await.expect(409);
        let late = json!({"agent": "drone"});
        app.request(reqwest::Method::PATCH, &format!("/chat/{uuid}"), |r| r.json(&late)).await.expect(409);
        app.post(&format!("/chat/{uuid}/send"), &json!({"message": "/agent drone"})).await.expect(202);
        let last = app.messages(uuid).await.pop().unwrap();
        assert_eq!(last["role"], "agent");
        assert!(last["content"].as_str().unwrap().contains("not empty any more"), "{last}");
        app.stop().await;
    }
}
