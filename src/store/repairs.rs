//! Rows whose states disagree. No transaction of this program leaves such rows behind; a restored
//! backup, a hand at the database or a fault of ours may. Each query is one statement, and so
//! sees one state of the database: what it finds is no transaction in its middle.

use entity::{ChatId, Timestamp, chat, chat_message, llm_request};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait, Query, SelectStatement},
};

use super::requests::has_begun;
use super::{Store, StoreError, Tx};

/// Rows of one kind that are looked at in one go.
const BATCH: u64 = 100;

impl Store {
    /// Answers that are pending although no request runs or waits that would write them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn lost_answers(&self) -> Result<Vec<chat_message::Model>, StoreError> {
        self.pending(
            chat_message::Role::Assistant,
            &[llm_request::Status::Queued, llm_request::Status::Running],
        )
        .await
    }

    /// User messages that wait to be taken up although their request does not wait any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn lost_questions(&self) -> Result<Vec<chat_message::Model>, StoreError> {
        self.pending(chat_message::Role::User, &[llm_request::Status::Queued])
            .await
    }

    async fn pending(
        &self,
        role: chat_message::Role,
        expected: &[llm_request::Status],
    ) -> Result<Vec<chat_message::Model>, StoreError> {
        let expected = requests()
            .and_where(
                Expr::col((llm_request::Entity, llm_request::Column::Id))
                    .equals((chat_message::Entity, chat_message::Column::RequestId)),
            )
            .and_where(llm_request::Column::Status.is_in(expected.iter().copied()))
            .to_owned();
        Ok(chat_message::Entity::find()
            .filter(chat_message::Column::Status.eq(chat_message::Status::Pending))
            .filter(chat_message::Column::Role.eq(role))
            .filter(Expr::exists(expected).not())
            .limit(BATCH)
            .all(self.reader())
            .await?)
    }

    /// Queued requests that nothing good could come of: what they are to answer has been taken
    /// back, or what they are to write is not pending.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn pointless_requests(&self) -> Result<Vec<llm_request::Model>, StoreError> {
        let question = messages()
            .and_where(
                Expr::col((chat_message::Entity, chat_message::Column::Id))
                    .equals((llm_request::Entity, llm_request::Column::UserMessageId)),
            )
            .and_where(chat_message::Column::DeletedAt.is_null())
            .and_where(chat_message::Column::Status.ne(chat_message::Status::Cancelled))
            .to_owned();
        let answer = messages()
            .and_where(
                Expr::col((chat_message::Entity, chat_message::Column::Id))
                    .equals((llm_request::Entity, llm_request::Column::AssistantMessageId)),
            )
            .and_where(chat_message::Column::Status.eq(chat_message::Status::Pending))
            .to_owned();
        Ok(llm_request::Entity::find()
            .filter(llm_request::Column::Status.eq(llm_request::Status::Queued))
            .filter(
                Condition::any().add(Expr::exists(question).not()).add(
                    llm_request::Column::AssistantMessageId
                        .is_not_null()
                        .and(Expr::exists(answer).not()),
                ),
            )
            .limit(BATCH)
            .all(self.reader())
            .await?)
    }

    /// Chats whose turn it is not whose they say, with whose turn it is.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn mistaken_chats(&self) -> Result<Vec<(ChatId, chat::Status)>, StoreError> {
        let waiting: Vec<ChatId> = chat::Entity::find()
            .select_only()
            .column(chat::Column::Id)
            .filter(chat::Column::Status.eq(chat::Status::WaitingForChatbot))
            .filter(has_begun().not())
            .limit(BATCH)
            .into_tuple()
            .all(self.reader())
            .await?;
        let running: Vec<ChatId> = llm_request::Entity::find()
            .select_only()
            .column(llm_request::Column::ChatId)
            .filter(llm_request::Column::Status.eq(llm_request::Status::Running))
            .filter(Expr::exists(idle_chat()))
            .limit(BATCH)
            .into_tuple()
            .all(self.reader())
            .await?;
        let idle = waiting
            .into_iter()
            .map(|id| (id, chat::Status::WaitingForUser));
        let busy = running
            .into_iter()
            .map(|id| (id, chat::Status::WaitingForChatbot));
        Ok(idle.chain(busy).collect())
    }
}

impl Tx {
    /// Says whose turn it is, if the chat still says otherwise. Whether it did.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn correct_chat(
        &self,
        id: ChatId,
        status: chat::Status,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.touch(id);
        let wrong = match status {
            chat::Status::WaitingForUser => chat::Status::WaitingForChatbot,
            chat::Status::WaitingForChatbot => chat::Status::WaitingForUser,
        };
        let is_so = match status {
            chat::Status::WaitingForUser => has_begun().not(),
            chat::Status::WaitingForChatbot => has_begun(),
        };
        let updated = chat::Entity::update_many()
            .col_expr(chat::Column::Status, Expr::value(status))
            .col_expr(
                chat::Column::Revision,
                Expr::col(chat::Column::Revision).add(1),
            )
            .col_expr(chat::Column::UpdatedAt, Expr::value(now))
            .filter(chat::Column::Id.eq(id))
            .filter(chat::Column::Status.eq(wrong))
            .filter(is_so)
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }
}

fn requests() -> SelectStatement {
    Query::select()
        .column(llm_request::Column::Id)
        .from(llm_request::Entity)
        .to_owned()
}

fn messages() -> SelectStatement {
    Query::select()
        .column(chat_message::Column::Id)
        .from(chat_message::Entity)
        .to_owned()
}

/// The running request's chat, if it says that it waits for its user.
fn idle_chat() -> SelectStatement {
    Query::select()
        .column(chat::Column::Id)
        .from(chat::Entity)
        .and_where(
            Expr::col((chat::Entity, chat::Column::Id))
                .equals((llm_request::Entity, llm_request::Column::ChatId)),
        )
        .and_where(chat::Column::Status.eq(chat::Status::WaitingForUser))
        .to_owned()
}
