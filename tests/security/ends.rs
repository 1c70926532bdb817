//! What somebody made with their rights ends with them, whatever they have begun meanwhile; and what is open to everybody
//! costs no more than it is meant to.

use entity::api_token::{self, Scope};
use pollen::app::open_access;
use reqwest::Method;
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::callers::{ALL_WAYS, As, COOKIE_SECRET, JWT_SECRET, at, cookie_of, jwt, token};
use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::{TestApp, Upstream};

async fn app_with(kind: Kind, settings: &[(&str, &str)]) -> TestApp {
    let settings = [ALL_WAYS.as_slice(), settings].concat();
    TestApp::start_with(kind, Upstream::echo().await, &settings).await
}

fn bearer_of(made: &Value) -> As {
    As::bearer(made["secret"].as_str().unwrap())
}

fn secret_of(caller: &As) -> String {
    caller.0[0].1.replace("Bearer ", "")
}

async fn signed_in(app: &TestApp, secret: &str) -> As {
    let signed_in = As::nobody()
        .post(app, "/sign-in", &json!({"token": secret}))
        .await;
    As::cookie(&cookie_of(&signed_in.expect(204)).unwrap())
}

/// How many tokens have been used.
async fn used(app: &TestApp) -> u64 {
    let db = app.database.connect().await;
    let used = api_token::Entity::find().filter(api_token::Column::UsedAt.is_not_null());
    let used = used.count(&db).await.unwrap();
    db.close().await.unwrap();
    used
}

/// A request whose body has not all been sent, by a token that was not used before.
struct Held {
    stream: TcpStream,
    rest: String,
}

impl Held {
    async fn begin(app: &TestApp, caller: &As, path: &str, body: &Value) -> Self {
        let before = used(app).await;
        let address = app.base.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (body, bearer) = (body.to_string(), &caller.0[0].1);
        let (first, rest) = body.split_at(body.len() / 2);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // That its token was used tells that the server has looked who it is.
        eventually("they were let in", async || {
            (used(app).await > before).then_some(())
        })
        .await;
        Self {
            stream,
            rest: rest.to_owned(),
        }
    }

