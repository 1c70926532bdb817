//! Copies of a SQLite database: made while a server writes, brought back where none does, and refused where they are not
//! what they should be.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::database::Kind;
use crate::support::process::run;
use crate::support::{Database, Remote, Server, TestApp, Upstream, app::eventually};

const FAST: [(&str, &str); 2] = [
    ("POLLEN_DEMO__TOKENS_PER_SECOND", "2000"),
    ("POLLEN_DEMO__TOKENS", "40"),
];
/// Chats that are finished before the copy.
const CHATS: usize = 12;

/// Runs a command on the directory's `pollen.db`: (whether it did it, what it said).
async fn pollen(dir: &Path, arguments: &[&str]) -> (bool, String) {
    let output = run(dir, &[], arguments).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

async fn does(dir: &Path, arguments: &[&str]) -> String {
    let (is_done, said) = pollen(dir, arguments).await;
    assert!(is_done, "{said}");
    said
}

async fn refuses(dir: &Path, arguments: &[&str], words: &str) {
    let (is_done, said) = pollen(dir, arguments).await;
    assert!(!is_done && said.contains(words), "{said}");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A chat with an answer: (its UUID, its messages).
async fn talk(remote: &Remote, words: &str) -> (String, Value) {
    let created = remote.create(words).await;
    let answer = remote.answer(&created).await;
    let mut reader = crate::support::Reader::default();
    remote
        .poll_until(&answer, &mut reader, crate::support::Reader::is_done)
        .await;
    let chat = created["uuid"].as_str().unwrap().to_owned();
    let messages = remote.get(&format!("/chat/{chat}/messages")).await;
    (chat, messages["messages"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_made_under_load_has_all_that_was_there_and_comes_back_elsewhere() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (here.path(), there.path());
    // The key of cookies, as a server with anonymous users makes it.
    std::fs::write(here.join("pollen.key"), "k".repeat(64)).unwrap();
    let server = Server::start(here, &FAST).await;
    let remote = Remote::of(&server.base);
    let mut said = Vec::new();
    for number in 0..CHATS {
        said.push(talk(&remote, &format!("Question {number}")).await);
    }
    let (over, written) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (base, over, written) = (server.base.clone(), over.clone(), Arc::clone(&written));
            tokio::spawn(async move {
                let remote = Remote::of(&base);
                while !over.is_cancelled() {
                    talk(&remote, &format!("Meanwhile {writer}")).await;
                    written.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    eventually("the writers write", async || {
        (written.load(Ordering::Relaxed) > 8).then_some(())
    })
    .await;
    let copy = there.join("copy.db");
    let copy = copy.to_str().unwrap();
    for arguments in [&["backup", copy][..], &["backup", copy, "--force"]] {
        let told = does(here, arguments).await;
        assert!(
            told.contains("found sound") && told.contains("pollen restore"),
            "{told}"
        );
        assert!(told.contains("copy.key"), "{told}");
    }
    refuses(here, &["backup", copy], "--force").await;
    refuses(
        here,
        &["backup", "pollen.db", "--force"],
        "is the database itself",
    )
    .await;
    refuses(here, &["restore", copy], "in use").await;
    over.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    server.terminate("-TERM").await;
    assert_eq!(
        names(there),
        ["copy.db", "copy.key"],
        "nothing is left over"
    );
    assert_eq!(
        (mode(Path::new(copy)), mode(&there.join("copy.key"))),
        (0o600, 0o600)
    );

    does(there, &["restore", "copy.db"]).await;
    assert_eq!(mode(&there.join("pollen.db")), 0o600);
    let key = std::fs::read_to_string(there.join("pollen.key")).unwrap();
    assert_eq!(key, "k".repeat(64));
    let server = Server::start(there, &FAST).await;
    let remote = Remote::of(&server.base);
    for (chat, messages) in &said {
        let restored = remote.get(&format!("/chat/{chat}/messages")).await;
        assert_eq!(restored["messages"], *messages);
    }
    let found = remote.get("/chat/search?q=meanwhile").await;
    assert!(
        !found["found"].as_array().unwrap().is_empty(),
        "the index of words too"
    );
    server.terminate("-TERM").await;
}

/// What a killed server leaves beside its file is part of it, and is kept with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_before_is_kept_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Server::start(dir, &FAST).await;
    let remote = Remote::of(&server.base);
    let first = talk(&remote, "Before the copy").await;
    does(dir, &["backup", "copy.db"]).await;
    let second = talk(&remote, "After the copy").await;
    server.kill().await;
    assert!(dir.join("pollen.db-wal").exists());
    let told = does(dir, &["restore", "copy.db"]).await;
    let before = told
        .split_whitespace()
        .find(|word| word.contains(".before-restore-"));
    let before = before.unwrap().trim_end_matches(':').to_owned();
    let server = Server::start(dir, &FAST).await;
    let remote = Remote::of(&server.base);
    assert_eq!(
        remote.get(&format!("/chat/{}/messages", first.0)).await["messages"],
        first.1
    );
    let response = reqwest_status(&format!("{}/chat/{}", server.base, second.0)).await;
    assert_eq!(response, 404);
    server.terminate("-TERM").await;
    // And the way back.
    does(dir, &["restore", &before]).await;
    let server = Server::start(dir, &FAST).await;
    let remote = Remote::of(&server.base);
    for (chat, messages) in [&first, &second] {
        assert_eq!(
            remote.get(&format!("/chat/{chat}/messages")).await["messages"],
            *messages
        );
    }
    server.terminate("-TERM").await;
}

async fn reqwest_status(url: &str) -> u16 {
    let response = crate::support::http_client().get(url).send().await.unwrap();
    response.status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_not_what_it_should_be_is_refused_and_nothing_changes() {
    let app = TestApp::start(Kind::Sqlite, Upstream::echo().await).await;
    app.ask("Hello").await;
    let database = app.database.clone();
    app.stop().await;
    let dir = database.dir();
    does(&dir, &["backup", "good.db"]).await;
    let good = std::fs::read(dir.join("good.db")).unwrap();
    let mut damaged = good.clone();
    for byte in &mut damaged[8_192..40_960] {
        *byte = 0x5A;
    }
    std::fs::write(dir.join("damaged.db"), damaged).unwrap();
    std::fs::write(dir.join("short.db"), &good[..good.len() / 2]).unwrap();
    std::fs::write(dir.join("letter.db"), "Dear diary, ".repeat(1_000)).unwrap();
    std::fs::write(dir.join("empty.db"), "").unwrap();
    std::fs::write(dir.join("newer.db"), &good).unwrap();
    for (file, sql) in [
        (
            "newer.db",
            "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99991231_000001_future', 0)",
        ),
        ("other.db", "CREATE TABLE recipe (title TEXT)"),
        (
            "cousin.db",
            "CREATE TABLE seaql_migrations (version TEXT, applied_at INTEGER); \
             INSERT INTO seaql_migrations VALUES ('m20200101_000001_cakes', 0)",
        ),
    ] {
        use sea_orm::ConnectionTrait as _;
        let url = format!("sqlite:{}?mode=rwc", dir.join(file).display());
        let db = sea_orm::Database::connect(url).await.unwrap();
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
    }
    let before = std::fs::read(dir.join("pollen.db")).unwrap();
    for (file, words) in [
        ("damaged.db", "damaged"),
        ("short.db", "damaged"),
        ("letter.db", "not a database of SQLite's"),
        ("empty.db", "not one of Pollen's"),
        ("newer.db", "was written by a newer Pollen"),
        ("other.db", "not one of Pollen's"),
        ("cousin.db", "not one of Pollen's"),
        ("missing.db", "missing.db"),
        ("pollen.db", "is the database itself"),
    ] {
        refuses(&dir, &["restore", file], words).await;
        assert_eq!(
            std::fs::read(dir.join("pollen.db")).unwrap(),
            before,
            "{file}"
        );
    }
    let left: Vec<String> = names(&dir)
        .into_iter()
        .filter(|name| name.contains(".part-") || name.contains("before-restore"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // A database that is damaged is not copied over a copy that is good.
    std::fs::copy(dir.join("damaged.db"), dir.join("pollen.db")).unwrap();
    refuses(&dir, &["backup", "good.db", "--force"], "damaged").await;
    assert_eq!(std::fs::read(dir.join("good.db")).unwrap(), good);
    does(&dir, &["restore", "good.db"]).await;
    let app = TestApp::start_on(database, Upstream::echo().await, &[]).await;
    let chats = app.get("/chat/list").await.json();
    assert_eq!(chats["chats"].as_array().map(Vec::len), Some(1), "{chats}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_both_say_what_to_run() {
    let database = Database::create(Kind::Postgres).await;
    let url = database.url.replace("postgres@", "postgres:open-sesame@");
    for (command, tool) in [
        ("backup", "pg_dump --format=custom"),
        ("restore", "pg_restore --clean"),
    ] {
        let arguments = [command, "copy.dump", "--database-url", &url];
        let (is_done, said) = pollen(&database.dir(), &arguments).await;
        assert!(
            !is_done && said.contains(tool) && said.contains("copy.dump"),
            "{said}"
        );
        assert!(!said.contains("open-sesame"), "{said}");
    }
}

/// Erased rows leave room, which a file gives back when it is asked to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_gives_back_the_room_of_what_was_erased() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Server::start(dir, &[("POLLEN_LIMITS__UNDO_MS", "0"), FAST[0], FAST[1]]).await;
    let remote = Remote::of(&server.base);
    let kept = talk(&remote, "This one is kept").await;
    let mut chats = Vec::new();
    for number in 0..20 {
        let words = format!("{number} {}", "many words ".repeat(2_500));
        let created = remote
            .post("/chat/create", &json!({"message": words}), 201)
            .await;
        remote.answer(&created).await;
        chats.push(created["uuid"].as_str().unwrap().to_owned());
    }
    refuses(dir, &["maintain"], "in use").await;
    let client = crate::support::http_client();
    for chat in chats {
        let url = format!("{}/chat/{chat}", server.base);
        assert!(
            client
                .delete(url)
                .send()
                .await
                .unwrap()
                .status()
                .is_success()
        );
    }
    server.terminate("-TERM").await;
    let size = || std::fs::metadata(dir.join("pollen.db")).unwrap().len();
    let before = size();
    does(dir, &["maintain"]).await;
    assert!(size() < before / 2, "{} of {before}", size());
    let server = Server::start(dir, &FAST).await;
    let messages = Remote::of(&server.base)
        .get(&format!("/chat/{}/messages", kept.0))
        .await;
    assert_eq!(messages["messages"], kept.1);
    server.terminate("-TERM").await;
}
