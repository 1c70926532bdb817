//! Who comes in, and who does not.

use std::time::Duration;

use entity::api_token::Scope;
use pollen::app::open_access;
use pollen::config::{Config, Layers};
use reqwest::Method;
use serde_json::json;

use super::callers::{ALL_WAYS, As, COOKIE_SECRET, JWT_SECRET, at, cookie_of, jwt, token};
use crate::support::database::Kind;
use crate::support::{TestApp, Upstream};

async fn app_with(kind: Kind, settings: &[(&str, &str)]) -> TestApp {
    TestApp::start_with(kind, Upstream::echo().await, settings).await
}

/// With some of these settings others.
fn but<'a>(
    settings: &[(&'a str, &'a str)],
    others: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    [settings, others].concat()
}

on_both_databases! {
    async fn a_token_lets_its_user_in_until_it_is_revoked(kind: Kind) {
        let app = app_with(kind, &ALL_WAYS).await;
        let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
        let chat = alice.chat(&app).await;
        alice.get(&app, &format!("/chat/{chat}")).await.expect(200);

        let bob = As::bearer(&token(&app, "bob", Scope::Write).await);
        let foreign = bob.get(&app, &format!("/chat/{chat}")).await.expect(404);
        let missing = bob.get(&app, "/chat/01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a61").await.expect(404);
        let without_ids = |text: &str| {
            let mut problem: serde_json::Value = serde_json::from_str(text).unwrap();
            problem["request_id"] = json!(null);
            problem["instance"] = json!(null);
            problem
        };
        assert_eq!(without_ids(&foreign.text), without_ids(&missing.text));

        let listed = alice.get(&app, "/tokens").await.expect(200).json();
        let first = &listed["tokens"][0];
        assert!(first["used_at"].is_string(), "{first}");
        assert!(first.get("hash").is_none() && first.get("secret").is_none());
        let made = alice.post(&app, "/tokens", &json!({"name": "second", "scope": "read"})).await;
        let made = made.expect(201).json();
        let second = As::bearer(made["secret"].as_str().unwrap());
        second.get(&app, &format!("/chat/{chat}")).await.expect(200);
        second.post(&app, &format!("/chat/{chat}/send"), &json!({"message": "Hi"})).await.expect(403);
        alice.post(&app, "/tokens", &json!({"name": "third", "scope": "admin"})).await.expect(403);

        // Somebody else cannot revoke it.
        let uuid = first["uuid"].as_str().unwrap();
        bob.delete(&app, &format!("/token/{uuid}")).await.expect(404);
        alice.delete(&app, &format!("/token/{uuid}")).await.expect(204);
        let refused = alice.get(&app, "/tokens").await.expect(401);
        assert!(refused.header("www-authenticate").starts_with("Bearer"));
        assert!(refused.text.contains("revoked"), "{}", refused.text);
        // What was made with it went with it.
        second.get(&app, &format!("/chat/{chat}")).await.expect(401);
        app.stop().await;
    }

    async fn a_token_that_has_expired_lets_nobody_in(kind: Kind) {
        let app = app_with(kind, &ALL_WAYS).await;
        let secret = token(&app, "alice", Scope::Write).await;
        let alice = As::bearer(&secret);
        alice.get(&app, "/chats").await.expect(200);
        app.database.execute("UPDATE api_token SET expires_at = 1000").await;
        let refused = alice.get(&app, "/chats").await.expect(401);
        assert!(refused.text.contains("expired"));
        As::bearer("pln_0000").get(&app, "/chats").await.expect(401);
        As::bearer("").get(&app, "/chats").await.expect(401);
        app.stop().await;
    }

    async fn an_anonymous_browser_keeps_its_chats_by_its_cookie(kind: Kind) {
        let app = app_with(kind, &ALL_WAYS).await;
        let first = As::nobody().get(&app, "/chats").await.expect(200);
        let set = first.header("set-cookie").to_owned();
        for word in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
            assert!(set.contains(word), "{set}");
        }
        assert!(!set.contains("Secure"), "{set}");
        // Whoever only looks leaves nothing behind.
        assert_eq!(app.database.count("session").await, 0);
        let one = As::cookie(&cookie_of(&first).unwrap());
        let chat = one.chat(&app).await;
        assert_eq!(app.database.count("session").await, 1);
        one.get(&app, &format!("/chat/{chat}")).await.expect(200);
        let again = one.get(&app, "/chats").await.expect(200);
        assert!(cookie_of(&again).is_none());
        As::nobody().get(&app, &format!("/chat/{chat}")).await.expect(404);
        // No cookie for what asks for nobody.
        assert!(cookie_of(&As::nobody().get(&app, "/healthz").await).is_none());
        app.stop().await;
    }

    async fn a_session_that_was_ended_is_ended_on_every_node(kind: Kind) {
        let app = app_with(kind, &ALL_WAYS).await;
        let first = As::nobody().get(&app, "/chats").await;
        let browser = As::cookie(&cookie_of(&first).unwrap());
        let chat = browser.chat(&app).await;
        let other = app.another_node_or_none().await;
        let nodes = [Some(&app), other.as_ref()];
        for node in nodes.into_iter().flatten() {
            browser.get(node, &format!("/chat/{chat}")).await.expect(200);
        }
        // Somebody has copied the cookie, and the browser signs out.
        let stolen = browser.clone();
        browser.post(&app, "/sign-out", &json!({})).await.expect(204);
        for node in nodes.into_iter().flatten() {
            stolen.get(node, &format!("/chat/{chat}")).await.expect(404);
            let fresh = stolen.get(node, "/chats").await.expect(200);
            assert!(cookie_of(&fresh).is_some(), "it is somebody else now");
        }
        if let Some(other) = other {
            other.stop().await;
        }
        app.stop().await;
    }

    async fn a_session_ends_when_idle_and_when_old(kind: Kind) {
        let ways = but(&ALL_WAYS, &[("auth.modes", "token"), ("auth.session_idle_ms", "3600000"), ("auth.session_absolute_ms", "7200000")]);
        let app = app_with(kind, &ways).await;
        let secret = token(&app, "alice", Scope::Write).await;
        let now = at(0) * 1000;
        for (column, age_ms, status) in [("seen_at", 3_000_000, 200), ("seen_at", 3_700_000, 401), ("created_at", 7_100_000, 200), ("created_at", 7_300_000, 401)] {
            let signed_in = As::nobody().post(&app, "/sign-in", &json!({"token": secret})).await.expect(204);
            let browser = As::cookie(&cookie_of(&signed_in).unwrap());
            browser.get(&app, "/chats").await.expect(200);
            app.database.execute(&format!("UPDATE session SET {column} = {}", now - age_ms)).await;
            browser.get(&app, "/chats").await.expect(status);
        }
        app.stop().await;
    }

    async fn a_session_ends_with_the_token_that_it_was_begun_with(kind: Kind) {
        let ways = but(&ALL_WAYS, &[("auth.modes", "token")]);
        let app = app_with(kind, &ways).await;
        let secret = token(&app, "alice", Scope::Read).await;
        As::nobody().post(&app, "/sign-in", &json!({"token": "pln_wrong"})).await.expect(401);
        let signed_in = As::nobody().post(&app, "/sign-in", &json!({"token": secret})).await.expect(204);
        let browser = As::cookie(&cookie_of(&signed_in).unwrap());
        browser.get(&app, "/chats").await.expect(200);
        // It can do no more than its token.
        browser.post(&app, "/chat/create", &json!({})).await.expect(403);
        app.database.execute("UPDATE api_token SET revoked_at = 1").await;
        browser.get(&app, "/chats").await.expect(401);
        app.stop().await;
    }

    async fn a_json_web_token_of_the_application_lets_its_user_in(kind: Kind) {
        let ways = but(&ALL_WAYS, &[
            ("auth.jwt.issuer", "https://app.example"), ("auth.jwt.audience", "pollen"),
            ("auth.jwt.tier_claim", "plan"), ("auth.jwt.required_claims", "exp,plan"), ("auth.jwt.leeway_ms", "5000"),
        ]);
        let app = app_with(kind, &ways).await;
        let good = json!({"sub": "7", "name": "Ann", "iss": "https://app.example", "aud": "pollen", "plan": "pro", "exp": at(60)});
        let ann = As::bearer(&jwt(&good, JWT_SECRET));
        let chat = ann.chat(&app).await;
        let usage = ann.get(&app, "/usage").await.expect(200).json();
        assert_eq!(usage["tier"], "pro");
        // Another token of the same user's.
        let mut later = good.clone();
        later["exp"] = json!(at(120));
        As::bearer(&jwt(&later, JWT_SECRET)).get(&app, &format!("/chat/{chat}")).await.expect(200);
        let wrong = |edit: &dyn Fn(&mut serde_json::Value)| {
            let mut claims = good.clone();
            edit(&mut claims);
            jwt(&claims, JWT_SECRET)
        };
        let refused = [
            wrong(&|c| c["exp"] = json!(at(-10))),
            wrong(&|c| c["nbf"] = json!(at(60))),
            wrong(&|c| c["iss"] = json!("https://evil.example")),
            wrong(&|c| c["aud"] = json!("another")),
            wrong(&|c| { c.as_object_mut().unwrap().remove("plan"); }),
            wrong(&|c| { c.as_object_mut().unwrap().remove("exp"); }),
            wrong(&|c| { c.as_object_mut().unwrap().remove("iss"); }),
            wrong(&|c| { c.as_object_mut().unwrap().remove("sub"); }),
            jwt(&good, "another-secret-of-forty-characters-for-it"),
            "not.a.token".to_owned(),
        ];
        for token in refused {
            As::bearer(&token).get(&app, "/chats").await.expect(401);
        }
        // The clocks may be apart a little.
        As::bearer(&wrong(&|c| c["exp"] = json!(at(-2)))).get(&app, "/chats").await.expect(200);
        let unsigned = unsigned(&good);
        As::bearer(&unsigned).get(&app, "/chats").await.expect(401);
        // Nobody is an admin who is not said to be.
        ann.get(&app, "/admin/users").await.expect(403);
        As::bearer(&wrong(&|c| c["is_admin"] = json!(true))).get(&app, "/admin/users").await.expect(200);
        app.stop().await;
    }

    async fn a_gateway_is_believed_by_its_address_alone(kind: Kind) {
        let ways = but(&ALL_WAYS, &[("auth.modes", "proxy"), ("auth.proxy.admin_group", "ops")]);
        let app = app_with(kind, &ways).await;
        let carol = As::vouched("carol@example.org");
        let chat = carol.chat(&app).await;
        carol.get(&app, &format!("/chat/{chat}")).await.expect(200);
        As::vouched("dave@example.org").get(&app, &format!("/chat/{chat}")).await.expect(404);
        As::nobody().get(&app, "/chats").await.expect(401);
        carol.get(&app, "/admin/users").await.expect(403);
        let mut ops = carol.clone();
        ops.0.push(("x-forwarded-groups".to_owned(), "staff, ops".to_owned()));
        ops.get(&app, "/admin/users").await.expect(200);
        app.stop().await;

        let elsewhere = but(&ALL_WAYS, &[("auth.modes", "proxy"), ("trusted_proxies", "192.0.2.1")]);
        let app = app_with(kind, &elsewhere).await;
        carol.get(&app, "/chats").await.expect(401);
        app.stop().await;
    }

    async fn a_user_who_is_disabled_is_out_at_once_on_every_node(kind: Kind) {
        let app = app_with(kind, &but(&ALL_WAYS, &[("auth.modes", "token"), ("auth.recheck_ms", "200")])).await;
        let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
        let admin = As::bearer(&token(&app, "root", Scope::Admin).await);
        alice.chat(&app).await;
        let signed_in = alice.post(&app, "/sign-in", &json!({"token": alice.0[0].1.replace("Bearer ", "")})).await.expect(204);
        let browser = As::cookie(&cookie_of(&signed_in).unwrap());
        browser.get(&app, "/chats").await.expect(200);
        let users = admin.get(&app, "/admin/users").await.expect(200).json();
        let users = users["users"].as_array().unwrap().clone();
        let uuid = users.iter().find(|user| user["subject"] == "alice").unwrap()["uuid"].as_str().unwrap().to_owned();
        alice.post(&app, &format!("/admin/user/{uuid}"), &json!({"disabled": true})).await.expect(403);
        let other = app.another_node_or_none().await;
        if let Some(other) = &other {
            alice.get(other, "/chats").await.expect(200);
        }
        admin.post(&app, &format!("/admin/user/{uuid}"), &json!({"disabled": true})).await.expect(200);
        alice.get(&app, "/chats").await.expect(403);
        assert_ne!(browser.get(&app, "/chats").await.status, 200);
        if let Some(other) = other {
            crate::support::app::eventually("the other node knows", async || {
                (alice.get(&other, "/chats").await.status == 403).then_some(())
            })
            .await;
            other.stop().await;
        }
        let audit = admin.get(&app, "/admin/audit").await.expect(200).json();
        let entry = audit["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == "user.disable").unwrap().clone();
        assert_eq!(entry["target"], uuid);
        assert_eq!(entry["address"], "127.0.0.1");
        app.stop().await;
    }
}

