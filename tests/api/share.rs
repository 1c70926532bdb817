//! Links to a chat: `/chat/{uuid}/shares`, `/share/{uuid}`, and what `/shared/{secret}` opens.

use std::time::Duration;

use entity::{ChatId, OwnerId, Timestamp, audit_log, chat, idempotency_key, share};
use reqwest::Method;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::process::Server;
use crate::support::{Reader, Script, TestApp, Upstream, app::Answer, app::eventually};

/// A secret that no link has.
const WRONG: &str = "/shared/pls_0000000000000000000000000000000000000000000000000000000000000000";

/// Makes a link to the chat: its UUID and its path.
async fn link(app: &TestApp, chat: &str, body: &Value) -> (String, String) {
    let made = app
        .post(&format!("/chat/{chat}/shares"), body)
        .await
        .expect(201)
        .json();
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("uuid"), text("url"))
}

/// What a problem says to whoever gets it, but for its request id.
fn told(answer: &Answer) -> Value {
    let mut problem = answer.json();
    problem["request_id"].take();
    problem
}

/// Polls an answer by the link until its status is terminal.
async fn read_by(app: &TestApp, link: &str, answer: &str) -> Reader {
    let mut reader = Reader::default();
    eventually("the answer ends", async || {
        let path = format!("{link}/message/{answer}/tokens/{}", reader.position);
        reader.apply(&app.get(&path).await.expect(200).json());
        reader.is_done().then(|| reader.clone())
    })
    .await
}

/// Every address that a link opens.
fn opened(link: &str, message: &str) -> Vec<String> {
    [
        "",
        "/messages",
        "/messages/",
        "/messages/{}",
        "/message/{}/tokens",
        "/message/{}/tokens/",
        "/message/{}/tokens/4",
    ]
    .map(|rest| format!("{link}{}", rest.replace("{}", message)))
    .to_vec()
}

