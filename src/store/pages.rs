//! Pages of `chat_message`: what a poll reads of a chat at once.

use entity::chat_message::{Column, Entity, Model, Role};
use entity::{ChatId, MessageId};
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::Expr,
};

use super::{Store, StoreError};

/// Messages that one change may touch and a poll still tells of together.
const MOST_AT_ONCE: u64 = 10_000;

/// A stretch of a chat's messages, in order.
#[derive(Clone, Debug, Default)]
pub struct MessagePage {
    pub messages: Vec<Model>,
    /// There are more behind the last one.
    pub has_more: bool,
}

impl Store {
    /// The messages after `sequence`, oldest first, deleted and superseded ones left out: at most `limit` and
    /// as many as have `budget_bytes` of text together, but at least one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn messages_after(
        &self,
        chat: ChatId,
        sequence: i64,
        limit: u64,
        budget_bytes: usize,
    ) -> Result<MessagePage, StoreError> {
        let query = Entity::find()
            .filter(Column::ChatId.eq(chat))
            .filter(Column::Sequence.gt(sequence))
            .filter(Column::Role.ne(Role::System))
            .filter(Column::DeletedAt.is_null())
            .filter(Column::SupersededAt.is_null())
            .order_by_asc(Column::Sequence);
        let sizes = self.sizes(query, limit).await?;
        let fitting = fitting(&sizes, limit, budget_bytes);
        if fitting == 0 {
            return Ok(MessagePage::default());
        }
        let mut page = self.read_page(&sizes, fitting, Column::Sequence).await?;
        // One may have gone since its size was looked at.
        page.messages
            .retain(|row| row.deleted_at.is_none() && row.superseded_at.is_none());
        Ok(page)
    }

    /// The messages up to `sequence` that changed after `revision`, in the order in which they
    /// changed, deleted ones included: whole revisions, as many as the limits allow, but at least
    /// one, and the last of them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn messages_changed(
        &self,
        chat: ChatId,
        sequence: i64,
        revision: i64,
        limit: u64,
        budget_bytes: usize,
    ) -> Result<(MessagePage, i64), StoreError> {
        let query = Entity::find()
            .filter(Column::ChatId.eq(chat))
            .filter(Column::Revision.gt(revision))
            .filter(Column::Sequence.lte(sequence))
            .filter(Column::Role.ne(Role::System))
            .order_by_asc(Column::Revision)
            .order_by_asc(Column::Sequence);
        let mut sizes = self.sizes(query.clone(), limit).await?;
        if let Some(last) = sizes.get(usize::try_from(limit).unwrap_or(usize::MAX)) {
            // What changed together with the last that fits may be more than was looked at.
            let together = query.filter(Column::Revision.lte(last.revision));
            sizes = self.sizes(together, MOST_AT_ONCE).await?;
        }
        let mut fitting = fitting(&sizes, limit, budget_bytes);
        let revision_at = |place: usize| sizes.get(place).map(|size| size.revision);
        // What changed together is told together: a client that has a revision has all of it.
        while fitting > 0
            && fitting < sizes.len()
            && revision_at(fitting) == revision_at(fitting - 1)
        {
            fitting += 1;
        }
        let Some(through) = fitting.checked_sub(1).and_then(revision_at) else {
            return Ok((MessagePage::default(), revision));
        };
        let mut page = self.read_page(&sizes, fitting, Column::Revision).await?;
        // As many as were asked for: there may be more that nobody has looked at.
        page.has_more |= sizes.len() as u64 > limit;
        Ok((page, through))
    }

    /// Looks at the sizes first, so that a page of long answers is not read to be thrown away.
    async fn sizes(&self, query: Select<Entity>, limit: u64) -> Result<Vec<Size>, StoreError> {
        Ok(query
            .select_only()
            .column(Column::Id)
            .column(Column::Revision)
            .column_as(
                Expr::cust("CAST(octet_length(content) + octet_length(reasoning) AS BIGINT)"),
                "content_bytes",
            )
            .limit(limit + 1)
            .into_model()
            .all(self.reader())
            .await?)
    }

    async fn read_page(
        &self,
        sizes: &[Size],
        fitting: usize,
        order: Column,
    ) -> Result<MessagePage, StoreError> {
        let ids = sizes[..fitting].iter().map(|size| size.id);
        let messages = Entity::find()
            .filter(Column::Id.is_in(ids))
            .order_by_asc(order)
            .order_by_asc(Column::Sequence)
            .all(self.reader())
            .await?;
        Ok(MessagePage {
            messages,
            has_more: sizes.len() > fitting,
        })
    }
}

/// How much text a message has.
#[derive(FromQueryResult)]
struct Size {
    id: MessageId,
    revision: i64,
    content_bytes: i64,
}

/// How many of the first messages fit the limits; one fits always.
fn fitting(sizes: &[Size], limit: u64, budget_bytes: usize) -> usize {
    let mut left = budget_bytes;
    sizes
        .iter()
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .enumerate()
        .take_while(|(place, size)| {
            let bytes = usize::try_from(size.content_bytes).unwrap_or(usize::MAX);
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            *place == 0 || fits
        })
        .count()
}
