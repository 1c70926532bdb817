//! `Prefer: wait=N` (RFC 7240): a poll that has found nothing is held until there is something, or the seconds are over.
//!
//! Nobody needs it, and nobody is promised it: a node that has much to do, or is about to end, answers at once as
//! always. A poll that is held is not in flight, and whoever is held has to be let in anew before they are told more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::link::{self, Link};
use super::problem::Problem;
use super::visitor::Visitor;
use super::{AppState, HttpLimits};
use crate::chat::Awaited;
use crate::model::hint::Activity;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// What stays of a request's time for the answer of a poll that was held.
const MARGIN: Duration = Duration::from_millis(500);

/// The polls that are held.
#[derive(Debug)]
pub(super) struct Holds {
    /// Once it is cancelled all are let go.
    closing: CancellationToken,
    held: AtomicUsize,
}

struct Place<'a>(&'a Holds);

impl Holds {
    pub fn new(closing: CancellationToken) -> Self {
        let held = AtomicUsize::new(0);
        Self { closing, held }
    }

    /// None: there are so many already, or it is about to end.
    fn enter(&self, most: usize) -> Option<Place<'_>> {
        let place = Place(self);
        let before = self.held.fetch_add(1, Ordering::Relaxed);
        (before < most && !self.closing.is_cancelled()).then_some(place)
    }
}

/// For how long a poll is held at most. Zero: not at all.
fn longest(limits: &HttpLimits) -> Duration {
    let most = limits.request_timeout.saturating_sub(MARGIN);
    limits.longest_wait.min(most)
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a look has found.
pub(super) struct Look {
    pub is_new: bool,
    pub activity: Activity,
}

/// How long a client would like to wait.
pub(super) struct Hold(Option<Wanted>);

struct Wanted {
    seconds: u64,
    who: Parts,
}

/// What a poll has found in the end, and for how long it would have been held.
pub(super) struct Found<T> {
    poll: T,
    applied: Applied,
}

impl<S: Send + Sync> FromRequestParts<S> for Hold {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let seconds = wait_s(&parts.headers).filter(|seconds| *seconds > 0);
        Ok(Self(seconds.map(|seconds| Wanted {
            seconds,
            who: parts.clone(),
        })))
    }
}

/// The same for what waits in any case, as long as may be.
pub(super) struct LongestHold(pub Hold);

impl<S: Send + Sync> FromRequestParts<S> for LongestHold {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(Hold(Some(Wanted {
            seconds: u64::MAX,
            who: parts.clone(),
        }))))
    }
}

/// Whether a poll would like to wait.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.contains_key(PREFER)
}

/// The seconds of `wait`; what cannot be understood is no preference (RFC 7240, 2).
fn wait_s(headers: &HeaderMap) -> Option<u64> {
    let lists = headers.get_all(PREFER).into_iter();
    let lists = lists.filter_map(|list| list.to_str().ok());
    let mut preferences = lists.flat_map(|list| list.split(','));
    preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        let value = value.trim().trim_matches('"');
        is_wait.then(|| value.parse().ok())?
    })
}

impl Hold {
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// `first`, or what `ask` finds as soon as that is new.
    ///
    /// # Errors
    /// As `ask`, or if whoever asks may not come in any more.
    pub async fn until_new<T, F>(
        self,
        app: &AppState,
        awaited: &[Awaited],
        first: T,
        look: impl Fn(&T) -> Look,
        ask: impl Fn() -> F,
    ) -> Result<Found<T>, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let limits = app.controls.limits();
        let longest = longest(&limits);
        let not_held = |poll| Found {
            poll,
            applied: Applied::default(),
        };
        let Some(mut wanted) = self.0.filter(|_| !longest.is_zero()) else {
            return Ok(not_held(first));
        };
        // As many are held as requests may be in flight.
        let place = app.holds.enter(limits.max_in_flight);
        let Some(_place) = place.filter(|_| app.load.is_calm()) else {
            return Ok(not_held(first));
        };
        let wait = Duration::from_secs(wanted.seconds).min(longest);
        let (mut poll, until) = (first, Instant::now() + wait);
        let mut held = Duration::ZERO;
        while !look(&poll).is_new {
            let news = app.chats.register(awaited);
            poll = ask().await?;
            let Look { is_new, activity } = look(&poll);
            if is_new || until <= Instant::now() || !app.load.is_calm() {
                break;
            }
            let begun = Instant::now();
            let scan = begun + app.chats.scan_interval(activity);
            let waiting = app.load.wait();
            tokio::select! {
                () = news.first() => {}
                () = sleep_until(scan.min(until)) => {}
                () = app.holds.closing.cancelled() => {
                    drop(waiting);
                    break;
                }
            }
            drop(waiting);
            held += begun.elapsed();
            wanted.come_in_again(app).await?;
        }
        Ok(Found {
            poll,
            applied: Applied(Some((wait.as_secs(), Waited(held)))),
        })
    }
}

impl Wanted {
    /// What somebody came with may have been ended while they waited.
    async fn come_in_again(&mut self, app: &AppState) -> Result<(), Problem> {
        if link::is_link(self.who.uri.path()) {
            Link::from_request_parts(&mut self.who, app).await?;
        } else if let Some(identified) = Visitor::identified(&self.who.extensions) {
            identified.still(&self.who.headers, &self.who.uri).await?;
        }
        Ok(())
    }
}

impl<T> Found<T> {
    /// The poll, and what tells that it was as the client would like it.
    pub fn into_parts(self) -> (T, Applied) {
        (self.poll, self.applied)
    }
}

/// The seconds that were granted, and what has become of them.
#[derive(Default)]
pub(super) struct Applied(Option<(u64, Waited)>);

/// How long a poll was held. It travels with the answer: it is no time that the server took for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waited(pub Duration);

impl Applied {
    pub fn tell(&self, mut response: Response) -> Response {
        if let Some((seconds, waited)) = self.0
            && let Ok(value) = HeaderValue::try_from(format!("wait={seconds}"))
        {
            response.headers_mut().insert(PREFERENCE_APPLIED, value);
            response.extensions_mut().insert(waited);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_among_other_preferences() {
        for (said, seconds) in [
            ("wait=10", Some(10)),
            ("respond-async, wait=10", Some(10)),
            ("Wait = \"7\"; foo=bar", Some(7)),
            ("wait=", None),
            ("wait=-1", None),
            ("wait=1.5", None),
            ("wait", None),
            ("return=minimal", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, said.parse().unwrap());
            assert_eq!(wait_s(&headers), seconds, "{said}");
        }
        assert_eq!(wait_s(&HeaderMap::new()), None);
    }
}
