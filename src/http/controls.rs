//! What can be changed of a site while it serves: the limits on its requests, and whether it is about to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::HttpLimits;
use super::load::Load;

/// Held by whoever runs the site.
pub struct Controls {
    limits: ArcSwap<HttpLimits>,
    load: Arc<Load>,
    is_leaving: AtomicBool,
}

impl Controls {
    #[must_use]
    pub fn new(limits: HttpLimits) -> Self {
        Self {
            limits: ArcSwap::from_pointee(limits),
            load: Arc::new(Load::new(limits.max_in_flight)),
            is_leaving: AtomicBool::new(false),
        }
    }

    /// Other limits, from the next request on.
    pub fn change(&self, limits: HttpLimits) {
        self.limits.store(Arc::new(limits));
        self.load.change_most(limits.max_in_flight);
    }

    /// Says that it is not ready any more, and asks whoever comes on HTTP/1 to come by another connection, which a balancer
    /// will make to another server. Everything is served as before.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    pub(super) fn limits(&self) -> HttpLimits {
        **self.limits.load()
    }

    pub(super) fn load(&self) -> Arc<Load> {
        Arc::clone(&self.load)
    }
}
