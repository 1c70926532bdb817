//! Rows of `chat_message`.

use entity::chat_message::{Column, Entity, Model, Status};
use entity::{
    ChatId, MessageId, OwnerId, RequestId, Timestamp, chat, llm_request, message_version,
};
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, Select,
    sea_query::{Expr, ExprTrait, Query},
};

use super::{Store, StoreError, Tx};
use crate::model::history::MessagePlace;

/// Ids in one `IN (…)`.
const MAX_IDS: usize = 1_000;

/// A stretch of a chat's messages, in order.
#[derive(Clone, Debug, Default)]
pub struct MessagePage {
    pub messages: Vec<Model>,
    /// There are more behind the last one.
    pub has_more: bool,
}

/// How an assistant message ends.
#[derive(Clone, Debug)]
pub struct Finish {
    pub status: Status,
    /// The final text.
    pub content: String,
    /// The edition that the text is.
    pub edition: i64,
    pub error: Option<(String, String)>,
    /// The chat's revision that the change is part of.
    pub revision: i64,
    pub now: Timestamp,
}

/// What takes the place of a message's text and of what goes with it.
#[derive(Clone, Debug)]
pub struct Rewrite {
    pub status: Status,
    pub content: String,
    pub edition: i64,
    pub version: i64,
    pub versions: i64,
    pub request_id: Option<RequestId>,
    pub error: Option<(String, String)>,
    pub completed_at: Option<Timestamp>,
    /// The chat's revision that the change is part of.
    pub revision: i64,
}

/// A message with what a reader of its ledger has to know.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Watched {
    #[sea_orm(nested)]
    pub message: Model,
    pub owner_id: OwnerId,
    /// The attempt that the message's request is at.
    pub attempt: Option<i64>,
}

