//! What waits for one connection: bytes of its own first, then messages that it may share with others.
//!
//! Responses and small messages grow together in a buffer of the connection's own. A message to a room is kept once
//! for all members, and each member remembers how much of it has left. Nothing is moved while it waits: taking
//! bytes away from the front costs the same for a large rest as for a small one.

use crate::worker::protocol::Slow;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes that the own buffer takes before messages wait one by one.
const BUFFER: usize = 64 << 10;
/// Shared messages up to this size that wait behind each other are merged into one, up to `BUFFER` bytes.
const SMALL: usize = 8 << 10;
/// The own buffer is compacted when this many bytes of it have left, and three quarters of it.
const COMPACT: usize = 1 << 20;

/// A message that waits for several connections, kept once.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub bytes: Arc<[u8]>,
    /// The room that it was sent to.
    pub room: Option<Arc<[u8]>>,
    /// It is not discarded with old messages.
    pub is_control: bool,
}

impl Shared {
    /// A message, with the room that it was sent to.
    pub fn message(bytes: Arc<[u8]>, room: Option<Arc<[u8]>>) -> Self {
        Self { bytes, room, is_control: false }
    }
}

/// What may wait for one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub slow: Slow,
    /// In bytes.
    pub bytes: usize,
}

/// What became of a message that had to wait.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// It waits.
    Kept,
    /// It waits, and these many older ones were discarded for it. `first`: the first of them since the client last
    /// kept up, with the room that it was sent to.
    Dropped { count: u64, first: Option<Option<Arc<[u8]>>> },
    /// It waits, but now more waits than the bound allows: this many bytes.
    TooMuch { waiting: usize },
}

/// What leaves next.
#[derive(Debug)]
pub(crate) enum Front<'a> {
    /// Nothing waits.
    Nothing,
    /// Bytes of the connection's own.
    Own(&'a [u8]),
    /// The rest of a shared message, which begins at this byte.
    Shared(&'a Arc<[u8]>, usize),
}

#[derive(Debug)]
enum Segment {
    Own(Vec<u8>),
    Shared(Shared),
}

/// Bytes and messages that wait for one connection, in order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    own: Vec<u8>,
    /// How much of `own` has left.
    left: usize,
    rest: Option<Box<Rest>>,
}

/// What waits behind `own`.
#[derive(Debug, Default)]
struct Rest {
    segments: VecDeque<Segment>,
    /// Bytes of the segments, of the first one those that have not left.
    bytes: usize,
    /// How much of the first segment has left.
    left: usize,
    /// Messages that were discarded, oldest first, to stay within the bound.
    dropped: u64,
}

