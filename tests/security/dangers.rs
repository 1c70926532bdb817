//! The dangers of the web, one after the other: what is sent here to do harm does none.

use std::time::{Duration, Instant};

use entity::api_token::Scope;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::callers::{ALL_WAYS, As, COOKIE_SECRET, JWT_SECRET, at, cookie_of, jwt, token};
use crate::support::database::Kind;
use crate::support::{Answer, Script, TestApp, Upstream};

const JSON: &str = "application/json";
/// No answer to a bad request may take longer than this.
const AT_ONCE: Duration = Duration::from_secs(5);

async fn app_with(kind: Kind, settings: &[(&str, &str)]) -> TestApp {
    TestApp::start_with(kind, Upstream::echo().await, settings).await
}

/// A server that has its user to itself, and takes tokens besides.
const LOCAL_AND_TOKENS: [(&str, &str); 2] = [
    ("auth.modes", "local,token"),
    ("auth.secret", COOKIE_SECRET),
];

/// A server that lets in who has a token, and nobody else.
async fn by_token(kind: Kind) -> TestApp {
    let settings = [&ALL_WAYS[..], &[("auth.modes", "token")]].concat();
    app_with(kind, &settings).await
}

/// A body as it is, whatever it is.
async fn send_raw(app: &TestApp, method: Method, path: &str, body: &str) -> Answer {
    app.request(method, path, |r| {
        r.header("content-type", JSON).body(body.to_owned())
    })
    .await
}

/// Refused, and told what to do.
#[track_caller]
fn assert_refused(answer: &Answer, what: &str) {
    assert!(answer.status.is_client_error(), "{what}: {answer:?}");
    let problem = answer.json();
    let advice = problem["detail"].as_str().or(problem["title"].as_str());
    assert!(
        advice.is_some_and(|text| !text.is_empty()),
        "{what}: {answer:?}"
    );
}

/// Taken, or refused by what says what to do: never an error of the server's.
#[track_caller]
fn assert_in_order(answer: &Answer, what: &str) {
    if !answer.status.is_success() && !answer.status.is_redirection() {
        assert_refused(answer, what);
    }
}

