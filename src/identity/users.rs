//! Users: found, made when they are first seen, and changed by admins.

use entity::user::{self, ANONYMOUS};
use entity::{OwnerId, Timestamp};

use super::{Identity, IdentityError};
use crate::store::{Actor, Sessions, Store, StoreError, UserChange};

/// Who vouches for users of the command line.
const ISSUER: &str = "pollen";
/// Longest name or subject, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// What an issuer says of somebody; what is none is left as it is.
pub(super) struct Known<'a> {
    pub issuer: &'a str,
    pub subject: &'a str,
    pub name: Option<&'a str>,
    pub tier: Option<&'a str>,
    pub is_admin: Option<bool>,
}

impl Known<'_> {
    /// With nothing that cannot be stored.
    pub fn checked(self) -> Result<Self, IdentityError> {
        if !is_name(self.subject) || !is_name(self.issuer) {
            return Err(IdentityError::Refused(
                "the user's name is empty, too long or not one",
            ));
        }
        // An empty one is a tier like any other that is not there: the lowest.
        if self
            .tier
            .is_some_and(|tier| !tier.is_empty() && !is_name(tier))
        {
            return Err(IdentityError::Refused("the user's tier is not one"));
        }
        Ok(Self {
            // What nobody could read is as good as none.
            name: self.name.filter(|name| is_name(name)),
            ..self
        })
    }
}

/// Why a user cannot be found or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("there is no user {0:?}")]
    NotFound(String),
    #[error("several users are called {name:?}: name one by its id: {}", ids.join(", "))]
    Several { name: String, ids: Vec<String> },
    #[error("a user's name has 1 to {MAX_NAME_BYTES} bytes and no control characters")]
    Name,
    #[error("the local user is whoever reaches the server, and stays")]
    Local,
    #[error("the users could not be read or written")]
    Store(#[from] StoreError),
}

impl Identity {
    /// The user whom an issuer knows, as the issuer now says that they are: made when they are first seen.
    pub(super) async fn known_user(&self, known: Known<'_>) -> Result<user::Model, IdentityError> {
        let known = known.checked()?;
        let found = self.store.user_of(known.issuer, known.subject).await?;
        let user = match found {
            Some(user) => user,
            None => self.new_user(&known).await?,
        };
        let user = self.follow(user, &known).await?;
        if user.disabled_at.is_some() {
            return Err(IdentityError::Disabled);
        }
        Ok(user)
    }

    async fn new_user(&self, known: &Known<'_>) -> Result<user::Model, IdentityError> {
        let now = self.clock.now();
        let user = fresh(known, now);
        let (fresh, id) = (&user, user.id);
        self.store
            .tx(|tx| async move { tx.insert_user(fresh.clone()).await })
            .await?;
        // Somebody else may have made them in the same moment.
        let found = self.store.user_of(known.issuer, known.subject).await?;
        found.ok_or_else(|| {
            tracing::warn!(user = %id, "a user was erased in the moment of being made");
            IdentityError::Refused("this user has just been erased")
        })
    }

    /// Notes what the issuer says otherwise than before, and that the user was seen.
    async fn follow(
        &self,
        mut user: user::Model,
        known: &Known<'_>,
    ) -> Result<user::Model, IdentityError> {
        let name = known.name.filter(|name| *name != user.name);
        let tier = known
            .tier
            .filter(|tier| is_name(tier) && user.tier.as_deref() != Some(*tier));
        let is_admin = known.is_admin.filter(|is_admin| *is_admin != user.is_admin);
        let change = UserChange {
            name: name.map(str::to_owned),
            tier: tier.map(|tier| Some(tier.to_owned())),
            is_admin,
            disabled_at: None,
            seen_at: self
                .is_long_ago(Some(user.seen_at))
                .then(|| self.clock.now()),
        };
        if change == UserChange::default() {
            return Ok(user);
        }
        let (id, wanted) = (user.id, &change);
        self.store
            .tx(|tx| async move { tx.change_user(id, wanted.clone()).await })
            .await?;
        if let Some(name) = change.name {
            user.name = name;
        }
        if let Some(tier) = change.tier {
            user.tier = tier;
        }
        user.is_admin = change.is_admin.unwrap_or(user.is_admin);
        Ok(user)
    }

    /// Marks a user as to be erased, who is let in no more; a server erases them with all that is theirs.
    ///
    /// # Errors
    /// If there is no such user, or it is the local one, who is erased by whoever they are.
    pub async fn condemn_user(&self, user: &user::Model, actor: &Actor) -> Result<(), UserError> {
        if user.id == OwnerId::LOCAL {
            return Err(UserError::Local);
        }
        let is_new = self.store.condemn(user.id, actor, self.clock.now()).await?;
        self.forget();
        if is_new.is_some() {
            Ok(())
        } else {
            Err(UserError::NotFound(user.id.to_string()))
        }
    }

