//! The way to a server: its address, who comes, and the one place that makes this room's HTTP client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::HeaderValue;
use url::{Host, Url};

use super::call::{Client, Way};
use super::error::Error;
use super::patience::{Patience, Setback};

/// What is told of setbacks.
pub(super) type Told = dyn Fn(Setback<'_>) + Send + Sync;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A client that is being made.
pub struct Builder {
    address: String,
    token: Option<String>,
    session: Option<String>,
    plain_http: bool,
    patience: Patience,
    held: Option<Duration>,
    user_agent: String,
    told: Option<Box<Told>>,
}

impl Builder {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.trim().to_owned(),
            token: None,
            session: None,
            plain_http: false,
            patience: Patience::default(),
            held: None,
            user_agent: concat!("pollen-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            told: None,
        }
    }

    /// Comes as the user of this token (`Authorization: Bearer`). An empty one is none.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        let token = token.trim();
        self.token = (!token.is_empty()).then(|| token.to_owned());
        self
    }

    /// Comes as who was anonymous before: what [`Client::session`] said then.
    #[must_use]
    pub fn session(mut self, session: Option<String>) -> Self {
        self.session = session;
        self
    }

    /// Lets the token go over plain `http` also to another machine, where everybody on the way can read it.
    #[must_use]
    pub fn allow_plain_http(mut self, is_allowed: bool) -> Self {
        self.plain_http = is_allowed;
        self
    }

    /// How long requests are tried.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Lets the server hold polls that find nothing for so long (`Prefer: wait`): for ways that bear it.
    #[must_use]
    pub fn held_polls(mut self, wait: Duration) -> Self {
        self.held = (!wait.is_zero()).then_some(wait);
        self
    }

    #[must_use]
    pub fn user_agent(mut self, name: &str) -> Self {
        name.clone_into(&mut self.user_agent);
        self
    }

    /// Is told of each request that failed and is going to be made again.
    #[must_use]
    pub fn on_setback(mut self, told: impl Fn(Setback<'_>) + Send + Sync + 'static) -> Self {
        self.told = Some(Box::new(told));
        self
    }

    /// # Errors
    /// If the address is none, or the token would be readable on its way or cannot be sent. Nothing is asked so far.
    pub fn build(self) -> Result<Client, Error> {
        let base = base(&self.address)?;
        let is_here = is_loopback(&base);
        let is_readable = base.scheme() == "http" && !is_here && !self.plain_http;
        let token = match self.token {
            Some(_) if is_readable => {
                return Err(Error::PlainHttp {
                    host: base.host_str().unwrap_or_default().to_owned(),
                });
            }
            Some(token) => {
                let value = HeaderValue::try_from(format!("Bearer {token}"));
                let mut value = value.map_err(|_| Error::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let http = http_client(&self.user_agent, is_here)?;
        let way = Way {
            http,
            base,
            token,
            session: Mutex::new(self.session),
            held: self.held,
            told: self.told,
        };
        Ok(Client::new(Arc::new(way), self.patience))
    }
}

/// The address, with a path that others can be put behind.
fn base(address: &str) -> Result<Url, Error> {
    let wrong = |reason| Error::Address {
        // What comes before an `@` may be a password.
        address: address
            .rsplit_once('@')
            .map_or(address, |(_, rest)| rest)
            .to_owned(),
        reason,
    };
    let url = Url::parse(address)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let mut url = url.ok_or_else(|| wrong("it begins with http:// or https://"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("who you are is said by a token"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it ends before a ? or #"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that makes the client for the way to a Pollen server"
)]
fn http_client(user_agent: &str, is_here: bool) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder();
    if is_here {
        // A proxy of the environment's knows the way to the world, not to this machine.
        builder = builder.no_proxy();
    }
    builder
        .user_agent(user_agent)
        .connect_timeout(CONNECT_LIMIT)
        // A token must not follow a redirect to somebody else.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Error::Setup(super::call::root(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(address: &str, token: &str) -> Result<Client, Error> {
        Builder::new(address).token(token).build()
    }

    #[test]
    fn a_token_goes_where_nobody_reads_it() {
        for good in [
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:1/",
            "https://example.org/pollen",
        ] {
            assert!(built(good, "pln_x").is_ok(), "{good}");
        }
        for bad in [
            "http://example.org",
            "http://10.0.0.1:8080",
            "http://localhost.org",
        ] {
            assert!(matches!(built(bad, "pln_x"), Err(Error::PlainHttp { .. })));
            assert!(built(bad, "").is_ok(), "{bad} without a token");
            let allowed = Builder::new(bad).token("pln_x").allow_plain_http(true);
            assert!(allowed.build().is_ok());
        }
    }

    #[test]
    fn no_error_and_no_debug_print_has_the_token() {
        let error = built("http://example.org", "pln_secret").expect_err("plain http");
        assert!(!format!("{error} {error:?}").contains("secret"));
        let error = built("https://example.org", "pln_secret\u{7}").expect_err("a bell");
        assert!(!format!("{error} {error:?}").contains("secret"));
        let client = built("https://example.org", "pln_secret").expect("a client");
        assert!(!format!("{client:?}").contains("secret"));
        let error = built("https://me:secret@example.org", "").expect_err("a password");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }

    #[test]
    fn an_address_is_one() {
        for bad in [
            "",
            "example.org",
            "ftp://example.org",
            "http://",
            "http://x/?a=b",
            "x y",
        ] {
            assert!(
                matches!(built(bad, ""), Err(Error::Address { .. })),
                "{bad}"
            );
        }
        let client = built("https://example.org/pollen", "").expect("a client");
        assert_eq!(client.address(), "https://example.org/pollen");
        assert_eq!(
            client.url("chat/create").expect("a URL").as_str(),
            "https://example.org/pollen/chat/create"
        );
    }
}
