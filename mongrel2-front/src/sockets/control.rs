//! The control port: a REP that answers each request with one message.

use super::bound::{BindError, Bound};
use super::frames::Frames;
use super::peer::{Lost, Peer, READ};
use super::tokens::Tokens;
use mongrel2_wire::zmtp::Role;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The largest part of a request, bytes.
const MAX_REQUEST: usize = 64 << 10;
/// Parts before a request that come back in front of its answer.
const MAX_ENVELOPE: usize = 16;

/// Bytes of answers that wait for one client, beyond which a further request ends its connection.
const MAX_ANSWERS: usize = 4 << 20;

/// How much of a request has come.
#[derive(Debug, Default)]
struct Question {
    /// The parts before the empty one.
    envelope: Vec<Vec<u8>>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Envelope,
    Content,
    /// Too many answers wait. Nothing more is taken.
    Overrun,
    /// Parts that are of no interest.
    Rest,
}

/// The control port. Tokens from `base` on, [`TOKENS`](super::TOKENS) of them, belong to its sockets.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    bound: Bound<Question>,
    tokens: Tokens<()>,
    scratch: Vec<u8>,
}

impl ControlSocket {
    /// Listens at `address`.
    ///
    /// # Errors
    ///
    /// [`BindError`] names the address.
    pub(crate) fn bind(address: &str, poller: &OwnedFd, base: u64) -> Result<Self, BindError> {
        let mut tokens = Tokens::new(base);
        let token = tokens.take(());
        let bound = Bound::bind(("control port", address), (Role::Rep, "", MAX_REQUEST), poller, token)?;
        Ok(Self { bound, tokens, scratch: Vec::with_capacity(READ) })
    }

    /// Whether an event with this token is for [`service`](Self::service).
    pub(crate) fn owns(&self, token: u64) -> bool {
        self.tokens.owns(token)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.bound.next_timeout()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, poller: &OwnedFd, now: Instant) {
        self.bound.handle_timeout(poller, &mut self.tokens, now);
    }

    /// Does what can be done at a token's socket. `answer` gets each request and returns the answer.
    pub(crate) fn service(
        &mut self,
        poller: &OwnedFd,
        token: u64,
        now: Instant,
        mut answer: impl FnMut(&[u8]) -> Vec<u8>,
    ) {
        if token == self.bound.token {
            return self.bound.accept(poller, &mut self.tokens, (), now);
        }
        let Some(place) = self.bound.find(token) else { return };
        let peer = &mut self.bound.peers[place];
        if let Err(problem) = converse(peer, poller, &mut self.scratch, &mut answer) {
            self.bound.lose(place, &problem, &mut self.tokens);
        }
    }

    /// Writes the answers that are left, at most for `patience`, and ends all connections.
    pub(crate) fn close(mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        for peer in &mut self.bound.peers {
            while peer.unsent() > 0 && peer.write().is_ok() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                let mut sockets = [PollFd::new(&peer.socket, PollFlags::OUT)];
                let _ = poll(&mut sockets, Timespec::try_from(left).ok().as_ref());
            }
        }
    }
}

/// Reads requests, unless answers still wait to be written: a peer that does not read them asks nothing more.
fn converse(
    peer: &mut Peer<Question>,
    poller: &OwnedFd,
    scratch: &mut Vec<u8>,
    answer: &mut impl FnMut(&[u8]) -> Vec<u8>,
) -> Result<(), Lost> {
    peer.write()?;
    if peer.unsent() == 0 {
        peer.read(scratch, |question, outbox, part, is_last| question.take(outbox, part, is_last, answer))?;
        if matches!(peer.state.stage, Stage::Overrun) {
            return Err(Lost::Overrun);
        }
        peer.write()?;
    }
    let waits = peer.unsent() > 0;
    peer.watch(poller, !waits, waits)
}

impl Question {
    fn take(
        &mut self,
        outbox: &mut Frames,
        part: &[u8],
        is_last: bool,
        answer: &mut impl FnMut(&[u8]) -> Vec<u8>,
    ) {
        match self.stage {
            Stage::Envelope if part.is_empty() => self.stage = Stage::Content,
            Stage::Envelope if self.envelope.len() < MAX_ENVELOPE => self.envelope.push(part.to_vec()),
            Stage::Overrun => return,
            Stage::Content if outbox.len() > MAX_ANSWERS => {
                self.stage = Stage::Overrun;
                return;
            }
            Stage::Content => {
                self.envelope.iter().for_each(|part| outbox.push_part(part));
                outbox.push_part(b"");
                outbox.push(&answer(part));
                self.stage = Stage::Rest;
            }
            Stage::Envelope | Stage::Rest => self.stage = Stage::Rest,
        }
        // As with libzmq, a message without an empty part is not a question.
        if is_last {
            *self = Self::default();
        }
    }
}
