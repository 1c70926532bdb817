//! What the model says: words like those of English, the same in every run, in tokens of four to five bytes with a comma,
//! a full stop and a paragraph now and then. Each token's event is made once, and sent as it is to whoever is told it.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::json;

/// How many tokens it says before it says the same again. No two answers that begin elsewhere look alike.
const TOKENS: usize = 8_192;
/// Beginnings of answers are so far apart.
const STRIDE: usize = 37;

const WORDS: &str = "the of and to in a is that for it as was with be by on not he his but at are this have from or had an \
    they which one you were her all their there been if more when will would who so no what up out about into than them \
    can only other time new some could these two may then do first any now such like our over man me even most made after \
    also did many before must through back years where much your way well down should because each just those people how \
    too little state good very make world still own see men work long get here between both life being under never day \
    same another know while last might us great old year off come since against go came right used take three answer \
    question server message language understand difference important according development available performance";

/// Longer words are two tokens, as with the models' own.
const LONGEST: usize = 7;

/// One token and what is sent for it.
pub struct Token {
    pub text: &'static str,
    /// The event in a chunk of HTTP's.
    pub chunk: Bytes,
}

static CORPUS: LazyLock<Vec<Token>> = LazyLock::new(|| {
    let event = |text: &'static str| Token {
        text,
        chunk: chunk(&json!({"content": text}), None),
    };
    texts().into_iter().map(event).collect()
});

/// The answer that begins there, without end.
pub fn answer(seed: u32) -> impl Iterator<Item = &'static Token> {
    let begin = (seed as usize).wrapping_mul(STRIDE) % TOKENS;
    CORPUS.iter().cycle().skip(begin)
}

/// Bytes of an answer's text.
pub fn bytes(seed: u32, tokens: u32) -> u64 {
    let texts = answer(seed).take(tokens as usize);
    texts.map(|token| token.text.len() as u64).sum()
}

/// An event of the stream, as one chunk of HTTP's.
pub fn chunk(delta: &serde_json::Value, finish: Option<&str>) -> Bytes {
    wrap(&json!({
        "id": "chatcmpl-BqXv1c2tZ0hJbench", "object": "chat.completion.chunk", "created": 1_763_802_000,
        "model": "bench", "system_fingerprint": "fp_0123456789",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
    }).to_string())
}

/// What follows the last token.
pub fn end(tokens: u32) -> Vec<u8> {
    let usage = json!({"id": "chatcmpl-BqXv1c2tZ0hJbench", "object": "chat.completion.chunk", "choices": [],
        "usage": {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}});
    let mut end = chunk(&json!({}), Some("stop")).to_vec();
    end.extend(wrap(&usage.to_string()));
    end.extend(wrap("[DONE]"));
    end.extend(b"0\r\n\r\n");
    end
}

fn wrap(data: &str) -> Bytes {
    let event = format!("data: {data}\n\n");
    Bytes::from(format!("{:x}\r\n{event}\r\n", event.len()))
}

/// Words at random, the frequent ones first in the list and more often, with marks between them.
fn texts() -> Vec<&'static str> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let spaced: Vec<&'static str> = words
        .iter()
        .map(|word| &*Box::leak(format!(" {word}").into_boxed_str()))
        .collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut texts = Vec::with_capacity(TOKENS);
    let mut in_sentence = 0;
    while texts.len() < TOKENS {
        // Half of them from all words alike, half rather from the first ones.
        let last = random.usize(0..spaced.len());
        let number = if random.bool() {
            random.usize(0..=last)
        } else {
            last
        };
        let word = spaced[number];
        match word.split_at_checked(LONGEST) {
            Some((head, tail)) if !tail.is_empty() => texts.extend([head, tail]),
            _ => texts.push(word),
        }
        in_sentence += 1;
        match random.u32(0..100) {
            0..5 => texts.push(","),
            5..11 if in_sentence > 5 => {
                texts.push(if random.u32(0..5) == 0 { ".\n\n" } else { "." });
                in_sentence = 0;
            }
            _ => {}
        }
    }
    texts.truncate(TOKENS);
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_four_to_five_bytes() {
        let mean = bytes(0, 8_192) / 8_192;
        assert_eq!(mean, 4);
    }

    #[test]
    fn a_chunk_is_as_long_as_it_says() {
        let token = answer(3).next().unwrap();
        let text = std::str::from_utf8(&token.chunk).unwrap();
        let (length, rest) = text.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        assert_eq!(rest.len(), length + 2);
        assert!(rest.starts_with("data: {") && rest.ends_with("\n\n\r\n"));
    }

    #[test]
    fn paragraphs_end_now_and_then() {
        let ends = answer(0).take(8_192).filter(|token| token.text == ".\n\n");
        assert!((20..200).contains(&ends.count()));
    }
}
