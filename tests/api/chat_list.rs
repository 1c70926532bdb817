//! `GET /chat/list` and `GET /chats`.

use serde_json::Value;

use crate::support::{Script, TestApp, Upstream};

on_both_databases! {
    async fn the_newest_chat_comes_first_with_what_was_said_last(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (first, ..) = app.ask("one").await;
        let (second, ..) = app.ask("two").await;
        let list = app.get("/chat/list").await.expect(200).json();
        let lines: Vec<_> = list["chats"].as_array().unwrap().iter()
            .map(|c| (c["uuid"].as_str().unwrap(), c["preview"].as_str().unwrap(), c["status"].as_str().unwrap()))
            .collect();
        assert_eq!(lines, [
            (second.as_str(), "You said: two", "waiting_for_user"),
            (first.as_str(), "You said: one", "waiting_for_user"),
        ]);
        assert_eq!(list["next"], Value::Null);
        // Whoever speaks again comes first again.
        let message = app.send(&first, "three").await;
        let answer = app.answer_to(&first, &message).await;
        app.read(&answer).await;
        let list = app.get("/chat/list").await.expect(200).json();
        assert_eq!(list["chats"][0]["uuid"], first.as_str());
        app.stop().await;
    }

    async fn a_preview_is_plain_words(kind: Kind) {
        let answer = Script::answer(["# Tea\n\n- **green** `tea`\n"]);
        let app = TestApp::start(kind, Upstream::scripted([answer]).await).await;
        app.ask("one").await;
        let list = app.get("/chat/list").await.expect(200).json();
        assert_eq!(list["chats"][0]["preview"], "Tea green tea");
        app.stop().await;
    }

    async fn pages_hold_each_chat_once(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let mut created = Vec::new();
        for _ in 0..7 {
            created.push(app.create_chat().await);
        }
        let (mut seen, mut path) = (Vec::new(), "/chat/list?limit=3".to_owned());
        loop {
            let page = app.get(&path).await.expect(200).json();
            seen.extend(page["chats"].as_array().unwrap().iter().map(|c| c["uuid"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/chat/list?limit=3&cursor={next}");
        }
        // Chats of the same millisecond stand in the order of their ids, which rise.
        created.reverse();
        assert_eq!(seen, created);
        app.stop().await;
    }

    async fn the_list_in_html_leads_on_to_its_next_page(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        for title in ["oldest", "middle", "newest"] {
            app.post("/chat/create", &serde_json::json!({"title": title})).await.expect(201);
        }
        let first = app.get_page("/chats?limit=2").await.expect(200).text;
        assert!(first.contains("newest") && first.contains("middle") && !first.contains("oldest"), "{first}");
        let next = first.split('"').find(|part| part.starts_with("/chats?cursor=")).unwrap();
        let second = app.get_page(next).await.expect(200).text;
        assert!(second.starts_with("<!doctype html>") && second.contains("oldest"), "{second}");
        assert!(!second.contains("middle") && !second.contains("/chats?cursor="), "{second}");
        app.stop().await;
    }

    async fn the_list_at_the_side_is_quiet_when_nothing_is_new(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        for title in ["oldest", "middle", "newest"] {
            app.post("/chat/create", &serde_json::json!({"title": title})).await.expect(201);
        }
        let first = app.get_fragment("/chat/list?limit=2").await.expect(200).text;
        assert!(first.contains("newest") && !first.contains("oldest"), "{first}");
        assert!(first.contains("hx-get=\"/chat/list?limit=32\""), "there is more: {first}");
        let poll = first.split('"').find(|part| part.contains("seen=")).unwrap().replace("&#38;", "&");
        let quiet = app.get_fragment(&poll).await;
        assert_eq!((quiet.status.as_u16(), quiet.text.as_str()), (204, ""));
        app.create_chat().await;
        let news = app.get_fragment(&poll).await.expect(200).text;
        assert!(news.contains("New chat") && !news.contains("middle"), "{news}");
        app.stop().await;
    }

    async fn a_cursor_that_is_none_is_refused(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        app.get("/chat/list?cursor=yesterday").await.expect(400);
        app.get("/chat/list?limit=many").await.expect(400);
        app.get("/chat/list?colour=red").await.expect(400);
        app.stop().await;
    }
}
