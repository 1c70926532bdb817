//! Proxies of Debian's packages as they are, each with a configuration of `configurations/`: in the foreground, on
//! loopback, with all their files in a directory of their own, and never as root.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command as StdCommand, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::support::app::PATIENCE;
use crate::support::ports::free_port;

/// Another program may take the free port before the proxy does.
const TRIES: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
pub const WITHOUT_SETPRIV: &str =
    "setpriv is missing: install Debian's package `util-linux` (./scripts/test.sh does)";
/// Debian's `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;
/// Longer than a proxy holds anything back.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);

/// A program that stands between client and server.
pub struct Kind {
    /// Debian's package, and the program in it.
    pub package: &'static str,
    pub program: &'static str,
    /// `{conf}` is the configuration's file, `{dir}` the directory, `{port}` where to listen.
    pub arguments: &'static [&'static str],
    pub configuration: &'static str,
    /// Whether clients have to be told of it.
    pub is_forward: bool,
    /// Whether it gives up after a second, which a busy machine may well take for a request: that is asked again then.
    pub is_impatient: bool,
}

impl Kind {
    /// The program, which has this directory to itself. It is not root, and whatever becomes of this process, it does not
    /// outlive it.
    pub fn command(&self, dir: &Path) -> Command {
        assert!(
            Path::new(self.program).exists(),
            "{} is missing: install Debian's package `{}` (./scripts/test.sh does)",
            self.program,
            self.package
        );
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL");
        if is_root() {
            chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
            let nobody = NOBODY.to_string();
            command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
        }
        command
            .args(["--", self.program])
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// A client's way to the servers.
#[derive(Clone, Debug)]
pub struct Way {
    /// Where Pollen is for the client.
    pub base: String,
    /// Where the stream is.
    pub stream: String,
    /// The forward proxy that it has to ask.
    pub proxy: Option<String>,
}

impl Way {
    /// Past everything.
    pub fn direct(pollen: u16, streams: u16) -> Self {
        Self {
            base: format!("http://127.0.0.1:{pollen}"),
            stream: format!("http://127.0.0.1:{streams}/sse"),
            proxy: None,
        }
    }

    /// Through a reverse proxy, which tells the servers apart by the path.
    pub fn through(port: u16) -> Self {
        let base = format!("http://127.0.0.1:{port}");
        let stream = format!("{base}/sse");
        Self {
            base,
            stream,
            proxy: None,
        }
    }

    /// A client that goes this way. It takes gzip, as browsers do.
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests' own client, on loopback"
    )]
    pub fn client(&self) -> reqwest::Client {
        let client = reqwest::Client::builder()
            .no_proxy()
            .gzip(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_LIMIT)
            .tls_certs_only([]);
        let client = match &self.proxy {
            Some(proxy) => client.proxy(reqwest::Proxy::http(proxy).unwrap()),
            None => client,
        };
        client.build().unwrap()
    }
}

/// A running proxy. Dropping it kills it, by its own process id, also where a test panics.
pub struct Intermediary {
    pub way: Way,
    _child: Child,
    dir: TempDir,
}

impl Intermediary {
    /// A file that it has written.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    /// Starts it before servers at these ports, and waits until it takes connections.
    pub async fn start(kind: &Kind, pollen: u16, streams: u16) -> Self {
        let mut said = String::new();
        for _ in 0..TRIES {
            let port = free_port();
            let dir = tempfile::tempdir().unwrap();
            let mut child = spawn(kind, dir.path(), (port, pollen, streams));
            if is_up(&mut child, port).await {
                let way = if kind.is_forward {
                    Way {
                        proxy: Some(format!("http://127.0.0.1:{port}")),
                        ..Way::direct(pollen, streams)
                    }
                } else {
                    Way::through(port)
                };
                return Self {
                    way,
                    _child: child,
                    dir,
                };
            }
            for file in ["said", "log"] {
                said += &fs::read_to_string(dir.path().join(file)).unwrap_or_default();
            }
        }
        panic!("{} did not start: {said}", kind.program);
    }
}

fn spawn(kind: &Kind, dir: &Path, (port, pollen, streams): (u16, u16, u16)) -> Child {
    let conf = dir.join("conf");
    let (dir_text, conf_text) = (dir.display().to_string(), conf.display().to_string());
    let fill = |text: &str| {
        text.replace("{dir}", &dir_text)
            .replace("{conf}", &conf_text)
            .replace("{port}", &port.to_string())
            .replace("{pollen}", &pollen.to_string())
            .replace("{sse}", &streams.to_string())
    };
    fs::write(&conf, fill(kind.configuration)).unwrap();
    let said = File::create(dir.join("said")).unwrap();
    kind.command(dir)
        .args(kind.arguments.iter().map(|argument| fill(argument)))
        .stdout(said.try_clone().unwrap())
        .stderr(said)
        .spawn()
        .expect(WITHOUT_SETPRIV)
}

fn is_root() -> bool {
    let id = StdCommand::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Waits until it takes connections. False: it has ended.
async fn is_up(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return true;
        }
        assert!(
            Instant::now() < deadline,
            "it neither listens at {port} nor ends"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    false
}
