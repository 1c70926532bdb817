//! `/chats/export`: all of the caller's chats as one archive, made in the background, polled, and fetched.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use entity::ArchiveId;
use entity::archive::{Model as Archive, Status};
use futures::stream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::{ArchiveError, Chats};
use crate::http::AppState;
use crate::http::extract::{Acting, Caller, Form, UuidPath};
use crate::http::openapi::{self, Conflict};
use crate::http::problem::Problem;
use crate::http::reply;
use crate::http::view::archive::{ArchiveFragment, ArchiveView};
use crate::model::hint::Activity;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(show, begin))
        .routes(routes!(poll, discard))
        .routes(openapi::by_post(
            "/chats/export/{uuid}/delete",
            discard,
            routes!(discard),
        ))
        .routes(routes!(fetch))
}

/// The caller's archive, which is begun if they have none.
#[utoipa::path(
    get, path = "/chats/export",
    responses((status = OK, body = ArchiveView), (status = ACCEPTED, body = ArchiveView))
)]
async fn show(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    Acting(actor): Acting,
) -> Result<Response, Problem> {
    let archive = app.chats.begin_archive(owner, false, &actor).await?;
    told(&app, form, archive)
}

/// Begins an archive anew; one that is being made goes on.
#[utoipa::path(
    post, path = "/chats/export",
    responses((status = OK, body = ArchiveView), (status = ACCEPTED, body = ArchiveView))
)]
async fn begin(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    Acting(actor): Acting,
) -> Result<Response, Problem> {
    let archive = app.chats.begin_archive(owner, true, &actor).await?;
    told(&app, form, archive)
}

/// How far an archive is.
#[utoipa::path(
    get, path = "/chats/export/{uuid}",
    responses((status = OK, body = ArchiveView))
)]
async fn poll(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    UuidPath(uuid): UuidPath,
) -> Result<Response, Problem> {
    let archive = app.chats.archive(owner, ArchiveId(uuid)).await?;
    if form == Form::Json {
        return reply::json(StatusCode::OK, &view(&app, archive));
    }
    told(&app, form, archive)
}

/// Erases an archive, or ends the work on it.
#[utoipa::path(delete, path = "/chats/export/{uuid}", responses((status = NO_CONTENT)))]
async fn discard(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    UuidPath(uuid): UuidPath,
) -> Result<Response, Problem> {
    app.chats.discard_archive(owner, ArchiveId(uuid)).await?;
    match form {
        Form::Json => Ok(reply::no_content()),
        Form::Page => reply::see_other("/account#data"),
        Form::Fragment => reply::html_now(StatusCode::OK, &ArchiveFragment { archive: None }),
    }
}

/// The archive itself: a folder for each chat, with `chat.json` and `chat.md`.
#[utoipa::path(
    get, path = "/chats/export/{uuid}/file",
    responses((status = OK, body = Vec<u8>, content_type = "application/zip"), Conflict)
)]
async fn fetch(
    State(chats): State<Arc<Chats>>,
    Caller(owner): Caller,
    UuidPath(uuid): UuidPath,
) -> Result<Response, Problem> {
    let archive = chats.finished_archive(owner, ArchiveId(uuid)).await?;
    let day = archive.created_at.to_datetime().date_naive();
    let bytes = u64::try_from(archive.bytes).unwrap_or_default();
    let (id, pieces) = (archive.id, archive.pieces);
    let body = stream::unfold(0, move |number| {
        let chats = Arc::clone(&chats);
        async move {
            if number >= pieces {
                return None;
            }
            let piece = chats.archive_piece(id, number).await;
            if let Err(error) = &piece
                && !matches!(error, ArchiveError::NotFound)
            {
                tracing::error!(%error, archive = %id, "an archive could not be read to its end");
            }
            Some((piece, number + 1))
        }
    });
    reply::streamed_file(
        &format!("pollen-chats-{day}.zip"),
        "application/zip",
        body,
        bytes,
    )
}

fn view(app: &AppState, archive: Archive) -> ArchiveView {
    ArchiveView::new(archive, app.load.poll_after_ms(Activity::Flowing))
}

/// An archive as it is: a page that began one goes back to where it is shown.
fn told(app: &AppState, form: Form, archive: Archive) -> Result<Response, Problem> {
    let status = match archive.status {
        Status::Queued | Status::Running => StatusCode::ACCEPTED,
        Status::Completed | Status::Failed | Status::Discarded => StatusCode::OK,
    };
    match form {
        Form::Json => reply::json(status, &view(app, archive)),
        Form::Page => reply::see_other("/account#data"),
        Form::Fragment => {
            let archive = Some(view(app, archive));
            reply::html_now(StatusCode::OK, &ArchiveFragment { archive })
        }
    }
}
