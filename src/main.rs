//! Parses the arguments and calls the library.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use pollen::cli::{Cli, run};

/// A poll is a few dozen small allocations, and half of its own work if the system's allocator does them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(Cli::parse())).await {
        Ok(status) => status,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the log may not have been set up yet")]
            {
                eprintln!("pollen: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
