//! A model of the catalogue: what its operator says of it, or what is known of its like.

use std::time::Duration;

use super::parameters::Parameters;
use super::usage::Price;

/// One model that can be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Its name here: what a chat, a request and the usage ledger call it.
    pub id: String,
    /// The provider's name for it.
    pub upstream: String,
    /// Its name for people.
    pub name: String,
    pub provider: String,
    /// Tokens that it reads and writes together. None: not known, and nothing is left out.
    pub context_window: Option<u32>,
    /// Longest answer in tokens.
    pub max_output: Option<u32>,
    pub price: Option<Price>,
    /// How it is asked when nobody says otherwise.
    pub parameters: Parameters,
    /// The lowest tier that may use it. None: everybody.
    pub tier: Option<String>,
    /// How long its answers are kept to be given again. None: they are not.
    pub cache_ttl: Option<Duration>,
}

/// The part of a window that the conversation has for itself, whatever an answer is allowed.
const CONVERSATION_PART: u32 = 4;

impl ModelSpec {
    /// The most tokens that an answer may be allowed. None: nobody knows.
    #[must_use]
    pub fn max_tokens(&self) -> Option<u32> {
        let of_window = self
            .context_window
            .map(|window| window - window / CONVERSATION_PART);
        let limits = [self.max_output, of_window];
        limits.into_iter().flatten().min()
    }
}

/// Context windows of well-known families, by how their names begin: for models that neither the
/// configuration nor the provider's list says it of. From the providers' own model pages.
const WINDOWS: [(&str, u32); 22] = [
    ("gpt-4.1", 1_047_576),
    ("gpt-4o", 128_000),
    ("gpt-4-turbo", 128_000),
    ("gpt-4", 8_192),
    ("gpt-3.5-turbo", 16_385),
    ("gpt-5", 400_000),
    ("gpt-oss", 131_072),
    ("o1", 200_000),
    ("o3", 200_000),
    ("o4-mini", 200_000),
    ("claude-", 200_000),
    ("gemini-1.5-pro", 2_097_152),
    ("gemini-", 1_048_576),
    ("grok-4-fast", 2_000_000),
    ("grok-4", 256_000),
    ("grok-3", 131_072),
    ("mistral-large", 131_072),
    ("mistral-small", 131_072),
    ("mistral-medium", 131_072),
    ("deepseek-", 131_072),
    ("llama-3.1", 131_072),
    ("llama-3.3", 131_072),
];

/// The context window of a model of this name, if its family is known.
#[must_use]
pub fn known_window(upstream: &str) -> Option<u32> {
    // Routers put the maker before the name: `openai/gpt-4o`.
    let name = upstream.rsplit('/').next().unwrap_or(upstream);
    let families = WINDOWS
        .iter()
        .filter(|(family, _)| name.starts_with(family));
    let (_, window) = families.max_by_key(|(family, _)| family.len())?;
    Some(*window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_family_name_counts() {
        assert_eq!(known_window("gpt-4.1-mini"), Some(1_047_576));
        assert_eq!(known_window("gpt-4-0613"), Some(8_192));
        assert_eq!(known_window("anthropic/claude-sonnet-4-5"), Some(200_000));
        assert_eq!(known_window("my-own"), None);
    }
}