    /// A user by their id, or by the one name that some issuer calls them.
    ///
    /// # Errors
    /// If there is none, or several.
    pub async fn find_user(&self, name: &str) -> Result<user::Model, UserError> {
        find_user(&self.store, name).await
    }

    /// Up to `limit` users after this one, by their ids.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn users(
        &self,
        after: Option<OwnerId>,
        limit: u64,
    ) -> Result<Vec<user::Model>, StoreError> {
        self.store.user_page(after, limit).await
    }

    /// Up to `limit` entries of the audit log, the newest first, before this one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit(
        &self,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<entity::audit_log::Model>, StoreError> {
        self.store.audit_page(before, limit).await
    }

    /// A user of the command line's own by their name, made if there is none; or anybody by their id. Whom somebody
    /// else calls by this name is another one.
    ///
    /// # Errors
    /// If the name is none, or they are being erased.
    pub async fn find_or_make_user(&self, name: &str) -> Result<user::Model, UserError> {
        if name.parse::<OwnerId>().is_ok() {
            return self.find_user(name).await;
        }
        let own = self.store.user_of(ISSUER, name).await?;
        if let Some(own) = own.filter(|user| user.deleted_at.is_none()) {
            return Ok(own);
        }
        if !is_name(name) {
            return Err(UserError::Name);
        }
        let known = Known {
            issuer: ISSUER,
            subject: name,
            name: Some(name),
            tier: None,
            is_admin: None,
        };
        let user = &fresh(&known, self.clock.now());
        self.store
            .tx(|tx| async move { tx.insert_user(user.clone()).await })
            .await?;
        let own = self.store.user_of(ISSUER, name).await?;
        own.filter(|user| user.deleted_at.is_none())
            .ok_or_else(|| UserError::NotFound(name.to_owned()))
    }

    /// Changes a user. Disabling one ends their sessions too.
    ///
    /// # Errors
    /// If there is no such user.
    pub async fn change_user(
        &self,
        user: &user::Model,
        change: UserChange,
        actor: &Actor,
    ) -> Result<(), UserError> {
        let (id, now) = (user.id, self.clock.now());
        let disables = matches!(change.disabled_at, Some(Some(_)));
        if id == OwnerId::LOCAL && (disables || change.is_admin == Some(false)) {
            return Err(UserError::Local);
        }
        let change = &change;
        let is_there = self
            .store
            .tx(|tx| async move {
                for action in actions(change) {
                    tx.audit(actor, action, id, now).await?;
                }
                if disables {
                    tx.end_sessions(id, Sessions::All, now).await?;
                }
                tx.change_user(id, change.clone()).await
            })
            .await?;
        self.forget();
        if is_there {
            Ok(())
        } else {
            Err(UserError::NotFound(id.to_string()))
        }
    }
}

/// As the audit log has them.
fn actions(change: &UserChange) -> Vec<&'static str> {
    let mut actions = Vec::new();
    match change.disabled_at {
        Some(Some(_)) => actions.push("user.disable"),
        Some(None) => actions.push("user.enable"),
        None => {}
    }
    if change.tier.is_some() {
        actions.push("user.tier");
    }
    match change.is_admin {
        Some(true) => actions.push("user.make_admin"),
        Some(false) => actions.push("user.unmake_admin"),
        None => {}
    }
    actions
}

/// A user by their id, or by the one name that some issuer calls them.
///
/// # Errors
/// If there is none, or several.
pub async fn find_user(store: &Store, name: &str) -> Result<user::Model, UserError> {
    if let Ok(id) = name.parse::<OwnerId>() {
        let found = store.user(id).await?;
        let found = found.filter(|user| user.deleted_at.is_none());
        return found.ok_or_else(|| UserError::NotFound(name.to_owned()));
    }
    let mut found = store.users_called(name, ANONYMOUS).await?;
    match (found.pop(), found.len()) {
        (None, _) => Err(UserError::NotFound(name.to_owned())),
        (Some(user), 0) => Ok(user),
        (Some(user), _) => {
            found.push(user);
            Err(UserError::Several {
                name: name.to_owned(),
                ids: found
                    .iter()
                    .map(|user| format!("{} ({})", user.id, user.issuer))
                    .collect(),
            })
        }
    }
}

pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn fresh(known: &Known<'_>, now: Timestamp) -> user::Model {
    user::Model {
        id: OwnerId::generate(),
        issuer: known.issuer.to_owned(),
        subject: known.subject.to_owned(),
        name: known
            .name
            .filter(|name| is_name(name))
            .unwrap_or_default()
            .to_owned(),
        tier: known.tier.filter(|tier| is_name(tier)).map(str::to_owned),
        is_admin: known.is_admin.unwrap_or(false),
        disabled_at: None,
        deleted_at: None,
        created_at: now,
        seen_at: now,
    }
}
