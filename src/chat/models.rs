//! Which models there are for somebody, and how they may be asked.

use std::sync::Arc;

use entity::{OwnerId, Parameters};

use super::{Chats, Member, Rules};
use crate::model::allowance::{Tier, reaches};
use crate::model::parameters::{self, ParameterError};
use crate::model::spec::ModelSpec;
use crate::model::text::{ModelName, TextError};
use crate::provider::{Capabilities, Route, UnknownModel};
use crate::store::StoreError;

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
    #[error("{}", spelled(model, tier.as_deref()))]
    Tier {
        model: String,
        /// The lowest that has it; none: no tier does.
        tier: Option<String>,
    },
    #[error(transparent)]
    Parameter(#[from] ParameterError),
}

fn spelled(model: &str, tier: Option<&str>) -> String {
    match tier {
        Some(tier) => format!("the model {model:?} is for the tier {tier:?} and above"),
        None => format!("no tier has the model {model:?}"),
    }
}

impl Chats {
    /// The models that the caller may use, the default one first. Lists of providers that are too old
    /// are asked for again.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn models(&self, owner: OwnerId) -> Result<Vec<ModelOffer>, StoreError> {
        let member = self.member(owner).await?;
        let rules = self.rules();
        let default = &rules.catalogue.default_model().id;
        let models = rules.catalogue.models().await;
        Ok(models
            .into_iter()
            .filter(|spec| rules.check_tier(&member, spec).is_ok())
            .filter_map(|spec| {
                let route = rules.catalogue.resolve(Some(&spec.id)).ok()?;
                Some(ModelOffer {
                    is_default: spec.id == *default,
                    can: route.provider.capabilities(),
                    spec,
                })
            })
            .collect())
    }

    /// Who answers for a name, if the user may ask them.
    pub(super) fn route(&self, member: &Member, model: Option<&str>) -> Result<Route, ModelError> {
        let rules = self.rules();
        let route = rules.catalogue.resolve(model)?;
        rules.check_tier(member, &route.spec)?;
        Ok(route)
    }

    /// A model's name as a chat may store it.
    pub(super) fn known_model(&self, member: &Member, name: &str) -> Result<ModelName, ModelError> {
        let name = ModelName::parse(name)?;
        self.route(member, Some(name.as_str()))?;
        Ok(name)
    }

    /// Whether a model can be asked like that.
    pub(super) fn check_parameters(
        &self,
        member: &Member,
        model: Option<&str>,
        asked: &Parameters,
    ) -> Result<(), ModelError> {
        let route = self.route(member, model)?;
        let can = route.provider.capabilities();
        let spec = &route.spec;
        parameters::check(asked, &can, spec.max_tokens(), &spec.id)?;
        Ok(())
    }
}

impl Rules {
    /// A model's own tier must be reached, and the user's tier must have the model.
    fn check_tier(&self, member: &Member, spec: &ModelSpec) -> Result<(), ModelError> {
        let Some(own) = &member.tier else {
            return Ok(());
        };
        let tiers = &self.settings.tiers;
        let order = || tiers.iter().map(|tier| tier.name.as_str());
        let needed = spec.tier.as_deref();
        if needed.is_none_or(|needed| reaches(&own.name, needed, order())) && own.has(&spec.id) {
            return Ok(());
        }
        // The lowest that has it.
        let reaches = |tier: &&Tier| {
            tier.has(&spec.id) && needed.is_none_or(|needed| reaches(&tier.name, needed, order()))
        };
        let tier = tiers.iter().find(reaches).map(|tier| tier.name.clone());
        Err(ModelError::Tier {
            model: spec.id.clone(),
            tier: tier.or_else(|| needed.map(str::to_owned)),
        })
    }
}
