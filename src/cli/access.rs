//! Users and their tokens on the command line: for the first token of a server that listens to nobody
//! without one, and for whoever looks after it. A server that runs on the same database goes on.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use entity::api_token::Scope;
use entity::{Timestamp, TokenId, user};

use super::print;
use crate::app::{Access, open_access};
use crate::config::Config;
use crate::identity::NewToken;
use crate::store::{Actor, UserChange};

/// Users that are read at once.
const PAGE: u64 = 500;
const DAY: Duration = Duration::from_hours(24);

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it; it is shown this once
    Create {
        /// Whose it is: a name, which makes the user if there is none, or a user's id
        #[arg(long)]
        user: String,
        /// Set the user's tier too
        #[arg(long)]
        tier: Option<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        name: String,
        /// What it may do; `admin` makes the user an administrator
        #[arg(long, value_enum, default_value_t = ScopeChoice::Write)]
        scope: ScopeChoice,
        /// Days until it expires [default: it does not]
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// List the tokens, of one user or of all
    List {
        #[arg(long)]
        user: Option<String>,
    },
    /// Revoke a token by its id or by its first characters, and what was made with it
    Revoke { token: String },
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// List the users
    List,
    /// Let a user in no more, and end their sessions
    Disable { user: String },
    /// Let a user in again
    Enable { user: String },
    /// Erase a user with all that is theirs, for good
    Delete {
        user: String,
        /// Do it; without this it is only said who would be erased
        #[arg(long)]
        yes: bool,
    },
    /// Set a user's tier; without one, the tier of everybody
    SetTier { user: String, tier: Option<String> },
    /// Make a user an administrator, or no more one
    SetAdmin {
        user: String,
        #[arg(action = clap::ArgAction::Set)]
        is_admin: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ScopeChoice {
    Read,
    Write,
    Admin,
}

impl From<ScopeChoice> for Scope {
    fn from(choice: ScopeChoice) -> Self {
        match choice {
            ScopeChoice::Read => Self::Read,
            ScopeChoice::Write => Self::Write,
            ScopeChoice::Admin => Self::Admin,
        }
    }
}

pub(super) async fn token(config: &Config, command: TokenCommand) -> anyhow::Result<()> {
    let access = open_access(config).await?;
    let done = token_on(config, &access, command).await;
    access.store.close().await?;
    done
}

async fn token_on(config: &Config, access: &Access, command: TokenCommand) -> anyhow::Result<()> {
    let identity = &access.identity;
    let actor = &Actor::default();
    match command {
        TokenCommand::Create {
            user,
            tier,
            name,
            scope,
            expires_in_days,
        } => {
            let change = UserChange {
                tier: tier
                    .map(|tier| known_tier(config, tier))
                    .transpose()?
                    .map(Some),
                is_admin: matches!(scope, ScopeChoice::Admin).then_some(true),
                ..UserChange::default()
            };
            let user = identity.find_or_make_user(&user).await?;
            if change != UserChange::default() {
                identity.change_user(&user, change, actor).await?;
            }
            let new = NewToken {
                name,
                scope: scope.into(),
                lifetime: expires_in_days.map(|days| DAY * days),
            };
            let made = identity.make_token(user.id, new, None, actor).await?;
            print(&format!("{}\n", made.secret));
        }
        TokenCommand::List { user } => print(&list_tokens(access, user).await?),
        TokenCommand::Revoke { token } => {
            let id = find_token(access, &token).await?;
            identity.revoke_token(None, id, actor).await?;
        }
    }
    Ok(())
}

async fn list_tokens(access: &Access, user: Option<String>) -> anyhow::Result<String> {
    let tokens = match user {
        Some(name) => {
            let user = access.identity.find_user(&name).await?;
            access.store.tokens_of(user.id).await?
        }
        None => access.store.all_tokens().await?,
    };
    let mut out = String::new();
    for token in tokens {
        let user = access.store.user(token.user_id).await?;
        let user = user.map_or_else(|| token.user_id.to_string(), |user| called(&user));
        let state = match (token.revoked_at, token.expires_at) {
            (Some(at), _) => format!("revoked {}", day(at)),
            (None, Some(at)) => format!("expires {}", day(at)),
            (None, None) => "does not expire".to_owned(),
        };
        let last_use = token.used_at.map_or_else(
            || "never used".to_owned(),
            |at| format!("last used {}", day(at)),
        );
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{}  {}…  {user}  {:?}  {}  {state}, {last_use}",
            token.id, token.head, token.scope, token.name
        );
    }
    Ok(out)
}

async fn find_token(access: &Access, text: &str) -> anyhow::Result<TokenId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let head = text.trim_end_matches('…');
    let tokens = access.store.all_tokens().await?;
    let mut found = tokens
        .iter()
        .filter(|token| !head.is_empty() && (token.head == head || head.starts_with(&token.head)));
    match (found.next(), found.next()) {
        (Some(token), None) => Ok(token.id),
        (None, _) => anyhow::bail!("there is no such token; `pollen token list` lists them"),
        (Some(_), Some(_)) => anyhow::bail!("several tokens begin like that: name one by its id"),
    }
}

