//! Providers and models as the environment and the file set them up, and what is said of mistakes.

use std::collections::BTreeMap;
use std::path::Path;

use pollen::config::{Config, FileNeed, Layers, ProviderKind, ResolvedProvider};
use secrecy::ExposeSecret;

const DOCUMENT: &str = "docs/PROVIDERS.md";

fn load(dir: &Path, file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let path = dir.join("pollen.toml");
    std::fs::write(&path, file).unwrap();
    let variables: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let layers = Layers {
        file: Some((path, FileNeed::Required)),
        variables,
        ..Layers::default()
    };
    Config::load(&layers).map_err(|error| error.to_string())
}

/// The first provider that these lead to.
fn first(file: &str, variables: &[(&str, &str)]) -> ResolvedProvider {
    let dir = tempfile::tempdir().unwrap();
    let config = load(dir.path(), file, variables).unwrap();
    config.providers.into_iter().next().unwrap()
}

fn complaint(file: &str, variables: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), file, variables).unwrap_err()
}

fn key(provider: &ResolvedProvider) -> Option<&str> {
    provider.api_key.as_ref().map(ExposeSecret::expose_secret)
}

/// Variable, name, format, address, model.
const SERVICES: [(&str, &str, ProviderKind, &str, &str); 9] = [
    (
        "OPENAI_API_KEY",
        "openai",
        ProviderKind::OpenAi,
        "https://api.openai.com/v1",
        "gpt-4.1-mini",
    ),
    (
        "ANTHROPIC_API_KEY",
        "anthropic",
        ProviderKind::Anthropic,
        "https://api.anthropic.com/v1",
        "claude-sonnet-4-5",
    ),
    (
        "GEMINI_API_KEY",
        "gemini",
        ProviderKind::Gemini,
        "https://generativelanguage.googleapis.com/v1beta",
        "gemini-2.5-flash",
    ),
    (
        "GOOGLE_API_KEY",
        "gemini",
        ProviderKind::Gemini,
        "https://generativelanguage.googleapis.com/v1beta",
        "gemini-2.5-flash",
    ),
    (
        "XAI_API_KEY",
        "xai",
        ProviderKind::OpenAi,
        "https://api.x.ai/v1",
        "grok-4-fast",
    ),
    (
        "MISTRAL_API_KEY",
        "mistral",
        ProviderKind::OpenAi,
        "https://api.mistral.ai/v1",
        "mistral-small-latest",
    ),
    (
        "DEEPSEEK_API_KEY",
        "deepseek",
        ProviderKind::OpenAi,
        "https://api.deepseek.com/v1",
        "deepseek-chat",
    ),
    (
        "GROQ_API_KEY",
        "groq",
        ProviderKind::OpenAi,
        "https://api.groq.com/openai/v1",
        "llama-3.3-70b-versatile",
    ),
    (
        "OPENROUTER_API_KEY",
        "openrouter",
        ProviderKind::OpenAi,
        "https://openrouter.ai/api/v1",
        "openrouter/auto",
    ),
];

#[test]
fn a_key_in_the_environment_is_a_provider() {
    for (variable, name, kind, base_url, model) in SERVICES {
        for file in ["", &format!("[[provider]]\nname = {name:?}\n")] {
            let provider = first(file, &[(variable, "sk-x")]);
            assert_eq!(
                (
                    provider.name.as_str(),
                    provider.kind,
                    provider.base_url.as_str(),
                    provider.model.as_deref()
                ),
                (name, kind, base_url, Some(model))
            );
            assert_eq!(
                (key(&provider), provider.key_header.as_deref()),
                (Some("sk-x"), None),
                "as the format has it"
            );
            assert!(!provider.is_guess);
        }
    }
}

