//! How often somebody may ask: budgets a minute, each for one user, one token or one address.
//!
//! A budget is a bucket that leaks (GCRA): all of a minute's requests may come at once, and from then on one more
//! each time that a minute has room for. Buckets stand in the memory of this node, or in the Redis that nodes share;
//! while that is away each node goes by its own, for no request is refused because of it.

mod memory;
mod shared;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use entity::{OwnerId, TokenId};

use crate::cache::Line;
use memory::Memory;
use shared::Shared;

/// The time that budgets are for.
pub const WINDOW: Duration = Duration::from_mins(1);
/// An IPv6 customer has this many bits of address to give to one machine, or to a thousand.
const IPV6_HOST_BITS: u32 = 64;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Budget {
    /// What only reads.
    Polls,
    /// What begins an answer.
    Sends,
    /// What changes something else, and reads that cost as much.
    Changes,
    /// What comes from nobody who is known, or from a browser that was not here before.
    Unknown,
}

impl Budget {
    /// Its name in the headers: part of the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Polls => "polls",
            Self::Sends => "sends",
            Self::Changes => "changes",
            Self::Unknown => "unknown",
        }
    }
}

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    User(OwnerId),
    Token(TokenId),
    Address(IpAddr),
}

impl Subject {
    /// IPv6 addresses count by what one customer is given.
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        Self::Address(network(ip))
    }
}

/// The address that stands for all that one customer has.
#[must_use]
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let network = ip.to_bits() >> IPV6_HOST_BITS << IPV6_HOST_BITS;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        ip @ IpAddr::V4(_) => ip,
    }
}

/// Requests a minute, of which none at all are no limit.
#[derive(Clone, Debug, Default)]
pub struct LimitSettings {
    pub polls: u32,
    /// For those who have no tier.
    pub sends: u32,
    pub changes: u32,
    pub unknown: u32,
    /// Sends by tier.
    pub tiers: BTreeMap<String, u32>,
    /// The tier of those who have no other one.
    pub default_tier: Option<String>,
}

/// What one budget says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Requests a minute.
    pub limit: u32,
    /// Further ones that would be let through at once.
    pub remaining: u32,
    /// Until the whole budget is there again.
    pub reset_after: Duration,
    /// Refused: until the next one is let through.
    pub retry_after: Option<Duration>,
}

/// How often what may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rate {
    budget: Budget,
    per_minute: NonZeroU32,
}

impl Rate {
    /// The time in which one more request is earned.
    fn interval(self) -> Duration {
        WINDOW / self.per_minute.get()
    }
}

/// The budgets of all who ask.
pub struct Limits {
    current: ArcSwap<Current>,
    shared: Option<Shared>,
}

/// What holds at the moment, and the buckets of it.
struct Current {
    settings: LimitSettings,
    memory: Memory,
}

impl Limits {
    /// `line`: to the Redis that keeps the buckets of all nodes.
    #[must_use]
    pub fn new(settings: LimitSettings, line: Option<Arc<Line>>) -> Self {
        let memory = Memory::new(settings.rates());
        Self {
            current: ArcSwap::from_pointee(Current { settings, memory }),
            shared: line.map(Shared::new),
        }
    }

    /// Goes by other limits from now on. Where a limit stays what it was, so does what is left of it to everybody.
    pub fn change(&self, settings: LimitSettings) {
        let memory = self.current.load().memory.changed(settings.rates());
        self.current.store(Arc::new(Current { settings, memory }));
    }

    /// Whether the nodes count together, and wait for each other.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Counts one request. None: this budget has no limit.
    pub async fn take(
        &self,
        budget: Budget,
        tier: Option<&str>,
        subject: Subject,
    ) -> Option<Verdict> {
        let rate = self.current.load().settings.rate(budget, tier)?;
        if let Some(shared) = &self.shared {
            // The line tells the log why, and counts it.
            if let Ok(verdict) = Box::pin(shared.take(rate, subject)).await {
                return Some(verdict);
            }
        }
        // A limit that has just been changed is not in force any more: whoever came by it is let through.
        self.current.load().memory.take(rate, subject)
    }
}

