//! `GET /chat/search`.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use reqwest::Method;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, Statement};
use serde_json::{Value, json};

use crate::support::database::Kind;
use crate::support::{Answer, Database, Script, TestApp, Upstream, app::eventually};

async fn ask_for(app: &TestApp, query: &str) -> Answer {
    let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
    app.get(&format!("/chat/search?q={query}")).await
}

async fn search(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = ask_for(app, query).await.expect(200).json();
    answer["found"].as_array().unwrap().clone()
}

/// The chats that are found, by their titles.
async fn titles(app: &TestApp, query: &str) -> Vec<String> {
    let found = search(app, query).await;
    let title = |hit: &Value| hit["chat"]["title"].as_str().unwrap().to_owned();
    found.iter().map(title).collect()
}

/// A chat with a title of its own and one exchange; (chat, question, answer).
async fn chat(app: &TestApp, title: &str, words: &str) -> (String, String, String) {
    let body = json!({"title": title, "message": words});
    let created = app.post("/chat/create", &body).await.expect(201).json();
    let of = |value: &Value| value.as_str().unwrap().to_owned();
    let (chat, question) = (of(&created["uuid"]), of(&created["message"]["uuid"]));
    let answer = app.answer_to(&chat, &question).await;
    app.read(&answer).await;
    (chat, question, answer)
}

