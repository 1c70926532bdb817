//! Not too many requests of one caller's: each counts against a budget of the user's, of the token's and, as long as
//! nobody knows whose it is, of the address's. The answer says how much there is left
//! (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use entity::{OwnerId, TokenId};
use futures::FutureExt as _;

use super::peer::ClientAddress;
use super::problem::{Kind, Problem};
use crate::limit::{Budget, Limits, Subject, Verdict, WINDOW};

pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// For whom a request counts. What finds out who asks puts it into the request.
#[derive(Clone, Debug)]
pub(super) struct RateSubject {
    /// None: nobody who is known.
    pub user: Option<OwnerId>,
    pub token: Option<TokenId>,
    /// None: the default one.
    pub tier: Option<String>,
    /// Whether it is a browser that was not here before.
    pub is_new: bool,
    /// Whether nobody knows who it is.
    pub is_anonymous: bool,
}

impl RateSubject {
    pub const NOBODY: Self = Self {
        user: None,
        token: None,
        tier: None,
        is_new: false,
        is_anonymous: false,
    };
}

/// One request that is counted, for handlers that alone know what it costs.
#[derive(Clone)]
pub(super) struct Rated {
    limits: Arc<Limits>,
    subject: RateSubject,
    address: ClientAddress,
    budget: Budget,
    /// Whether its route is open to whoever has a link.
    is_shared: bool,
    /// What the answer is to tell.
    told: Arc<Mutex<Option<(Budget, Verdict)>>>,
}

/// Refuses the request if it is one too many, and has the answer say how many are left.
pub(super) async fn limited<F>(
    rated: Option<Rated>,
    mut request: Request,
    work: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    let Some(rated) = rated else {
        return work(request).await;
    };
    let mut response = match rated.come_in().await {
        Ok(()) => {
            request.extensions_mut().insert(rated.clone());
            work(request).await
        }
        Err(problem) => problem.into_response(),
    };
    rated.tell(response.headers_mut());
    response
}

impl Rated {
    /// None: it is not counted, for whoever has the machine to himself is only counted for what costs money.
    pub fn new(
        limits: &Arc<Limits>,
        subject: RateSubject,
        address: ClientAddress,
        budget: Budget,
        is_shared: bool,
    ) -> Option<Self> {
        let is_free = subject.user == Some(OwnerId::LOCAL) && budget == Budget::Polls;
        (!is_free).then(|| Self {
            limits: Arc::clone(limits),
            subject,
            address,
            budget,
            is_shared,
            told: Arc::default(),
        })
    }

    /// A request that turns out to begin an answer.
    pub async fn begin_answer(&self) -> Result<(), Problem> {
        let taken = self.take(Budget::Sends).await;
        taken.map_err(Refused::into_problem)
    }

    /// A poll that turns out to be so many more.
    pub async fn further_polls(&self, polls: usize) -> Result<(), Problem> {
        for _ in 0..polls {
            let taken = self.take(Budget::Polls).await;
            taken.map_err(Refused::into_problem)?;
        }
        Ok(())
    }

    /// # Errors
    /// If it is one too many.
    pub async fn come_in(&self) -> Result<(), Problem> {
        self.enter().await.map_err(Refused::into_problem)
    }

    /// The same, if no other node has to be asked. None: it is one too many, or one has to be.
    pub fn come_in_at_hand(&self) -> Option<()> {
        if self.limits.is_shared() {
            return None;
        }
        self.enter().now_or_never()?.ok()
    }

    async fn enter(&self) -> Result<(), Refused> {
        let budget = self.budget;
        let is_known = self.subject.user.is_some();
        if is_known || self.is_shared {
            // Browsers that nobody knows cost nothing to make: what they do counts for their address too.
            let does = self.subject.is_anonymous && budget != Budget::Polls;
            if self.subject.is_new || does {
                self.take(Budget::Unknown).await?;
            }
            return self.take(budget).await;
        }
        self.take(Budget::Unknown).await
    }

    async fn take(&self, budget: Budget) -> Result<(), Refused> {
        for subject in self.subjects(budget).into_iter().flatten() {
            let tier = self.subject.tier.as_deref();
            let Some(verdict) = self.limits.take(budget, tier, subject).await else {
                continue;
            };
            self.note(budget, verdict);
            if let Some(wait) = verdict.retry_after {
                return Err(Refused {
                    budget,
                    verdict,
                    wait,
                });
            }
        }
        Ok(())
    }

