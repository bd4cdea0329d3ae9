//! The requests of one handler, dealt to those that take them.
//!
//! Requests wait in one queue. Each consumer gets as many as keep its connection busy, one after the other in turn; the
//! rest stays in the queue for the consumer that has room first. What a consumer that ends has not taken whole goes back to
//! the front of the queue.

use super::bound::Bound;
use super::frames::Frames;
use super::peer::Lost;
use super::tokens::Tokens;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tracing::warn;

/// Bytes that wait at one consumer's connection, beyond which it gets no further request.
const BUSY: usize = 256 << 10;
/// Bytes that one handler's consumers are given in one turn of the loop.
const TURN: usize = 4 << 20;

/// A PUSH: the queue, and the consumers.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) bound: Bound<()>,
    queue: Frames,
    /// The consumer whose turn it is.
    next: usize,
}

impl Push {
    pub(super) fn new(bound: Bound<()>) -> Self {
        Self { bound, queue: Frames::default(), next: 0 }
    }

    #[inline]
    pub(super) fn send(&mut self, message: &[u8]) {
        self.queue.push(message);
    }

    /// Bytes that the system has not taken yet.
    pub(super) fn unsent(&self) -> usize {
        self.queue.len() + self.bound.peers.iter().map(|peer| peer.unsent()).sum::<usize>()
    }

    /// Does what can be done at a consumer's socket.
    pub(super) fn service<T: Copy>(
        &mut self,
        poller: &OwnedFd,
        token: u64,
        tokens: &mut Tokens<T>,
        scratch: &mut Vec<u8>,
    ) {
        let Some(place) = self.bound.find(token) else { return };
        // A consumer has nothing to say.
        let result = self.bound.peers[place].read(scratch, |(), _, _, _| {});
        match result {
            Ok(_) => self.flush(poller, tokens),
            Err(problem) => self.lose(place, &problem, poller, tokens),
        }
    }

    /// Deals what waits, and writes it.
    pub(super) fn flush<T: Copy>(&mut self, poller: &OwnedFd, tokens: &mut Tokens<T>) {
        let mut turn = 0;
        loop {
            self.deal();
            let mut written = 0;
            let mut place = 0;
            while let Some(peer) = self.bound.peers.get_mut(place) {
                match peer.write() {
                    Ok(count) => {
                        written += count;
                        place += 1;
                    }
                    Err(problem) => self.give_up(place, &problem, tokens),
                }
            }
            turn += written;
            if written == 0 || self.queue.is_empty() || turn > TURN {
                break;
            }
        }
        let mut place = 0;
        while let Some(peer) = self.bound.peers.get_mut(place) {
            let waits = peer.unsent() > 0 || (peer.is_open() && !self.queue.is_empty());
            match peer.watch(poller, true, waits) {
                Ok(()) => place += 1,
                Err(problem) => self.give_up(place, &problem, tokens),
            }
        }
    }

    /// Hands messages to consumers that have room.
    fn deal(&mut self) {
        let peers = &mut self.bound.peers;
        let takers = peers.iter().filter(|peer| peer.is_open() && peer.unsent() < BUSY).count();
        let mut passed_over = 0;
        while takers > 0 && !self.queue.is_empty() && passed_over < peers.len() {
            if self.next >= peers.len() {
                self.next = 0;
            }
            let peer = &mut peers[self.next];
            self.next += 1;
            if !peer.is_open() || peer.unsent() >= BUSY {
                passed_over += 1;
                continue;
            }
            passed_over = 0;
            // One each in turn; a consumer that is alone with room takes many at once.
            let count = self.queue.front(if takers == 1 { BUSY - peer.unsent() } else { 0 });
            peer.outbox.push_frames(&self.queue.bytes()[..count]);
            self.queue.remove(count);
        }
    }

    /// Ends a consumer's connection, and deals what it has not taken to the others.
    fn lose<T: Copy>(&mut self, place: usize, problem: &Lost, poller: &OwnedFd, tokens: &mut Tokens<T>) {
        self.give_up(place, problem, tokens);
        self.flush(poller, tokens);
    }

    fn give_up<T: Copy>(&mut self, place: usize, problem: &Lost, tokens: &mut Tokens<T>) {
        let peer = self.bound.lose(place, problem, tokens);
        self.queue.put_back(peer.outbox.bytes());
        if place < self.next {
            self.next -= 1;
        }
    }

    /// Writes the rest, waiting for room, until `deadline`.
    pub(super) fn write_rest<T: Copy>(
        &mut self,
        poller: &OwnedFd,
        tokens: &mut Tokens<T>,
        deadline: Instant,
    ) {
        loop {
            self.flush(poller, tokens);
            let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
            let open = self.bound.peers.iter().filter(|peer| peer.is_open());
            let mut sockets: Vec<_> = open.map(|peer| PollFd::new(&peer.socket, PollFlags::OUT)).collect();
            if self.unsent() == 0 || sockets.is_empty() || left.is_zero() {
                break;
            }
            let _ = poll(&mut sockets, Timespec::try_from(left).ok().as_ref());
        }
        self.tell_of_loss();
    }

    /// Says that messages end with this socket.
    pub(super) fn tell_of_loss(&self) {
        let unsent = self.unsent();
        if unsent > 0 {
            let (place, address) = (&self.bound.place, &self.bound.address);
            warn!("{place}: {unsent} bytes of messages at {address} reach no handler");
        }
    }
}
