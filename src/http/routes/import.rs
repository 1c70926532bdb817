//! `POST /chats/import`: documents that become chats; and the schema that they follow.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::Import;
use crate::http::AppState;
use crate::http::body::{Uploaded, at_path};
use crate::http::extract::{Caller, Form, Params};
use crate::http::openapi::{Conflict, OnceKey};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::http::view::import::ImportedView;
use crate::http::view::schema;
use crate::model::exchange::ChatDocument;

/// Where HTMX takes the browser.
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(import))
        .routes(routes!(chat_schema))
}

/// A document, or several of them. A form (`multipart/form-data`) has it as the file `document`.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "it is described; what comes is read by its own way"
)]
pub(super) enum ImportBody {
    One(Box<ChatDocument>),
    Several(Vec<ChatDocument>),
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportParams {
    /// Chats and messages keep the UUIDs that they have in the document: what is there already is not made twice.
    #[serde(default)]
    #[param(required = false)]
    keep_uuids: bool,
}

/// Makes chats of documents, all of them or none.
#[utoipa::path(
    post, path = "/chats/import", params(ImportParams, OnceKey), request_body = ImportBody,
    responses((status = CREATED, body = ImportedView), Conflict)
)]
async fn import(
    State(app): State<AppState>,
    Caller(owner): Caller,
    form: Form,
    Params(params): Params<ImportParams>,
    uploaded: Uploaded,
) -> Result<Response, Problem> {
    let import = read(&uploaded, params.keep_uuids).await?;
    let imported = app.chats.import(owner, &import, uploaded.once.as_ref());
    let view = ImportedView::new(imported.await?);
    let shown = match view.chats.as_slice() {
        [only] => format!("/chat/{}", only.uuid),
        _ => "/chats".to_owned(),
    };
    match form {
        Form::Json => reply::json(StatusCode::CREATED, &view),
        Form::Page => reply::see_other(&shown),
        Form::Fragment => {
            let mut response = reply::no_content();
            let shown = HeaderValue::from_str(&shown).map_err(|error| Problem::internal(&error))?;
            response.headers_mut().insert(HX_REDIRECT, shown);
            Ok(response)
        }
    }
}

async fn read(uploaded: &Uploaded, keep_uuids: bool) -> Result<Import, Problem> {
    let essence = uploaded
        .content_type
        .as_deref()
        .map(str::parse::<mime::Mime>);
    match essence {
        Some(Ok(kind)) if kind.essence_str() == "application/json" => {
            documents(&uploaded.body, keep_uuids)
        }
        Some(Ok(kind)) if kind.essence_str() == "multipart/form-data" => {
            let boundary = kind.get_param(mime::BOUNDARY);
            let boundary = boundary.ok_or_else(|| malformed(&"the form names no boundary"))?;
            let (document, keeps) = form_fields(uploaded.body.clone(), boundary.as_str()).await?;
            documents(&document, keep_uuids || keeps)
        }
        None | Some(_) => Err(Problem::bare(Kind::UnsupportedMediaType)),
    }
}

/// The file of a form, and whether the box beside it is ticked.
async fn form_fields(body: Bytes, boundary: &str) -> Result<(Bytes, bool), Problem> {
    let body = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    let mut form = multer::Multipart::new(body, boundary);
    let (mut document, mut keeps) = (None, false);
    while let Some(field) = form.next_field().await.map_err(|error| malformed(&error))? {
        match field.name() {
            Some("document") => {
                document = Some(field.bytes().await.map_err(|error| malformed(&error))?);
            }
            Some("keep_uuids") => keeps = true,
            other => {
                let detail = format!("the form has the field {other:?}, which is not known");
                return Err(Problem::new(Kind::InvalidField, detail));
            }
        }
    }
    let document = document.filter(|document| !document.is_empty());
    let document = document.ok_or_else(|| {
        let detail = "`document` is missing or empty";
        Problem::new(Kind::InvalidField, detail)
    })?;
    Ok((document, keeps))
}

fn malformed(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(Kind::MalformedRequest, error.to_string())
}

fn documents(body: &[u8], keep_uuids: bool) -> Result<Import, Problem> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_list = first == Some(&b'[');
    let documents = if is_list {
        at_path("chats", body)?
    } else {
        vec![at_path("", body)?]
    };
    Ok(Import {
        documents,
        is_list,
        keep_uuids,
    })
}

/// What a chat's document looks like (JSON Schema 2020-12).
#[utoipa::path(
    get, path = "/schemas/chat-export-1.json", responses((status = OK, body = Object, content_type = "application/schema+json"))
)]
async fn chat_schema() -> Result<Response, Problem> {
    reply::schema(schema::chat())
}
