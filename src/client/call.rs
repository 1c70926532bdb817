//! One request, made until it is answered: everything that the client asks goes through [`Client::call`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE,
};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;
use uuid::Uuid;

use super::connect::{Builder, Told};
use super::error::{Error, Problem};
use super::patience::{Again, Attempts, Patience, Setback};
use super::shapes::{
    Agent, Agents, Cancelled, Chat, Command, Commands, Created, Message, Messages, Model, Models,
    NewChat, NewMessage, Sent, Tokens,
};

/// From the first byte that is sent to the last one that is received, the server's holding aside.
const LIMIT: Duration = Duration::from_secs(30);
/// A body that is longer is none of Pollen's.
const MAX_BODY_BYTES: usize = 32 << 20;
/// Of a page that is no answer, so much is told.
const MAX_REASON_CHARS: usize = 200;
/// What the session's cookie is called, also where browsers hold it to HTTPS.
const COOKIES: [&str; 2] = ["pollen_session", "__Host-pollen_session"];

/// A client of one server, as one user. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    way: Arc<Way>,
    patience: Patience,
}

pub(super) struct Way {
    pub http: reqwest::Client,
    pub base: Url,
    pub token: Option<HeaderValue>,
    /// The cookie of somebody anonymous, `name=value`.
    pub session: Mutex<Option<String>>,
    pub held: Option<Duration>,
    pub told: Option<Box<Told>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address())
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// A request that may be made several times.
pub(super) struct Ask<'a> {
    method: Method,
    path: String,
    body: Option<&'a (dyn erased::Body + Sync)>,
    /// Whether it is a poll, which the server may hold.
    is_poll: bool,
}

/// A body of which nothing is known but that it becomes JSON.
mod erased {
    pub trait Body {
        fn json(&self) -> serde_json::Result<Vec<u8>>;
    }
    impl<T: serde::Serialize> Body for T {
        fn json(&self) -> serde_json::Result<Vec<u8>> {
            serde_json::to_vec(self)
        }
    }
}

impl<'a> Ask<'a> {
    fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
            is_poll: false,
        }
    }

    fn poll(path: String) -> Self {
        Self {
            is_poll: true,
            ..Self::get(path)
        }
    }

    fn post<T: Serialize + Sync>(path: String, body: Option<&'a T>) -> Self {
        Self {
            method: Method::POST,
            path,
            body: body.map(|body| body as &(dyn erased::Body + Sync)),
            is_poll: false,
        }
    }
}

impl Client {
    /// A client of the server at this address: `http://127.0.0.1:8080`, `https://example.org/pollen`.
    #[must_use]
    pub fn builder(address: &str) -> Builder {
        Builder::new(address)
    }

    pub(super) fn new(way: Arc<Way>, patience: Patience) -> Self {
        Self { way, patience }
    }

    /// The same, with another patience.
    #[must_use]
    pub fn with_patience(&self, patience: Patience) -> Self {
        Self {
            way: Arc::clone(&self.way),
            patience,
        }
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> &str {
        self.way.base.as_str().trim_end_matches('/')
    }

    /// What a server that lets in everybody knows this client by, once it has told: whoever comes back with it
    /// ([`Builder::session`]) finds their chats. Keep it like a password.
    #[must_use]
    pub fn session(&self) -> Option<String> {
        let session = self.way.session.lock();
        session.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a chat, and sends its first message if it has one.
    ///
    /// # Errors
    /// As all of these: if the server says no, or the patience is at its end.
    pub async fn create(&self, new: &NewChat) -> Result<Created, Error> {
        self.call(&Ask::post("chat/create".to_owned(), Some(new)))
            .await
    }

    /// Lets another model answer in a chat from the next message on.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn choose_model(&self, chat: Uuid, model: &str) -> Result<Chat, Error> {
        let change = serde_json::json!({ "model": model });
        let ask = Ask {
            method: Method::PATCH,
            ..Ask::post(format!("chat/{chat}"), Some(&change))
        };
        self.call(&ask).await
    }

    /// Sends a message. For its answer, see [`Answer`](super::Answer).
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn send(&self, chat: Uuid, new: &NewMessage) -> Result<Sent, Error> {
        self.call(&Ask::post(format!("chat/{chat}/send"), Some(new)))
            .await
    }

    /// A chat.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn chat(&self, chat: Uuid) -> Result<Chat, Error> {
        self.call(&Ask::get(format!("chat/{chat}"))).await
    }

