//! A bounded queue of log lines before a thread that writes them.
//!
//! The loop of the hub only ever appends to the queue. When the thread cannot write, since the reader of the log stands
//! still, lines wait up to a bound. Further lines are dropped and counted.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are written at a time.
const CHUNK: usize = 64 << 10;

/// The queue. Clones are the same queue.
#[derive(Debug, Clone)]
pub(crate) struct LogQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// Everything is written.
    emptied: Condvar,
    /// The most bytes that wait.
    bound: usize,
    /// All lines that were dropped.
    dropped: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Box<[u8]>>,
    /// Bytes that wait, with those that are being written.
    bytes: usize,
    /// The thread waits for something to write.
    waits: bool,
    /// Lines that were dropped and that no line of the log has told of.
    untold: u64,
}

impl LogQueue {
    /// Starts the thread, which writes to `target`. When writing works again after lines were dropped, the thread calls
    /// `tell` with their number.
    ///
    /// # Errors
    ///
    /// When the system refuses the thread.
    pub(crate) fn start(
        target: OwnedFd,
        bound: usize,
        dropped: Arc<AtomicU64>,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (state, filled, emptied) = Default::default();
        let shared = Arc::new(Shared { state, filled, emptied, bound, dropped });
        let queue = Self { shared: Arc::clone(&shared) };
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.work(&target, &tell))?;
        Ok(queue)
    }

    /// Appends a line with its line feed, or drops it when the queue is full.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.bytes + line.len() > self.shared.bound {
            self.shared.drop_lines(&mut state, 1);
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.into());
        if state.waits {
            self.shared.filled.notify_one();
        }
    }

    /// Waits until everything is written, for at most `patience`. `false`: something is left.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        while state.bytes > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.emptied.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_lines(&self, state: &mut State, count: u64) {
        state.untold += count;
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// The thread.
    fn work(&self, target: &OwnedFd, tell: &dyn Fn(u64)) {
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut ends = Vec::new();
        loop {
            let size = self.take(&mut chunk, &mut ends);
            let mut written = write(target, &chunk);
            let lost = ends.iter().filter(|end| **end > written).count() as u64;
            if lost > 0 && written > 0 && chunk[written - 1] != b'\n' {
                // The line that was cut off must not run into the next one.
                written = write(target, b"\n");
            }
            let mut state = self.lock();
            self.drop_lines(&mut state, lost);
            let untold = if lost == 0 && written > 0 { std::mem::take(&mut state.untold) } else { 0 };
            drop(state);
            if untold > 0 {
                tell(untold);
            }
            let mut state = self.lock();
            state.bytes -= size;
            if state.bytes == 0 {
                self.emptied.notify_all();
            }
        }
    }

    /// Waits for lines and takes them, about [`CHUNK`] bytes. Fills in where each of them ends; says how many bytes.
    fn take(&self, chunk: &mut Vec<u8>, ends: &mut Vec<usize>) -> usize {
        chunk.clear();
        ends.clear();
        let mut state = self.lock();
        while state.lines.is_empty() {
            state.waits = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waits = false;
        }
        while chunk.len() < CHUNK
            && let Some(line) = state.lines.pop_front()
        {
            chunk.extend_from_slice(&line);
            ends.push(chunk.len());
        }
        if state.lines.is_empty() {
            state.lines.shrink_to(CHUNK);
        }
        chunk.len()
    }
}

/// Writes everything, waiting as long as that takes. At an error the rest is given up: a full disk, a reader that is
/// gone. Returns how many bytes were written.
fn write(target: &OwnedFd, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(target, &bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // Somebody made it non-blocking. It blocks this thread alone.
                let _ = poll(&mut [PollFd::new(&target.as_fd(), PollFlags::OUT)], None);
            }
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::sync::mpsc::{Receiver, channel};

    /// A queue before a pipe, and what it told of dropped lines.
    fn queue(bound: usize, flags: PipeFlags) -> (LogQueue, OwnedFd, Arc<AtomicU64>, Receiver<u64>) {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | flags).unwrap();
        let (dropped, (tell, told)) = (Arc::default(), channel());
        let tell = move |count| tell.send(count).unwrap();
        let queue = LogQueue::start(write, bound, Arc::clone(&dropped), tell).unwrap();
        (queue, read, dropped, told)
    }

    fn fill(queue: &LogQueue, lines: usize) {
        (0..lines).for_each(|n| queue.push(format!("{n:099}\n").as_bytes()));
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_but_no_time_and_the_log_says_how_many() {
        for flags in [PipeFlags::empty(), PipeFlags::NONBLOCK] {
            let (queue, read, dropped, told) = queue(100_000, flags);
            let began = Instant::now();
            fill(&queue, 10_000);
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            let lost = dropped.load(Ordering::Relaxed);
            assert!((8_000..9_500).contains(&lost), "{lost}");
            assert!(!queue.flush(Duration::from_millis(1)), "the pipe is full");
            // A reader comes.
            rustix::io::ioctl_fionbio(&read, false).unwrap();
            let mut lines = BufReader::new(File::from(read)).lines();
            let kept: Vec<String> = lines.by_ref().take(10_000 - lost as usize).map(Result::unwrap).collect();
            let numbers: Vec<usize> = kept.iter().map(|line| line.parse().unwrap()).collect();
            assert!(numbers.is_sorted(), "in order and whole");
            assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(lost));
            assert!(queue.flush(Duration::from_secs(10)));
            queue.push(b"again\n");
            assert_eq!(lines.next().unwrap().unwrap(), "again");
        }
    }

    #[test]
    fn a_reader_that_is_gone_and_a_full_disk_cost_lines_only() {
        let (queue, read, dropped, _told) = queue(100_000, PipeFlags::empty());
        drop(read);
        fill(&queue, 10);
        assert!(queue.flush(Duration::from_secs(10)));
        assert_eq!(dropped.load(Ordering::Relaxed), 10);

        let dropped = Arc::default();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let queue = LogQueue::start(full.into(), 1000, Arc::clone(&dropped), |_| {}).unwrap();
        fill(&queue, 5);
        assert!(queue.flush(Duration::from_secs(10)));
        assert_eq!(dropped.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn one_line_beyond_the_bound_is_dropped_alone() {
        let (queue, read, dropped, _told) = queue(1000, PipeFlags::empty());
        queue.push(&[b'x'; 1001]);
        queue.push(b"short\n");
        let mut line = String::new();
        BufReader::new(File::from(read)).read_line(&mut line).unwrap();
        assert_eq!((line.as_str(), dropped.load(Ordering::Relaxed)), ("short\n", 1));
    }
}
