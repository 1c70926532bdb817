//! Which models there are for somebody, and how they may be asked.

use std::sync::Arc;

use entity::{OwnerId, Parameters};

use super::Chats;
use crate::model::allowance::{Tier, reaches};
use crate::model::parameters::{self, ParameterError};
use crate::model::spec::ModelSpec;
use crate::model::text::{ModelName, TextError};
use crate::provider::{Capabilities, Route, UnknownModel};

/// A model that the caller may use.
#[derive(Clone, Debug)]
pub struct ModelOffer {
    pub spec: Arc<ModelSpec>,
    /// It answers in chats that name none.
    pub is_default: bool,
    pub can: Capabilities,
}

/// Why a chat or a message cannot be given a model, or not be asked like that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Unknown(#[from] UnknownModel),
    #[error("the model {model:?} is for the tier {tier:?} and above")]
    Tier { model: String, tier: String },
    #[error(transparent)]
    Parameter(#[from] ParameterError),
}

impl Chats {
    /// The models that the caller may use, the default one first. Lists of providers that are too old
    /// are asked for again.
    pub async fn models(&self, owner: OwnerId) -> Vec<ModelOffer> {
        let default = self.catalogue.default_model().id.clone();
        let models = self.catalogue.models().await;
        models
            .into_iter()
            .filter(|spec| self.check_tier(owner, spec).is_ok())
            .filter_map(|spec| {
                let route = self.catalogue.resolve(Some(&spec.id)).ok()?;
                Some(ModelOffer {
                    is_default: spec.id == default,
                    can: route.provider.capabilities(),
                    spec,
                })
            })
            .collect()
    }

    /// The tier of a user. None: there are no limits for them.
    pub(super) fn tier(&self, _: OwnerId) -> Option<&Tier> {
        let name = self.settings.default_tier.as_deref()?;
        self.settings.tiers.iter().find(|tier| tier.name == name)
    }

    fn check_tier(&self, owner: OwnerId, spec: &ModelSpec) -> Result<(), ModelError> {
        let (Some(needed), Some(own)) = (spec.tier.as_deref(), self.tier(owner)) else {
            return Ok(());
        };
        let order = self.settings.tiers.iter().map(|tier| tier.name.as_str());
        if reaches(&own.name, needed, order) {
            return Ok(());
        }
        Err(ModelError::Tier {
            model: spec.id.clone(),
            tier: needed.to_owned(),
        })
    }

    /// Who answers for a name, if the user may ask them.
    pub(super) fn route(&self, owner: OwnerId, model: Option<&str>) -> Result<Route, ModelError> {
        let route = self.catalogue.resolve(model)?;
        self.check_tier(owner, &route.spec)?;
        Ok(route)
    }

    /// A model's name as a chat may store it.
    pub(super) fn known_model(&self, owner: OwnerId, name: &str) -> Result<ModelName, ModelError> {
        let name = ModelName::parse(name)?;
        self.route(owner, Some(name.as_str()))?;
        Ok(name)
    }

    /// Whether a model can be asked like that.
    pub(super) fn check_parameters(
        &self,
        owner: OwnerId,
        model: Option<&str>,
        asked: &Parameters,
    ) -> Result<(), ModelError> {
        let route = self.route(owner, model)?;
        let can = route.provider.capabilities();
        let spec = &route.spec;
        parameters::check(asked, &can, spec.max_tokens(), &spec.id)?;
        Ok(())
    }
}
