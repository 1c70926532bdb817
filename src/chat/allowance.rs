//! Limits of cost: checked out of the usage ledger before a request is queued.

use entity::{OwnerId, Timestamp};

use super::{Chats, Member};
use crate::model::allowance::{Allowance, Measure, Period, Used};
use crate::model::usage::amount;
use crate::store::StoreError;

/// What a user may use up, and what is left of it.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    pub tier: Option<String>,
    pub allowances: Vec<Allowance>,
}

/// The user's tier does not reach.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowanceError {
    /// Something is used up.
    #[error("{}", spelled(allowance, tier))]
    UsedUp {
        allowance: Allowance,
        tier: String,
        now: Timestamp,
    },
    #[error(
        "the tier {tier:?} has {max} answers under way or waiting at once, and there are that many"
    )]
    Running { max: u32, tier: String },
}

/// Whether there is something left, as it was found.
pub(super) type Checked = Result<(), AllowanceError>;

impl AllowanceError {
    /// Until there is something again, in whole seconds, if that is known.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::UsedUp { allowance, now, .. } => {
                let left_ms = allowance.resets_at.0.saturating_sub(now.0);
                Some(u64::try_from(left_ms).unwrap_or(0).div_ceil(1_000))
            }
            Self::Running { .. } => None,
        }
    }
}

fn spelled(allowance: &Allowance, tier: &str) -> String {
    let what = match allowance.measure {
        Measure::Tokens => format!("{} tokens", allowance.limit),
        Measure::Money => format!("{} of cost", amount(allowance.limit)),
    };
    format!(
        "the tier {tier:?} has {what} a {}, and they are used up; the next {} begins at {}",
        allowance.period.as_str(),
        allowance.period.as_str(),
        allowance.resets_at.to_rfc3339()
    )
}

impl Chats {
    /// What the user may use up, and what they have used of it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn limits(&self, owner: OwnerId) -> Result<Limits, StoreError> {
        let member = self.member(owner).await?;
        self.limits_of(&member).await
    }

    async fn limits_of(&self, member: &Member) -> Result<Limits, StoreError> {
        let Some(tier) = &member.tier else {
            return Ok(Limits::default());
        };
        let owner = member.id;
        let now = self.clock.now();
        let mut allowances = Vec::new();
        for period in tier.periods() {
            let used = self.store.used_since(owner, period.begin(now));
            let (tokens, micros) = used.await?;
            let used = Used { tokens, micros };
            allowances.extend(tier.allowances(period, used, now));
        }
        Ok(Limits {
            tier: Some(tier.name.clone()),
            allowances,
        })
    }

    /// Whether something that costs may be asked for. Of several things that are used up the one that
    /// lasts longest is named. It is found out before a transaction and made use of in it, behind
    /// whatever is to be answered as it was before: summing up takes its time.
    pub(super) async fn allowance(&self, member: &Member) -> Result<Checked, StoreError> {
        let limits = self.limits_of(member).await?;
        let used_up = limits.allowances.into_iter().filter(Allowance::is_used_up);
        let longest = used_up.max_by_key(|allowance| {
            (
                allowance.period == Period::Month,
                allowance.measure == Measure::Money,
            )
        });
        Ok(match longest {
            None => Ok(()),
            Some(allowance) => Err(AllowanceError::UsedUp {
                allowance,
                tier: limits.tier.unwrap_or_default(),
                now: self.clock.now(),
            }),
        })
    }
}
