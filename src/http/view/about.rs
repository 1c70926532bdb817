//! What is to be known of an answer beside its text.

use askama::Template;
use entity::{ChatId, MessageId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::{self, Icon};
use super::frame::{Frame, Theme};
use super::words::{W, milliseconds};
use crate::chat::About;
use crate::model::usage::amount;

/// The answer of `GET /chat/message/{uuid}/about`. What was recorded is null while the first attempt
/// runs; the counts are of all attempts together.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
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

/// The same for people: a name and a value each. Of a message that nobody was asked for there is only
/// when it was said.
#[derive(Template)]
#[template(path = "about.html")]
pub struct AboutFragment {
    pub sent_at: Timestamp,
    pub facts: Vec<(&'static str, String)>,
}

impl AboutFragment {
    pub fn new(sent_at: Timestamp, about: Option<AboutView>) -> Self {
        let facts = about.map(|about| about.facts()).unwrap_or_default();
        Self { sent_at, facts }
    }

    /// The time, UTC, for people whose browser runs no script.
    pub fn time(&self) -> String {
        let sent = self.sent_at.to_datetime();
        sent.format("%-d %b %Y, %H:%M UTC").to_string()
    }
}

impl AboutView {
    fn facts(&self) -> Vec<(&'static str, String)> {
        let estimated = |count: i64| {
            if self.estimated {
                format!("{count} ({})", W.estimated)
            } else {
                count.to_string()
            }
        };
        let by = self.provider.as_deref().map(|name| format!(" ({name})"));
        let by = by.unwrap_or_default();
        let model = self.model.as_deref().map(|model| format!("{model}{by}"));
        let finished = match (&self.finish_reason, self.cached) {
            (Some(reason), true) => Some(format!("{reason}, {}", W.from_cache)),
            (reason, _) => reason.clone(),
        };
        let facts = [
            (W.model, model),
            (W.tokens_read, self.input_tokens.map(estimated)),
            (W.tokens_written, self.output_tokens.map(estimated)),
            (W.first_word_after, self.first_token_ms.map(milliseconds)),
            (W.took, self.duration_ms.map(milliseconds)),
            (W.cost, self.cost.map(|cost| format!("{cost:.4}"))),
            (W.finish_reason, finished),
        ];
        let known = facts.into_iter();
        known
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// The page of it.
#[derive(Template)]
#[template(path = "about_page.html")]
pub struct AboutPage {
    pub frame: Frame,
    pub chat: ChatId,
    pub about: AboutFragment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_told_to_people() {
        let about = AboutFragment::new(Timestamp(1_795_226_400_000), Some(AboutView::sample()));
        insta::assert_snapshot!(about.render().unwrap());
    }

    #[test]
    fn all_that_is_known_is_told() {
        let json = serde_json::to_string(&AboutView::sample()).unwrap();
        insta::assert_snapshot!(json, @r#"{"message_uuid":"00000000-0000-0000-0000-000000000007","model":"gpt-5","provider":"openai","finish_reason":"stop","cached":false,"attempts":1,"input_tokens":1200,"output_tokens":340,"reasoning_tokens":120,"cached_tokens":800,"estimated":true,"cost":0.0123,"first_token_ms":640,"duration_ms":12800}"#);
    }
}
