//! Rows of `message_version`: the texts that a message had before.

use entity::message_version::{Column, Entity, Model};
use entity::{MessageId, chat_message};
use sea_orm::{
    ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, sea_query::OnConflict,
};

use super::batches::batches;
use super::{Store, StoreError, Tx};

impl Store {
    /// The texts that the message had before, oldest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn versions(&self, message: MessageId) -> Result<Vec<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::MessageId.eq(message))
            .order_by_asc(Column::Number)
            .all(self.reader())
            .await?)
    }
}

impl Tx {
    /// Keeps the text that the message has now as the version that it is.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep_version(&self, message: &chat_message::Model) -> Result<(), StoreError> {
        let version = Model {
            message_id: message.id,
            number: message.version,
            chat_id: message.chat_id,
            status: message.status,
            content: message.content.clone(),
            reasoning: message.reasoning.clone(),
            origin: message.origin.clone(),
            request_id: message.request_id,
            error_code: message.error_code.clone(),
            error_message: message.error_message.clone(),
            reaction: message.reaction,
            reaction_comment: message.reaction_comment.clone(),
            completed_at: message.completed_at,
        };
        // Kept before, it has the same text; but the user may have changed their mind about it.
        let is_there = OnConflict::columns([Column::MessageId, Column::Number])
            .update_columns([Column::Reaction, Column::ReactionComment])
            .to_owned();
        Entity::insert(version.into_active_model())
            .on_conflict(is_there)
            .exec_without_returning(self.connection())
            .await?;
        Ok(())
    }

    /// # Errors
    /// If the database fails.
    pub async fn insert_versions(&self, versions: &[Model]) -> Result<(), StoreError> {
        for batch in batches(versions) {
            let rows = batch
                .iter()
                .cloned()
                .map(IntoActiveModel::into_active_model);
            Entity::insert_many(rows)
                .exec_without_returning(self.connection())
                .await?;
        }
        Ok(())
    }

    /// One of the texts that the message had before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn version(
        &self,
        message: MessageId,
        number: i64,
    ) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find_by_id((message, number))
            .one(self.connection())
            .await?)
    }
}
