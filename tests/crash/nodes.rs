//! Three nodes on one PostgreSQL, and people who ask another one at every call, while nodes are
//! killed, halted beyond their leases, and cut off from the database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::audit::{self, Stored};
use super::chaos::{Place, Setup, restart_database};
use super::person::{Habit, Person};
use super::servers::Servers;
use super::{Seed, dice, number_from_env, pieces};
use crate::support::postgres::Cluster;
use crate::support::{Database, Script, Upstream};

const SEED: u64 = 2026;
const NODES: usize = 3;
const LEASE: Duration = Duration::from_millis(1_500);
/// What a busy machine may add to the time in which a node finds out that it has lost a request.
const SLACK: Duration = Duration::from_millis(1_500);
/// An answer has this many pieces, with this pause after each.
const PIECES: usize = 32;
const PACE: Duration = Duration::from_millis(60);
/// Attempts that no round uses up: whatever happens, every answer is completed.
const MANY_ATTEMPTS: u32 = 20;

/// The size of a round.
#[derive(Clone, Copy)]
struct Size {
    chats: usize,
    /// For how long nodes are killed and halted.
    chaos: Duration,
}

/// What happened in a round, or in several.
#[derive(Default)]
struct Summary {
    chats: usize,
    stored: Stored,
    kills: usize,
    halts: usize,
    restarts: usize,
    polls: u64,
    repeated: u64,
    faults: u64,
    replaced: usize,
    asked_of_the_model: usize,
    longest_overlap: Duration,
    took: Duration,
}

impl Summary {
    fn add(&mut self, other: &Self) {
        self.chats += other.chats;
        self.stored.completed += other.stored.completed;
        self.stored.failed += other.stored.failed;
        self.stored.most_attempts = self.stored.most_attempts.max(other.stored.most_attempts);
        self.kills += other.kills;
        self.halts += other.halts;
        self.restarts += other.restarts;
        self.polls += other.polls;
        self.repeated += other.repeated;
        self.faults += other.faults;
        self.replaced += other.replaced;
        self.asked_of_the_model += other.asked_of_the_model;
        self.longest_overlap = self.longest_overlap.max(other.longest_overlap);
        self.took += other.took;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A position that goes back ends the round, so that there is none here.
        write!(
            f,
            "{} chats, {} completed, {} failed, {} kills, {} halts, {} database restarts, {} polls, \
             {} calls repeated, {} answered 500, {} texts replaced, {} calls of the model, \
             at most {} attempts, longest overlap {} ms, positions gone back: 0, {:.1} s",
            self.chats,
            self.stored.completed,
            self.stored.failed,
            self.kills,
            self.halts,
            self.restarts,
            self.polls,
            self.repeated,
            self.faults,
            self.replaced,
            self.asked_of_the_model,
            self.stored.most_attempts,
            self.longest_overlap.as_millis(),
            self.took.as_secs_f64(),
        )
    }
}

fn setup(database: &Database, upstream: &Upstream, attempts: u32) -> Setup {
    let set = |key: &str, value: String| (format!("POLLEN_{key}"), value);
    Setup {
        dir: database.dir(),
        log: Setup::log_beside(database),
        lease: LEASE,
        variables: vec![
            set("DATABASE_URL", database.url.clone()),
            set("DATABASE__ACQUIRE_TIMEOUT_MS", "500".into()),
            set("OPENAI__BASE_URL", upstream.base_url()),
            set("OPENAI__MODEL", "scripted-model".into()),
            set("LEDGER__FLUSH_INTERVAL_MS", "50".into()),
            set("LEDGER__FOLLOW_INTERVAL_MS", "50".into()),
            set("WORKER__LEASE_MS", LEASE.as_millis().to_string()),
            set("WORKER__SCAN_INTERVAL_MS", "200".into()),
            set("WORKER__REPAIR_INTERVAL_MS", "500".into()),
            set("WORKER__MAX_ATTEMPTS", attempts.to_string()),
        ],
    }
}

