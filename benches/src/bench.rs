//! What all cases share: which binary is measured, where it runs, where its files go, how thorough to be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::compare::Rounds;
use crate::machine::{Pinning, Place};
use crate::postgres::Cluster;
use crate::process::{Process, Start};
use crate::server;

pub struct Bench {
    pub server: PathBuf,
    pub pinning: Pinning,
    pub quick: bool,
    keep: bool,
    /// This program.
    own: PathBuf,
    /// Databases and logs.
    scratch: PathBuf,
    cluster: OnceCell<Cluster>,
}

impl Bench {
    pub fn new(
        server: PathBuf,
        directory: &Path,
        pinning: Pinning,
        quick: bool,
        keep: bool,
    ) -> Result<Self> {
        let scratch = directory.join("tmp");
        std::fs::create_dir_all(&scratch)
            .with_context(|| format!("cannot make {}", scratch.display()))?;
        Ok(Self {
            server,
            pinning,
            quick,
            keep,
            own: std::env::current_exe()?,
            scratch: scratch.canonicalize()?,
            cluster: OnceCell::new(),
        })
    }

    /// `full`, or `quick` if that is wanted.
    pub fn or_quick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// How two servers are compared.
    pub fn rounds(&self) -> Rounds {
        Rounds {
            count: self.or_quick(5, 3),
            warm_up: Duration::from_millis(self.or_quick(300, 100)),
            time: Duration::from_millis(self.or_quick(1_500, 500)),
        }
    }

    /// A directory for one server, gone with the value unless it is to be kept.
    pub fn directory(&self) -> Result<TempDir> {
        let mut directory = tempfile::Builder::new().tempdir_in(&self.scratch)?;
        directory.disable_cleanup(self.keep);
        Ok(directory)
    }

    /// Started when it is first asked for.
    pub async fn postgres(&self) -> Result<&Cluster> {
        self.cluster.get_or_try_init(|| Cluster::start(self)).await
    }

    /// A child process of this program's own.
    pub async fn start_own(&self, arguments: Vec<String>, place: Place) -> Result<Process> {
        let start = Start {
            program: &self.own,
            arguments,
            directory: &self.scratch,
            variables: Vec::new(),
            place,
            log: self.scratch.join("harness.log"),
        };
        Process::start(&self.pinning, start).await
    }

    /// What the reader of the report has to know.
    pub fn how(&self) -> Vec<String> {
        let raised: Vec<String> = server::RAISED
            .iter()
            .map(|(name, value)| format!("`{name}={value}`"))
            .collect();
        vec![
            self.or_quick("full run", "quick run: fewer and shorter rounds")
                .to_owned(),
            self.pinning.story(),
            format!("the server has its defaults, but for {}", raised.join(", ")),
            "what depends on the machine's speed is also told as it would be on the machine of the targets, by what the \
             bare server takes for a request just before"
                .to_owned(),
        ]
    }
}
