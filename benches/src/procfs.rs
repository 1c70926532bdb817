//! What Linux tells of a process: its CPU time, its memory and its threads. Asked for from outside, so that the server that
//! is measured has nothing in it for being measured.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Linux tells processes' times in hundredths of a second, whatever it counts in itself.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of all threads, those that have ended among them: user's and kernel's together.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = read(pid, "stat")?;
    // The name, in brackets, may have spaces; the fields behind it have none. utime and stime are 14 and 15.
    let fields = stat.rsplit_once(')').context("no name in stat")?.1;
    let ticks: u32 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u32>().ok())
        .sum();
    Ok(TICK * ticks)
}

/// What a process uses from a moment on, and what others use of its core.
pub struct Usage {
    pid: u32,
    core: Option<u32>,
    own: Duration,
    busy: Duration,
}

/// CPU time.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub own: Duration,
    /// Of its core, by everybody else. Nothing where it has no core to itself.
    pub others: Duration,
}

impl Usage {
    pub fn begin(pid: u32, core: Option<u32>) -> Result<Self> {
        Ok(Self {
            pid,
            core,
            own: cpu_time(pid)?,
            busy: core.map_or(Ok(Duration::ZERO), core_busy)?,
        })
    }

    pub fn end(&self) -> Result<Used> {
        let own = cpu_time(self.pid)?.saturating_sub(self.own);
        let busy = self.core.map_or(Ok(Duration::ZERO), core_busy)?;
        Ok(Used {
            own,
            others: busy.saturating_sub(self.busy).saturating_sub(own),
        })
    }
}

/// Whether it has ended, and nobody has waited for it yet.
pub fn has_ended(pid: u32) -> Result<bool> {
    let stat = read(pid, "stat")?;
    let state = stat.rsplit_once(") ").context("no name in stat")?.1;
    Ok(state.starts_with('Z'))
}

/// What a core has been busy with since the machine's start, whoever it was for.
pub fn core_busy(core: u32) -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name));
    // user nice system idle iowait irq softirq steal
    let ticks: Vec<u32> = line
        .context("no such core")?
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let busy = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|field| ticks.get(*field));
    Ok(TICK * busy.sum())
}

/// Resident memory in bytes: the program's own pages, as far as they have been used, among them.
pub fn resident(pid: u32) -> Result<u64> {
    Ok(field(&read(pid, "status")?, "VmRSS:")? * 1_024)
}

/// Of each thread with a name that begins so, by its id: how often it went to sleep of its own accord. One that has
/// been given something to do has been asleep before.
pub fn sleeps(pid: u32, name: &str) -> Result<HashMap<u32, u64>> {
    let mut found = HashMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = thread?.path();
        let is_one = fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with(name));
        let id = path.file_name().and_then(|id| id.to_str()?.parse().ok());
        if let (true, Some(id)) = (is_one, id) {
            let status = fs::read_to_string(path.join("status"))?;
            found.insert(id, field(&status, "voluntary_ctxt_switches:")?);
        }
    }
    Ok(found)
}

/// Files that this process may have open.
pub fn open_files() -> Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
        .context("no limit of open files")
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| path)
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no {name} there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_time_and_threads() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 100_000);
        assert!(cpu_time(pid).unwrap() < Duration::from_hours(1));
        assert!(sleeps(pid, "").unwrap().contains_key(&pid));
    }

    #[test]
    fn a_field_is_the_number_behind_its_name() {
        let text = "rchar: 1\nwrite_bytes: 4096\n";
        assert_eq!(field(text, "write_bytes:").unwrap(), 4_096);
        assert!(field(text, "none:").is_err());
    }
}
