//! An answer whose body comes in pieces, on its way through the hub.

use crate::hub::ids::WorkerId;
use crate::hub::outbox::pacing::Pacer;
use crate::worker::protocol::STREAM_WINDOW;
use kennel_http::stream::{CHUNK_FRAME, Framing, LAST_CHUNK, begin_chunk};
use std::collections::VecDeque;
use std::time::Duration;

/// The most in one message. Under flow control three of them may be under way: while one is written, the next is there,
/// and a third on its way.
const MESSAGE: usize = Pacer::CREDITS / 3;
/// Room for fewer bytes is not worth a message while more wait: with each notice of credits the next
/// message would be as small as the one that it reports.
const WORTH: usize = 16 << 10;
/// Without flow control, the messages that a body of known length is sent in: Mongrel2 holds at most 16 for a client that
/// reads slowly, and drops the client at the next one.
const MESSAGES: u64 = 10;
/// How long a body is collected before what there is leaves; twice as long each time.
const PATIENCE: Duration = Duration::from_secs(1);
/// Without flow control, the least and the most that is collected for one of them.
const COLLECTED: std::ops::RangeInclusive<usize> = 64 << 10..=8 << 20;
/// The worker is told of fewer bytes only when nothing waits any more.
const REPORT: usize = 16 << 10;

/// The body of the answer that its connection is getting.
#[derive(Debug)]
pub(in crate::hub) struct Stream {
    pub worker: WorkerId,
    pub serial: u64,
    framing: Framing,
    /// What has not left yet.
    pieces: VecDeque<u8>,
    /// Bytes that have left, and of which the worker does not know.
    taken: usize,
    /// Without flow control: so much is collected before it leaves as one message; 0: nothing is.
    collected: usize,
    /// Bytes of the pieces that the worker takes for gone, so that it goes on while they are collected.
    early: usize,
    patience: Duration,
    /// It was given more than its Content-Length.
    pub overlong: bool,
    /// A response to HEAD: the length that its head announces.
    announced: Option<u64>,
    /// A response to HEAD: the bytes of its body, which the client does not get.
    unsent: u64,
}

impl Stream {
    /// The body of an answer that this worker gives.
    pub fn new(worker: WorkerId, serial: u64, framing: Framing, flow_control: bool) -> Self {
        let collected = match framing {
            Framing::Length(bytes) if !flow_control => {
                let share = usize::try_from(bytes.div_ceil(MESSAGES)).unwrap_or(usize::MAX);
                share.clamp(*COLLECTED.start(), *COLLECTED.end())
            }
            _ => 0,
        };
        let pieces = VecDeque::new();
        Self {
            worker,
            serial,
            framing,
            pieces,
            taken: 0,
            collected,
            early: 0,
            patience: PATIENCE,
            overlong: false,
            announced: None,
            unsent: 0,
        }
    }

    /// The same for a response to HEAD whose head announces a length.
    pub fn announcing(self, length: Option<u64>) -> Self {
        Self { announced: length, ..self }
    }

    /// A response to HEAD that has a body, though the client does not get it: the announced length and the body's, if
    /// they differ. One without a body may announce any length.
    pub fn misfit(&self) -> Option<(u64, u64)> {
        let announced = self.announced?;
        (self.unsent > 0 && self.unsent != announced).then_some((announced, self.unsent))
    }

    /// Whether Mongrel2 may have to hold more messages for a slow client than it does: the body is too long, or of
    /// unknown length.
    pub fn may_be_cut(&self) -> bool {
        match self.framing {
            Framing::Length(bytes) => bytes > *COLLECTED.end() as u64 * MESSAGES,
            Framing::Chunked | Framing::Close => true,
            Framing::Bodiless => false,
        }
    }

    /// Whether what waits should become more before it leaves, and how much longer. `silence`: the time since the message
    /// before.
    pub fn collects_for(&mut self, silence: Duration) -> Option<Duration> {
        let is_enough = self.pieces.len() >= self.collected || matches!(self.framing, Framing::Length(0));
        if is_enough || self.pieces.is_empty() {
            return None;
        }
        let left = self.patience.saturating_sub(silence);
        if left.is_zero() {
            self.patience *= 2;
            return None;
        }
        Some(left)
    }

    /// How many bytes wait.
    pub fn waiting(&self) -> usize {
        self.pieces.len()
    }

    /// Takes a piece of the body. What the client is not to get counts as gone.
    pub fn push(&mut self, piece: &[u8]) {
        let part = match &mut self.framing {
            Framing::Bodiless => {
                self.unsent = self.unsent.saturating_add(piece.len() as u64);
                &[]
            }
            Framing::Length(left) => {
                let size = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                *left -= size as u64;
                self.overlong |= size < piece.len();
                &piece[..size]
            }
            Framing::Chunked | Framing::Close => piece,
        };
        self.pieces.extend(part);
        let early = part.len().min(self.collected.saturating_sub(self.early));
        self.early += early;
        self.taken += piece.len() - part.len() + early;
    }

    /// Moves what fits `room` to the empty `out`. `false`: it waits until there is more room.
    pub fn fill(&mut self, out: &mut Vec<u8>, room: usize) -> bool {
        let frame = if self.framing == Framing::Chunked { CHUNK_FRAME } else { 0 };
        if self.pieces.is_empty() {
            return true;
        }
        if room < (self.pieces.len() + frame).min(WORTH) {
            return false;
        }
        let room = if room <= Pacer::CREDITS { room.min(MESSAGE) } else { room };
        let size = self.pieces.len().min(room - frame);
        self.write(out, size);
        let early = size.min(self.early);
        self.early -= early;
        self.taken += size - early;
        true
    }

    fn write(&mut self, out: &mut Vec<u8>, size: usize) {
        let chunked = self.framing == Framing::Chunked;
        out.reserve(size + CHUNK_FRAME);
        if chunked {
            begin_chunk(out, size);
        }
        let (front, back) = self.pieces.as_slices();
        let front = &front[..front.len().min(size)];
        out.extend_from_slice(front);
        out.extend_from_slice(&back[..size - front.len()]);
        self.pieces.drain(..size);
        if self.pieces.len() <= STREAM_WINDOW {
            self.pieces.shrink_to(STREAM_WINDOW);
        }
        if chunked {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// What the worker is to be told now: so many bytes have left.
    pub fn take_report(&mut self) -> Option<u32> {
        let worth = self.taken >= REPORT || (self.taken > 0 && self.pieces.len() == self.early);
        worth.then(|| {
            let bytes = u32::try_from(self.taken).unwrap_or(u32::MAX);
            self.taken -= bytes as usize;
            bytes
        })
    }

    /// Whether less has come than its length announced.
    pub fn is_short(&self) -> bool {
        matches!(self.framing, Framing::Length(left) if left > 0)
    }

    /// Writes all that waits. `whole`: and the end of the body, if this is it. Returns whether the client can
    /// take the body for complete.
    pub fn finish(mut self, out: &mut Vec<u8>, whole: bool) -> bool {
        let rest = self.pieces.len();
        if rest > 0 {
            self.write(out, rest);
        }
        match self.framing {
            Framing::Chunked if whole => {
                out.extend_from_slice(LAST_CHUNK);
                true
            }
            Framing::Length(left) => left == 0 && whole,
            Framing::Chunked | Framing::Close | Framing::Bodiless => whole,
        }
    }
}