#[test]
fn azure_needs_its_address_and_ollama_nothing() {
    for file in ["", "[[provider]]\nname = \"azure\"\n"] {
        for endpoint in [
            "https://me.azure.example",
            "https://me.azure.example/",
            "https://me.azure.example/openai/v1",
        ] {
            let variables = [
                ("AZURE_OPENAI_API_KEY", "k"),
                ("AZURE_OPENAI_ENDPOINT", endpoint),
                ("AZURE_OPENAI_DEPLOYMENT", "mine"),
            ];
            let azure = first(file, &variables);
            assert_eq!(
                azure.base_url, "https://me.azure.example/openai/v1",
                "{file}"
            );
            assert_eq!(
                (azure.name.as_str(), azure.kind),
                ("azure", ProviderKind::OpenAi)
            );
            assert_eq!(
                (
                    azure.key_header.as_deref(),
                    azure.model.as_deref(),
                    key(&azure)
                ),
                (Some("api-key"), Some("mine"), Some("k")),
                "{file}"
            );
        }
    }
    let told = complaint("", &[("AZURE_OPENAI_API_KEY", "k")]);
    assert!(told.contains("AZURE_OPENAI_ENDPOINT"), "{told}");
    let ollama = first("", &[]);
    assert_eq!(
        (
            ollama.name.as_str(),
            ollama.kind,
            ollama.base_url.as_str(),
            ollama.model.as_deref()
        ),
        (
            "ollama",
            ProviderKind::Ollama,
            "http://127.0.0.1:11434",
            None
        )
    );
    assert!(ollama.is_guess && ollama.api_key.is_none());
}

