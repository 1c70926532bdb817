//! The rows of the crash table in `docs/LLM_REQUEST.md`: the process is ended exactly there, by a
//! fault point, and another one goes on with what remains. A client is attached throughout, sends
//! again what was not answered, and checks the rules of polling (the texts are too short for P7).

use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::app::{PATIENCE, eventually};
use crate::support::database::Kind;
use crate::support::process::Server;
use crate::support::{Database, Reader, Remote, Script, Upstream, http_client};

const LEASE_MS: &str = "600";

/// One scene: a database, a model, and a client that survives the servers.
struct Scene {
    database: Database,
    upstream: Upstream,
    chat: String,
    message: String,
    reader: Reader,
}

/// What a client meets when the server dies under its hands.
enum Sent {
    Answered(Value),
    Broken,
}

impl Scene {
    async fn new(kind: Kind, upstream: Upstream) -> Self {
        Self {
            database: Database::create(kind).await,
            upstream,
            chat: Uuid::now_v7().to_string(),
            message: Uuid::now_v7().to_string(),
            reader: Reader::default(),
        }
    }

    fn variables(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let model = self.upstream.base_url();
        let all = [
            ("POLLEN_DATABASE_URL", self.database.url.as_str()),
            ("POLLEN_OPENAI__BASE_URL", model.as_str()),
            ("POLLEN_LEDGER__FLUSH_INTERVAL_MS", "20"),
            ("POLLEN_WORKER__SCAN_INTERVAL_MS", "50"),
            ("POLLEN_WORKER__REPAIR_INTERVAL_MS", "100"),
            ("POLLEN_WORKER__LEASE_MS", LEASE_MS),
        ];
        let all = all.iter().chain(more);
        all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    async fn start(&self, more: &[(&str, &str)]) -> Server {
        let variables = self.variables(more);
        let borrowed: Vec<_> = variables
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        Server::start(&self.database.dir(), &borrowed).await
    }

    /// Creates the chat and sends the message, both under UUIDs of the client's own.
    async fn send(&self, server: &Server) -> Sent {
        let created = post(server, "/chat/create", &json!({"uuid": self.chat})).await;
        if matches!(created, Sent::Broken) {
            return created;
        }
        let path = format!("/chat/{}/send", self.chat);
        post(
            server,
            &path,
            &json!({"uuid": self.message, "message": "one"}),
        )
        .await
    }

    /// Finds the answer and polls it once; whether the server was there to be polled.
    async fn poll(&mut self, server: &Server) -> Option<String> {
        let messages = get(server, &format!("/chat/{}/messages", self.chat)).await?;
        let answer = messages["messages"]
            .as_array()?
            .iter()
            .find(|m| m["role"] == "assistant")?;
        let answer = answer["uuid"].as_str()?.to_owned();
        let before = self.reader.clone();
        let got = get(
            server,
            &format!("/chat/message/{answer}/tokens/{}", before.position),
        )
        .await?;
        let position = got["position"].as_u64().unwrap();
        assert!(position < 1 << 53, "P1");
        assert!(
            position >= before.position,
            "P2: {position} after {}",
            before.position
        );
        if got["append"] == true && position >> 32 == before.position >> 32 {
            let bytes = got["tokens"].as_str().unwrap().len() as u64;
            assert_eq!(position - before.position, bytes, "P3");
        }
        self.reader.apply(&got);
        Some(answer)
    }

    /// Polls until the server is gone.
    async fn poll_until_it_dies(&mut self, server: Server) {
        let ended = tokio::time::timeout(PATIENCE, async {
            let mut server = server;
            loop {
                if server.has_ended() {
                    return;
                }
                self.poll(&server).await;
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        });
        ended.await.expect("the fault point is reached");
    }

    /// Polls until the answer has ended; its UUID.
    async fn read_to_the_end(&mut self, server: &Server) -> String {
        eventually("the answer ends", async || {
            let answer = self.poll(server).await?;
            self.reader.is_done().then_some(answer)
        })
        .await
    }

    /// P5 and P8 to P11, of which the polls so far had no occasion to tell.
    async fn check_the_rest(&self, server: &Server, messages: &[Value], text: &str) {
        let (question, answer) = (&messages[0]["uuid"], messages[1]["uuid"].as_str().unwrap());
        let beyond = self.reader.position + 1_000;
        let poll = format!("{}/chat/message/{answer}/tokens/{beyond}", server.base);
        let response = http_client().get(poll).send().await.unwrap();
        let headers = response.headers().clone();
        assert!(headers.contains_key("content-length"), "P8: {headers:?}");
        assert_eq!(headers["cache-control"], "no-store", "P8");
        let healed: Value = response.json().await.unwrap();
        assert_eq!(
            (&healed["append"], &healed["tokens"]),
            (&json!(false), &json!(text)),
            "P5"
        );
        assert!(healed["poll_after_ms"].is_u64(), "P9: {healed}");
        let path = format!("/chat/{}/messages", self.chat);
        let question = question.as_str().unwrap();
        let after = get(server, &format!("{path}/{question}")).await.unwrap();
        // What an edit has superseded is told too, as gone.
        let uuids = |poll: &Value| -> Vec<Value> {
            let shown = poll["messages"].as_array().unwrap().iter();
            let shown = shown.filter(|m| m["deleted"] == false);
            shown.map(|m| m["uuid"].clone()).collect()
        };
        assert_eq!(
            uuids(&after),
            [json!(answer)],
            "P10: what comes after the question"
        );
        let changed = get(server, &format!("{path}/{answer}?revision=0"))
            .await
            .unwrap();
        let mut all = uuids(&changed);
        all.sort_by_key(|uuid| *uuid == answer);
        assert_eq!(
            all,
            [json!(question), json!(answer)],
            "P11: whoever has seen nothing is told all"
        );
    }

    async fn rows_of_the_ledger(&self) -> u64 {
        let db = self.database.connect().await;
        let rows = entity::token_ledger::Entity::find().count(&db).await;
        db.close().await.unwrap();
        rows.unwrap()
    }

    /// Everything that must hold when it is over.
    async fn check(self, server: Server, text: &str, status: &str) {
        let client = Remote::of(&server.base);
        let messages = client.get(&format!("/chat/{}/messages", self.chat)).await;
        let messages = messages["messages"].as_array().unwrap();
        let sent: Vec<_> = messages.iter().filter(|m| m["role"] == "user").collect();
        assert_eq!(sent.len(), 1, "the accepted message is there once");
        assert_eq!(
            (&sent[0]["uuid"], &sent[0]["status"]),
            (&json!(self.message), &json!("completed"))
        );
        assert_eq!(messages.len(), 2, "and its answer once");
        assert_eq!(
            (self.reader.text.as_str(), self.reader.status.as_str()),
            (text, status)
        );
        assert_eq!(messages[1]["content"], text, "P4");
        self.check_the_rest(&server, messages, text).await;
        let usage = client.get("/usage").await;
        assert!(usage["total"]["attempts"].as_i64().unwrap() >= 1, "{usage}");
        eventually("everything is tidied up", async || {
            (self.rows_of_the_ledger().await == 0).then_some(())
        })
        .await;
        server.terminate("-TERM").await;
        self.database.assert_nothing_left_over().await;
    }
}

async fn post(server: &Server, path: &str, body: &Value) -> Sent {
    let request = http_client()
        .post(format!("{}{path}", server.base))
        .json(body);
    match request.send().await {
        Ok(response) if response.status().is_success() => match response.json().await {
            Ok(value) => Sent::Answered(value),
            Err(_) => Sent::Broken,
        },
        Ok(response) => panic!("{path}: {}", response.status()),
        Err(_) => Sent::Broken,
    }
}

async fn get(server: &Server, path: &str) -> Option<Value> {
    let response = http_client()
        .get(format!("{}{path}", server.base))
        .send()
        .await
        .ok()?;
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.ok()
}

/// Speaks at its leisure, so that there is a flush in its middle.
fn leisurely() -> Script {
    Script::answer(["Grüße ", "aus ", "der ", "Ferne"]).paced(std::time::Duration::from_millis(25))
}

const WHOLE: &str = "Grüße aus der Ferne";

/// The process dies at this point while it takes, runs or finishes a message; the next one goes on.
async fn dies_at(kind: Kind, point: &str) {
    let mut scene = Scene::new(kind, Upstream::start(|_| leisurely()).await).await;
    let first = scene.start(&[("FAULT_POINT", point)]).await;
    scene.send(&first).await;
    scene.poll_until_it_dies(first).await;
    let second = scene.start(&[]).await;
    // What had no answer is sent again; what had one may be too, for it has a UUID.
    assert!(matches!(scene.send(&second).await, Sent::Answered(_)));
    scene.read_to_the_end(&second).await;
    assert!(
        scene.upstream.received().len() <= 2,
        "the model is asked once more at most"
    );
    scene.check(second, WHOLE, "completed").await;
}

macro_rules! faults {
    ($($name:ident: $point:literal;)*) => {
        on_both_databases! {$(
            async fn $name(kind: Kind) {
                dies_at(kind, $point).await;
            }
        )*}
    };
}

faults! {
    before_the_creates_commit: "create.before_commit";
    before_the_sends_commit: "send.before_commit";
    after_the_sends_commit: "send.committed";
    before_the_claims_commit: "claim.before_commit";
    after_the_claims_commit: "claim.committed";
    in_the_middle_of_the_answer: "answer.text";
    before_a_flushs_commit: "flush.before_commit";
    after_a_flushs_commit: "flush.committed";
    before_the_finishs_commit: "finish.before_commit";
    after_the_finishs_commit: "finish.committed";
    before_the_purges_commit: "purge.before_commit";
}

fn thought(text: &str) -> String {
    let chunk = json!({"choices": [{"index": 0, "delta": {"reasoning_content": text}}]});
    format!("data: {chunk}\n\n")
}

/// One poll of what the model thinks, by the rules: positions of its own, beside those of the text.
async fn poll_thoughts(server: &Server, answer: &str, reader: &mut Reader) {
    let before = reader.position;
    let path = format!("/chat/message/{answer}/tokens/0?reasoning={before}");
    let Some(got) = get(server, &path).await else {
        return;
    };
    let mut thoughts = got["reasoning"].clone();
    thoughts["status"] = got["status"].clone();
    let position = thoughts["position"].as_u64().unwrap();
    assert!(position >= before, "P2: {position} after {before}");
    reader.apply(&thoughts);
    let bytes = reader.text.len() as u64;
    assert_eq!(position % (1 << 32), bytes, "P3: all that lies before it");
}

/// A server was killed in mid-answer, and the one that rescues the request dies over it.
async fn rescuer_dies_at(kind: Kind, point: &str) {
    let gate = CancellationToken::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        Script::stream()
            .say(["Grüße "])
            .wait(&held)
            .say(["aus ", "der ", "Ferne"])
            .finish()
    })
    .await;
    let mut scene = Scene::new(kind, upstream).await;
    let first = scene.start(&[]).await;
    scene.send(&first).await;
    eventually("the first words", async || {
        scene.poll(&first).await;
        (scene.reader.text == "Grüße ").then_some(())
    })
    .await;
    first.kill().await;
    gate.cancel();
    // On SQLite the rescue is part of the start, which does not come to its end then.
    let second = scene.variables(&[("FAULT_POINT", point)]);
    let borrowed: Vec<_> = second
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    let dir = scene.database.dir();
    let died = crate::support::process::run(&dir, &borrowed, &["--listen", "127.0.0.1:0"]);
    let died = tokio::time::timeout(PATIENCE, died)
        .await
        .expect("the fault point is reached");
    assert!(!died.status.success());
    let third = scene.start(&[]).await;
    scene.read_to_the_end(&third).await;
    scene.check(third, WHOLE, "completed").await;
}

