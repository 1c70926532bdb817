//! What is measured: a file for each thing, or for a few that share how they are set up.

mod first_token;
mod flat;
mod hopping;
mod ledger;
mod memory;
mod polls;
mod sends;
mod start;
mod statements;
mod viewers;

use anyhow::Result;
use clap::ValueEnum;

use crate::bench::Bench;
use crate::report::Row;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Case {
    /// Token poll of a live answer, against the bare server.
    TokensLive,
    /// Messages poll of a chat in which nothing is new.
    MessagesQuiet,
    /// Token poll of a finished answer at its end.
    TokensFinished,
    /// Messages poll of a chat with 10,000 messages at its end.
    MessagesLong,
    /// The page's token poll: with nothing new, and with new text.
    HtmlPoll,
    /// Ten thousand who poll every 300 ms.
    Viewers,
    /// What the writing of answers takes from the polls.
    Loss,
    /// Bytes on the disk for each byte of text.
    Disk,
    /// CPU from the model's socket to the durable ledger.
    Ingest,
    /// From a send to the first token that a poll shows.
    FirstToken,
    /// Messages that are sent and answered in a second.
    Sends,
    /// Memory: idle, for a connection, for a live answer.
    Memory,
    /// What polls ask of the database.
    Statements,
    /// Whether a poll costs the same however much there is.
    Flat,
    /// Three nodes, and pollers who change between them.
    Hopping,
    /// From the start to the first answer; the size of the binary.
    Start,
}

impl Case {
    pub fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// As it is named on the command line.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    pub async fn run(self, bench: &Bench) -> Result<Vec<Row>> {
        match self {
            Self::TokensLive => polls::tokens_live(bench).await,
            Self::MessagesQuiet => polls::messages_quiet(bench).await,
            Self::TokensFinished => polls::tokens_finished(bench).await,
            Self::MessagesLong => polls::messages_long(bench).await,
            Self::HtmlPoll => polls::html_poll(bench).await,
            Self::Viewers => viewers::viewers(bench).await,
            Self::Loss => viewers::loss(bench).await,
            Self::Disk => ledger::disk(bench).await,
            Self::Ingest => ledger::ingest(bench).await,
            Self::FirstToken => first_token::run(bench).await,
            Self::Sends => sends::run(bench).await,
            Self::Memory => memory::run(bench).await,
            Self::Statements => statements::run(bench).await,
            Self::Flat => flat::run(bench).await,
            Self::Hopping => hopping::run(bench).await,
            Self::Start => start::run(bench).await,
        }
    }
}
