//! What time a model's server says it is: any answer of it tells, whatever was asked.

use std::time::{Duration, UNIX_EPOCH};

use entity::Timestamp;
use reqwest::header::DATE;

use super::client;
use super::settings::ProviderSettings;

/// To the second. None: it cannot be asked, or does not say. The key is not sent.
pub async fn date_at(settings: &ProviderSettings, limit: Duration) -> Option<Timestamp> {
    let way = client::open(settings).ok()?;
    let response = way.client.get(way.base).timeout(limit).send().await.ok()?;
    let date = response.headers().get(DATE)?.to_str().ok()?;
    let date = httpdate::parse_http_date(date).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp(i64::try_from(since.as_millis()).ok()?))
}
