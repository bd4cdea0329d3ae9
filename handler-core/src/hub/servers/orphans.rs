//! Requests that a hub before this one took and did not answer: it was killed, or its link to the server broke.
//!
//! Their clients would wait until Mongrel2 gives them up, minutes later. Where this hub gets all requests of a server, it
//! asks the control port who is there. A client that has sent something since it was last written to waits for a response;
//! when the hub knows nothing of such a client, a little later too, no response will come, and the connection is closed.
//! Requests that waited in Mongrel2 for a hub arrive meanwhile. Connections that wait for their next request stay open, and
//! so do WebSockets and sockets, which are adopted when they speak.

use rustc_hash::FxHashMap;
use std::time::{Duration, Instant};

/// A connection that a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// Its number.
    pub id: u32,
    /// It speaks HTTP, and something came from its client after the last byte went to it.
    pub waits: bool,
    /// Bytes that came from its client.
    pub received: u64,
    /// Bytes that went to its client.
    pub sent: u64,
}

/// The search for them at one server.
#[derive(Debug, Default)]
pub(in crate::hub) struct Orphans {
    /// This hub gets all requests of the server. Else others may have those that it knows nothing of.
    pub is_sole: bool,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Done,
    /// The server listens, and has not said who is there.
    Begun,
    /// These wait, and the hub knew nothing of them: received and sent bytes by number. When to ask again; none: it is asked.
    Suspected { suspects: FxHashMap<u32, (u64, u64)>, again: Option<Instant> },
}

impl Orphans {
    /// How long requests that waited in Mongrel2 may take to arrive.
    const PATIENCE: Duration = Duration::from_millis(250);

    /// The server listens.
    pub fn begin(&mut self) {
        self.stage = Stage::Begun;
    }

    /// Those of the server's next run, which has none yet.
    pub fn of_next_run(&self) -> Self {
        Self { is_sole: self.is_sole, stage: Stage::Done }
    }

    /// When the server is to be asked again.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Suspected { again, .. } => again,
            Stage::Done | Stage::Begun => None,
        }
    }

    /// Whether the server is to be asked now.
    pub fn is_due(&mut self, now: Instant) -> bool {
        match &mut self.stage {
            Stage::Suspected { again, .. } => again.take_if(|due| *due <= now).is_some(),
            Stage::Done | Stage::Begun => false,
        }
    }

    /// Takes an answer of the server about those that the hub knows nothing of. Returns those that will hear nothing.
    pub fn take(&mut self, unknown: impl Iterator<Item = Present>, now: Instant) -> Vec<u32> {
        let waiting = unknown.filter(|present| present.waits);
        match std::mem::take(&mut self.stage) {
            Stage::Done => Vec::new(),
            Stage::Begun => {
                let suspects: FxHashMap<_, _> =
                    waiting.map(|present| (present.id, (present.received, present.sent))).collect();
                if !suspects.is_empty() {
                    self.stage = Stage::Suspected { suspects, again: Some(now + Self::PATIENCE) };
                }
                Vec::new()
            }
            // An answer to another question, which came too soon.
            early @ Stage::Suspected { again: Some(_), .. } => {
                self.stage = early;
                Vec::new()
            }
            Stage::Suspected { suspects, again: None } => {
                let is_same = |present: &Present| {
                    suspects.get(&present.id).is_some_and(|bytes| *bytes == (present.received, present.sent))
                };
                waiting.filter(is_same).map(|present| present.id).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_still_wait_when_asked_again_will_hear_nothing() {
        let (mut orphans, now) = (Orphans::default(), Instant::now());
        let present = |id, received| Present { id, waits: true, received, sent: 0 };
        orphans.begin();
        assert!(orphans.take([present(1, 10), present(2, 10)].into_iter(), now).is_empty());
        assert_eq!(orphans.next_timeout(), Some(now + Orphans::PATIENCE));
        assert!(orphans.take([present(1, 10)].into_iter(), now).is_empty(), "too soon");
        assert!(!orphans.is_due(now) && orphans.is_due(now + Orphans::PATIENCE));
        let lost = orphans.take([present(1, 10), present(2, 11), present(3, 10)].into_iter(), now);
        assert_eq!(lost, [1], "2 has sent something meanwhile, and 3 is new");
        assert!(orphans.take([present(1, 10)].into_iter(), now).is_empty(), "the search is over");
    }
}
