//! Rows of `chat`. Those that were deleted count as gone: `deletion.rs` alone still finds them.

use std::collections::HashMap;

use entity::chat::{ActiveModel, Column, Entity, Model, OnBusy, Status};
use entity::{ChatId, MessageId, Metadata, OwnerId, Parameters, Timestamp, chat_message};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, FromQueryResult, IntoActiveModel,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, Statement, sea_query::Expr,
};

use super::batches::padded;
use super::requests::has_begun;
use super::{Store, StoreError, Tx};

/// How a chat moves on when something in it happens.
#[derive(Clone, Copy, Debug)]
pub struct Advance {
    /// Sequence numbers taken for new messages.
    pub messages: i64,
    /// Whose turn it is from now on; none leaves it. It is not the user's as long as a request of the chat
    /// has begun.
    pub status: Option<Status>,
    pub now: Timestamp,
}

impl Advance {
    /// Something changed that a poller could see, and nothing else.
    #[must_use]
    pub fn touch(now: Timestamp) -> Self {
        Self {
            messages: 0,
            status: None,
            now,
        }
    }
}

/// What of a chat is set anew; none leaves it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatChange {
    pub title: Option<String>,
    pub model: Option<String>,
    pub agent: Option<String>,
    pub on_busy: Option<OnBusy>,
    pub parameters: Option<Parameters>,
    /// None in it: there are none any more.
    pub metadata: Option<Option<Metadata>>,
    /// What the messages up to a sequence number said; none of both forgets it.
    pub summary: Option<Option<(String, i64)>>,
    /// When the chat ends by itself; none: it does not.
    pub expires_at: Option<Option<Timestamp>>,
}

/// The last thing said in a chat.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Preview {
    pub chat_id: ChatId,
    pub role: chat_message::Role,
    pub status: chat_message::Status,
    /// The beginning of the text.
    pub head: String,
}

/// What a poll of a chat needs to know when nothing is new.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Head {
    #[sea_orm(nested)]
    pub chat: Model,
    /// The message to show that no other one comes after. None: there is none.
    pub last: Option<MessageId>,
}

/// Characters of a preview that are read.
const PREVIEW_CHARS: u32 = 160;

