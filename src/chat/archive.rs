//! An archive of all of somebody's chats, made in the background and fetched when it is there.
//!
//! Nobody waits for it: it is queued as a row, and whichever node has room runs it. A run writes the archive to a file on
//! its disk, one chat at a time, and then in pieces to the database, where every node finds it for as long as it is kept.
//! A run that is not heard of any more is begun anew by another node, and fenced by its attempt; whoever has an archive has one.

use std::io::Read as _;
use std::time::Duration;

use entity::archive::{Model as Archive, Status};
use entity::{ArchiveId, OwnerId, Timestamp};
use tokio::time::Instant;

use super::takeout::{Zip, aside};
use super::{Chats, TakeoutError};
use crate::fault;
use crate::model::exchange::as_markdown;
use crate::store::{Actor, ArchiveEnd, ArchiveProgress, StoreError};

/// How long a run holds without having said that it goes on, and how often it says so.
const LEASE: Duration = Duration::from_mins(1);
const RENEWAL: Duration = Duration::from_secs(2);
/// Runs of one archive.
const MAX_RUNS: i64 = 5;
/// Bytes of a piece.
const PIECE_BYTES: u64 = 256 * 1024;
/// Archives that are erased in one go.
const BATCH: u64 = 100;

/// How archives are made and kept.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveSettings {
    /// Largest archive in bytes.
    pub max_bytes: u64,
    /// How long a finished one is kept.
    pub kept: Duration,
}

/// An archive that this node is to make.
#[derive(Debug)]
pub struct ArchiveRun {
    archive: Archive,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("there is no such archive")]
    NotFound,
    #[error("the archive is not there yet")]
    NotReady,
    #[error("the archive could not be made; begin anew")]
    Failed,
    #[error("the user is being deleted")]
    UserGone,
    #[error("the archive could not be stored")]
    Store(#[from] StoreError),
}

/// Why a run ended without an archive.
enum Broken {
    /// Another one has taken over, or nobody wants it any more.
    Fenced,
    TooLarge,
    Failed(TakeoutError),
}

