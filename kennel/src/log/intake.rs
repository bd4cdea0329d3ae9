//! What workers write to their standard output and error by themselves: an interpreter's last words, what a C library
//! prints. It goes through a pipe and a thread into the log's queue, so that no worker waits for the reader of the log.

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A longer line is written in pieces of this size.
const LINE: usize = 64 << 10;

/// The pipe's end for reading. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    pipe: Arc<OwnedFd>,
    /// What was read of a line whose end has not come. Locked from a read to the lines' way into the log.
    line: Arc<Mutex<Vec<u8>>>,
}

impl Intake {
    /// Starts the thread, which gives each line to `sink` without its line feed. Returns also the end for writing.
    ///
    /// # Errors
    ///
    /// When the system refuses a descriptor or the thread.
    pub(super) fn start(sink: impl Fn(&[u8]) + Send + 'static) -> io::Result<(Self, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let intake = Self { pipe: Arc::new(read), line: Arc::default() };
        let shared = intake.clone();
        thread::Builder::new().name("workers' output".to_owned()).spawn(move || {
            while shared.is_readable(None) {
                if !shared.read(&mut shared.lock(), &sink) {
                    return;
                }
            }
        })?;
        Ok((intake, write))
    }

    /// Waits until all that is in the pipe is with the sink, for at most `patience`, and returns the last words: a line
    /// without an end.
    pub(super) fn drain(&self, patience: Duration) -> Vec<u8> {
        let deadline = Instant::now() + patience;
        loop {
            let mut line = self.lock();
            if !self.is_readable(Some(Duration::ZERO)) || Instant::now() >= deadline {
                return std::mem::take(&mut *line);
            }
            drop(line);
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_readable(&self, patience: Option<Duration>) -> bool {
        let patience = patience.and_then(|time| Timespec::try_from(time).ok());
        let mut pipe = [PollFd::from_borrowed_fd(self.pipe.as_fd(), PollFlags::IN)];
        match poll(&mut pipe, patience.as_ref()) {
            Ok(0) => false,
            Ok(_) => pipe[0].revents().contains(PollFlags::IN) || patience.is_none(),
            Err(_) => patience.is_none(),
        }
    }

    /// `false`: no process can write any more.
    fn read(&self, line: &mut Vec<u8>, sink: &dyn Fn(&[u8])) -> bool {
        line.reserve(LINE);
        match rustix::io::read(&self.pipe, spare_capacity(line)) {
            Ok(0) => return false,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
        let mut rest = &line[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            sink(&rest[..end]);
            rest = &rest[end + 1..];
        }
        if rest.len() >= LINE {
            sink(rest);
            rest = b"";
        }
        let used = line.len() - rest.len();
        line.drain(..used);
        line.shrink_to(2 * LINE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::sync::mpsc::channel;

    #[test]
    fn lines_come_whole_and_the_last_words_are_not_lost() {
        let (tell, told) = channel();
        let (intake, write) = Intake::start(move |line| tell.send(line.to_vec()).unwrap()).unwrap();
        let mut write = File::from(write);
        write.write_all(b"one\ntw").unwrap();
        write.write_all(b"o\n\nlast").unwrap();
        assert_eq!(intake.drain(Duration::from_secs(10)), b"last");
        let lines: Vec<_> = told.try_iter().collect();
        assert_eq!(lines, [&b"one"[..], b"two", b""]);
        write.write_all(&[b'x'; LINE + 5]).unwrap();
        write.write_all(b"\n").unwrap();
        let mut long = intake.drain(Duration::from_secs(10));
        assert!(long.is_empty());
        told.try_iter().for_each(|piece| long.extend(piece));
        assert_eq!(long.len(), LINE + 5);
    }
}
