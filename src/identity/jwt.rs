//! Users of another application, which signs who they are: JSON Web Tokens (RFC 7519) with a shared
//! secret, or with keys that the application publishes (RFC 7517) and changes when it likes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::users::Known;
use super::{Caller, Identity, IdentityError, Via};
use crate::provider::{ConnectError, Document, ProviderSettings};

/// What the issuer is called where the tokens do not name one.
const NAMELESS_ISSUER: &str = "jwt";
/// How soon published keys are looked at again for a key that is not among them.
const MISSING_KEY_PAUSE: Duration = Duration::from_secs(5);
/// The algorithms of public keys. Those of shared secrets are not among them: a public key must never
/// be taken for a secret.
const PUBLIC_KEY_ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Where the keys come from.
pub enum KeySource {
    /// A shared secret, for HS256.
    Secret(SecretString),
    /// A JWKS at the address of these settings.
    Published {
        at: Box<ProviderSettings>,
        refresh: Duration,
    },
}

/// Which tokens are believed, and which claims say what.
pub struct JwtSettings {
    pub keys: KeySource,
    /// What `iss` has to be; empty: it is not looked at.
    pub issuer: String,
    /// What `aud` has to be or hold; empty: there must be none.
    pub audience: String,
    /// How far the clocks may be apart.
    pub leeway: Duration,
    pub required: Vec<String>,
    pub user_claim: String,
    /// Empty, as the next ones: tokens do not say it.
    pub name_claim: String,
    pub tier_claim: String,
    pub admin_claim: String,
}

pub(super) struct Jwt {
    settings: JwtSettings,
    keys: Keys,
}

enum Keys {
    Secret(DecodingKey),
    Published {
        document: Document,
        refresh: Duration,
        fetched: Mutex<Fetched>,
    },
}

/// The published keys as they were.
#[derive(Default)]
struct Fetched {
    keys: Option<Arc<JwkSet>>,
    /// When they were last asked for, with or without success.
    asked: Option<Instant>,
}

impl Jwt {
    pub fn new(settings: JwtSettings) -> Result<Self, ConnectError> {
        let keys = match &settings.keys {
            KeySource::Secret(secret) => {
                Keys::Secret(DecodingKey::from_secret(secret.expose_secret().as_bytes()))
            }
            KeySource::Published { at, refresh } => Keys::Published {
                document: Document::at(at)?,
                refresh: *refresh,
                fetched: Mutex::default(),
            },
        };
        Ok(Self { settings, keys })
    }

    /// The claims of a token whose signature, times, issuer and audience are right.
    async fn claims(&self, token: &str) -> Result<Map<String, Value>, IdentityError> {
        let no_token = IdentityError::Refused("this is neither an API token nor a JSON Web Token");
        let header = decode_header(token).map_err(|_| no_token)?;
        let (key, algorithm) = match &self.keys {
            Keys::Secret(key) => (key.clone(), Algorithm::HS256),
            Keys::Published { .. } => {
                if !PUBLIC_KEY_ALGORITHMS.contains(&header.alg) {
                    return Err(IdentityError::Refused(
                        "the token's algorithm is not allowed",
                    ));
                }
                (self.published_key(header.kid.as_deref()).await?, header.alg)
            }
        };
        let decoded = decode::<Map<String, Value>>(token, &key, &self.validation(algorithm));
        let claims = decoded.map_err(|error| refusal(&error))?.claims;
        let lacks = |name: &&String| claims.get(*name).is_none_or(Value::is_null);
        if self.settings.required.iter().find(lacks).is_some() {
            return Err(IdentityError::Refused(
                "the token lacks a claim that is required",
            ));
        }
        Ok(claims)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let settings = &self.settings;
        let mut validation = Validation::new(algorithm);
        validation.leeway = settings.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required: HashSet<String> = settings.required.iter().cloned().collect();
        if !settings.issuer.is_empty() {
            validation.set_issuer(&[&settings.issuer]);
            required.insert("iss".to_owned());
        }
        if !settings.audience.is_empty() {
            validation.set_audience(&[&settings.audience]);
            required.insert("aud".to_owned());
        }
        validation.required_spec_claims = required;
        validation
    }

