//! What several handlers say of themselves, under short names.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Required, Response, Type};
use utoipa::{IntoParams, IntoResponses};

use super::PROBLEM;
use crate::http::extract::{IDEMPOTENCY_KEY, MAX_KEY_BYTES, METADATA};
use crate::model::metadata::MAX_VALUE_CHARS;

/// The key under which a POST has its effect once.
pub struct OnceKey;

impl IntoParams for OnceKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(MAX_KEY_BYTES))
            .pattern(Some("^[!-~]+$"));
        let header = ParameterBuilder::new()
            .name(IDEMPOTENCY_KEY)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(
                "Repeated with the same key, a request has one effect.",
            ))
            .schema(Some(key));
        vec![header.build()]
    }
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
        problems(&["409"])
    }
}

/// The chat does not fit the format.
pub struct TooLong;

impl IntoResponses for TooLong {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&["422"])
    }
}

/// The caller may not ask this model, or not any more for now.
pub struct Refused;

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&["402", "403", "429"])
    }
}

fn problems(statuses: &[&str]) -> BTreeMap<String, RefOr<Response>> {
    let problem = || Ref::from_response_name(PROBLEM).into();
    statuses
        .iter()
        .map(|status| ((*status).to_owned(), problem()))
        .collect()
}
