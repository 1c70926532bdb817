//! Tokens of an application that publishes its keys: which are good, from when to when, and what
//! happens while the keys cannot be had.

use std::time::{Duration, Instant};

use entity::api_token::Scope;
use futures::future::join_all;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

use super::callers::{As, COOKIE_SECRET, at, jwt, token};
use super::publisher::{Publisher, Says, SigningKey, keys_of, url64};
use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::{TestApp, Upstream};

const ISSUER: &str = "https://app.example";
/// `auth.jwt.refresh_ms` of these tests.
const REFRESH: Duration = Duration::from_secs(1);
/// What somebody takes who waits for nobody, on a machine that has much to do.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A server that takes the tokens of whoever publishes at this address.
async fn app_at(kind: Kind, url: &str, others: &[(&str, &str)]) -> TestApp {
    let settings = [
        ("auth.modes", "token,jwt"),
        ("auth.secret", COOKIE_SECRET),
        ("auth.recheck_ms", "0"),
        ("auth.jwt.jwks_url", url),
        ("auth.jwt.issuer", ISSUER),
        ("auth.jwt.audience", "pollen"),
        ("auth.jwt.tier_claim", "plan"),
        ("auth.jwt.admin_claim", "is_admin"),
        ("auth.jwt.leeway_ms", "5000"),
        ("auth.jwt.refresh_ms", "1000"),
        ("limits.unknown_per_minute", "0"),
    ];
    let settings = [&settings[..], others].concat();
    TestApp::start_with(kind, Upstream::echo().await, &settings).await
}

fn claims(subject: &str) -> Value {
    json!({"sub": subject, "name": "Ann", "iss": ISSUER, "aud": "pollen", "plan": "pro", "exp": at(600)})
}

/// The claims with one of them said otherwise.
fn but(name: &str, value: Value) -> Value {
    let mut claims = claims("7");
    claims[name] = value;
    claims
}

async fn status(app: &TestApp, token: &str) -> u16 {
    let answer = As::bearer(token).get(app, "/chats").await;
    answer.status.as_u16()
}

/// The same, of somebody who must not have waited.
async fn status_at_once(app: &TestApp, token: &str) -> u16 {
    let begun = Instant::now();
    let status = status(app, token).await;
    let took = begun.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
    status
}

/// Waits until the server has the keys as they are now.
async fn refreshed(publisher: &Publisher) {
    let before = publisher.asked();
    eventually("the keys are fetched twice", async || {
        (publisher.asked() >= before + 2).then_some(())
    })
    .await;
}

