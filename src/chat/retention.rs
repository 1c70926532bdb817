//! Clearing away what has had its time: chats that end by themselves or are older than their owner's
//! tier keeps them, chats that were deleted, users that are to be forgotten or that nobody is any more,
//! and keys that open nothing. All of it in small transactions of their own, so that nothing else
//! waits; what is left over goes the next time.

use std::time::Duration;

use entity::chat::Model as Chat;
use entity::user::ANONYMOUS;
use entity::{ChatId, OwnerId, Timestamp};

use super::Chats;
use crate::store::{Clearance, Erased, StoreError, TierChats};

/// Chats, or users, that are looked for at once.
const BATCH: u64 = 100;
/// Batches of one kind in one go.
const MAX_BATCHES: usize = 10;
/// Pieces of chats that are erased in one go.
const MAX_PIECES: usize = 1_000;
/// How long a token or a link is still told of that opens nothing any more.
const KEYS_KEPT: Duration = Duration::from_hours(30 * 24);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Chats {
    /// Clears away what has had its time by now.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn clear_away(&self, now: Timestamp) -> Result<(), StoreError> {
        self.clear_archives(now).await?;
        self.expire_chats(now).await?;
        for tier in self.tiers_that_end(now) {
            self.expire_unchanged(&tier).await?;
        }
        self.erase_deleted(now).await?;
        self.forget_marked().await?;
        self.forget_gone(now).await?;
        let clearance = Clearance {
            keys_before: now.plus_ms(-millis(KEYS_KEPT)),
            sessions_before: now.plus_ms(-millis(self.rules().settings.session_absolute)),
        };
        let cleared = self
            .store
            .tx(|tx| async move { tx.clear_keys(clearance).await })
            .await;
        let cleared: Result<u64, StoreError> = cleared;
        if cleared? > 0 {
            tracing::info!("cleared away tokens, links and sessions that had ended");
        }
        self.sweep().await
    }

    /// Chats whose own time is up.
    async fn expire_chats(&self, now: Timestamp) -> Result<(), StoreError> {
        for _ in 0..MAX_BATCHES {
            let found = self.store.chats_expired(now, BATCH).await?;
            let is_due = |chat: &Chat| chat.expires_at.is_some_and(|at| at <= now);
            if !self.expire(&found, &is_due).await? {
                break;
            }
        }
        Ok(())
    }

    /// Chats that have not changed for longer than their owners' tier keeps them.
    async fn expire_unchanged(&self, tier: &TierChats) -> Result<(), StoreError> {
        for _ in 0..MAX_BATCHES {
            let found = self.store.chats_unchanged(tier, BATCH).await?;
            let is_due = |chat: &Chat| chat.updated_at < tier.before;
            if !self.expire(&found, &is_due).await? {
                break;
            }
        }
        Ok(())
    }

    /// Takes chats out of sight for good, unless somebody has come back to them. Whether there may be more.
    async fn expire(
        &self,
        found: &[ChatId],
        is_due: &(impl Fn(&Chat) -> bool + Sync),
    ) -> Result<bool, StoreError> {
        let mut expired = 0_u64;
        for &id in found {
            let done = self.store.tx(|tx| async move {
                // The requests before the chat, as a claim locks them.
                if !tx.lock_active_requests(id).await?.is_empty() {
                    return Ok(false);
                }
                let Some(chat) = tx.lock_chat(id).await?.filter(is_due) else {
                    return Ok(false);
                };
                // One may have been sent before the chat's row was ours.
                if !tx.active_requests(id).await?.is_empty() {
                    return Ok(false);
                }
                tx.forget_keys(chat.owner_id, id).await?;
                tx.condemn_chat(id).await
            });
            let done: Result<bool, StoreError> = done.await;
            expired += u64::from(done?);
        }
        if expired > 0 {
            tracing::info!(expired, "chats had come to the end of their time");
        }
        Ok(expired == BATCH)
    }

    /// The tiers that keep chats for a time, with when that time began.
    fn tiers_that_end(&self, now: Timestamp) -> Vec<TierChats> {
        let rules = self.rules();
        let settings = &rules.settings;
        let names = || settings.tiers.iter().map(|tier| tier.name.clone());
        let (anonymous, others) = (rules.usual_tier(true), rules.usual_tier(false));
        let ending = settings
            .tiers
            .iter()
            .enumerate()
            .filter_map(|(place, tier)| {
                let days = i64::from(tier.retention?);
                let name = Some(tier.name.as_str());
                Some(TierChats {
                    tier: tier.name.clone(),
                    usual_of_issuer: anonymous == name,
                    usual_of_others: others == name,
                    issuer: ANONYMOUS,
                    unknown_among: (place == 0).then(|| names().collect()),
                    before: now.plus_ms(-days.saturating_mul(DAY_MS)),
                })
            });
        ending.collect()
    }

    /// Erases chats that can no longer be brought back, piece by piece.
    async fn erase_deleted(&self, now: Timestamp) -> Result<(), StoreError> {
        let before = self.undo_begins(now);
        let (mut erased, mut pieces) = (0_u64, 0);
        for id in self.store.chats_to_erase(before, BATCH).await? {
            while pieces < MAX_PIECES {
                pieces += 1;
                match self.erase_piece(id, before).await {
                    Ok(Erased::Piece) => {}
                    Ok(Erased::All) => {
                        erased += 1;
                        break;
                    }
                    Ok(Erased::Nothing) => break,
                    // The others are not kept for it.
                    Err(error) => {
                        tracing::error!(%error, chat = %id, "a deleted chat could not be erased");
                        break;
                    }
                }
            }
        }
        if erased > 0 {
            tracing::info!(erased, "erased chats that were deleted");
        }
        Ok(())
    }

    /// Erases a piece of a chat that was deleted at `before` or earlier.
    pub(super) async fn erase_piece(
        &self,
        id: ChatId,
        before: Timestamp,
    ) -> Result<Erased, StoreError> {
        let erased = self
            .store
            .tx(|tx| async move { tx.erase_piece(id, before).await })
            .await?;
        if erased != Erased::Nothing {
            self.sweeper.call();
            self.forget_answers(id).await;
        }
        Ok(erased)
    }

    /// Goes on where the erasing of users was cut short.
    async fn forget_marked(&self) -> Result<(), StoreError> {
        for owner in self.store.users_to_forget(BATCH).await? {
            self.finish_forgetting(owner).await?;
        }
        Ok(())
    }

    /// Anonymous users that left nothing and whose cookie is worthless by now.
    async fn forget_gone(&self, now: Timestamp) -> Result<(), StoreError> {
        let before = now.plus_ms(-millis(self.rules().settings.session_absolute));
        for owner in self.store.users_gone(ANONYMOUS, before, BATCH).await? {
            if self.condemn_gone(owner, before, now).await? {
                self.finish_forgetting(owner).await?;
            }
        }
        Ok(())
    }

    async fn condemn_gone(
        &self,
        owner: OwnerId,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.store
            .tx(|tx| async move { tx.condemn_gone_user(owner, ANONYMOUS, before, now).await })
            .await
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
