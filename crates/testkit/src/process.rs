//! Processes of this machine, by their numbers.

use crate::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{read_dir, read_to_string};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Sends a signal; to a process that is gone, none. Behind SIGSTOP every thread of it stands when this returns: the kernel's `kill`
/// only asks for that, and a thread at work on another core may still answer what comes a moment later.
pub(crate) fn send(process: u32, signal: Signal) {
    let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) else { return };
    // An error says that it is gone.
    if kill_process(pid, signal).is_ok() && signal == Signal::STOP {
        until("a stopped process stands", LIMIT, || stands(process));
    }
}

/// The processes whose parent is this one.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let is_child = |id: &u32| stat(&format!("/proc/{id}/stat")).is_some_and(|(_, its_parent)| its_parent == parent);
    numbers("/proc").filter(is_child).collect()
}

/// One that nobody has waited for yet holds nothing any more.
pub(crate) fn ended(id: u32) -> bool {
    stat(&format!("/proc/{id}/stat")).is_none_or(|(state, _)| state == 'Z')
}

/// Whether none of its threads runs. A thread that is gone by the time that it is looked at does not.
fn stands(process: u32) -> bool {
    let threads = format!("/proc/{process}/task");
    numbers(&threads).all(|thread| {
        let stat = stat(&format!("{threads}/{thread}/stat"));
        stat.is_none_or(|(state, _)| matches!(state, 'T' | 't' | 'Z' | 'X'))
    })
}

/// What in a folder of `/proc` is named by a number.
fn numbers(folder: impl AsRef<Path>) -> impl Iterator<Item = u32> {
    let entries = read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// State and parent. The name before them is in brackets and may hold anything.
fn stat(file: &str) -> Option<(char, u32)> {
    let text = read_to_string(file).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
