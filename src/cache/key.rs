//! What an answer depends on, as a name of fixed length.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// SHA-256, in hexadecimal, of what an answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(String);

impl CacheKey {
    /// The key of all that is equal as JSON, in whatever order the fields of its objects come.
    ///
    /// What cannot be written as JSON is like nothing else: its key is another each time.
    pub fn of(asked: &impl Serialize) -> Self {
        let canonical = serde_json::to_value(asked).map_or_else(
            |_| Uuid::new_v4().to_string(),
            |mut value| {
                value.sort_all_objects();
                value.to_string()
            },
        );
        let mut hex = String::with_capacity(2 * <Sha256 as Digest>::output_size());
        for byte in Sha256::digest(canonical) {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_the_hash_of_the_canonical_text() {
        // `printf '{"a":1}' | sha256sum`
        assert_eq!(
            CacheKey::of(&json!({"a": 1})).as_str(),
            "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
        );
    }

    #[test]
    fn the_order_of_fields_makes_no_difference() {
        #[derive(Serialize)]
        struct Forth {
            model: &'static str,
            seed: u32,
        }
        #[derive(Serialize)]
        struct Back {
            seed: u32,
            model: &'static str,
        }
        let forth = CacheKey::of(&Forth {
            model: "m",
            seed: 1,
        });
        let back = CacheKey::of(&Back {
            seed: 1,
            model: "m",
        });
        assert_eq!(forth, back);
        let letters: Vec<String> = ('a'..='z').map(String::from).collect();
        let map = |names: &mut dyn Iterator<Item = &String>| {
            let map: HashMap<String, usize> =
                names.map(|name| (name.clone(), name.len())).collect();
            CacheKey::of(&json!([{ "deep": map }]))
        };
        assert_eq!(map(&mut letters.iter()), map(&mut letters.iter().rev()));
    }

    #[test]
    fn any_change_makes_another_key() {
        let asked = [
            json!({"model": "a", "history": [{"role": "user", "text": "hi"}]}),
            json!({"model": "b", "history": [{"role": "user", "text": "hi"}]}),
            json!({"model": "a", "history": [{"role": "user", "text": "hi "}]}),
            json!({"model": "a", "history": [{"role": "user", "text": ["hi"]}]}),
            json!({"model": "a", "history": [{"role": "user", "text": "hi"}, {"role": "user", "text": "hi"}]}),
            json!({"model": "a", "history": [{"role": "user", "text": "hi"}], "seed": 1}),
            json!({"model": "a", "history": [{"role": "user", "text": "hi"}], "seed": 1.5}),
            json!({"model": "a", "history": [{"role": "user", "text": "hi"}], "seed": "1"}),
            json!({"model": "a", "history": [{"role": "user", "text": "hi"}], "seed": null}),
            json!({"model": "ahistory", "": [{"role": "user", "text": "hi"}]}),
            json!([["a", "b"], []]),
            json!([["a"], ["b"]]),
        ];
        let keys: HashSet<CacheKey> = asked.iter().map(CacheKey::of).collect();
        assert_eq!(keys.len(), asked.len());
    }

    #[test]
    fn what_is_no_json_is_like_nothing_else() {
        let odd = HashMap::from([(vec![1], 1)]);
        assert_ne!(CacheKey::of(&odd), CacheKey::of(&odd));
    }
}
