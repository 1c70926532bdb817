//! What goes to the disk, by the device's own count of it: the file system's journal and its bookkeeping are in it, and so is
//! what anybody else writes meanwhile.
//!
//! Linux also counts for each process what it has had written, by the pages of the page cache that it made dirty. Those of
//! newer file systems are up to 2 MiB large, so that 8 KiB in the middle of a file count as 256 times as much.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// In which devices count, whatever their own are.
const SECTOR_BYTES: u64 = 512;
/// Of the numbers that a device tells of itself: sectors written.
const WRITTEN: usize = 6;

pub struct Disk {
    directory: PathBuf,
    /// The device's numbers.
    numbers: PathBuf,
}

impl Disk {
    /// The one that the directory is on.
    pub fn behind(directory: &Path) -> Result<Self> {
        let (major, minor) = numbers_of(fs::metadata(directory)?.dev());
        let numbers = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        ensure!(
            numbers.exists(),
            "there is no disk behind {}; name a directory that is on one: --directory",
            directory.display()
        );
        Ok(Self {
            directory: directory.to_owned(),
            numbers,
        })
    }

    /// Bytes that it has written, once all has been that was to be.
    pub async fn written(&self) -> Result<u64> {
        let mut sync = Command::new("sync");
        let synced = sync.arg("-f").arg(&self.directory).status().await?;
        ensure!(synced.success(), "sync: {synced}");
        let numbers = fs::read_to_string(&self.numbers)?;
        let sectors = numbers.split_whitespace().nth(WRITTEN);
        let sectors: u64 = sectors.context("the disk does not tell")?.parse()?;
        Ok(sectors * SECTOR_BYTES)
    }
}

/// Major and minor, as Linux packs them.
fn numbers_of(device: u64) -> (u64, u64) {
    let major = (device >> 8 & 0xfff) | (device >> 32 & !0xfff);
    let minor = (device & 0xff) | (device >> 12 & !0xff);
    (major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_two_numbers() {
        assert_eq!(numbers_of(0xfe00), (254, 0));
        assert_eq!(numbers_of(0x0010_0301), (3, 0x101));
    }
}