    /// Whoever has the machine to himself is not counted, but for what costs money.
    fn subjects(&self, budget: Budget) -> [Option<Subject>; 2] {
        let address = Some(Subject::address(self.address.ip));
        match self.subject.user {
            _ if budget == Budget::Unknown => [address, None],
            None => [address, None],
            Some(OwnerId::LOCAL) if budget != Budget::Sends => [None, None],
            Some(user) => [
                Some(Subject::User(user)),
                self.subject.token.map(Subject::Token),
            ],
        }
    }

    /// Of several verdicts the answer tells the last one's budget, at its tightest.
    fn note(&self, budget: Budget, verdict: Verdict) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_tighter = told.is_none_or(|(of, other)| {
            of != budget || verdict.retry_after.is_some() || verdict.remaining < other.remaining
        });
        if is_tighter {
            *told = Some((budget, verdict));
        }
    }

    /// Says in the answer how many are left.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((budget, verdict)) = told else {
            return;
        };
        let (name, window) = (budget.name(), WINDOW.as_secs());
        let policy = format!("\"{name}\";q={};w={window}", verdict.limit);
        let (remaining, reset) = (verdict.remaining, whole_seconds(verdict.reset_after));
        let state = format!("\"{name}\";r={remaining};t={reset}");
        for (header, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(header, value);
            }
        }
    }
}

/// One too many.
struct Refused {
    budget: Budget,
    verdict: Verdict,
    wait: Duration,
}

impl Refused {
    fn into_problem(self) -> Problem {
        let budget = self.budget;
        metrics::counter!("pollen_rate_limited_total", "budget" => budget.name()).increment(1);
        let what = match budget {
            Budget::Polls => "requests that read",
            Budget::Sends => "messages, or other requests for an answer,",
            Budget::Changes => "requests that change something or search",
            Budget::Unknown => "requests from an address that nobody has signed in from",
        };
        let seconds = whole_seconds(self.wait).max(1);
        let (limit, unit) = (
            self.verdict.limit,
            if seconds == 1 { "second" } else { "seconds" },
        );
        let detail = format!("{limit} {what} a minute are taken; the next one in {seconds} {unit}");
        Problem {
            retry_after_s: Some(seconds),
            ..Problem::new(Kind::RateLimited, detail)
        }
    }
}

