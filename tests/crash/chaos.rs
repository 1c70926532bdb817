//! What happens to servers: killed where they stand and replaced, halted for longer than their
//! lease, cut off from their database. Everything is thrown with one seed's dice.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::audit::Halt;
use super::servers::Servers;
use crate::support::app::PATIENCE;
use crate::support::postgres::Cluster;
use crate::support::{Database, Server};

/// Between two tries to start a server whose database is away.
const START_PAUSE: Duration = Duration::from_millis(100);
/// A server is left alone for a time between these, in milliseconds.
const REST_MS: std::ops::Range<u64> = 600..3_500;

/// What a server is started with.
pub struct Setup {
    pub dir: PathBuf,
    /// Where all servers' logs go.
    pub log: PathBuf,
    pub variables: Vec<(String, String)>,
    pub lease: Duration,
}

impl Setup {
    /// The file that `CRASH_LOG` names, for whoever looks into a failure; else one that goes with
    /// the database.
    pub fn log_beside(database: &Database) -> PathBuf {
        std::env::var_os("CRASH_LOG").map_or_else(|| database.dir().join("log"), PathBuf::from)
    }

    /// Starts one under this name; None if it does not start.
    pub async fn start(&self, name: &str) -> Option<Server> {
        let mut variables: Vec<_> = self
            .variables
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        // By its key the model's server knows who asks.
        variables.push(("POLLEN_OPENAI__API_KEY", name));
        Server::try_start(&self.dir, &variables, &self.log).await
    }
}

/// One place for a server, and what happened there.
pub struct Place {
    pub number: usize,
    pub setup: Arc<Setup>,
    pub servers: Arc<Servers>,
    pub dice: fastrand::Rng,
    pub kills: usize,
    pub halts: Vec<Halt>,
}

impl Place {
    pub fn new(
        number: usize,
        setup: &Arc<Setup>,
        servers: &Arc<Servers>,
        dice: fastrand::Rng,
    ) -> Self {
        Self {
            number,
            setup: Arc::clone(setup),
            servers: Arc::clone(servers),
            dice,
            kills: 0,
            halts: Vec::new(),
        }
    }

    /// Has servers here killed and halted until it is over; then one is left that runs.
    pub async fn live(mut self, over: CancellationToken) -> (Self, Server) {
        let mut server = self.start().await;
        loop {
            let rest = Duration::from_millis(self.dice.u64(REST_MS));
            tokio::select! {
                () = over.cancelled() => return (self, server),
                () = sleep(rest) => {}
            }
            if self.dice.bool() {
                server.kill().await;
                self.kills += 1;
                sleep(Duration::from_millis(self.dice.u64(..500))).await;
                server = self.start().await;
            } else {
                self.halt(&server).await;
            }
        }
    }

    async fn start(&self) -> Server {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let count = STARTED.fetch_add(1, Ordering::Relaxed);
            let name = format!("place-{}-server-{count}", self.number);
            let started = timeout(PATIENCE, self.setup.start(&name)).await;
            if let Some(server) = started.expect("it starts or gives up") {
                self.servers.put(self.number, &server.base);
                return server.named(name);
            }
            assert!(Instant::now() < deadline, "no server starts");
            sleep(START_PAUSE).await;
        }
    }

    /// Longer than its lease, so that others take its requests.
    async fn halt(&mut self, server: &Server) {
        let from = Instant::now();
        server.signal("-STOP").await;
        sleep(self.setup.lease * 3 / 2).await;
        server.signal("-CONT").await;
        self.halts.push(Halt {
            server: server.name.clone(),
            from,
            until: Instant::now(),
        });
    }
}

/// Takes the database away, for up to two and a half leases: nodes then listen no more.
pub async fn restart_database(cluster: &mut Cluster, dice: &mut fastrand::Rng, lease: Duration) {
    cluster.stop();
    let halves = dice.u32(..=5);
    sleep(lease / 2 * halves).await;
    cluster.start_again();
}
