//! What a configuration may say, and how it is told that it may not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pollen::config::{Config, FileNeed, Layers};

fn from_variables(variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let layers = Layers {
        variables,
        ..Layers::default()
    };
    Config::load(&layers).map_err(|error| error.to_string())
}

fn from_file(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pollen.toml");
    std::fs::write(&path, text).unwrap();
    let layers = Layers {
        file: Some((path, FileNeed::Optional)),
        ..Layers::default()
    };
    Config::load(&layers).map_err(|error| {
        error
            .to_string()
            .replace(dir.path().to_str().unwrap(), "DIR")
    })
}

#[test]
fn the_defaults_are_in_order() {
    let config = Config::defaults().unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.database_name(), "sqlite:pollen.db");
    assert_eq!(config.limits.message_bytes, 32 * 1024);
    assert_eq!(config.ledger.flush_interval_ms, 250);
}

#[test]
fn variables_reach_every_depth() {
    let config = from_variables(&[
        ("POLLEN_LISTEN", "127.0.0.1:0"),
        ("POLLEN_DATABASE_URL", "postgres://db.example/pollen"),
        ("POLLEN_DEMO__TOKENS_PER_SECOND", "12.5"),
        ("POLLEN_DEMO__TOKENS", "300"),
        ("POLLEN_LEDGER__FLUSH_INTERVAL_MS", "100"),
        ("POLLEN_OPENAI__API_KEY", "0123"),
        ("OPENAI_MODEL", "from-openai"),
        ("HOME", "/somewhere"),
    ])
    .unwrap();
    assert_eq!(config.listen.port(), 0);
    assert!((config.demo.tokens_per_second - 12.5).abs() < f64::EPSILON);
    assert_eq!(
        (config.demo.tokens, config.ledger.flush_interval_ms),
        (300, 100)
    );
    assert_eq!(config.openai.model, "from-openai");
    assert_eq!(
        secrecy::ExposeSecret::expose_secret(&config.openai.api_key),
        "0123",
        "a key is no number"
    );
}

#[test]
fn pollens_own_variables_go_before_openais() {
    let config =
        from_variables(&[("OPENAI_MODEL", "theirs"), ("POLLEN_OPENAI__MODEL", "ours")]).unwrap();
    assert_eq!(config.openai.model, "ours");
}

#[test]
fn a_mistake_is_told_with_its_key_its_value_and_its_source() {
    let cases = [
        (
            "POLLEN_DEMO__TOKENS",
            "many",
            "bad value `demo.tokens` = \"many\" (from environment variable POLLEN_DEMO__TOKENS): expected an integer",
        ),
        (
            "POLLEN_DEMO__TOKENS_PER_SECOND",
            "fast",
            "bad value `demo.tokens_per_second` = \"fast\" (from environment variable POLLEN_DEMO__TOKENS_PER_SECOND): expected a floating point",
        ),
        (
            "POLLEN_DEMO__TOKENS_PER_SECOND",
            "0",
            "bad value `demo.tokens_per_second` = \"0\" (from environment variable POLLEN_DEMO__TOKENS_PER_SECOND): expected a number from 0.1 to 1000000",
        ),
        (
            "POLLEN_LISTEN",
            "8080",
            "bad value `listen` = \"8080\" (from environment variable POLLEN_LISTEN): invalid socket address syntax",
        ),
        (
            "POLLEN_LEDGER__FLUSH_INTERVAL_MS",
            "-1",
            "bad value `ledger.flush_interval_ms` = \"-1\" (from environment variable POLLEN_LEDGER__FLUSH_INTERVAL_MS): expected an integer",
        ),
        (
            "POLLEN_DATABASE_URL",
            "mysql://db",
            "bad value `database_url` = \"mysql://db\" (from environment variable POLLEN_DATABASE_URL): expected sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE",
        ),
        (
            "POLLEN_DATABASE_URL",
            "sqlite::memory:",
            "bad value `database_url` = \"sqlite::memory:\" (from environment variable POLLEN_DATABASE_URL): a database in memory would be lost with its connection; name a file",
        ),
        (
            "POLLEN_DEFAULT_PROVIDER",
            "magic",
            "bad value `default_provider` = \"magic\" (from environment variable POLLEN_DEFAULT_PROVIDER): there is no such provider; known are: demo",
        ),
        (
            "POLLEN_LOG__FORMAT",
            "xml",
            "bad value `log.format` = \"xml\" (from environment variable POLLEN_LOG__FORMAT): enum LogFormat does not have variant constructor xml",
        ),
        (
            "OPENAI_BASE_URL",
            "api.example",
            "bad value `openai.base_url` = \"api.example\" (from environment variable OPENAI_BASE_URL): not an address: relative URL without a base",
        ),
        (
            "POLLEN_TOKENS",
            "5",
            "unknown key `tokens` = \"5\" (from environment variable POLLEN_TOKENS). Did you mean `demo.tokens`?",
        ),
        (
            "POLLEN_DEMO__SPEED",
            "5",
            "unknown key `demo.speed` = \"5\" (from environment variable POLLEN_DEMO__SPEED). `pollen config` lists the keys",
        ),
    ];
    for (variable, value, complaint) in cases {
        assert_eq!(from_variables(&[(variable, value)]).unwrap_err(), complaint);
    }
}

