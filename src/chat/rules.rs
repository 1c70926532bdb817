//! What the configuration says of chats, as it says it at the moment. It may say something else while the server
//! runs: then the whole is exchanged at once, and whoever acts by several of its parts takes it once.
//!
//! An answer that is under way goes on with the model that it began with, and costs what that cost then: it holds
//! its route itself.

use std::sync::Arc;

use super::{ChatSettings, Chats};
use crate::provider::Catalogue;

/// How chats are treated, and who answers.
pub struct Rules {
    pub settings: ChatSettings,
    pub catalogue: Arc<Catalogue>,
}

impl Chats {
    /// The rules of this moment.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Goes by other rules from now on. What is remembered of users is forgotten, for it has their tiers in it.
    pub fn go_by(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
        self.members.invalidate_all();
        // There may be room now for what waited for it.
        self.announce();
    }
}
