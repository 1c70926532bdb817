//! Rows of `chat_message`.

use entity::chat_message::{Column, Entity, Model, Reaction, Role, Status};
use entity::{
    AskedAs, ChatId, MessageId, Origin, OwnerId, RequestId, Timestamp, chat, llm_request,
    message_version,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, IntoActiveModel, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait, Query},
};

use super::batches::{Rows, batches, padded};
use super::{Store, StoreError, Tx};
use crate::model::history::MessagePlace;

/// Ids in one `IN (…)`.
const MAX_IDS: usize = 1_000;

/// How an assistant message ends.
#[derive(Clone, Debug)]
pub struct Finish {
    pub status: Status,
    /// The final texts.
    pub content: String,
    pub reasoning: String,
    /// Who wrote it; none leaves what the message says of it.
    pub origin: Option<Origin>,
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
    pub reasoning: String,
    pub origin: Option<Origin>,
    pub edition: i64,
    pub version: i64,
    pub versions: i64,
    pub request_id: Option<RequestId>,
    pub error: Option<(String, String)>,
    /// What the user thinks of this text, and why.
    pub reaction: Option<(Reaction, Option<String>)>,
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
    /// The message, if it is in a chat of the owner. Deleted ones count as gone, and what the system
    /// says is not shown.
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
            .and_where(chat::Column::DeletedAt.is_null())
            .to_owned();
        Ok(Entity::find_by_id(id)
            .filter(Column::DeletedAt.is_null())
            .filter(Column::Role.ne(Role::System))
            .filter(Column::ChatId.in_subquery(chats))
            .all(self.reader())
            .await?
            .pop())
    }

    /// The message, whoever holds it, if neither it nor its chat is deleted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn watched_message(&self, id: MessageId) -> Result<Option<Watched>, StoreError> {
        let owner = Query::select()
            .column(chat::Column::OwnerId)
            .from(chat::Entity)
            .and_where(Expr::col((chat::Entity, chat::Column::Id)).equals((Entity, Column::ChatId)))
            .to_owned();
        let is_in_chat = owner
            .clone()
            .and_where(chat::Column::DeletedAt.is_null())
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
            .filter(Column::Role.ne(Role::System))
            .filter(Expr::exists(is_in_chat))
            .expr_as(owner, "owner_id")
            .expr_as(attempt, "attempt")
            .into_model()
            .all(self.reader())
            .await?
            .pop())
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
            .all(self.reader())
            .await?
            .pop())
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
}

