//! Rows of `archive` and `archive_piece`. Whatever a run writes is fenced by its attempt.

use entity::archive::{Column, Entity, Model, Status};
use entity::{ArchiveId, OwnerId, Timestamp, archive_piece};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};

use super::{Store, StoreError, Tx};

/// Pieces that are erased in one transaction.
const PIECES: u64 = 32;

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveProgress {
    pub chats_done: i64,
    pub chats_total: i64,
    /// Until when the run holds.
    pub lease_expires_at: Timestamp,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct ArchiveEnd {
    pub status: Status,
    pub bytes: i64,
    pub pieces: i64,
    pub error: Option<String>,
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

impl Store {
    /// The owner's archive, if they have one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn archive_of(&self, owner: OwnerId) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find()
            .filter(Column::OwnerId.eq(owner))
            .filter(Column::Status.ne(Status::Discarded))
            .all(self.reader())
            .await?
            .pop())
    }

    /// An archive that nobody is at: one that waits, or whose run was abandoned; the oldest of them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn archive_to_make(&self, now: Timestamp) -> Result<Option<Model>, StoreError> {
        let is_abandoned = Column::Status
            .eq(Status::Running)
            .and(Column::LeaseExpiresAt.lt(now));
        Ok(Entity::find()
            .filter(
                Condition::any()
                    .add(Column::Status.eq(Status::Queued))
                    .add(is_abandoned),
            )
            .order_by_asc(Column::CreatedAt)
            .limit(1)
            .all(self.reader())
            .await?
            .pop())
    }

    /// Archives that have had their time, or were discarded.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn archives_to_erase(
        &self,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<ArchiveId>, StoreError> {
        Ok(Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(
                Condition::any()
                    .add(Column::Status.eq(Status::Discarded))
                    .add(Column::ExpiresAt.lte(now)),
            )
            .limit(limit)
            .into_tuple()
            .all(self.reader())
            .await?)
    }

    /// A stretch of an archive's file. None: it is gone.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn archive_piece(
        &self,
        id: ArchiveId,
        number: i64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let piece = archive_piece::Entity::find_by_id((id, number));
        let piece = piece.all(self.reader()).await?.pop();
        Ok(piece.map(|piece| piece.data))
    }
}

impl Tx {
    /// Queues an archive, unless its owner has one. Whether it was queued.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_archive(&self, archive: Model) -> Result<bool, StoreError> {
        let inserted = Entity::insert(archive.into_active_model())
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .exec_without_returning(self.connection())
            .await?;
        Ok(inserted == 1)
    }

    /// Takes the owner's archive out of sight, whatever it is at. Whether there was one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn discard_archive(&self, id: ArchiveId) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(Status::Discarded))
            .filter(Column::Id.eq(id))
            .filter(Column::Status.ne(Status::Discarded))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Begins a run of an archive that is as it was `before`. None: another node was faster.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn claim_archive(
        &self,
        before: &Model,
        lease_expires_at: Timestamp,
    ) -> Result<Option<Model>, StoreError> {
        let rows = Entity::update_many()
            .col_expr(Column::Status, Expr::value(Status::Running))
            .col_expr(Column::Attempt, Expr::value(before.attempt + 1))
            .col_expr(Column::LeaseExpiresAt, Expr::value(lease_expires_at))
            .col_expr(Column::ChatsDone, Expr::value(0_i64))
            .filter(Column::Id.eq(before.id))
            .filter(Column::Status.eq(before.status))
            .filter(Column::Attempt.eq(before.attempt))
            .exec_with_returning(self.connection())
            .await?;
        Ok(rows.into_iter().next())
    }

    /// Says how far a run is, and that it goes on. False: it is not this run's any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn renew_archive(
        &self,
        run: &Model,
        progress: ArchiveProgress,
    ) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::ChatsDone, Expr::value(progress.chats_done))
            .col_expr(Column::ChatsTotal, Expr::value(progress.chats_total))
            .col_expr(
                Column::LeaseExpiresAt,
                Expr::value(progress.lease_expires_at),
            )
            .filter(is_run(run))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Adds a stretch of the file. The run must have been renewed in this transaction.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_archive_piece(
        &self,
        run: &Model,
        number: i64,
        data: Vec<u8>,
    ) -> Result<(), StoreError> {
        let piece = archive_piece::Model {
            archive_id: run.id,
            number,
            data,
        };
        archive_piece::Entity::insert(piece.into_active_model())
            .exec_without_returning(self.connection())
            .await?;
        Ok(())
    }

    /// Ends a run. False: it is not this run's any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_archive(&self, run: &Model, end: ArchiveEnd) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::Status, Expr::value(end.status))
            .col_expr(Column::Bytes, Expr::value(end.bytes))
            .col_expr(Column::Pieces, Expr::value(end.pieces))
            .col_expr(Column::ErrorCode, Expr::value(end.error))
            .col_expr(Column::FinishedAt, Expr::value(end.now))
            .col_expr(Column::ExpiresAt, Expr::value(end.expires_at))
            .col_expr(
                Column::LeaseExpiresAt,
                Expr::value(Option::<Timestamp>::None),
            )
            .filter(is_run(run))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Lets go of a run, which another one may begin anew.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn release_archive(&self, run: &Model) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::Status, Expr::value(Status::Queued))
            .filter(is_run(run))
            .exec(self.connection())
            .await?;
        Ok(())
    }

    /// Erases some pieces of an archive. Whether there may be more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn erase_archive_pieces(&self, id: ArchiveId) -> Result<bool, StoreError> {
        let numbers = Query::select()
            .column(archive_piece::Column::Number)
            .from(archive_piece::Entity)
            .and_where(archive_piece::Column::ArchiveId.eq(id))
            .limit(PIECES)
            .to_owned();
        let erased = archive_piece::Entity::delete_many()
            .filter(archive_piece::Column::ArchiveId.eq(id))
            .filter(archive_piece::Column::Number.in_subquery(numbers))
            .exec(self.connection())
            .await?;
        Ok(erased.rows_affected == PIECES)
    }

    /// Erases an archive, whose pieces have gone.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn erase_archive(&self, id: ArchiveId) -> Result<(), StoreError> {
        Entity::delete_by_id(id).exec(self.connection()).await?;
        Ok(())
    }

    /// Takes all of the owner's archives out of sight; the repair erases them.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn discard_archives_of(&self, owner: OwnerId) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::Status, Expr::value(Status::Discarded))
            .filter(Column::OwnerId.eq(owner))
            .exec(self.connection())
            .await?;
        Ok(())
    }
}

fn is_run(run: &Model) -> Condition {
    Condition::all()
        .add(Column::Id.eq(run.id))
        .add(Column::Attempt.eq(run.attempt))
        .add(Column::Status.eq(Status::Running))
}