impl Output {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.rest.as_ref().is_none_or(|rest| rest.segments.is_empty())
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.own.len() - self.left + self.rest.as_ref().map_or(0, |rest| rest.bytes)
    }

    /// Bytes of memory that only this connection needs.
    pub fn own_memory(&self) -> usize {
        let segment = |segment: &Segment| match segment {
            Segment::Own(bytes) => bytes.capacity(),
            Segment::Shared(_) => size_of::<Segment>(),
        };
        let rest = self.rest.as_ref().map_or(0, |rest| rest.segments.iter().map(segment).sum());
        self.own.capacity() + rest
    }

    /// Whether a shared message leaves next.
    pub fn begins_shared(&self) -> bool {
        let front = self.rest.as_ref().and_then(|rest| rest.segments.front());
        self.own.is_empty() && matches!(front, Some(Segment::Shared(_)))
    }

    /// Whether a message of this size may be appended to the own buffer.
    pub fn has_room_in_buffer(&self, size: usize) -> bool {
        self.rest.is_none() && (self.own.is_empty() || self.own.len() - self.left + size <= BUFFER)
    }

    /// Appends what `write` writes, behind everything else.
    pub fn append<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let Some(rest) = self.rest.as_mut().filter(|rest| !rest.segments.is_empty()) else {
            return write(&mut self.own);
        };
        if !matches!(rest.segments.back(), Some(Segment::Own(_))) {
            rest.segments.push_back(Segment::Own(Vec::new()));
        }
        let Some(Segment::Own(bytes)) = rest.segments.back_mut() else {
            unreachable!("it was pushed just now");
        };
        let before = bytes.len();
        let result = write(bytes);
        rest.bytes += bytes.len() - before;
        result
    }

    /// Appends bytes, behind everything else.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.append(|own| own.extend_from_slice(bytes));
    }

    /// Appends a message that is shared with others.
    pub fn push(&mut self, message: Shared, bound: Bound) -> Pushed {
        let rest = self.rest.get_or_insert_default();
        let alone = self.own.is_empty() && rest.segments.is_empty();
        rest.bytes += message.bytes.len();
        rest.segments.push_back(Segment::Shared(message));
        if bound.slow == Slow::DropOldest {
            return rest.drop_oldest(bound.bytes);
        }
        let waiting = self.own.len() - self.left + rest.bytes;
        // One message alone, however large, says nothing about how its client reads.
        if waiting > bound.bytes && !alone { Pushed::TooMuch { waiting } } else { Pushed::Kept }
    }

    /// What leaves next. Small shared messages become one by the way, which `merger` makes once for all connections for
    /// which the same ones wait.
    pub fn front(&mut self, merger: &mut Merger) -> Front<'_> {
        if !self.own.is_empty() {
            return Front::Own(&self.own[self.left..]);
        }
        if self.takes_own_segment() {
            return Front::Own(&self.own);
        }
        let Some(rest) = &mut self.rest else { return Front::Nothing };
        rest.merge_small(merger);
        match rest.segments.front() {
            Some(Segment::Shared(message)) => Front::Shared(&message.bytes, rest.left),
            _ => Front::Nothing,
        }
    }

    /// A message of exactly these bytes leaves behind what leaves next: appended to that where few bytes have to be copied
    /// for it (`true`), or by itself.
    pub fn follow_front(&mut self, bytes: &Arc<[u8]>) -> bool {
        if let Some(rest) = &mut self.rest
            && self.own.is_empty()
            && matches!(rest.segments.front(), Some(Segment::Shared(front)) if front.bytes.len() > SMALL)
        {
            rest.bytes += bytes.len();
            rest.segments.insert(
                1,
                Segment::Shared(Shared { bytes: Arc::clone(bytes), room: None, is_control: true }),
            );
            return false;
        }
        self.own_front().extend_from_slice(bytes);
        true
    }

    /// The own buffer with what leaves next, to append to exactly that: a shared message is copied.
    fn own_front(&mut self) -> &mut Vec<u8> {
        if self.own.is_empty()
            && !self.takes_own_segment()
            && let Some(rest) = &mut self.rest
            && let Some(Segment::Shared(message)) = rest.segments.pop_front()
        {
            self.own.extend_from_slice(&message.bytes[rest.left..]);
            rest.bytes -= message.bytes.len() - rest.left;
            rest.left = 0;
        }
        &mut self.own
    }

    /// Bytes in the own buffer, those that have left included.
    pub fn buffered(&self) -> usize {
        self.own.len()
    }

    /// This many bytes of what [`front`](Self::front) returned have left. `compact`: memory of what has left is given back
    /// when it is much.
    pub fn advance(&mut self, size: usize, compact: bool) {
        if self.own.is_empty() {
            if let Some(rest) = &mut self.rest {
                rest.advance(size);
            }
            return;
        }
        self.left += size;
        if self.left >= self.own.len() {
            self.own.clear();
            self.own.shrink_to(4096);
            self.left = 0;
        } else if compact && self.left >= COMPACT && self.left > self.own.len() / 4 * 3 {
            self.own.drain(..self.left);
            self.own.shrink_to_fit();
            self.left = 0;
        }
    }

    /// Messages that were discarded since the client last kept up.
    pub fn dropped(&self) -> u64 {
        self.rest.as_ref().map_or(0, |rest| rest.dropped)
    }

    /// Once all that waited has left: how many messages were discarded in the meantime.
    pub fn take_dropped(&mut self) -> u64 {
        match &self.rest {
            Some(rest) if rest.segments.is_empty() => self.rest.take().map_or(0, |rest| rest.dropped),
            _ => 0,
        }
    }

    /// Discards the messages of which nothing has left. What has begun stays: the client could not make sense of
    /// anything behind a part of it.
    pub fn drop_unbegun(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        rest.segments.truncate(usize::from(rest.left > 0));
        rest.bytes = match rest.segments.front() {
            Some(Segment::Shared(message)) => message.bytes.len() - rest.left,
            _ => 0,
        };
        if rest.segments.is_empty() {
            self.rest = None;
        }
    }

    /// Gives the memory of an empty buffer back.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Moves a segment of own bytes to the front buffer, which is empty.
    fn takes_own_segment(&mut self) -> bool {
        let Some(rest) = &mut self.rest else { return false };
        let Some(Segment::Own(bytes)) = rest.segments.front_mut() else { return false };
        self.own = std::mem::take(bytes);
        self.left = 0;
        rest.bytes -= self.own.len();
        rest.segments.pop_front();
        !self.own.is_empty()
    }
}