pub(super) async fn user(config: &Config, command: UserCommand) -> anyhow::Result<()> {
    let access = open_access(config).await?;
    let done = user_on(config, &access, command).await;
    access.store.close().await?;
    done
}

async fn user_on(config: &Config, access: &Access, command: UserCommand) -> anyhow::Result<()> {
    let (name, change) = match command {
        UserCommand::List => {
            print(&list_users(access).await?);
            return Ok(());
        }
        UserCommand::Disable { user } => {
            let disabled_at = Some(Some(access.now()));
            let change = UserChange {
                disabled_at,
                ..UserChange::default()
            };
            (user, change)
        }
        UserCommand::Enable { user } => {
            let change = UserChange {
                disabled_at: Some(None),
                ..UserChange::default()
            };
            (user, change)
        }
        UserCommand::Delete { user, yes } => return delete_user(config, access, &user, yes).await,
        UserCommand::SetTier { user, tier } => {
            let tier = tier.map(|tier| known_tier(config, tier)).transpose()?;
            let change = UserChange {
                tier: Some(tier),
                ..UserChange::default()
            };
            (user, change)
        }
        UserCommand::SetAdmin { user, is_admin } => {
            let change = UserChange {
                is_admin: Some(is_admin),
                ..UserChange::default()
            };
            (user, change)
        }
    };
    let user = access.identity.find_user(&name).await?;
    let actor = Actor::default();
    access.identity.change_user(&user, change, &actor).await?;
    Ok(())
}

/// The server that runs on the database erases them, or the next one that does.
async fn delete_user(
    config: &Config,
    access: &Access,
    name: &str,
    yes: bool,
) -> anyhow::Result<()> {
    let user = access.identity.find_user(name).await?;
    let who = format!("{} ({}, {})", called(&user), user.id, user.issuer);
    anyhow::ensure!(
        yes,
        "this would erase {who} with all chats, for good: add --yes"
    );
    let actor = Actor::default();
    access.identity.condemn_user(&user, &actor).await?;
    print(&format!(
        "{who} is locked out. The server erases all that is theirs within {} s, or when it is next started.\n",
        Duration::from_millis(config.worker.repair_interval_ms)
            .as_secs()
            .max(1)
    ));
    Ok(())
}

async fn list_users(access: &Access) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut after = None;
    loop {
        let users = access.identity.users(after, PAGE).await?;
        let Some(last) = users.last() else {
            return Ok(out);
        };
        after = Some(last.id);
        for user in users {
            let tier = user.tier.as_deref().unwrap_or("-");
            let admin = if user.is_admin { "  admin" } else { "" };
            let disabled = if user.disabled_at.is_some() {
                "  disabled"
            } else {
                ""
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{}  {}  {}  {tier}  seen {}{admin}{disabled}",
                user.id,
                user.issuer,
                called(&user),
                day(user.seen_at)
            );
        }
    }
}

fn called(user: &user::Model) -> String {
    if user.name.is_empty() {
        user.subject.clone()
    } else {
        user.name.clone()
    }
}

fn day(at: Timestamp) -> String {
    at.to_datetime().format("%Y-%m-%d").to_string()
}

fn known_tier(config: &Config, tier: String) -> anyhow::Result<String> {
    let known: Vec<&str> = config.tier.iter().map(|tier| tier.name.as_str()).collect();
    anyhow::ensure!(
        known.contains(&tier.as_str()),
        "there is no tier {tier:?}; there are: {}",
        known.join(", ")
    );
    Ok(tier)
}
