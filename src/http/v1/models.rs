//! `GET /v1/models`: the models that the caller may use.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::chat::ModelOffer;
use crate::http::AppState;
use crate::http::extract::{Caller, NamePath};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
}

/// A model.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiModel)]
struct ModelObject {
    id: String,
    #[schema(pattern = "^model$")]
    object: &'static str,
    /// Nobody knows since when there is one: 0.
    created: i64,
    /// Who runs it.
    owned_by: String,
}

impl ModelObject {
    fn new(offer: &ModelOffer) -> Self {
        Self {
            id: offer.spec.id.clone(),
            object: "model",
            created: 0,
            owned_by: offer.spec.provider.clone(),
        }
    }
}

/// The models that the caller may use, the default one first.
#[utoipa::path(
    get, path = "/v1/models", responses((status = OK, body = Page<ModelObject>))
)]
async fn list(State(app): State<AppState>, Caller(owner): Caller) -> Result<Response, Problem> {
    let models = app.chats.models(owner).await?;
    let models = models.iter().map(ModelObject::new).collect();
    let page = Page::whole(models, |model: &ModelObject| model.id.clone());
    reply::json(StatusCode::OK, &page)
}

/// One of them.
#[utoipa::path(
    get, path = "/v1/models/{model}", responses((status = OK, body = ModelObject))
)]
async fn read(
    State(app): State<AppState>,
    Caller(owner): Caller,
    NamePath(name): NamePath,
) -> Result<Response, Problem> {
    let models = app.chats.models(owner).await?;
    let found = models.iter().find(|offer| offer.spec.id == name);
    let found = found.ok_or_else(|| {
        let detail = format!(
            "there is no model {:?} for you here",
            super::ids::quoted(&name)
        );
        Problem::new(Kind::NoSuchPage, detail).of_param("model", "model_not_found")
    })?;
    reply::json(StatusCode::OK, &ModelObject::new(found))
}
