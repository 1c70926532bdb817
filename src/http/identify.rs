//! Finds out who asks: what a request brings along is gathered here and checked in `identity`. It is done
//! when a handler first wants to know, once for each request; a route that asks for nobody costs nothing.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::SignedCookieJar;
use axum_extra::extract::cookie::{Cookie, Key, SameSite};
use entity::{OwnerId, SessionId, Timestamp};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::cost;
use super::extract::{Form, shown_path};
use super::peer::ClientAddress;
use super::problem::{Kind, Problem};
use super::rate::RateSubject;
use super::reply;
use crate::chat::Chats;
use crate::identity::{Caller, Identity, IdentityError, SessionMark, Via, Visit, Vouched};
use crate::limit::Budget;

/// The cookie of a browser's session, and what it is called where browsers hold it to HTTPS.
const COOKIE: &str = "pollen_session";
const HOST_COOKIE: &str = "__Host-pollen_session";
/// What each cookie's text begins with, so that another form of it can be told apart later.
const COOKIE_FORM: &str = "1";
/// What proxies say of whom they pass on.
const PASSED_ON: [HeaderName; 3] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];
/// Longest `User-Agent` that is looked at, in bytes.
const MAX_BROWSER_BYTES: usize = 1_024;

/// How people come in, as far as it is a matter of HTTP.
pub struct Gate {
    pub identity: Arc<Identity>,
    /// What cookies are signed with.
    pub key: Key,
    /// Names besides the loopback ones under which local users reach the server.
    pub local_hosts: Vec<String>,
    /// Origins of other sites whose pages may come with a token.
    pub other_sites: Vec<String>,
    /// The headers of a single-sign-on gateway.
    pub gateway: Gateway,
}

/// The names of a gateway's headers; empty: there is none.
#[derive(Clone, Debug, Default)]
pub struct Gateway {
    pub user: String,
    pub name: String,
    pub groups: String,
    pub tier: String,
    /// Where those go who sign out.
    pub sign_out_url: String,
}

/// Who asks, once somebody wants to know.
#[derive(Clone)]
pub(super) struct Identified {
    gate: Arc<Gate>,
    client: ClientAddress,
    found: Arc<OnceCell<Result<Found, Problem>>>,
}

/// Somebody, and the session that they came with.
#[derive(Clone)]
pub(super) struct Found {
    pub caller: Arc<Caller>,
    /// There is no row of their session so far.
    unwritten: Option<SessionMark>,
    /// Their browser is to be given the session's cookie.
    is_new: bool,
}

impl Found {
    fn known(caller: Arc<Caller>) -> Self {
        Self {
            caller,
            unwritten: None,
            is_new: false,
        }
    }

    fn visit(mark: SessionMark, visit: Visit, is_new: bool) -> Self {
        Self {
            caller: visit.caller,
            unwritten: visit.is_unwritten.then_some(mark),
            is_new,
        }
    }
}

/// Where somebody can sign in whom a page has to tell that they are not known.
#[derive(Clone)]
pub(super) struct SignInAt(pub String);

/// What is needed of a request to tell whoever asked how to come in.
pub(super) struct Asked {
    form: Form,
    goes_to_a_page: bool,
    /// The page that somebody is on or goes to; none where nobody wants to know.
    path: Option<String>,
}

impl Asked {
    pub fn of(request: &Request, form: Form) -> Self {
        let goes_to_a_page = request.method().is_safe() && form == Form::Page;
        let path = match form {
            Form::Json => None,
            _ if goes_to_a_page => Some(request.uri().path().to_owned()),
            Form::Fragment | Form::Page => shown_path(request.headers()),
        };
        Self {
            form,
            goes_to_a_page,
            path,
        }
    }
}

impl Identified {
    pub fn new(gate: &Arc<Gate>, client: ClientAddress) -> Self {
        Self {
            gate: Arc::clone(gate),
            client,
            found: Arc::default(),
        }
    }

    /// For whom a request counts: their user, or nobody. Polls are counted alike in all tiers, and are answered also
    /// while the database is away.
    pub async fn subject(
        &self,
        chats: &Chats,
        (headers, uri): (&HeaderMap, &Uri),
        budget: Budget,
    ) -> RateSubject {
        let Ok(found) = self.found(headers, uri).await else {
            return RateSubject::NOBODY;
        };
        let caller = &found.caller;
        let tier = if budget == Budget::Polls {
            None
        } else {
            let member = chats.member(caller.owner).await;
            // Without a database the request fails in any case.
            member.ok().and_then(|member| member.tier.clone())
        };
        RateSubject {
            user: Some(caller.owner),
            token: caller.token,
            tier: tier.map(|tier| tier.name),
            is_new: found.is_new,
            is_anonymous: caller.via == Via::Anonymous,
        }
    }

