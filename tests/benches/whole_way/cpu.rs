//! What a handler costs: the time on CPU of all threads of all its processes, as the kernel counts it.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

/// Time on CPU since the processes began, or between two such readings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// The process that was started.
    pub(crate) hub: Duration,
    /// Its descendants.
    pub(crate) workers: Duration,
    /// This process: feeder and benchmark.
    pub(crate) feeder: Duration,
}

impl Sub for Usage {
    type Output = Usage;

    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            hub: self.hub.saturating_sub(earlier.hub),
            workers: self.workers.saturating_sub(earlier.workers),
            feeder: self.feeder.saturating_sub(earlier.feeder),
        }
    }
}

/// Reads the usage of one handler, whose processes are found once, since looking for them costs CPU too.
pub(crate) struct Meter {
    hub: u32,
    workers: Vec<u32>,
}

impl Meter {
    /// For the process `hub` and the descendants that it has now.
    pub(crate) fn of(hub: u32) -> Meter {
        Meter { hub, workers: descendants(hub) }
    }

    /// Time on CPU until now.
    pub(crate) fn read(&self) -> Usage {
        Usage {
            hub: on_cpu(self.hub),
            workers: self.workers.iter().copied().map(on_cpu).sum(),
            feeder: on_cpu(std::process::id()),
        }
    }

    /// Whether descendants came or went, which makes the readings worthless.
    pub(crate) fn workers_changed(&self) -> bool {
        descendants(self.hub) != self.workers
    }
}

/// All processes below `ancestor`, ascending.
pub(crate) fn descendants(ancestor: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut family = vec![ancestor];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        family.extend(processes.iter().filter(|(_, parent)| *parent == member).map(|(pid, _)| *pid));
        next += 1;
    }
    family.remove(0);
    family.sort_unstable();
    family
}

/// `PID (any name) STATE PARENT ...`
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The first field of `schedstat` is nanoseconds on CPU; zero for a process that is gone.
fn on_cpu(pid: u32) -> Duration {
    let nanoseconds = |thread: fs::DirEntry| -> Option<u64> {
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedstat.split_ascii_whitespace().next()?.parse().ok()
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    Duration::from_nanos(threads.filter_map(|thread| nanoseconds(thread.ok()?)).sum())
}
