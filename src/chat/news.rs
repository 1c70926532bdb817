//! Waiting for something new, for polls that are held: a wake-up says that it is worth while to look again, and a
//! look follows now and then in any case.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use entity::{ChatId, MessageId};
use futures::future::select_all;
use tokio::sync::futures::OwnedNotified;

use super::Chats;
use crate::model::hint::Activity;
use crate::store::Watch;

/// Longest time between two looks. What this process does wakes who waits for it at once.
const SCAN: Duration = Duration::from_secs(1);

/// What somebody waits for news of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    Chat(ChatId),
    Message(MessageId),
}

/// News that somebody has registered for, before looking: whatever happens from then on wakes them.
pub struct News {
    signals: Vec<Pin<Box<OwnedNotified>>>,
    /// A chat is watched for as long as somebody holds its watch.
    _watches: Vec<Arc<Watch>>,
}

impl Chats {
    /// Registers for what is new of these, as far as this process will know of it.
    #[must_use]
    pub fn register(&self, awaited: &[Awaited]) -> News {
        let (mut signals, mut watches) = (Vec::new(), Vec::new());
        for awaited in awaited {
            let signal = match *awaited {
                Awaited::Chat(id) => {
                    let watch = self.store.watch(id);
                    let moved = watch.moved();
                    watches.push(watch);
                    moved
                }
                Awaited::Message(id) => match self.ledgers.get(id) {
                    Some(live) => live.grown(),
                    None => continue,
                },
            };
            let mut signal = Box::pin(signal.notified_owned());
            signal.as_mut().enable();
            signals.push(signal);
        }
        News {
            signals,
            _watches: watches,
        }
    }

    /// How long to wait for a wake-up at most: what another node writes is looked for as often as it is read.
    #[must_use]
    pub fn scan_interval(&self, activity: Activity) -> Duration {
        match activity {
            Activity::Flowing if !self.store.is_single_process() => {
                self.follower.interval().min(SCAN)
            }
            Activity::Flowing | Activity::Idle | Activity::More => SCAN,
        }
    }
}

impl News {
    /// Returns with the first wake-up; where none can come, never.
    pub async fn first(self) {
        if self.signals.is_empty() {
            std::future::pending::<()>().await;
        }
        select_all(self.signals).await;
    }
}
