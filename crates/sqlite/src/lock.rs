//! One Lapwing a file: an advisory lock on a file beside the database, released by the system however the process ends.
//!
//! Not on the database itself: SQLite's own locks are the process's, and closing any descriptor of that file would drop them.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

pub(crate) enum NoLock {
    /// By the process with this id, where it has written it down.
    Held(Option<u32>),
    Io(io::Error),
}

impl Lock {
    /// The lock file stays when the lock goes: taking it away would let two processes each lock a file of that name.
    pub(crate) fn take(database: &Path) -> Result<Self, NoLock> {
        let path = beside(database);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false) // it holds the other's pid
            .open(path)
            .map_err(NoLock::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NoLock::Held(holder(&mut file))),
            Err(TryLockError::Error(e)) => return Err(NoLock::Io(e)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(NoLock::Io)?;
        Ok(Self { _file: file })
    }
}

fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// The pid that the holder wrote. It may have locked the file a moment ago and not have written yet.
fn holder(file: &mut File) -> Option<u32> {
    for _ in 0..20 {
        let mut text = String::new();
        file.rewind().ok()?;
        file.read_to_string(&mut text).ok()?;
        if let Some(pid) = text.strip_suffix('\n').and_then(|pid| pid.parse().ok()) {
            return Some(pid);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}
