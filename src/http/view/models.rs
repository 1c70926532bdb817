//! The models that the caller may use, as JSON and as a page.

use askama::Template;
use entity::Parameters;
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::{self, Icon};
use super::frame::{Frame, Theme};
use super::words::{self, W};
use crate::chat::ModelOffer;

/// One model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelView {
    /// What a chat or a send calls it.
    pub id: String,
    pub name: String,
    pub provider: String,
    /// It answers in chats that name none.
    pub default: bool,
    /// Tokens that it reads and writes together; null: not known.
    pub context_window: Option<u32>,
    pub max_output: Option<u32>,
    /// Price of a million tokens, in the currency of the configuration.
    pub price_in: Option<f64>,
    pub price_out: Option<f64>,
    pub price_cached: Option<f64>,
    /// How it is asked when nobody says otherwise.
    pub parameters: Parameters,
    /// The parameters that it takes.
    pub takes: Vec<&'static str>,
    pub tier: Option<String>,
    /// Its answers are kept and given again to the same question in the same conversation.
    pub cache: bool,
}

impl ModelView {
    fn new(offer: &ModelOffer) -> Self {
        let (spec, can) = (&offer.spec, offer.can);
        let price = spec.price;
        let mut takes = vec!["temperature", "top_p", "max_tokens"];
        takes.extend((can.max_stop > 0).then_some("stop"));
        takes.extend(can.seed.then_some("seed"));
        takes.extend(can.reasoning_effort.then_some("reasoning_effort"));
        Self {
            id: spec.id.clone(),
            name: spec.name.clone(),
            provider: spec.provider.clone(),
            default: offer.is_default,
            context_window: spec.context_window,
            max_output: spec.max_output,
            price_in: price.map(|price| price.input),
            price_out: price.map(|price| price.output),
            price_cached: price.and_then(|price| price.cached),
            parameters: spec.parameters.clone(),
            takes,
            tier: spec.tier.clone(),
            cache: spec.cache_ttl.is_some(),
        }
    }

    /// A number for people; a dash where there is none.
    pub fn shown(number: Option<&impl ToString>) -> String {
        number.map_or_else(|| "–".to_owned(), ToString::to_string)
    }
}

/// The answer of `GET /models`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelsView {
    pub models: Vec<ModelView>,
}

impl ModelsView {
    pub fn new(offers: &[ModelOffer]) -> Self {
        Self {
            models: offers.iter().map(ModelView::new).collect(),
        }
    }
}

/// The page of it.
#[derive(Template)]
#[template(path = "models.html")]
pub struct ModelsPage {
    pub frame: Frame,
    pub models: ModelsView,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_models() {
        let model = |id: &str, price| ModelView {
            id: id.to_owned(),
            name: format!("<{id}>"),
            provider: "two".to_owned(),
            default: price > 0.0,
            context_window: (price > 0.0).then_some(128_000),
            max_output: None,
            price_in: Some(price),
            price_out: None,
            price_cached: None,
            parameters: Parameters::default(),
            takes: Vec::new(),
            tier: None,
            cache: false,
        };
        let models = ModelsView {
            models: vec![model("a", 1.5), model("b", 0.0)],
        };
        let page = ModelsPage {
            frame: Frame::default(),
            models,
        }
        .render()
        .unwrap();
        let main = page.split("<main").nth(1).unwrap();
        insta::assert_snapshot!(main);
    }
}
