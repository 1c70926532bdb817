//! Counting tokens, where the tokenizer of a model is known.

use bpe_openai::{Tokenizer, cl100k_base, o200k_base};

/// What a message takes besides its words: who says it, and where it ends.
/// <https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken>.
pub const PER_MESSAGE: i64 = 4;

/// Families of models by how their names begin, and the vocabulary that each of them reads with.
const O200K: [&str; 7] = ["gpt-4o", "gpt-4.1", "gpt-5", "gpt-oss", "o1", "o3", "o4"];
const CL100K: [&str; 2] = ["gpt-4", "gpt-3.5"];

/// What counts the tokens of a text as this model does. None: nobody knows how it does.
#[must_use]
pub fn counter(upstream: &str) -> Option<impl Fn(&str) -> i64 + use<>> {
    let tokenizer = tokenizer(upstream)?;
    Some(move |text: &str| i64::try_from(tokenizer.count(text)).unwrap_or(i64::MAX))
}

fn tokenizer(upstream: &str) -> Option<&'static Tokenizer> {
    // Routers put the maker before the name: `openai/gpt-4o`.
    let name = upstream.rsplit('/').next().unwrap_or(upstream);
    let is_of = |families: &[&str]| families.iter().any(|family| name.starts_with(family));
    if is_of(&O200K) {
        Some(o200k_base())
    } else if is_of(&CL100K) {
        Some(cl100k_base())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_as_the_model_counts_them() {
        let count = counter("openai/gpt-4o-mini").unwrap();
        assert_eq!(count("hello world"), 2);
        assert_eq!(count(""), 0);
        assert_eq!(counter("gpt-4").unwrap()("tiktoken is great!"), 6);
        assert!(counter("claude-sonnet-4-5").is_none());
    }
}
