//! What answers use and cost: token counts, estimated where a provider did not report them, and prices.

use serde::{Deserialize, Serialize};

/// Characters of a token, as OpenAI's rule of thumb has it for English:
/// <https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them>.
const ASCII_CHARS_PER_TOKEN: u64 = 4;
/// Of other letters about each one is a token.
const OTHER_CHARS_PER_TOKEN: u64 = 1;
const MILLION: f64 = 1_000_000.0;

/// Tokens, as a provider counts them. None where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    /// Of the output: what the model thought and did not say.
    pub reasoning_tokens: Option<i64>,
    /// Of the input: what the provider had in its cache.
    pub cached_tokens: Option<i64>,
}

impl Usage {
    /// This one, and of an earlier report what this one does not say.
    #[must_use]
    pub fn or(self, earlier: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.or(earlier.input_tokens),
            output_tokens: self.output_tokens.or(earlier.output_tokens),
            reasoning_tokens: self.reasoning_tokens.or(earlier.reasoning_tokens),
            cached_tokens: self.cached_tokens.or(earlier.cached_tokens),
        }
    }

    /// Both together: of two calls.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |one: Option<i64>, two: Option<i64>| match (one, two) {
            (Some(one), Some(two)) => Some(one.saturating_add(two)),
            (one, two) => one.or(two),
        };
        Self {
            input_tokens: sum(self.input_tokens, other.input_tokens),
            output_tokens: sum(self.output_tokens, other.output_tokens),
            reasoning_tokens: sum(self.reasoning_tokens, other.reasoning_tokens),
            cached_tokens: sum(self.cached_tokens, other.cached_tokens),
        }
    }
}

/// About how many tokens a text is: a rule of thumb, good to a third either way.
#[must_use]
pub fn estimate_tokens(text: &str) -> i64 {
    let (mut ascii, mut other) = (0_u64, 0_u64);
    for letter in text.chars() {
        if letter.is_ascii() {
            ascii += 1;
        } else {
            other += 1;
        }
    }
    let tokens = ascii.div_ceil(ASCII_CHARS_PER_TOKEN) + other / OTHER_CHARS_PER_TOKEN;
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// What a million tokens of one model cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    pub input: f64,
    pub output: f64,
    /// Of input that the provider had in its cache; none: the same as other input.
    pub cached: Option<f64>,
}

impl Price {
    /// Millionths of the currency. With a price per million tokens this is tokens times price.
    #[must_use]
    pub fn cost_micros(&self, input: i64, cached: i64, output: i64) -> i64 {
        let cached = cached.clamp(0, input.max(0));
        let cost = tokens(input - cached) * self.input
            + tokens(cached) * self.cached.unwrap_or(self.input)
            + tokens(output) * self.output;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float that is too large becomes the largest integer"
        )]
        let micros = cost.round() as i64;
        micros
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody pays for more than 2^53 tokens at once"
)]
fn tokens(count: i64) -> f64 {
    count.max(0) as f64
}

/// An amount of the currency in its millionths.
#[must_use]
pub fn micros(amount: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float that is too large becomes the largest integer"
    )]
    let micros = (amount * MILLION).round() as i64;
    micros
}

/// An amount of the currency, from its millionths.
#[must_use]
pub fn amount(micros: i64) -> f64 {
    tokens(micros) / MILLION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_count_letters_by_their_kind() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("abcde"), 2);
        assert_eq!(estimate_tokens("字字"), 2);
    }

    #[test]
    fn a_price_is_per_million_and_cached_input_has_its_own() {
        let price = Price {
            input: 2.0,
            output: 8.0,
            cached: Some(0.5),
        };
        assert_eq!(price.cost_micros(1_000, 400, 10), 600 * 2 + 200 + 80);
        let plain = Price {
            cached: None,
            ..price
        };
        assert_eq!(plain.cost_micros(1_000, 400, 10), 2_000 + 80);
        assert!((amount(2_080) - 0.002_08).abs() < 1e-12);
    }
}