on_both_databases! {
    async fn before_the_rescues_commit(kind: Kind) {
        rescuer_dies_at(kind, "rescue.before_commit").await;
    }

    async fn after_the_rescues_commit(kind: Kind) {
        rescuer_dies_at(kind, "rescue.committed").await;
    }

    async fn before_the_commit_of_a_restart(kind: Kind) {
        let scripts = [Script::stream().say(["half"]).cut(), leisurely(), leisurely()];
        let mut scene = Scene::new(kind, Upstream::scripted(scripts).await).await;
        let replace = ("POLLEN_WORKER__ON_BROKEN_ANSWER", "replace");
        let first = scene.start(&[replace, ("FAULT_POINT", "restart.before_commit")]).await;
        scene.send(&first).await;
        scene.poll_until_it_dies(first).await;
        let second = scene.start(&[replace]).await;
        scene.read_to_the_end(&second).await;
        scene.check(second, WHOLE, "completed").await;
    }

    async fn while_only_thoughts_had_come(kind: Kind) {
        let scripts = [
            Script::stream().raw(thought("Old é, ")).wait(&CancellationToken::new()),
            Script::stream().raw(thought("New 花 ")).raw(thought("and longer")).say(["Grüße"]).finish(),
        ];
        let mut scene = Scene::new(kind, Upstream::scripted(scripts).await).await;
        let first = scene.start(&[]).await;
        scene.send(&first).await;
        let mut thoughts = Reader::default();
        let answer = eventually("the first thoughts", async || {
            let answer = scene.poll(&first).await?;
            poll_thoughts(&first, &answer, &mut thoughts).await;
            (thoughts.text == "Old é, ").then_some(answer)
        })
        .await;
        assert_eq!((scene.reader.text.as_str(), scene.reader.status.as_str()), ("", "pending"));
        first.kill().await;
        let second = scene.start(&[]).await;
        eventually("the thoughts of the next attempt", async || {
            poll_thoughts(&second, &answer, &mut thoughts).await;
            thoughts.is_done().then_some(())
        })
        .await;
        assert_eq!((thoughts.text.as_str(), thoughts.replaced), ("New 花 and longer", 1));
        let stored = get(&second, &format!("/chat/message/{answer}")).await.unwrap();
        assert_eq!(stored["reasoning"]["content"], thoughts.text);
        scene.read_to_the_end(&second).await;
        scene.check(second, "Grüße", "completed").await;
    }

    async fn thoughts_that_were_written_down_are_kept_when_no_attempt_is_left(kind: Kind) {
        let script = Script::stream().raw(thought("Hm, é.")).wait(&CancellationToken::new());
        let mut scene = Scene::new(kind, Upstream::scripted([script]).await).await;
        let once = ("POLLEN_WORKER__MAX_ATTEMPTS", "1");
        let first = scene.start(&[once]).await;
        scene.send(&first).await;
        eventually("they are written down", async || {
            (scene.rows_of_the_ledger().await > 0).then_some(())
        })
        .await;
        first.kill().await;
        let second = scene.start(&[once]).await;
        let answer = scene.read_to_the_end(&second).await;
        let mut thoughts = Reader::default();
        poll_thoughts(&second, &answer, &mut thoughts).await;
        assert_eq!((thoughts.text.as_str(), thoughts.status.as_str()), ("Hm, é.", "failed"));
        let stored = get(&second, &format!("/chat/message/{answer}")).await.unwrap();
        assert_eq!(stored["error"]["code"], "interrupted");
        assert_eq!(stored["reasoning"]["content"], "Hm, é.");
        scene.check(second, "", "failed").await;
    }

    async fn before_a_cancels_commit(kind: Kind) {
        canceller_dies_at(kind, "cancel.before_commit").await;
    }

    async fn after_a_cancels_commit(kind: Kind) {
        canceller_dies_at(kind, "cancel.committed").await;
    }

    async fn before_an_edits_commit(kind: Kind) {
        let upstream = Upstream::start(|request| Script::answer([format!("to {}", request.asked())])).await;
        let mut scene = Scene::new(kind, upstream).await;
        let first = scene.start(&[("FAULT_POINT", "edit.before_commit")]).await;
        scene.send(&first).await;
        scene.read_to_the_end(&first).await;
        assert!(put(&first, &scene.message, "two").await.is_none());
        let second = scene.start(&[]).await;
        let message = get(&second, &format!("/chat/message/{}", scene.message)).await.unwrap();
        assert_eq!((&message["content"], &message["versions"]), (&json!("one"), &json!(1)), "nothing half-done");
        put(&second, &scene.message, "two").await.unwrap();
        scene.reader = Reader::default();
        scene.read_to_the_end(&second).await;
        scene.check(second, "to two", "completed").await;
    }

    async fn before_the_commit_of_a_regenerate(kind: Kind) {
        let scripts = [Script::answer(["first"]), Script::answer(["second"])];
        let mut scene = Scene::new(kind, Upstream::scripted(scripts).await).await;
        let first = scene.start(&[("FAULT_POINT", "again.before_commit")]).await;
        scene.send(&first).await;
        let answer = scene.read_to_the_end(&first).await;
        let path = format!("/chat/message/{answer}/regenerate");
        assert!(matches!(post(&first, &path, &json!({})).await, Sent::Broken));
        let second = scene.start(&[]).await;
        let message = get(&second, &format!("/chat/message/{answer}")).await.unwrap();
        assert_eq!((&message["content"], &message["versions"]), (&json!("first"), &json!(1)), "nothing half-done");
        assert!(matches!(post(&second, &path, &json!({})).await, Sent::Answered(_)));
        scene.reader.status.clear();
        scene.read_to_the_end(&second).await;
        scene.check(second, "second", "completed").await;
    }
}