impl From<TakeoutError> for Broken {
    fn from(error: TakeoutError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Chats {
    /// The owner's archive, which is begun if there is none. `anew`: also if there is one that has ended, which goes.
    ///
    /// # Errors
    /// If the user is being deleted, or the database fails.
    pub async fn begin_archive(
        &self,
        owner: OwnerId,
        anew: bool,
        actor: &Actor,
    ) -> Result<Archive, ArchiveError> {
        let now = self.clock.now();
        let before = &self.store.archive_of(owner).await?;
        let is_kept = |archive: &Archive| match archive.status {
            Status::Queued | Status::Running => true,
            Status::Completed | Status::Failed | Status::Discarded => {
                !anew && archive.expires_at.is_none_or(|end| end > now)
            }
        };
        if let Some(archive) = before.clone().filter(is_kept) {
            return Ok(archive);
        }
        let new = &Archive {
            id: ArchiveId::generate(),
            owner_id: owner,
            status: Status::Queued,
            attempt: 0,
            lease_expires_at: None,
            chats_done: 0,
            chats_total: 0,
            bytes: 0,
            pieces: 0,
            error_code: None,
            created_at: now,
            finished_at: None,
            expires_at: None,
        };
        let is_new = self
            .store
            .tx(|tx| async move {
                if !tx.hold_user(owner).await? {
                    return Err(ArchiveError::UserGone);
                }
                if let Some(before) = before {
                    tx.discard_archive(before.id).await?;
                }
                let is_new = tx.insert_archive(new.clone()).await?;
                if is_new {
                    tx.audit(actor, "chats.export", owner, now).await?;
                }
                Ok(is_new)
            })
            .await?;
        if is_new {
            self.announce();
            return Ok(new.clone());
        }
        // Somebody was faster.
        let there = self.store.archive_of(owner).await?;
        there.ok_or(ArchiveError::NotFound)
    }

    /// The owner's archive, as it is.
    ///
    /// # Errors
    /// If there is none of this id, or the database fails.
    pub async fn archive(&self, owner: OwnerId, id: ArchiveId) -> Result<Archive, ArchiveError> {
        let there = self.archive_of(owner, self.clock.now()).await?;
        let there = there.filter(|archive| archive.id == id);
        there.ok_or(ArchiveError::NotFound)
    }

    /// The archive that the owner has, if any.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn archive_at_hand(&self, owner: OwnerId) -> Result<Option<Archive>, StoreError> {
        self.archive_of(owner, self.clock.now()).await
    }

    async fn archive_of(
        &self,
        owner: OwnerId,
        now: Timestamp,
    ) -> Result<Option<Archive>, StoreError> {
        let there = self.store.archive_of(owner).await?;
        Ok(there.filter(|archive| archive.expires_at.is_none_or(|end| end > now)))
    }

    /// The owner's archive, if it can be fetched.
    ///
    /// # Errors
    /// If there is none of this id, it is not finished, or the database fails.
    pub async fn finished_archive(
        &self,
        owner: OwnerId,
        id: ArchiveId,
    ) -> Result<Archive, ArchiveError> {
        let archive = self.archive(owner, id).await?;
        match archive.status {
            Status::Completed => Ok(archive),
            Status::Queued | Status::Running => Err(ArchiveError::NotReady),
            Status::Failed => Err(ArchiveError::Failed),
            Status::Discarded => Err(ArchiveError::NotFound),
        }
    }

    /// A stretch of a finished archive's file. Whoever asks has been given the archive.
    ///
    /// # Errors
    /// If it has gone in the meantime, or the database fails.
    pub async fn archive_piece(&self, id: ArchiveId, number: i64) -> Result<Vec<u8>, ArchiveError> {
        let piece = self.store.archive_piece(id, number).await?;
        piece.ok_or(ArchiveError::NotFound)
    }

    /// Erases the owner's archive, or ends the work on it.
    ///
    /// # Errors
    /// If there is none of this id, or the database fails.
    pub async fn discard_archive(&self, owner: OwnerId, id: ArchiveId) -> Result<(), ArchiveError> {
        self.archive(owner, id).await?;
        let discarded: Result<bool, StoreError> = self
            .store
            .tx(|tx| async move { tx.discard_archive(id).await })
            .await;
        discarded?;
        Ok(())
    }

    /// Takes an archive that waits, or whose run was abandoned.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn claim_archive(&self) -> Result<Option<ArchiveRun>, StoreError> {
        let now = self.clock.now();
        let Some(before) = &self.store.archive_to_make(now).await? else {
            return Ok(None);
        };
        let claimed: Option<Archive> = self
            .store
            .tx(|tx| async move { tx.claim_archive(before, now.plus_ms(millis(LEASE))).await })
            .await?;
        let Some(archive) = claimed else {
            return Ok(None);
        };
        if archive.attempt > MAX_RUNS {
            self.end_archive(&archive, Status::Failed, (0, 0), Some("interrupted"))
                .await?;
            return Ok(None);
        }
        Ok(Some(ArchiveRun { archive }))
    }

    /// Makes an archive, from the beginning to the end of a run.
    pub async fn make_archive(&self, run: &ArchiveRun) {
        let archive = &run.archive;
        let ended = match Box::pin(self.run_archive(archive)).await {
            Ok((bytes, pieces)) => {
                tracing::info!(archive = %archive.id, bytes, "made an archive");
                let made = (bytes, pieces);
                self.end_archive(archive, Status::Completed, made, None)
                    .await
            }
            Err(Broken::Fenced) => Ok(()),
            Err(Broken::TooLarge) => {
                self.end_archive(archive, Status::Failed, (0, 0), Some("too_large"))
                    .await
            }
            Err(Broken::Failed(error)) => {
                tracing::error!(%error, archive = %archive.id, "an archive could not be made");
                // Its lease runs out, and it is begun anew, but not for ever.
                Ok(())
            }
        };
        if let Err(error) = ended {
            tracing::error!(%error, archive = %archive.id, "an archive could not be ended");
        }
    }

    /// Lets go of a run in its middle: this node goes away.
    pub async fn release_archive(&self, run: &ArchiveRun) {
        let archive = &run.archive;
        let released: Result<(), StoreError> = self
            .store
            .tx(|tx| async move { tx.release_archive(archive).await })
            .await;
        if let Err(error) = released {
            tracing::warn!(%error, "an archive could not be let go of; its lease will run out");
        }
    }

