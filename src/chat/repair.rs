//! Repair: rows whose states disagree are brought into line, so that nothing waits for something
//! that will never come. No transaction of ours leaves such rows; what is found is logged.

use entity::chat_message::{Model as Message, Status};
use entity::llm_request;
use metrics::counter;

use super::Chats;
use super::answer::interrupted;
use crate::model::position::Edition;
use crate::store::{Advance, Rewrite, StoreError, Tx};

impl Chats {
    /// Looks for rows whose states disagree and corrects them, and clears away what has expired.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn repair(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let (mut requests, mut answers, mut questions, mut chats) = (0, 0, 0, 0);
        for request in self.store.pointless_requests().await? {
            let cancelled = self
                .store
                .tx(|tx| async move { tx.withdraw_request(request.id, now).await });
            requests += u32::from(cancelled.await?);
        }
        let lost = self.store.lost_answers().await?;
        let are_none_lost = lost.is_empty();
        for message in lost {
            answers += u32::from(self.end_lost_answer(&message).await?);
        }
        for message in self.store.lost_questions().await? {
            questions += u32::from(self.end_lost_question(&message).await?);
        }
        for (chat, status) in self.store.mistaken_chats().await? {
            let corrected = self
                .store
                .tx(|tx| async move { tx.correct_chat(chat, status, now).await });
            chats += u32::from(corrected.await?);
        }
        for (what, rows) in [
            ("requests", requests),
            ("answers", answers),
            ("questions", questions),
            ("chats", chats),
        ] {
            counter!("pollen_repaired_rows_total", "what" => what).increment(rows.into());
        }
        if requests + answers + questions + chats > 0 {
            tracing::warn!(
                requests,
                answers,
                questions,
                chats,
                "repaired rows whose states disagreed"
            );
        }
        // What is left of an answer that was lost is in its ledger, until it was seen to.
        let mut next = are_none_lost.then_some(0);
        while let Some(after) = next {
            let purge = |tx: Tx| async move { tx.purge_finished_ledgers(after).await };
            next = self.store.tx(purge).await?;
        }
        let purge = |tx: Tx| async move { tx.purge_keys(now).await };
        self.store.tx(purge).await?;
        self.clear_away(now).await?;
        self.maintain().await
    }

    /// Nobody writes this answer any more: it ends as failed with what its ledger holds.
    async fn end_lost_answer(&self, message: &Message) -> Result<bool, StoreError> {
        let kept = match message.request_id {
            Some(request) => self.store.last_ledger_text(request).await?,
            None => None,
        };
        let texts = &kept.map(|(_, texts)| texts).unwrap_or_default();
        let now = self.clock.now();
        let failure = &interrupted();
        self.store
            .tx(|tx| async move {
                let Some(chat) = tx
                    .advance_chat(message.chat_id, Advance::touch(now))
                    .await?
                else {
                    return Ok(false);
                };
                let edition = Edition::from_stored(message.edition).next();
                let rewrite = Rewrite {
                    status: Status::Failed,
                    content: texts.text.clone(),
                    reasoning: texts.reasoning.clone(),
                    origin: message.origin.clone(),
                    edition: edition.to_stored(),
                    version: message.version,
                    versions: message.versions,
                    request_id: message.request_id,
                    error: Some((failure.code.clone(), failure.message.clone())),
                    reaction: None,
                    completed_at: Some(now),
                    revision: chat.revision,
                };
                tx.rewrite_message(message, rewrite).await
            })
            .await
    }

    /// This message's request is not waiting: it has been taken up, or it never will be.
    async fn end_lost_question(&self, message: &Message) -> Result<bool, StoreError> {
        let request = match message.request_id {
            Some(request) => self.store.request(request).await?,
            None => None,
        };
        let status = match request.map(|request| request.status) {
            None | Some(llm_request::Status::Cancelled) => Status::Cancelled,
            // Taken up in the meantime, or just now: the claim says so itself.
            Some(llm_request::Status::Queued) => return Ok(false),
            Some(_) => Status::Completed,
        };
        let now = self.clock.now();
        self.store
            .tx(|tx| async move {
                match tx
                    .advance_chat(message.chat_id, Advance::touch(now))
                    .await?
                {
                    None => Ok(false),
                    Some(chat) => {
                        tx.end_user_message(message.id, status, chat.revision, now)
                            .await
                    }
                }
            })
            .await
    }
}
