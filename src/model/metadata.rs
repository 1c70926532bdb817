//! What a client keeps with a chat for itself: which pairs are taken, so that they stay small enough to be looked through.

use std::collections::BTreeMap;

pub use entity::Metadata;

/// Pairs of one chat.
pub const MAX_PAIRS: usize = 16;
/// Characters of a key, which has one at least, and of a value.
pub const MAX_KEY_CHARS: usize = 64;
pub const MAX_VALUE_CHARS: usize = 512;
/// Characters of a key that is refused which are quoted.
const QUOTED_CHARS: usize = 80;

/// Why pairs are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("`metadata` has {0} pairs; at most {MAX_PAIRS} are taken")]
    TooMany(usize),
    #[error("`metadata` has a key that is empty")]
    EmptyKey,
    #[error("`metadata` has the key {0:?}, which is longer than {MAX_KEY_CHARS} characters")]
    LongKey(String),
    #[error("`metadata` has the key {0:?}, which holds a control character")]
    ControlInKey(String),
    #[error("`metadata` has a value at {0:?} that is longer than {MAX_VALUE_CHARS} characters")]
    LongValue(String),
    #[error("`metadata` has a value at {0:?} that holds a control character")]
    ControlInValue(String),
}

/// The pairs, if all of them are taken. None: there are none.
///
/// # Errors
/// Names the first that is not taken, and the rule.
pub fn parse(pairs: BTreeMap<String, String>) -> Result<Option<Metadata>, MetadataError> {
    if pairs.len() > MAX_PAIRS {
        return Err(MetadataError::TooMany(pairs.len()));
    }
    for (key, value) in &pairs {
        check(key, value)?;
    }
    Ok((!pairs.is_empty()).then_some(Metadata(pairs)))
}

fn check(key: &str, value: &str) -> Result<(), MetadataError> {
    let quoted = || super::text::head(key, QUOTED_CHARS).into_owned();
    if key.is_empty() {
        Err(MetadataError::EmptyKey)
    } else if key.chars().count() > MAX_KEY_CHARS {
        Err(MetadataError::LongKey(quoted()))
    } else if key.chars().any(char::is_control) {
        Err(MetadataError::ControlInKey(quoted()))
    } else if value.chars().count() > MAX_VALUE_CHARS {
        Err(MetadataError::LongValue(quoted()))
    } else if value.chars().any(char::is_control) {
        Err(MetadataError::ControlInValue(quoted()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        let owned = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        owned.into_iter().collect()
    }

    #[test]
    fn pairs_within_the_bounds_are_taken_as_they_are() {
        let long = ("茶".repeat(MAX_KEY_CHARS), "ж".repeat(MAX_VALUE_CHARS));
        let mut all = pairs([("project_id", "7"), ("empty", ""), ("a \"b\" $.c", "'; --")]);
        all.insert(long.0, long.1);
        assert_eq!(parse(all.clone()), Ok(Some(Metadata(all))));
        assert_eq!(parse(BTreeMap::new()), Ok(None));
    }

    #[test]
    fn a_refusal_says_which_pair_it_is_for() {
        let many = (0..=MAX_PAIRS).map(|n| (n.to_string(), String::new()));
        assert_eq!(parse(many.collect()), Err(MetadataError::TooMany(17)));
        let long_key = "k".repeat(MAX_KEY_CHARS + 1);
        let long_value = "v".repeat(MAX_VALUE_CHARS + 1);
        for (key, value, error) in [
            ("", "x", MetadataError::EmptyKey),
            (&long_key, "x", MetadataError::LongKey(long_key.clone())),
            ("a\0", "x", MetadataError::ControlInKey("a\0".to_owned())),
            ("a", &long_value, MetadataError::LongValue("a".to_owned())),
            ("a", "x\ny", MetadataError::ControlInValue("a".to_owned())),
        ] {
            assert_eq!(parse(pairs([("ok", "1"), (key, value)])), Err(error));
        }
    }
}