impl Store {
    /// The owner's chat, if it is theirs.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chat(&self, owner: OwnerId, id: ChatId) -> Result<Option<Model>, StoreError> {
        let chat = present(id).filter(Column::OwnerId.eq(owner));
        Ok(chat.all(self.reader()).await?.pop())
    }

    /// The chat, whoever holds it, with its last message.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn head(&self, id: ChatId) -> Result<Option<Head>, StoreError> {
        let last = Expr::cust(
            "(SELECT m.id FROM chat_message m WHERE m.chat_id = chat.id AND m.role <> 'system' \
               AND m.deleted_at IS NULL AND m.superseded_at IS NULL \
               ORDER BY m.sequence DESC LIMIT 1)",
        );
        let heads = present(id).expr_as(last, "last").into_model();
        Ok(heads.all(self.reader()).await?.pop())
    }

    /// The chat, whoever holds it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chat_of(&self, id: ChatId) -> Result<Option<Model>, StoreError> {
        Ok(present(id).all(self.reader()).await?.pop())
    }

    /// Up to `limit` of the owner's chats, the one last changed first, after the chat that stands
    /// at `after` (keyset: when it was changed, its id); only those that have all of these pairs of metadata.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chat_page(
        &self,
        owner: OwnerId,
        having: Option<&Metadata>,
        after: Option<(Timestamp, ChatId)>,
        limit: u64,
    ) -> Result<Vec<Model>, StoreError> {
        let mut query = Entity::find()
            .filter(Column::OwnerId.eq(owner))
            .filter(Column::DeletedAt.is_null());
        if let Some(having) = having {
            query = query.filter(self.dialect.has_metadata(having));
        }
        if let Some((changed, id)) = after {
            query = query.filter(
                Condition::any()
                    .add(Column::UpdatedAt.lt(changed))
                    .add(Column::UpdatedAt.eq(changed).and(Column::Id.lt(id))),
            );
        }
        Ok(query
            .order_by_desc(Column::UpdatedAt)
            .order_by_desc(Column::Id)
            .limit(limit)
            .all(self.reader())
            .await?)
    }

    /// How many chats the owner has, and the ids and revisions of the `limit` that were changed last, the last one first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn list_state(
        &self,
        owner: OwnerId,
        limit: u64,
    ) -> Result<(u64, Vec<(ChatId, i64)>), StoreError> {
        let chats = Entity::find()
            .filter(Column::OwnerId.eq(owner))
            .filter(Column::DeletedAt.is_null());
        let count = chats.clone().count(self.reader()).await?;
        let head = chats
            .select_only()
            .columns([Column::Id, Column::Revision])
            .order_by_desc(Column::UpdatedAt)
            .order_by_desc(Column::Id)
            .limit(limit)
            .into_tuple()
            .all(self.reader());
        Ok((count, head.await?))
    }

    /// The titles of those of these chats that are the owner's.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chat_titles(
        &self,
        owner: OwnerId,
        chats: &[ChatId],
    ) -> Result<HashMap<ChatId, String>, StoreError> {
        let rows: Vec<(ChatId, String)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::Title])
            .filter(Column::Id.is_in(chats.iter().copied()))
            .filter(Column::OwnerId.eq(owner))
            .filter(Column::DeletedAt.is_null())
            .into_tuple()
            .all(self.reader())
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// The last message of each of these chats that has one to show.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn previews(&self, chats: &[ChatId]) -> Result<HashMap<ChatId, Preview>, StoreError> {
        if chats.is_empty() {
            return Ok(HashMap::new());
        }
        let places: Vec<_> = (1..=chats.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT m.chat_id, m.role, m.status, substr(m.content, 1, {PREVIEW_CHARS}) AS head \
             FROM chat_message m WHERE m.chat_id IN ({}) AND m.sequence = (\
               SELECT max(l.sequence) FROM chat_message l \
               WHERE l.chat_id = m.chat_id AND l.deleted_at IS NULL AND l.superseded_at IS NULL AND l.role <> 'system')",
            places.join(", ")
        );
        let statement = Statement::from_sql_and_values(
            self.reader().get_database_backend(),
            sql,
            chats.iter().map(|id| sea_orm::Value::from(*id)),
        );
        let rows = Preview::find_by_statement(statement)
            .all(self.reader())
            .await?;
        Ok(rows.into_iter().map(|row| (row.chat_id, row)).collect())
    }
}

