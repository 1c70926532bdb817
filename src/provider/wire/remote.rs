//! A model's server behind any wire format: asks, listens, and makes events of what it hears.
//!
//! Nothing that comes after the finish turns a finished answer into a failure: not a broken line,
//! not a cut connection, not an error.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_stream::{stream, try_stream};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::client::Way;
use super::explain::error_in;
use super::format::{Asked, Format, Parser, Place};
use super::framing::{Assembler, Lines, MAX_LINE_BYTES, read_body};
use super::settings::ProviderSettings;
use crate::model::failure::FailureCode;
use crate::provider::{Call, Capabilities, Event, ListedModel, Provider, ProviderError};

/// How long to wait for the usage that may follow the finish reason.
const USAGE_GRACE: Duration = Duration::from_secs(5);
/// How long to wait for the end of a body that has nothing more to say: a connection whose body
/// was read to its end can be used again.
const BODY_END_GRACE: Duration = Duration::from_millis(100);
/// A list of models comes at once or not at all.
const MODELS_LIMIT: Duration = Duration::from_secs(5);
pub(super) const DONE: &str = "[DONE]";

/// A provider that is asked over the network.
pub(super) struct Remote {
    pub(super) server: Arc<Server>,
}

/// What all calls of one provider share.
pub(super) struct Server {
    way: Way,
    pub(super) format: Box<dyn Format>,
    pub(super) settings: ProviderSettings,
}

impl Remote {
    pub fn new(way: Way, format: Box<dyn Format>, settings: ProviderSettings) -> Self {
        let server = Server {
            way,
            format,
            settings,
        };
        Self {
            server: Arc::new(server),
        }
    }
}

impl Provider for Remote {
    fn name(&self) -> &str {
        &self.server.settings.name
    }

    fn address(&self) -> String {
        self.server.way.base.to_string()
    }

    fn answer(&self, call: Call) -> BoxStream<'static, Result<Event, ProviderError>> {
        let server = Arc::clone(&self.server);
        match server.settings.limits.total {
            None => Box::pin(server.listen(call)),
            Some(total) => Box::pin(server.listen_for(total, call)),
        }
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ListedModel>, ProviderError>> {
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            timeout(MODELS_LIMIT, server.models())
                .await
                .unwrap_or_else(|_| Err(server.stalled(MODELS_LIMIT)))
        })
    }

    fn capabilities(&self) -> Capabilities {
        self.server.format.capabilities()
    }

    fn sends_reasoning(&self) -> bool {
        self.server.format.sends_reasoning()
    }

    fn reserves_window(&self) -> bool {
        self.server.format.reserves_window()
    }
}

impl Server {
    /// The answer, piece by piece.
    fn listen(
        self: Arc<Self>,
        call: Call,
    ) -> impl Stream<Item = Result<Event, ProviderError>> + Send {
        try_stream! {
            let limits = self.settings.limits;
            let first_byte = Instant::now() + limits.first_byte;
            let asked = Asked::AnswerOf(&call.model);
            let request = self.way.client.post(self.url(&self.format.answer_at(&call)));
            let request = request.json(&self.format.body(&call));
            let response = self.send(asked, request, first_byte).await?;
            let mut parser = self.format.parser();
            if has_type(&response, "application/json") {
                // A server that does not stream: the whole answer at once, or an error after a 200.
                let body = timeout_at(first_byte, read_body(response))
                    .await
                    .map_err(|_| self.stalled(limits.first_byte))?
                    .map_err(|error| self.broke_off().with_detail(error.without_url()))?;
                let mut events = Vec::new();
                let read = self.read_whole(asked, &body, &mut *parser, &mut events);
                let finished = events.iter().any(is_finish);
                for event in events {
                    yield event;
                }
                if !finished {
                    read?;
                }
                return;
            }
            if has_type(&response, "text/html") {
                Err(self.web_page())?;
            }
            let mut lines = Lines::of(response, first_byte, limits);
            let mut pieces = Assembler::new(self.format.framing());
            let mut events = Vec::new();
            let mut finished = false;
            // Why the rest of the answer is not to be had, of which the usage may still come.
            let mut withheld = None;
            let mut grace = None;
            let is_whole = loop {
                let is_over = finished || withheld.is_some();
                let next = match grace {
                    None => lines.next().await,
                    Some(end) => match timeout_at(end, lines.next()).await {
                        Ok(next) => next,
                        Err(_) => break false,
                    },
                };
                let (is_piece, ended) = match next {
                    Some(Ok(line)) => (pieces.line(line), false),
                    // The answer is whole; what breaks after it is not worth a word.
                    Some(Err(_)) if is_over => break false,
                    Some(Err(error)) => Err(self.line_error(error))?,
                    None => (pieces.end(), true),
                };
                if pieces.len() > MAX_LINE_BYTES && !is_over {
                    Err(self.malformed(format!("a piece of more than {MAX_LINE_BYTES} bytes")))?;
                }
                let read = match pieces.piece() {
                    _ if !is_piece => Ok(ControlFlow::Continue(())),
                    DONE => Ok(ControlFlow::Break(())),
                    piece => self.read(asked, piece, &mut *parser, &mut events),
                };
                if withheld.is_some() {
                    events.retain(|event| matches!(event, Event::Usage(_)));
                }
                let is_more = events.iter().any(is_content);
                for event in events.drain(..) {
                    finished |= is_finish(&event);
                    yield event;
                }
                match read {
                    Ok(ControlFlow::Break(())) => break true,
                    Err(_) if is_over || finished => break false,
                    Err(error) if error.failure.code == FailureCode::ContentFilter.as_str() => {
                        withheld = Some(error);
                    }
                    Err(error) => Err(error)?,
                    Ok(ControlFlow::Continue(())) => {}
                }
                if ended {
                    break false;
                }
                // Some servers give each piece of the answer a finish reason.
                if (finished || withheld.is_some()) && (grace.is_none() || is_more) {
                    grace = Some(Instant::now() + USAGE_GRACE);
                }
            };
            if is_whole {
                let rest = async { while let Some(Ok(_)) = lines.next().await {} };
                // What it was to hear has been heard; without the end the connection is not used again.
                let _ = timeout(BODY_END_GRACE, rest).await;
            }
            if let Some(error) = withheld {
                Err(error)?;
            }
        }
    }