/// Never too few: whoever waits so long has waited long enough.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use axum::Router;
    use axum::body::Body;
    use axum::extract::State;
    use axum::http::Method;
    use axum::middleware::{Next, from_fn_with_state};
    use axum::routing::{get, post};
    use tower::Service as _;
    use uuid::Uuid;

    use super::super::cost;
    use super::super::visitor::Visitor;
    use super::*;
    use crate::limit::LimitSettings;

    const POLL: &str = "/chat/x/messages";
    const SEND: &str = "/chat/x/send";

    fn router() -> Router {
        let settings = LimitSettings {
            polls: 12_000,
            sends: 0,
            changes: 4,
            unknown: 3,
            tiers: BTreeMap::from([("basic".to_owned(), 2)]),
            default_tier: None,
        };
        let limits = Arc::new(Limits::new(settings, None));
        Router::new()
            .route("/chat/{uuid}/messages", get(|| async {}))
            .route("/chat/{uuid}/send", post(|| async {}))
            .route("/chat/{uuid}/delete", post(|| async {}))
            .route("/shared/{secret}", get(|| async {}))
            .route("/healthz", get(|| async {}))
            .layer(from_fn_with_state(limits, limit))
    }

    async fn limit(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
        let subject = request.extensions().get::<RateSubject>().unwrap().clone();
        let route = cost::route_of(request.extensions());
        let client = request.extensions().get::<Visitor>().unwrap().client;
        let rated = cost::budget(request.method(), route).and_then(|budget| {
            Rated::new(&limits, subject, client, budget, cost::is_shared(route))
        });
        limited(rated, request, |request| next.run(request)).await
    }

    fn local() -> RateSubject {
        RateSubject {
            user: Some(OwnerId::LOCAL),
            ..RateSubject::NOBODY
        }
    }

    fn somebody(number: u128) -> RateSubject {
        RateSubject {
            user: Some(OwnerId(Uuid::from_u128(number))),
            tier: Some("basic".to_owned()),
            ..local()
        }
    }

    fn nobody() -> RateSubject {
        RateSubject {
            user: None,
            ..local()
        }
    }

    async fn ask(router: &mut Router, method: Method, path: &str, who: &RateSubject) -> Response {
        ask_from(router, method, path, (who, "192.0.2.1")).await
    }

    async fn ask_from(
        router: &mut Router,
        method: Method,
        path: &str,
        (who, ip): (&RateSubject, &str),
    ) -> Response {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        request.extensions_mut().insert(who.clone());
        let client = ClientAddress {
            ip: ip.parse::<IpAddr>().unwrap(),
            ..ClientAddress::UNKNOWN
        };
        let visitor = Visitor::new(client, request.headers());
        request.extensions_mut().insert(visitor);
        router.call(request).await.unwrap()
    }

    fn header(response: &Response, name: &str) -> String {
        let value = response.headers().get(name);
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn polls_go_on_while_sends_are_refused() {
        let mut router = router();
        for left in [1, 0] {
            let sent = ask(&mut router, Method::POST, SEND, &somebody(1)).await;
            assert_eq!(sent.status(), 200);
            assert_eq!(header(&sent, "ratelimit-policy"), "\"sends\";q=2;w=60");
            let told = header(&sent, "ratelimit");
            assert!(
                told.starts_with(&format!("\"sends\";r={left};t=")),
                "{told}"
            );
        }
        let refused = ask(&mut router, Method::POST, SEND, &somebody(1)).await;
        assert_eq!(refused.status(), 429);
        let wait: u64 = header(&refused, "retry-after").parse().unwrap();
        assert!((29..=30).contains(&wait), "{wait}");
        assert!(header(&refused, "ratelimit").starts_with("\"sends\";r=0;t="));
        for _ in 0..400 {
            let poll = ask(&mut router, Method::GET, POLL, &somebody(1)).await;
            assert_eq!(poll.status(), 200);
            assert!(header(&poll, "ratelimit").starts_with("\"polls\";r=1"));
        }
        let other = ask(&mut router, Method::POST, SEND, &somebody(2)).await;
        assert_eq!(other.status(), 200);
    }

    #[tokio::test]
    async fn a_token_s_use_counts_for_its_user_too() {
        let mut router = router();
        let with = |token: u128| RateSubject {
            token: Some(TokenId(Uuid::from_u128(token))),
            ..somebody(1)
        };
        for token in [1, 2] {
            let sent = ask(&mut router, Method::POST, SEND, &with(token)).await;
            assert_eq!(sent.status(), 200);
        }
        let refused = ask(&mut router, Method::POST, SEND, &with(3)).await;
        assert_eq!(refused.status(), 429);
    }

    #[tokio::test]
    async fn strangers_are_counted_by_their_address() {
        let mut router = router();
        for _ in 0..3 {
            let answer = ask(&mut router, Method::GET, POLL, &nobody()).await;
            assert_eq!(answer.status(), 200);
        }
        let refused = ask(&mut router, Method::GET, POLL, &nobody()).await;
        assert_eq!(refused.status(), 429);
        let is_new = RateSubject {
            is_new: true,
            ..somebody(1)
        };
        let newcomer = ask(&mut router, Method::GET, POLL, &is_new).await;
        assert_eq!(newcomer.status(), 429, "one more browser from there");
        let known = ask(&mut router, Method::GET, POLL, &somebody(1)).await;
        assert_eq!(known.status(), 200, "who is known is not held up");
        let elsewhere = (&nobody(), "192.0.2.2");
        let elsewhere = ask_from(&mut router, Method::GET, POLL, elsewhere).await;
        assert_eq!(elsewhere.status(), 200);
        let reader = ask(&mut router, Method::GET, "/shared/x", &nobody()).await;
        assert_eq!(reader.status(), 200, "the holder of a link polls");
        let health = ask(&mut router, Method::GET, "/healthz", &nobody()).await;
        assert_eq!(health.status(), 200);
    }

    #[tokio::test]
    async fn the_local_user_is_not_counted_but_for_what_is_set() {
        let mut router = router();
        let user = local();
        for _ in 0..10 {
            let path = "/chat/x/delete";
            let answer = ask(&mut router, Method::POST, path, &user).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(header(&answer, "ratelimit"), "");
            let sent = ask(&mut router, Method::POST, SEND, &user).await;
            assert_eq!(sent.status(), 200);
        }
        let tier = RateSubject {
            tier: Some("basic".to_owned()),
            ..local()
        };
        let mut statuses = Vec::new();
        for _ in 0..3 {
            let sent = ask(&mut router, Method::POST, SEND, &tier).await;
            statuses.push(sent.status().as_u16());
        }
        assert_eq!(statuses, [200, 200, 429]);
    }
}
