//! The compose file: read by Compose itself, and by eye of a test for what must not slip in.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::{content, tool};
use crate::support::process::{self, Server};
use crate::support::{Database, Redis, database::Kind};

const PYTHON: &str = "tests/third_party/.venv/bin/python";
const TO_JSON: &str =
    "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";

/// The services as Compose understands them: with all that they merge.
async fn services(dir: &Path) -> Value {
    let arguments = ["-f", "deploy/compose/compose.yaml", "config"];
    let output = tool("docker-compose", "docker-compose", &arguments).await;
    assert!(output.status.success(), "{}", content(&output));
    let path = dir.join("understood.yaml");
    fs::write(&path, &output.stdout).unwrap();
    let arguments = ["-c", TO_JSON, path.to_str().unwrap()];
    let json = content(&tool(PYTHON, "python3-venv", &arguments).await);
    let mut understood: Value = serde_json::from_str(&json).unwrap();
    understood["services"].take()
}

#[tokio::test]
async fn every_service_is_fenced_in() {
    let dir = tempfile::tempdir().unwrap();
    let services = services(dir.path()).await;
    let services = services.as_object().unwrap();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    let expected = [
        "nginx", "pollen1", "pollen2", "pollen3", "postgres", "redis",
    ];
    assert_eq!(names, expected);
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        assert_eq!(
            service["security_opt"][0], "no-new-privileges:true",
            "{name}"
        );
        assert_ne!(service["privileged"], true, "{name}");
        // The image of nginx has a user of its own.
        let user = service["user"].as_str().unwrap_or_default();
        assert!(
            name == "nginx" || !["", "0", "root"].contains(&user),
            "{name}"
        );
        let is_outside = !service["ports"].is_null();
        assert_eq!(is_outside, name == "nginx", "{name}");
        let has_health = !service["healthcheck"]["test"].is_null();
        assert_eq!(has_health, !name.starts_with("pollen"), "{name}");
        let image = service["image"].as_str().unwrap();
        assert!(!image.ends_with(":latest"), "{name}");
        for (key, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = key.contains("PASSWORD") || key.contains("SECRET");
            assert!(
                !is_secret || key.ends_with("_FILE"),
                "{name}: {key}={value}"
            );
        }
    }
    // Ports are the machine's own until somebody decides otherwise.
    let port = services["nginx"]["ports"][0].as_str().unwrap();
    assert!(port.starts_with("127.0.0.1:"), "{port}");
}

/// The addresses of the nodes, and of who stands before them, are the same in the three files that have them.
#[tokio::test]
async fn everybody_is_where_the_others_look_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let services = services(dir.path()).await;
    let address = |name: &str| {
        let address = &services[name]["networks"]["inside"]["ipv4_address"];
        address.as_str().unwrap().to_owned()
    };
    let nginx = fs::read_to_string("deploy/compose/nginx.conf").unwrap();
    for node in ["pollen1", "pollen2", "pollen3"] {
        assert!(nginx.contains(&format!("server {}:8080 ", address(node))));
    }
    let secrets = fs::read_to_string("deploy/compose/secrets.sh").unwrap();
    let trusted = format!("trusted_proxies = \"{}\"", address("nginx"));
    assert!(secrets.contains(&trusted), "no {trusted}");
}

/// The passwords differ each time, are nowhere else, and make a configuration with which a node starts on the databases
/// that they are for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secrets_are_made_once_and_a_node_starts_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("secrets.sh");
    fs::copy("deploy/compose/secrets.sh", &script).unwrap();
    let made = async || {
        let script = Command::new("sh")
            .arg(&script)
            .stdin(Stdio::null())
            .output()
            .await;
        content(&script.unwrap());
        let file = |name: &str| fs::read_to_string(dir.path().join("secrets").join(name)).unwrap();
        (
            file("postgres_password"),
            file("redis.conf"),
            file("pollen.toml"),
        )
    };
    let first = made().await;
    assert_eq!(first, made().await, "what is there stays");
    let (password, redis, toml) = first;
    assert_eq!(password.len(), 64);
    assert!(toml.contains(&format!("postgres://pollen:{password}@postgres/pollen")));
    let redis_password = redis
        .lines()
        .find_map(|line| line.strip_prefix("requirepass "));
    let redis_password = redis_password.unwrap();
    assert!(toml.contains(&format!("redis://:{redis_password}@redis")));
    assert!(!toml.contains(&format!("secret = \"{password}\"")));
    fs::remove_dir_all(dir.path().join("secrets")).unwrap();
    assert_ne!(password, made().await.0);

    let (database, cache) = (Database::create(Kind::Postgres).await, Redis::start().await);
    let config = dir.path().join("secrets/pollen.toml");
    let toml = fs::read_to_string(&config).unwrap();
    let elsewhere: String = toml
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("database_url", _)) => format!("database_url = \"{}\"\n", database.url),
            Some(("redis_url", _)) => format!("redis_url = \"{}\"\n", cache.url()),
            _ => format!("{line}\n"),
        })
        .collect();
    fs::write(dir.path().join("pollen.toml"), elsewhere).unwrap();
    let token = process::run(dir.path(), &[], &["token", "create", "--user", "alice"]).await;
    assert!(content(&token).contains("pln_"));
    let server = Server::start_at(dir.path(), &[], "0.0.0.0:0").await;
    assert!(server.summary.contains("postgres"), "{}", server.summary);
    let (ended, log) = server.terminate("-TERM").await;
    assert!(ended.success(), "{log}");
}