    /// The status of the answer.
    async fn end(mut self) -> u16 {
        self.stream.write_all(self.rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

on_both_databases! {
    async fn what_was_made_with_a_token_lasts_no_longer(kind: Kind) {
        let app = app_with(kind, &[]).await;
        let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
        let day = alice.post(&app, "/tokens", &json!({"name": "day", "expires_in_days": 1})).await.expect(201).json();
        let by_day = bearer_of(&day);
        for body in [json!({"name": "for ever"}), json!({"name": "long", "expires_in_days": 365})] {
            let made = by_day.post(&app, "/tokens", &body).await.expect(201).json();
            assert_eq!(made["expires_at"], day["expires_at"], "{body}");
        }
        let short = by_day.post(&app, "/tokens", &json!({"name": "for ever"})).await.expect(201).json();
        let browser = signed_in(&app, &secret_of(&bearer_of(&short))).await;
        let by_browser = browser.post(&app, "/tokens", &json!({"name": "by a browser"})).await.expect(201).json();
        assert_eq!(by_browser["expires_at"], day["expires_at"]);
        bearer_of(&by_browser).get(&app, "/chats").await.expect(200);
        // And it goes with what it was made with.
        alice.delete(&app, &format!("/token/{}", day["uuid"].as_str().unwrap())).await.expect(204);
        bearer_of(&by_browser).get(&app, "/chats").await.expect(401);
        app.stop().await;
    }

    async fn what_was_begun_with_a_json_web_token_lasts_no_longer(kind: Kind) {
        let app = app_with(kind, &[("auth.modes", "token,jwt"), ("auth.jwt.required_claims", "email")]).await;
        let claims = json!({"sub": "7", "email": "a@example.org", "exp": at(600)});
        let short = jwt(&claims, JWT_SECRET);
        let made = As::bearer(&short).post(&app, "/tokens", &json!({"name": "for ever"})).await.expect(201).json();
        assert!(made["expires_at"].is_string(), "{made}");
        let browser = signed_in(&app, &short).await;
        browser.get(&app, "/chats").await.expect(200);
        let by_browser = browser.post(&app, "/tokens", &json!({"name": "for ever"})).await.expect(201).json();
        assert_eq!(by_browser["expires_at"], made["expires_at"]);
        app.database.execute("UPDATE session SET ends_at = 1000").await;
        browser.get(&app, "/chats").await.expect(401);
        // One without an end is none, whatever else is required.
        let endless = json!({"sub": "7", "email": "a@example.org"});
        As::bearer(&jwt(&endless, JWT_SECRET)).get(&app, "/chats").await.expect(401);
        app.stop().await;
    }

    async fn whoever_is_shut_out_in_the_middle_of_a_request_does_nothing(kind: Kind) {
        let app = app_with(kind, &[("auth.modes", "token")]).await;
        let owner = As::bearer(&token(&app, "alice", Scope::Write).await);
        let thief = As::bearer(&token(&app, "alice", Scope::Write).await);
        let tokens = owner.get(&app, "/tokens").await.expect(200).json();
        let stolen = tokens["tokens"][0]["uuid"].as_str().unwrap().to_owned();
        let held = Held::begin(&app, &thief, "/tokens", &json!({"name": "another way in"})).await;
        owner.delete(&app, &format!("/token/{stolen}")).await.expect(204);
        assert_eq!(held.end().await, 401);
        assert_eq!(app.database.count("api_token").await, 2);

        let root = As::bearer(&token(&app, "root", Scope::Admin).await);
        let rogue = As::bearer(&token(&app, "rogue", Scope::Admin).await);
        let users = root.get(&app, "/admin/users").await.expect(200).json();
        let users = users["users"].as_array().unwrap().clone();
        let them = users.iter().find(|user| user["subject"] == "rogue").unwrap();
        let path = format!("/admin/user/{}", them["uuid"].as_str().unwrap());
        let back = json!({"disabled": false, "is_admin": true});
        let held = Held::begin(&app, &rogue, &path, &back).await;
        let out = json!({"disabled": true, "is_admin": false});
        root.post(&app, &path, &out).await.expect(200);
        assert_eq!(held.end().await, 403);
        rogue.get(&app, "/chats").await.expect(403);
        app.stop().await;
    }

    async fn nobody_has_tokens_without_number(kind: Kind) {
        let app = app_with(kind, &[("limits.changes_per_minute", "0")]).await;
        let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
        for number in 1..100 {
            alice.post(&app, "/tokens", &json!({"name": number.to_string()})).await.expect(201);
        }
        let refused = alice.post(&app, "/tokens", &json!({"name": "one more"})).await.expect(409);
        assert!(refused.text.contains("revoke one"), "{}", refused.text);
        let tokens = alice.get(&app, "/tokens").await.expect(200).json();
        let first = tokens["tokens"][0]["uuid"].as_str().unwrap().to_owned();
        alice.delete(&app, &format!("/token/{first}")).await.expect(204);
        alice.post(&app, "/tokens", &json!({"name": "one more"})).await.expect(201);
        let tokens = alice.get(&app, "/tokens").await.expect(200).json();
        let last = tokens["tokens"].as_array().unwrap().last().unwrap();
        assert_eq!(last["uuid"], first, "what is revoked comes last");
        app.stop().await;
    }

    async fn a_namesake_is_somebody_else(kind: Kind) {
        let app = app_with(kind, &[]).await;
        let claims = json!({"sub": "root", "exp": at(600)});
        let impostor = As::bearer(&jwt(&claims, JWT_SECRET));
        let theirs = impostor.get(&app, "/me").await.expect(200).json();
        let root = As::bearer(&token(&app, "root", Scope::Admin).await);
        let own = root.get(&app, "/me").await.expect(200).json();
        assert_ne!(own["uuid"], theirs["uuid"]);
        impostor.get(&app, "/admin/users").await.expect(403);
        // Whoever is meant can be said by their id.
        let access = open_access(&app.config()).await.unwrap();
        let id = theirs["uuid"].as_str().unwrap();
        let found = access.identity.find_or_make_user(id).await.unwrap();
        assert_eq!(found.id.to_string(), id);
        assert!(access.identity.find_user("root").await.is_err(), "there are two");
        access.store.close().await.unwrap();
        app.stop().await;
    }

    async fn browsers_that_nobody_knows_cost_their_address(kind: Kind) {
        let app = app_with(kind, &[("auth.modes", "anonymous,token"), ("limits.unknown_per_minute", "4")]).await;
        // What is refused makes nobody.
        let refused = As::nobody().get(&app, "/metrics").await.expect(403);
        assert!(cookie_of(&refused).is_none());
        let first = As::nobody().get(&app, "/chats").await.expect(200);
        let one = As::cookie(&cookie_of(&first).unwrap());
        one.chat(&app).await;
        one.chat(&app).await;
        one.post(&app, "/chat/create", &json!({})).await.expect(429);
        // Another cookie is no way round it, but reading goes on.
        As::nobody().get(&app, "/chats").await.expect(429);
        one.get(&app, "/chats").await.expect(200);
        // Whoever is known has budgets of their own.
        let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
        alice.chat(&app).await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_through_a_proxy_is_not_the_local_user() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    app.get("/chats").await.expect(200);
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-real-ip", "192.0.2.7"),
        ("forwarded", "for=192.0.2.7"),
    ] {
        let passed_on = As(vec![(name.to_owned(), value.to_owned())]);
        passed_on.get(&app, "/chats").await.expect(421);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_listed_sites_come_with_a_token_or_not_at_all() {
    let settings = [
        ("auth.modes", "local,token,anonymous"),
        ("auth.secret", COOKIE_SECRET),
        ("cors.origins", "https://app.example.org"),
    ];
    let app = TestApp::start_with(Kind::Sqlite, Upstream::echo().await, &settings).await;
    let secret = token(&app, "alice", Scope::Write).await;
    let site = ("origin".to_owned(), "https://app.example.org".to_owned());
    let with = |mut caller: As| {
        caller.0.push(site.clone());
        caller
    };
    let browser = signed_in(&app, &secret).await;
    browser.get(&app, "/chats").await.expect(200);
    for caller in [As::nobody(), browser] {
        let caller = with(caller);
        caller.get(&app, "/chats").await.expect(401);
        let refused = caller
            .post(&app, "/chat/create", &json!({}))
            .await
            .expect(401);
        assert!(cookie_of(&refused).is_none());
        caller
            .post(&app, "/me/delete", &json!({"confirm": "delete"}))
            .await
            .expect(401);
    }
    let alice = with(As::bearer(&secret));
    alice.chat(&app).await;
    app.request(Method::GET, "/chats", |request| request)
        .await
        .expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_signs_out_forgets_what_was_not_sent() {
    let app = app_with(Kind::Sqlite, &[("auth.modes", "token")]).await;
    let secret = token(&app, "alice", Scope::Write).await;
    let browser = signed_in(&app, &secret).await;
    let out = browser
        .post(&app, "/sign-out", &json!({}))
        .await
        .expect(204);
    assert_eq!(out.header("clear-site-data"), "\"storage\"");
    let browser = signed_in(&app, &secret).await;
    let gone = browser.delete(&app, "/me").await.expect(204);
    assert_eq!(gone.header("clear-site-data"), "\"storage\"");
    app.stop().await;
}