#[test]
fn a_table_by_a_well_known_name_takes_what_its_service_was_given() {
    let file = "[ollama]\nbase_url = \"http://box:1\"\nmodel = \"qwen\"\nmax_running = 2\n[[provider]]\nname = \"ollama\"\n";
    let ollama = first(file, &[]);
    assert_eq!(
        (
            ollama.base_url.as_str(),
            ollama.model.as_deref(),
            ollama.max_running,
            ollama.is_guess
        ),
        ("http://box:1", Some("qwen"), 2, false)
    );
    let groq = "[groq]\nmax_running = 3\n[[provider]]\nname = \"groq\"\n";
    let variables = [("GROQ_API_KEY", "k"), ("GROQ_MODEL", "other")];
    let provider = first(groq, &variables);
    assert_eq!(
        (provider.model.as_deref(), provider.max_running),
        (Some("other"), 3)
    );
    let own = format!("{groq}model = \"own\"\nmax_running = 0\n");
    let provider = first(&own, &variables);
    assert_eq!(
        (provider.model.as_deref(), provider.max_running),
        (Some("own"), 0)
    );
    // Its own address, however it comes, is no other server.
    for (variables, model) in [
        (
            [
                ("OPENAI_API_KEY", "k"),
                ("OPENAI_BASE_URL", "https://api.openai.com/v1/"),
            ],
            "gpt-4.1-mini",
        ),
        (
            [
                ("ANTHROPIC_API_KEY", "k"),
                ("ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
            ],
            "claude-sonnet-4-5",
        ),
    ] {
        assert_eq!(first("", &variables).model.as_deref(), Some(model));
    }
    let elsewhere = first(groq, &[("GROQ_BASE_URL", "http://box/v1")]);
    assert_eq!(
        (elsewhere.base_url.as_str(), elsewhere.model.as_deref()),
        ("http://box/v1", None)
    );
}

#[test]
fn ollamas_own_variables_are_read() {
    for (variable, value, base_url) in [
        ("OLLAMA_BASE_URL", "http://box:1/", "http://box:1/"),
        ("OLLAMA_HOST", "0.0.0.0", "http://127.0.0.1:11434/"),
        ("OLLAMA_HOST", "0.0.0.0:8000", "http://127.0.0.1:8000/"),
        ("OLLAMA_HOST", ":8000", "http://127.0.0.1:8000/"),
        ("OLLAMA_HOST", "[::]:8000", "http://127.0.0.1:8000/"),
        ("OLLAMA_HOST", "box", "http://box:11434/"),
        ("OLLAMA_HOST", "https://box.example", "https://box.example/"),
    ] {
        let ollama = first("", &[(variable, value), ("OLLAMA_MODEL", "qwen")]);
        assert_eq!(
            (ollama.base_url.as_str(), ollama.model.as_deref()),
            (base_url, Some("qwen")),
            "{value}"
        );
    }
    let both = [
        ("OLLAMA_HOST", "box"),
        ("OLLAMA_BASE_URL", "http://other:1"),
    ];
    assert_eq!(first("", &both).base_url, "http://other:1");
}

#[test]
fn a_model_that_names_ollama_means_that_it_is_there() {
    let file = "default_provider = \"demo\"\n[[model]]\nid = \"a\"\nprovider = \"ollama\"\n";
    assert!(!first(file, &[]).is_guess);
}

#[test]
fn a_key_comes_from_where_the_table_says() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), " sk-file\n").unwrap();
    let table = "[[provider]]\nname = \"two\"\nkind = \"openai\"\nbase_url = \"http://box/v1\"\n";
    let path = dir.path().join("key");
    let by_file = load(
        dir.path(),
        &format!("{table}api_key_file = {path:?}\n"),
        &[],
    )
    .unwrap();
    assert_eq!(key(&by_file.providers[0]), Some("sk-file"));
    assert!(by_file.warnings.is_empty());
    let literal = load(
        dir.path(),
        &format!("{table}api_key = \"sk-literal\"\n"),
        &[],
    )
    .unwrap();
    assert_eq!(key(&literal.providers[0]), Some("sk-literal"));
    assert!(
        literal.warnings[0]
            .contains("\"two\" stands in the configuration file; `api_key_env` or `api_key_file`"),
        "{:?}",
        literal.warnings
    );
    let of_a_service = load(dir.path(), "[groq]\napi_key = \"sk-literal\"\n", &[]).unwrap();
    assert_eq!(
        of_a_service.warnings,
        [
            "the key of the provider \"groq\" stands in the configuration file; the environment variable GROQ_API_KEY keeps it out"
        ]
    );
    let variable = format!("{table}api_key_env = \"KEY\"\n");
    assert_eq!(
        key(&first(&variable, &[("KEY", "sk-env\n")])),
        Some("sk-env")
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, one row for each mistake")]
fn mistakes_in_providers_models_and_tiers_are_told() {
    let two = "[[provider]]\nname = \"two\"\nkind = \"openai\"\nbase_url = \"http://box/v1\"\n";
    let model = "[[model]]\nid = \"a\"\n";
    let with = |text: &str, more: &str| format!("{text}{more}\n");
    let cases = [
        (
            with(two, "api_key = \"sk-planted\"\napi_key_env = \"KEY\""),
            "has more than one of `api_key`, `api_key_env` and `api_key_file`",
        ),
        (
            with(two, "api_key_env = \"KEY\""),
            "the environment variable KEY, which is not set",
        ),
        (
            with(two, "api_key_file = \"/nowhere/key\""),
            "/nowhere/key, which cannot be read",
        ),
        (with(two, two), "\"two\" is there twice"),
        (
            with(two, "stall_timeout_ms = 1"),
            "\"two\": `stall_timeout_ms` = 1: expected a number from 50 to 3600000",
        ),
        (
            with(two, "connect_timeout_ms = 0"),
            "`connect_timeout_ms` = 0: expected",
        ),
        (
            with(two, "first_byte_timeout_ms = 99999999"),
            "`first_byte_timeout_ms` = 99999999: expected",
        ),
        (
            with(two, "total_timeout_ms = 99999999"),
            "`total_timeout_ms` = 99999999: expected a number from 0 to 86400000",
        ),
        (
            with(two, "ca_file = \"/nowhere/ca.pem\""),
            "`ca_file` /nowhere/ca.pem of \"two\" cannot be read",
        ),
        (
            "[[provider]]\nname = \"two\"\n".to_owned(),
            "\"two\" needs a `kind`: openai, openai-responses, anthropic, gemini or ollama",
        ),
        (
            "[[provider]]\nname = \"two\"\nkind = \"openai\"\nbase_url = \"box\"\n".to_owned(),
            "the `base_url` of \"two\": not an address",
        ),
        (
            "[[provider]]\nname = \"demo\"\nkind = \"openai\"\n".to_owned(),
            "is no name for a provider",
        ),
        (
            with(model, "provider = \"nobody\""),
            "\"a\" names the provider \"nobody\", which is not there; known are: ",
        ),
        (with(model, model), "\"a\": it is there twice"),
        (
            with(model, "price_in = 1.0"),
            "`price_in` and `price_out` go together",
        ),
        (
            with(model, "price_in = -1.0\nprice_out = 1.0"),
            "a price is not a number from 0",
        ),
        (
            with(model, "context_window = 0"),
            "`context_window` and `max_output` are at least 1",
        ),
        (
            "[azure]\napi_key = \"planted\"\n[[provider]]\nname = \"azure\"\nkind = \"openai-responses\"\n".to_owned(),
            "\"azure\" needs a `base_url`",
        ),
        (
            with(model, "cache_ttl_ms = 1"),
            "\"a\": `cache_ttl_ms` = 1: expected a number from 1000 to 2678400000",
        ),
        (
            with(model, "tier = \"gold\"\n[[tier]]\nname = \"basic\""),
            "\"a\": there is no tier \"gold\"",
        ),
        (
            "[[model]]\nid = \"a b\"\n".to_owned(),
            "an `id` is a word without spaces",
        ),
        (
            "[[tier]]\nname = \"\"\n".to_owned(),
            "a tier's `name` is empty",
        ),
        (
            "[[tier]]\nname = \"x\"\n[[tier]]\nname = \"x\"\n".to_owned(),
            "\"x\" is there twice",
        ),
        (
            "[[tier]]\nname = \"x\"\ncost_per_day = -1.0\n".to_owned(),
            "a cost of \"x\" is not a number from 0",
        ),
        (
            "default_tier = \"gold\"\n".to_owned(),
            "`default_tier` = \"gold\"",
        ),
        (
            "default_provider = \"gold\"\n".to_owned(),
            "there is no such provider; known are: ",
        ),
    ];
    for (file, words) in cases {
        let told = complaint(&file, &[]);
        assert!(told.contains(words), "{words:?} not in {told:?}");
        assert!(!told.contains("planted"), "{told}");
        assert!(told.len() < 300, "the whole table is not quoted: {told}");
    }
}

#[test]
fn the_way_to_the_models_is_set_for_all_or_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let pem = dir.path().join("ca.pem");
    std::fs::write(&pem, "a certificate").unwrap();
    let file = format!(
        "[upstream]\nproxy = \"http://proxy:1\"\nca_file = {pem:?}\nconnect_timeout_ms = 101\nfirst_byte_timeout_ms = 102\nstall_timeout_ms = 103\ntotal_timeout_ms = 104\n\
         [[provider]]\nname = \"groq\"\n\
         [[provider]]\nname = \"xai\"\nproxy = \"\"\nca_file = \"\"\nconnect_timeout_ms = 201\nfirst_byte_timeout_ms = 202\nstall_timeout_ms = 203\ntotal_timeout_ms = 0\nsend_reasoning = true\nkey_header = \"x-key\"\nheaders = {{ a = \"b\" }}\nquery = {{ c = \"d\" }}\n"
    );
    let config = load(dir.path(), &file, &[]).unwrap();
    let limits = |p: &ResolvedProvider| {
        (
            p.connect_timeout_ms,
            p.first_byte_timeout_ms,
            p.stall_timeout_ms,
            p.total_timeout_ms,
        )
    };
    let (groq, xai) = (&config.providers[0], &config.providers[1]);
    assert_eq!(
        (limits(groq), limits(xai)),
        ((101, 102, 103, 104), (201, 202, 203, 0))
    );
    assert_eq!(
        (groq.proxy.as_deref(), xai.proxy.as_deref()),
        (Some("http://proxy:1"), None)
    );
    assert_eq!(
        (
            groq.ca_certificate.as_deref(),
            xai.ca_certificate.as_deref()
        ),
        (Some(&b"a certificate"[..]), None)
    );
    assert!(xai.send_reasoning && xai.headers["a"] == "b" && xai.query["c"] == "d");
    assert_eq!(xai.key_header.as_deref(), Some("x-key"));
}

