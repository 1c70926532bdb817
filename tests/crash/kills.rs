//! One server on one SQLite file, killed fifty times in a row, also while it starts, with people
//! who go on sending and reading.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use sea_orm::{ConnectionTrait, Statement};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::chaos::Setup;
use super::person::{Habit, Person};
use super::servers::Servers;
use super::{Seed, audit, dice, pieces};
use crate::support::app::PATIENCE;
use crate::support::database::Kind;
use crate::support::{Database, Script, Server, Upstream};

const SEED: u64 = 50;
const KILLS: usize = 50;
/// A server is killed within this time after it began to serve, or to start.
const LIFE_MS: u64 = 300;
/// After so many kills, and at the end, the file is looked into.
const KILLS_PER_LOOK: usize = 10;
/// Databases whose first server is killed while it makes the tables.
const FIRST_STARTS: usize = 25;
const PIECES: usize = 12;
const PACE: Duration = Duration::from_millis(12);

fn setup(database: &Database, upstream: &Upstream) -> Setup {
    let set = |key: &str, value: &str| (format!("POLLEN_{key}"), value.to_owned());
    Setup {
        dir: database.dir(),
        log: Setup::log_beside(database),
        lease: Duration::ZERO,
        variables: vec![
            set("DATABASE_URL", &database.url),
            set("OPENAI__BASE_URL", &upstream.base_url()),
            set("OPENAI__MODEL", "scripted-model"),
            set("LEDGER__FLUSH_INTERVAL_MS", "10"),
            set("WORKER__SCAN_INTERVAL_MS", "50"),
            set("WORKER__REPAIR_INTERVAL_MS", "200"),
            set("WORKER__MAX_ATTEMPTS", "3"),
        ],
    }
}

/// Starts servers and kills them, one in four before it serves. How many had served.
async fn kill_again_and_again(
    setup: &Setup,
    servers: &Servers,
    database: &Database,
    mut dice: fastrand::Rng,
) -> usize {
    let mut lives = 0;
    for kill in 1..=KILLS {
        let life = Duration::from_millis(dice.u64(..LIFE_MS));
        if dice.u8(..4) == 0 {
            // What is dropped while it starts is killed.
            let _ = timeout(life, start(setup, servers)).await;
        } else {
            let server = start(setup, servers).await;
            lives += 1;
            sleep(life).await;
            server.kill().await;
        }
        if kill % KILLS_PER_LOOK == 0 {
            check_integrity(database).await;
        }
    }
    lives
}

/// Tries until it starts: the one before may hold the file's lock a moment longer.
async fn start(setup: &Setup, servers: &Servers) -> Server {
    loop {
        if let Some(server) = setup.start("one of many").await {
            servers.put(0, &server.base);
            return server;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn check_integrity(database: &Database) {
    let db = database.connect().await;
    let check = Statement::from_string(db.get_database_backend(), "PRAGMA integrity_check");
    let said = db.query_one_raw(check).await.unwrap().unwrap();
    assert_eq!(said.try_get_by_index::<String>(0).unwrap(), "ok");
    db.close().await.unwrap();
}

/// Two who read what they asked for, and one who sends and sends and reads in the end.
fn people(servers: &Arc<Servers>, seed: u64) -> Vec<Person> {
    let habit = |name: &str, reads: f64, pause_ms: u64| Habit {
        name: name.to_owned(),
        pieces: PIECES,
        reads,
        pause_ms,
    };
    let habits = [
        habit("reads", 1.0, 40),
        habit("reads at times", 0.5, 300),
        habit("sends", 0.0, 900),
    ];
    let person = |(number, habit)| {
        let dice = dice(seed, 1_000 + number as u64);
        Person::new(Arc::clone(servers), dice, habit)
    };
    habits.into_iter().enumerate().map(person).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "what happened, for whoever asks")]
async fn a_server_that_is_killed_fifty_times_loses_no_message_and_leaves_the_file_whole() {
    let seed = Seed::from_env(SEED);
    let upstream =
        Upstream::start(|call| Script::answer(pieces(&call.asked(), PIECES)).paced(PACE)).await;
    let database = Database::create(Kind::Sqlite).await;
    let (setup, servers) = (setup(&database, &upstream), Arc::new(Servers::new(1)));
    let over = CancellationToken::new();
    let people = people(&servers, seed.0)
        .into_iter()
        .map(|person| tokio::spawn(person.live_until(over.clone())));
    let people: Vec<_> = people.collect();
    let lives = kill_again_and_again(&setup, &servers, &database, dice(seed.0, 0)).await;
    over.cancel();
    let server = start(&setup, &servers).await;
    let people = join_all(people).await;
    let people: Vec<_> = people.into_iter().map(Result::unwrap).collect();
    audit::settle(&database).await;
    let stored = audit::check(&database, &people, PIECES).await;
    server.kill().await;
    check_integrity(&database).await;
    let polls: u64 = people.iter().map(|person| person.polls).sum();
    let faults: u64 = people.iter().map(|person| person.calls.faults).sum();
    let replaced: usize = people.iter().map(Person::replaced).sum();
    println!(
        "{KILLS} kills, {lives} of servers that served, {} completed, {} failed, at most {} \
         attempts, {polls} polls, {faults} answered 500, {replaced} texts replaced",
        stored.completed, stored.failed, stored.most_attempts
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_at_its_very_first_start_can_be_started_again() {
    let seed = Seed::from_env(SEED);
    let mut dice = dice(seed.0, 0);
    let upstream = Upstream::echo().await;
    for _ in 0..FIRST_STARTS {
        let database = Database::create(Kind::Sqlite).await;
        let (setup, servers) = (setup(&database, &upstream), Servers::new(1));
        let life = Duration::from_millis(dice.u64(..LIFE_MS / 3));
        let _ = timeout(life, start(&setup, &servers)).await;
        let again = timeout(PATIENCE, start(&setup, &servers)).await;
        again.expect("it starts").kill().await;
        check_integrity(&database).await;
    }
}
