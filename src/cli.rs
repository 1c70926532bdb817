//! The command line: what can be asked of the binary, and the answers that go to standard output.

mod access;
mod client;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::app::{
    App, back_up, check_providers, doctor, known_models, maintain, open_store, restore,
};
use crate::config::{self, Config, FileNeed, Layers, LogConfig, LogFormat};

/// What a shell expects of a process that was interrupted: 128 + SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// An AI chat server for places where streams cannot go.
#[derive(Debug, Parser)]
#[command(name = "pollen", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default)
    Serve,
    #[command(flatten)]
    Client(client::ClientCommand),
    /// Bring the database's schema up to date and exit
    Migrate,
    /// List the models that can be used
    Models,
    /// Ask each provider for a few words: how long they take, or what is wrong
    Check,
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(access::TokenCommand),
    /// List and change users
    #[command(subcommand)]
    User(access::UserCommand),
    /// Copy the database to a file, also while a server runs on it (SQLite)
    Backup {
        file: PathBuf,
        /// Replace the file if there is one
        #[arg(long)]
        force: bool,
    },
    /// Put a copy in the database's place; what was there is kept beside it (SQLite)
    Restore { file: PathBuf },
    /// Look at everything that a server needs: what is wrong, and what to do. Changes nothing
    Doctor {
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
        /// Free space that is enough for a disk, in MiB
        #[arg(long, value_name = "MIB", default_value_t = 1024)]
        free_mib: u64,
    },
    /// Give back the room of what was erased, and bring the database's statistics up to date
    Maintain,
    /// Print the configuration in force, secrets masked, with the source of each value
    Config,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of a server")]