impl Tx {
    /// Inserts the chat unless its id is taken. Whether it was inserted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_chat(&self, chat: Model) -> Result<bool, StoreError> {
        self.touch(chat.id);
        let inserted = Entity::insert(chat.into_active_model())
            .on_conflict(OnConflict::column(Column::Id).do_nothing().to_owned())
            .exec_without_returning(self.connection())
            .await?;
        Ok(inserted == 1)
    }

    /// The chat as this transaction sees it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chat(&self, id: ChatId) -> Result<Option<Model>, StoreError> {
        Ok(present(id).all(self.connection()).await?.pop())
    }

    /// The chat, which nobody else changes until this transaction ends.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn lock_chat(&self, id: ChatId) -> Result<Option<Model>, StoreError> {
        let chat = present(id).lock_exclusive();
        Ok(chat.all(self.connection()).await?.pop())
    }

    /// Locks the chat's row, takes sequence numbers for new messages, raises the revision and
    /// returns the row as it then is; the numbers taken are the ones right below
    /// `next_sequence`. None if the chat is gone.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn advance_chat(
        &self,
        id: ChatId,
        advance: Advance,
    ) -> Result<Option<Model>, StoreError> {
        Ok(self.advance_chats(&[id], advance).await?.pop())
    }

    /// The same for several chats. Those that are gone are left out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn advance_chats(
        &self,
        ids: &[ChatId],
        advance: Advance,
    ) -> Result<Vec<Model>, StoreError> {
        for id in ids {
            self.touch(*id);
        }
        let mut update = Entity::update_many()
            .col_expr(
                Column::NextSequence,
                Expr::col(Column::NextSequence).add(advance.messages),
            )
            .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
            .col_expr(Column::UpdatedAt, Expr::value(advance.now))
            .filter(Column::Id.is_in(padded(ids)))
            .filter(Column::DeletedAt.is_null());
        match advance.status {
            None => {}
            Some(Status::WaitingForChatbot) => {
                update = update.col_expr(Column::Status, Expr::value(Status::WaitingForChatbot));
            }
            Some(Status::WaitingForUser) => {
                let turn = Expr::case(has_begun(), Expr::col(Column::Status))
                    .finally(Status::WaitingForUser);
                update = update.col_expr(Column::Status, turn.into());
            }
        }
        Ok(update.exec_with_returning(self.connection()).await?)
    }

    /// Sets what the change names. The chat must have been advanced in this transaction.
    ///
    /// # Errors
    /// If the database fails or the chat is gone.
    pub async fn change_chat(&self, id: ChatId, change: ChatChange) -> Result<Model, StoreError> {
        self.touch(id);
        let mut row = ActiveModel {
            ..Default::default()
        };
        if let Some(title) = change.title {
            row.title = sea_orm::Set(title);
        }
        if let Some(model) = change.model {
            row.model = sea_orm::Set(Some(model));
        }
        if let Some(agent) = change.agent {
            row.agent = sea_orm::Set(Some(agent));
        }
        if let Some(on_busy) = change.on_busy {
            row.on_busy = sea_orm::Set(Some(on_busy));
        }
        if let Some(parameters) = change.parameters {
            let is_empty = parameters == Parameters::default();
            row.parameters = sea_orm::Set(Some(parameters).filter(|_| !is_empty));
        }
        if let Some(metadata) = change.metadata {
            row.metadata = sea_orm::Set(metadata);
        }
        if let Some(summary) = change.summary {
            let (text, through) = summary.unzip();
            row.summary = sea_orm::Set(text);
            row.summary_through = sea_orm::Set(through);
        }
        if let Some(expires_at) = change.expires_at {
            row.expires_at = sea_orm::Set(expires_at);
        }
        let chat = if row == ActiveModel::default() {
            self.chat(id).await?
        } else {
            let changed = Entity::update_many()
                .set(row)
                .filter(Column::Id.eq(id))
                .filter(Column::DeletedAt.is_null())
                .exec_with_returning(self.connection())
                .await?;
            changed.into_iter().next()
        };
        chat.ok_or(StoreError::Missing { what: "chat" })
    }

    /// Forgets the summary of a chat if this message's turn is part of it: it will say something else.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn forget_summary(
        &self,
        message: &chat_message::Model,
    ) -> Result<(), StoreError> {
        self.touch(message.chat_id);
        let question = match message.reply_to {
            Some(question) => self.message(question).await?,
            None => None,
        };
        let turn = question.map_or(message.sequence, |question| question.sequence);
        Entity::update_many()
            .col_expr(Column::Summary, Expr::value(Option::<String>::None))
            .col_expr(Column::SummaryThrough, Expr::value(Option::<i64>::None))
            .filter(Column::Id.eq(message.chat_id))
            .filter(Column::SummaryThrough.gte(turn))
            .exec(self.connection())
            .await?;
        Ok(())
    }
}

/// The chat, unless it was deleted.
fn present(id: ChatId) -> Select<Entity> {
    Entity::find_by_id(id).filter(Column::DeletedAt.is_null())
}