on_both_databases! {
    async fn each_kind_of_published_key_lets_its_users_in(kind: Kind) {
        let kinds = [Algorithm::RS256, Algorithm::PS512, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
        let keys = kinds.map(|kind| SigningKey::new(&format!("{kind:?}"), kind));
        let publisher = Publisher::start(keys_of(&keys.each_ref())).await;
        let app = app_at(kind, &publisher.url(), &[]).await;
        let admin = SigningKey::sign(&keys[0], &but("is_admin", json!(true)));
        let admin = As::bearer(&admin);
        for key in &keys {
            let name = format!("user of {:?}", key.algorithm);
            let user = As::bearer(&key.sign(&claims(&name)));
            let chat = user.chat(&app).await;
            // Whichever key signs, they are the same user.
            let same = As::bearer(&keys[0].sign(&claims(&name)));
            same.get(&app, &format!("/chat/{chat}")).await.expect(200);
            assert_eq!(user.get(&app, "/usage").await.expect(200).json()["tier"], "pro");
            user.get(&app, "/admin/users").await.expect(403);
            let users = admin.get(&app, "/admin/users").await.expect(200).json();
            let users = users["users"].as_array().unwrap();
            let row = users.iter().find(|user| user["subject"] == name).unwrap();
            assert_eq!((&row["name"], &row["tier"]), (&json!("Ann"), &json!("pro")));
        }
        app.stop().await;
    }

    async fn claims_that_are_not_right_let_nobody_in(kind: Kind) {
        let key = SigningKey::new("a", Algorithm::ES256);
        let publisher = Publisher::start(keys_of(&[&key])).await;
        let app = app_at(kind, &publisher.url(), &[("auth.jwt.required_claims", "exp,plan")]).await;
        let huge = "x".repeat(5_000);
        let wrong = [
            ("iss", json!("https://evil.example")), ("iss", json!([ISSUER])), ("iss", Value::Null), ("iss", json!("")),
            ("aud", json!("another")), ("aud", json!(["another"])), ("aud", Value::Null),
            ("exp", json!(at(-10))), ("exp", json!("soon")), ("exp", Value::Null), ("exp", json!(-1)), ("exp", json!(1e300)),
            ("nbf", json!(at(60))), ("nbf", json!("later")),
            ("plan", Value::Null), ("plan", json!("a\0b")), ("plan", json!(huge)),
            ("sub", json!("")), ("sub", json!("a\0b")), ("sub", json!("a\nb")), ("sub", json!(huge)),
            ("sub", Value::Null), ("sub", json!(["7"])), ("sub", json!({"id": 7})), ("sub", json!(true)),
        ];
        for (name, value) in wrong {
            let token = key.sign(&but(name, value.clone()));
            assert_eq!(status(&app, &token).await, 401, "{name}: {value}");
        }
        let right = [
            ("aud", json!(["another", "pollen"])), ("exp", json!(at(-2))), ("nbf", json!(at(2))), ("sub", json!(7)),
            // A name that nobody could read is none.
            ("name", json!("a\0b")), ("name", json!(huge)), ("name", json!(7)), ("name", Value::Null),
        ];
        for (number, (name, value)) in right.into_iter().enumerate() {
            let mut claims = but(name, value.clone());
            if name != "sub" {
                claims["sub"] = json!(format!("fresh {number}"));
            }
            assert_eq!(status(&app, &key.sign(&claims)).await, 200, "{name}: {value}");
        }
        app.stop().await;

        // Whoever issues them is part of who somebody is, also where any issuer will do.
        let app = app_at(kind, &publisher.url(), &[("auth.jwt.issuer", "")]).await;
        for (issuer, expected) in [
            (json!("a\0b"), 401), (json!(huge), 401), (json!([ISSUER]), 401), (json!(7), 401),
            (json!("https://one.example"), 200), (json!("https://two.example"), 200), (Value::Null, 200),
        ] {
            let token = key.sign(&but("iss", issuer.clone()));
            assert_eq!(status(&app, &token).await, expected, "{issuer}");
        }
        assert_eq!(app.database.count("user").await, 4, "three, and the local one");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_good_at_once_and_a_withdrawn_one_no_more() {
    let (old, new) = (
        SigningKey::new("old", Algorithm::ES256),
        SigningKey::new("new", Algorithm::RS256),
    );
    let publisher = Publisher::start(keys_of(&[&old])).await;
    let app = app_at(Kind::Sqlite, &publisher.url(), &[]).await;
    let (by_old, by_new) = (old.sign(&claims("7")), new.sign(&claims("7")));
    assert_eq!(status(&app, &by_old).await, 200);
    assert_eq!(status(&app, &by_new).await, 401);
    publisher.publishes(&[&old, &new]);
    assert_eq!(
        status(&app, &by_new).await,
        200,
        "the very next one is good"
    );
    assert_eq!(status(&app, &by_old).await, 200);
    publisher.publishes(&[&new]);
    let withdrawn = Instant::now();
    eventually("the old key is no more", async || {
        (status(&app, &by_old).await == 401).then_some(())
    })
    .await;
    let took = withdrawn.elapsed();
    assert!(took < REFRESH * 2 + AT_ONCE, "{took:?}");
    assert_eq!(status(&app, &by_new).await, 200);
    // Also when nobody came meanwhile.
    publisher.publishes(&[&old]);
    refreshed(&publisher).await;
    assert_eq!(status(&app, &by_new).await, 401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_leave_out_its_key_where_there_is_one() {
    let [one, two, other] = [
        ("one", Algorithm::ES256),
        ("two", Algorithm::ES256),
        ("other", Algorithm::RS256),
    ]
    .map(|(id, algorithm)| SigningKey::new(id, algorithm));
    let publisher = Publisher::start(keys_of(&[&one])).await;
    let app = app_at(Kind::Sqlite, &publisher.url(), &[]).await;
    let nameless = one.sign_as(None, &claims("7"));
    assert_eq!(status(&app, &nameless).await, 200);
    // Another's signature is no better for it.
    let others = two.sign_as(None, &claims("7"));
    assert_eq!(status(&app, &others).await, 401);
    publisher.publishes(&[&one, &two]);
    refreshed(&publisher).await;
    assert_eq!(status(&app, &nameless).await, 401);
    assert_eq!(status(&app, &one.sign(&claims("7"))).await, 200);
    // The only one for its algorithm is meant.
    publisher.publishes(&[&one, &other]);
    assert_eq!(status(&app, &other.sign_as(None, &claims("7"))).await, 200);
    assert_eq!(status(&app, &nameless).await, 200);
    // A key without a name is found by tokens without one.
    publisher.says(Says::Keys(vec![two.published("kid", Value::Null)]));
    refreshed(&publisher).await;
    assert_eq!(status(&app, &others).await, 200);
    assert_eq!(status(&app, &two.sign(&claims("7"))).await, 401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_keys_is_no_flood_of_fetches() {
    let (known, unknown) = (
        SigningKey::new("known", Algorithm::ES256),
        SigningKey::new("unknown", Algorithm::ES256),
    );
    let publisher = Publisher::start(keys_of(&[&known])).await;
    let app = app_at(
        Kind::Sqlite,
        &publisher.url(),
        &[("auth.jwt.refresh_ms", "600000")],
    )
    .await;
    assert_eq!(status(&app, &known.sign(&claims("7"))).await, 200);
    let begun = Instant::now();
    for round in 0..3 {
        let tokens = (0..100).map(|number| {
            let id = format!("{round} {number}");
            unknown.sign_as(Some(&id), &claims("7"))
        });
        let tokens: Vec<_> = tokens.collect();
        let refused = join_all(tokens.iter().map(|token| status(&app, token))).await;
        assert!(refused.iter().all(|status| *status == 401), "{refused:?}");
        assert_eq!(status_at_once(&app, &known.sign(&claims("7"))).await, 200);
    }
    let most = 3 + usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(publisher.asked() <= most, "{} > {most}", publisher.asked());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_do_not_fit_their_key_are_refused() {
    let [rsa, ec, ed, enc, other_alg, signs_only] = [
        ("rsa", Algorithm::RS256),
        ("ec", Algorithm::ES256),
        ("ed", Algorithm::EdDSA),
        ("enc", Algorithm::ES256),
        ("alg", Algorithm::ES256),
        ("ops", Algorithm::ES256),
    ]
    .map(|(id, algorithm)| SigningKey::new(id, algorithm));
    let shared = "a-shared-secret-that-should-not-be-published";
    let without_use = |mut key: Value| {
        key.as_object_mut().unwrap().remove("use");
        key
    };
    let set = vec![
        // What cannot be understood is passed over.
        json!({"kty": "QKD", "kid": "new", "q": 1}),
        json!({"kty": "RSA", "kid": "halved", "n": "AQAB"}),
        json!({"kty": "RSA", "kid": 7, "use": [], "n": 5}),
        json!({"kty": "RSA", "kid": "no base64", "n": "?", "e": "AQAB"}),
        json!({"kty": "EC", "kid": "no point", "crv": "P-256", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "kid": "x25519", "crv": "X25519", "x": ed.public["x"]}),
        json!("no key"),
        json!({"kty": "oct", "kid": "oct", "k": url64(shared.as_bytes()), "alg": "HS256"}),
        without_use(rsa.published("alg", json!("RS256"))),
        ec.public.clone(),
        ed.public.clone(),
        enc.published("use", json!("enc")),
        other_alg.published("alg", json!("ES384")),
        without_use(signs_only.published("key_ops", json!(["sign"]))),
    ];
    let publisher = Publisher::start(Says::Keys(set)).await;
    let app = app_at(Kind::Sqlite, &publisher.url(), &[]).await;
    let claims = claims("7");
    for key in [&rsa, &ec, &ed] {
        assert_eq!(status(&app, &key.sign(&claims)).await, 200);
    }

    let hs256 = |id: &str, secret: &str| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(id.to_owned());
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    };
    let text = |key: &SigningKey, name: &str| key.public[name].as_str().unwrap().to_owned();
    let as_if = |key: &SigningKey, algorithm: Algorithm| {
        let mut header = Header::new(algorithm);
        header.kid = Some(text(key, "kid"));
        key.sign_with(&header, &claims)
    };
    let refused = [
        // The public key is no secret.
        hs256("rsa", &rsa.public_pem),
        hs256("rsa", rsa.public_pem.trim()),
        hs256("rsa", &text(&rsa, "n")),
        hs256("ec", &ec.public_pem),
        hs256("ed", &text(&ed, "x")),
        hs256("oct", shared),
        jwt(&claims, shared),
        // A key is for its own kind of signatures, and for those that it is said to be for.
        rsa.sign_as(Some("ec"), &claims),
        ec.sign_as(Some("rsa"), &claims),
        ed.sign_as(Some("ec"), &claims),
        ed.sign_as(Some("x25519"), &claims),
        as_if(&rsa, Algorithm::RS512),
        as_if(&rsa, Algorithm::PS256),
        enc.sign(&claims),
        other_alg.sign(&claims),
        signs_only.sign(&claims),
        rsa.sign_as(Some("halved"), &claims),
        rsa.sign_as(Some("no base64"), &claims),
        ec.sign_as(Some("no point"), &claims),
        ec.sign_as(Some(""), &claims),
        ec.sign_as(Some("EC"), &claims),
    ];
    assert_refused(&app, &refused).await;
    app.stop().await;
}

async fn assert_refused(app: &TestApp, tokens: &[String]) {
    for (number, token) in tokens.iter().enumerate() {
        assert_eq!(status(app, token).await, 401, "{number}: {token}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_of_a_good_token_is_none() {
    let (ec, evil) = (
        SigningKey::new("ec", Algorithm::ES256),
        SigningKey::new("evil", Algorithm::ES256),
    );
    let publisher = Publisher::start(keys_of(&[&ec])).await;
    let app = app_at(Kind::Sqlite, &publisher.url(), &[]).await;
    let claims = claims("7");
    let good = ec.sign(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let part = |value: &Value| url64(value.to_string().as_bytes());
    let admin = part(&but("is_admin", json!(true)));
    let crit = json!({"alg": "ES256", "kid": "ec", "crit": "exp"});
    let own: jsonwebtoken::jwk::Jwk = serde_json::from_value(evil.public.clone()).unwrap();
    let demanding = |names: &[&str]| {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("ec".to_owned());
        header.crit = Some(names.iter().map(|name| (*name).to_owned()).collect());
        ec.sign_with(&header, &claims)
    };
    let refused = [
        // A key that the token itself brings along is none.
        evil.sign_with(
            &Header {
                jwk: Some(own),
                kid: Some("ec".to_owned()),
                jku: Some(publisher.url()),
                ..Header::new(Algorithm::ES256)
            },
            &claims,
        ),
        // What a token demands and nobody here knows.
        demanding(&["b64"]),
        demanding(&[]),
        format!("{}.{}.{}", part(&crit), parts[1], parts[2]),
        // What was made of a good one.
        format!("{}.{admin}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}.{}", parts[2]),
        format!("{}.{admin}.", part(&json!({"alg": "none"}))),
        format!(
            "{}.{admin}.{}",
            part(&json!({"alg": "None", "kid": "ec"})),
            parts[2]
        ),
        format!("{}.{admin}.", part(&json!({"kid": "ec"}))),
    ];
    assert_refused(&app, &refused).await;
    assert_eq!(status(&app, &good).await, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_is_away_at_the_start_keeps_nobody_out_for_longer() {
    let key = SigningKey::new("a", Algorithm::ES256);
    let publisher = Publisher::start(Says::HangUp).await;
    let app = app_at(Kind::Sqlite, &publisher.url(), &[]).await;
    assert_eq!(publisher.asked(), 0, "nothing is fetched for nobody");
    let by_key = key.sign(&claims("7"));
    let refused = As::bearer(&by_key).get(&app, "/chats").await.expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json()["type"], "/problems/unavailable");
    assert!(!refused.text.contains(&publisher.address.to_string()));
    // Others need no keys.
    let alice = token(&app, "alice", Scope::Write).await;
    assert_eq!(status_at_once(&app, &alice).await, 200);
    publisher.publishes(&[&key]);
    assert_eq!(status(&app, &by_key).await, 200, "as soon as it is back");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_keys_go_on_to_be_good_whatever_the_publisher_says() {
    let (known, new) = (
        SigningKey::new("known", Algorithm::ES256),
        SigningKey::new("new", Algorithm::EdDSA),
    );
    let elsewhere = Publisher::start(keys_of(&[&known, &new])).await;
    let publisher = Publisher::start(keys_of(&[&known])).await;
    let app = app_at(Kind::Sqlite, &publisher.url(), &[]).await;
    let (by_known, by_new) = (known.sign(&claims("7")), new.sign(&claims("7")));
    assert_eq!(status(&app, &by_known).await, 200);
    let set = json!({"keys": [new.public]}).to_string();
    for (trouble, says) in [
        ("500", Says::Answer(500, set.clone())),
        ("404", Says::Answer(404, "not here".to_owned())),
        ("no set", Says::Answer(200, "{}".to_owned())),
        ("no JSON", Says::Answer(200, "<html>".to_owned())),
        ("no text", Says::Answer(200, "\u{0}".repeat(100))),
        ("empty", Says::Answer(200, String::new())),
        ("huge", Says::Answer(200, set + &" ".repeat(2 << 20))),
        ("redirect", Says::Redirect(elsewhere.url())),
        ("endless", Says::Endless),
        ("away", Says::HangUp),
    ] {
        publisher.says(says);
        let refused = As::bearer(&by_new).get(&app, "/chats").await;
        assert_eq!(refused.status.as_u16(), 503, "{trouble}");
        assert_eq!(status_at_once(&app, &by_known).await, 200, "{trouble}");
    }
    assert_eq!(elsewhere.asked(), 0, "redirects are not followed");
    publisher.publishes(&[&known, &new]);
    assert_eq!(status(&app, &by_new).await, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_slow_publisher_whose_key_is_known() {
    let (known, new) = (
        SigningKey::new("known", Algorithm::ES256),
        SigningKey::new("new", Algorithm::ES256),
    );
    let publisher = Publisher::start(keys_of(&[&known])).await;
    let app = app_at(Kind::Sqlite, &publisher.url(), &[]).await;
    let (by_known, by_new) = (known.sign(&claims("7")), new.sign(&claims("7")));
    let alice = token(&app, "alice", Scope::Write).await;
    assert_eq!(status(&app, &by_known).await, 200);
    publisher.says(Says::Nothing);
    let before = publisher.asked();
    eventually("it is asked", async || {
        (publisher.asked() > before).then_some(())
    })
    .await;
    let begun = Instant::now();
    let waits = status(&app, &by_new);
    let others = async {
        for _ in 0..20 {
            assert_eq!(status_at_once(&app, &by_known).await, 200);
            assert_eq!(status_at_once(&app, &alice).await, 200);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (waited, ()) = tokio::join!(waits, others);
    assert_eq!(waited, 503);
    assert!(begun.elapsed() < Duration::from_secs(10));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_by_tls_from_whom_the_ca_file_vouches_for() {
    let key = SigningKey::new("a", Algorithm::ES256);
    let (publisher, ca) = Publisher::start_safely(keys_of(&[&key])).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, ca).unwrap();
    let url = format!("https://localhost:{}/keys", publisher.address.port());
    let trusting = [("upstream.ca_file", file.to_str().unwrap())];
    let app = app_at(Kind::Sqlite, &url, &trusting).await;
    assert_eq!(status(&app, &key.sign(&claims("7"))).await, 200);
    app.stop().await;

    let app = app_at(Kind::Sqlite, &url, &[]).await;
    assert_eq!(status(&app, &key.sign(&claims("7"))).await, 503);
    assert_eq!(publisher.asked(), 1);
    app.stop().await;
}
