//! The routes, one file per thing; each file owns its router.

mod about;
mod account;
mod admin;
mod assets;
mod chat;
#[cfg(debug_assertions)]
mod components;
mod health;
mod home;
mod list;
mod message;
mod messages;
mod metrics;
mod models;
mod problems;
mod reaction;
mod restore;
mod search;
mod sign_in;
mod theme;
mod usage;

use axum::Router;

use super::AppState;

pub(super) fn router() -> Router<AppState> {
    let router = Router::new();
    #[cfg(debug_assertions)]
    let router = router.merge(components::router());
    router
        .merge(home::router())
        .merge(list::router())
        .merge(chat::router())
        .merge(restore::router())
        .merge(search::router())
        .merge(messages::router())
        .merge(message::router())
        .merge(reaction::router())
        .merge(about::router())
        .merge(models::router())
        .merge(assets::router())
        .merge(health::router())
        .merge(metrics::router())
        .merge(problems::router())
        .merge(theme::router())
        .merge(usage::router())
        .merge(sign_in::router())
        .merge(account::router())
        .merge(admin::router())
}