    /// The key of this id; without one, the only key that there is.
    async fn published_key(&self, id: Option<&str>) -> Result<DecodingKey, IdentityError> {
        let keys = self.published(|keys| find(keys, id).is_some()).await?;
        let key = find(&keys, id);
        let key = key.ok_or(IdentityError::Refused("the token's key is not published"))?;
        DecodingKey::from_jwk(key)
            .map_err(|_| IdentityError::Refused("the token's key cannot be used"))
    }

    /// The keys, fetched anew if they are old or have not what is looked for.
    async fn published(
        &self,
        has_it: impl Fn(&JwkSet) -> bool,
    ) -> Result<Arc<JwkSet>, IdentityError> {
        let Keys::Published {
            document,
            refresh,
            fetched,
        } = &self.keys
        else {
            return Err(IdentityError::Refused(
                "this server takes no published keys",
            ));
        };
        // Held while they are fetched: one asks for all.
        let mut fetched = fetched.lock().await;
        let has_key = fetched.keys.as_deref().is_some_and(has_it);
        let age = fetched.asked.map(|asked| asked.elapsed());
        let pause = if has_key {
            *refresh
        } else {
            MISSING_KEY_PAUSE.min(*refresh)
        };
        if age.is_none_or(|age| age >= pause) {
            fetched.asked = Some(Instant::now());
            match fetch(document).await {
                Ok(keys) => fetched.keys = Some(Arc::new(keys)),
                Err(reason) => {
                    tracing::warn!(%reason, "the keys of JSON Web Tokens could not be fetched");
                }
            }
        }
        fetched.keys.clone().ok_or_else(|| {
            IdentityError::Unavailable(
                "the keys of the token's issuer cannot be fetched".to_owned(),
            )
        })
    }

    fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
        claims.get(name).and_then(Value::as_str)
    }
}

impl Identity {
    pub(super) async fn by_jwt(&self, jwt: &Jwt, token: &str) -> Result<Caller, IdentityError> {
        let claims = jwt.claims(token).await?;
        let settings = &jwt.settings;
        let subject = match claims.get(&settings.user_claim) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => {
                return Err(IdentityError::Refused("the token does not say whose it is"));
            }
        };
        let issuer = Jwt::text(&claims, "iss").map_or_else(
            || NAMELESS_ISSUER.to_owned(),
            // Nobody can call themselves what another way in does.
            |issuer| format!("{NAMELESS_ISSUER}:{issuer}"),
        );
        let is_admin = (!settings.admin_claim.is_empty())
            .then(|| claims.get(&settings.admin_claim) == Some(&Value::Bool(true)));
        let user = self
            .known_user(Known {
                issuer: &issuer,
                subject: &subject,
                name: Jwt::text(&claims, &settings.name_claim),
                tier: Jwt::text(&claims, &settings.tier_claim),
                is_admin,
            })
            .await?;
        Ok(Caller::of(&user, Via::Jwt))
    }
}

async fn fetch(document: &Document) -> Result<JwkSet, String> {
    let bytes = document.fetch().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| format!("it is no JWKS: {error}"))
}

fn find<'a>(keys: &'a JwkSet, id: Option<&str>) -> Option<&'a jsonwebtoken::jwk::Jwk> {
    match (id, keys.keys.as_slice()) {
        (Some(id), _) => keys.find(id),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

fn refusal(error: &jsonwebtoken::errors::Error) -> IdentityError {
    use jsonwebtoken::errors::ErrorKind as E;
    IdentityError::Refused(match error.kind() {
        E::ExpiredSignature => "the token has expired",
        E::ImmatureSignature => "the token is not valid yet",
        E::InvalidAudience => "the token is for somebody else",
        E::InvalidIssuer => "the token is of somebody else",
        E::MissingRequiredClaim(_) => "the token lacks a claim that is required",
        _ => "the token's signature is not right",
    })
}
