//! OpenAI's chat completions, streamed: the format that most model servers speak.
//! <https://platform.openai.com/docs/api-reference/chat/create> and `…/chat/streaming`.
//!
//! An answer is finished by a `finish_reason`. The end of the connection does not finish it, nor
//! does `[DONE]` alone. `usage` may come in any chunk, with or without `choices`, and an `error`
//! may come in any chunk too, after a 200.

mod explain;

use std::io;
use std::time::Duration;

use async_stream::try_stream;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::{Call, Event, Provider, ProviderError, Speaker, sse};
use crate::model::failure::FailureCode;
use crate::model::usage::Usage;

/// The longest line that a server may send, and the longest event, in bytes.
const MAX_LINE_BYTES: usize = 1 << 20;
/// The longest body that is read where no stream came.
const MAX_BODY_BYTES: usize = 16 << 20;
/// How long to wait for the usage that may follow the finish reason.
const USAGE_GRACE: Duration = Duration::from_secs(5);
const DONE: &str = "[DONE]";

/// Time limits on the way to a model.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// Until the connection stands.
    pub connect: Duration,
    /// From the request to the first byte of the answer's body.
    pub first_byte: Duration,
    /// Between two bytes.
    pub stall: Duration,
}

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct OpenAiSettings {
    /// A short name for people.
    pub name: String,
    /// Up to and with the version: `https://api.openai.com/v1`.
    pub base_url: String,
    pub api_key: Option<SecretString>,
    /// The model that answers when none is asked for.
    pub model: String,
    pub limits: TimeLimits,
}

/// Any server that speaks OpenAI's chat completions.
#[derive(Clone)]
pub struct OpenAi {
    client: Client,
    settings: OpenAiSettings,
}

impl OpenAi {
    #[must_use]
    pub fn new(client: Client, settings: OpenAiSettings) -> Self {
        Self { client, settings }
    }

    async fn send(&self, call: &Call) -> Result<Response, ProviderError> {
        let url = format!(
            "{}/chat/completions",
            self.settings.base_url.trim_end_matches('/')
        );
        let mut request = self.client.post(url).json(&self.body(call));
        if let Some(key) = &self.settings.api_key {
            request = request.bearer_auth(key.expose_secret());
        }
        let limit = self.settings.limits.first_byte;
        let response = timeout(limit, request.send())
            .await
            .map_err(|_| self.stalled(limit))?
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(call, response).await)
    }

    fn body(&self, call: &Call) -> Value {
        let messages: Vec<Value> = call
            .turns
            .iter()
            .map(|turn| {
                let role = match turn.speaker {
                    Speaker::System => "system",
                    Speaker::User => "user",
                    Speaker::Assistant => "assistant",
                };
                json!({"role": role, "content": turn.content})
            })
            .collect();
        json!({
            "model": self.model_of(call),
            "messages": messages,
            "stream": true,
            "stream_options": {"include_usage": true},
        })
    }

    fn model_of<'a>(&'a self, call: &'a Call) -> &'a str {
        call.model.as_deref().unwrap_or(&self.settings.model)
    }

    /// The events that one chunk of the stream holds.
    fn parse(&self, data: &str) -> Result<Vec<Event>, ProviderError> {
        let chunk: Completion = serde_json::from_str(data).map_err(|e| self.malformed(e))?;
        self.events(chunk)
    }

    fn events(&self, chunk: Completion) -> Result<Vec<Event>, ProviderError> {
        if let Some(error) = &chunk.error {
            return Err(self.upstream_error(error));
        }
        let mut events = Vec::new();
        if let Some(usage) = chunk.usage {
            events.push(Event::Usage(Usage {
                input_tokens: usage.prompt_tokens,
                output_tokens: usage.completion_tokens,
                reasoning_tokens: usage
                    .completion_tokens_details
                    .unwrap_or_default()
                    .reasoning_tokens,
                cached_tokens: usage
                    .prompt_tokens_details
                    .unwrap_or_default()
                    .cached_tokens,
            }));
        }
        let Some(choice) = chunk.choices.into_iter().flatten().next() else {
            return Ok(events);
        };
        let said = choice.delta.or(choice.message).unwrap_or_default();
        events.extend(
            [said.content, said.refusal]
                .into_iter()
                .flatten()
                .filter(|text| !text.is_empty())
                .map(Event::Text),
        );
        match choice.finish_reason.as_deref() {
            None | Some("") => {}
            Some("content_filter") => {
                return Err(ProviderError::fail(
                    FailureCode::ContentFilter,
                    format!(
                        "The model's server ({}) withheld the rest of the answer (content filter).",
                        self.settings.name
                    ),
                ));
            }
            Some(reason) => events.push(Event::Finished {
                reason: reason.to_owned(),
            }),
        }
        Ok(events)
    }

    fn stream(self, call: Call) -> impl Stream<Item = Result<Event, ProviderError>> + Send {
        try_stream! {
            let limit = self.settings.limits.first_byte;
            let first_byte = Instant::now() + limit;
            let response = self.send(&call).await?;
            if is_json(&response) {
                // A server that does not stream: the whole answer at once, or an error after a 200.
                let body = timeout_at(first_byte, read_body(response))
                    .await
                    .map_err(|_| self.stalled(limit))?
                    .map_err(|error| self.broke_off().with_detail(error))?;
                let whole = serde_json::from_slice(&body).map_err(|e| self.malformed(e))?;
                for event in self.events(whole)? {
                    yield event;
                }
                return;
            }
            let mut lines = lines(response, first_byte, self.settings.limits);
            let mut events = sse::Assembler::default();
            let mut finished = false;
            let mut grace = None;
            loop {
                let next = match grace {
                    None => lines.next().await,
                    Some(end) => match timeout_at(end, lines.next()).await {
                        Ok(next) => next,
                        Err(_) => return,
                    },
                };
                let (data, ended) = match next {
                    Some(Ok(line)) => (events.line(&line), false),
                    // The answer is whole; what breaks after it is not worth a word.
                    Some(Err(_)) if finished => return,
                    Some(Err(error)) => Err(self.line_error(error))?,
                    None => (events.end(), true),
                };
                match data.as_deref() {
                    Some(DONE) => return,
                    Some(data) => match self.parse(data) {
                        Ok(parsed) => for event in parsed {
                            finished |= matches!(event, Event::Finished { .. });
                            yield event;
                        },
                        Err(_) if finished => return,
                        Err(error) => Err(error)?,
                    },
                    None => {}
                }
                if finished && grace.is_none() {
                    grace = Some(Instant::now() + USAGE_GRACE);
                }
                if events.len() > MAX_LINE_BYTES {
                    Err(self.malformed(format!("an event of more than {MAX_LINE_BYTES} bytes")))?;
                }
                if ended {
                    return;
                }
            }
        }
    }
}

