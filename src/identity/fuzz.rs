//! Fuzz targets: what somebody shows who wants to come in, and what keys an application may publish.

use std::sync::LazyLock;
use std::time::Duration;

use futures::executor::block_on;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::jwt::Jwt;
use super::keys::{find, parse};
use super::users::is_name;
use super::{JwtSettings, KeySource};

const SECRET: &str = "a-secret-of-forty-characters-for-the-fuzzer";
/// The public keys of RFC 7515 (A.2, A.3) and RFC 8037 (A.2). The seeds are the tokens that stand there.
const PUBLISHED: &str = include_str!("../../fuzz/corpus/jwks/of_the_rfcs");
/// Tokens with nothing in them that nobody has signed, for keys of each kind.
const UNSIGNED: [(Algorithm, &str); 3] = [
    (Algorithm::RS256, "eyJhbGciOiJSUzI1NiJ9.e30."),
    (Algorithm::ES256, "eyJhbGciOiJFUzI1NiJ9.e30."),
    (Algorithm::EdDSA, "eyJhbGciOiJFZERTQSJ9.e30."),
];

static JWT: LazyLock<Option<Jwt>> = LazyLock::new(|| {
    let settings = JwtSettings {
        keys: KeySource::Secret(SecretString::from(SECRET)),
        issuer: String::new(),
        audience: String::new(),
        leeway: Duration::from_mins(1),
        required: vec!["sub".to_owned()],
        user_claim: "sub".to_owned(),
        name_claim: "name".to_owned(),
        tier_claim: "tier".to_owned(),
        admin_claim: "is_admin".to_owned(),
    };
    Jwt::new(settings).ok()
});

/// A token as it comes, which is nobody's since nobody has signed it; and claims that the application
/// has signed, which lead to what can be stored.
pub(crate) fn jwt(data: &[u8]) {
    let jwt = JWT.as_ref();
    assert!(jwt.is_some());
    let (Some(jwt), Ok(text)) = (jwt, std::str::from_utf8(data)) else {
        return;
    };
    assert!(block_on(jwt.claims(text)).is_err(), "{text}");
    if let Ok(header) = Jwt::header(text) {
        let keys = parse(PUBLISHED.as_bytes()).unwrap_or_default();
        if let Some(key) = find(&keys, header.kid.as_deref(), header.alg) {
            // Those of the RFCs are signed, and old or no claims at all.
            let read = jwt.read(text, &key.decoding, header.alg);
            assert!(read.is_err(), "{text}");
        }
    }
    let Ok(claims) = serde_json::from_str::<Map<String, Value>>(text) else {
        return;
    };
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signed = encode(&Header::default(), &claims, &key).unwrap_or_default();
    let Ok(claims) = block_on(jwt.claims(&signed)) else {
        return;
    };
    let Ok(told) = jwt.told(&claims) else { return };
    if let Ok(known) = told.known().checked() {
        assert!(is_name(known.subject) && is_name(known.issuer));
        assert!(known.issuer == "jwt" || known.issuer.starts_with("jwt:"));
        assert!(known.name.is_none_or(is_name));
        assert!(
            known
                .tier
                .is_none_or(|tier| tier.is_empty() || is_name(tier))
        );
        let said = claims.get("is_admin") == Some(&Value::Bool(true));
        assert_eq!(known.is_admin, Some(said));
    }
}

/// What an application publishes: keys for signatures, and nothing that is a shared secret.
pub(crate) fn jwks(data: &[u8]) {
    let Ok(keys) = parse(data) else { return };
    let secrets = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    for key in &*keys {
        assert!(!key.algorithms.is_empty());
        assert!(!key.algorithms.iter().any(|one| secrets.contains(one)));
    }
    for (algorithm, head) in UNSIGNED {
        let token = head.to_owned() + &"A".repeat(86);
        for id in [None, Some("a")] {
            let found = find(&keys, id, algorithm);
            if let (Some(key), Some(jwt)) = (found, JWT.as_ref()) {
                let _ = jwt.read(&token, &key.decoding, algorithm);
            }
        }
    }
}
