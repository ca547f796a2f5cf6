//! Where a service keeps its files, and as whom it runs.
//!
//! Everything lies under `target/services` of the workspace. A test's own folder goes with the variable that holds it; what a killed
//! process left behind is removed by the next one that makes a folder, which knows it by its lock: the kernel releases that.

use super::trouble::ServiceError;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const TEMPORARY: &str = "run-";

/// `target/services` of the workspace.
pub(crate) fn root() -> Result<PathBuf, ServiceError> {
    let root = workspace().join("target/services");
    std::fs::create_dir_all(&root).map_err(ServiceError::io(format!("make the folder {root:?}")))?;
    Ok(root)
}

/// A file of `scripts/`.
pub(crate) fn script(name: &str) -> PathBuf {
    workspace().join("scripts").join(name)
}

/// The one that this program is run in. The one that it was compiled in comes last: a build folder that several checkouts share,
/// or a cache of one, leaves what another of them compiled.
fn workspace() -> PathBuf {
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let starts = [crate_folder, std::env::current_dir().ok(), Some(env!("CARGO_MANIFEST_DIR").into())];
    let mut folders = starts.iter().flatten().flat_map(|start| start.ancestors());
    let found = folders.find(|folder| folder.join("scripts/kafka.sha256").exists());
    found.map_or_else(|| ".".into(), Path::to_owned)
}

/// An exclusive lock, for as long as the file is held; waits for it.
pub(crate) fn lock(path: &Path) -> Result<File, ServiceError> {
    let locked = File::create(path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(ServiceError::io(format!("lock {path:?}")))
}

/// A folder for one run of a service, removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
    _lock: File,
}

impl Folder {
    /// `user` can write into it. When `target/services` can't be reached by that user, since a home above it is closed, it is a
    /// folder among the system's temporary ones.
    pub(crate) fn new(user: Option<&User>) -> Result<Self, ServiceError> {
        Self::under(&root()?, user)
    }

    fn under(root: &Path, user: Option<&User>) -> Result<Self, ServiceError> {
        // A folder that is not locked yet must not be swept away by somebody else.
        let _one_at_a_time = lock(&root.join("lock"))?;
        sweep(root);
        let folder = Self::within(root, user)?;
        match user {
            Some(user) if !user.can_write(folder.path()) => Self::within(&std::env::temp_dir(), Some(user)),
            _ => Ok(folder),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn within(root: &Path, user: Option<&User>) -> Result<Self, ServiceError> {
        let made = || {
            let folder = TempDir::with_prefix_in(TEMPORARY, root)?;
            let lock = File::create(folder.path().join("lock"))?;
            lock.lock()?;
            if let Some(user) = user {
                chown(folder.path(), Some(user.uid), Some(user.gid))?;
            }
            Ok(Self { folder, _lock: lock })
        };
        made().map_err(ServiceError::io(format!("make a folder in {root:?}")))
    }
}

/// Removes the folders whose owners are gone. What can't be removed stays, for the next one.
fn sweep(root: &Path) {
    let Ok(entries) = root.read_dir() else { return };
    for path in entries.flatten().map(|e| e.path()) {
        let temporary = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(TEMPORARY));
        let free = || File::open(path.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
        if temporary && free() {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// A folder whose content stays. One process has it at a time.
#[derive(Debug)]
pub struct Lasting {
    path: PathBuf,
    _lock: File,
}

impl Lasting {
    /// The folder of `make services`: `target/services/dev`.
    ///
    /// # Errors
    /// When another process has it.
    pub fn dev() -> Result<Self, ServiceError> {
        Self::open(&root()?.join("dev"))
    }

    /// # Errors
    /// When another process has it.
    pub fn open(path: &Path) -> Result<Self, ServiceError> {
        let made = std::fs::create_dir_all(path).and_then(|()| path.canonicalize());
        let path = made.map_err(ServiceError::io(format!("make the folder {path:?}")))?;
        let lock = File::create(path.join("lock")).map_err(ServiceError::io(format!("lock {path:?}")))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ServiceError::InUse { folder: path }),
            Err(TryLockError::Error(cause)) => Err(ServiceError::io(format!("lock {path:?}"))(cause)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it that `user` can write.
    pub(crate) fn part(&self, name: &str, user: Option<&User>) -> Result<PathBuf, ServiceError> {
        let path = self.path.join(name);
        let made = std::fs::create_dir_all(&path)
            .and_then(|()| user.map_or(Ok(()), |user| chown(&path, Some(user.uid), Some(user.gid))));
        made.map_err(ServiceError::io(format!("make the folder {path:?}")))?;
        match user {
            Some(user) if !user.can_write(&path) => Err(ServiceError::Missing {
                what: format!("a way to {path:?} for the user {}", user.name),
                remedy: "a server does not run as root; move the checkout, or open the folders above it (chmod o+x)"
                    .into(),
            }),
            _ => Ok(path),
        }
    }
}

/// Whom a server runs as that refuses to be root.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// `None` when this process is not root, and the server runs as it does.
    pub(crate) fn unprivileged() -> Result<Option<Self>, ServiceError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let accounts = std::fs::read_to_string("/etc/passwd").map_err(ServiceError::io("read /etc/passwd"))?;
        let find = |name: &str| accounts.lines().find_map(|line| Self::parse(line).filter(|u| u.name == name));
        find("postgres").or_else(|| find("nobody")).map(Some).ok_or_else(|| ServiceError::Missing {
            what: "a user to run PostgreSQL as".into(),
            remedy: "it does not run as root; install it (Debian: apt-get install postgresql), which makes one".into(),
        })
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        Some(Self { name, uid, gid: fields.next()?.parse().ok()? })
    }

    /// The arguments of `setpriv` that make a program theirs.
    pub(crate) fn setpriv(&self) -> [String; 3] {
        [format!("--reuid={}", self.uid), format!("--regid={}", self.gid), "--clear-groups".into()]
    }

    fn can_write(&self, folder: &Path) -> bool {
        let tried = |mut command: Command| -> io::Result<bool> {
            Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
        };
        let mut command = Command::new("setpriv");
        command.args(self.setpriv()).args(["test", "-w"]).arg(folder);
        tried(command).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_is_in_use_is_not() {
        let root = TempDir::new().unwrap();
        let left = root.path().join("run-left");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("lock"), "").unwrap();
        let other = root.path().join("other");
        std::fs::create_dir(&other).unwrap();
        let first = Folder::under(root.path(), None).unwrap();
        let second = Folder::under(root.path(), None).unwrap();
        assert!(!left.exists() && other.exists());
        assert!(first.path().exists() && second.path().exists());
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists() && second.path().exists());
    }

    #[test]
    fn a_user_who_can_not_get_there_gets_a_folder_elsewhere() {
        // Closed to all but its owner, as the homes above a checkout may be.
        let root = TempDir::new().unwrap();
        std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let user = User::unprivileged().unwrap();
        let folder = Folder::under(root.path(), user.as_ref()).unwrap();
        assert_eq!(folder.path().starts_with(root.path()), user.is_none());
        assert!(user.is_none_or(|user| user.can_write(folder.path())));
    }

    #[test]
    fn accounts_are_read() {
        let user = User::parse("postgres:x:103:112:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash").unwrap();
        assert_eq!((user.name.as_str(), user.uid, user.gid), ("postgres", 103, 112));
        assert!(User::parse("").is_none());
    }
}
