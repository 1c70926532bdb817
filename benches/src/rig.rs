//! One server with a model and a database of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::bench::Bench;
use crate::count;
use crate::load::{Protocol, Target};
use crate::machine::Place;
use crate::report::note;
use crate::server::{Server, Settings};
use crate::upstream::Upstream;

pub struct Rig {
    /// None where the model is somebody else's.
    upstream: Option<Upstream>,
    server: Option<Server>,
    settings: Settings,
    directory: TempDir,
}

/// Where a server keeps what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Sqlite,
    Postgres,
}

impl Store {
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

impl Rig {
    /// On SQLite, with a core of its own.
    pub async fn start(bench: &Bench) -> Result<Self> {
        Self::start_on(bench, Store::Sqlite, Place::Server).await
    }

    pub async fn start_on(bench: &Bench, store: Store, place: Place) -> Result<Self> {
        let upstream = Upstream::start(bench).await?;
        let mut rig = Self::start_with(bench, store, place, upstream.address()).await?;
        rig.upstream = Some(upstream);
        Ok(rig)
    }

    /// On a PostgreSQL that writes down what it is asked.
    pub async fn start_logged(bench: &Bench, place: Place) -> Result<Self> {
        let upstream = Upstream::start(bench).await?;
        let cluster = bench.postgres().await?;
        let url = cluster.create_database().await?;
        cluster.log_statements(&url).await?;
        let mut rig = Self::on(bench, url, place, upstream.address())?;
        rig.upstream = Some(upstream);
        rig.start_server(bench).await?;
        Ok(rig)
    }

    /// On SQLite, under callgrind.
    pub async fn start_counted(bench: &Bench) -> Result<Self> {
        let upstream = Upstream::start(bench).await?;
        let url = "sqlite:pollen.db".to_owned();
        let mut rig = Self::on(bench, url, Place::Server, upstream.address())?;
        rig.upstream = Some(upstream);
        rig.settings.wrapper = count::VALGRIND.map(str::to_owned).to_vec();
        rig.start_server(bench).await?;
        Ok(rig)
    }

    /// Where the server runs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// With a model that is there already.
    pub async fn start_with(
        bench: &Bench,
        store: Store,
        place: Place,
        model: SocketAddr,
    ) -> Result<Self> {
        let database_url = match store {
            Store::Sqlite => "sqlite:pollen.db".to_owned(),
            Store::Postgres => bench.postgres().await?.create_database().await?,
        };
        let mut rig = Self::on(bench, database_url, place, model)?;
        rig.start_server(bench).await?;
        Ok(rig)
    }

    /// Another node on the same database.
    pub async fn another_node(&self, bench: &Bench) -> Result<Self> {
        let Settings {
            database_url,
            place,
            upstream,
            ..
        } = self.settings.clone();
        let mut rig = Self::on(bench, database_url, place, upstream)?;
        rig.start_server(bench).await?;
        Ok(rig)
    }

    /// A server that has not been started.
    fn on(bench: &Bench, database_url: String, place: Place, model: SocketAddr) -> Result<Self> {
        Ok(Self {
            upstream: None,
            server: None,
            settings: Settings {
                database_url,
                upstream: model,
                place,
                wrapper: Vec::new(),
            },
            directory: bench.directory()?,
        })
    }

    pub fn upstream(&self) -> Result<&Upstream> {
        self.upstream
            .as_ref()
            .context("the model is somebody else's")
    }

    pub fn database_url(&self) -> &str {
        &self.settings.database_url
    }

    pub fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("the server is stopped")
    }

    /// The same requests for every connection, answered so.
    pub fn target(&self, bench: &Bench, requests: Vec<Vec<u8>>, status: u16) -> Result<Target> {
        let server = self.server()?;
        Ok(Target {
            address: server.address,
            pid: server.pid,
            core: bench.pinning.server_core(),
            requests,
            status,
            protocol: Protocol::Http1,
        })
    }

    pub async fn start_server(&mut self, bench: &Bench) -> Result<()> {
        let server = Server::start(bench, self.directory.path(), &self.settings).await?;
        self.server = Some(server);
        Ok(())
    }

    /// In order: all that it has is in the database then.
    pub async fn stop_server(&mut self) -> Result<()> {
        let server = self.server.take().context("the server is stopped")?;
        server.stop().await
    }

    /// The file of a SQLite database.
    pub fn database_file(&self) -> PathBuf {
        self.directory.path().join("pollen.db")
    }

    /// Ends it where it stands: answers that would never end are no reason to wait. What it complained of is said.
    pub async fn end(mut self) -> Result<()> {
        let Some(server) = self.server.take() else {
            return Ok(());
        };
        let complaints = server.complaints();
        if let Some(first) = complaints.first() {
            note(&format!(
                "the server logged {} warnings: {first}",
                complaints.len()
            ));
        }
        server.kill().await
    }
}