/// What the server says to these bytes until it hangs up.
async fn say(app: &TestApp, bytes: &[u8]) -> String {
    let address = app.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may hang up in the middle.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("the server hangs up");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of each answer in what was said.
fn statuses(said: &str) -> Vec<u16> {
    let heads = said.match_indices("HTTP/1.");
    heads
        .filter_map(|(at, _)| said.get(at + 9..at + 12)?.parse().ok())
        .collect()
}

/// Those who wait for nothing are let go of soon.
const HASTY: [(&str, &str); 3] = [
    ("limits.header_timeout_ms", "1000"),
    ("limits.body_timeout_ms", "1000"),
    ("limits.idle_timeout_ms", "1000"),
];

/// Texts that have been trouble somewhere.
const TEXTS: [&str; 14] = [
    "\u{202e}gpj.exe",
    "a\u{202e}b\u{2066}c",
    "zero\u{200b}width\u{200d}",
    "\u{feff}mark",
    "e\u{301}\u{301}\u{301}\u{301}",
    "👩‍👩‍👧‍👦",
    "\u{fffe}\u{ffff}",
    "\u{10ffff}",
    "line\u{2028}separator",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "{{7*7}}${7*7}",
    "'; DROP TABLE chat; --",
    "%00%0d%0a",
];

on_both_databases! {
    async fn odd_texts_are_kept_to_the_letter(kind: Kind) {
        let app = app_with(kind, &LOCAL_AND_TOKENS).await;
        let chat = app.create_chat().await;
        for text in TEXTS {
            let body = json!({"title": text, "message": text});
            let made = app.post("/chat/create", &body).await.expect(201).json();
            assert_eq!(made["title"], text);
            let uuid = made["uuid"].as_str().unwrap();
            let message = made["message"]["uuid"].as_str().unwrap();
            assert_eq!(app.message(message).await["content"], text, "{text:?}");
            let renamed = app.post(&format!("/chat/{chat}/rename"), &json!({"title": text})).await;
            assert_eq!(renamed.expect(200).json()["title"], text);
            let named = app.post("/tokens", &json!({"name": text, "scope": "read"})).await;
            assert_eq!(named.expect(201).json()["name"], text);
            let alias = urlencoded(text);
            assert_refused(&app.post_bare(&format!("/chat/{chat}/agent/{alias}")).await, text);
            assert_refused(&app.post("/chat/create", &json!({"agent": text})).await, text);
            // Which models there are the provider knows.
            assert_in_order(&app.post("/chat/create", &json!({"model": text})).await, text);
            let stop = json!({"parameters": {"stop": [text]}});
            app.post("/chat/create", &stop).await.expect(201);
            app.get(&format!("/chat/search?q={alias}")).await.expect(200);
            app.settle().await;
            let answer = app.messages(uuid).await[1]["uuid"].as_str().unwrap().to_owned();
            let comment = json!({"reaction": "like", "comment": text});
            let reacted = app.put(&format!("/chat/message/{answer}/reaction"), &comment).await.expect(200);
            assert_eq!(reacted.json()["reaction"]["comment"], text);
            for page in ["/".to_owned(), "/chats".into(), "/account".into(), format!("/chat/{uuid}"), format!("/chat/{uuid}/shares")] {
                let shown = app.get_page(&page).await.expect(200);
                assert!(!shown.text.contains("<script>alert") && !shown.text.contains("<img src=x"), "{page}: {text:?}");
            }
            // A title turns no other text round: its element stands for itself.
            let shown = app.get_page(&format!("/chat/{uuid}")).await;
            assert!(shown.text.contains("<h1 id=\"chat-title\" dir=\"auto\">"));
            let export = app.get(&format!("/chat/{uuid}/export")).await.expect(200);
            assert_eq!(export.header("content-disposition"), format!("attachment; filename=\"chat-{uuid}.md\""));
        }
        app.stop().await;
    }

    async fn what_cannot_be_stored_is_refused(kind: Kind) {
        let app = app_with(kind, &[&LOCAL_AND_TOKENS[..], &[("auth.modes", "local,token,jwt"), ("auth.jwt.secret", JWT_SECRET), ("auth.jwt.tier_claim", "plan")]].concat()).await;
        let (chat, answer, _) = app.ask("one").await;
        let nul = "a\0b";
        for (method, path, body) in [
            (Method::POST, "/chat/create".to_owned(), json!({"title": nul})),
            (Method::POST, "/chat/create".to_owned(), json!({"message": nul})),
            (Method::POST, "/chat/create".to_owned(), json!({"agent": nul})),
            (Method::POST, "/chat/create".to_owned(), json!({"model": nul})),
            (Method::POST, "/chat/create".to_owned(), json!({"uuid": nul})),
            (Method::POST, "/chat/create".to_owned(), json!({"parameters": {"stop": [nul]}})),
            (Method::POST, format!("/chat/{chat}/send"), json!({"message": nul})),
            (Method::POST, format!("/chat/{chat}/send"), json!({"message": "x", "parameters": {"stop": [nul]}})),
            (Method::PATCH, format!("/chat/{chat}"), json!({"title": nul})),
            (Method::PATCH, format!("/chat/{chat}"), json!({"parameters": {"stop": [nul]}})),
            (Method::POST, format!("/chat/{chat}/rename"), json!({"title": nul})),
            (Method::POST, format!("/chat/message/{answer}/regenerate"), json!({"parameters": {"stop": [nul]}})),
            (Method::PUT, format!("/chat/message/{answer}/reaction"), json!({"reaction": "like", "comment": nul})),
            (Method::POST, "/tokens".to_owned(), json!({"name": nul})),
            (Method::POST, "/sign-in".to_owned(), json!({"token": nul})),
        ] {
            let answer = app.request(method, &path, |r| r.json(&body)).await;
            let what = format!("{path} {body}");
            // Where it is nothing to store it is taken as it is.
            let is_kept = body["parameters"]["stop"].is_array() && answer.status.is_success();
            if !is_kept {
                assert_refused(&answer, &what);
            }
        }
        app.settle().await;
        for path in [
            "/chat/search?q=%00", "/chats?q=a%00b", "/chats?cursor=%00", "/chat/list?cursor=a%00", "/?deleted=%00", "/usage?from=%00",
            "/usage?by=%00", "/admin/users?after=%00", "/admin/audit?before=%00", "/problems/%00", "/assets/%00", "/shared/%00",
            "/shared/pls_%00", "/chat/%00", "/chat/message/%00/tokens/%00", "/sign-in?next=/%00", "/%00",
        ] {
            for form in [JSON, "text/html"] {
                let answer = app.request(Method::GET, path, |r| r.header("accept", form)).await;
                assert!(!answer.status.is_server_error(), "{path}: {answer:?}");
            }
        }
        for body in [r#"{"title": "\ud800"}"#, r#"{"message": "a\udc00"}"#, r#"{"message": "\ud800\ud800"}"#, r#"{"\ud800": 1}"#] {
            assert_refused(&send_raw(&app, Method::POST, "/chat/create", body).await, body);
        }
        // Names that another application signs, and a gateway's.
        for (number, claims) in [json!({"sub": nul}), json!({"sub": "n", "name": nul}), json!({"sub": "t", "plan": nul}), json!({"sub": "i", "iss": nul}), json!({"sub": "l", "name": "x".repeat(10_000)})].into_iter().enumerate() {
            let mut claims = claims;
            claims["exp"] = json!(at(60));
            let them = As::bearer(&jwt(&claims, JWT_SECRET));
            let answer = them.get(&app, "/me").await;
            assert_in_order(&answer, &format!("claims {number}"));
        }
        app.get("/chat/list").await.expect(200);
        app.stop().await;
    }

    async fn numbers_out_of_all_bounds_are_refused(kind: Kind) {
        let app = app_with(kind, &LOCAL_AND_TOKENS).await;
        let (chat, answer, _) = app.ask("one").await;
        let numbers = ["18446744073709551616", "99999999999999999999999999", "1e400", "-1e400", "-0", "-0.0", "1.5", "-1", "9223372036854775807",
            "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "4294967296", "253402300800000", "1e18", "0"];
        for number in numbers {
            let share = format!("/chat/{chat}/shares");
            let patch = format!("/chat/{chat}");
            for (method, path, body) in [
                (Method::POST, "/chat/create", format!(r#"{{"parameters": {{"temperature": {number}}}}}"#)),
                (Method::POST, "/chat/create", format!(r#"{{"parameters": {{"top_p": {number}}}}}"#)),
                (Method::POST, "/chat/create", format!(r#"{{"parameters": {{"max_tokens": {number}}}}}"#)),
                (Method::POST, "/chat/create", format!(r#"{{"parameters": {{"seed": {number}}}}}"#)),
                (Method::POST, "/chat/create", format!(r#"{{"title": {number}}}"#)),
                (Method::POST, &share, format!(r#"{{"expires_in_ms": {number}}}"#)),
                (Method::POST, &share, format!(r#"{{"expires_in_ms": "{number}"}}"#)),
                (Method::POST, &share, format!(r#"{{"expires_at": {number}}}"#)),
                (Method::PATCH, &patch, format!(r#"{{"expires_at": {number}}}"#)),
                (Method::POST, "/tokens", format!(r#"{{"expires_in_days": {number}}}"#)),
                (Method::POST, "/tokens", format!(r#"{{"expires_in_days": "{number}"}}"#)),
            ] {
                let answer = send_raw(&app, method, path, &body).await;
                assert_in_order(&answer, &format!("{path} {body}"));
            }
            let coded = urlencoded(number);
            for path in [
                format!("/chat/list?limit={coded}"), format!("/chats?limit={coded}"), format!("/chat/list?seen={coded}&after={coded}"),
                format!("/chat/{chat}/messages?revision={coded}&after={coded}"), format!("/chat/message/{answer}/tokens/{coded}"),
                format!("/chat/message/{answer}/tokens/0?open={coded}"), format!("/chat/message/{answer}/tokens/0?reasoning={coded}"),
                format!("/chat/message/{answer}/tokens/3?open={coded}&after={coded}"), format!("/admin/audit?before={coded}"),
            ] {
                for fragment in [false, true] {
                    let asked = if fragment { app.get_fragment(&path).await } else { app.get(&path).await };
                    assert!(!asked.status.is_server_error(), "{path}: {asked:?}");
                }
            }
            let select = format!("/chat/message/{answer}/versions/{coded}/select");
            assert_refused(&app.post_bare(&select).await, &select);
        }
        for at in ["+1000000-01-01T00:00:00Z", "-262143-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "2026-02-30T00:00:00Z", "", "\u{0}", "1970-01-01T00:00:00Z"] {
            for (method, path) in [(Method::PATCH, format!("/chat/{chat}")), (Method::POST, format!("/chat/{chat}/shares"))] {
                let answer = app.request(method, &path, |r| r.json(&json!({"expires_at": at}))).await;
                assert_in_order(&answer, &format!("{path} {at}"));
            }
        }
        for day in ["9999999-01-01", "-1-01-01", "+262142-12-31", "2026-13-01"] {
            let answer = app.get(&format!("/usage?from={}", urlencoded(day))).await;
            assert_in_order(&answer, day);
        }
        app.stop().await;
    }

    async fn a_form_that_is_posted_again_has_one_effect(kind: Kind) {
        let app = by_token(kind).await;
        let secret = token(&app, "alice", Scope::Write).await;
        let signed_in = As::nobody().post(&app, "/sign-in", &json!({"token": secret})).await.expect(204);
        let cookie = cookie_of(&signed_in).unwrap();
        let post = async |path: &str, headers: &[(&str, &str)]| {
            app.request(Method::POST, path, |mut r| {
                for (name, value) in headers {
                    r = r.header(*name, *value);
                }
                r.header("cookie", &cookie).header("accept", "text/html").form(&[("message", "Hello")])
            })
            .await
        };
        let browser = As::cookie(&cookie);
        let key = [("idempotency-key", "one-form"), ("sec-fetch-site", "same-origin")];
        let first = post("/chat/create", &key).await.expect(303);
        let again = post("/chat/create", &key).await.expect(303);
        assert_eq!(first.header("location"), again.header("location"));
        let list = browser.get(&app, "/chat/list").await.expect(200).json();
        assert_eq!(list["chats"].as_array().unwrap().len(), 1);
        let send = format!("{}/send", first.header("location"));
        let (one, other) = tokio::join!(post(&send, &key), post(&send, &key));
        assert!([one, other].iter().all(|answer| [303, 409].contains(&answer.status.as_u16())));
        app.settle().await;
        let messages = browser.get(&app, &format!("{}/messages", first.header("location"))).await.json();
        assert_eq!(messages["messages"].as_array().unwrap().len(), 4, "{messages}");
        // From the page of another site, with the cookie as a browser sends it.
        for other in [[("origin", "https://evil.example")], [("sec-fetch-site", "cross-site")], [("origin", "null")]] {
            post(&send, &other).await.expect(403);
        }
        // What was sent before the session ended, sent again.
        browser.post(&app, "/sign-out", &json!({})).await.expect(204);
        post("/chat/create", &key).await.expect(401);
        post(&send, &[]).await.expect(401);
        assert_eq!((app.database.count("chat").await, app.database.count("chat_message").await), (1, 4));
        app.stop().await;
    }

    async fn two_users_racing_on_one_chat_never_meet(kind: Kind) {
        let app = by_token(kind).await;
        let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
        let stranger = As::bearer(&token(&app, "mallory", Scope::Write).await);
        for round in 0..8 {
            let chat = alice.chat(&app).await;
            let path = format!("/chat/{chat}");
            let (send, shares) = (format!("{path}/send"), format!("{path}/shares"));
            let made = alice.post(&app, &shares, &json!({})).await.expect(201).json();
            let link = made["url"].as_str().unwrap().to_owned();
            let owner = async {
                for text in ["one", "two"] {
                    alice.post(&app, &send, &json!({"message": text})).await.expect(202);
                }
                alice.post(&app, &shares, &json!({})).await.expect(201);
            };
            let other = async {
                for _ in 0..3 {
                    stranger.post(&app, &send, &json!({"message": "not mine"})).await.expect(404);
                    stranger.post(&app, &shares, &json!({})).await.expect(404);
                    stranger.get(&app, &path).await.expect(404);
                    stranger.delete(&app, &path).await.expect(404);
                    stranger.post(&app, &format!("{path}/restore"), &json!({})).await.expect(404);
                }
            };
            let reader = async {
                let holder = As::nobody();
                for _ in 0..3 {
                    holder.get(&app, &link).await.expect(200);
                    holder.post(&app, &link, &json!({"message": "not mine"})).await.expect(405);
                    holder.post(&app, &send, &json!({"message": "not mine"})).await.expect(401);
                    holder.delete(&app, &path).await.expect(401);
                    holder.get(&app, &format!("{link}/messages")).await.expect(200);
                }
            };
            tokio::join!(owner, other, reader);
            let messages = alice.get(&app, &format!("{path}/messages")).await.expect(200).json();
            let messages = messages["messages"].as_array().unwrap();
            let said: Vec<_> = messages.iter().filter(|m| m["role"] == "user").map(|m| m["content"].as_str().unwrap()).collect();
            assert_eq!(said, ["one", "two"], "round {round}");
            let listed = alice.get(&app, &shares).await.expect(200).json();
            assert_eq!(listed["shares"].as_array().unwrap().len(), 2, "{listed}");
        }
        app.stop().await;
    }

    async fn two_sessions_of_one_user_racing_leave_no_wreck(kind: Kind) {
        let app = by_token(kind).await;
        let secret = token(&app, "alice", Scope::Write).await;
        let mut sessions = Vec::new();
        for _ in 0..2 {
            let signed_in = As::nobody().post(&app, "/sign-in", &json!({"token": secret})).await.expect(204);
            sessions.push(As::cookie(&cookie_of(&signed_in).unwrap()));
        }
        for round in 0..12 {
            let chat = sessions[0].chat(&app).await;
            let (path, to) = (format!("/chat/{chat}"), format!("/chat/{chat}/send"));
            let body = json!({"message": "Hello"});
            let (sent, deleted, shared) = if round % 2 == 0 {
                tokio::join!(sessions[0].post(&app, &to, &body), sessions[1].delete(&app, &path), async { Option::<Answer>::None })
            } else {
                let shares = format!("{path}/shares");
                let share = async { Some(sessions[0].post(&app, &shares, &json!({})).await) };
                tokio::join!(sessions[0].post(&app, &to, &body), sessions[1].delete(&app, &path), share)
            };
            assert!([202, 404].contains(&sent.status.as_u16()), "{sent:?}");
            deleted.expect(204);
            assert!(shared.is_none_or(|answer| [201, 404].contains(&answer.status.as_u16())));
            sessions[0].get(&app, &path).await.expect(404);
        }
        app.stop().await;
    }

    async fn a_way_in_that_was_closed_is_closed_to_all_who_came_by_it(kind: Kind) {
        let mut app = app_with(kind, &ALL_WAYS).await;
        let first = As::nobody().get(&app, "/chats").await.expect(200);
        let anonymous = As::cookie(&cookie_of(&first).unwrap());
        let chat = anonymous.chat(&app).await;
        let secret = token(&app, "alice", Scope::Write).await;
        let signed_in = As::nobody().post(&app, "/sign-in", &json!({"token": secret})).await.expect(204);
        let alice = As::cookie(&cookie_of(&signed_in).unwrap());
        alice.get(&app, "/chats").await.expect(200);
        app.settle().await;
        app.shut_down().await;
        let settings = [&ALL_WAYS[..], &[("auth.modes", "jwt")]].concat();
        let closed = TestApp::start_on(app.database.clone(), app.upstream.clone(), &settings).await;
        anonymous.get(&closed, &format!("/chat/{chat}")).await.expect(401);
        alice.get(&closed, "/chats").await.expect(401);
        As::bearer(&secret).get(&closed, "/chats").await.expect(401);
        closed.stop().await;
    }
}

/// For a path or a query.
fn urlencoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut coded, byte| {
        if byte.is_ascii_alphanumeric() {
            coded.push(char::from(byte));
        } else {
            write!(coded, "%{byte:02X}").unwrap();
        }
        coded
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_leads_on_to_another_server() {
    let app = by_token(Kind::Sqlite).await;
    let secret = token(&app, "alice", Scope::Write).await;
    for next in [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "\\/evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        " //evil.example",
        "https://evil.example",
        "https:evil.example",
        "HTTPS:/evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "/\r\nLocation: https://evil.example",
        "/\r\n\r\n<script>",
        "/\u{e9}vil",
        "/\u{2028}",
        "evil.example",
        "",
    ] {
        let form = app
            .get_page(&format!("/sign-in?next={}", urlencoded(next)))
            .await
            .expect(200);
        let field = "name=\"next\" value=\"/\"";
        assert!(form.text.contains(field), "{next:?}: {}", form.text);
        let signed_in = app
            .request(Method::POST, "/sign-in", |r| {
                r.header("accept", "text/html")
                    .form(&[("token", secret.as_str()), ("next", next)])
            })
            .await
            .expect(303);
        assert_eq!(signed_in.header("location"), "/", "{next:?}");
        // Refused, the form keeps no more of it.
        let refused = app
            .request(Method::POST, "/sign-in", |r| {
                r.header("accept", "text/html")
                    .form(&[("token", "pln_wrong"), ("next", next)])
            })
            .await
            .expect(401);
        assert!(refused.text.contains(field), "{next:?}");
    }
    // What is encoded twice stays a path of this server.
    let coded = app
        .get_page("/sign-in?next=/%252f%252fevil.example")
        .await
        .expect(200);
    assert!(coded.text.contains("value=\"/%2f%2fevil.example\""));
    for referer in [
        "https://evil.example//evil.example/",
        "javascript:alert(1)",
        "//evil.example",
        "https://evil.example/%0d%0ax",
    ] {
        let chosen = app
            .request(Method::POST, "/theme", |r| {
                r.header("accept", "text/html")
                    .header("referer", referer)
                    .form(&[("theme", "dark")])
            })
            .await
            .expect(303);
        let location = chosen.header("location");
        assert!(
            location.starts_with('/') && !location.starts_with("//"),
            "{referer}: {location}"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_makes_up_a_header_of_its_answer() {
    let app = app_with(Kind::Sqlite, &[]).await;
    let evil = "%0d%0aX-Evil:%201%0d%0a%0d%0a";
    let (chat, ..) = app.ask("one").await;
    for path in [
        format!("/{evil}"),
        format!("/chat/{evil}"),
        format!("/chat/{chat}{evil}"),
        format!("/chat/{chat}/export?format={evil}"),
        format!("/?deleted={evil}"),
        format!("/chats?q={evil}"),
        format!("/chat/search?q={evil}"),
        format!("/shared/{evil}"),
        format!("/assets/{evil}"),
        format!("/problems/{evil}"),
        format!("/assets/pollen.css?v={evil}"),
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let asked = app.request(method, &path, |r| {
                r.header("accept", "text/html")
                    .header("hx-current-url", "http://x/%0d%0aX-Evil: 1")
                    .header("referer", "http://x/%0d%0aX-Evil: 1")
                    .header("x-request-id", "a b")
            });
            let answer = asked.await;
            assert!(!answer.status.is_server_error(), "{path}: {answer:?}");
            assert!(!answer.headers.contains_key("x-evil"), "{path}");
            assert_ne!(answer.header("x-request-id"), "a b");
        }
    }
    for title in [
        "a\"; filename=\"evil.exe",
        "Blüte 花粉 \u{202e}exe.fdp",
        "x%0d%0aX-Evil: 1",
        "../../etc/passwd",
    ] {
        let chat = app.post("/chat/create", &json!({"title": title})).await;
        let chat = chat.expect(201).json()["uuid"].as_str().unwrap().to_owned();
        for (format, ending) in [
            ("markdown", "md"),
            ("json", "json"),
            ("text", "txt"),
            ("html", "html"),
        ] {
            let path = format!("/chat/{chat}/export?format={format}");
            let file = app.get(&path).await.expect(200);
            let name = format!("attachment; filename=\"chat-{chat}.{ending}\"");
            assert_eq!(file.header("content-disposition"), name);
        }
    }
    for title in ["two\r\nlines", "a\u{0}b", "\u{1b}[31m"] {
        let refused = app.post("/chat/create", &json!({"title": title})).await;
        assert_refused(&refused, title);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_leads_past_its_route() {
    let settings = [&ALL_WAYS[..], &HASTY, &[("auth.modes", "token")]].concat();
    let app = app_with(Kind::Sqlite, &settings).await;
    let long = format!("/assets/{}", "a".repeat(60_000));
    let longer = format!("/chat/{}", "../".repeat(40_000));
    let paths = [
        "/chat/../admin/users",
        "/assets/../admin/users",
        "/assets/..%2fadmin%2fusers",
        "/assets/%2e%2e/admin/users",
        "/assets/%2e%2e%2fadmin%2fusers",
        "/assets/..%5cadmin",
        "/assets/../../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%c0%ae%c0%ae%c0%af",
        "/assets/%e0%80%ae",
        "/assets/pollen.css%00.html",
        "/assets/pollen.css.",
        "/assets/pollen.css/",
        "/assets//pollen.css",
        "/assets/%2fpollen.css",
        "//admin/users",
        "///admin/users",
        "/admin//users",
        "/admin/users/",
        "/admin/users.",
        "/admin/users%20",
        "/admin/users;x=1",
        "/admin/users%00",
        "/ADMIN/users",
        "/shared/../admin/users",
        "/shared/%2e%2e/admin/users",
        "/healthz/../admin/users",
        "/healthz%2f..%2fadmin%2fusers",
        "/./admin/users",
        "/%2e/admin/users",
        "/admin/users?x=/healthz",
        "/admin/users#/healthz",
        "/%61dmin/users",
        "/sign-in/../me/export",
        "/metrics",
        "/metrics/",
        "http://127.0.0.1/admin/users",
        "http://evil.example/admin/users",
        "*",
        "evil.example:443",
        &long,
        &longer,
    ];
    let asked = paths.map(|path| {
        let app = &app;
        async move {
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\nconnection: close\r\n\r\n"
            );
            (path, say(app, request.as_bytes()).await)
        }
    });
    for (path, said) in join_all(asked).await {
        let statuses = statuses(&said);
        let head: String = path.chars().take(60).collect();
        let is_refused = |status: &u16| (400..500).contains(status);
        assert!(
            statuses.len() <= 1 && statuses.iter().all(is_refused),
            "{head}: {}",
            said.chars().take(300).collect::<String>()
        );
    }
    app.stop().await;
}

/// A request that would leave a trace.
fn planted(number: usize) -> String {
    let body = json!({"title": format!("smuggled-{number}")}).to_string();
    format!(
        "POST /chat/create HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Requests of which two servers may think differently where they end. `{S}` is one that is in them, `{N}` its length.
const SHAPES: [&str; 22] = [
    "content-length: {N5}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{S}",
    "transfer-encoding: chunked\r\ncontent-length: {N5}\r\n\r\n0\r\n\r\n{S}",
    "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n{S}",
    "content-length: 0\r\ncontent-length: {N}\r\n\r\n{S}",
    "content-length: {N}\r\ncontent-length: 0\r\n\r\n{S}",
    "content-length: 0, {N}\r\n\r\n{S}",
    "content-length: +0\r\n\r\n{S}",
    "content-length: -1\r\n\r\n{S}",
    "content-length: 0x0\r\n\r\n{S}",
    "content-length: 18446744073709551616\r\n\r\n{S}",
    "content-length: 99999999999999999999999\r\n\r\n{S}",
    "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{S}",
    "transfer-encoding: identity\r\n\r\n0\r\n\r\n{S}",
    "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{S}",
    "transfer-encoding : chunked\r\n\r\n0\r\n\r\n{S}",
    "transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n{S}",
    "x: a\r\n folded\r\ncontent-length: {N}\r\n\r\n{S}",
    "x: a\ntransfer-encoding: chunked\r\ncontent-length: {N5}\r\n\r\n0\r\n\r\n{S}",
    "x: a\rtransfer-encoding: chunked\r\ncontent-length: {N5}\r\n\r\n0\r\n\r\n{S}",
    "transfer-encoding: chunked\r\n\r\n10000000000000000\r\n{S}",
    "transfer-encoding: chunked\r\n\r\n-1\r\n{S}",
    "transfer-encoding: chunked\r\n\r\n0;a=\n\r\n\r\n{S}",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_smuggled_in_another() {
    let app = app_with(Kind::Sqlite, &HASTY).await;
    let list = async || app.get("/chat/list").await.expect(200).text;
    // Two on one connection are two, so that the others would leave a trace too.
    let two = [planted(900), planted(901)].concat();
    assert_eq!(statuses(&say(&app, two.as_bytes()).await), [201, 201]);
    assert!(list().await.contains("smuggled-901"));
    let fill = |shape: &str, version: &str, number: usize| {
        let smuggled = planted(number);
        let shape = shape.replace("{N5}", &(smuggled.len() + 5).to_string());
        let shape = shape.replace("{N}", &smuggled.len().to_string());
        let head = format!("POST /theme HTTP/{version}\r\nhost: localhost\r\n");
        format!("{head}{}", shape.replace("{S}", &smuggled))
    };
    let mut requests: Vec<_> = SHAPES
        .iter()
        .enumerate()
        .map(|(number, shape)| fill(shape, "1.1", number))
        .collect();
    // A version that knows no chunks, on a connection that is to stay.
    let old = "connection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{S}";
    requests.push(fill(old, "1.0", requests.len()));
    let said = requests.iter().map(|request| say(&app, request.as_bytes()));
    for (request, said) in requests.iter().zip(join_all(said).await) {
        let statuses = statuses(&said);
        let is_refused = |status: &u16| (400..500).contains(status);
        assert!(
            statuses.len() <= 1 && statuses.iter().all(is_refused),
            "{request:?}: {said}"
        );
    }
    let chats = list().await;
    for (number, request) in requests.iter().enumerate() {
        let title = format!("\"smuggled-{number}\"");
        assert!(!chats.contains(&title), "{request:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_without_end_is_refused_at_once() {
    let app = app_with(Kind::Sqlite, &[("auth.modes", "local,token")]).await;
    let (chat, answer, _) = app.ask("one").await;
    let arrays = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    let many: Vec<_> = (0..3_000).map(|n| format!("\"k{n}\":1")).collect();
    let many = format!("{{{}}}", many.join(","));
    let routes = [
        (Method::POST, "/chat/create".to_owned(), "parameters"),
        (Method::POST, "/chat/create".to_owned(), "title"),
        (Method::POST, format!("/chat/{chat}/send"), "message"),
        (Method::PATCH, format!("/chat/{chat}"), "expires_at"),
        (
            Method::POST,
            format!("/chat/{chat}/shares"),
            "expires_in_ms",
        ),
        (Method::POST, format!("/chat/{chat}/rename"), "title"),
        (
            Method::PUT,
            format!("/chat/message/{answer}/reaction"),
            "reaction",
        ),
        (Method::POST, "/tokens".to_owned(), "expires_in_days"),
        (
            Method::POST,
            format!("/admin/user/{}", Uuid::now_v7()),
            "disabled",
        ),
        (Method::POST, "/sign-in".to_owned(), "token"),
        (Method::POST, "/theme".to_owned(), "theme"),
        (Method::POST, "/me/delete".to_owned(), "confirm"),
    ];
    for (method, path, field) in routes {
        for body in [
            arrays.clone(),
            objects.clone(),
            many.clone(),
            "[".repeat(30_000),
            format!("{{\"{field}\": {arrays}}}"),
            format!("{{\"{field}\": {objects}}}"),
            format!("{{\"{field}\": \"a\", \"{field}\": \"b\"}}"),
            format!("{{\"{field}\": "),
        ] {
            let begun = Instant::now();
            let refused = send_raw(&app, method.clone(), &path, &body).await;
            let head: String = body.chars().take(40).collect();
            assert_refused(&refused, &format!("{path} {head}"));
            assert!(begun.elapsed() < AT_ONCE, "{path} {head}");
        }
    }
    let form: Vec<_> = (0..3_000).map(|n| format!("k{n}=1")).collect();
    let form = app.request(Method::POST, "/chat/create", |r| {
        r.header("content-type", "application/x-www-form-urlencoded")
            .body(form.join("&"))
    });
    assert_refused(&form.await, "a form of many fields");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_asks_says_where_the_models_are() {
    let app = app_with(Kind::Sqlite, &[]).await;
    let elsewhere = Upstream::echo().await;
    let (chat, answer, _) = app.ask("one").await;
    let before = app.upstream.received().len();
    let url = elsewhere.base_url();
    let send = format!("/chat/{chat}/send");
    for field in [
        "base_url", "api_base", "endpoint", "url", "provider", "proxy", "headers", "api_key",
    ] {
        let own = |mut body: Value| {
            body[field] = json!(url);
            body
        };
        for (path, body) in [
            ("/chat/create", own(json!({"message": "Hi"}))),
            (send.as_str(), own(json!({"message": "Hi"}))),
            (
                send.as_str(),
                json!({"message": "Hi", "parameters": {field: url}}),
            ),
            (
                &format!("/chat/message/{answer}/regenerate"),
                own(json!({})),
            ),
        ] {
            let refused = app.post(path, &body).await.expect(422);
            assert!(refused.text.contains(field), "{}", refused.text);
        }
    }
    // A model's name is a name, whatever it looks like.
    let asked = app.upstream.received().len();
    assert_eq!(asked, before);
    for model in NAMES.into_iter().chain([url.as_str()]) {
        for path in ["/chat/create", &send] {
            let body = json!({"message": "Hi", "model": model});
            assert_in_order(&app.post(path, &body).await, model);
        }
    }
    app.settle().await;
    for received in app.upstream.received() {
        let line = received.head.lines().next().unwrap();
        assert_eq!(line, "POST /v1/chat/completions HTTP/1.1");
    }
    assert!(elsewhere.received().is_empty() && elsewhere.listings_asked().is_empty());
    app.stop().await;

    // Also where a format has it in the path.
    let upstream = Upstream::start(|_| Script::json(400, &json!({}))).await;
    let root = upstream.root();
    let settings = [
        ("default_provider", "gemini"),
        ("gemini.api_key", "a-key"),
        ("gemini.base_url", root.as_str()),
        ("gemini.model", "scripted-model"),
    ];
    let app = TestApp::start_with(Kind::Sqlite, upstream, &settings).await;
    for model in NAMES {
        let body = json!({"message": "Hi", "model": model});
        assert_in_order(&app.post("/chat/create", &body).await, model);
    }
    app.post("/chat/create", &json!({"message": "Hi"}))
        .await
        .expect(201);
    app.settle().await;
    let received = app.upstream.received();
    assert!(!received.is_empty());
    for received in received {
        let path = received.head.split(' ').nth(1).unwrap();
        if path == "/v1/chat/completions" {
            continue;
        }
        assert!(
            path.contains("/models/") && !path.contains("/../"),
            "{path}"
        );
        assert!(!path.contains("?x") && !path.contains('#'), "{path}");
    }
    app.stop().await;
}

/// What looks like a way to somewhere else.
const NAMES: [&str; 7] = [
    "http://169.254.169.254/latest",
    "file:///etc/passwd",
    "openai/../../x",
    "../../x",
    "..",
    "openai@evil.example",
    "a?x=y#z",
];
