//! What a process writes to standard error, line by line, while it runs.

use crate::wait::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The lines so far. Clones show the same lines.
#[derive(Debug, Clone, Default)]
pub struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
    /// The reader stands still.
    paused: bool,
}

impl Log {
    /// Reads a stream to its end, in a thread of its own.
    pub fn collect(stream: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let shared = Arc::clone(&log.shared);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            let waits = || {
                let lines = shared.1.wait_while(lock(&shared.0), |lines| lines.paused);
                drop(lines.unwrap_or_else(PoisonError::into_inner));
            };
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lock(&shared.0).lines.push(text);
                shared.1.notify_all();
                line.clear();
                waits();
            }
            lock(&shared.0).ended = true;
            shared.1.notify_all();
        });
        log
    }

    /// Stands still behind the next line: what the process writes then fills the pipe.
    pub fn pause(&self) {
        lock(&self.shared.0).paused = true;
    }

    /// Reads on after [`pause`](Self::pause).
    pub fn resume(&self) {
        lock(&self.shared.0).paused = false;
        self.shared.1.notify_all();
    }

    /// Waits for a line that contains `text`, from the first line on, and returns it.
    ///
    /// # Panics
    ///
    /// When the process ends without it, or after [`PATIENCE`].
    pub fn expect(&self, text: &str) -> String {
        self.expect_times(text, 1)
    }

    /// Waits for the `times`th line that contains `text`, and returns it.
    ///
    /// # Panics
    ///
    /// As [`expect`](Self::expect).
    pub fn expect_times(&self, text: &str, times: usize) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = lock(&self.shared.0);
        loop {
            if let Some(line) = lines.lines.iter().filter(|line| line.contains(text)).nth(times - 1) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                let all = lines.lines.join("\n");
                drop(lines);
                panic!("no line {times} with `{text}` in:\n{all}");
            }
            let waited = self.shared.1.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until `times` lines contain `text`, of which there may be no more now.
    ///
    /// What a script prints reaches the log a moment after its answer reaches the client, so a number of
    /// lines is to be waited for.
    ///
    /// # Panics
    ///
    /// As [`expect`](Self::expect), and when there are more.
    pub fn expect_exactly(&self, text: &str, times: usize) {
        self.expect_times(text, times);
        assert_eq!(self.count(text), times, "lines with `{text}` in:\n{}", self.text());
    }

    /// How many lines contain `text` now.
    pub fn count(&self, text: &str) -> usize {
        lock(&self.shared.0).lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        lock(&self.shared.0).lines.join("\n")
    }

    /// Waits until the stream has ended, and returns everything.
    ///
    /// # Panics
    ///
    /// When it has not after [`PATIENCE`].
    pub fn to_end(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = lock(&self.shared.0);
        while !lines.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "standard error does not end");
            let waited = self.shared.1.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        lines.lines.join("\n")
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