fn unsigned(claims: &serde_json::Value) -> String {
    use std::fmt::Write as _;
    // `alg: none`, in base64url without padding.
    let encoded = |value: &serde_json::Value| {
        let token = jwt(value, JWT_SECRET);
        token.split('.').nth(1).unwrap().to_owned()
    };
    let mut token = encoded(&json!({"alg": "none", "typ": "JWT"}));
    write!(token, ".{}.", encoded(claims)).unwrap();
    token
}

/// The start with these flags, which read no file and no variables.
fn loaded(settings: &[(&str, &str)]) -> Result<Config, String> {
    let flags = settings.iter().map(|(key, value)| {
        (
            format!("test {key}"),
            (*key).to_owned(),
            (*value).to_owned(),
        )
    });
    let layers = Layers {
        flags: flags.collect(),
        ..Layers::default()
    };
    Config::load(&layers).map_err(|error| error.to_string())
}

#[test]
fn who_listens_to_others_must_tell_them_apart() {
    let open = ("listen", "0.0.0.0:8080");
    let refused = loaded(&[open]).unwrap_err();
    assert!(
        refused.contains("auth.modes") && refused.contains("pollen token create"),
        "{refused}"
    );
    loaded(&[open, ("auth.modes", "token,local")]).unwrap_err();
    let refused = loaded(&[open, ("auth.modes", "anonymous")]).unwrap_err();
    assert!(refused.contains("--allow-anonymous"), "{refused}");
    let warned = loaded(&[
        open,
        ("auth.modes", "anonymous"),
        ("auth.allow_anonymous", "true"),
    ]);
    assert!(
        warned
            .unwrap()
            .warnings
            .iter()
            .any(|text| text.contains("without signing in"))
    );
    loaded(&[open, ("auth.modes", "token")]).unwrap();
    loaded(&[("public_url", "http://localhost:8080")]).unwrap();
    let hub = ("auth.local_hosts", "hub.example.org");
    loaded(&[hub, ("trusted_proxies", "127.0.0.1")]).unwrap();
    for missing in [
        vec![("auth.modes", "")],
        vec![("auth.modes", "tokens")],
        vec![("auth.modes", "jwt")],
        vec![("auth.modes", "proxy")],
        vec![("auth.secret", "short")],
        vec![
            ("auth.modes", "token"),
            ("database_url", "postgres://localhost/x"),
        ],
        vec![
            ("auth.modes", "jwt"),
            ("auth.jwt.secret", JWT_SECRET),
            ("auth.jwt.jwks_url", "https://a.example/jwks"),
        ],
        vec![("cors.origins", "https://a.example/path")],
        vec![("trusted_proxies", "10.0.0.0/40")],
        // A proxy makes others of those who come from this machine.
        vec![("trusted_proxies", "127.0.0.1")],
        vec![("public_url", "https://chat.example.org")],
        vec![
            ("auth.session_idle_ms", "5000"),
            ("auth.session_absolute_ms", "4000"),
        ],
    ] {
        let error = loaded(&missing).unwrap_err();
        assert!(
            !error.contains("short") || !error.contains("auth.secret` = short"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_here_from_elsewhere_reaches_nothing() {
    let app = app_with(Kind::Sqlite, &[("auth.local_hosts", "hub.example.org")]).await;
    let by = async |host: &str| {
        let host = host.to_owned();
        app.request(Method::GET, "/chats", |r| r.header("host", host))
            .await
            .status
            .as_u16()
    };
    for host in [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "192.168.0.1",
    ] {
        assert_eq!(by(host).await, 421, "{host}");
    }
    for host in [
        "localhost",
        "localhost:1",
        "[::1]:80",
        "127.0.0.1",
        "hub.example.org",
    ] {
        assert_eq!(by(host).await, 200, "{host}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_site_s_page_changes_nothing() {
    let app = app_with(
        Kind::Sqlite,
        &[
            ("public_url", "https://chat.example.org"),
            ("auth.local_hosts", "chat.example.org"),
        ],
    )
    .await;
    let with = async |headers: &[(&'static str, &'static str)]| {
        let headers = headers.to_vec();
        let asked = app.request(Method::POST, "/chat/create", |mut r| {
            for (name, value) in headers {
                r = r.header(name, value);
            }
            r.json(&json!({}))
        });
        asked.await.status.as_u16()
    };
    assert_eq!(with(&[("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(with(&[("sec-fetch-site", "same-site")]).await, 403);
    assert_eq!(with(&[("origin", "https://evil.example")]).await, 403);
    assert_eq!(with(&[("origin", "null")]).await, 403);
    assert_eq!(with(&[("sec-fetch-site", "same-origin")]).await, 201);
    assert_eq!(with(&[("origin", "https://chat.example.org")]).await, 201);
    // A script is no browser.
    assert_eq!(with(&[]).await, 201);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_are_held_to_https_where_there_is_https() {
    let ways = but(&ALL_WAYS, &[("public_url", "https://chat.example.org")]);
    let app = app_with(Kind::Sqlite, &ways).await;
    let first = As::nobody().get(&app, "/chats").await.expect(200);
    let set = first.header("set-cookie");
    assert!(
        set.starts_with("__Host-pollen_session=") && set.contains("Secure"),
        "{set}"
    );
    assert!(
        first
            .header("strict-transport-security")
            .starts_with("max-age=")
    );
    let dark = json!({"theme": "dark"});
    let colours = As::nobody().post(&app, "/theme", &dark).await.expect(204);
    let set = colours.header("set-cookie");
    assert!(
        set.starts_with("__Host-theme=dark;") && set.contains("; Secure"),
        "{set}"
    );
    let dark = As(vec![
        ("cookie".to_owned(), "__Host-theme=dark".to_owned()),
        ("accept".to_owned(), "text/html".to_owned()),
    ]);
    let page = dark.get(&app, "/").await.expect(200).text;
    let button = page.split("id=\"theme-dark\"").nth(1).unwrap();
    assert!(
        button
            .split('>')
            .next()
            .unwrap()
            .contains("aria-pressed=\"true\"")
    );
    app.stop().await;

    // The proxy in front says it.
    let app = app_with(Kind::Sqlite, &ALL_WAYS).await;
    let by_https = As(vec![("x-forwarded-proto".to_owned(), "https".to_owned())]);
    let first = by_https.get(&app, "/chats").await.expect(200);
    assert!(first.header("set-cookie").starts_with("__Host-"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_that_was_tampered_with_is_none() {
    let app = app_with(Kind::Sqlite, &ALL_WAYS).await;
    let first = As::nobody().get(&app, "/chats").await;
    let cookie = cookie_of(&first).unwrap();
    let chat = As::cookie(&cookie).chat(&app).await;
    let path = format!("/chat/{chat}");
    As::cookie(&cookie).get(&app, &path).await.expect(200);
    let (name, value) = cookie.split_once('=').unwrap();
    for at in [0, 10, value.len() / 2, value.len() - 3] {
        let mut bytes = value.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let forged = format!("{name}={}", String::from_utf8_lossy(&bytes));
        As::cookie(&forged).get(&app, &path).await.expect(404);
    }
    // Another server's signature.
    let other = app_with(
        Kind::Sqlite,
        &but(
            &ALL_WAYS,
            &[("auth.secret", "yet-another-secret-of-forty-characters-ok")],
        ),
    )
    .await;
    let foreign = cookie_of(&As::nobody().get(&other, "/chats").await).unwrap();
    let got = As::cookie(&foreign).get(&app, "/chats").await.expect(200);
    assert!(cookie_of(&got).is_some(), "it is nobody's here");
    assert_ne!(COOKIE_SECRET.len(), 0);
    other.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_lead_those_who_are_not_signed_in_to_the_sign_in() {
    let ways = but(&ALL_WAYS, &[("auth.modes", "token")]);
    let app = app_with(Kind::Sqlite, &ways).await;
    let page = app.get_page("/chats").await.expect(303);
    assert_eq!(page.header("location"), "/sign-in?next=%2Fchats");
    let form = app.get_page(page.header("location")).await.expect(200);
    assert!(form.text.contains("name=\"token\"") && form.text.contains("value=\"/chats\""));
    let away = app
        .get_page("/sign-in?next=//evil.example")
        .await
        .expect(200);
    assert!(!away.text.contains("evil.example"));
    app.get_fragment("/chats").await.expect(401);
    let secret = token(&app, "alice", Scope::Write).await;
    let signed_in = app
        .request(Method::POST, "/sign-in", |r| {
            r.header("accept", "text/html")
                .form(&[("token", secret.as_str()), ("next", "/chats")])
        })
        .await
        .expect(303);
    assert_eq!(signed_in.header("location"), "/chats");
    let browser = As(vec![
        ("cookie".to_owned(), cookie_of(&signed_in).unwrap()),
        ("accept".to_owned(), "text/html".to_owned()),
    ]);
    let account = browser.get(&app, "/account").await.expect(200);
    assert!(account.text.contains("alice") && !account.text.contains(&secret));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_sites_may_use_the_api_with_a_token_and_others_may_not() {
    let ways = but(
        &ALL_WAYS,
        &[
            ("auth.modes", "token"),
            ("cors.origins", "https://app.example.org"),
        ],
    );
    let app = app_with(Kind::Sqlite, &ways).await;
    let alice = token(&app, "alice", Scope::Write).await;
    let preflight = async |origin: &'static str| {
        let asked = app.request(Method::OPTIONS, "/chat/create", |r| {
            r.header("origin", origin)
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization")
        });
        asked.await
    };
    let allowed = preflight("https://app.example.org").await;
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "https://app.example.org"
    );
    assert_eq!(allowed.header("access-control-allow-credentials"), "");
    let refused = preflight("https://evil.example").await;
    assert_eq!(refused.header("access-control-allow-origin"), "");
    let mut caller = As::bearer(&alice);
    caller
        .0
        .push(("origin".to_owned(), "https://app.example.org".to_owned()));
    caller
        .0
        .push(("sec-fetch-site".to_owned(), "cross-site".to_owned()));
    caller.chat(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_makes_a_token_beside_a_running_server() {
    let app = app_with(Kind::Sqlite, &but(&ALL_WAYS, &[("auth.modes", "token")])).await;
    let secret = token(&app, "alice", Scope::Write).await;
    As::bearer(&secret).chat(&app).await;
    let access = open_access(&app.config()).await.unwrap();
    let tokens = access.store.all_tokens().await.unwrap();
    assert_eq!(tokens.len(), 1);
    assert!(secret.starts_with(&tokens[0].head) && !tokens[0].hash.contains(&secret[4..]));
    access.store.close().await.unwrap();
    tokio::time::timeout(Duration::from_mins(1), app.stop())
        .await
        .unwrap();
}
