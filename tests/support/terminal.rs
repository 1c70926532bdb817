//! A person at a terminal: a pseudo-terminal with the real binary in it, what it shows (an emulator keeps the screen), and what is typed.

use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex};

use pty_process::{Command, OwnedWritePty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::Notify;

use super::app::PATIENCE;

const ROWS: u16 = 30;
const COLUMNS: u16 = 90;
/// Lines that are kept when they scroll out of the screen.
const SCROLLBACK: usize = 2_000;

/// The terminal. Dropping it kills what runs in it.
pub struct Terminal {
    child: Child,
    keyboard: OwnedWritePty,
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<Seen>,
    news: Notify,
}

struct Seen {
    emulator: vt100::Parser,
    bytes: Vec<u8>,
    is_over: bool,
}

impl Terminal {
    /// The binary with these arguments, in this directory, which is the home too.
    pub fn start(dir: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let (pty, pts) = pty_process::open().unwrap();
        pty.resize(Size::new(ROWS, COLUMNS)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pollen"))
            .args(arguments)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir)
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .kill_on_drop(true)
            .spawn(pts)
            .unwrap();
        let (mut output, keyboard) = pty.into_split();
        let size = |n| NonZero::new(n).unwrap();
        let shared = Arc::new(Shared {
            seen: Mutex::new(Seen {
                emulator: vt100::Parser::new(size(ROWS), size(COLUMNS), SCROLLBACK),
                bytes: Vec::new(),
                is_over: false,
            }),
            news: Notify::new(),
        });
        let to = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut part = [0; 4096];
            loop {
                // The end of a pseudo-terminal is an error.
                let length = output.read(&mut part).await.unwrap_or(0);
                {
                    let mut seen = to.seen.lock().unwrap();
                    seen.emulator.process(&part[..length]);
                    seen.bytes.extend(&part[..length]);
                    seen.is_over = length == 0;
                }
                to.news.notify_waiters();
                if length == 0 {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard,
            shared,
        }
    }

    pub async fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).await.unwrap();
        self.keyboard.flush().await.unwrap();
    }

    /// What is on the screen, and what has scrolled out of it.
    pub fn text(&self) -> String {
        let mut seen = self.shared.seen.lock().unwrap();
        let screen = seen.emulator.screen_mut();
        screen.set_scrollback(usize::MAX);
        let above = screen.scrollback();
        let mut lines = Vec::new();
        for back in (1..=above).rev() {
            screen.set_scrollback(back);
            lines.extend(screen.rows(0, COLUMNS).next());
        }
        screen.set_scrollback(0);
        lines.extend(screen.rows(0, COLUMNS));
        lines.join("\n").trim_end().to_owned()
    }

    /// All bytes that came, as text.
    pub fn bytes(&self) -> String {
        let seen = self.shared.seen.lock().unwrap();
        String::from_utf8_lossy(&seen.bytes).into_owned()
    }

    /// Whether the words stand on the screen in bold.
    pub fn is_bold(&self, words: &str) -> bool {
        let seen = self.shared.seen.lock().unwrap();
        let screen = seen.emulator.screen();
        (0..ROWS).any(|row| {
            let text = screen.rows(0, COLUMNS).nth(row.into()).unwrap_or_default();
            // The tests' words stand behind ASCII.
            text.find(words).is_some_and(|at| {
                let column = u16::try_from(text[..at].chars().count()).unwrap();
                screen.cell(row, column).is_some_and(vt100::Cell::bold)
            })
        })
    }

    /// Waits until the terminal looks so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let news = self.shared.news.notified();
                tokio::pin!(news);
                // Registered before the look, so that no news is missed.
                news.as_mut().enable();
                if is_so(self) {
                    return true;
                }
                if self.shared.seen.lock().unwrap().is_over {
                    return is_so(self);
                }
                news.await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        assert!(
            found == Ok(true),
            "waited in vain: {what}; the terminal shows\n{}\nand got\n{:?}",
            self.text(),
            self.bytes()
        );
    }

    /// Waits until the words are on the screen, or have been.
    pub async fn shows(&self, words: &str) {
        self.until(words, |terminal| terminal.text().contains(words))
            .await;
    }

    /// Waits until these bytes have come, be they painted over since.
    pub async fn has_had(&self, words: &str) {
        self.until(words, |terminal| terminal.bytes().contains(words))
            .await;
    }

    /// Waits for the end; the exit status.
    pub async fn ends(&mut self) -> i32 {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let Ok(status) = status else {
            panic!("it does not end; the terminal shows\n{}", self.text());
        };
        // What it wrote last is read too.
        self.until("the end", |terminal| {
            terminal.shared.seen.lock().unwrap().is_over
        })
        .await;
        status.unwrap().code().unwrap_or(-1)
    }
}