impl Rest {
    fn advance(&mut self, size: usize) {
        self.left += size;
        self.bytes -= size;
        if let Some(Segment::Shared(message)) = self.segments.front()
            && self.left >= message.bytes.len()
        {
            self.segments.pop_front();
            self.left = 0;
        }
    }

    fn drop_oldest(&mut self, bound: usize) -> Pushed {
        let (mut count, mut first) = (0, None);
        let mut at = usize::from(self.left > 0);
        while self.bytes > bound && at + 1 < self.segments.len() {
            if !matches!(&self.segments[at], Segment::Shared(message) if !message.is_control) {
                at += 1;
                continue;
            }
            let Some(Segment::Shared(oldest)) = self.segments.remove(at) else { break };
            self.bytes -= oldest.bytes.len();
            self.dropped += 1;
            count += 1;
            if self.dropped == 1 {
                first = Some(oldest.room);
            }
        }
        if count == 0 { Pushed::Kept } else { Pushed::Dropped { count, first } }
    }

    fn merge_small(&mut self, merger: &mut Merger) {
        let (mut count, mut bytes) = (0, 0);
        for segment in self.segments.iter().take_while(|_| self.left == 0) {
            let Segment::Shared(message) = segment else { break };
            if message.bytes.len() > SMALL || bytes + message.bytes.len() > BUFFER {
                break;
            }
            bytes += message.bytes.len();
            count += 1;
        }
        if count > 1 {
            let parts = self.segments.drain(..count).filter_map(|segment| match segment {
                Segment::Shared(message) => Some(message.bytes),
                Segment::Own(_) => None,
            });
            let whole = merger.merge(parts, bytes);
            self.segments.push_front(Segment::Shared(Shared::message(whole, None)));
        }
    }
}

/// Merges messages, and remembers the last merge: most connections wait for the same ones.
#[derive(Debug, Default)]
pub(crate) struct Merger {
    parts: Vec<Arc<[u8]>>,
    next: Vec<Arc<[u8]>>,
    whole: Option<Arc<[u8]>>,
}

impl Merger {
    fn merge(&mut self, parts: impl Iterator<Item = Arc<[u8]>>, bytes: usize) -> Arc<[u8]> {
        self.next.clear();
        self.next.extend(parts);
        let is_same = self.parts.len() == self.next.len()
            && self.parts.iter().zip(&self.next).all(|(old, new)| Arc::ptr_eq(old, new));
        if let Some(whole) = self.whole.as_ref().filter(|_| is_same) {
            return Arc::clone(whole);
        }
        let mut whole = Vec::with_capacity(bytes);
        self.next.iter().for_each(|part| whole.extend_from_slice(part));
        let whole: Arc<[u8]> = whole.into();
        std::mem::swap(&mut self.parts, &mut self.next);
        self.whole = Some(Arc::clone(&whole));
        whole
    }

    /// Forgets the last merge: its messages are not kept for it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Bound = Bound { slow: Slow::Wait, bytes: 1 << 20 };

    fn shared(text: &str) -> Shared {
        Shared::message(text.as_bytes().into(), None)
    }

