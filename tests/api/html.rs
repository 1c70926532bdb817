//! The same routes as HTML: fragments for HTMX, pages and redirects for a browser without script.

use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Script, TestApp, Upstream};

on_both_databases! {
    async fn a_poll_in_html_goes_on_until_the_answer_is_there(kind: Kind) {
        let gate = CancellationToken::new();
        let script = Script::stream().say(["**half"]).wait(&gate).say([" <b>** done"]).finish();
        let app = TestApp::start(kind, Upstream::scripted([script]).await).await;
        let chat = app.create_chat().await;
        let message = app.send(&chat, "Hello").await;
        let answer = app.answer_to(&chat, &message).await;
        let seen = app.read_until(&answer, "**half").await;
        let first = app.get_fragment(&format!("/chat/message/{answer}/tokens/0")).await.expect(200).text;
        let url = format!("/chat/message/{answer}/tokens/{}?reasoning=0&#38;open={}&#38;after=300", seen.position, "**half".len());
        assert!(first.contains(&format!("hx-get=\"{url}\"")), "{first}");
        assert!(first.contains("hx-trigger=\"every 300ms\""), "{first}");
        assert!(first.contains(&format!("hx-swap-oob=\"innerHTML:#open-{answer}\"><p>**half</p>")), "{first}");
        let url = url.replace("&#38;", "&");
        let quiet = app.get_fragment(&url).await;
        assert_eq!((quiet.status.as_u16(), quiet.text.as_str()), (204, ""));
        let pace = app.get_fragment(&url.replace("after=300", "after=900")).await.expect(200).text;
        assert!(pace.contains("every 300ms") && !pace.contains("hx-swap-oob"), "a new pace and no text: {pace}");
        gate.cancel();
        app.read(&answer).await;
        let last = app.get_fragment(&url).await.expect(200).text;
        assert!(!last.contains("every") && !last.contains("/tokens/"), "it polls no more: {last}");
        assert!(last.contains("<strong>half &lt;b&gt;</strong> done"), "{last}");
        assert!(!last.contains(&format!("id=\"message-{answer}\"")), "only what is missing: {last}");
        // Who shows something else gets the whole message.
        let whole = app.get_fragment(&format!("/chat/message/{answer}/tokens/4294967296")).await.expect(200).text;
        assert!(whole.contains(&format!("id=\"message-{answer}\"")) && !whole.contains("every"), "{whole}");
        app.stop().await;
    }

    async fn the_messages_poll_in_html_is_quiet_when_nothing_is_new(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let all = app.get_fragment(&format!("/chat/{chat}/messages")).await.expect(200).text;
        assert!(all.contains("You said: one"), "{all}");
        let revision = app.get(&format!("/chat/{chat}")).await.json()["revision"].as_i64().unwrap();
        let quiet = app.get_fragment(&format!("/chat/{chat}/messages/{answer}?revision={revision}")).await;
        assert_eq!((quiet.status.as_u16(), quiet.text.as_str()), (204, ""));
        let changed = app.get_fragment(&format!("/chat/{chat}/messages/{answer}?revision={}", revision - 1)).await;
        let text = changed.expect(200).text;
        let unless_seen = format!("hx-swap-oob=\"outerHTML:#messages &#62; #message-{answer}:not(:has(&#62; [data-revision=&#39;{revision}&#39;], [id^=&#39;poll-&#39;]))\"");
        assert!(text.contains(&unless_seen) && text.contains(&format!("data-revision=\"{revision}\"")), "{text}");
        assert!(text.contains(&format!("?revision={revision}&#38;after=")), "{text}");
        app.stop().await;
    }

    async fn htmx_gets_the_chat_and_its_address_from_the_home_page(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let created = app
            .request(Method::POST, "/chat/create", |r| {
                r.header("hx-request", "true").form(&[("message", "Hello <there>")])
            })
            .await
            .expect(201);
        let path = created.header("hx-push-url").to_owned();
        assert!(path.starts_with("/chat/"), "{path}");
        assert!(created.text.starts_with("<main id=\"main\""), "{}", created.text);
        assert!(created.text.contains("Hello &#60;there&#62;"), "{}", created.text);
        let page = app.get_page(&path).await.expect(200);
        assert!(page.text.starts_with("<!doctype html>"));
        app.stop().await;
    }

    async fn a_fragment_can_be_asked_for_in_headers_that_every_proxy_knows(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let ask = async |method: Method, path: &str, headers: &[(&'static str, &str)]| {
            let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
            let headers: Vec<_> = headers.collect();
            app.request(method, path, move |r| {
                headers.into_iter().fold(r, |r, (name, value)| r.header(name, value))
            })
            .await
        };
        let accept = ("accept", "text/html;fragment=true");
        let created = app
            .request(Method::POST, "/chat/create", |r| r.header(accept.0, accept.1).form(&[("message", "Hello")]))
            .await
            .expect(201);
        assert!(created.text.starts_with("<main id=\"main\""), "{}", created.text);
        app.settle().await;
        let path = created.header("hx-push-url").to_owned();
        for path in [path.clone(), format!("{path}/messages"), "/chat/list".to_owned(), "/".to_owned()] {
            let plain = ask(Method::GET, &path, &[accept]).await.expect(200);
            let spaced = ask(Method::GET, &path, &[("accept", "Text/HTML; Fragment=True")]).await;
            let htmx = app.get_fragment(&path).await;
            // Each has a new message's UUID in it.
            let length = |text: &str| text.len();
            assert_eq!((length(&plain.text), length(&spaced.text)), (length(&htmx.text), length(&htmx.text)), "{path}");
            assert!(!plain.text.contains("<!doctype html>"), "{}", plain.text);
        }
        // The page that asks is known from the browser's own header.
        let shown = format!("{}{path}", app.base);
        let gone = ask(Method::DELETE, &path, &[accept, ("referer", &shown)]).await.expect(200);
        assert_eq!(gone.header("hx-push-url"), "/");
        assert!(gone.text.contains("class=\"home\""), "{}", gone.text);
        app.stop().await;
    }

    async fn forms_work_without_script(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let post = async |path: &str, message: &str| {
            let message = message.to_owned();
            app.request(Method::POST, path, move |r| {
                r.header("accept", "text/html").form(&[("message", message)])
            })
            .await
        };
        let created = post("/chat/create", "Hello").await.expect(303);
        let chat = created.header("location").to_owned();
        let sent = post(&format!("{chat}/send"), "And?").await.expect(303);
        assert_eq!(sent.header("location"), format!("{chat}#end"));
        app.settle().await;
        let page = app.get_page(&chat).await.expect(200).text;
        assert!(page.contains("You said: Hello") && page.contains("You said: And?"), "{page}");
        let refused = post(&format!("{chat}/send"), " ").await.expect(422);
        assert!(refused.text.starts_with("<!doctype html>"), "{}", refused.text);
        app.stop().await;
    }

    async fn a_failed_answer_says_why_on_the_page(kind: Kind) {
        let upstream = Upstream::scripted([Script::json(401, &json!({"error": {"message": "bad key"}}))]).await;
        let app = TestApp::start(kind, upstream).await;
        let (chat, ..) = app.ask("one").await;
        let page = app.get_page(&format!("/chat/{chat}")).await.expect(200).text;
        assert!(page.contains("data-code=\"provider_unauthorized\""), "{page}");
        assert!(page.contains("refused the key"), "{page}");
        app.stop().await;
    }

    async fn a_deleted_message_disappears_from_a_page_that_shows_it(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (chat, answer, _) = app.ask("one").await;
        let revision = app.get(&format!("/chat/{chat}")).await.json()["revision"].as_i64().unwrap();
        let deleted = app.request(Method::DELETE, &format!("/chat/message/{answer}"), |r| r.header("hx-request", "true"))
            .await
            .expect(200);
        assert_eq!((deleted.text.as_str(), deleted.header("cache-control")), ("", "no-store"));
        let poll = app.get_fragment(&format!("/chat/{chat}/messages/{answer}?revision={revision}")).await.expect(200);
        assert!(poll.text.contains(&format!("<li id=\"message-{answer}\" hx-swap-oob=\"delete\">")), "{}", poll.text);
        app.stop().await;
    }

    async fn pages_carry_a_policy_and_their_files_are_kept(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let page = app.get_page("/").await.expect(200);
        assert!(page.header("content-security-policy").contains("script-src 'self'"));
        assert!(!page.text.contains("<style") && !page.text.contains("style=") && !page.text.contains("onclick"));
        let files: Vec<&str> = page.text.split('"').filter(|part| part.starts_with("/assets/")).collect();
        assert!(files.len() >= 4, "{files:?}");
        for file in files {
            let asset = app.get(file).await.expect(200);
            assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable", "{file}");
        }
        let stale = app.get("/assets/pollen.css?v=0").await.expect(200);
        assert_eq!(stale.header("cache-control"), "no-cache");
        app.get("/assets/../Cargo.toml").await.expect(404);
        app.get("/assets/README.md").await.expect(404);
        app.stop().await;
    }
}