    /// A message as it is now.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn message(&self, message: Uuid) -> Result<Message, Error> {
        self.call(&Ask::get(format!("chat/message/{message}")))
            .await
    }

    /// One messages poll: what is new after `last`, and what has changed since `revision`. [`Following`](super::Following)
    /// keeps both.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn messages(
        &self,
        chat: Uuid,
        last: Option<Uuid>,
        revision: Option<u64>,
    ) -> Result<Messages, Error> {
        let last = last.map_or_else(String::new, |last| format!("/{last}"));
        let revision = revision.map_or_else(String::new, |n| format!("?revision={n}"));
        let path = format!("chat/{chat}/messages{last}{revision}");
        self.call(&Ask::poll(path)).await
    }

    /// One token poll. [`Reading`](super::Reading) keeps the position.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn tokens(&self, message: Uuid, position: u64) -> Result<Tokens, Error> {
        let path = format!("chat/message/{message}/tokens/{position}");
        self.call(&Ask::poll(path)).await
    }

    /// Stops an answer that is being written, or takes back a message that waits. Twice is as good as once.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn cancel(&self, message: Uuid) -> Result<Cancelled, Error> {
        let path = format!("chat/message/{message}/cancel");
        self.call(&Ask::post(path, None::<&()>)).await
    }

    /// The models that may be asked.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn models(&self) -> Result<Vec<Model>, Error> {
        let listed: Models = self.call(&Ask::get("models".to_owned())).await?;
        Ok(listed.models)
    }

    /// The personas.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn agents(&self) -> Result<Vec<Agent>, Error> {
        let listed: Agents = self.call(&Ask::get("agents".to_owned())).await?;
        Ok(listed.agents)
    }

    /// The slash commands.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn commands(&self) -> Result<Vec<Command>, Error> {
        let listed: Commands = self.call(&Ask::get("commands".to_owned())).await?;
        Ok(listed.commands)
    }

    pub(super) fn url(&self, path: &str) -> Result<Url, Error> {
        self.way.base.join(path).map_err(|_| Error::Address {
            address: self.address().to_owned(),
            reason: "nothing can be put behind it",
        })
    }

    /// Makes the request until it is answered, or may not be made again.
    async fn call<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T, Error> {
        let mut attempts = Attempts::new(self.patience);
        loop {
            let (error, again) = match self.call_once(ask).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let (error, wait, tries) = attempts.after(error, again)?;
            if let Some(told) = &self.way.told {
                let error = &error;
                told(Setback { error, wait, tries });
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn call_once<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T, (Error, Again)> {
        let way = &self.way;
        let url = self.url(&ask.path).map_err(never)?;
        let held = way.held.filter(|_| ask.is_poll);
        let mut request = way
            .http
            .request(ask.method.clone(), url)
            .header("accept", "application/json")
            .timeout(LIMIT + held.unwrap_or_default());
        if let Some(held) = held {
            request = request.header("prefer", format!("wait={}", held.as_secs().max(1)));
        }
        if let Some(token) = &way.token {
            request = request.header(AUTHORIZATION, token.clone());
        } else if let Some(session) = self.session()
            && let Ok(mut value) = HeaderValue::try_from(session)
        {
            value.set_sensitive(true);
            request = request.header(COOKIE, value);
        }
        if let Some(body) = ask.body {
            let body = body.json();
            let body = body.map_err(|error| never(Error::Setup(error.to_string())))?;
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let response = request.send().await.map_err(|error| self.away(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.body(response).await?;
        if !status.is_success() {
            return Err(self.refused(status, &headers, &body));
        }
        self.remember(&headers);
        serde_json::from_slice(&body).map_err(|error| never(self.not_pollen(&error.to_string())))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, (Error, Again)> {
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.away(error))? {
            if body.len() + part.len() > MAX_BODY_BYTES {
                return Err(never(self.not_pollen("the answer has no end")));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    fn away(&self, error: reqwest::Error) -> (Error, Again) {
        // Else it may have arrived, and it is only its answer that is lost.
        let again = if error.is_connect() {
            Again::Unreached
        } else {
            Again::Later
        };
        let reason = if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            root(error)
        };
        let address = self.address().to_owned();
        (Error::Unreachable { address, reason }, again)
    }

    fn not_pollen(&self, reason: &str) -> Error {
        Error::NotPollen {
            address: self.address().to_owned(),
            reason: reason.chars().take(MAX_REASON_CHARS).collect(),
        }
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> (Error, Again) {
        if status.is_redirection() {
            let to = headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.unwrap_or("nowhere");
            return never(self.not_pollen(&format!("it leads on to {to}")));
        }
        let mut problem: Problem = serde_json::from_slice(body).unwrap_or_default();
        problem.status = status.as_u16();
        if problem.title.is_empty() {
            let reason = status.canonical_reason();
            reason.unwrap_or_default().clone_into(&mut problem.title);
        }
        let asked = headers.get(RETRY_AFTER).and_then(seconds);
        problem.retry_after = asked;
        let again = match status {
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Again::Never,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                asked.map_or(Again::Later, Again::After)
            }
            // However long it is away, it is asked now and then.
            _ if status.is_server_error() => {
                let longest = self.patience.longest_asked;
                asked.map_or(Again::Later, |asked| Again::After(asked.min(longest)))
            }
            _ => Again::Never,
        };
        (Error::Refused(Box::new(problem)), again)
    }

    /// Keeps the session's cookie, if the server gives one.
    fn remember(&self, headers: &HeaderMap) {
        for given in headers.get_all(SET_COOKIE) {
            let Some(given) = given
                .to_str()
                .ok()
                .and_then(|text| cookie::Cookie::parse(text).ok())
            else {
                continue;
            };
            if COOKIES.contains(&given.name()) && !given.value().is_empty() {
                let mut session = self
                    .way
                    .session
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *session = Some(format!("{}={}", given.name(), given.value()));
            }
        }
    }
}

fn never(error: Error) -> (Error, Again) {
    (error, Again::Never)
}

/// A wait in whole seconds. A date is passed over: the two clocks may differ.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What is at the bottom of an error: "Connection refused", not that a request could not be sent. The address is told
/// beside it.
pub(super) fn root(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
