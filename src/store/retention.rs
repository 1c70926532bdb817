//! What has had its time: chats that end by themselves, users that nobody is any more, and keys that
//! open nothing.

use entity::{ChatId, OwnerId, Timestamp, api_token, chat, llm_request, session, share, user};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Store, StoreError, Tx};

/// Rows of one kind that go in one transaction.
const BATCH: u64 = 500;

/// The chats of the users of one tier.
#[derive(Clone, Debug)]
pub struct TierChats {
    pub tier: String,
    /// Whether users without a tier of their own are of this one, as far as this issuer vouches for them.
    pub usual_of_issuer: bool,
    /// The same, as far as another one does.
    pub usual_of_others: bool,
    pub issuer: &'static str,
    /// The names of all tiers, if users of none of them are of this one.
    pub unknown_among: Option<Vec<String>>,
    /// When they last changed, at the latest.
    pub before: Timestamp,
}

/// Until when something must have ended to be cleared away.
#[derive(Clone, Copy, Debug)]
pub struct Clearance {
    /// Tokens and links: they were revoked, or ran out, at this time or earlier.
    pub keys_before: Timestamp,
    /// Sessions: they began at this time or earlier.
    pub sessions_before: Timestamp,
}

impl Store {
    /// Up to `limit` chats whose time is up and in which nothing runs or waits.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chats_expired(
        &self,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<ChatId>, StoreError> {
        Ok(chat::Entity::find()
            .select_only()
            .column(chat::Column::Id)
            .filter(chat::Column::ExpiresAt.lte(now))
            .filter(chat::Column::DeletedAt.is_null())
            .filter(Expr::exists(active_requests()).not())
            .order_by_asc(chat::Column::ExpiresAt)
            .limit(limit)
            .into_tuple()
            .all(self.reader())
            .await?)
    }

    /// Up to `limit` chats of a tier that have not changed for too long and in which nothing runs or
    /// waits.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn chats_unchanged(
        &self,
        of: &TierChats,
        limit: u64,
    ) -> Result<Vec<ChatId>, StoreError> {
        let mut is_of_tier = Condition::any().add(user::Column::Tier.eq(&of.tier));
        if of.usual_of_issuer {
            let is_theirs = user::Column::Issuer.eq(of.issuer);
            is_of_tier = is_of_tier.add(user::Column::Tier.is_null().and(is_theirs));
        }
        if of.usual_of_others {
            let is_others = user::Column::Issuer.ne(of.issuer);
            is_of_tier = is_of_tier.add(user::Column::Tier.is_null().and(is_others));
        }
        if let Some(tiers) = &of.unknown_among {
            is_of_tier = is_of_tier.add(user::Column::Tier.is_not_in(tiers));
        }
        let users = Query::select()
            .column(user::Column::Id)
            .from(user::Entity)
            .cond_where(is_of_tier)
            .to_owned();
        Ok(chat::Entity::find()
            .select_only()
            .column(chat::Column::Id)
            .filter(chat::Column::OwnerId.in_subquery(users))
            .filter(chat::Column::UpdatedAt.lt(of.before))
            .filter(chat::Column::DeletedAt.is_null())
            .filter(Expr::exists(active_requests()).not())
            .limit(limit)
            .into_tuple()
            .all(self.reader())
            .await?)
    }

    /// Up to `limit` users of this issuer that have no chats and were last seen at `before` or earlier.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn users_gone(
        &self,
        issuer: &str,
        before: Timestamp,
        limit: u64,
    ) -> Result<Vec<OwnerId>, StoreError> {
        Ok(user::Entity::find()
            .select_only()
            .column(user::Column::Id)
            .filter(is_gone(issuer, before))
            .limit(limit)
            .into_tuple()
            .all(self.reader())
            .await?)
    }
}

impl Tx {
    /// Marks the user as to be erased if [`Store::users_gone`] would still find them. Whether it did.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn condemn_gone_user(
        &self,
        owner: OwnerId,
        issuer: &str,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let updated = user::Entity::update_many()
            .col_expr(user::Column::DeletedAt, Expr::value(now))
            .col_expr(user::Column::DisabledAt, Expr::value(now))
            .filter(user::Column::Id.eq(owner))
            .filter(is_gone(issuer, before))
            .exec(self.connection())
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Clears away some of the tokens, links and sessions that have had their time. How many rows.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn clear_keys(&self, clearance: Clearance) -> Result<u64, StoreError> {
        let before = clearance.keys_before;
        let tokens = Query::select()
            .column(api_token::Column::Id)
            .from(api_token::Entity)
            .cond_where(
                Condition::any()
                    .add(api_token::Column::RevokedAt.lte(before))
                    .add(api_token::Column::ExpiresAt.lte(before)),
            )
            .limit(BATCH)
            .to_owned();
        let tokens = api_token::Entity::delete_many()
            .filter(api_token::Column::Id.in_subquery(tokens))
            .exec(self.connection())
            .await?;
        let shares = Query::select()
            .column(share::Column::Id)
            .from(share::Entity)
            .cond_where(
                Condition::any()
                    .add(share::Column::RevokedAt.lte(before))
                    .add(share::Column::ExpiresAt.lte(before)),
            )
            .limit(BATCH)
            .to_owned();
        let shares = share::Entity::delete_many()
            .filter(share::Column::Id.in_subquery(shares))
            .exec(self.connection())
            .await?;
        let sessions = Query::select()
            .column(session::Column::Id)
            .from(session::Entity)
            .and_where(session::Column::CreatedAt.lte(clearance.sessions_before))
            .limit(BATCH)
            .to_owned();
        let sessions = session::Entity::delete_many()
            .filter(session::Column::Id.in_subquery(sessions))
            .exec(self.connection())
            .await?;
        Ok(tokens.rows_affected + shares.rows_affected + sessions.rows_affected)
    }
}

/// The chat's requests that run or wait.
fn active_requests() -> SelectStatement {
    Query::select()
        .column(llm_request::Column::Id)
        .from(llm_request::Entity)
        .and_where(
            Expr::col((llm_request::Entity, llm_request::Column::ChatId))
                .equals((chat::Entity, chat::Column::Id)),
        )
        .and_where(
            llm_request::Column::Status
                .is_in([llm_request::Status::Queued, llm_request::Status::Running]),
        )
        .to_owned()
}

fn is_gone(issuer: &str, before: Timestamp) -> Condition {
    let chats = Query::select()
        .column(chat::Column::Id)
        .from(chat::Entity)
        .and_where(
            Expr::col((chat::Entity, chat::Column::OwnerId))
                .equals((user::Entity, user::Column::Id)),
        )
        .to_owned();
    Condition::all()
        .add(user::Column::Issuer.eq(issuer))
        .add(user::Column::SeenAt.lte(before))
        .add(user::Column::DeletedAt.is_null())
        .add(Expr::exists(chats).not())
}
