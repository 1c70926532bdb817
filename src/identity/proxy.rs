//! Users for whom a single-sign-on gateway vouches by headers. That the headers are the gateway's is
//! proved in `http`, by the address that they come from.

use std::sync::Arc;

use super::{Caller, Identity, IdentityError, Proof, Via};
use crate::identity::users::Known;

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
        let proof = Proof::Vouched(vouched);
        if let Some(caller) = self.known.get(&proof) {
            return Ok(caller);
        }
        let Proof::Vouched(vouched) = &proof else {
            return Err(IdentityError::Refused("the gateway vouches for nobody"));
        };
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
        let caller = Arc::new(Caller::of(&user, Via::Proxy));
        self.known.insert(proof, Arc::clone(&caller));
        Ok(caller)
    }
}
