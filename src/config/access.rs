//! The keys that say who may come in, and how they are told apart.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Config;
use super::check::{Complaint, check_url, complain};

/// Several values: a list, or one text with commas between them, as variables and flags have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values<T>(std::marker::PhantomData<T>);
        impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for Values<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values with commas between them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
                let words = text.split(',').map(str::trim);
                words.filter(|word| !word.is_empty()).map(parsed).collect()
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
                let mut values = Vec::new();
                while let Some(word) = list.next_element::<String>()? {
                    values.push(parsed(word.trim())?);
                }
                Ok(values)
            }
        }
        deserializer
            .deserialize_any(Values(std::marker::PhantomData))
            .map(Self)
    }
}

fn parsed<T: FromStr<Err: fmt::Display>, E: serde::de::Error>(word: &str) -> Result<T, E> {
    word.parse()
        .map_err(|error: T::Err| E::custom(format!("{word:?}: {error}")))
}

/// Addresses: one, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

/// The word is neither.
#[derive(Debug, thiserror::Error)]
#[error("expected an address or a network: 192.168.1.5, 10.0.0.0/8")]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let network = address.or_else(|_| text.parse()).map_err(|_| NoNetwork)?;
        Ok(Self(network))
    }
}

/// A way to be somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    Local,
    Anonymous,
    Token,
    Jwt,
    Proxy,
}

impl AuthMode {
    const ALL: [(&str, Self); 5] = [
        ("local", Self::Local),
        ("anonymous", Self::Anonymous),
        ("token", Self::Token),
        ("jwt", Self::Jwt),
        ("proxy", Self::Proxy),
    ];
}

/// The word is none of the modes.
#[derive(Debug, thiserror::Error)]
#[error("expected `local`, `anonymous`, `token`, `jwt` or `proxy`")]
pub struct UnknownMode;

impl FromStr for AuthMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let known = Self::ALL.into_iter().find(|(name, _)| *name == text);
        known.map(|(_, mode)| mode).ok_or(UnknownMode)
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// How users are told apart, with commas between them: `local` (whoever reaches the server is its one
    /// user; only on a loopback address), `anonymous` (a cookie makes each browser a user), `token` (API tokens), `jwt`
    /// (tokens of another application), `proxy` (headers of a single-sign-on gateway).
    #[schemars(with = "String")]
    pub modes: List<AuthMode>,
    /// Whether `anonymous` alone may serve an address that others reach; `--allow-anonymous` sets it.
    pub allow_anonymous: bool,
    /// The tier of anonymous users. Empty: `default_tier`.
    pub anonymous_tier: String,
    /// Whether administrators may read other people's chats; each look is in the audit log.
    pub admins_read_chats: bool,
    /// Names besides the loopback ones under which local users reach the server, through a proxy of a
    /// notebook host for instance.
    #[schemars(with = "String")]
    pub local_hosts: List<String>,
    /// What cookies are signed with: at least 32 characters, the same on all nodes. Empty: with SQLite, a key
    /// that is made at the first start and kept in a file next to the database.
    #[schemars(with = "String")]
    pub secret: SecretString,
    /// How long after its last use a browser's session ends.
    pub session_idle_ms: u64,
    /// How long after its beginning a browser's session ends.
    pub session_absolute_ms: u64,
    /// How long a token, a session or a user is believed without another look into the database: so long may it take
    /// on other nodes until one that was ended is. While the database is away, five minutes.
    pub recheck_ms: u64,
    pub jwt: JwtConfig,
    pub proxy: ProxyConfig,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// The secret of tokens signed by HS256: at least 32 characters.
    #[schemars(with = "String")]
    pub secret: SecretString,
    /// Where the issuer publishes its public keys, for tokens signed by RS256 to RS512, PS256 to PS512, ES256, ES384 or `EdDSA`.
    pub jwks_url: String,
    /// What `iss` has to be. Empty: it is not looked at.
    pub issuer: String,
    /// What `aud` has to be, or to hold. Empty: a token with an `aud` is refused.
    pub audience: String,
    /// How far the clocks may be apart.
    pub leeway_ms: u64,
    /// Claims that have to be there besides `exp`, with commas between them.
    #[schemars(with = "String")]
    pub required_claims: List<String>,
    /// The claim that tells users apart.
    pub user_claim: String,
    /// The claim with the name that people call them. Empty: they have none.
    pub name_claim: String,
    /// The claim with the tier's name. Empty: tokens do not say it.
    pub tier_claim: String,
    /// The claim that is `true` for admins. Empty: tokens do not say it.
    pub admin_claim: String,
    /// How old the public keys may become before they are fetched again. A key that is not among them is
    /// looked for at once, though not often.
    pub refresh_ms: u64,
}

/// Headers are believed only from `trusted_proxies`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// The header that tells users apart.
    pub user_header: String,
    /// The header with the name that people call them. Empty: there is none.
    pub name_header: String,
    /// The header with the groups, commas between them. Empty: there is none.
    pub groups_header: String,
    /// The header with the tier's name. Empty: there is none.
    pub tier_header: String,
    /// The group whose members are admins. Empty: there is none.
    pub admin_group: String,
    /// Where the page sends those who sign out.
    pub sign_out_url: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorsConfig {
    /// Origins whose pages may use the API with a token: `https://app.example.org`. Empty: none.
    #[schemars(with = "String")]
    pub origins: List<String>,
}

/// Shortest secret, in characters: what is shorter can be guessed.
const MIN_SECRET_CHARS: usize = 32;