    /// Takes all in portions of at most `portion` bytes.
    fn drain(out: &mut Output, portion: usize) -> String {
        let (mut text, mut merger) = (Vec::new(), Merger::default());
        loop {
            let size = match out.front(&mut merger) {
                Front::Nothing => break,
                Front::Own(bytes) => {
                    let size = bytes.len().min(portion);
                    text.extend_from_slice(&bytes[..size]);
                    size
                }
                Front::Shared(message, from) => {
                    let size = (message.len() - from).min(portion);
                    text.extend_from_slice(&message[from..from + size]);
                    size
                }
            };
            let before = out.len();
            out.advance(size, true);
            assert_eq!(out.len(), before - size);
        }
        assert!(out.is_empty());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn everything_leaves_once_and_in_order_whatever_the_portions() {
        for portion in [1, 2, 3, 7, 100] {
            let mut out = Output::default();
            out.extend(b"own ");
            out.push(shared("first "), WAIT);
            out.push(shared("second "), WAIT);
            out.extend(b"mine ");
            out.extend(b"too ");
            out.push(shared("third"), WAIT);
            assert_eq!(out.len(), 31);
            assert_eq!(drain(&mut out, portion), "own first second mine too third");
            assert_eq!(out.take_dropped(), 0);
            out.extend(b"again");
            assert_eq!(drain(&mut out, portion), "again");
        }
    }

    #[test]
    fn taking_a_large_body_away_in_parts_moves_it_at_most_twice() {
        let mut out = Output::default();
        out.extend(&vec![b'x'; 8 << 20]);
        let mut merger = Merger::default();
        let mut places = Vec::new();
        while let Front::Own(bytes) = out.front(&mut merger) {
            let size = bytes.len().min(102_400);
            places.push((bytes.as_ptr() as usize, size));
            out.advance(size, true);
        }
        let moves = places.windows(2).filter(|pair| pair[1].0 != pair[0].0 + pair[0].1).count();
        assert!(moves <= 3, "moved {moves} times");
    }

    #[test]
    fn connections_that_wait_for_the_same_messages_share_one_merge() {
        let messages = [shared("a"), shared("b"), shared("c")];
        let (mut one, mut other) = (Output::default(), Output::default());
        for message in &messages {
            one.push(message.clone(), WAIT);
            other.push(message.clone(), WAIT);
        }
        let mut merger = Merger::default();
        let Front::Shared(first, 0) = one.front(&mut merger) else { panic!() };
        let first = Arc::clone(first);
        let Front::Shared(second, 0) = other.front(&mut merger) else { panic!() };
        assert!(Arc::ptr_eq(&first, second) && &**second == b"abc");
    }

    #[test]
    fn the_oldest_messages_are_discarded_but_never_one_that_has_begun() {
        let bound = Bound { slow: Slow::DropOldest, bytes: 12 };
        let mut out = Output::default();
        out.push(shared("begun!"), bound);
        let mut merger = Merger::default();
        out.front(&mut merger);
        out.advance(2, true);
        assert!(matches!(out.push(shared("second"), bound), Pushed::Kept));
        let pushed = out.push(shared("third!"), bound);
        assert!(matches!(pushed, Pushed::Dropped { count: 1, first: Some(None) }), "{pushed:?}");
        let pushed = out.push(shared("fourth"), bound);
        assert!(matches!(pushed, Pushed::Dropped { count: 1, first: None }), "only the first is told of");
        assert_eq!(drain(&mut out, 100), "gun!fourth");
        assert_eq!(out.take_dropped(), 2);
    }

    #[test]
    fn a_message_alone_may_be_of_any_size_and_a_second_one_may_not() {
        let bound = Bound { slow: Slow::Wait, bytes: 3 };
        let mut out = Output::default();
        assert!(matches!(out.push(shared("large"), bound), Pushed::Kept));
        assert!(matches!(out.push(shared("more"), bound), Pushed::TooMuch { waiting: 9 }));
        let mut merger = Merger::default();
        out.own_front().push(b'!');
        out.front(&mut merger);
        out.advance(2, true);
        out.drop_unbegun();
        out.extend(b"bye");
        assert_eq!(drain(&mut out, 100), "rge!bye");
    }
}