#[test]
fn no_secret_of_a_provider_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pollen.toml");
    let file = "redis_url = \"unix:///run/redis.sock?pass=planted\"\n\
        [[provider]]\nname = \"two\"\nkind = \"openai\"\nbase_url = \"http://me:planted@box/v1?api-key=planted\"\napi_key = \"planted\"\nproxy = \"http://me:planted@proxy\"\n\
        headers = { Authorization = \"Bearer planted\", \"x-api-key\" = \"planted\", x.y = 1 }\nquery = { \"api-key\" = \"planted\", anything = \"planted\" }\n";
    let file = file.replace(", x.y = 1", ", \"x y\" = \"planted\"");
    std::fs::write(&path, &file).unwrap();
    let layers = Layers {
        file: Some((path.clone(), FileNeed::Required)),
        ..Layers::default()
    };
    let printed = pollen::config::report(&layers).unwrap();
    assert!(!printed.contains("planted"), "{printed}");
    for words in [
        "headers = { \"x y\" = \"********\", Authorization = \"********\", x-api-key = \"********\" }",
        "query = { anything = \"********\", api-key = \"********\" }",
        "unix:///run/redis.sock?pass=********",
    ] {
        assert!(printed.contains(words), "{words} not in {printed}");
    }
    // Masks apart, it can be read again.
    let masked: String = printed
        .lines()
        .map(|line| line.split("  # ").next().unwrap().to_owned() + "\n")
        .collect();
    std::fs::write(&path, masked).unwrap();
    Config::load(&layers).unwrap();
    for broken in [
        file.replace("\"two\"", "\"\""),
        file + "stall_timeout_ms = 1\n",
    ] {
        let told = complaint(&broken, &[]);
        assert!(
            told.contains("`provider`") && !told.contains("planted"),
            "{told}"
        );
    }
    let unknown = complaint("", &[("POLLEN_PROXY_AUTHORIZATION", "planted")]);
    assert!(!unknown.contains("planted"), "{unknown}");
}

