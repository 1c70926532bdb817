//! Users of another application, which signs who they are: JSON Web Tokens (RFC 7519) with a shared
//! secret, or with keys that the application publishes (RFC 7517) and changes when it likes.

use std::collections::HashSet;
use std::time::Duration;

use entity::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::keys::PublishedKeys;
use super::memory::Found;
use super::users::Known;
use super::{Caller, Identity, IdentityError, Proof, Via};
use crate::provider::{ConnectError, Document, ProviderSettings};

/// What the issuer is called where the tokens do not name one.
const NAMELESS_ISSUER: &str = "jwt";
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
    Published(PublishedKeys),
}

/// Whose a token is.
pub(super) struct Told<'a> {
    issuer: String,
    subject: String,
    name: Option<&'a str>,
    tier: Option<&'a str>,
    is_admin: Option<bool>,
}

impl Told<'_> {
    pub fn known(&self) -> Known<'_> {
        Known {
            issuer: &self.issuer,
            subject: &self.subject,
            name: self.name,
            tier: self.tier,
            is_admin: self.is_admin,
        }
    }
}

impl Jwt {
    pub fn new(settings: JwtSettings) -> Result<Self, ConnectError> {
        let keys = match &settings.keys {
            KeySource::Secret(secret) => {
                Keys::Secret(DecodingKey::from_secret(secret.expose_secret().as_bytes()))
            }
            KeySource::Published { at, refresh } => {
                Keys::Published(PublishedKeys::at(Document::at(at)?, *refresh))
            }
        };
        Ok(Self { settings, keys })
    }

    /// The claims of a token whose signature, times, issuer and audience are right.
    pub(super) async fn claims(&self, token: &str) -> Result<Map<String, Value>, IdentityError> {
        let header = Self::header(token)?;
        let (key, algorithm) = match &self.keys {
            Keys::Secret(key) => (key.clone(), Algorithm::HS256),
            Keys::Published(keys) => {
                if !PUBLIC_KEY_ALGORITHMS.contains(&header.alg) {
                    return Err(IdentityError::Refused(
                        "the token's algorithm is not allowed",
                    ));
                }
                let id = header.kid.as_deref();
                (keys.find(id, header.alg).await?, header.alg)
            }
        };
        self.read(token, &key, algorithm)
    }

    /// What a token says of itself, which is not proved by anything.
    pub(super) fn header(token: &str) -> Result<Header, IdentityError> {
        let no_token = IdentityError::Refused("this is neither an API token nor a JSON Web Token");
        let header = decode_header(token).map_err(|_| no_token)?;
        // Whatever it is, it is not understood here (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err(IdentityError::Refused(
                "the token demands what this server does not know",
            ));
        }
        Ok(header)
    }

    pub(super) fn read(
        &self,
        token: &str,
        key: &DecodingKey,
        algorithm: Algorithm,
    ) -> Result<Map<String, Value>, IdentityError> {
        let decoded = decode::<Map<String, Value>>(token, key, &self.validation(algorithm));
        let claims = decoded.map_err(|error| refusal(&error))?.claims;
        let lacks = |name: &&String| claims.get(*name).is_none_or(Value::is_null);
        if self.settings.required.iter().find(lacks).is_some() {
            return Err(IdentityError::Refused(
                "the token lacks a claim that is required",
            ));
        }
        Ok(claims)
    }

    /// Whose the claims are.
    pub(super) fn told<'a>(
        &self,
        claims: &'a Map<String, Value>,
    ) -> Result<Told<'a>, IdentityError> {
        let settings = &self.settings;
        let subject = match claims.get(&settings.user_claim) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => {
                return Err(IdentityError::Refused("the token does not say whose it is"));
            }
        };
        let issuer = match claims.get("iss") {
            None | Some(Value::Null) => NAMELESS_ISSUER.to_owned(),
            // Nobody can call themselves what another way in does.
            Some(Value::String(issuer)) => format!("{NAMELESS_ISSUER}:{issuer}"),
            Some(_) => {
                return Err(IdentityError::Refused("the token is of somebody else"));
            }
        };
        Ok(Told {
            issuer,
            subject,
            name: Self::text(claims, &settings.name_claim),
            tier: Self::text(claims, &settings.tier_claim),
            is_admin: (!settings.admin_claim.is_empty())
                .then(|| claims.get(&settings.admin_claim) == Some(&Value::Bool(true))),
        })
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let settings = &self.settings;
        let mut validation = Validation::new(algorithm);
        validation.leeway = settings.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required: HashSet<String> = settings.required.iter().cloned().collect();
        // One that never ends could not be taken back.
        required.insert("exp".to_owned());
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

    fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
        claims.get(name).and_then(Value::as_str)
    }
}

impl Identity {
    pub(super) async fn by_jwt(
        &self,
        jwt: &Jwt,
        proof: Proof,
        token: &str,
    ) -> Result<Found, IdentityError> {
        // Also while the database is away: what the token says of itself holds in any case.
        let claims = jwt.claims(token).await?;
        let now = self.clock.now();
        let look = self.user_by(jwt, &claims);
        self.memory.look(proof, now, look).await
    }

    async fn user_by(
        &self,
        jwt: &Jwt,
        claims: &Map<String, Value>,
    ) -> Result<Found, IdentityError> {
        let told = jwt.told(claims)?;
        let user = self.known_user(told.known()).await?;
        let caller = Caller {
            ends_at: claims.get("exp").and_then(Value::as_f64).map(expiry),
            ..Caller::of(&user, Via::Jwt)
        };
        // Its times are looked at each time.
        Ok(Found::of(caller, None))
    }
}

/// `exp` is in seconds, and may have a fraction (RFC 7519, 2).
#[expect(
    clippy::cast_possible_truncation,
    reason = "what is beyond all times is at their end"
)]
fn expiry(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1_000.0) as i64)
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