#[test]
fn a_mistake_in_a_file_is_told_with_the_file() {
    assert_eq!(
        from_file("[demo]\ntokens = \"many\"\n").unwrap_err(),
        "bad value `demo.tokens` = \"many\" (from DIR/pollen.toml): expected an integer"
    );
    assert_eq!(
        from_file("[ledger]\nflush_interval = 5\n").unwrap_err(),
        "unknown key `ledger.flush_interval` = 5 (from DIR/pollen.toml). Did you mean `ledger.flush_interval_ms`?"
    );
    // In the tables of a list too, where what may be a secret is not quoted.
    let model = "[[model]]\nid = \"a\"\n";
    for (table, complaint) in [
        (
            "price_in = \"x\"",
            "bad value `model[1].price_in` = \"x\" (from DIR/pollen.toml): expected a floating point",
        ),
        (
            "id = \"b\"\nparameters.stop = [\"x\", {}]",
            "bad value `model[1].parameters.stop[1]` = {…} (from DIR/pollen.toml): expected a string",
        ),
        (
            "name = \"b\"",
            "bad value `model[1].id` = nothing (from DIR/pollen.toml): it has to be there",
        ),
        (
            "id = \"b\"\nprice = 1",
            "bad value `model[1]` = {…} (from DIR/pollen.toml): unknown field `price`, expected one of `id`,",
        ),
        (
            "id = \"b\"\n[[provider]]\nname = \"x\"\napi_key = { a = \"planted\" }",
            "bad value `provider[0].api_key` = {…} (from DIR/pollen.toml): expected a string",
        ),
        (
            "id = \"b\"\n[[provider]]\nname = \"x\"\napi_kee = \"planted\"",
            "bad value `provider[0]` = {…} (from DIR/pollen.toml): unknown field `api_kee`,",
        ),
    ] {
        let told = from_file(&format!("{model}[[model]]\n{table}\n")).unwrap_err();
        assert!(told.starts_with(complaint), "{told}");
        assert!(!told.contains("planted"), "{told}");
    }
    assert_eq!(
        from_file("[openai]\napi_key = [\"planted\"]\n").unwrap_err(),
        "bad value `openai.api_key` = […] (from DIR/pollen.toml): expected a string"
    );
    let broken = from_file("listen = \n").unwrap_err();
    assert!(
        broken.starts_with("cannot read the configuration file DIR/pollen.toml: "),
        "{broken}"
    );
}

#[test]
fn a_secret_is_never_quoted_back() {
    let unknown = from_variables(&[("POLLEN_OPENAI_API_KEY", "sk-planted")]).unwrap_err();
    assert!(
        unknown.contains("openai_api_key") && !unknown.contains("planted"),
        "{unknown}"
    );
    let url = from_variables(&[("POLLEN_DATABASE_URL", "mysql://me:hunter2@db/x")]).unwrap_err();
    assert!(!url.contains("hunter2"), "{url}");
    let asked = from_variables(&[(
        "POLLEN_DATABASE_URL",
        "postgres://db/x?user=me&password=hunter2",
    )])
    .unwrap();
    assert_eq!(
        asked.database_name(),
        "postgres://db/x?user=me&password=********"
    );
    let broken = from_file("[openai]\napi_key = sk-planted\n").unwrap_err();
    assert!(
        broken.contains("line 2") && !broken.contains("planted"),
        "{broken}"
    );
}

#[test]
fn a_file_that_a_flag_names_must_be_there() {
    let layers = |need| Layers {
        file: Some((PathBuf::from("/nowhere/pollen.toml"), need)),
        ..Layers::default()
    };
    assert!(Config::load(&layers(FileNeed::Optional)).is_ok());
    let error = Config::load(&layers(FileNeed::Required))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nowhere/pollen.toml"), "{error}");
    // A directory is there, but cannot be read as a file.
    let unreadable = Layers {
        file: Some((PathBuf::from("/"), FileNeed::Optional)),
        ..Layers::default()
    };
    assert!(Config::load(&unreadable).is_err());
}

#[test]
fn the_reference_is_made_from_the_types() {
    const BEGIN: &str = "<!-- made from the types: begin -->\n";
    const END: &str = "<!-- made from the types: end -->";
    let path = "docs/CONFIGURATION.md";
    let document = std::fs::read_to_string(path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let made = pollen::config::reference().unwrap();
    if std::env::var_os("POLLEN_UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    } else {
        assert!(
            written == made,
            "{path} is out of date: run `POLLEN_UPDATE_DOCS=1 cargo test the_reference_is_made`"
        );
    }
}