/// What the keys must be together.
pub(super) fn check(config: &Config) -> Result<(), Complaint> {
    let auth = &config.auth;
    let has = |mode| auth.modes.0.contains(&mode);
    if auth.modes.0.is_empty() {
        return complain("auth.modes", "nobody could come in: name at least one");
    }
    check_address(config)?;
    for (key, secret) in [
        ("auth.secret", &auth.secret),
        ("auth.jwt.secret", &auth.jwt.secret),
    ] {
        let length = secret.expose_secret().chars().count();
        if length > 0 && length < MIN_SECRET_CHARS {
            let reason =
                format!("it has {length} characters; at least {MIN_SECRET_CHARS} are safe");
            return complain(key, reason);
        }
    }
    let needs_cookies = has(AuthMode::Anonymous) || has(AuthMode::Token) || has(AuthMode::Jwt);
    let is_sqlite = config.database_url.expose_secret().starts_with("sqlite:");
    if needs_cookies && !is_sqlite && auth.secret.expose_secret().is_empty() {
        return complain(
            "auth.secret",
            "browsers' cookies are signed with it, on all nodes alike: set 32 random characters or more",
        );
    }
    if auth.session_idle_ms > auth.session_absolute_ms {
        let reason = "a session cannot go unused for longer than `auth.session_absolute_ms`";
        return complain("auth.session_idle_ms", reason);
    }
    if has(AuthMode::Jwt) {
        check_jwt(&auth.jwt)?;
    }
    if has(AuthMode::Proxy) && config.trusted_proxies.0.is_empty() {
        return complain(
            "trusted_proxies",
            "the mode `proxy` believes headers, and only of the addresses that are listed here: there are none",
        );
    }
    let tier = auth.anonymous_tier.as_str();
    if has(AuthMode::Anonymous) && !tier.is_empty() && !config.tier.iter().any(|t| t.name == tier) {
        return complain("auth.anonymous_tier", "there is no such tier");
    }
    if !config.public_url.is_empty() {
        check_url("public_url", &config.public_url)?;
    }
    for origin in &config.cors.origins.0 {
        let is_origin = url::Url::parse(origin)
            .is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == *origin);
        if !is_origin {
            let reason =
                format!("{origin:?} is no origin: https://app.example.org is one, without a path");
            return complain("cors.origins", reason);
        }
    }
    Ok(())
}

/// Who listens to others must tell them apart.
fn check_address(config: &Config) -> Result<(), Complaint> {
    if config.listen.ip().is_loopback() {
        return check_proxies(config);
    }
    let auth = &config.auth;
    if auth.modes.0.contains(&AuthMode::Local) {
        return complain(
            "auth.modes",
            format!(
                "`local` makes whoever reaches {} the server's one user, and others reach it: set \
                 POLLEN_AUTH__MODES=token and make a token by `pollen token create --user NAME`, or \
                 choose `proxy`, `jwt` or `anonymous` (docs/SECURITY.md)",
                config.listen
            ),
        );
    }
    if auth.modes.0 == [AuthMode::Anonymous] && !auth.allow_anonymous {
        return complain(
            "auth.modes",
            format!(
                "with `anonymous` alone everybody who reaches {} spends your money: \
                 --allow-anonymous says that you want that",
                config.listen
            ),
        );
    }
    Ok(())
}

/// A proxy makes others of those who come from this machine.
fn check_proxies(config: &Config) -> Result<(), Complaint> {
    let auth = &config.auth;
    if !auth.modes.0.contains(&AuthMode::Local) || !auth.local_hosts.0.is_empty() {
        return Ok(());
    }
    let url = url::Url::parse(&config.public_url).ok();
    let is_public = url.is_some_and(|url| match url.host() {
        Some(url::Host::Domain(name)) => name != "localhost" && !name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => !ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => !ip.is_loopback(),
        None => false,
    });
    for (key, is_set) in [
        ("public_url", is_public),
        ("trusted_proxies", !config.trusted_proxies.0.is_empty()),
    ] {
        if is_set {
            return complain(
                "auth.modes",
                format!(
                    "`{key}` says that others come through a proxy, and `local` makes each of them the server's \
                     one user: choose `token`, `proxy`, `jwt` or `anonymous` (docs/SECURITY.md), or name the proxy's \
                     host in `auth.local_hosts` if all who come by it may be that one"
                ),
            );
        }
    }
    Ok(())
}

fn check_jwt(jwt: &JwtConfig) -> Result<(), Complaint> {
    let has_secret = !jwt.secret.expose_secret().is_empty();
    if has_secret != jwt.jwks_url.is_empty() {
        return complain(
            "auth.jwt.secret",
            "the mode `jwt` needs either a secret or `auth.jwt.jwks_url`, and not both",
        );
    }
    if jwt.user_claim.is_empty() {
        return complain(
            "auth.jwt.user_claim",
            "users are told apart by it: name one",
        );
    }
    if has_secret {
        return Ok(());
    }
    check_url("auth.jwt.jwks_url", &jwt.jwks_url)
}

/// What is not a mistake, but should be known.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.auth.admins_read_chats {
        warnings.push(
            "administrators may read all chats (auth.admins_read_chats): tell your users"
                .to_owned(),
        );
    }
    let is_open = config.auth.modes.0.contains(&AuthMode::Anonymous);
    let warning = format!(
        "whoever reaches {} can chat without signing in, at your expense: the tier {:?} limits each browser, not all of them",
        config.listen, config.auth.anonymous_tier
    );
    if is_open && !config.listen.ip().is_loopback() {
        warnings.push(warning);
    }
    warnings
}
