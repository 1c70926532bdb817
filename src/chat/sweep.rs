//! Sweeping the index of words: SQLite's finds no word of a deleted text any more, but keeps it until
//! the index is put together anew. That is done in steps, each a transaction of its own. As it writes
//! the whole index, it takes no more than a small part of the time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Chats;
use crate::store::StoreError;

/// Steps in one go.
const MAX_STEPS: usize = 20;
/// After a sweep there is none for so many times as long as it took.
const PAUSES: u32 = 100;

/// Whether there is something to sweep, and how far it is.
#[derive(Debug)]
pub(super) struct Sweeper {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    is_due: bool,
    is_under_way: bool,
    /// How long the steps of this sweep have taken.
    took: Duration,
    /// When the next may begin.
    next: Option<Instant>,
}

impl Default for Sweeper {
    /// The process before this one may have left something.
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                is_due: true,
                is_under_way: false,
                took: Duration::ZERO,
                next: None,
            }),
        }
    }
}

impl Sweeper {
    /// Something was erased.
    pub fn call(&self) {
        self.change(|state| state.is_due = true);
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a step is to be taken, and is the first one of a sweep.
    fn begin_step(&self) -> Option<bool> {
        self.change(|state| {
            if state.is_under_way {
                return Some(false);
            }
            let is_early = state.next.is_some_and(|next| Instant::now() < next);
            if !state.is_due || is_early {
                return None;
            }
            // What is erased from here on is for the next one.
            state.is_due = false;
            state.is_under_way = true;
            state.took = Duration::ZERO;
            Some(true)
        })
    }

    fn end_step(&self, took: Duration, is_last: bool) {
        self.change(|state| {
            state.took += took;
            if is_last {
                state.is_under_way = false;
                state.next = Some(Instant::now() + state.took * PAUSES);
            }
        });
    }
}

impl Chats {
    /// Takes some steps, if there is something to sweep and it is time for it.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        for _ in 0..MAX_STEPS {
            let Some(is_first) = self.sweeper.begin_step() else {
                break;
            };
            let began = Instant::now();
            let is_last: bool = self
                .store
                .tx(|tx| async move { tx.sweep_search(is_first).await })
                .await?;
            self.sweeper.end_step(began.elapsed(), is_last);
        }
        Ok(())
    }
}
