//! What administrators do, and what they do not see.

use entity::api_token::Scope;
use reqwest::Method;
use serde_json::{Value, json};

use super::callers::{ALL_WAYS, As, token};
use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::process::run;
use crate::support::{Answer, TestApp, Upstream};

const MISSING: &str = "01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a61";

/// A server with an administrator, and with Alice, who has said something.
struct Office {
    app: TestApp,
    root: As,
    alice: As,
    /// Her id.
    uuid: String,
    chat: String,
}

async fn office(kind: Kind, settings: &[(&str, &str)]) -> Office {
    let soon = [("worker.repair_interval_ms", "50")];
    let settings = [ALL_WAYS.as_slice(), &soon, settings].concat();
    let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
    let root = As::bearer(&token(&app, "root", Scope::Admin).await);
    let alice = As::bearer(&token(&app, "alice", Scope::Write).await);
    let chat = alice.chat(&app).await;
    let sent = json!({"message": "what nobody else is to read"});
    alice
        .post(&app, &format!("/chat/{chat}/send"), &sent)
        .await
        .expect(202);
    let me = alice.get(&app, "/me").await.expect(200).json();
    let uuid = me["uuid"].as_str().unwrap().to_owned();
    Office {
        app,
        root,
        alice,
        uuid,
        chat,
    }
}

impl Office {
    async fn audit(&self, action: &str) -> Vec<Value> {
        let log = self
            .root
            .get(&self.app, "/admin/audit")
            .await
            .expect(200)
            .json();
        let entries = log["entries"].as_array().unwrap().iter();
        entries
            .filter(|entry| entry["action"] == action)
            .cloned()
            .collect()
    }

    async fn subjects(&self) -> Vec<Value> {
        let users = self
            .root
            .get(&self.app, "/admin/users")
            .await
            .expect(200)
            .json();
        let users = users["users"].as_array().unwrap().iter();
        users.map(|user| user["subject"].clone()).collect()
    }

    async fn alice_is_gone(&self) {
        assert!(!self.subjects().await.contains(&json!("alice")));
        let status = self.alice.get(&self.app, "/chats").await.status;
        assert!([401, 403].contains(&status.as_u16()), "{status}");
        eventually("the rows go", async || {
            let chats = self.app.database.count("chat").await;
            let users = i64::try_from(self.subjects().await.len()).unwrap();
            let rows = self.app.database.count("user").await;
            (chats == 0 && rows == users).then_some(())
        })
        .await;
        let noted = self.audit("user.delete").await;
        assert_eq!(noted.len(), 1);
        assert_eq!(noted[0]["target"], self.uuid);
    }
}

