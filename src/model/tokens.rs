//! Counting tokens, where the tokenizer of a model is known. The vocabularies lie compressed in the
//! binary, 1.2 MB for both of them: a server that never counts with one has no memory of it.

use tiktoken::{CoreBpe, get_encoding};

/// What a message takes besides its words: who says it, and where it ends.
/// <https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken>.
pub const PER_MESSAGE: i64 = 4;

/// Families of models by how their names begin, and the vocabulary that each of them reads with.
const O200K: [&str; 7] = ["gpt-4o", "gpt-4.1", "gpt-5", "gpt-oss", "o1", "o3", "o4"];
const CL100K: [&str; 2] = ["gpt-4", "gpt-3.5"];

/// What counts the tokens of a text as this model does. None: nobody knows how it does.
///
/// The first call for a vocabulary unpacks it, some 100 ms and 24 MiB of work: not on a thread that
/// others wait for.
#[must_use]
pub fn counter(upstream: &str) -> Option<impl Fn(&str) -> i64 + use<>> {
    let tokenizer = tokenizer(upstream)?;
    Some(move |text: &str| i64::try_from(tokenizer.count(text)).unwrap_or(i64::MAX))
}

fn tokenizer(upstream: &str) -> Option<&'static CoreBpe> {
    // Routers put the maker before the name: `openai/gpt-4o`.
    let name = upstream.rsplit('/').next().unwrap_or(upstream);
    let is_of = |families: &[&str]| families.iter().any(|family| name.starts_with(family));
    if is_of(&O200K) {
        get_encoding("o200k_base")
    } else if is_of(&CL100K) {
        get_encoding("cl100k_base")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};

    use super::*;
    use crate::model::secret::hash as sha256;

    #[test]
    fn tokens_are_counted_as_the_model_counts_them() {
        let count = counter("openai/gpt-4o-mini").unwrap();
        assert_eq!(count("hello world"), 2);
        assert_eq!(count(""), 0);
        assert_eq!(counter("gpt-4").unwrap()("tiktoken is great!"), 6);
        assert!(counter("claude-sonnet-4-5").is_none());
    }

    /// The hashes are those by which OpenAI's own library knows its files:
    /// <https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py>.
    #[test]
    fn the_vocabularies_are_those_that_openai_publishes() {
        for (model, hash) in [
            (
                "gpt-4o",
                "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
            ),
            (
                "gpt-4",
                "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
            ),
        ] {
            let tokenizer = tokenizer(model).unwrap();
            let tokens = 0..u32::try_from(tokenizer.vocab_size()).unwrap();
            let lines = tokens.map(|token| {
                let bytes = BASE64_STANDARD.encode(tokenizer.decode(&[token]));
                format!("{bytes} {token}\n")
            });
            assert_eq!(sha256(&lines.collect::<String>()), hash, "{model}");
        }
    }

    /// Where the rules for splitting are hard. The counts are GitHub's `bpe-openai`'s.
    #[test]
    fn texts_of_every_kind_are_split_as_the_models_split_them() {
        let texts = [
            ("It's WE'LL i'Ve don’t 'tis O'Reilly", 14, 16),
            ("1234567890 12 345,678.90", 12, 12),
            ("  leading,   inner   and trailing   ", 9, 9),
            ("line\n\n  line\r\n\tline \n", 7, 7),
            ("x.\n/path //\n!?\n\n/", 6, 7),
            ("camelCase HTTPServer snake_case ǅenan", 10, 10),
            ("Überraschung: naïve façade, Łódź", 11, 15),
            ("漢字かなカナ한국어", 7, 11),
            ("العربية हिन\u{94d}दी ไทย", 4, 15),
            ("👩🏽\u{200d}🚀🏳\u{fe0f}\u{200d}🌈🇩🇪", 17, 26),
            (
                "e\u{301}\u{302} \u{a0}\u{2003}\u{200b}\u{85}\u{feff}",
                9,
                11,
            ),
            ("<|endoftext|><|im_start|>", 12, 12),
            ("\0\u{7f}\u{e000}\u{10ffff}", 8, 9),
            ("3fa85f64-5717-4562-b3fc-2c963f66afa6", 22, 22),
            // Pieces that no rule splits: they are merged in reasonable time.
            (&"a".repeat(10_000), 1_250, 1_250),
            (&"= ".repeat(5_000), 5_001, 5_001),
            (&"\n \t".repeat(3_000), 3_001, 3_001),
            (&"漢".repeat(3_000), 3_000, 6_000),
        ];
        let (o200k, cl100k) = (counter("gpt-5").unwrap(), counter("gpt-3.5-turbo").unwrap());
        for (text, with_o200k, with_cl100k) in texts {
            let counted = (o200k(text), cl100k(text));
            assert_eq!(counted, (with_o200k, with_cl100k), "{text:?}");
        }
    }
}