    /// Gives a new browser its cookie with the answer, and shows whoever is not known the way in.
    pub fn tell(&self, asked: Asked, mut response: Response) -> Response {
        let problem = response.extensions().get::<Problem>();
        let is_welcome = problem.is_none();
        let is_refused = problem.is_some_and(|problem| problem.kind == Kind::SignInNeeded);
        let gate = &self.gate;
        if is_welcome
            && let Some(Ok(found)) = self.found.get()
            && found.is_new
            && let Some(mark) = found.unwritten
        {
            gate.give(&mut response, mark, self.client.is_https);
        }
        if is_refused && asked.form.is_html() && gate.takes_sign_ins() {
            let query = serde_urlencoded::to_string([("next", asked.path.unwrap_or_default())]);
            let sign_in = format!("/sign-in?{}", query.unwrap_or_default());
            if asked.goes_to_a_page {
                return reply::see_other(&sign_in).unwrap_or(response);
            }
            response.extensions_mut().insert(SignInAt(sign_in));
        }
        response
    }

    /// Who asks.
    ///
    /// # Errors
    /// If it is nobody, or they may not come in.
    pub async fn found(&self, headers: &HeaderMap, uri: &Uri) -> Result<Found, Problem> {
        let find = || async {
            let found = self.gate.find(headers, uri, self.client).await;
            found.inspect_err(|problem| {
                if problem.kind == Kind::SignInNeeded {
                    tracing::info!(address = %self.client.ip, "somebody was not let in");
                }
            })
        };
        self.found.get_or_init(find).await.clone()
    }

    /// Who asks, with the right to do what the request's method is for.
    ///
    /// # Errors
    /// As [`Self::found`], or if their rights do not reach.
    pub async fn allowed(&self, parts: &Parts) -> Result<Arc<Caller>, Problem> {
        let caller = self.known(parts).await?;
        if !only_reads(parts) && caller.scope < crate::identity::Scope::Write {
            return Err(Problem::bare(Kind::ScopeNeeded));
        }
        Ok(caller)
    }

    /// Who asks, whatever their rights.
    ///
    /// # Errors
    /// As [`Self::found`].
    pub async fn known(&self, parts: &Parts) -> Result<Arc<Caller>, Problem> {
        let found = self.found(&parts.headers, &parts.uri).await?;
        if let Some(mark) = found.unwritten.filter(|_| !only_reads(parts)) {
            let identity = &self.gate.identity;
            Box::pin(identity.write_down(mark, browser(&parts.headers))).await?;
        }
        Ok(found.caller)
    }

    /// Whether whoever asked may still come in, once all of what they ask for is there: it may have come
    /// slowly, and what they came with may have been ended meanwhile.
    ///
    /// # Errors
    /// If they may not, or are not who they were.
    pub async fn still(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
        let Some(Ok(found)) = self.found.get() else {
            return Ok(());
        };
        if found.is_new {
            return Ok(());
        }
        let now = self.gate.find(headers, uri, self.client).await?.caller;
        let was = &found.caller;
        let is_as_it_was =
            now.owner == was.owner && now.scope >= was.scope && now.is_admin >= was.is_admin;
        if is_as_it_was {
            Ok(())
        } else {
            Err(Problem::bare(Kind::SignInNeeded))
        }
    }

    pub fn address(&self) -> IpAddr {
        self.client.ip
    }
}

fn only_reads(parts: &Parts) -> bool {
    cost::only_reads(&parts.method, cost::route_of(&parts.extensions))
}

/// By what somebody comes in: the first of these that they bring along and that is open.
enum Way<'a> {
    Bearer(&'a str),
    /// A page of a listed site that has brought none.
    OtherSite,
    Vouched(Vouched),
    Session(SessionMark),
    /// They bring nothing.
    Bare,
}