impl Store {
    /// The message, if it is in a chat of the owner. Deleted ones count as gone.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn message(
        &self,
        owner: OwnerId,
        id: MessageId,
    ) -> Result<Option<Model>, StoreError> {
        let chats = Query::select()
            .column(chat::Column::Id)
            .from(chat::Entity)
            .and_where(chat::Column::OwnerId.eq(owner))
            .to_owned();
        Ok(Entity::find_by_id(id)
            .filter(Column::DeletedAt.is_null())
            .filter(Column::ChatId.in_subquery(chats))
            .one(self.reader())
            .await?)
    }

    /// The message, whoever holds it, if it is not deleted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn watched_message(&self, id: MessageId) -> Result<Option<Watched>, StoreError> {
        let owner = Query::select()
            .column(chat::Column::OwnerId)
            .from(chat::Entity)
            .and_where(Expr::col((chat::Entity, chat::Column::Id)).equals((Entity, Column::ChatId)))
            .to_owned();
        let attempt = Query::select()
            .column(llm_request::Column::Attempt)
            .from(llm_request::Entity)
            .and_where(
                Expr::col((llm_request::Entity, llm_request::Column::Id))
                    .equals((Entity, Column::RequestId)),
            )
            .to_owned();
        Ok(Entity::find_by_id(id)
            .filter(Column::DeletedAt.is_null())
            .expr_as(owner, "owner_id")
            .expr_as(attempt, "attempt")
            .into_model()
            .one(self.reader())
            .await?)
    }

    /// The place of a message in a chat; a deleted one has kept its place.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sequence_of(
        &self,
        chat: ChatId,
        id: MessageId,
    ) -> Result<Option<i64>, StoreError> {
        Ok(Entity::find_by_id(id)
            .filter(Column::ChatId.eq(chat))
            .select_only()
            .column(Column::Sequence)
            .into_tuple()
            .one(self.reader())
            .await?)
    }

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
            .filter(Column::DeletedAt.is_null())
            .filter(Column::SupersededAt.is_null())
            .order_by_asc(Column::Sequence);
        let sizes = self.sizes(query, limit).await?;
        let fitting = fitting(&sizes, limit, budget_bytes);
        if fitting == 0 {
            return Ok(MessagePage::default());
        }
        self.read_page(&sizes, fitting, Column::Sequence).await
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
            .order_by_asc(Column::Revision)
            .order_by_asc(Column::Sequence);
        let sizes = self.sizes(query, limit).await?;
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

    /// All of a chat's messages, in order.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn all_messages(&self, chat: ChatId) -> Result<Vec<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::ChatId.eq(chat))
            .order_by_asc(Column::Sequence)
            .all(self.reader())
            .await?)
    }

    /// Looks at the sizes first, so that a page of long answers is not read to be thrown away.
    async fn sizes(&self, query: Select<Entity>, limit: u64) -> Result<Vec<Size>, StoreError> {
        Ok(query
            .select_only()
            .column(Column::Id)
            .column(Column::Revision)
            .column_as(
                Expr::cust("CAST(octet_length(content) AS BIGINT)"),
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

impl Tx {
    /// # Errors
    /// If the database fails.
    pub async fn insert_message(&self, message: Model) -> Result<(), StoreError> {
        Entity::insert(message.into_active_model())
            .exec_without_returning(self.connection())
            .await?;
        Ok(())
    }

    /// The message as this transaction sees it, deleted or not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn message(&self, id: MessageId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id(id).one(self.connection()).await?)
    }

    /// The message, which nobody else changes until this transaction ends.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn lock_message(&self, id: MessageId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id(id)
            .lock_exclusive()
            .one(self.connection())
            .await?)
    }

    /// Where all of a chat's messages stand, without their texts.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn message_places(&self, chat: ChatId) -> Result<Vec<MessagePlace>, StoreError> {
        type Row = (MessageId, i64, Option<MessageId>, Option<i64>, Option<i64>);
        let rows: Vec<Row> = Entity::find()
            .filter(Column::ChatId.eq(chat))
            .select_only()
            .columns([Column::Id, Column::Sequence, Column::ReplyTo])
            .columns([Column::DeletedAt, Column::SupersededAt])
            .order_by_asc(Column::Sequence)
            .into_tuple()
            .all(self.connection())
            .await?;
        let places = rows.into_iter().map(|row| {
            let (id, sequence, reply_to, deleted, superseded) = row;
            MessagePlace {
                id,
                sequence,
                reply_to,
                is_gone: deleted.or(superseded).is_some(),
            }
        });
        Ok(places.collect())
    }

    /// The message that a chat began with, deleted or not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn first_message(&self, chat: ChatId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::ChatId.eq(chat))
            .order_by_asc(Column::Sequence)
            .one(self.connection())
            .await?)
    }

    /// Marks a pending user message as taken up (`completed`), or as not to be answered. Whether
    /// it was still pending.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_user_message(
        &self,
        id: MessageId,
        status: Status,
        revision: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(status))
            .col_expr(Column::CompletedAt, Expr::value(now))
            .col_expr(Column::Revision, Expr::value(revision))
            .filter(Column::Id.eq(id))
            .filter(Column::Status.eq(Status::Pending))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Gives a pending assistant message its final text. Whether it was still pending.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn finish_message(&self, id: MessageId, finish: Finish) -> Result<bool, StoreError> {
        let (code, message) = finish.error.unzip();
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(finish.status))
            .col_expr(Column::Content, Expr::value(finish.content))
            .col_expr(Column::Edition, Expr::value(finish.edition))
            .col_expr(Column::ErrorCode, Expr::value(code))
            .col_expr(Column::ErrorMessage, Expr::value(message))
            .col_expr(Column::CompletedAt, Expr::value(finish.now))
            .col_expr(Column::Revision, Expr::value(finish.revision))
            .filter(Column::Id.eq(id))
            .filter(Column::Status.eq(Status::Pending))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Moves a pending answer to its next edition: another attempt is going to write it. Whether
    /// it was still pending.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn restart_message(
        &self,
        id: MessageId,
        edition: i64,
        revision: i64,
    ) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::Edition, Expr::value(edition))
            .col_expr(Column::Revision, Expr::value(revision))
            .filter(Column::Id.eq(id))
            .filter(Column::Status.eq(Status::Pending))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Puts another text in the place of what the message was `before`, if it still is that.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn rewrite_message(
        &self,
        before: &Model,
        rewrite: Rewrite,
    ) -> Result<bool, StoreError> {
        let (code, message) = rewrite.error.unzip();
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(rewrite.status))
            .col_expr(Column::Content, Expr::value(rewrite.content))
            .col_expr(Column::Edition, Expr::value(rewrite.edition))
            .col_expr(Column::Version, Expr::value(rewrite.version))
            .col_expr(Column::Versions, Expr::value(rewrite.versions))
            .col_expr(Column::RequestId, Expr::value(rewrite.request_id))
            .col_expr(Column::ErrorCode, Expr::value(code))
            .col_expr(Column::ErrorMessage, Expr::value(message))
            .col_expr(Column::CompletedAt, Expr::value(rewrite.completed_at))
            .col_expr(Column::Revision, Expr::value(rewrite.revision))
            .filter(Column::Id.eq(before.id))
            .filter(Column::Status.eq(before.status))
            .filter(Column::Edition.eq(before.edition))
            .filter(Column::DeletedAt.is_null())
            .filter(Column::SupersededAt.is_null())
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Takes messages out of sight and keeps them; those that still wait to be answered will not be.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn supersede_messages(
        &self,
        messages: &[MessageId],
        revision: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for ids in messages.chunks(MAX_IDS) {
            Entity::update_many()
                .col_expr(Column::Status, Expr::value(Status::Cancelled))
                .filter(Column::Id.is_in(ids.iter().copied()))
                .filter(Column::Status.eq(Status::Pending))
                .exec(self.connection())
                .await?;
            Entity::update_many()
                .col_expr(Column::SupersededAt, Expr::value(now))
                .col_expr(Column::Revision, Expr::value(revision))
                .filter(Column::Id.is_in(ids.iter().copied()))
                .exec(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Turns a message into a tombstone: its text goes, its place stays. A user message that was
    /// still waiting becomes `cancelled`. Whether there was something to delete.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn bury_message(
        &self,
        message: &Model,
        revision: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let status = match message.status {
            Status::Pending => Status::Cancelled,
            ended => ended,
        };
        message_version::Entity::delete_many()
            .filter(message_version::Column::MessageId.eq(message.id))
            .exec(self.connection())
            .await?;
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(status))
            .col_expr(Column::Content, Expr::value(""))
            .col_expr(Column::ErrorCode, Expr::value(Option::<String>::None))
            .col_expr(Column::ErrorMessage, Expr::value(Option::<String>::None))
            .col_expr(Column::DeletedAt, Expr::value(now))
            .col_expr(Column::Revision, Expr::value(revision))
            .filter(Column::Id.eq(message.id))
            .filter(Column::DeletedAt.is_null())
            .filter(Column::Status.eq(message.status))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }
}
