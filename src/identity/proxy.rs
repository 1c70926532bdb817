//! Users for whom a single-sign-on gateway vouches by headers. That the headers are the gateway's is
//! proved in `http`, by the address that they come from.

use std::sync::Arc;

use super::memory::Found;
use super::users::Known;
use super::{Caller, Identity, IdentityError, Proof, Via};

/// What the gateway calls its users here.
const ISSUER: &str = "proxy";

/// What a gateway says of somebody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vouched {
    pub user: String,
    pub name: Option<String>,
    pub tier: Option<String>,
    pub groups: Vec<String>,
}

impl Identity {
    /// The user for whom the gateway vouches.
    ///
    /// # Errors
    /// If they may not come in.
    pub async fn vouched(&self, vouched: Vouched) -> Result<Arc<Caller>, IdentityError> {
        let proof = Proof::Vouched(vouched.clone());
        if let Some(found) = self.memory.fresh(&proof) {
            return Ok(found.caller);
        }
        let look = self.user_vouched(&vouched);
        let found = Box::pin(self.memory.look(proof, self.clock.now(), look)).await?;
        Ok(found.caller)
    }

    async fn user_vouched(&self, vouched: &Vouched) -> Result<Found, IdentityError> {
        let admins = self.settings.admin_group.as_ref();
        let user = self
            .known_user(Known {
                issuer: ISSUER,
                subject: &vouched.user,
                name: vouched.name.as_deref(),
                tier: vouched.tier.as_deref(),
                is_admin: admins.map(|group| vouched.groups.contains(group)),
            })
            .await?;
        Ok(Found::of(Caller::of(&user, Via::Proxy), None))
    }
}