struct Flags {
    /// The configuration file [default: pollen.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Serve anonymous users alone also where others reach the server
    #[arg(long, global = true)]
    allow_anonymous: bool,
    /// Set any other key: `--set demo.tokens_per_second=50`
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Flags {
    fn layers(self) -> Layers {
        let file = match self.config {
            Some(path) => (path, FileNeed::Required),
            None => (config::default_file(), FileNeed::Optional),
        };
        let named = [
            ("--listen", "listen", self.listen),
            ("--database-url", "database_url", self.database_url),
        ];
        let mut flags: Vec<(String, String, String)> = self
            .set
            .into_iter()
            .map(|(key, value)| (format!("--set {key}"), key, value))
            .collect();
        for (flag, key, value) in named {
            if let Some(value) = value {
                flags.push((flag.to_owned(), key.to_owned(), value));
            }
        }
        if self.allow_anonymous {
            let (flag, key) = ("--allow-anonymous", "auth.allow_anonymous");
            flags.push((flag.to_owned(), key.to_owned(), "true".to_owned()));
        }
        Layers {
            file: Some(file),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect::<BTreeMap<_, _>>(),
            flags,
        }
    }
}

/// Does what the command line asks for.
///
/// # Errors
/// Whatever keeps it from doing so, in words for the person at the terminal.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let layers = cli.flags.layers();
    match cli.command.unwrap_or(Command::Serve) {
        // What is configured here is not their business.
        Command::Client(command) => return Ok(client::run(command).await),
        Command::Config => print(&config::report(&layers)?),
        Command::Migrate => {
            let config = Config::load(&layers)?;
            init_log(&config.log)?;
            let store = open_store(&config).await?;
            store.close().await?;
            print(&format!("{} is up to date\n", config.database_name()));
        }
        Command::Models => {
            let config = Config::load(&layers)?;
            warn(&config);
            print(&list_models(&config).await?);
        }
        Command::Check => {
            let config = Config::load(&layers)?;
            warn(&config);
            check(&config).await?;
        }
        Command::Backup { file, force } => {
            let config = Config::load(&layers)?;
            warn(&config);
            print(&back_up(&config, &file, force).await?);
        }
        Command::Restore { file } => {
            let config = Config::load(&layers)?;
            warn(&config);
            print(&restore(&config, &file).await?);
        }
        Command::Doctor { json, free_mib } => {
            let diagnosis = Box::pin(doctor(&layers, free_mib.saturating_mul(1 << 20))).await;
            print(&if json {
                serde_json::to_string_pretty(&diagnosis)? + "\n"
            } else {
                diagnosis.to_text()
            });
            anyhow::ensure!(diagnosis.healthy, "there are problems");
        }
        Command::Maintain => {
            let config = Config::load(&layers)?;
            warn(&config);
            print(&maintain(&config).await?);
        }
        Command::Token(command) => {
            let config = Config::load(&layers)?;
            warn(&config);
            access::token(&config, command).await?;
        }
        Command::User(command) => {
            let config = Config::load(&layers)?;
            warn(&config);
            access::user(&config, command).await?;
        }
        Command::Serve => {
            let config = Config::load(&layers)?;
            init_log(&config.log)?;
            serve(&config, &layers.again()).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for each model that somebody of the default tier may use, in columns.
async fn list_models(config: &Config) -> anyhow::Result<String> {
    let models = known_models(config).await?;
    let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![COLUMNS.map(|(title, _)| title.to_owned())];
    rows.extend(models.iter().map(|(model, is_default)| {
        let mark = if *is_default { " (default)" } else { "" };
        [
            format!("{}{mark}", model.id),
            model.name.clone(),
            model.provider.clone(),
            number(model.context_window.map(|tokens| tokens.to_string())),
            number(model.price.map(|price| price.input.to_string())),
            number(model.price.map(|price| price.output.to_string())),
            number(model.tier.clone()),
        ]
    }));
    Ok(aligned(&rows))
}

/// The columns of the list of models, and which of them are numbers.
const COLUMNS: [(&str, bool); 7] = [
    ("ID", false),
    ("NAME", false),
    ("PROVIDER", false),
    ("WINDOW", true),
    ("PRICE IN", true),
    ("PRICE OUT", true),
    ("TIER", false),
];

/// Rows in columns that are as wide as their widest cell, numbers to the right.
fn aligned(rows: &[[String; COLUMNS.len()]]) -> String {
    let cells = |column: usize| rows.iter().map(move |row| row[column].chars().count());
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = cells(column).max().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = if COLUMNS[column].1 {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:width$}  ")
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A line for each model of each provider; an error if one of them cannot be used.
async fn check(config: &Config) -> anyhow::Result<()> {
    let checks = check_providers(config).await?;
    let mut failed = 0;
    for check in &checks {
        let (provider, model) = (&check.provider, &check.model);
        match &check.outcome {
            Ok((first, all)) => print(&format!(
                "ok    {provider} {model}: first token after {} ms, done after {} ms\n",
                first.as_millis(),
                all.as_millis()
            )),
            Err(reason) => {
                failed += 1;
                print(&format!("fail  {provider} {model}: {reason}\n"));
            }
        }
    }
    anyhow::ensure!(failed == 0, "{failed} of {} cannot be used", checks.len());
    Ok(())
}

/// `layers` are read again on SIGHUP.
async fn serve(config: &Config, layers: &Layers) -> anyhow::Result<()> {
    // Closing a terminal sends the same signal to what runs in it, which is to end then.
    let has_terminal = std::io::stdin().is_terminal();
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut app = tokio::select! {
        app = App::start(config) => app?,
        _ = terminate.recv() => anyhow::bail!("told to end before it had started"),
        _ = interrupt.recv() => anyhow::bail!("told to end before it had started"),
    };
    print(&format!("{}\n", app.summary()));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {}
        }
        if has_terminal && !std::io::stdin().is_terminal() {
            break;
        }
        tokio::select! {
            () = Box::pin(app.reload(layers)) => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tokio::select! {
        () = app.leave() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("shutting down; another signal ends at once");
    tokio::select! {
        () = app.shutdown() => Ok(()),
        _ = terminate.recv() => std::process::exit(EXIT_INTERRUPTED),
        _ = interrupt.recv() => std::process::exit(EXIT_INTERRUPTED),
    }
}

/// Libraries that write down what people say, or addresses with the secrets of links: not even when all is logged.
const TALKATIVE: [&str; 2] = ["html5ever", "tower_http::csrf"];

/// Log lines go to standard error: standard output is for what was asked for.
fn init_log(log: &LogConfig) -> anyhow::Result<()> {
    let mut filter = EnvFilter::try_new(&log.filter)?;
    for library in TALKATIVE {
        filter = filter.add_directive(format!("{library}=off").parse()?);
    }
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the command line answers on standard output"
)]
fn print(text: &str) {
    print!("{text}");
}

/// What should be known of the configuration. Commands that do not serve keep no log.
#[expect(
    clippy::print_stderr,
    reason = "warnings are not what was asked for, so they are not on standard output"
)]
fn warn(config: &Config) {
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
}
