//! What is counted of requests and of polls. Each has its counters ready: nothing is looked up by name for a request
//! that has come before.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

use super::cost;
use crate::chat::{MessagesPoll, TokensPoll};

/// What stands for all addresses that are no route: whoever tries some is not to fill the memory.
const UNKNOWN: &str = "unknown";
const TOKENS_ROUTE: &str = "/chat/message/{uuid}/tokens/{position}";
const MESSAGES_ROUTE: &str = "/chat/{uuid}/messages/{last_uuid}";

pub(super) struct Counts {
    requests: RwLock<Requests>,
    tokens: PollCounts,
    messages: PollCounts,
}

/// By route, then by method and status.
type Requests = HashMap<Box<str>, HashMap<(&'static str, u16), Request>>;

/// Requests of one route, one method and one status.
#[derive(Clone)]
struct Request {
    count: Counter,
    seconds: Histogram,
}

/// The polls of one kind.
struct PollCounts {
    new: Counter,
    nothing_new: Counter,
    replaced: Counter,
    not_found: Counter,
    /// Those that are answered from memory, before the router.
    ok: Request,
    no_content: Request,
    not_modified: Request,
}

/// What is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tokens,
    Messages,
}

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    New,
    NothingNew,
    /// What the client has is no longer so.
    Replaced,
    NotFound,
}

impl Counts {
    pub fn new() -> Self {
        Self {
            requests: RwLock::default(),
            tokens: PollCounts::new("tokens", "new_text", "replaced", TOKENS_ROUTE),
            messages: PollCounts::new("messages", "new_messages", "changed", MESSAGES_ROUTE),
        }
    }

    /// Counts a request that the router has answered. `route`: as the router writes it; empty where there is none.
    pub fn request(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        if status == StatusCode::NOT_FOUND
            && let Some(polls) = self.polls_of(route)
        {
            polls.outcome(Outcome::NotFound).increment(1);
        }
        let route = if route.is_empty() { UNKNOWN } else { route };
        let key = (verb(method), status.as_u16());
        let known = self.requests.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(request) = known.get(route).and_then(|requests| requests.get(&key)) {
            request.count(took);
            return;
        }
        drop(known);
        let mut known = self
            .requests
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let requests = known.entry(route.into()).or_default();
        let request = requests
            .entry(key)
            .or_insert_with(|| Request::new(key.0, route, status.as_u16()));
        request.count(took);
    }

    /// Counts a poll that has been answered before the router.
    pub fn quick(&self, (kind, outcome): (Kind, Outcome), status: StatusCode, took: Duration) {
        let polls = self.polls(kind);
        polls.outcome(outcome).increment(1);
        let request = match status {
            StatusCode::NO_CONTENT => &polls.no_content,
            StatusCode::NOT_MODIFIED => &polls.not_modified,
            _ => &polls.ok,
        };
        request.count(took);
    }

    /// Counts what a poll found.
    pub fn polled(&self, kind: Kind, outcome: Outcome) {
        self.polls(kind).outcome(outcome).increment(1);
    }

    fn polls(&self, kind: Kind) -> &PollCounts {
        match kind {
            Kind::Tokens => &self.tokens,
            Kind::Messages => &self.messages,
        }
    }

    fn polls_of(&self, route: &str) -> Option<&PollCounts> {
        if !cost::is_poll(route) {
            return None;
        }
        let is_tokens = route.contains("/tokens");
        Some(self.polls(if is_tokens {
            Kind::Tokens
        } else {
            Kind::Messages
        }))
    }
}

impl Request {
    fn new(method: &'static str, route: &str, status: u16) -> Self {
        let route = route.to_owned();
        Self {
            count: counter!("pollen_http_requests_total",
                "method" => method, "route" => route.clone(), "status" => status.to_string()),
            seconds: histogram!("pollen_http_request_duration_seconds",
                "method" => method, "route" => route),
        }
    }

    fn count(&self, took: Duration) {
        self.count.increment(1);
        self.seconds.record(took);
    }
}

impl PollCounts {
    fn new(kind: &'static str, new: &'static str, replaced: &'static str, route: &str) -> Self {
        let polls = |outcome: &'static str| counter!("pollen_polls_total", "kind" => kind, "outcome" => outcome);
        Self {
            new: polls(new),
            nothing_new: polls("nothing_new"),
            replaced: polls(replaced),
            not_found: polls("not_found"),
            ok: Request::new("GET", route, 200),
            no_content: Request::new("GET", route, 204),
            not_modified: Request::new("GET", route, 304),
        }
    }

    fn outcome(&self, outcome: Outcome) -> &Counter {
        match outcome {
            Outcome::New => &self.new,
            Outcome::NothingNew => &self.nothing_new,
            Outcome::Replaced => &self.replaced,
            Outcome::NotFound => &self.not_found,
        }
    }
}

impl Outcome {
    pub fn of_tokens(poll: &TokensPoll) -> Self {
        let deltas = || [Some(&poll.delta), poll.reasoning.as_ref()];
        let has =
            |is: fn(&crate::model::delta::Delta) -> bool| deltas().into_iter().flatten().any(is);
        if has(|delta| !delta.append) {
            Self::Replaced
        } else if has(|delta| !delta.tokens.is_empty()) {
            Self::New
        } else {
            Self::NothingNew
        }
    }

    pub fn of_messages(poll: &MessagesPoll) -> Self {
        if !poll.new.is_empty() {
            Self::New
        } else if !poll.changed.is_empty() {
            Self::Replaced
        } else {
            Self::NothingNew
        }
    }
}

/// A client can ask by any word that it likes.
fn verb(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_makes_up_does_not_become_a_series() {
        let counts = Counts::new();
        for word in ["BREW", "get", "TEAPOT"] {
            let method = Method::from_bytes(word.as_bytes()).unwrap();
            counts.request(&method, "", StatusCode::NOT_FOUND, Duration::ZERO);
        }
        let known = counts.requests.read().unwrap();
        let routes: Vec<&str> = known.keys().map(AsRef::as_ref).collect();
        assert_eq!(routes, [UNKNOWN]);
        let kinds: Vec<_> = known[UNKNOWN].keys().collect();
        assert_eq!(kinds, [&("other", 404)]);
    }

    #[test]
    fn the_routes_of_polls_are_found_by_their_kind() {
        let counts = Counts::new();
        for (route, kind) in [
            (TOKENS_ROUTE, Some(Kind::Tokens)),
            (
                "/shared/{secret}/message/{uuid}/tokens/",
                Some(Kind::Tokens),
            ),
            (MESSAGES_ROUTE, Some(Kind::Messages)),
            ("/chat/{uuid}", None),
        ] {
            let found = counts.polls_of(route);
            let expected = kind.map(|kind| counts.polls(kind));
            assert_eq!(
                found.map(std::ptr::from_ref),
                expected.map(std::ptr::from_ref)
            );
        }
    }
}
