//! The OpenAPI document, made of the routes themselves: a route is put into the router and into the document
//! by one call, so that neither has more than the other. What many routes have in common is put in here; the
//! rest stands above each handler.

mod examples;
mod parts;

use std::sync::LazyLock;

use axum::handler::Handler;
use axum::http::Method;
use axum::routing;
use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::{
    Components, ContentBuilder, Info, KnownFormat, License, ObjectBuilder, OpenApi, PathItem, Ref,
    RefOr, Required, Response, ResponseBuilder, Schema, SchemaFormat, Type,
};
use utoipa::{PartialSchema as _, ToSchema as _};
use utoipa_axum::router::UtoipaMethodRouter;

use super::AppState;
use super::body::IDEMPOTENCY_KEY;
use super::problem::{Kind, Problem, ProblemBody};
use super::{routes, v1};

pub use parts::{Conflict, HavingParams, OnceKey, Refused, TooLong, Unchanged, WaitPreference};

/// What the page alone asks for, which the document does not have. With [`surface`] it is all that there is;
/// `/_components` is in builds for tests alone.
pub const UNDOCUMENTED: [(Method, &str); 3] = [
    (Method::GET, "/_components"),
    (Method::GET, "/assets/{file}"),
    (Method::POST, "/theme"),
];

/// A UUID of examples.
const EXAMPLE_UUID: &str = "01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a62";
/// The name of the shape that all problems have, and what the names of their answers begin with.
const PROBLEM: &str = "Problem";
/// The same under `/v1`.
const API_ERROR: &str = "ApiError";

const DESCRIPTION: &str = "An AI chat server that is polled. The same addresses answer browsers in HTML \
    (`Accept: text/html`, or `HX-Request: true`), and take forms; this document describes their JSON. \
    GET stands for HEAD too.";

static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(|| finished(routes::router().into_openapi()));

/// The document.
pub fn document() -> &'static OpenApi {
    &DOCUMENT
}

/// Each method that each path takes, as the document has them: all but the page's own files, its colours and
/// its components.
#[must_use]
pub fn surface() -> Vec<(Method, &'static str)> {
    let paths = DOCUMENT.paths.paths.iter();
    paths
        .flat_map(|(path, item)| {
            let operations = operations(item).into_iter();
            let there = operations.filter(|(_, operation)| operation.is_some());
            there.map(move |(method, _)| (method, path.as_str()))
        })
        .collect()
}

/// The same handler at another path, whose parameters are fewer.
pub fn at(
    path: &str,
    (schemas, paths, router): UtoipaMethodRouter<AppState>,
) -> UtoipaMethodRouter<AppState> {
    let mut moved = Paths::new();
    for item in paths.paths.into_values() {
        moved.paths.insert(path.to_owned(), item);
    }
    (schemas, moved, router)
}

/// The same handler at another path and by POST, for forms: they know no other method.
pub fn by_post<H, T>(
    path: &str,
    handler: H,
    (schemas, paths, _): UtoipaMethodRouter<AppState>,
) -> UtoipaMethodRouter<AppState>
where
    H: Handler<T, AppState>,
    T: 'static,
{
    let mut posted = Paths::new();
    for item in paths.paths.into_values() {
        let mut post = PathItem::default();
        post.post = item.put.or(item.delete);
        posted.paths.insert(path.to_owned(), post);
    }
    (schemas, posted, routing::post(handler))
}

/// With what all routes have in common.
fn finished(mut document: OpenApi) -> OpenApi {
    document.info = Info::new("Pollen", env!("CARGO_PKG_VERSION"));
    document.info.description = Some(DESCRIPTION.to_owned());
    document.info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    let components = document.components.get_or_insert_default();
    let mut schemas = vec![(PROBLEM.to_owned(), ProblemBody::schema())];
    ProblemBody::schemas(&mut schemas);
    schemas.push((API_ERROR.to_owned(), v1::ErrorBody::schema()));
    v1::ErrorBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
    for kind in Kind::ALL {
        let name = problem_name(kind.status().as_u16());
        let alike = components.responses.entry(name);
        alike.or_insert_with(|| problems_like(kind).into());
    }
    let error = api_error();
    components
        .responses
        .insert(API_ERROR.to_owned(), error.into());
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations_mut(item) {
            if let Some(operation) = operation {
                finish(&method, path, operation);
                if let Some(RefOr::T(body)) = &mut operation.request_body {
                    body.required = Some(required(body, components));
                }
            }
        }
    }
    examples::add(&mut document);
    document
}

/// A problem as it is told under `/v1`, where the status of one may be another one.
fn api_error() -> Response {
    let example = json!({"error": {"message": "there is no response \"resp_1\"", "type": "invalid_request_error",
        "param": "id", "code": "response_not_found"}});
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(API_ERROR)))
        .example(Some(example));
    ResponseBuilder::new()
        .description("A problem in the shape of OpenAI's interface")
        .content("application/json", content.build())
        .build()
}

