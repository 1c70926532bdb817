//! What several handlers say of themselves, under short names.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{
    HeaderBuilder, ObjectBuilder, RefOr, Required, Response, ResponseBuilder, Type,
};
use utoipa::{IntoParams, IntoResponses};

use super::problem;
use crate::http::body::{IDEMPOTENCY_KEY, MAX_KEY_BYTES};
use crate::http::extract::METADATA;
use crate::model::metadata::MAX_VALUE_CHARS;

/// The key under which a POST has its effect once.
pub struct OnceKey;

impl IntoParams for OnceKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = text()
            .min_length(Some(1))
            .max_length(Some(MAX_KEY_BYTES))
            .pattern(Some("^[!-~]+$"));
        let description = "Repeated with the same key, a request has one effect.";
        vec![header(IDEMPOTENCY_KEY, description, key)]
    }
}

/// A poll whose client says what it has: it is told if nothing has changed.
pub struct Unchanged;

impl IntoParams for Unchanged {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description =
            "The `ETag` of the answer before: if nothing has changed since, the answer is a 304.";
        vec![header("if-none-match", description, text())]
    }
}

impl IntoResponses for Unchanged {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let response = ResponseBuilder::new()
            .description("Nothing has changed since the answer whose `ETag` was sent along")
            .header(
                "poll-after-ms",
                HeaderBuilder::new()
                    .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
                    .description(Some("Milliseconds until the next poll is worth while."))
                    .build(),
            );
        BTreeMap::from([("304".to_owned(), RefOr::T(response.build()))])
    }
}

/// A poll that may be held.
pub struct WaitPreference;

impl IntoParams for WaitPreference {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "`wait=N` (RFC 7240): the answer may come up to N seconds later, as soon as there is \
            something new. An answer that was held says so by `Preference-Applied`.";
        vec![header("prefer", description, text())]
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A header that may be left out.
fn header(name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// Which pairs of metadata a chat in a list has to have. The document can name a parameter only by its whole name: those
/// here are examples.
pub struct HavingParams;

impl IntoParams for HavingParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let examples = ["project_id", "task_id"];
        let parameter = |key: &str| {
            let value = ObjectBuilder::new()
                .schema_type(Type::String)
                .max_length(Some(MAX_VALUE_CHARS));
            ParameterBuilder::new()
                .name(format!("{METADATA}{key}"))
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(format!(
                    "Only chats whose metadata have this value at `{key}`. Any key is taken: `{METADATA}KEY`."
                )))
                .schema(Some(value))
                .build()
        };
        examples.map(parameter).into()
    }
}

/// The thing is in a state in which this cannot be done.
pub struct Conflict;

impl IntoResponses for Conflict {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[409])
    }
}

/// The chat does not fit the format.
pub struct TooLong;

impl IntoResponses for TooLong {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[422])
    }
}

/// The caller may not ask this model, or not any more for now.
pub struct Refused;

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[402, 403, 429])
    }
}

fn problems(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let of = |status: &u16| (status.to_string(), problem(*status).into());
    statuses.iter().map(of).collect()
}