    /// The file's length and the number of its pieces.
    async fn run_archive(&self, archive: &Archive) -> Result<(i64, i64), Broken> {
        let owner = archive.owner_id;
        self.clear_pieces(archive.id).await?;
        let chats = self.store.chat_ids(owner).await?;
        let total = i64::try_from(chats.len()).unwrap_or(i64::MAX);
        let mut zip = aside(Zip::new).await?;
        self.renew(archive, (0, total)).await?;
        let (mut done, mut renewed) = (0, Instant::now());
        for id in chats {
            if let Some(row) = self.store.chat(owner, id).await? {
                let whole = self.whole(row).await?;
                zip = aside(move || {
                    let document = whole.document();
                    let folder = zip.folder(&whole.row);
                    zip.add_json(&format!("chats/{folder}/chat.json"), &document)?;
                    zip.add_text(&format!("chats/{folder}/chat.md"), &as_markdown(&document))?;
                    Ok(zip)
                })
                .await?;
            }
            done += 1;
            if zip.bytes() > self.rules().settings.archives.max_bytes {
                return Err(Broken::TooLarge);
            }
            if renewed.elapsed() >= RENEWAL {
                self.renew(archive, (done, total)).await?;
                renewed = Instant::now();
            }
        }
        fault::point("archive.written");
        let mut file = aside(move || zip.finish()).await?;
        if file.bytes > self.rules().settings.archives.max_bytes {
            return Err(Broken::TooLarge);
        }
        let mut number = 0;
        loop {
            let (back, piece) = aside(move || {
                let mut piece = Vec::new();
                (&mut file.file).take(PIECE_BYTES).read_to_end(&mut piece)?;
                Ok((file, piece))
            })
            .await?;
            file = back;
            if piece.is_empty() {
                break;
            }
            self.store_piece(archive, (done, total), number, &piece)
                .await?;
            number += 1;
            fault::point("archive.piece");
        }
        Ok((i64::try_from(file.bytes).unwrap_or(i64::MAX), number))
    }

    async fn store_piece(
        &self,
        archive: &Archive,
        progress: (i64, i64),
        number: i64,
        piece: &[u8],
    ) -> Result<(), Broken> {
        let progress = self.progress(progress);
        let stored: Result<bool, StoreError> = self
            .store
            .tx(|tx| async move {
                if !tx.renew_archive(archive, progress).await? {
                    return Ok(false);
                }
                tx.add_archive_piece(archive, number, piece.to_vec())
                    .await?;
                Ok(true)
            })
            .await;
        if stored? { Ok(()) } else { Err(Broken::Fenced) }
    }

    async fn renew(&self, archive: &Archive, progress: (i64, i64)) -> Result<(), Broken> {
        let progress = self.progress(progress);
        let renewed: Result<bool, StoreError> = self
            .store
            .tx(|tx| async move { tx.renew_archive(archive, progress).await })
            .await;
        if renewed? {
            Ok(())
        } else {
            Err(Broken::Fenced)
        }
    }

    fn progress(&self, (chats_done, chats_total): (i64, i64)) -> ArchiveProgress {
        ArchiveProgress {
            chats_done,
            chats_total,
            lease_expires_at: self.clock.now().plus_ms(millis(LEASE)),
        }
    }

    async fn end_archive(
        &self,
        archive: &Archive,
        status: Status,
        (bytes, pieces): (i64, i64),
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let end = &ArchiveEnd {
            status,
            bytes,
            pieces,
            error: error.map(str::to_owned),
            now,
            expires_at: now.plus_ms(millis(self.rules().settings.archives.kept)),
        };
        let ended: Result<bool, StoreError> = self
            .store
            .tx(|tx| async move { tx.end_archive(archive, end.clone()).await })
            .await;
        if !ended? {
            tracing::info!(archive = %archive.id, "an archive was taken over, or is not wanted any more");
        }
        Ok(())
    }

    /// Erases archives that have had their time, or that nobody wants any more.
    pub(super) async fn clear_archives(&self, now: Timestamp) -> Result<(), StoreError> {
        for id in self.store.archives_to_erase(now, BATCH).await? {
            self.clear_pieces(id).await?;
            let erased: Result<(), StoreError> = self
                .store
                .tx(|tx| async move { tx.erase_archive(id).await })
                .await;
            erased?;
        }
        Ok(())
    }

    async fn clear_pieces(&self, id: ArchiveId) -> Result<(), StoreError> {
        loop {
            let has_more: Result<bool, StoreError> = self
                .store
                .tx(|tx| async move { tx.erase_archive_pieces(id).await })
                .await;
            if !has_more? {
                return Ok(());
            }
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
