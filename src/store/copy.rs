//! Copies of a database that is one file: made while a server writes to it, and brought back while none does.
//!
//! A copy is written under another name first, looked through, and only then given its name: whatever goes wrong on the
//! way leaves what was there. SQLite writes it anew (`VACUUM INTO`), as of one moment, without what was deleted, and
//! without keeping any writer waiting.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};

use super::StoreError;
use super::dialect::{Access, Dialect, FileCare};
use super::lock::FileLock;
use super::schema::{Schema, schema_of};

/// What SQLite keeps beside a file that is in use, or was when its process was killed.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// How a file is looked after.
type Care = (Dialect, FileCare);

/// Why there is no copy, or nothing was brought back, in words for whoever asked for it.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("the database is not a file: its own tools make copies of it")]
    NoFile,
    #[error("{path} is there already: name another file, or add --force")]
    Exists { path: String },
    #[error("{path} is the database itself: name another file")]
    Itself { path: String },
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error(
        "{path} is not a database of SQLite's, or its beginning is damaged: take another copy ({reason})"
    )]
    NoDatabase { path: String, reason: String },
    #[error("{path} is damaged: take another copy (SQLite says: {complaint})")]
    Damaged { path: String, complaint: String },
    #[error("{path} is a database of SQLite's, but not one of Pollen's")]
    Foreign { path: String },
    #[error(
        "{path} was written by a newer Pollen than this one, {version}: it has {newest}. Restore it with that one",
        version = env!("CARGO_PKG_VERSION")
    )]
    Newer { path: String, newest: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A copy that is in its place.
#[derive(Clone, Debug)]
pub struct Copied {
    pub bytes: u64,
    /// Migrations that the next start of this program brings to it.
    pub behind: usize,
}

/// A copy that has been brought back.
#[derive(Clone, Debug)]
pub struct Restored {
    pub copied: Copied,
    /// Where the database that was there is now; none: there was none.
    pub before: Option<PathBuf>,
}

/// Copies the database of this URL to `target`, beside a server that may be running on it.
///
/// # Errors
/// If it is no file, or there is one at `target` that is not to be replaced, or it cannot be copied.
pub async fn back_up(url: &str, target: &Path, replace: bool) -> Result<Copied, CopyError> {
    let (file, care) = file_of(url)?;
    let exists = || CopyError::Exists {
        path: shown(target),
    };
    if is_same(&file, target) {
        return Err(CopyError::Itself {
            path: shown(target),
        });
    }
    if !replace && target.exists() {
        return Err(exists());
    }
    let part = Part::beside(target)?;
    // As a server has it: one that only reads would leave files beside it.
    let behind = copy(&file, Access::ReadWrite, &part, care).await?;
    if !replace && target.exists() {
        return Err(exists());
    }
    let bytes = part.put(target)?;
    Ok(Copied { bytes, behind })
}

/// Puts a copy in the place of the database of this URL. What was there is kept beside it, under a name that ends with
/// `stamp`.
///
/// # Errors
/// If a server uses the database, or the copy is damaged, another program's or a newer one's. Then nothing has changed.
pub async fn restore(url: &str, source: &Path, stamp: &str) -> Result<Restored, CopyError> {
    let (file, care) = file_of(url)?;
    if is_same(&file, source) {
        return Err(CopyError::Itself {
            path: shown(source),
        });
    }
    let _lock = FileLock::take(&shown(&file))?;
    let part = Part::beside(&file)?;
    let behind = copy(source, Access::ReadOnly, &part, care).await?;
    let before = with_ending(&file, &format!(".before-restore-{stamp}"));
    let is_there = file.exists();
    if is_there {
        rename(&file, &before)?;
    }
    for ending in BESIDE {
        let beside = with_ending(&file, ending);
        if beside.exists() {
            rename(&beside, &with_ending(&before, ending))?;
        }
    }
    let bytes = part.put(&file)?;
    Ok(Restored {
        copied: Copied { bytes, behind },
        before: is_there.then_some(before),
    })
}

/// The file of a URL, and how it is looked after.
fn file_of(url: &str) -> Result<(PathBuf, Care), CopyError> {
    let dialect = Dialect::of(url)?;
    let file = dialect.file(url).ok_or(CopyError::NoFile)?;
    let care = dialect.care().ok_or(CopyError::NoFile)?;
    Ok((PathBuf::from(file.into_owned()), (dialect, care)))
}

/// Copies a file, if it and its copy are what they should be. How many migrations it lacks.
async fn copy(from: &Path, access: Access, part: &Part, care: Care) -> Result<usize, CopyError> {
    let behind = look_through(from, access, care, async |connection| {
        let copy = Statement::from_sql_and_values(
            connection.get_database_backend(),
            care.1.copy,
            [shown(&part.path).into()],
        );
        connection.execute_raw(copy).await.map(drop)
    })
    .await?;
    look_through(&part.path, Access::ReadOnly, care, async |_| Ok(())).await?;
    Ok(behind)
}

/// Opens a file, sees that it is sound and one of ours, and does something with it.
async fn look_through(
    path: &Path,
    access: Access,
    (dialect, care): Care,
    then: impl AsyncFnOnce(&DatabaseConnection) -> Result<(), DbErr>,
) -> Result<usize, CopyError> {
    let name = shown(path);
    File::open(path).map_err(|source| CopyError::File {
        path: name.clone(),
        source,
    })?;
    let no_database = |error: DbErr| CopyError::NoDatabase {
        path: name.clone(),
        reason: error.to_string(),
    };
    let connection = care.open(path, access).await.map_err(no_database)?;
    let seen = async {
        let complaint = first_complaint(&connection, care.check)
            .await
            .map_err(no_database)?;
        if let Some(complaint) = complaint {
            return Err(CopyError::Damaged {
                path: name.clone(),
                complaint,
            });
        }
        let behind = match schema_of(&connection, dialect).await? {
            Schema::Current => 0,
            Schema::Behind(behind) => behind,
            Schema::Newer(newest) => {
                return Err(CopyError::Newer {
                    path: name.clone(),
                    newest,
                });
            }
            Schema::Empty | Schema::Foreign => {
                return Err(CopyError::Foreign { path: name.clone() });
            }
        };
        then(&connection).await.map_err(StoreError::from)?;
        Ok(behind)
    };
    let seen = seen.await;
    connection.close().await.map_err(StoreError::from)?;
    seen
}

/// What a check of the whole file complains of first.
pub(super) async fn first_complaint(
    connection: &DatabaseConnection,
    check: &str,
) -> Result<Option<String>, DbErr> {
    let check = Statement::from_string(connection.get_database_backend(), check);
    let Some(row) = connection.query_one_raw(check).await? else {
        return Ok(None);
    };
    let said: String = row.try_get_by_index(0)?;
    Ok((said != "ok").then_some(said))
}

/// A file under a name of its own, for its owner alone; gone when it is dropped before it was put in its place.
struct Part {
    path: PathBuf,
}

impl Part {
    fn beside(target: &Path) -> Result<Self, CopyError> {
        let ending = format!(".part-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = with_ending(target, &ending);
        // An empty file is an empty database, to which SQLite may copy.
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(|source| CopyError::File {
            path: shown(&path),
            source,
        })?;
        Ok(Self { path })
    }

    /// Its size in bytes. What was there is replaced; the new is on the disk when this returns.
    fn put(self, target: &Path) -> Result<u64, CopyError> {
        let put = || {
            let file = File::open(&self.path)?;
            file.sync_all()?;
            fs::rename(&self.path, target)?;
            let parent = target
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(file.metadata()?.len())
        };
        put().map_err(|source| CopyError::File {
            path: shown(target),
            source,
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Nothing is there any more where it has been put in its place.
        let _ = fs::remove_file(&self.path);
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), CopyError> {
    fs::rename(from, to).map_err(|source| CopyError::File {
        path: shown(from),
        source,
    })
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
