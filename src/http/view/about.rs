//! What is to be known of an answer beside its text.

use entity::MessageId;
use serde::Serialize;

use crate::chat::About;
use crate::model::usage::amount;

/// The answer of `GET /chat/message/{uuid}/about`. What was recorded is null while the first attempt
/// runs; the counts are of all attempts together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AboutView {
    pub message_uuid: MessageId,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub finish_reason: Option<String>,
    /// The answer is one that was given before to the same question.
    pub cached: bool,
    pub attempts: Option<usize>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    /// Of the output.
    pub reasoning_tokens: Option<i64>,
    /// Of the input.
    pub cached_tokens: Option<i64>,
    /// A count was not reported by the provider, and is estimated.
    pub estimated: bool,
    /// In the currency of the configured prices; null where the model has no price.
    pub cost: Option<f64>,
    /// From the start of the first attempt to the first token of the text, and to its end.
    pub first_token_ms: Option<i64>,
    pub duration_ms: Option<i64>,
}

impl AboutView {
    pub fn new(about: About) -> Self {
        let spent = about.spent;
        Self {
            message_uuid: about.message,
            model: about.model,
            provider: about.provider,
            finish_reason: about.finish_reason,
            cached: about.cached,
            attempts: spent.map(|spent| spent.attempts),
            input_tokens: spent.map(|spent| spent.input_tokens),
            output_tokens: spent.map(|spent| spent.output_tokens),
            reasoning_tokens: spent.map(|spent| spent.reasoning_tokens),
            cached_tokens: spent.map(|spent| spent.cached_tokens),
            estimated: spent.is_some_and(|spent| spent.estimated),
            cost: spent.and_then(|spent| spent.cost_micros).map(amount),
            first_token_ms: spent.and_then(|spent| spent.first_token_ms),
            duration_ms: spent.map(|spent| spent.duration_ms),
        }
    }

    #[cfg(any(test, debug_assertions))]
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for a component, of which there is none yet")
    )]
    pub fn sample() -> Self {
        Self {
            message_uuid: MessageId(uuid::Uuid::from_u128(7)),
            model: Some("gpt-5".to_owned()),
            provider: Some("openai".to_owned()),
            finish_reason: Some("stop".to_owned()),
            cached: false,
            attempts: Some(1),
            input_tokens: Some(1_200),
            output_tokens: Some(340),
            reasoning_tokens: Some(120),
            cached_tokens: Some(800),
            estimated: true,
            cost: Some(0.0123),
            first_token_ms: Some(640),
            duration_ms: Some(12_800),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_known_is_told() {
        let json = serde_json::to_string(&AboutView::sample()).unwrap();
        insta::assert_snapshot!(json, @r#"{"message_uuid":"00000000-0000-0000-0000-000000000007","model":"gpt-5","provider":"openai","finish_reason":"stop","cached":false,"attempts":1,"input_tokens":1200,"output_tokens":340,"reasoning_tokens":120,"cached_tokens":800,"estimated":true,"cost":0.0123,"first_token_ms":640,"duration_ms":12800}"#);
    }
}