/// All people of a round, who come one after the other.
async fn live(servers: &Arc<Servers>, seed: u64, size: Size) -> Vec<Person> {
    let people = (0..size.chats).map(|number| {
        let mut dice = dice(seed, 1_000 + number as u64);
        let comes = size.chaos.mul_f64(0.7 * dice.f64());
        let habit = Habit {
            name: format!("chat {number}"),
            pieces: PIECES,
            reads: 0.5,
            pause_ms: 500,
        };
        let questions = dice.usize(1..=2);
        let person = Person::new(Arc::clone(servers), dice, habit);
        tokio::spawn(async move {
            sleep(comes).await;
            person.live(questions).await
        })
    });
    let people = join_all(people).await;
    people.into_iter().map(Result::unwrap).collect()
}

async fn round(cluster: &mut Cluster, seed: u64, size: Size) -> Summary {
    let begun = Instant::now();
    let mut dice_here = dice(seed, 0);
    let attempts = *dice_here.choice(&[2, MANY_ATTEMPTS]).unwrap();
    let upstream =
        Upstream::start(|call| Script::answer(pieces(&call.asked(), PIECES)).paced(PACE)).await;
    let database = Database::create_in(cluster).await;
    let setup = Arc::new(setup(&database, &upstream, attempts));
    let (servers, over) = (Arc::new(Servers::new(NODES)), CancellationToken::new());
    let places = (0..NODES).map(|number| {
        let place = Place::new(number, &setup, &servers, dice(seed, 1 + number as u64));
        tokio::spawn(place.live(over.clone()))
    });
    let places: Vec<_> = places.collect();
    let chaos = async {
        sleep(size.chaos / 2).await;
        restart_database(cluster, &mut dice_here, LEASE).await;
        sleep(size.chaos / 2).await;
        over.cancel();
    };
    let (people, ()) = futures::join!(live(&servers, seed, size), chaos);
    let places = join_all(places).await.into_iter().map(Result::unwrap);
    let (places, nodes): (Vec<Place>, Vec<_>) = places.unzip();
    audit::settle(&database).await;
    drop(nodes);
    let halts: Vec<_> = places.iter().flat_map(|p| p.halts.clone()).collect();
    let summary = Summary {
        chats: people.len(),
        stored: audit::check(&database, &people, PIECES).await,
        kills: places.iter().map(|place| place.kills).sum(),
        halts: halts.len(),
        restarts: 1,
        polls: people.iter().map(|p| p.polls).sum(),
        repeated: people.iter().map(|p| p.calls.repeated).sum(),
        faults: people.iter().map(|p| p.calls.faults).sum(),
        replaced: people.iter().map(Person::replaced).sum(),
        asked_of_the_model: upstream.received().len(),
        longest_overlap: audit::longest_overlap(&upstream.received(), &halts),
        took: begun.elapsed(),
    };
    assert!(
        summary.longest_overlap <= LEASE + SLACK,
        "two nodes asked the model the same for too long: {summary}"
    );
    assert!(
        attempts < MANY_ATTEMPTS || summary.stored.failed == 0,
        "an answer failed that had attempts left: {summary}"
    );
    summary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "what happened, for whoever asks")]
async fn nodes_that_are_killed_halted_and_cut_off_lose_nothing_and_repeat_nothing() {
    let seed = Seed::from_env(SEED);
    let size = Size {
        chats: 40,
        chaos: Duration::from_secs(6),
    };
    let mut cluster = Cluster::of_its_own().await;
    println!("{}", round(&mut cluster, seed.0, size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: ./scripts/crash.sh runs it"]
#[expect(clippy::print_stdout, reason = "the report is what it is run for")]
async fn many_rounds_of_nodes_that_are_killed_halted_and_cut_off() {
    let first = Seed::from_env(SEED).0;
    let size = Size {
        chats: 100,
        chaos: Duration::from_secs(20),
    };
    let mut cluster = Cluster::of_its_own().await;
    let mut total = Summary::default();
    for number in 0..number_from_env("CRASH_ROUNDS").unwrap_or(5) {
        let seed = Seed(first + number);
        let summary = round(&mut cluster, seed.0, size).await;
        println!("round {number}, seed {}: {summary}", seed.0);
        total.add(&summary);
    }
    println!("total: {total}");
}
