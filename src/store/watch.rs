//! Which chats this process has changed, for those who remember what they have read of one.
//!
//! Whoever wants to remember takes a [`Watch`] before reading. As long as it has not moved since, no transaction of
//! this process has changed the chat, and what was read is what is there. Where other processes write to the same
//! database that is a hint and no more: [`Store::is_single_process`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use entity::ChatId;
use tokio::sync::Notify;

use super::{Store, Tx};

/// One chat's changes, counted from when somebody began to watch it.
pub struct Watch {
    chat: ChatId,
    changes: AtomicU64,
    moved: Arc<Notify>,
    all: Weak<Watched>,
}

/// All chats that are watched. An entry goes with its last watch.
#[derive(Default)]
pub(super) struct Watched {
    watches: Mutex<HashMap<ChatId, Weak<Watch>>>,
}

/// What one transaction has changed. It is told when this is dropped: after the commit, or when nobody knows whether
/// there was one.
pub(super) struct Touched {
    chats: Mutex<Vec<ChatId>>,
    all: Arc<Watched>,
}

impl Watch {
    /// Moves with every change.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Wakes whoever waits for the next change, and keeps none for who comes later: who waits registers, and then
    /// reads.
    #[must_use]
    pub fn moved(&self) -> Arc<Notify> {
        Arc::clone(&self.moved)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(all) = self.all.upgrade() else {
            return;
        };
        let mut watches = all.lock();
        // Another one may have taken the place already.
        if watches
            .get(&self.chat)
            .is_some_and(|watch| watch.strong_count() == 0)
        {
            watches.remove(&self.chat);
        }
    }
}

impl Watched {
    fn watch(self: &Arc<Self>, chat: ChatId) -> Arc<Watch> {
        let mut watches = self.lock();
        if let Some(watch) = watches.get(&chat).and_then(Weak::upgrade) {
            return watch;
        }
        let watch = Arc::new(Watch {
            chat,
            changes: AtomicU64::new(0),
            moved: Arc::default(),
            all: Arc::downgrade(self),
        });
        watches.insert(chat, Arc::downgrade(&watch));
        watch
    }

    fn touch(&self, chat: ChatId) {
        let watch = self.lock().get(&chat).and_then(Weak::upgrade);
        if let Some(watch) = watch {
            watch.changes.fetch_add(1, Ordering::Release);
            watch.moved.notify_waiters();
        }
    }

    /// Nothing can panic while it is held.
    fn lock(&self) -> MutexGuard<'_, HashMap<ChatId, Weak<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Touched {
    pub fn new(all: &Arc<Watched>) -> Self {
        Self {
            chats: Mutex::default(),
            all: Arc::clone(all),
        }
    }

    fn note(&self, chat: ChatId) {
        let chats = self.chats.lock();
        chats.unwrap_or_else(PoisonError::into_inner).push(chat);
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        let chats = self.chats.get_mut();
        for chat in chats.unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.all.touch(chat);
        }
    }
}

impl Store {
    /// Watches a chat, whether there is one or not.
    #[must_use]
    pub fn watch(&self, chat: ChatId) -> Arc<Watch> {
        self.watched.watch(chat)
    }
}

impl Tx {
    /// Notes that this transaction changes the chat or its messages. Everything that does so calls it.
    pub(super) fn touch(&self, chat: ChatId) {
        self.touched.note(chat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_moves_with_the_changes_of_its_chat_once_they_are_told() {
        let all = Arc::new(Watched::default());
        let [one, other] = [ChatId::generate(), ChatId::generate()];
        let (watch, elsewhere) = (all.watch(one), all.watch(other));
        let before = watch.changes();
        let touched = Touched::new(&all);
        touched.note(one);
        assert_eq!(watch.changes(), before, "it is not committed yet");
        drop(touched);
        assert_ne!(watch.changes(), before);
        assert_eq!(elsewhere.changes(), 0);
    }

    #[test]
    fn all_who_watch_a_chat_watch_the_same_and_nothing_is_left_of_them() {
        let all = Arc::new(Watched::default());
        let chat = ChatId::generate();
        let (one, other) = (all.watch(chat), all.watch(chat));
        assert!(Arc::ptr_eq(&one, &other));
        drop(one);
        assert_eq!(all.lock().len(), 1);
        drop(other);
        assert!(all.lock().is_empty());
        all.touch(chat);
    }
}