on_both_databases! {
    async fn titles_and_messages_are_found_by_the_beginnings_of_their_words(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (_, _, answer) = chat(&app, "Breakfast", "Do you take Coffee, or green-tea?").await;
        chat(&app, "A teapot", "And now?").await;
        let found = search(&app, "tea").await;
        let lines: Vec<_> = found.iter()
            .map(|hit| (hit["chat"]["title"].as_str().unwrap(), &hit["message_uuid"], hit["snippet"].as_str().unwrap()))
            .collect();
        assert_eq!(lines, [
            ("A teapot", &Value::Null, "A teapot"),
            ("Breakfast", &json!(answer), "You said: Do you take Coffee, or green-tea?"),
        ], "the newest chat first, and of it the newest message");
        for query in ["COFFEE", "cof", "tea coffee", "green-tea", "take, you!", "Green"] {
            assert_eq!(titles(&app, query).await, ["Breakfast"], "{query}");
        }
        for nothing in ["offee", "breakfast tea", "coffee teapot", "", " ", "\"*\"", "🌼"] {
            assert!(titles(&app, nothing).await.is_empty(), "{nothing}");
        }
        app.stop().await;
    }

    async fn words_are_found_in_any_case_and_script(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        chat(&app, "One", "Die GRÖSSE der Straße, ein Café").await;
        chat(&app, "Two", "Что такое Чай?").await;
        chat(&app, "Three", "字典 is a word, snake_case/path.rs too").await;
        let expected = [
            ("grösse", "One"), ("straße", "One"), ("café", "One"), ("чай", "Two"), ("字", "Three"),
            ("case", "Three"), ("path", "Three"), ("rs", "Three"),
        ];
        for (query, title) in expected {
            assert_eq!(titles(&app, query).await, [title], "{query}");
        }
        let is_folded = !titles(&app, "strase cafe grosse").await.is_empty();
        assert!(!is_folded, "not all of these are accents");
        let without_accents = titles(&app, "grosse cafe").await;
        assert_eq!(without_accents.is_empty(), kind == Kind::Postgres);
        app.stop().await;
    }

    async fn what_is_gone_is_not_found(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        let (first, question, answer) = chat(&app, "First", "an apple").await;
        assert_eq!(titles(&app, "apple").await, ["First"]);
        app.delete(&format!("/chat/message/{answer}")).await.expect(204);
        assert_eq!(search(&app, "apple").await[0]["message_uuid"], question.as_str());
        app.put(&format!("/chat/message/{question}"), &json!({"message": "a pear"})).await.expect(202);
        app.settle().await;
        assert!(titles(&app, "apple").await.is_empty(), "it says something else now");
        assert_eq!(titles(&app, "pear").await, ["First"]);
        app.request(Method::PATCH, &format!("/chat/{first}"), |r| r.json(&json!({"title": "Second"}))).await.expect(200);
        assert!(titles(&app, "first").await.is_empty());
        assert_eq!(titles(&app, "second").await, ["Second"]);
        app.delete(&format!("/chat/{first}")).await.expect(204);
        for query in ["pear", "second"] {
            assert!(titles(&app, query).await.is_empty(), "{query}");
        }
        app.post_bare(&format!("/chat/{first}/restore")).await.expect(200);
        assert_eq!(titles(&app, "pear").await, ["Second"]);
        app.stop().await;
    }

    async fn versions_are_found_by_the_one_that_is_shown_and_system_prompts_not_at_all(kind: Kind) {
        let scripts = ["yes", "no"].map(|text| Script::answer([text]));
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        let (chat, _, answer) = chat(&app, "Title", "well").await;
        app.post_bare(&format!("/chat/message/{answer}/regenerate")).await.expect(202);
        app.settle().await;
        assert!(titles(&app, "yes").await.is_empty());
        app.post_bare(&format!("/chat/message/{answer}/versions/1/select")).await.expect(200);
        assert_eq!(titles(&app, "yes").await, ["Title"]);
        assert!(titles(&app, "no").await.is_empty());
        app.send(&chat, "/system Speak of walruses").await;
        let found = search(&app, "walruses").await;
        let command = app.messages(&chat).await.into_iter().find(|m| m["content"] == "/system Speak of walruses");
        let command = command.unwrap()["uuid"].clone();
        assert_eq!(found.iter().map(|hit| hit["message_uuid"].clone()).collect::<Vec<_>>(), [command]);
        app.stop().await;
    }

    async fn an_index_serves_the_search(kind: Kind) {
        if kind == Kind::Sqlite {
            return; // There is nothing there to be searched but the index.
        }
        let database = Database::create(kind).await;
        let name = database.url.rsplit('/').next().unwrap().to_owned();
        let db = database.connect().await;
        // Small tables are read faster from end to end.
        db.execute_unprepared(&format!("ALTER DATABASE {name} SET enable_seqscan = off")).await.unwrap();
        let app = TestApp::start_on(database.clone(), Upstream::echo().await, &[]).await;
        chat(&app, "Title", "some words").await;
        search(&app, "word").await;
        app.stop().await;
        let scans = "SELECT sum(idx_scan)::bigint AS n FROM pg_stat_user_indexes \
                     WHERE indexrelname IN ('chat_message_words', 'chat_words') AND idx_scan > 0";
        let scans = Statement::from_string(db.get_database_backend(), scans);
        eventually("the scans are counted", async || {
            let row = db.query_one_raw(scans.clone()).await.unwrap().unwrap();
            (row.try_get::<Option<i64>>("", "n").unwrap() >= Some(2)).then_some(())
        }).await;
        db.close().await.unwrap();
    }

    async fn an_erased_chat_leaves_no_words_behind(kind: Kind) {
        let settings = [("limits.undo_ms", "50"), ("worker.repair_interval_ms", "50")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let (gone, ..) = chat(&app, "Gone", "an apple").await;
        chat(&app, "Here", "a pear").await;
        app.delete(&format!("/chat/{gone}")).await.expect(204);
        eventually("it is erased", async || {
            let db = app.database.connect().await;
            let chats = entity::chat::Entity::find().count(&db).await.unwrap();
            db.close().await.unwrap();
            (chats == 1).then_some(())
        }).await;
        if kind == Kind::Sqlite {
            let db = app.database.connect().await;
            let count = Statement::from_string(db.get_database_backend(), "SELECT count(*) AS n FROM search_entry");
            let row = db.query_one_raw(count).await.unwrap().unwrap();
            assert_eq!(row.try_get::<i64>("", "n").unwrap(), 3, "a title and two messages");
            db.close().await.unwrap();
        }
        assert!(titles(&app, "apple").await.is_empty());
        chat(&app, "Again", "an apple").await;
        assert_eq!(titles(&app, "apple").await, ["Again"]);
        assert_eq!(titles(&app, "pear").await, ["Here"]);
        app.stop().await;
    }

    async fn no_query_ever_fails(kind: Kind) {
        let app = TestApp::start(kind, Upstream::echo().await).await;
        chat(&app, "Title", "some words").await;
        let nasty = [
            "\"", "*", "'", "a'b", "a\"b", "NEAR(a b)", "AND", "OR", "NOT", "a:b", "text: x", "-a", "^a", "a*", "(", "{a}",
            "a & b", "a | !b", "a <-> b", "\\", "\\'", "%", "\0", "a\0b", "$1", "?", ";", "--", "\u{301}", "\u{FFFF}", "ﬁ", "½",
        ];
        for query in nasty {
            search(&app, query).await;
        }
        let mut runner = TestRunner::deterministic();
        let parts = proptest::collection::vec("(\\PC|[\\x00-\\x7f]|AND|NEAR|[\"*:'&|!()]){0,12}", 1..4);
        for _ in 0..150 {
            let query = parts.new_tree(&mut runner).unwrap().current().join(" ");
            search(&app, &query).await;
        }
        search(&app, &"long ".repeat(1_000)).await;
        app.get("/chat/search").await.expect(200);
        app.get("/chat/search?what=x").await.expect(400);
        app.stop().await;
    }

    async fn the_longest_text_of_the_most_different_words_can_be_stored(kind: Kind) {
        let words: Vec<String> = (0x2_0000..0x2_A000_u32).filter_map(char::from_u32).map(String::from).collect();
        let piece = words.join(" ");
        let upstream = Upstream::start(move |_| Script::answer([piece.as_str(), " ", &piece, " end"])).await;
        let app = TestApp::start(kind, upstream).await;
        let (_, _, answer) = chat(&app, "Title", "go").await;
        assert_eq!(app.message(&answer).await["status"], "completed");
        assert_eq!(titles(&app, "\u{20000}").await, ["Title"]);
        app.stop().await;
    }
}
