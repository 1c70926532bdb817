//! An archive of all chats: how far it is, as JSON and as the element of the account's page that polls for it.

use askama::Template;
use entity::archive::{Model as Archive, Status};
use entity::{ArchiveId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::export;
use super::words::{self, W};

/// What is known of an archive.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ArchiveView {
    pub uuid: ArchiveId,
    pub status: Status,
    pub chats_done: i64,
    pub chats_total: i64,
    /// Of the file; null until it is there.
    pub bytes: Option<i64>,
    /// Why there is none: `too_large`, or `interrupted` as often as it was begun.
    pub error: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// When the file is erased.
    pub expires_at: Option<Timestamp>,
    /// Where to ask how far it is.
    pub poll_url: String,
    /// Where the file is; null until it is there.
    pub file_url: Option<String>,
    pub poll_after_ms: u64,
}

impl ArchiveView {
    pub fn new(archive: Archive, poll_after_ms: u64) -> Self {
        let is_there = archive.status == Status::Completed;
        let poll_url = format!("/chats/export/{}", archive.id);
        Self {
            uuid: archive.id,
            status: archive.status,
            chats_done: archive.chats_done,
            chats_total: archive.chats_total,
            bytes: is_there.then_some(archive.bytes),
            error: archive.error_code,
            created_at: archive.created_at,
            finished_at: archive.finished_at,
            expires_at: archive.expires_at,
            file_url: is_there.then(|| format!("{poll_url}/file")),
            poll_url,
            poll_after_ms,
        }
    }

    fn is_pending(&self) -> bool {
        matches!(self.status, Status::Queued | Status::Running)
    }

    fn progress(&self) -> String {
        words::put(W.archive_progress, self.chats_done).replacen(
            "{}",
            &self.chats_total.to_string(),
            1,
        )
    }

    /// When it was made, how large it is, and when it goes.
    fn about(&self) -> String {
        let until = self.expires_at.map(export::time).unwrap_or_default();
        let kilobytes = self.bytes.unwrap_or_default() / 1024 + 1;
        words::put(W.archive_about, export::time(self.created_at))
            .replacen("{}", &kilobytes.to_string(), 1)
            .replacen("{}", &until, 1)
    }
}

/// The element.
#[derive(Template)]
#[template(path = "archive.html")]
pub struct ArchiveFragment {
    pub archive: Option<ArchiveView>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(status: Status) -> Archive {
        let now = Timestamp(1_795_226_400_000);
        Archive {
            id: ArchiveId(uuid::Uuid::from_u128(1)),
            owner_id: entity::OwnerId::LOCAL,
            status,
            attempt: 1,
            lease_expires_at: None,
            chats_done: 3,
            chats_total: 7,
            bytes: 2_000,
            pieces: 1,
            error_code: None,
            created_at: now,
            finished_at: None,
            expires_at: Some(now.plus_ms(86_400_000)),
        }
    }

    #[test]
    fn an_archive_on_the_page_polls_until_it_is_there() {
        for (status, polls, links) in [
            (Status::Queued, true, false),
            (Status::Running, true, false),
            (Status::Completed, false, true),
            (Status::Failed, false, false),
        ] {
            let view = ArchiveView::new(archive(status), 300);
            let html = ArchiveFragment {
                archive: Some(view),
            };
            let html = html.render().unwrap();
            assert_eq!(html.contains("hx-trigger"), polls, "{html}");
            assert_eq!(html.contains("/file\""), links, "{html}");
        }
        let none = ArchiveFragment { archive: None }.render().unwrap();
        assert!(none.contains("action=\"/chats/export\""), "{none}");
    }
}
