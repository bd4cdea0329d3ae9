//! Numbers of requests: which one comes next, which wait for an answer, which came too early, and the answers that may
//! have to be given again (XEP-0124, 14).

use super::condition::finish;
use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Held {
    pub rid: u64,
    /// Where the answer goes; nowhere when its connection is gone, until the client repeats it.
    pub request: Option<u64>,
    /// When it is answered, whatever there is to say.
    pub until: Instant,
}

/// A request that came before another that was sent before it.
#[derive(Debug)]
pub(super) struct Early {
    pub rid: u64,
    pub request: Option<u64>,
    pub came: Instant,
    /// When the client is asked to repeat it.
    pub until: Instant,
    pub body: Box<[u8]>,
}

/// An answer that was given, as it is needed to give it again.
#[derive(Debug)]
pub(super) struct Answer {
    pub rid: u64,
    pub given: Instant,
    /// The last request that had come with all before it; 0 when that need not be said.
    pub ack: u64,
    /// An answer that the client seems to lack, and how many milliseconds ago it was given.
    pub report: Option<Box<(u64, u64)>>,
    /// To a pause: it does not count among those that are kept.
    pub pause: bool,
    pub messages: Box<[Arc<[u8]>]>,
    /// Of the messages.
    pub bytes: usize,
}

impl Answer {
    /// The body; the same bytes each time.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut tag = String::from("<body");
        if self.ack > 0 {
            let _ = write!(tag, " ack=\"{}\"", self.ack);
        }
        if let Some((rid, time)) = self.report.as_deref() {
            let _ = write!(tag, " report=\"{rid}\" time=\"{time}\"");
        }
        finish(tag, &self.messages)
    }
}

/// What a number means when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The one that is expected.
    Next,
    /// Not yet: others are missing before it.
    Early,
    /// It was there before.
    Repeated,
    /// Larger than it may be.
    Outside,
}

/// The numbers of one session.
#[derive(Debug)]
pub(super) struct Window {
    pub next: u64,
    /// In the order of their numbers, which all are below `next`.
    pub held: Vec<Held>,
    /// All above `next`.
    pub early: Vec<Early>,
    /// In the order of their numbers.
    answers: VecDeque<Answer>,
}

impl Window {
    /// Begins behind the opening request.
    pub(super) fn new(rid: u64) -> Self {
        Self { next: rid + 1, held: Vec::new(), early: Vec::new(), answers: VecDeque::new() }
    }

    /// Where a number falls when so many requests may be under way.
    pub(super) fn place(&self, rid: u64, requests: u8) -> Place {
        if rid < self.next || self.early.iter().any(|early| early.rid == rid) {
            Place::Repeated
        } else if rid >= self.next + u64::from(requests) {
            Place::Outside
        } else if rid == self.next {
            Place::Next
        } else {
            Place::Early
        }
    }

    /// The request that has become the next one.
    pub(super) fn take_early(&mut self) -> Option<Early> {
        let at = self.early.iter().position(|early| early.rid == self.next)?;
        Some(self.early.swap_remove(at))
    }

    /// Where the answer to a request goes that has none yet.
    pub(super) fn waiting(&mut self, rid: u64) -> Option<&mut Option<u64>> {
        let held = self.held.iter_mut().map(|held| (held.rid, &mut held.request));
        let early = self.early.iter_mut().map(|early| (early.rid, &mut early.request));
        held.chain(early).find(|(known, _)| *known == rid).map(|(_, request)| request)
    }

    /// Requests that can be answered.
    pub(super) fn live(&self) -> usize {
        self.held.iter().filter(|held| held.request.is_some()).count()
    }

    /// Keeps an answer, and of those before only so many, and no other to a pause.
    pub(super) fn keep(&mut self, answer: Answer, most: usize) {
        if answer.pause {
            self.answers.retain(|answer| !answer.pause);
        }
        let more = usize::from(!answer.pause);
        while !self.answers.is_empty()
            && self.answers.iter().filter(|answer| !answer.pause).count() + more > most
        {
            self.answers.pop_front();
        }
        // Every session has some, so there is room for no more than needed.
        self.answers.reserve_exact(1);
        self.answers.push_back(answer);
    }

    /// The answer to a request that was answered.
    pub(super) fn answer(&self, rid: u64) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.rid == rid)
    }

    /// The number of the last request that was answered.
    pub(super) fn last_answered(&self) -> Option<u64> {
        self.answers.back().map(|answer| answer.rid)
    }

    /// The client has the answers up to this one.
    pub(super) fn forget(&mut self, upto: u64) {
        while self.answers.front().is_some_and(|answer| answer.rid <= upto) {
            self.answers.pop_front();
        }
    }

    /// Messages in answers that may not have arrived, and their bytes.
    pub(super) fn unread(&self) -> (usize, usize) {
        let sum =
            |(messages, bytes), answer: &Answer| (messages + answer.messages.len(), bytes + answer.bytes);
        self.answers.iter().fold((0, 0), sum)
    }

    /// Bytes that it takes on the heap, but for messages, which rooms share.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let of_answers = |answer: &Answer| {
            size_of_val(&*answer.messages) + answer.report.as_deref().map_or(0, size_of_val)
        };
        self.held.capacity() * size_of::<Held>()
            + self.early.capacity() * size_of::<Early>()
            + self.early.iter().map(|early| early.body.len()).sum::<usize>()
            + self.answers.capacity() * size_of::<Answer>()
            + self.answers.iter().map(of_answers).sum::<usize>()
    }
}