impl Provider for OpenAi {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn default_model(&self) -> &str {
        &self.settings.model
    }

    fn accepts(&self, _model: &str) -> bool {
        true
    }

    fn answer(&self, call: Call) -> BoxStream<'static, Result<Event, ProviderError>> {
        Box::pin(self.clone().stream(call))
    }
}

/// Nothing came for this long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {0:?}")]
struct Stalled(Duration);

/// The body as lines, each piece of it read under its time limit: the first one by `first_byte`.
fn lines(
    response: Response,
    first_byte: Instant,
    limits: TimeLimits,
) -> impl Stream<Item = Result<String, LinesCodecError>> + Unpin + Send {
    let bytes = response.bytes_stream().map_err(io::Error::other);
    let timed = futures::stream::unfold(
        (Box::pin(bytes), first_byte, limits.first_byte),
        move |(mut bytes, end, limit)| async move {
            let item = match timeout_at(end, bytes.next()).await {
                Ok(item) => item?,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, Stalled(limit))),
            };
            Some((item, (bytes, Instant::now() + limits.stall, limits.stall)))
        },
    );
    FramedRead::new(
        StreamReader::new(Box::pin(timed)),
        LinesCodec::new_with_max_length(MAX_LINE_BYTES),
    )
}

fn is_json(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"))
}

async fn read_body(response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    let mut bytes = response.bytes_stream();
    while let Some(piece) = bytes.next().await {
        body.extend_from_slice(&piece?);
        if body.len() > MAX_BODY_BYTES {
            break;
        }
    }
    Ok(body)
}

/// A chunk of the stream, or a whole completion: what differs is `delta` or `message`.
#[derive(Deserialize)]
struct Completion {
    choices: Option<Vec<CompletionChoice>>,
    usage: Option<CompletionUsage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct CompletionChoice {
    delta: Option<Said>,
    message: Option<Said>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Said {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct CompletionUsage {
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Default, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<i64>,
}

#[derive(Default, Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<i64>,
}
