//! The routes, one file per thing; each file owns its router.

mod about;
mod account;
mod admin;
mod archive;
mod assets;
mod chat;
#[cfg(debug_assertions)]
mod components;
#[cfg(feature = "fuzz")]
pub(super) mod fuzz;
mod health;
mod history;
mod home;
mod import;
mod list;
mod me;
pub(super) mod message;
pub(super) mod messages;
mod metrics;
mod models;
mod openapi;
mod poll;
mod problems;
mod reaction;
mod reference;
mod restore;
mod search;
mod share;
mod shared;
mod sign_in;
mod theme;
mod usage;

use axum::Router;
use utoipa_axum::router::OpenApiRouter;

use super::AppState;

/// What whoever watches the server is told at an address of its own, without being asked who they are.
pub(super) fn watched() -> Router<AppState> {
    Router::from(health::router()).merge(metrics::open_router())
}

/// The routes, and what the document says of them.
pub(super) fn router() -> OpenApiRouter<AppState> {
    let router = OpenApiRouter::new();
    #[cfg(debug_assertions)]
    let router = router.merge(components::router().into());
    router
        .merge(home::router())
        .merge(list::router())
        .merge(chat::router())
        .merge(restore::router())
        .merge(import::router())
        .merge(archive::router())
        .merge(search::router())
        .merge(messages::router())
        .merge(poll::router())
        .merge(history::router())
        .merge(message::router())
        .merge(reaction::router())
        .merge(share::router())
        .merge(shared::router())
        .merge(about::router())
        .merge(me::router())
        .merge(models::router())
        .merge(assets::router().into())
        .merge(health::router())
        .merge(metrics::router())
        .merge(openapi::router())
        .merge(reference::router())
        .merge(problems::router())
        .merge(theme::router().into())
        .merge(usage::router())
        .merge(sign_in::router())
        .merge(account::router())
        .merge(admin::router())
        .merge(super::v1::router())
}
