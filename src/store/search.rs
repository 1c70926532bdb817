//! The search in titles and messages: which have the words, in the words of one statement. What an
//! index of words is, the dialect says.

use std::collections::HashMap;

use entity::chat::{Column, Entity, Model};
use entity::{ChatId, MessageId, OwnerId};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, Statement, Value,
};

use super::{Store, StoreError, Tx};
use crate::model::search::SearchWords;

/// Characters of a text that are indexed, and so all that a word can be found in.
const INDEXED_CHARS: u32 = 200_000;

/// A chat in which the words are.
#[derive(Clone, Debug)]
pub struct SearchHit {
    pub chat: Model,
    /// The last message that has them all; none if it is the title.
    pub message: Option<MessageId>,
    /// The text of that message; empty if it is the title.
    pub text: String,
}

#[derive(FromQueryResult)]
struct Row {
    chat_id: ChatId,
    message_id: Option<MessageId>,
    head: Option<String>,
}

impl Store {
    /// Up to `limit` of the owner's chats of which the title or a message has all the words, the one
    /// last changed first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn search(
        &self,
        owner: OwnerId,
        words: &SearchWords,
        limit: u64,
    ) -> Result<Vec<SearchHit>, StoreError> {
        if words.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "WITH hit AS ({}), found AS (\
               SELECT c.id, c.updated_at, max(hit.sequence) AS sequence \
               FROM hit JOIN chat c ON c.id = hit.chat_id \
               WHERE c.owner_id = $1 AND c.deleted_at IS NULL \
               GROUP BY c.id, c.updated_at ORDER BY c.updated_at DESC, c.id DESC LIMIT {limit}) \
             SELECT found.id AS chat_id, m.id AS message_id, \
               substr(m.content, 1, {INDEXED_CHARS}) AS head \
             FROM found LEFT JOIN chat_message m ON m.chat_id = found.id AND m.sequence = found.sequence \
             ORDER BY found.updated_at DESC, found.id DESC",
            self.dialect.search_hits()
        );
        let values: [Value; 2] = [owner.into(), self.dialect.search_query(words).into()];
        let backend = self.reader().get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let rows = Row::find_by_statement(statement).all(self.reader()).await?;
        let chats = Entity::find()
            .filter(Column::Id.is_in(rows.iter().map(|row| row.chat_id)))
            .filter(Column::DeletedAt.is_null())
            .all(self.reader())
            .await?;
        let mut chats: HashMap<ChatId, Model> =
            chats.into_iter().map(|chat| (chat.id, chat)).collect();
        let hits = rows.into_iter().filter_map(|row| {
            Some(SearchHit {
                chat: chats.remove(&row.chat_id)?,
                message: row.message_id,
                text: row.head.unwrap_or_default(),
            })
        });
        Ok(hits.collect())
    }
}

/// Pages of the index that one step of a sweep writes at most.
const SWEEP_PAGES: i32 = 200;

#[derive(FromQueryResult)]
struct Changes {
    changes: i64,
}

impl Tx {
    /// Takes a step in clearing the index of the words of what was deleted. Whether that was the last.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sweep_search(&self, is_first: bool) -> Result<bool, StoreError> {
        let Some(sql) = self.dialect.search_sweep() else {
            return Ok(true);
        };
        let pages = if is_first { -SWEEP_PAGES } else { SWEEP_PAGES };
        let backend = self.connection().get_database_backend();
        let before = self.changes().await?;
        let step = Statement::from_sql_and_values(backend, sql, [pages.into()]);
        self.connection().execute_raw(step).await?;
        // The statement counts as a change itself: <https://sqlite.org/fts5.html#the_merge_command>.
        Ok(self.changes().await? - before < 2)
    }

    /// Rows that this connection has ever changed.
    async fn changes(&self) -> Result<i64, StoreError> {
        let backend = self.connection().get_database_backend();
        let count = Statement::from_string(backend, "SELECT total_changes() AS changes");
        let row = Changes::find_by_statement(count)
            .one(self.connection())
            .await?;
        Ok(row.map_or(0, |row| row.changes))
    }
}
