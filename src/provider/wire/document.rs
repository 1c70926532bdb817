//! A document that somebody publishes at an address of the configuration: fetched whole, in a limited
//! time, up to a limited size, without following a redirect.

use std::time::Duration;

use futures::StreamExt;
use reqwest::Client;
use url::Url;

use super::client;
use super::settings::{ConnectError, ProviderSettings};

/// Longest document in bytes.
const MAX_BYTES: usize = 1 << 20;
/// From the request to the end of the document.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Where a document is, and the client to fetch it with.
pub struct Document {
    client: Client,
    url: Url,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("it took longer than {} s", TIME_LIMIT.as_secs())]
    Slow,
    #[error("the answer was {0}")]
    Status(u16),
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("{0}")]
    Network(String),
}

impl Document {
    /// At the settings' address. Nothing is sent yet.
    ///
    /// # Errors
    /// As [`super::connect`].
    pub fn at(settings: &ProviderSettings) -> Result<Self, ConnectError> {
        let way = client::open(settings)?;
        Ok(Self {
            client: way.client,
            url: way.base,
        })
    }

    /// The document as it is now.
    ///
    /// # Errors
    /// If it does not come, is not there, or is too long.
    pub async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let fetched = tokio::time::timeout(TIME_LIMIT, self.read()).await;
        fetched.unwrap_or(Err(FetchError::Slow))
    }

    async fn read(&self) -> Result<Vec<u8>, FetchError> {
        let network = |error: reqwest::Error| {
            FetchError::Network(super::explain::chain(&error.without_url()))
        };
        let response = self.client.get(self.url.clone()).send().await;
        let response = response.map_err(network)?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut pieces = response.bytes_stream();
        let mut document = Vec::new();
        while let Some(piece) = pieces.next().await {
            document.extend_from_slice(&piece.map_err(network)?);
            if document.len() > MAX_BYTES {
                return Err(FetchError::TooLong);
            }
        }
        Ok(document)
    }
}
