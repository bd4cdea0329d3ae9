//! CPU time of processes, from the kernel's accounts.

use crate::process;
use std::fs;
use std::time::Duration;

/// What all threads of a process that still run have used.
pub fn used_by(pid: u32) -> Duration {
    // The first field of `schedstat` is nanoseconds on CPU.
    let nanoseconds = |thread: fs::DirEntry| -> Option<u64> {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    Duration::from_nanos(threads.filter_map(|thread| nanoseconds(thread.ok()?)).sum())
}

/// A process, its children, theirs, and so on.
pub fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        family.extend(process::children(member));
        next += 1;
    }
    family
}