/// The ids of what is asked in a chat, where it is there to be seen. A command asks nothing.
fn questions(chat: ChatId) -> Select<Entity> {
    Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::ChatId.eq(chat))
        .filter(Column::Role.eq(Role::User))
        .filter(Column::RequestId.is_not_null())
        .filter(Column::DeletedAt.is_null())
        .filter(Column::SupersededAt.is_null())
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

    /// # Errors
    /// If the database fails.
    pub async fn insert_messages(&self, messages: &[Model]) -> Result<(), StoreError> {
        for batch in batches(messages) {
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

    /// The message as this transaction sees it, deleted or not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn message(&self, id: MessageId) -> Result<Option<Model>, StoreError> {
        let message = Entity::find_by_id(id);
        Ok(message.all(self.connection()).await?.pop())
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

    /// Whether something has been asked in a chat that is there to be seen. A command asks nothing.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn has_question(&self, chat: ChatId) -> Result<bool, StoreError> {
        let question: Option<MessageId> =
            questions(chat).into_tuple().one(self.connection()).await?;
        Ok(question.is_some())
    }

    /// Whether something has been asked behind this place in a chat that is there to be seen.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn has_question_after(
        &self,
        chat: ChatId,
        sequence: i64,
    ) -> Result<bool, StoreError> {
        let question: Option<MessageId> = questions(chat)
            .filter(Column::Sequence.gt(sequence))
            .into_tuple()
            .one(self.connection())
            .await?;
        Ok(question.is_some())
    }

    /// The last thing that was said in a chat by its user or to them, and is there to be seen: no command, and nothing that
    /// was taken back.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn last_said(&self, chat: ChatId) -> Result<Option<Model>, StoreError> {
        let question = Column::Role
            .eq(Role::User)
            .and(Column::RequestId.is_not_null())
            .and(Column::Status.ne(Status::Cancelled));
        Ok(Entity::find()
            .filter(Column::ChatId.eq(chat))
            .filter(Column::Role.eq(Role::Assistant).or(question))
            .filter(Column::DeletedAt.is_null())
            .filter(Column::SupersededAt.is_null())
            .order_by_desc(Column::Sequence)
            .one(self.connection())
            .await?)
    }

    /// Says which request answers a message that has been said before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_request(
        &self,
        message: MessageId,
        request: RequestId,
        revision: i64,
    ) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::RequestId, Expr::value(Some(request)))
            .col_expr(Column::Revision, Expr::value(revision))
            .filter(Column::Id.eq(message))
            .exec(self.connection())
            .await?;
        Ok(())
    }

    /// The last answer of a model in a chat that is there to be seen.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn last_answer(&self, chat: ChatId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::ChatId.eq(chat))
            .filter(Column::Role.eq(Role::Assistant))
            .filter(Column::ReplyTo.is_not_null())
            .filter(Column::DeletedAt.is_null())
            .filter(Column::SupersededAt.is_null())
            .order_by_desc(Column::Sequence)
            .one(self.connection())
            .await?)
    }

    /// The messages of a chat that somebody says who is neither the user nor answering them: the
    /// system prompt and the greeting.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn prologue(&self, chat: ChatId) -> Result<Vec<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::ChatId.eq(chat))
            .filter(Column::Role.is_in([Role::System, Role::Assistant]))
            .filter(Column::ReplyTo.is_null())
            .filter(Column::DeletedAt.is_null())
            .filter(Column::SupersededAt.is_null())
            .order_by_asc(Column::Sequence)
            .all(self.connection())
            .await?)
    }

    /// Where all of a chat's messages stand, without their texts.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn message_places(&self, chat: ChatId) -> Result<Vec<MessagePlace>, StoreError> {
        type Row = (
            MessageId,
            i64,
            Option<MessageId>,
            Role,
            Option<i64>,
            Option<i64>,
        );
        let rows: Vec<Row> = Entity::find()
            .filter(Column::ChatId.eq(chat))
            .select_only()
            .columns([Column::Id, Column::Sequence, Column::ReplyTo, Column::Role])
            .columns([Column::DeletedAt, Column::SupersededAt])
            .order_by_asc(Column::Sequence)
            .into_tuple()
            .all(self.connection())
            .await?;
        let places = rows.into_iter().map(|row| {
            let (id, sequence, reply_to, role, deleted, superseded) = row;
            MessagePlace {
                id,
                sequence,
                reply_to,
                // What the system says holds whatever is said around it.
                is_gone: deleted.or(superseded).is_some() || role == Role::System,
            }
        });
        Ok(places.collect())
    }

    /// The first message of the user's in a chat, deleted or not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn first_message(&self, chat: ChatId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::ChatId.eq(chat))
            .filter(Column::Role.eq(Role::User))
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

    /// Marks pending user messages as taken up, at the revisions that their chats have. How many were still
    /// pending.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn take_up_messages(
        &self,
        ids: &[MessageId],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let revision = Query::select()
            .column(chat::Column::Revision)
            .from(chat::Entity)
            .and_where(Expr::col((chat::Entity, chat::Column::Id)).equals((Entity, Column::ChatId)))
            .to_owned();
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(Status::Completed))
            .col_expr(Column::CompletedAt, Expr::value(now))
            .col_expr(
                Column::Revision,
                Expr::SubQuery(None, Box::new(revision.into())),
            )
            .filter(Column::Id.is_in(padded(ids)))
            // Spelt out, as in `requests.rs`.
            .filter(Expr::cust("status = 'pending'"))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected)
    }

    /// Gives pending assistant messages their final texts. Those that were still pending.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn finish_messages(
        &self,
        finishes: &[(MessageId, Finish)],
    ) -> Result<Vec<MessageId>, StoreError> {
        let (known, unknown): (Vec<_>, Vec<_>) = finishes
            .iter()
            .partition(|(_, finish)| finish.origin.is_some());
        let mut written = Vec::with_capacity(finishes.len());
        for (finishes, origin) in [(known, ", origin = v.column10"), (unknown, "")] {
            // Texts may be long: none is bound twice.
            for batch in batches(&finishes) {
                written.extend(self.finish_batch(batch, origin).await?);
            }
        }
        Ok(written)
    }

    async fn finish_batch(
        &self,
        finishes: &[&(MessageId, Finish)],
        origin: &str,
    ) -> Result<Vec<MessageId>, StoreError> {
        let rows = Rows::of(finishes, |(id, finish)| {
            let (code, message) = finish.error.clone().unzip();
            [
                (*id).into(),
                finish.status.into(),
                finish.content.clone().into(),
                finish.reasoning.clone().into(),
                finish.edition.into(),
                code.into(),
                message.into(),
                finish.now.into(),
                finish.revision.into(),
                finish.origin.clone().into(),
            ]
        });
        let set = format!(
            "status = v.column2, content = v.column3, reasoning = v.column4, edition = v.column5, \
             error_code = v.column6, error_message = v.column7, completed_at = v.column8, \
             revision = v.column9{origin}"
        );
        let update = rows.update(
            self,
            "chat_message",
            &set,
            "chat_message.id = v.column1 AND chat_message.status = 'pending' RETURNING id",
        );
        let rows = self.connection().query_all_raw(update).await?;
        let ids = rows.iter().map(|row| row.try_get("", "id"));
        Ok(ids.collect::<Result<_, _>>()?)
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
        self.forget_summary(before).await?;
        let (code, message) = rewrite.error.unzip();
        let (reaction, comment) = rewrite.reaction.unzip();
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(rewrite.status))
            .col_expr(Column::Content, Expr::value(rewrite.content))
            .col_expr(Column::Reasoning, Expr::value(rewrite.reasoning))
            .col_expr(Column::Origin, Expr::value(rewrite.origin))
            .col_expr(Column::Edition, Expr::value(rewrite.edition))
            .col_expr(Column::Version, Expr::value(rewrite.version))
            .col_expr(Column::Versions, Expr::value(rewrite.versions))
            .col_expr(Column::RequestId, Expr::value(rewrite.request_id))
            .col_expr(Column::ErrorCode, Expr::value(code))
            .col_expr(Column::ErrorMessage, Expr::value(message))
            .col_expr(Column::Reaction, Expr::value(reaction))
            .col_expr(Column::ReactionComment, Expr::value(comment.flatten()))
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

    /// Notes what the user thinks of the message, and why; none takes it back.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_reaction(
        &self,
        id: MessageId,
        reaction: Option<(Reaction, Option<String>)>,
        revision: i64,
    ) -> Result<(), StoreError> {
        let (reaction, comment) = reaction.unzip();
        Entity::update_many()
            .col_expr(Column::Reaction, Expr::value(reaction))
            .col_expr(Column::ReactionComment, Expr::value(comment.flatten()))
            .col_expr(Column::Revision, Expr::value(revision))
            .filter(Column::Id.eq(id))
            .exec(self.connection())
            .await?;
        Ok(())
    }

    /// Whether one of these messages has changed since the chat had this revision.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn have_changed(
        &self,
        messages: &[MessageId],
        revision: i64,
    ) -> Result<bool, StoreError> {
        for ids in messages.chunks(MAX_IDS) {
            let changed = Entity::find()
                .filter(Column::Id.is_in(ids.iter().copied()))
                .filter(Column::Revision.gt(revision))
                .count(self.connection())
                .await?;
            if changed > 0 {
                return Ok(true);
            }
        }
        Ok(false)
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

    /// Takes away what a program said beside a question.
    async fn forget_said_beside(&self, question: &Model) -> Result<(), StoreError> {
        use llm_request::Column;
        llm_request::Entity::update_many()
            .col_expr(Column::Instructions, Expr::value(Option::<String>::None))
            .col_expr(Column::AskedAs, Expr::value(Option::<AskedAs>::None))
            .filter(Column::ChatId.eq(question.chat_id))
            .filter(Column::UserMessageId.eq(question.id))
            .exec(self.connection())
            .await?;
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
        self.forget_summary(message).await?;
        if message.role == Role::User {
            self.forget_said_beside(message).await?;
        }
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
            .col_expr(Column::Reasoning, Expr::value(""))
            .col_expr(Column::ErrorCode, Expr::value(Option::<String>::None))
            .col_expr(Column::ErrorMessage, Expr::value(Option::<String>::None))
            .col_expr(Column::Reaction, Expr::value(Option::<Reaction>::None))
            .col_expr(Column::ReactionComment, Expr::value(Option::<String>::None))
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
