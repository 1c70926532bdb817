//! Agents: personas that are shipped, stand in a directory, or in the configuration file itself. Of two
//! with the same alias the later one counts, so that a shipped one can be replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use entity::Parameters;
use rust_embed::Embed;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Config;

/// The ones that are shipped.
#[derive(Embed)]
#[folder = "assets/agents/"]
#[include = "*.toml"]
struct Shipped;

/// A named persona. In a file of its own (`agents/<alias>.toml`) without the table's name, and the alias may
/// be left out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The name in addresses and commands: lower-case letters, digits, `-` and `_`.
    #[serde(default)]
    pub alias: String,
    /// The name for people.
    pub name: String,
    /// What it is good for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// A character or two, an emoji for instance.
    #[serde(default)]
    pub icon: String,
    /// `#rrggbb`.
    #[serde(default)]
    pub colour: String,
    /// What the model is told first. `{{date}}`, `{{time}}`, `{{user}}`, `{{agent}}` and `{{model}}` are filled in.
    #[serde(default)]
    pub system_prompt: String,
    /// What the agent says first. The same variables are filled in.
    #[serde(default)]
    pub greeting: String,
    /// The model that answers, by its id. Without it, the chat's own, else the server's default.
    pub model: Option<String>,
    /// How the model is asked: `temperature`, `top_p`, `max_tokens`, `stop`, `seed`, `reasoning_effort`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub parameters: Parameters,
    /// Questions to begin with.
    #[serde(default)]
    pub suggestions: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentsConfig {
    /// A directory with one file for each agent, `<alias>.toml`. It need not be there.
    pub directory: String,
    /// Whether there are the agents that Pollen comes with.
    pub shipped: bool,
}

/// Why an agent cannot be used: the key and the reason.
type Complaint = (&'static str, String);

/// All agents, by alias.
pub(super) fn resolve(config: &Config) -> Result<Vec<AgentConfig>, Complaint> {
    let mut all = Vec::new();
    if config.agents.shipped {
        for file in Shipped::iter() {
            let embedded = Shipped::get(&file);
            let text = embedded.map(|file| String::from_utf8_lossy(&file.data).into_owned());
            all.push(parse(Path::new(&*file), &text.unwrap_or_default())?);
        }
    }
    all.extend(from_directory(&config.agents.directory)?);
    for agent in &config.agent {
        check(agent).map_err(|reason| ("agent", format!("{:?}: {reason}", agent.alias)))?;
        all.push(agent.clone());
    }
    let mut by_alias: Vec<AgentConfig> = Vec::new();
    for agent in all {
        match by_alias.iter_mut().find(|other| other.alias == agent.alias) {
            Some(other) => *other = agent,
            None => by_alias.push(agent),
        }
    }
    Ok(by_alias)
}

fn from_directory(directory: &str) -> Result<Vec<AgentConfig>, Complaint> {
    if directory.is_empty() {
        return Ok(Vec::new());
    }
    let unreadable = |error: std::io::Error| {
        let reason = format!("{directory:?} cannot be read: {error}");
        ("agents.directory", reason)
    };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    files.sort();
    files
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).map_err(unreadable)?;
            parse(path, &text)
        })
        .collect()
}

/// One file. The alias is its name, unless it says otherwise.
fn parse(path: &Path, text: &str) -> Result<AgentConfig, Complaint> {
    let complain = |reason: String| {
        let reason = format!("the file {}: {reason}", path.display());
        ("agents.directory", reason)
    };
    let parsed = config::Config::builder()
        .add_source(config::File::from_str(text, config::FileFormat::Toml))
        .build()
        .and_then(config::Config::try_deserialize::<AgentConfig>);
    let mut agent = parsed.map_err(|error| complain(error.to_string()))?;
    if agent.alias.is_empty() {
        let stem = path.file_stem().unwrap_or_default();
        agent.alias = stem.to_string_lossy().into_owned();
    }
    check(&agent).map_err(complain)?;
    Ok(agent)
}

/// What a value must be beyond its type: the key and the reason.
fn check(agent: &AgentConfig) -> Result<(), String> {
    let is_word = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    };
    let alias = &agent.alias;
    if alias.is_empty() || alias.len() > 64 || !alias.bytes().all(is_word) {
        return Err(format!(
            "the `alias` {alias:?} is not up to 64 lower-case letters, digits, `-` or `_`"
        ));
    }
    if agent.name.trim().is_empty() {
        return Err("the `name` is empty".to_owned());
    }
    let is_colour = agent.colour.strip_prefix('#').is_some_and(|digits| {
        digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    if !agent.colour.is_empty() && !is_colour {
        return Err(format!(
            "the `colour` {:?} is none: expected #rrggbb",
            agent.colour
        ));
    }
    let texts = [
        ("system_prompt", &agent.system_prompt),
        ("greeting", &agent.greeting),
    ];
    for (key, text) in texts {
        if text.contains('\0') {
            return Err(format!("the `{key}` holds the character U+0000"));
        }
    }
    Ok(())
}
