//! Rows of `chat_message`.

use entity::chat_message::{Column, Entity, Model, Role, Status};
use entity::{ChatId, MessageId, OwnerId, RequestId, Timestamp, chat, llm_request};
use sea_orm::{
    ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, Query},
};

use super::{Store, StoreError, Tx};

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

    /// The message, whoever holds it, deleted or not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn any_message(&self, id: MessageId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id(id).one(self.reader()).await?)
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

    /// The messages after `sequence`, oldest first, deleted ones left out: at most `limit` and
    /// as many as have `budget_bytes` of text together, but at least one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn messages_after(
        &self,
        chat: ChatId,
        sequence: i64,
        limit: u64,
        budget_bytes: i64,
    ) -> Result<MessagePage, StoreError> {
        let query = Entity::find()
            .filter(Column::ChatId.eq(chat))
            .filter(Column::Sequence.gt(sequence))
            .filter(Column::DeletedAt.is_null())
            .order_by_asc(Column::Sequence);
        self.page(query, Column::Sequence, limit, budget_bytes)
            .await
    }

    /// The messages up to `sequence` that changed after `revision`, in the order in which they
    /// changed, deleted ones included, within the same limits.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn messages_changed(
        &self,
        chat: ChatId,
        sequence: i64,
        revision: i64,
        limit: u64,
        budget_bytes: i64,
    ) -> Result<MessagePage, StoreError> {
        let query = Entity::find()
            .filter(Column::ChatId.eq(chat))
            .filter(Column::Revision.gt(revision))
            .filter(Column::Sequence.lte(sequence))
            .order_by_asc(Column::Revision)
            .order_by_asc(Column::Sequence);
        self.page(query, Column::Revision, limit, budget_bytes)
            .await
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
    async fn page(
        &self,
        query: Select<Entity>,
        order: Column,
        limit: u64,
        budget_bytes: i64,
    ) -> Result<MessagePage, StoreError> {
        let sizes: Vec<(MessageId, i64)> = query
            .clone()
            .select_only()
            .column(Column::Id)
            .column_as(Expr::cust("CAST(octet_length(content) AS BIGINT)"), "size")
            .limit(limit + 1)
            .into_tuple()
            .all(self.reader())
            .await?;
        let mut total = 0;
        let fitting = sizes
            .iter()
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .take_while(|(_, size)| {
                let is_first = total == 0;
                total += size.max(&1);
                is_first || total <= budget_bytes
            })
            .count();
        if fitting == 0 {
            return Ok(MessagePage::default());
        }
        let ids = sizes[..fitting].iter().map(|(id, _)| *id);
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

    /// The first message of a role in a chat.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn first_message(
        &self,
        chat: ChatId,
        role: Role,
    ) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::ChatId.eq(chat))
            .filter(Column::Role.eq(role))
            .filter(Column::DeletedAt.is_null())
            .order_by_asc(Column::Sequence)
            .one(self.connection())
            .await?)
    }

    /// Marks a pending user message as taken up. Whether it was still pending.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn complete_user_message(
        &self,
        id: MessageId,
        revision: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(Status::Completed))
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

    /// Takes back the request for a message if it has not started. Whether there was one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn withdraw_request(
        &self,
        id: RequestId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let updated = llm_request::Entity::update_many()
            .col_expr(
                llm_request::Column::Status,
                Expr::value(llm_request::Status::Cancelled),
            )
            .col_expr(llm_request::Column::FinishedAt, Expr::value(now))
            .filter(llm_request::Column::Id.eq(id))
            .filter(llm_request::Column::Status.eq(llm_request::Status::Queued))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }
}
