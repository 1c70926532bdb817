//! What is kept between two runs: who an anonymous client was for a server, and what was typed. Files of the user's alone,
//! in `$XDG_STATE_HOME/pollen` or `~/.local/state/pollen`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The directory; made when the first file is.
#[derive(Clone, Debug)]
pub(super) struct State {
    directory: PathBuf,
}

impl State {
    /// None where nobody has a home.
    pub fn find() -> Option<Self> {
        let absolute = |name: &str| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let base = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local").join("state")))?;
        Some(Self {
            directory: base.join("pollen"),
        })
    }

    fn session_file(&self, address: &str) -> PathBuf {
        let name = utf8_percent_encode(address, NON_ALPHANUMERIC);
        self.directory.join(format!("session-{name}"))
    }

    /// Who an anonymous client was for this server.
    pub fn session(&self, address: &str) -> Option<String> {
        let text = fs::read_to_string(self.session_file(address)).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Keeps that. Whoever reads at the same time reads the one or the other.
    pub fn keep_session(&self, address: &str, session: &str) -> io::Result<()> {
        self.make_directory()?;
        let file = self.session_file(address);
        let beside = file.with_extension(format!("new-{}", std::process::id()));
        let _ = fs::remove_file(&beside);
        let mut options = OpenOptions::new();
        let mut new = options
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&beside)?;
        new.write_all(session.as_bytes())?;
        fs::rename(&beside, &file)
    }

    /// The file of what was typed, which is there afterwards.
    pub fn history(&self) -> io::Result<PathBuf> {
        self.make_directory()?;
        let file = self.directory.join("history");
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .open(&file)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(FILE_MODE))?;
        Ok(file)
    }

    fn make_directory(&self) -> io::Result<()> {
        let parent = self.directory.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent)?;
        let mut builder = DirBuilder::new();
        match builder.mode(DIRECTORY_MODE).create(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }
}