impl Gate {
    fn way<'a>(&self, headers: &'a HeaderMap, client: ClientAddress) -> Way<'a> {
        let modes = self.identity.modes();
        if (modes.token || modes.jwt)
            && let Some(bearer) = bearer(headers)
        {
            return Way::Bearer(bearer);
        }
        if self.is_listed_site(headers) {
            return Way::OtherSite;
        }
        if modes.proxy
            && client.is_by_proxy
            && let Some(vouched) = self.gateway.vouched(headers)
        {
            return Way::Vouched(vouched);
        }
        let mark = signed_mark(&self.key, headers, client.is_https);
        mark.map_or(Way::Bare, Way::Session)
    }

    async fn find(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        client: ClientAddress,
    ) -> Result<Found, Problem> {
        let modes = self.identity.modes();
        match self.way(headers, client) {
            Way::Bearer(bearer) => return Ok(Found::known(self.identity.bearer(bearer).await?)),
            Way::OtherSite => {
                return Err(Problem::new(
                    Kind::SignInNeeded,
                    "pages of other sites come with a token",
                ));
            }
            Way::Vouched(vouched) => {
                return Ok(Found::known(self.identity.vouched(vouched).await?));
            }
            Way::Session(mark) => match self.identity.visit(mark).await {
                Ok(visit) => return Ok(Found::visit(mark, visit, false)),
                // Another way in may be open.
                Err(IdentityError::Refused(_)) if modes.local || modes.anonymous => {}
                Err(error) => return Err(error.into()),
            },
            Way::Bare => {}
        }
        if modes.local {
            return Ok(Found::known(self.local(headers, uri)?));
        }
        if modes.anonymous {
            let (mark, visit) = self.identity.new_anonymous();
            return Ok(Found::visit(mark, visit, true));
        }
        Err(Problem::bare(Kind::SignInNeeded))
    }

    /// Who asks, if that is known without a look into the database.
    pub(super) fn remembered(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        client: ClientAddress,
    ) -> Option<Arc<Caller>> {
        match self.way(headers, client) {
            Way::Bearer(bearer) => self.identity.bearer_at_hand(bearer),
            Way::Session(mark) => self.identity.visitor_at_hand(mark),
            Way::Bare if self.identity.modes().local => self.local(headers, uri).ok(),
            Way::Bare | Way::OtherSite | Way::Vouched(_) => None,
        }
    }

    /// The local user, for who asks on this machine.
    fn local(&self, headers: &HeaderMap, uri: &Uri) -> Result<Arc<Caller>, Problem> {
        self.check_way(headers)?;
        self.check_host(headers, uri)?;
        Ok(Arc::new(Caller::local()))
    }

    /// Whether a page of a site that the operator lists asks: browsers add cookies and a gateway's headers to what
    /// it asks for, and it is meant to have neither.
    fn is_listed_site(&self, headers: &HeaderMap) -> bool {
        let origin = headers.get(header::ORIGIN);
        origin.is_some_and(|origin| self.other_sites.iter().any(|site| origin == site.as_str()))
    }

    /// Whoever comes through a proxy is not on this machine, unless the operator says that they may as well be.
    fn check_way(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let is_passed_on = PASSED_ON.iter().any(|name| headers.contains_key(name));
        if is_passed_on && self.local_hosts.is_empty() {
            return Err(Problem::new(
                Kind::WrongHost,
                "this came through a proxy, and the server knows nobody but its local user",
            ));
        }
        Ok(())
    }

    /// A page of another server that has its name lead to this machine must not reach the local user's
    /// chats: its requests still carry its name (DNS rebinding).
    fn check_host(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
        let named = uri.authority().map(Authority::as_str);
        let host = headers.get(header::HOST);
        let Some(host) = named.or_else(|| host.map(|host| host.to_str().unwrap_or("?"))) else {
            // No browser leaves it out.
            return Ok(());
        };
        let name = host_name(host);
        let is_ours = is_loopback(name)
            || self
                .local_hosts
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name));
        if is_ours {
            Ok(())
        } else {
            Err(Problem::bare(Kind::WrongHost))
        }
    }

    /// Whether there is something to sign in with.
    #[must_use]
    pub fn takes_sign_ins(&self) -> bool {
        let modes = self.identity.modes();
        modes.token || modes.jwt
    }

    /// Gives the browser the cookie of its session.
    pub fn give(&self, response: &mut Response, mark: SessionMark, is_https: bool) {
        let lifetime = self.identity.cookie_lifetime().as_secs();
        let text = written(&mark);
        self.set(
            response,
            text,
            i64::try_from(lifetime).unwrap_or(i64::MAX),
            is_https,
        );
    }

    /// Takes the cookie away from the browser.
    pub fn take(&self, response: &mut Response, is_https: bool) {
        self.set(response, String::new(), 0, is_https);
    }

    fn set(&self, response: &mut Response, text: String, lifetime_s: i64, is_https: bool) {
        let cookie = Cookie::build((cookie_name(is_https), text))
            .path("/")
            .http_only(true)
            .secure(is_https)
            .same_site(SameSite::Lax)
            .max_age(cookie::time::Duration::seconds(lifetime_s))
            .build();
        let jar = SignedCookieJar::new(self.key.clone()).add(cookie);
        for set in jar.into_response().headers().get_all(header::SET_COOKIE) {
            response
                .headers_mut()
                .append(header::SET_COOKIE, set.clone());
        }
    }
}