    /// The same, within a time limit on all of it.
    fn listen_for(
        self: Arc<Self>,
        total: Duration,
        call: Call,
    ) -> impl Stream<Item = Result<Event, ProviderError>> + Send {
        stream! {
            let end = Instant::now() + total;
            let mut events = Box::pin(Arc::clone(&self).listen(call));
            let mut finished = false;
            loop {
                match timeout_at(end, events.next()).await {
                    Ok(None) => return,
                    // What is there already is taken whatever the time; so the time is looked at too.
                    Ok(Some(event)) if Instant::now() < end => {
                        finished |= event.as_ref().is_ok_and(is_finish);
                        yield event;
                    }
                    Ok(Some(_)) | Err(_) if finished => return,
                    Ok(Some(_)) | Err(_) => {
                        yield Err(self.too_slow(total));
                        return;
                    }
                }
            }
        }
    }

    async fn models(&self) -> Result<Vec<ListedModel>, ProviderError> {
        let request = self.way.client.get(self.url(&self.format.models_at()));
        let by = Instant::now() + self.settings.limits.first_byte;
        let response = self.send(Asked::Models, request, by).await?;
        if has_type(&response, "text/html") {
            return Err(self.web_page());
        }
        let body = read_body(response)
            .await
            .map_err(|error| self.broke_off().with_detail(error.without_url()))?;
        self.read_listing(&body)
    }

    /// The models that a body lists.
    pub(super) fn read_listing(&self, body: &[u8]) -> Result<Vec<ListedModel>, ProviderError> {
        let listing: Value = serde_json::from_slice(body).map_err(|e| self.not_a_listing(e))?;
        if let Some(error) = error_in(&listing) {
            return Err(self.reported(Asked::Models, error));
        }
        self.format
            .listed(&listing)
            .ok_or_else(|| self.not_a_listing("another JSON"))
    }

    async fn send(
        &self,
        asked: Asked<'_>,
        request: RequestBuilder,
        by: Instant,
    ) -> Result<Response, ProviderError> {
        let request = request.headers(self.way.headers.clone());
        let response = timeout_at(by, request.send())
            .await
            .map_err(|_| self.stalled(self.settings.limits.first_byte))?
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(asked, response).await)
    }

    fn url(&self, place: &Place) -> Url {
        let mut url = self.way.base.clone();
        // An address with a host, and others are not taken, has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&place.path);
        }
        let own = self
            .settings
            .query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in place.query.iter().copied().chain(own) {
            url.query_pairs_mut().append_pair(name, value);
        }
        url
    }

    /// The events that one piece of the stream holds.
    pub(super) fn read(
        &self,
        asked: Asked<'_>,
        piece: &str,
        parser: &mut dyn Parser,
        events: &mut Vec<Event>,
    ) -> Result<ControlFlow<()>, ProviderError> {
        if let Some(event) = parser.plain(piece) {
            events.push(event);
            return Ok(ControlFlow::Continue(()));
        }
        let piece: Value = serde_json::from_str(piece).map_err(|e| self.malformed(e))?;
        self.check(asked, &piece)?;
        parser
            .piece(&piece, events)
            .map_err(|trouble| self.troubled(asked, trouble))
    }

    /// The events of a body that is no stream: one JSON value, or several, or a list of them.
    pub(super) fn read_whole(
        &self,
        asked: Asked<'_>,
        body: &[u8],
        parser: &mut dyn Parser,
        events: &mut Vec<Event>,
    ) -> Result<(), ProviderError> {
        for value in serde_json::Deserializer::from_slice(body).into_iter() {
            let values = match value.map_err(|e| self.malformed(e))? {
                Value::Array(values) => values,
                value => vec![value],
            };
            for value in values {
                self.check(asked, &value)?;
                // Only the end of the body ends it.
                let _ = parser
                    .whole(&value, events)
                    .map_err(|trouble| self.troubled(asked, trouble))?;
            }
        }
        Ok(())
    }

    fn check(&self, asked: Asked<'_>, piece: &Value) -> Result<(), ProviderError> {
        if let Some(error) = error_in(piece) {
            return Err(self.reported(asked, error));
        }
        if piece.is_object() {
            return Ok(());
        }
        Err(self.malformed("JSON, but not an object"))
    }
}

fn is_finish(event: &Event) -> bool {
    matches!(event, Event::Finished { .. })
}

fn is_content(event: &Event) -> bool {
    matches!(
        event,
        Event::Text(_) | Event::Reasoning(_) | Event::ToolCall(_)
    )
}

pub(super) fn has_type(response: &Response, kind: &str) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with(kind))
}
