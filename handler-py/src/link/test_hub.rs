//! A hub for tests: the other end of a link, which says what it is told to, and hears what the worker says.

use super::Link;
use handler_core::worker::link::open;
use handler_core::worker::page::Page;
use handler_core::worker::protocol::{Action, split_batch, split_frame};
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// After so long, what a test waits for will not come.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestHub {
    socket: UnixStream,
    pub(crate) page: Page,
    heard: Vec<u8>,
}

/// A hub, and the link to it, whose loop is this thread's.
pub(crate) fn pair() -> (TestHub, Arc<Link>) {
    let (socket, worker) = UnixStream::pair().unwrap();
    let (page, fd) = Page::create().unwrap();
    let (orders, actions) = open(worker, Page::map(&fd).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (TestHub { socket, page, heard: Vec::new() }, Arc::new(Link::new(orders, actions)))
}

/// Does something with the interpreter.
pub(crate) fn with_python<T>(f: impl FnOnce(Python<'_>) -> T) -> T {
    Python::initialize();
    Python::attach(f)
}

/// A function of Python without arguments, and a list that grows with each call.
pub(crate) fn counted(py: Python<'_>) -> (Py<PyAny>, Py<PyList>) {
    let calls = PyList::empty(py);
    let function = py.eval(c"lambda calls: lambda: calls.append(1)", None, None).unwrap();
    (function.call1((&calls,)).unwrap().unbind(), calls.unbind())
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

/// What came of a thread, which has to end in time.
pub(crate) fn ended<T>(thread: JoinHandle<T>) -> T {
    until("the thread ends", || thread.is_finished());
    thread.join().unwrap()
}

impl TestHub {
    /// Sends what `encode` appends.
    pub(crate) fn say(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut orders = Vec::new();
        encode(&mut orders);
        self.socket.write_all(&orders).unwrap();
    }

    /// Ends its side; what the worker says is still heard.
    pub(crate) fn end(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// The actions that have come, by batch. A worker that has sent something has sent it.
    pub(crate) fn batches(&mut self) -> Vec<Vec<String>> {
        self.socket.set_nonblocking(true).unwrap();
        match self.socket.read_to_end(&mut self.heard) {
            Ok(_) => {}
            Err(problem) => assert_eq!(problem.kind(), ErrorKind::WouldBlock, "{problem}"),
        }
        self.socket.set_nonblocking(false).unwrap();
        self.split()
    }

    /// The next batch, as soon as it comes.
    pub(crate) fn next_batch(&mut self) -> Vec<String> {
        loop {
            let mut batches = self.split();
            if !batches.is_empty() {
                assert_eq!(batches.len(), 1, "{batches:?}");
                return batches.remove(0);
            }
            let mut bytes = [0; 4096];
            let count = self.socket.read(&mut bytes).expect("the worker says something in time");
            self.heard.extend_from_slice(&bytes[..count]);
        }
    }

    fn split(&mut self) -> Vec<Vec<String>> {
        let mut batches = Vec::new();
        let mut left = self.heard.as_slice();
        while let Some((_, frames, rest)) = split_batch(left).unwrap() {
            batches.push(words(frames));
            left = rest;
        }
        self.heard = left.to_vec();
        batches
    }
}

fn words(mut frames: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((kind, payload, rest)) = split_frame(frames) {
        found.push(match Action::read(kind, payload).unwrap() {
            Action::Done { serial } => format!("done {serial}"),
            Action::Skipped { serial } => format!("skipped {serial}"),
            Action::Piece { serial, .. } => format!("piece of {serial}"),
            Action::Query { query, .. } => format!("query {query}"),
            other => format!("{other:?}"),
        });
        frames = rest;
    }
    found
}