fn kind_of(answer: &Answer) -> String {
    answer.json()["type"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned()
}

on_both_databases! {
    async fn an_administrator_erases_a_user_with_all_that_is_theirs(kind: Kind) {
        let office = office(kind, &[]).await;
        let Office { app, root, alice, uuid, .. } = &office;
        let path = format!("/admin/user/{uuid}");
        alice.delete(app, &path).await.expect(403);
        root.delete(app, &format!("/admin/user/{MISSING}")).await.expect(404);
        root.delete(app, &path).await.expect(204);
        office.alice_is_gone().await;
        let actor = office.audit("user.delete").await[0]["actor"].clone();
        let me = root.get(app, "/me").await.expect(200).json();
        assert_eq!(actor, me["uuid"]);
        root.delete(app, &path).await.expect(404);
        root.post(app, &path, &json!({"disabled": false})).await.expect(404);
        office.app.stop().await;
    }

    async fn the_form_of_the_page_has_to_say_the_word(kind: Kind) {
        let office = office(kind, &[]).await;
        let Office { app, root, uuid, .. } = &office;
        let page = app.request(Method::GET, "/admin/users", |request| {
            request.header("accept", "text/html").header("authorization", &root.0[0].1)
        });
        let page = page.await.expect(200).text;
        let path = format!("/admin/user/{uuid}/delete");
        assert!(page.contains(&format!("action=\"{path}\"")), "{page}");
        let post = async |word: &str| {
            app.request(Method::POST, &path, |request| {
                let request = request.header("accept", "text/html").header("authorization", &root.0[0].1);
                request.form(&[("confirm", word)])
            })
            .await
        };
        post("yes").await.expect(422);
        assert!(office.subjects().await.contains(&json!("alice")));
        assert_eq!(post("delete").await.expect(303).header("location"), "/admin/users");
        office.alice_is_gone().await;
        office.app.stop().await;
    }

    async fn an_administrator_reads_no_chats(kind: Kind) {
        let office = office(kind, &[]).await;
        let Office { app, root, uuid, chat, .. } = &office;
        for path in [
            format!("/admin/chat/{chat}/export"),
            format!("/admin/chat/{MISSING}/export"),
            format!("/admin/user/{uuid}/chats"),
            format!("/admin/user/{MISSING}/chats"),
        ] {
            let refused = root.get(app, &path).await.expect(403);
            assert_eq!(kind_of(&refused), "chats-are-private", "{path}");
        }
        for path in [format!("/chat/{chat}"), format!("/chat/{chat}/messages"), format!("/chat/{chat}/export")] {
            root.get(app, &path).await.expect(404);
        }
        assert!(office.audit("chat.inspect").await.is_empty());
        office.app.stop().await;
    }

    async fn what_an_administrator_may_read_is_noted(kind: Kind) {
        let office = office(kind, &[("auth.admins_read_chats", "true")]).await;
        let Office { app, root, alice, uuid, chat } = &office;
        let export = format!("/admin/chat/{chat}/export");
        assert_eq!(kind_of(&alice.get(app, &export).await.expect(403)), "admin-needed");
        root.get(app, &format!("/admin/chat/{MISSING}/export")).await.expect(404);
        root.get(app, &format!("/admin/user/{MISSING}/chats")).await.expect(404);
        assert!(office.audit("chat.inspect").await.is_empty());
        let list = root.get(app, &format!("/admin/user/{uuid}/chats?limit=5")).await.expect(200).json();
        assert_eq!(list["chats"][0]["uuid"], *chat, "{list}");
        let file = root.get(app, &format!("{export}?format=text")).await.expect(200);
        assert!(file.text.contains("what nobody else is to read"), "{}", file.text);
        for (action, target) in [("chat.inspect", chat), ("chats.inspect", uuid)] {
            let noted = office.audit(action).await;
            assert_eq!(noted.len(), 1, "{action}");
            assert_eq!(noted[0]["target"], **target);
            assert_eq!(noted[0]["address"], "127.0.0.1");
        }
        // To look is not to do.
        root.get(app, &format!("/chat/{chat}")).await.expect(404);
        root.post(app, &format!("/chat/{chat}/send"), &json!({"message": "Hi"})).await.expect(404);
        office.app.stop().await;
    }

    async fn links_of_somebody_who_may_not_come_in_lead_nowhere(kind: Kind) {
        let office = office(kind, &[]).await;
        let Office { app, root, alice, uuid, chat } = &office;
        let made = alice.post(app, &format!("/chat/{chat}/shares"), &json!({})).await.expect(201).json();
        let link = made["url"].as_str().unwrap();
        let nobody = As::nobody();
        nobody.get(app, link).await.expect(200);
        root.post(app, &format!("/admin/user/{uuid}"), &json!({"disabled": true})).await.expect(200);
        nobody.get(app, link).await.expect(404);
        nobody.get(app, &format!("{link}/messages")).await.expect(404);
        root.post(app, &format!("/admin/user/{uuid}"), &json!({"disabled": false})).await.expect(200);
        nobody.get(app, link).await.expect(200);
        office.app.stop().await;
    }
}

#[tokio::test]
async fn the_command_line_erases_a_user() {
    let office = office(Kind::Sqlite, &[]).await;
    let database = [("POLLEN_DATABASE_URL", office.app.database.url.as_str())];
    let dir = office.app.database.dir();
    let asked = run(&dir, &database, &["user", "delete", "alice"]).await;
    assert!(!asked.status.success());
    let said = String::from_utf8(asked.stderr).unwrap();
    assert!(
        said.contains(&office.uuid) && said.contains("--yes"),
        "{said}"
    );
    assert!(office.subjects().await.contains(&json!("alice")));
    let done = run(&dir, &database, &["user", "delete", "alice", "--yes"]).await;
    assert!(done.status.success());
    office.alice_is_gone().await;
    let again = run(&dir, &database, &["user", "delete", "alice", "--yes"]).await;
    assert!(!again.status.success());
    office.app.stop().await;
}
