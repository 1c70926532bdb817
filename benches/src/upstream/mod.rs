//! The model: a server that speaks OpenAI's streaming format and costs next to nothing for each token, so that the figures
//! are of the server that listens to it. What it says and how fast is told by the user's message (`order.rs`).

pub mod order;
mod pace;
mod say;
mod serve;
pub mod text;

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::Value;

pub use order::Order;
pub use serve::{Model, run};

use crate::bench::Bench;
use crate::client::Client;
use crate::machine::Place;
use crate::process::Process;

/// A model in a process of its own.
pub struct Upstream {
    process: Process,
}

/// What it has said so far, to all together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    pub tokens: u64,
    /// Of text.
    pub bytes: u64,
    /// Answers that are under way, those that stand still among them.
    pub live: u64,
}

impl Upstream {
    pub async fn start(bench: &Bench) -> Result<Self> {
        let process = bench
            .start_own(vec!["upstream".into()], Place::Load)
            .await?;
        Ok(Self { process })
    }

    pub fn address(&self) -> SocketAddr {
        self.process.address
    }

    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    pub async fn said(&self) -> Result<Said> {
        let mut client = Client::connect(self.address()).await?;
        let stats = client.get("/stats").await?.json()?;
        let count = |name: &str| stats[name].as_u64().context("no such count");
        Ok(Said {
            tokens: count("tokens")?,
            bytes: count("bytes")?,
            live: count("live")?,
        })
    }

    /// Lets the answers begin that wait at the gate.
    pub async fn open_gate(&self) -> Result<()> {
        self.tell("/gate").await
    }

    /// All answers stand still.
    pub async fn pause(&self) -> Result<()> {
        self.tell("/pause").await
    }

    /// They go on.
    pub async fn go_on(&self) -> Result<()> {
        self.tell("/go").await
    }

    async fn tell(&self, path: &str) -> Result<()> {
        let mut client = Client::connect(self.address()).await?;
        client.post(path, &Value::Null).await?.expect(200)?;
        Ok(())
    }
}
