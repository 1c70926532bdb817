//! What a user may do: their tier, and what is left of it. It is found out before a transaction and made
//! use of in it; how many answers they have under way is counted in it, behind everything else.

use std::sync::Arc;

use entity::OwnerId;
use entity::user::ANONYMOUS;

use super::allowance::Checked;
use super::{AllowanceError, Chats, Rules};
use crate::model::allowance::Tier;
use crate::store::{StoreError, Tx};

/// A user, as far as chats have to do with them.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: OwnerId,
    /// What people call them; empty: nobody knows.
    pub name: String,
    /// None: there are no limits for them.
    pub tier: Option<Tier>,
}

/// A user who is about to ask for something that costs.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub member: Arc<Member>,
    /// Whether there is something left of what they may use up.
    pub spent: Checked,
}

impl Chats {
    /// The user as they were at most `recheck` ago. One of whom nothing is written down is a browser that
    /// nobody knows.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn member(&self, id: OwnerId) -> Result<Arc<Member>, StoreError> {
        if let Some(member) = self.members.get(&id) {
            return Ok(member);
        }
        let rules = self.rules();
        let user = Box::pin(self.store.user(id)).await?;
        let is_unknown = user.as_ref().is_none_or(|user| user.issuer == ANONYMOUS);
        let own = user.as_ref().and_then(|user| user.tier.as_deref());
        let tier = own.or_else(|| rules.usual_tier(is_unknown));
        let tier = tier.map(|name| rules.tier_called(name));
        let member = Arc::new(Member {
            id,
            name: user.map(|user| user.name).unwrap_or_default(),
            tier,
        });
        self.members.insert(id, Arc::clone(&member));
        Ok(member)
    }

    /// The names of all tiers, the lowest first.
    #[must_use]
    pub fn tiers(&self) -> Vec<String> {
        let rules = self.rules();
        let tiers = rules.settings.tiers.iter();
        tiers.map(|tier| tier.name.clone()).collect()
    }

    /// What the user may ask for now.
    pub(super) async fn standing(&self, id: OwnerId) -> Result<Standing, StoreError> {
        let member = self.member(id).await?;
        let spent = self.allowance(&member).await?;
        Ok(Standing { member, spent })
    }

    /// Longest message of the user's, in bytes.
    pub(super) fn message_bytes(&self, member: &Member) -> usize {
        let own = member.tier.as_ref().and_then(|tier| tier.message_bytes);
        let everybody_s = self.rules().settings.message_bytes;
        own.map_or(everybody_s, |own| own.min(everybody_s))
    }

    /// Holds the user while a chat of theirs is created. False: they are being erased. Where [`Self::admit`] will lock
    /// their row, it is locked at once: two that both hold it would wait for each other there.
    pub(super) async fn hold(&self, tx: &Tx, member: &Member) -> Result<bool, StoreError> {
        if member
            .tier
            .as_ref()
            .is_some_and(|tier| tier.max_running > 0)
        {
            tx.lock_user(member.id).await?;
        }
        tx.hold_user(member.id).await
    }

    /// Refuses one answer more than the user may have under way or waiting. Their row is locked, so
    /// that two nodes count one after the other; it is the last lock that a transaction takes.
    pub(super) async fn admit<E>(&self, tx: &Tx, member: &Member) -> Result<(), E>
    where
        E: From<StoreError> + From<AllowanceError>,
    {
        let Some(tier) = member.tier.as_ref().filter(|tier| tier.max_running > 0) else {
            return Ok(());
        };
        tx.lock_user(member.id).await?;
        let active = tx.active_requests_of(member.id).await?;
        if active < u64::from(tier.max_running) {
            return Ok(());
        }
        Err(AllowanceError::Running {
            max: tier.max_running,
            tier: tier.name.clone(),
        }
        .into())
    }
}

impl Rules {
    /// The tier of those who have none of their own.
    pub(super) fn usual_tier(&self, is_anonymous: bool) -> Option<&str> {
        let settings = &self.settings;
        let own = settings.anonymous_tier.as_deref().filter(|_| is_anonymous);
        own.or(settings.default_tier.as_deref())
    }

    /// A tier that the configuration has no more is its lowest one: nobody gains by a mistake.
    fn tier_called(&self, name: &str) -> Tier {
        let tiers = &self.settings.tiers;
        let found = tiers.iter().find(|tier| tier.name == name);
        found.or(tiers.first()).cloned().unwrap_or_else(|| Tier {
            name: name.to_owned(),
            ..Tier::default()
        })
    }
}
