//! Questions to the servers' control ports, each in a thread of its own: an answer may take as long as a server
//! stands still.

use crate::hub::{LinkId, Present};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use tracing::debug;

/// Asks a server which connections it has; blocks until it answers or is given up.
pub type AskWhoIsThere = Box<dyn FnOnce() -> Result<Vec<Present>, String> + Send>;

/// The questions under way.
#[derive(Debug)]
pub(super) struct RollCalls {
    answers: Receiver<(LinkId, Result<Vec<Present>, String>)>,
    answer: Sender<(LinkId, Result<Vec<Present>, String>)>,
    /// Readable when there is an answer.
    bell: Arc<OwnedFd>,
    asked: HashSet<LinkId>,
}

impl RollCalls {
    /// # Errors
    ///
    /// When the system has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        let (answer, answers) = channel();
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { answers, answer, bell: Arc::new(bell), asked: HashSet::new() })
    }

    /// Readable when [`answers`](Self::answers) has something.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Puts the question to a server, unless it still owes the answer to the last one.
    pub(super) fn ask(&mut self, link: LinkId, question: AskWhoIsThere) {
        if !self.asked.insert(link) {
            return;
        }
        let (answer, bell) = (self.answer.clone(), Arc::clone(&self.bell));
        std::thread::spawn(move || {
            // The loop may have ended meanwhile; then nobody needs it.
            let _ = answer.send((link, question()));
            let _ = write(&bell, &1u64.to_ne_bytes());
        });
    }

    /// What has been answered since the last time.
    pub(super) fn answers(&mut self) -> Vec<(LinkId, Vec<Present>)> {
        let _ = read(&self.bell, &mut [0; 8]);
        let mut all = Vec::new();
        for (link, answer) in self.answers.try_iter() {
            self.asked.remove(&link);
            match answer {
                Ok(present) => all.push((link, present)),
                Err(problem) => {
                    debug!(link = link.0, "the control port does not say who is there: {problem}")
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn present(id: u32) -> Present {
        Present { id, waits: false, received: 0, sent: 0 }
    }

    #[test]
    fn a_server_that_still_owes_an_answer_is_not_asked_again() {
        let (go, wait) = channel::<()>();
        let mut calls = RollCalls::new().unwrap();
        calls.ask(
            LinkId(0),
            Box::new(move || {
                wait.recv().map(|()| vec![present(1), present(2)]).map_err(|gone| gone.to_string())
            }),
        );
        calls.ask(LinkId(0), Box::new(|| Ok(vec![present(3)])));
        calls.ask(LinkId(1), Box::new(|| Err("there is no control port".to_owned())));
        go.send(()).unwrap();
        let mut answers = Vec::new();
        for _ in 0..10 {
            if !answers.is_empty() {
                break;
            }
            let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
            poll(&mut [PollFd::new(&calls.descriptor(), PollFlags::IN)], Some(&patience)).unwrap();
            answers.extend(calls.answers());
        }
        assert_eq!(answers, [(LinkId(0), vec![present(1), present(2)])]);
    }
}
