//! `GET /usage`: what the caller's answers used and cost.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use chrono::NaiveDate;
use entity::Timestamp;
use serde::Deserialize;

use crate::chat::Chats;
use crate::http::AppState;
use crate::http::extract::{Caller, Form, Params};
use crate::http::problem::{Kind, Problem};
use crate::http::reply;
use crate::http::view::frame::Frame;
use crate::http::view::usage::{UsagePage, UsageView};
use crate::store::UsageGroup;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/usage", get(usage))
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    #[default]
    Day,
    Model,
    Chat,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageParams {
    #[serde(default)]
    by: By,
    from: Option<String>,
    to: Option<String>,
}

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
fn day(name: &'static str, text: &str) -> Result<Timestamp, Problem> {
    let date: NaiveDate = text.parse().map_err(|_| {
        let detail = format!("`{name}` is no day: expected YYYY-MM-DD");
        Problem::new(Kind::MalformedRequest, detail)
    })?;
    Ok(date.and_time(chrono::NaiveTime::MIN).and_utc().into())
}
