//! The commands that are clients of a server, this one or any other: `ask`, `chat`, `tail`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use crate::terminal::{self, Ask, Colour, Server, Tail, Talk};

/// Where a server listens that nobody has told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Ask a server one question and print the answer
    Ask(Box<AskFlags>),
    /// Talk with a server's models in the terminal
    Chat(Box<ChatFlags>),
    /// Follow a chat on a server as it grows
    Tail(Box<TailFlags>),
}

/// Does what the command says; the exit status is told in docs/CLIENT.md.
pub(super) async fn run(command: ClientCommand) -> ExitCode {
    let outcome = match command {
        ClientCommand::Ask(flags) => Box::pin(terminal::ask((*flags).into())).await,
        ClientCommand::Chat(flags) => Box::pin(terminal::chat((*flags).into())).await,
        ClientCommand::Tail(flags) => Box::pin(terminal::tail((*flags).into())).await,
    };
    ExitCode::from(outcome.exit_status())
}

#[derive(Debug, Args)]
struct ServerFlags {
    /// The server's address
    #[arg(long, env = "POLLEN_URL", value_name = "URL", default_value = DEFAULT_URL)]
    url: String,
    /// A token, for servers that ask for one. The variable keeps it out of the list of processes
    #[arg(
        long,
        env = "POLLEN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// Send the token over plain http too, where everybody on the way can read it
    #[arg(long)]
    insecure: bool,
    /// Seconds to wait for a server that has gone away in the middle [default: 300; a conversation waits for ever]
    #[arg(long, value_name = "SECONDS")]
    patience: Option<u64>,
}

#[derive(Debug, Args)]
struct LookFlags {
    /// Show the text as it was written, not rendered
    #[arg(long)]
    raw: bool,
    /// Colours
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColourChoice::Auto)]
    color: ColourChoice,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ColourChoice {
    Auto,
    Always,
    Never,
}

impl From<ColourChoice> for Colour {
    fn from(choice: ColourChoice) -> Self {
        match choice {
            ColourChoice::Auto => Self::Auto,
            ColourChoice::Always => Self::Always,
            ColourChoice::Never => Self::Never,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct AskFlags {
    /// The question. Standard input is put behind it, if something is piped in, or is the question if there is none here
    question: Option<String>,
    /// Go on with this chat
    #[arg(long, value_name = "ID")]
    chat: Option<Uuid>,
    /// The model that answers; `pollen chat` completes their names
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The agent of a new chat
    #[arg(long, value_name = "ALIAS", conflicts_with = "chat")]
    agent: Option<String>,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
    /// Print nothing but the answer
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    look: LookFlags,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Debug, Args)]
pub(super) struct ChatFlags {
    /// The chat to go on with [default: a new one]
    #[arg(value_name = "CHAT")]
    chat: Option<Uuid>,
    /// The model that answers
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The agent of a new chat
    #[arg(long, value_name = "ALIAS", conflicts_with = "chat")]
    agent: Option<String>,
    #[command(flatten)]
    look: LookFlags,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Debug, Args)]
pub(super) struct TailFlags {
    /// The chat to follow
    #[arg(value_name = "CHAT")]
    chat: Uuid,
    /// Messages to show that are there already
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Print a JSON object a line for each message that is over
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    look: LookFlags,
    #[command(flatten)]
    server: ServerFlags,
}

/// How long a command that has an end waits for a server that is away.
const PATIENCE: Duration = Duration::from_mins(5);

impl ServerFlags {
    fn into_server(self, patience: Option<Duration>) -> Server {
        Server {
            url: self.url,
            token: self.token,
            insecure: self.insecure,
            patience: self.patience.map(Duration::from_secs).or(patience),
        }
    }
}

impl From<AskFlags> for Ask {
    fn from(flags: AskFlags) -> Self {
        Self {
            server: flags.server.into_server(Some(PATIENCE)),
            question: flags.question,
            chat: flags.chat,
            model: flags.model,
            agent: flags.agent,
            json: flags.json,
            raw: flags.look.raw,
            quiet: flags.quiet,
            colour: flags.look.color.into(),
        }
    }
}

impl From<ChatFlags> for Talk {
    fn from(flags: ChatFlags) -> Self {
        Self {
            server: flags.server.into_server(None),
            chat: flags.chat,
            model: flags.model,
            agent: flags.agent,
            raw: flags.look.raw,
            colour: flags.look.color.into(),
        }
    }
}

impl From<TailFlags> for Tail {
    fn from(flags: TailFlags) -> Self {
        Self {
            server: flags.server.into_server(None),
            chat: flags.chat,
            lines: flags.lines,
            json: flags.json,
            raw: flags.look.raw,
            colour: flags.look.color.into(),
        }
    }
}