fn problem_name(status: u16) -> String {
    format!("{PROBLEM}{status}")
}

/// What a problem of this status is.
fn problem(status: u16) -> Ref {
    Ref::from_response_name(problem_name(status))
}

/// All kinds of problem that have the status of this one, each with an example.
fn problems_like(kind: Kind) -> Response {
    let status = kind.status();
    let alike = Kind::ALL
        .into_iter()
        .filter(|other| other.status() == status);
    let mut content = ContentBuilder::new().schema(Some(Ref::from_schema_name(PROBLEM)));
    let mut kinds = Vec::new();
    for kind in alike {
        let problem = Problem::bare(kind);
        let instance = format!("/chat/{EXAMPLE_UUID}");
        let body = problem.body(&instance, "7f3a");
        let example = ExampleBuilder::new()
            .summary(kind.title())
            .value(Some(json!(body)));
        content = content.examples_from_iter([(kind.slug(), example.build())]);
        kinds.push(format!("`{}`", kind.slug()));
    }
    ResponseBuilder::new()
        .description(format!("A problem (RFC 9457): {}", kinds.join(", ")))
        .content("application/problem+json", content.build())
        .build()
}

/// Whether a body has to be there: none is an empty one.
fn required(body: &RequestBody, components: &Components) -> Required {
    let contents = body.content.values().filter_map(|content| match content {
        RefOr::T(content) => content.schema.as_ref(),
        RefOr::Ref(_) => None,
    });
    let mut schemas = contents.filter_map(|schema| match schema {
        RefOr::Ref(named) => components
            .schemas
            .get(named.ref_location.rsplit('/').next()?),
        schema @ RefOr::T(_) => Some(schema),
    });
    let may_be_empty = schemas.all(
        |schema| matches!(schema, RefOr::T(Schema::Object(object)) if object.required.is_empty()),
    );
    if may_be_empty {
        Required::False
    } else {
        Required::True
    }
}

/// A name of its own, the path's parameters, and the problems that come with what is taken.
fn finish(method: &Method, path: &str, operation: &mut Operation) {
    operation.operation_id = Some(operation_id(method, path));
    let in_path = path.split(['{', '}']).skip(1).step_by(2);
    let parameters = operation.parameters.get_or_insert_default();
    parameters.splice(..0, in_path.map(|name| RefOr::T(path_parameter(name))));
    let mut problems = vec![401, 403, 404, 421, 429, 500, 503];
    for parameter in parameters.iter() {
        if let RefOr::T(parameter) = parameter {
            problems.extend(match parameter.parameter_in {
                ParameterIn::Path => [400, 404].as_slice(),
                ParameterIn::Header if parameter.name == IDEMPOTENCY_KEY => &[400, 409, 422],
                ParameterIn::Header => &[],
                ParameterIn::Query | ParameterIn::QueryString | ParameterIn::Cookie => &[400],
            });
        }
    }
    if !method.is_safe() && method != Method::DELETE {
        problems.extend([400, 408, 413, 415, 422]);
    }
    let responses = &mut operation.responses.responses;
    if v1::is_here(path) {
        // Whatever came with what the handler says of itself.
        responses.retain(|status, _| !status.starts_with(['4', '5']));
        if !method.is_safe() {
            problems.extend([402, 409]);
        }
    }
    for status in problems {
        let problem = if v1::is_here(path) {
            Ref::from_response_name(API_ERROR)
        } else {
            problem(status)
        };
        responses.insert(status.to_string(), problem.into());
    }
}

/// `get_chat_message_uuid_tokens_position`. A path that ends in a slash says so: it has a twin that does not.
fn operation_id(method: &Method, path: &str) -> String {
    let words = path.split(['/', '{', '}', '.']).filter(|w| !w.is_empty());
    let mut id = method.as_str().to_lowercase();
    for word in words {
        id = format!("{id}_{word}");
    }
    if path.ends_with('/') {
        id.push('_');
    }
    id
}

fn path_parameter(name: &str) -> Parameter {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let schema: RefOr<Schema> = match name {
        "uuid" | "last_uuid" => {
            let uuid = SchemaFormat::KnownFormat(KnownFormat::Uuid);
            text()
                .format(Some(uuid))
                .examples([json!(EXAMPLE_UUID)])
                .into()
        }
        "position" => Ref::from_schema_name("Position").into(),
        "number" => ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .into(),
        _ => text().into(),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
        .build()
}

fn operations(item: &PathItem) -> [(Method, &Option<Operation>); 5] {
    [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ]
}

fn operations_mut(item: &mut PathItem) -> [(Method, &mut Option<Operation>); 5] {
    [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ]
}

#[cfg(test)]
mod tests;