impl LimitSettings {
    fn rate(&self, budget: Budget, tier: Option<&str>) -> Option<Rate> {
        let per_minute = match budget {
            Budget::Polls => self.polls,
            Budget::Sends => self.sends_of(tier),
            Budget::Changes => self.changes,
            Budget::Unknown => self.unknown,
        };
        let per_minute = NonZeroU32::new(per_minute)?;
        Some(Rate { budget, per_minute })
    }

    fn sends_of(&self, tier: Option<&str>) -> u32 {
        let tier = tier.or(self.default_tier.as_deref());
        let of_tier = tier.and_then(|name| self.tiers.get(name));
        of_tier.copied().unwrap_or(self.sends)
    }

    /// All that there are.
    fn rates(&self) -> Vec<Rate> {
        let others = [
            Budget::Polls,
            Budget::Sends,
            Budget::Changes,
            Budget::Unknown,
        ];
        let of_tiers = self.tiers.keys();
        let sends = of_tiers.filter_map(|tier| self.rate(Budget::Sends, Some(tier)));
        let without_default = Self {
            default_tier: None,
            ..self.clone()
        };
        let others = others.map(|budget| without_default.rate(budget, None));
        others.into_iter().flatten().chain(sends).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> LimitSettings {
        LimitSettings {
            polls: 0,
            sends: 5,
            changes: 7,
            unknown: 3,
            tiers: BTreeMap::from([("basic".to_owned(), 2), ("free".to_owned(), 0)]),
            default_tier: None,
        }
    }

    async fn taken(limits: &Limits, budget: Budget, tier: Option<&str>) -> Option<usize> {
        let subject = Subject::User(OwnerId::LOCAL);
        for count in 0..100 {
            if limits
                .take(budget, tier, subject)
                .await?
                .retry_after
                .is_some()
            {
                return Some(count);
            }
        }
        panic!("it is never limited");
    }

    #[tokio::test]
    async fn each_budget_has_its_own_limit_and_none_is_no_limit() {
        let limits = Limits::new(settings(), None);
        assert_eq!(taken(&limits, Budget::Polls, None).await, None);
        assert_eq!(taken(&limits, Budget::Sends, None).await, Some(5));
        assert_eq!(taken(&limits, Budget::Changes, None).await, Some(7));
        assert_eq!(taken(&limits, Budget::Unknown, None).await, Some(3));
    }

    #[tokio::test]
    async fn a_tier_says_how_many_sends_and_the_default_tier_is_one() {
        let limits = Limits::new(settings(), None);
        assert_eq!(taken(&limits, Budget::Sends, Some("basic")).await, Some(2));
        assert_eq!(taken(&limits, Budget::Sends, Some("free")).await, None);
        assert_eq!(taken(&limits, Budget::Sends, Some("gone")).await, Some(5));
        let default_tier = Some("basic".to_owned());
        let limits = Limits::new(
            LimitSettings {
                default_tier,
                ..settings()
            },
            None,
        );
        assert_eq!(taken(&limits, Budget::Sends, None).await, Some(2));
    }

    #[tokio::test]
    async fn a_changed_limit_holds_at_once_and_leaves_the_others_as_they_are() {
        let limits = Limits::new(settings(), None);
        assert_eq!(taken(&limits, Budget::Sends, Some("basic")).await, Some(2));
        assert_eq!(taken(&limits, Budget::Changes, None).await, Some(7));
        limits.change(LimitSettings {
            tiers: BTreeMap::from([("basic".to_owned(), 4)]),
            ..settings()
        });
        assert_eq!(taken(&limits, Budget::Sends, Some("basic")).await, Some(4));
        let used_up = taken(&limits, Budget::Changes, None).await;
        assert_eq!(used_up, Some(0), "what was used up is not given again");
        limits.change(LimitSettings::default());
        assert_eq!(taken(&limits, Budget::Changes, None).await, None);
    }

    #[test]
    fn whoever_has_a_network_has_one_address() {
        let address = |text: &str| Subject::address(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1:2:3"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    }
}