on_both_databases! {
    async fn a_link_shows_what_its_owner_sees_but_for_what_is_the_owners(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        app.put(&format!("/chat/message/{answer}/reaction"), &json!({"reaction": "dislike", "comment": "mine"})).await.expect(200);
        let (_, path) = link(&app, &chat, &json!({})).await;
        let own = app.get(&format!("/chat/{chat}")).await.json();
        let mut shared = app.get(&path).await.expect(200).json();
        for (field, value) in shared.as_object().unwrap() {
            assert_eq!(value, &own[field], "{field}");
        }
        for field in ["parameters", "on_busy"] {
            assert_eq!(shared[field].take(), Value::Null, "{field}");
        }
        let mut own = app.get(&format!("/chat/{chat}/messages")).await.json();
        let shared = app.get(&format!("{path}/messages")).await.expect(200).json();
        assert_eq!(own["messages"][1]["reaction"]["comment"], "mine");
        own["messages"][1]["reaction"] = Value::Null;
        assert_eq!(shared, own);
        let tokens = format!("message/{answer}/tokens/4?reasoning=0");
        let by_link = app.get(&format!("{path}/{tokens}")).await.expect(200);
        assert_eq!(by_link.json(), app.get(&format!("/chat/{tokens}")).await.json());
        assert_eq!(by_link.header("content-length"), by_link.text.len().to_string());
        assert_eq!(by_link.header("cache-control"), "no-store");
        app.stop().await;
    }

    async fn the_protocols_rules_hold_for_a_link_too(kind: Kind) {
        let long = "花粉 and tea. ".repeat(30_000);
        let scripts = [Script::answer([&long]), Script::answer(["anew"])];
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let (chat, answer, all) = app.ask("go").await;
        let (_, path) = link(&app, &chat, &json!({})).await;
        assert_eq!(read_by(&app, &path, &answer).await, all, "piece by piece (P7)");
        let seen = app.get(&path).await.json()["revision"].as_i64().unwrap();
        let poll = format!("{path}/messages/{answer}?revision={seen}");
        assert_eq!(app.get(&poll).await.json()["messages"], json!([]));
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
        app.settle().await;
        let changed = app.get(&poll).await.json();
        assert_eq!((&changed["messages"][0]["uuid"], &changed["messages"][0]["content"]), (&json!(answer), &json!("anew")), "(P11)");
        let reader = Reader { position: all.position, text: all.text, ..Reader::default() };
        let more = app.get(&format!("{path}/message/{answer}/tokens/{}", reader.position)).await.json();
        assert_eq!((&more["append"], &more["tokens"]), (&json!(false), &json!("anew")), "(P3)");
        assert!(more["position"].as_u64().unwrap() > reader.position, "(P2)");
        app.delete(&format!("/chat/message/{answer}")).await.expect(204);
        let gone = app.get(&poll).await.json();
        assert_eq!(gone["messages"][0]["deleted"], true);
        app.get(&format!("{path}/messages/{answer}")).await.expect(200);
        app.get(&format!("{path}/message/{answer}/tokens/-1")).await.expect(400);
        app.get(&format!("{path}/message/nonsense/tokens/0")).await.expect(400);
        app.stop().await;
    }

    async fn a_growing_answer_is_seen_to_grow_until_the_link_is_revoked(kind: Kind) {
        let gates = [CancellationToken::new(), CancellationToken::new()];
        let script = Script::stream().say(["one "]).wait(&gates[0]).say(["two "]).wait(&gates[1]).say(["three"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let other = app.another_node_or_none().await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "Count").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "one ").await;
        let (uuid, path) = link(&app, &chat, &json!({})).await;
        let tokens = format!("{path}/message/{answer}/tokens/0");
        let nodes: Vec<&TestApp> = std::iter::once(&app).chain(&other).collect();
        let grows = async |text: &str| {
            for node in &nodes {
                eventually(text, async || {
                    let poll = node.get(&tokens).await.expect(200).json();
                    (poll["tokens"] == text && poll["status"] == "pending" && poll["poll_after_ms"] == 300).then_some(())
                }).await;
            }
        };
        grows("one ").await;
        gates[0].cancel();
        grows("one two ").await;
        let messages = app.get(&format!("{path}/messages")).await.json();
        assert_eq!(messages["messages"][1]["content"], "one two ");
        app.delete(&format!("/share/{uuid}")).await.expect(204);
        // At once, and on every node.
        for node in &nodes {
            for path in opened(&path, &answer) {
                node.get(&path).await.expect(404);
            }
        }
        gates[1].cancel();
        assert_eq!(app.read(&answer).await.text, "one two three", "nothing has happened to the answer");
        if let Some(other) = other {
            other.abandon().await;
        }
        app.stop().await;
    }

    async fn whatever_is_wrong_with_a_link_it_is_the_same_404(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let (uuid, revoked) = link(&app, &chat, &json!({})).await;
        app.delete(&format!("/share/{uuid}")).await.expect(204);
        let (_, expired) = link(&app, &chat, &json!({"expires_in_ms": 1_000})).await;
        app.get(&expired).await.expect(200);
        eventually("it expires", async || (app.get(&expired).await.status == 404).then_some(())).await;
        let (deleted_chat, ..) = app.ask("two").await;
        let (_, deleted) = link(&app, &deleted_chat, &json!({})).await;
        app.delete(&format!("/chat/{deleted_chat}")).await.expect(204);
        let links = [revoked, expired, deleted.clone(), "/shared/x".to_owned(), "/shared/%00%FF".to_owned(), format!("/shared/{chat}")];
        for (wrong, wanted) in links.iter().flat_map(|link| opened(link, &answer).into_iter().zip(opened(WRONG, &answer))) {
            let (refused, expected) = (app.get(&wrong).await.expect(404), app.get(&wanted).await.expect(404));
            assert_eq!(told(&refused), told(&expected), "{wrong}");
            assert_eq!(refused.json()["type"], "/problems/chat-not-found");
            assert_eq!(app.get_fragment(&wrong).await.expect(404).text, app.get_fragment(&wanted).await.text, "{wrong}");
            assert_eq!(app.get_page(&wrong).await.expect(404).text, app.get_page(&wanted).await.text, "{wrong}");
        }
        // A chat that is brought back has its links.
        app.post_bare(&format!("/chat/{deleted_chat}/restore")).await.expect(200);
        app.get(&deleted).await.expect(200);
        app.stop().await;
    }

    async fn a_link_opens_one_chat_and_nothing_else(kind: Kind) {
        let gate = CancellationToken::new();
        let scripts = [Script::answer(["mine"]), Script::stream().say(["concealed"]).wait(&gate).finish()];
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let (chat, answer, _) = app.ask("one").await;
        let other = app.create_chat().await;
        let message = app.send(&other, "asked elsewhere").await;
        let running = app.answer_to(&other, &message).await;
        app.read_until(&running, "concealed").await;
        let (uuid, path) = link(&app, &chat, &json!({})).await;
        for elsewhere in [&running, &message] {
            for form in ["application/json", "text/html"] {
                let poll = format!("{path}/message/{elsewhere}/tokens/0");
                let refused = app.request(Method::GET, &poll, |r| r.header("accept", form)).await.expect(404);
                assert!(!refused.text.contains("concealed") && !refused.text.contains("asked elsewhere"), "{}", refused.text);
            }
            let refused = app.get(&format!("{path}/messages/{elsewhere}")).await.expect(404);
            assert_eq!(refused.json()["type"], "/problems/cursor-not-found");
        }
        gate.cancel();
        app.read(&running).await;
        let refused = app.get(&format!("{path}/message/{running}/tokens/0")).await.expect(404);
        assert_eq!(refused.json()["type"], "/problems/message-not-found");
        // There is nothing to do by a link, and no other route knows its secret.
        let secret = path.strip_prefix("/shared/").unwrap();
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for path in opened(&path, &answer) {
                app.request(method.clone(), &path, |r| r.json(&json!({}))).await.expect(405);
            }
        }
        for rest in ["send", "shares", "export", "revoke", &format!("message/{answer}"), &format!("message/{answer}/about"), &format!("message/{answer}/versions")] {
            app.get(&format!("{path}/{rest}")).await.expect(404);
        }
        for path in [format!("/chat/{secret}"), format!("/chat/{secret}/messages"), format!("/chat/{secret}/shares"), format!("/chat/message/{secret}")] {
            app.get(&path).await.expect(400);
        }
        app.delete(&format!("/share/{secret}")).await.expect(400);
        app.get(&format!("/shared/{uuid}")).await.expect(404);
        app.stop().await;
    }

    async fn the_secret_is_told_once_and_stored_nowhere(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let shares = format!("/chat/{chat}/shares");
        // Even the same request twice, with a key, makes two: an answer that is kept would have the secret.
        let first = app.post_once(&shares, "k", &json!({})).await.expect(201).json();
        let second = app.post_once(&shares, "k", &json!({})).await.expect(201).json();
        assert_ne!(first["secret"], second["secret"]);
        let secret = first["secret"].as_str().unwrap();
        assert!(secret.starts_with("pls_") && secret.len() == "pls_".len() + 64, "{secret}");
        assert_eq!(first["url"], format!("/shared/{secret}"));
        let list = app.get(&shares).await.expect(200);
        assert!(!list.text.contains(secret) && !app.get_page(&shares).await.text.contains(secret));
        let [newer, older] = list.json()["shares"].as_array().unwrap().clone().try_into().unwrap();
        assert_eq!(newer["uuid"], second["uuid"]);
        assert!(secret.starts_with(older["head"].as_str().unwrap()));
        assert_eq!((&older["active"], &older["expires_at"], &older["revoked_at"]), (&json!(true), &Value::Null, &Value::Null));
        let db = app.database.connect().await;
        let rows = share::Entity::find().all(&db).await.unwrap();
        assert_eq!(idempotency_key::Entity::find().count(&db).await.unwrap(), 0);
        db.close().await.unwrap();
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert!(row.hash.len() == 64 && !secret.contains(&row.hash) && row.head.len() < 12, "{row:?}");
        }
        app.stop().await;
    }

    async fn a_link_may_expire_in_the_future(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let shares = format!("/chat/{chat}/shares");
        let made = app.post(&shares, &json!({"expires_at": "2099-01-01T00:00:00Z"})).await.expect(201).json();
        assert_eq!(made["expires_at"], "2099-01-01T00:00:00.000Z");
        let made = app.post(&shares, &json!({"expires_in_ms": 60_000})).await.expect(201).json();
        let at = |field: &str| serde_json::from_value::<Timestamp>(made[field].clone()).unwrap().0;
        assert_eq!(at("expires_at") - at("created_at"), 60_000);
        for wrong in [
            json!({"expires_in_ms": 0}), json!({"expires_in_ms": -1}), json!({"expires_in_ms": i64::MAX}), json!({"expires_in_ms": 1.5}),
            json!({"expires_in_ms": "soon"}), json!({"expires_in_ms": u64::MAX}), json!({"expires_at": "2020-01-01T00:00:00Z"}),
            json!({"expires_at": "tomorrow"}), json!({"expires_in_ms": 60_000, "expires_at": "2099-01-01T00:00:00Z"}), json!({"secret": "mine"}),
        ] {
            let refused = app.post(&shares, &wrong).await.expect(422).json();
            assert_eq!(refused["type"], "/problems/invalid-field", "{wrong}");
        }
        assert_eq!(app.get(&shares).await.json()["shares"].as_array().unwrap().len(), 2);
        app.stop().await;
    }

    async fn a_link_is_revoked_once_and_listed_as_such(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let (first, _) = link(&app, &chat, &json!({})).await;
        let (second, path) = link(&app, &chat, &json!({})).await;
        app.delete(&format!("/share/{second}")).await.expect(204);
        let list = app.get(&format!("/chat/{chat}/shares")).await.json();
        assert_eq!((&list["shares"][0]["uuid"], &list["shares"][1]["active"]), (&json!(first), &json!(false)), "those that work come first");
        app.post_bare(&format!("/share/{second}/revoke")).await.expect(204);
        assert_eq!(app.get(&format!("/chat/{chat}/shares")).await.json(), list, "once more changes nothing");
        app.get(&path).await.expect(404);
        let unknown = app.delete(&format!("/share/{}", Uuid::now_v7())).await.expect(404).json();
        assert_eq!(unknown["type"], "/problems/share-not-found");
        let db = app.database.connect().await;
        let log = audit_log::Entity::find().order_by_asc(audit_log::Column::Id).all(&db).await.unwrap();
        db.close().await.unwrap();
        let said: Vec<_> = log.iter().map(|row| (row.action.as_str(), row.target.as_str())).collect();
        assert_eq!(said, [("share.create", first.as_str()), ("share.create", second.as_str()), ("share.revoke", second.as_str())]);
        for row in log {
            assert_eq!((row.actor_id, row.address.as_deref()), (Some(OwnerId::LOCAL), Some("127.0.0.1")));
        }
        app.stop().await;
    }

    async fn nobody_but_the_owner_makes_sees_or_revokes_links(kind: Kind) {
        let mut app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let (uuid, path) = link(&app, &chat, &json!({})).await;
        // From now on it is somebody else's, which no server does: what one remembers would not know.
        app.shut_down().await;
        let db = app.database.connect().await;
        chat::Entity::update_many()
            .col_expr(chat::Column::OwnerId, Expr::value(OwnerId::generate()))
            .filter(chat::Column::Id.eq(chat.parse::<ChatId>().unwrap()))
            .exec(&db)
            .await
            .unwrap();
        db.close().await.unwrap();
        app.run().await;
        app.get(&format!("/chat/{chat}")).await.expect(404);
        app.get(&format!("/chat/{chat}/shares")).await.expect(404);
        app.post(&format!("/chat/{chat}/shares"), &json!({})).await.expect(404);
        app.delete(&format!("/share/{uuid}")).await.expect(404);
        app.post_bare(&format!("/share/{uuid}/revoke")).await.expect(404);
        assert_eq!(read_by(&app, &path, &answer).await.text, "You said: one", "whoever has the link may read it all the same");
        app.stop().await;
    }

    async fn a_chat_has_so_many_links_that_work_and_no_more(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let chat = app.create_chat().await;
        let (first, _) = link(&app, &chat, &json!({})).await;
        for _ in 1..100 {
            link(&app, &chat, &json!({"expires_in_ms": 600_000})).await;
        }
        let path = format!("/chat/{chat}/shares");
        let refused = app.post(&path, &json!({})).await.expect(409).json();
        assert_eq!(refused["type"], "/problems/too-many-shares");
        app.delete(&format!("/share/{first}")).await.expect(204);
        app.post(&path, &json!({})).await.expect(201);
        assert_eq!(app.get(&path).await.json()["shares"].as_array().unwrap().len(), 101);
        app.stop().await;
    }

    async fn a_page_by_a_link_polls_by_the_link_and_offers_nothing_to_do(kind: Kind) {
        let gate = CancellationToken::new();
        let refusal = Script::json(401, &json!({"error": {"message": "bad key"}}));
        let script = Script::stream().say(["**half"]).wait(&gate).say([" done**"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([refusal, script]).await).await;
        let (chat, ..) = app.ask("one").await;
        let message = app.send(&chat, "two").await;
        let answer = app.answer_to(&chat, &message).await;
        app.read_until(&answer, "**half").await;
        let (uuid, path) = link(&app, &chat, &json!({})).await;
        let is_bare = |text: &str| {
            for word in ["<form", "/chat/", "/chats", "popover", "class=\"tool", "<textarea", "#composer", "/models", &uuid] {
                assert!(!text.contains(word), "{word} in {text}");
            }
        };
        let page = app.get_page(&path).await.expect(200).text;
        is_bare(&page);
        assert!(page.starts_with("<!doctype html>") && page.contains("name=\"robots\" content=\"noindex\""));
        assert!(page.contains(&format!("url={path}?look=")), "without script it looks again: {page}");
        let main = app.get_fragment(&path).await.expect(200).text;
        is_bare(&main);
        // From poller to poller, as a page goes.
        let poller = |text: &str, id: &str| {
            let element = text.split(&format!("id=\"{id}\" hx-get=\"")).nth(1).unwrap();
            element.split('"').next().unwrap().replace("&#38;", "&")
        };
        let messages = poller(&main, "messages-poll");
        assert!(messages.starts_with(&format!("{path}/messages/{answer}?")), "{messages}");
        app.get_fragment(&messages).await.expect(204);
        let text = app.get_fragment(&format!("{path}/messages")).await.expect(200).text;
        is_bare(&text);
        let tokens = poller(&text, &format!("poll-{answer}"));
        assert!(tokens.starts_with(&format!("{path}/message/{answer}/tokens/")), "{tokens}");
        app.get_fragment(&tokens).await.expect(204);
        gate.cancel();
        app.read(&answer).await;
        for end in [tokens, format!("{path}/message/{answer}/tokens/4294967296")] {
            let end = app.get_fragment(&end).await.expect(200).text;
            is_bare(&end);
            assert!(end.contains("<strong>half done</strong>") && !end.contains("every"), "{end}");
        }
        app.stop().await;
    }

    async fn no_search_engine_and_no_other_server_learns_of_a_link(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let (uuid, path) = link(&app, &chat, &json!({})).await;
        for is_there in [true, false] {
            if !is_there {
                app.delete(&format!("/share/{uuid}")).await.expect(204);
            }
            for path in opened(&path, &answer) {
                for reply in [app.get(&path).await, app.get_fragment(&path).await, app.get_page(&path).await] {
                    assert_eq!(reply.status.is_success(), is_there);
                    assert_eq!(reply.header("x-robots-tag"), "noindex", "{path}");
                    assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
                }
            }
        }
        let refused = app.get(&format!("{path}/messages")).await.json();
        assert_eq!(refused["instance"], "/shared/***/messages");
        let home = app.get_page("/").await;
        assert_eq!((home.header("x-robots-tag"), home.header("referrer-policy")), ("", "same-origin"));
        app.stop().await;
    }

    async fn forms_share_without_script(kind: Kind) {
        let app = TestApp::start_with(kind, Upstream::echo().await, &[("public_url", "https://chat.example.org/"), ("auth.local_hosts", "chat.example.org")]).await;
        let (chat, ..) = app.ask("one").await;
        let shares = format!("/chat/{chat}/shares");
        let make = async |term: &'static str| {
            app.request(Method::POST, &shares, |r| r.header("accept", "text/html").form(&[("expires_in_ms", term)])).await
        };
        let page = make("").await.expect(201).text;
        let url = page.split("href=\"https://chat.example.org").nth(1).unwrap().split('"').next().unwrap();
        assert!(app.get(url).await.expect(200).text.contains("\"title\":\"one\""));
        make("86400000").await.expect(201);
        make("soon").await.expect(422);
        let list = app.get(&shares).await.json();
        let listed = list["shares"].as_array().unwrap();
        assert_eq!((listed.len(), listed[0]["expires_at"].is_string(), listed[1]["expires_at"].is_null()), (2, true, true));
        let revoke = format!("/share/{}/revoke", listed[1]["uuid"].as_str().unwrap());
        assert!(app.get_page(&shares).await.expect(200).text.contains(&revoke));
        let done = app.request(Method::POST, &revoke, |r| r.header("accept", "text/html")).await.expect(303);
        assert_eq!(done.header("location"), shares);
        app.get(url).await.expect(404);
        app.stop().await;
    }
}