impl Gateway {
    pub(super) fn vouched(&self, headers: &HeaderMap) -> Option<Vouched> {
        let text = |name: &str| {
            (!name.is_empty()).then_some(())?;
            let mut values = headers.get_all(name).iter();
            let value = values.next()?;
            // Of two, one is not the gateway's.
            values.next().is_none().then_some(())?;
            // Gateways send names as they are, not in ASCII alone.
            let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let groups = text(&self.groups).unwrap_or_default();
        let groups = groups.split(',').map(|group| group.trim().to_owned());
        Some(Vouched {
            user: text(&self.user)?,
            name: text(&self.name),
            tier: text(&self.tier),
            groups: groups.filter(|group| !group.is_empty()).collect(),
        })
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// What a browser says that it is.
pub(super) fn browser(headers: &HeaderMap) -> &str {
    let value = headers.get(header::USER_AGENT).map(HeaderValue::to_str);
    let text = value.and_then(Result::ok).unwrap_or_default();
    text.get(..MAX_BROWSER_BYTES).unwrap_or(text)
}

pub(super) fn cookie_name(is_https: bool) -> &'static str {
    if is_https { HOST_COOKIE } else { COOKIE }
}

/// What the cookie says, if it is one of ours.
pub(super) fn signed_mark(key: &Key, headers: &HeaderMap, is_https: bool) -> Option<SessionMark> {
    // Most polls of scripts have none, and a jar copies the key.
    headers.get(header::COOKIE)?;
    let jar = SignedCookieJar::from_headers(headers, key.clone());
    let cookie = jar.get(cookie_name(is_https))?;
    read_mark(cookie.value())
}

/// A session as its cookie has it: form, session, user, beginning, and whether it is anonymous.
pub(super) fn written(mark: &SessionMark) -> String {
    let kind = if mark.is_anonymous { "a" } else { "s" };
    format!(
        "{COOKIE_FORM}.{}.{}.{}.{kind}",
        mark.id.0.simple(),
        mark.user.0.simple(),
        mark.created_at.0
    )
}

/// The session that a cookie's text tells of. Its signature has been checked.
pub(super) fn read_mark(text: &str) -> Option<SessionMark> {
    let mut parts = text.split('.');
    let mut part = || parts.next();
    if part()? != COOKIE_FORM {
        return None;
    }
    let mark = SessionMark {
        id: SessionId(Uuid::try_parse(part()?).ok()?),
        user: OwnerId(Uuid::try_parse(part()?).ok()?),
        created_at: Timestamp(part()?.parse().ok()?),
        is_anonymous: match part()? {
            "a" => true,
            "s" => false,
            _ => return None,
        },
    };
    parts.next().is_none().then_some(mark)
}

/// A host without its port.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_loopback(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_address = name
        .parse::<IpAddr>()
        .is_ok_and(|ip| ip.to_canonical().is_loopback());
    let parent = name.rsplit('.').next().unwrap_or(name);
    is_address || parent.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_as_it_was_written() {
        let mark = SessionMark {
            id: SessionId::generate(),
            user: OwnerId::generate(),
            created_at: Timestamp(1_795_226_400_000),
            is_anonymous: true,
        };
        let text = written(&mark);
        assert_eq!(read_mark(&text), Some(mark));
        for wrong in [
            "",
            "1",
            &text[..text.len() - 2],
            &format!("{text}.x"),
            &text.replace(".a", ".b"),
            &text.replacen('1', "2", 1),
        ] {
            assert_eq!(read_mark(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn loopback_names_and_no_others_are_local() {
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST.",
            "a.localhost:1",
            "127.0.0.1:80",
            "127.8.8.8",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(is_loopback(host_name(host)), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]:80",
            "",
            "?",
        ] {
            assert!(!is_loopback(host_name(host)), "{host}");
        }
    }

    #[test]
    fn a_bearer_is_read_whatever_its_case() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(with("bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(with("Basic abc"), None);
        assert_eq!(with("Bearer").as_deref(), Some(""));
    }
}
