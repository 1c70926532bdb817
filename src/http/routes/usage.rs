//! `GET /usage`: what the caller's answers used and cost.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::NaiveDate;
use entity::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::Chats;
use crate::http::AppState;
use crate::http::extract::{Caller, Form, Params};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::http::view::frame::Frame;
use crate::http::view::usage::{UsagePage, UsageView};
use crate::store::UsageGroup;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(usage))
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum By {
    #[default]
    Day,
    Model,
    Chat,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageParams {
    #[serde(default)]
    #[param(inline)]
    by: By,
    /// The first day, UTC, and the day after the last one.
    #[param(value_type = Option<NaiveDate>)]
    from: Option<String>,
    #[param(value_type = Option<NaiveDate>)]
    to: Option<String>,
}

/// What the caller's answers used and cost.
#[utoipa::path(
    get, path = "/usage", params(UsageParams),
    responses((status = OK, body = UsageView))
)]
async fn usage(
    State(chats): State<Arc<Chats>>,
    Caller(owner): Caller,
    form: Form,
    frame: Frame,
    Params(params): Params<UsageParams>,
) -> Result<Response, Problem> {
    let group = match params.by {
        By::Day => UsageGroup::Day,
        By::Model => UsageGroup::Model,
        By::Chat => UsageGroup::Chat,
    };
    let from = params.from.map(|text| day("from", &text)).transpose()?;
    let to = params.to.map(|text| day("to", &text)).transpose()?;
    let report = chats.usage(owner, group, from, to).await?;
    let usage = UsageView::new(report);
    match form {
        Form::Json => reply::json(StatusCode::OK, &usage),
        Form::Fragment | Form::Page => reply::html_now(StatusCode::OK, &UsagePage { frame, usage }),
    }
}

/// The beginning of a day, UTC.
pub(super) fn day(name: &'static str, text: &str) -> Result<Timestamp, Problem> {
    let date: NaiveDate = text.parse().map_err(|_| {
        let detail = format!("`{name}` is no day: expected YYYY-MM-DD");
        Problem::new(Kind::MalformedRequest, detail)
    })?;
    Ok(date.and_time(chrono::NaiveTime::MIN).and_utc().into())
}
