//! Parses the arguments and calls the library.

use std::process::ExitCode;

use clap::Parser;
use pollen::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the log may not have been set up yet")]
            {
                eprintln!("pollen: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
