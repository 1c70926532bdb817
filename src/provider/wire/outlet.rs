//! Where something is sent that nobody waits for, such as traces: over the same way as everything else that leaves
//! this server, within a time limit.

use std::time::Duration;

use reqwest::{Client, Request};

use super::client;
use super::document::FetchError;
use super::settings::{ConnectError, ProviderSettings};

/// From the request to the end of the answer.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The client to send with.
#[derive(Clone, Debug)]
pub struct Outlet(Client);

impl Outlet {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// As [`super::connect`].
    pub fn open(settings: &ProviderSettings) -> Result<Self, ConnectError> {
        Ok(Self(client::open(settings)?.client))
    }

    /// Sends a request; the status of the answer. What else it says is not read.
    ///
    /// # Errors
    /// If there is no answer in time.
    pub async fn send<R>(&self, request: R) -> Result<u16, FetchError>
    where
        R: TryInto<Request, Error = reqwest::Error>,
    {
        let network = |error: reqwest::Error| {
            FetchError::Network(super::explain::chain(&error.without_url()))
        };
        let request = request.try_into().map_err(network)?;
        let sent = tokio::time::timeout(TIME_LIMIT, self.0.execute(request)).await;
        let response = sent.map_err(|_| FetchError::Slow)?.map_err(network)?;
        Ok(response.status().as_u16())
    }
}