#[tokio::test]
async fn no_line_of_the_log_has_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[("RUST_LOG", "debug")]).await;
    let client = crate::support::http_client();
    let post = async |path: &str, body: Value| {
        let request = client.post(format!("{}{path}", server.base)).json(&body);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let chat = post("/chat/create", json!({"message": "Hello"})).await;
    let made = post(
        &format!("/chat/{}/shares", chat["uuid"].as_str().unwrap()),
        json!({}),
    )
    .await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    for path in [
        format!("/shared/{secret}"),
        format!("/shared/{secret}/messages"),
        format!("/shared/{secret}/messages/x"),
        format!("/shared/{secret}/nothing"),
        format!("//shared/{secret}"),
        format!("/chat/{secret}"),
    ] {
        for method in [Method::GET, Method::POST] {
            let request = client.request(method, format!("{}{path}", server.base));
            let answer = request.send().await.unwrap();
            let told = answer.json::<Value>().await.unwrap()["instance"].to_string();
            assert!(!told.contains(&secret), "{path}: {told}");
        }
    }
    tokio::time::timeout(Duration::from_mins(1), async {
        let (_, log) = server.terminate("-TERM").await;
        assert!(log.contains("/shared/***/messages"), "{log}");
        assert!(!log.contains(&secret), "{log}");
    })
    .await
    .unwrap();
}