#[test]
fn the_documents_table_of_variables_is_true() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (_, table) = document.split_once("| variable |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let quoted = |cell: &str| -> Vec<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let mut documented = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let (variables, name, model) = (quoted(cells[0]), quoted(cells[1]), quoted(cells[2]));
        if variables.is_empty() {
            continue;
        }
        if name == ["azure"] {
            assert_eq!(variables, ["AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"]);
            assert_eq!(model, ["AZURE_OPENAI_DEPLOYMENT"]);
            continue;
        }
        for variable in variables {
            documented.push((variable, name[0].clone(), model[0].clone()));
        }
    }
    let known: Vec<_> = SERVICES
        .iter()
        .map(|(variable, name, _, _, model)| {
            (
                (*variable).to_owned(),
                (*name).to_owned(),
                (*model).to_owned(),
            )
        })
        .collect();
    assert_eq!(
        documented, known,
        "and in the order in which they become the default"
    );
    let all: Vec<(&str, &str)> = SERVICES.iter().map(|service| (service.0, "k")).collect();
    let dir = tempfile::tempdir().unwrap();
    let config = load(dir.path(), "", &all).unwrap();
    let mut names: Vec<&str> = known.iter().map(|(_, name, _)| name.as_str()).collect();
    names.dedup();
    names.push("ollama");
    let there: Vec<&str> = config.providers.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(there, names);
}

#[test]
fn the_documents_files_can_be_loaded() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let blocks: Vec<&str> = document
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 2);
    let dir = tempfile::tempdir().unwrap();
    for block in blocks {
        let loaded = load(
            dir.path(),
            block,
            &[("KEY_TWO", "k"), ("GROQ_API_KEY", "k")],
        );
        assert!(loaded.is_ok(), "{block}\n{loaded:?}");
    }
}