async fn canceller_dies_at(kind: Kind, point: &str) {
    let upstream = Upstream::start(|_| {
        Script::stream()
            .say(["half "])
            .wait(&CancellationToken::new())
            .finish()
    })
    .await;
    let mut scene = Scene::new(kind, upstream).await;
    let first = scene.start(&[("FAULT_POINT", point)]).await;
    scene.send(&first).await;
    let answer = eventually("the first words", async || {
        let answer = scene.poll(&first).await?;
        (scene.reader.text == "half ").then_some(answer)
    })
    .await;
    let path = format!("/chat/message/{answer}/cancel");
    assert!(matches!(
        post(&first, &path, &json!({})).await,
        Sent::Broken
    ));
    let second = scene.start(&[]).await;
    // Nobody told the client, so it cancels again.
    let Sent::Answered(done) = post(&second, &path, &json!({})).await else {
        panic!("the second server is there");
    };
    let was_stored = point == "cancel.committed";
    assert_eq!(done["cancelled"], !was_stored, "{done}");
    scene.read_to_the_end(&second).await;
    let text = scene.reader.text.clone();
    assert!("half ".starts_with(&text), "{text:?}");
    scene.check(second, &text, "cancelled").await;
}

async fn put(server: &Server, message: &str, text: &str) -> Option<Value> {
    let url = format!("{}/chat/message/{message}", server.base);
    let response = http_client()
        .put(url)
        .json(&json!({"message": text}))
        .send()
        .await
        .ok()?;
    assert_eq!(response.status(), 202);
    response.json().await.ok()
}
