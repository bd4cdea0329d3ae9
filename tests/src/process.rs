//! Processes by their number: whose child, alive or not, how large, and their end.

use rustix::process::{Pid, kill_process};
use std::fs;
use std::path::Path;

pub use rustix::process::Signal;

/// The children of a process, in the order of their numbers.
pub fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc can be read");
    let mut found: Vec<u32> = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|(state, its_parent)| state != 'Z' && its_parent == parent))
        .collect();
    found.sort_unstable();
    found
}

/// Whether a process runs; one that has ended and waits to be noticed does not.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// The processes that work in a folder, whoever started them.
pub fn in_folder(folder: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc can be read");
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            is_alive(*pid) && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at == folder)
        })
        .collect()
}

/// State and parent.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, blanks and parentheses too.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// What it was started with, in one line.
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// How many descriptors it has.
///
/// # Panics
///
/// When there is no such process.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours").count()
}

/// The memory that it occupies, in bytes.
///
/// # Panics
///
/// When there is no such process.
pub fn resident_memory(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// The memory of its own that it occupies now, in bytes: without the program's file, of which more is read with all that it
/// does for the first time.
///
/// # Panics
///
/// When there is no such process.
pub fn own_memory(pid: u32) -> u64 {
    status(pid, "RssAnon:")
}

/// The most that it has occupied at a time, in bytes.
///
/// # Panics
///
/// When there is no such process.
pub fn peak_memory(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

fn status(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that runs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("a line with that field");
    let number = line.split_ascii_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok());
    number.expect("a number of KiB") * 1024
}

/// Sends a signal; to a process that is gone, nothing happens.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// `kill -9`.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}
