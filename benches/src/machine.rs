//! The machine that is measured on: which cores are for whom, and what has to be known of it to make anything of the
//! figures.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Whom a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What is measured, and what it is compared with: a core of its own.
    Server,
    /// What asks, and the model: all other cores.
    Load,
    /// Wherever there is room.
    Anywhere,
}

/// Cores, as `taskset` wants them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cores {
    server: String,
    load: String,
    all: String,
}

/// None: there is one core only, or no `taskset`, and processes run where they like.
#[derive(Clone, Debug)]
pub struct Pinning(Option<Cores>);

impl Pinning {
    /// Looks what there is, and takes this process and what it starts from the server's core.
    pub fn set_up() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let allowed = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .context("no Cpus_allowed_list")?;
        let pinning = Self(Cores::of(&cores(allowed.trim())).filter(|_| has_taskset()));
        if let Some(cores) = &pinning.0 {
            let own = std::process::id().to_string();
            let moved = Command::new("taskset")
                .args(["-a", "-c", "-p", &cores.load, &own])
                .output()?;
            anyhow::ensure!(moved.status.success(), "taskset failed");
        }
        Ok(pinning)
    }

    /// What comes before a program's name to run it there.
    pub fn prefix(&self, place: Place) -> Vec<String> {
        let Some(cores) = &self.0 else {
            return Vec::new();
        };
        let list = match place {
            Place::Server => &cores.server,
            Place::Load => &cores.load,
            Place::Anywhere => &cores.all,
        };
        ["taskset", "-c", list].map(str::to_owned).to_vec()
    }

    /// Whether what is at this place has one core to itself.
    pub fn is_one_core(&self, place: Place) -> bool {
        place == Place::Server && self.0.is_some()
    }

    /// The core that only the server should use.
    pub fn server_core(&self) -> Option<u32> {
        self.0.as_ref()?.server.parse().ok()
    }

    pub fn story(&self) -> String {
        match &self.0 {
            Some(cores) => format!(
                "pinned: the server, or what it is compared with, on core {}; the load and the model on {}",
                cores.server, cores.load
            ),
            None => {
                "not pinned: one core only, or no `taskset`; figures of the server include the disturbance by the load"
                    .to_owned()
            }
        }
    }
}

impl Cores {
    fn of(cores: &[u32]) -> Option<Self> {
        let (first, others) = cores.split_first()?;
        let list = |cores: &[u32]| {
            let names: Vec<String> = cores.iter().map(ToString::to_string).collect();
            names.join(",")
        };
        (!others.is_empty()).then(|| Self {
            server: first.to_string(),
            load: list(others),
            all: list(cores),
        })
    }
}

/// "0-2,5" is 0, 1, 2, 5.
fn cores(list: &str) -> Vec<u32> {
    list.split(',')
        .filter_map(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            Some(from.parse().ok()?..=to.parse().ok()?)
        })
        .flatten()
        .collect()
}

fn has_taskset() -> bool {
    Command::new("taskset").arg("-V").output().is_ok()
}

/// What the figures were got on and of.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    pub cpu: String,
    pub cores: usize,
    pub memory_mib: u64,
    pub kernel: String,
    pub rustc: String,
    pub revision: String,
    pub date: String,
    pub server_bytes: u64,
}

impl Facts {
    pub fn gather(server: &Path) -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kib = value(&memory, "MemTotal").unwrap_or_default();
        let kib: u64 = kib.trim_end_matches(" kB").parse().unwrap_or(0);
        Ok(Self {
            cpu: value(&cpus, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: cpus.lines().filter(|l| l.starts_with("processor")).count(),
            memory_mib: kib / 1_024,
            kernel: said("uname", &["-sr"]),
            rustc: said("rustc", &["--version"]),
            revision: said("git", &["describe", "--always", "--dirty"]),
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            server_bytes: fs::metadata(server)
                .with_context(|| format!("there is no server at {}", server.display()))?
                .len(),
        })
    }
}

/// The line that a program says, or that it is not there.
fn said(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_core_is_the_servers_and_the_others_are_for_the_load() {
        let found = Cores::of(&cores("0-2,5")).unwrap();
        assert_eq!((found.server.as_str(), found.load.as_str()), ("0", "1,2,5"));
        assert_eq!(found.all, "0,1,2,5");
        assert_eq!(Cores::of(&cores("3")), None, "nothing to share out");
    }
}
