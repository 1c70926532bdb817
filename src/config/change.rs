//! What may change while the server runs: models, agents, tiers and limits. All else holds until the next start.

use std::collections::BTreeMap;
use std::fmt;

use config::{Value, ValueKind};

use super::layers::Setting;
use super::{AuthConfig, CacheConfig, Config, LimitsConfig};

/// Keys, and tables of keys, that are read again.
const READ_AGAIN: [&str; 26] = [
    "agent",
    "agents",
    "anthropic",
    "auth.anonymous_tier",
    "azure",
    "cache.ttl_ms",
    "catalogue",
    "chat",
    "context",
    "deepseek",
    "default_model",
    "default_provider",
    "default_tier",
    "demo",
    "gemini",
    "groq",
    "limits",
    "mistral",
    "model",
    "ollama",
    "openai",
    "openrouter",
    "provider",
    "tier",
    "upstream",
    "xai",
];
/// But for these: connections have been accepted by them.
const CONNECTIONS: [&str; 4] = [
    "limits.connections",
    "limits.connections_per_address",
    "limits.header_timeout_ms",
    "limits.idle_timeout_ms",
];

/// All values as they were read, by their keys, to be compared with another reading.
#[derive(Clone, Default)]
pub struct InForce(BTreeMap<String, String>);

/// There are secrets among the values.
impl fmt::Debug for InForce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "InForce({} keys)", self.0.len())
    }
}

impl InForce {
    pub(super) fn of(settings: &[Setting]) -> Self {
        let pair = |setting: &Setting| (setting.key.clone(), spelled(&setting.value));
        Self(settings.iter().map(pair).collect())
    }
}

/// The same for the same value: a table's keys come in no order of their own.
fn spelled(value: &Value) -> String {
    match &value.kind {
        ValueKind::Table(table) => {
            let mut pairs: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{key:?}={}", spelled(value)))
                .collect();
            pairs.sort();
            format!("{{{}}}", pairs.join(","))
        }
        ValueKind::Array(values) => {
            let values: Vec<String> = values.iter().map(spelled).collect();
            format!("[{}]", values.join(","))
        }
        other => other.to_string(),
    }
}

/// What another reading of the configuration comes to.
#[derive(Debug)]
pub struct Reread {
    /// What is in force from now on.
    pub config: Config,
    /// The keys whose values are other ones now.
    pub changed: Vec<String>,
    /// The keys whose other values need a new start.
    pub held: Vec<String>,
}

impl Config {
    /// Takes over what may change.
    #[must_use]
    pub fn reread(&self, fresh: Self) -> Reread {
        let differs = |key: &&String| self.in_force.0.get(*key) != fresh.in_force.0.get(*key);
        let keys = fresh.in_force.0.keys().filter(differs).cloned();
        let (changed, held): (Vec<_>, Vec<_>) = keys.partition(|key| is_read_again(key));
        let mut in_force = self.in_force.clone();
        for key in &changed {
            let value = fresh.in_force.0.get(key).cloned().unwrap_or_default();
            in_force.0.insert(key.clone(), value);
        }
        Reread {
            config: self.with(fresh, in_force),
            changed,
            held,
        }
    }

    fn with(&self, fresh: Self, in_force: InForce) -> Self {
        let running = self.clone();
        Self {
            listen: running.listen,
            public_url: running.public_url,
            trusted_proxies: running.trusted_proxies,
            database_url: running.database_url,
            redis_url: running.redis_url,
            auth: AuthConfig {
                anonymous_tier: fresh.auth.anonymous_tier,
                ..running.auth
            },
            cors: running.cors,
            cache: CacheConfig {
                ttl_ms: fresh.cache.ttl_ms,
                ..running.cache
            },
            database: running.database,
            ledger: running.ledger,
            worker: running.worker,
            limits: LimitsConfig {
                connections: running.limits.connections,
                connections_per_address: running.limits.connections_per_address,
                header_timeout_ms: running.limits.header_timeout_ms,
                idle_timeout_ms: running.limits.idle_timeout_ms,
                ..fresh.limits
            },
            log: running.log,
            shutdown: running.shutdown,
            in_force,
            ..fresh
        }
    }
}

fn is_read_again(key: &str) -> bool {
    let is_in = |table: &&str| {
        let rest = key.strip_prefix(*table);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    READ_AGAIN.iter().any(is_in) && !CONNECTIONS.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn config(flags: &[(&str, &str)]) -> Config {
        let flags = flags.iter().map(|(key, value)| {
            let flag = format!("--set {key}");
            (flag, (*key).to_owned(), (*value).to_owned())
        });
        let layers = Layers {
            flags: flags.collect(),
            ..Layers::default()
        };
        Config::load(&layers).unwrap()
    }

    #[test]
    fn what_may_change_is_taken_over_and_the_rest_is_named() {
        let running = config(&[("worker.max_running", "7"), ("limits.connections", "9")]);
        let fresh = config(&[
            ("listen", "127.0.0.1:9"),
            ("default_tier", "pro"),
            ("limits.polls_per_minute", "5"),
            ("limits.connections", "10"),
            ("auth.anonymous_tier", "pro"),
            ("auth.recheck_ms", "5"),
        ]);
        let reread = running.reread(fresh);
        let changed = [
            "auth.anonymous_tier",
            "default_tier",
            "limits.polls_per_minute",
        ];
        assert_eq!(reread.changed, changed);
        let held = [
            "auth.recheck_ms",
            "limits.connections",
            "listen",
            "worker.max_running",
        ];
        assert_eq!(reread.held, held);
        let now = reread.config;
        assert_eq!(now.default_tier, "pro");
        assert_eq!(now.limits.polls_per_minute, 5);
        assert_eq!((now.worker.max_running, now.limits.connections), (7, 9));
        assert_ne!(now.auth.recheck_ms, 5);
        // A second reading of the same names the same.
        let again = config(&[("listen", "127.0.0.1:9"), ("default_tier", "pro")]);
        let again = now.reread(again);
        assert!(
            again.held.contains(&"listen".to_owned()),
            "{:?}",
            again.held
        );
        assert!(!again.changed.contains(&"default_tier".to_owned()));
    }

    #[test]
    fn no_value_is_shown_with_the_rest() {
        let shown = format!(
            "{:?}",
            config(&[("auth.secret", "open-sesame-open-sesame-open-sesame")])
        );
        assert!(!shown.contains("sesame"), "{shown}");
    }
}
