//! How fast all answers together are told: whether they are let through the gate, and whether they stand still. Asked for
//! before each token, so it has to be cheap.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

pub struct Pace {
    is_paused: AtomicBool,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    is_open: bool,
    is_paused: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            is_paused: AtomicBool::new(false),
            state: watch::Sender::default(),
        }
    }
}

impl Pace {
    pub fn open(&self) {
        self.state.send_modify(|state| state.is_open = true);
    }

    pub fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
        self.state.send_modify(|state| state.is_paused = is_paused);
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    pub async fn until_open(&self) {
        self.until(|state| state.is_open).await;
    }

    pub async fn until_going_on(&self) {
        self.until(|state| !state.is_paused).await;
    }

    async fn until(&self, what: impl FnMut(&State) -> bool) {
        let mut seen = self.state.subscribe();
        // The sender is this very value.
        let _ = seen.wait_for(what).await;
    }
}
