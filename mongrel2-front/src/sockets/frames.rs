//! Messages in order, as the frames in which they go to a peer.

use mongrel2_wire::zmtp;

/// Bytes of room that stay when all frames are gone.
const KEPT: usize = 1 << 20;

/// Whole frames, first in, first out. They lie in one piece, so many go out with one call.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Before this, everything is gone.
    start: usize,
}

impl Frames {
    /// How many bytes the frames have.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a message.
    #[inline]
    pub(super) fn push(&mut self, message: &[u8]) {
        zmtp::encode(&mut self.bytes, message);
    }

    /// Appends a part of a message that others follow.
    pub(super) fn push_part(&mut self, part: &[u8]) {
        zmtp::encode_part(&mut self.bytes, part);
    }

    /// Appends the answer to a heartbeat.
    pub(super) fn push_pong(&mut self, context: &[u8]) {
        zmtp::encode_pong(&mut self.bytes, context);
    }

    /// Appends frames of another.
    pub(super) fn push_frames(&mut self, frames: &[u8]) {
        self.bytes.extend_from_slice(frames);
    }

    /// All frames.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many bytes the frames in front have that fit into `room`; the first one is always taken.
    pub(super) fn front(&self, room: usize) -> usize {
        let all = self.bytes();
        let mut taken = first(all);
        while taken < all.len() {
            let next = taken + first(&all[taken..]);
            if next > room {
                break;
            }
            taken = next;
        }
        taken
    }

    /// Removes the frames that lie wholly in the first `count` bytes, and says how many bytes those have.
    pub(super) fn remove_whole(&mut self, count: usize) -> usize {
        let all = self.bytes();
        let mut whole = 0;
        // The usual case needs no look at the frames.
        if count == all.len() {
            whole = count;
        }
        while whole < count {
            let next = whole + first(&all[whole..]);
            if next > count {
                break;
            }
            whole = next;
        }
        self.remove(whole);
        whole
    }

    /// Removes the first `count` bytes, whole frames.
    pub(super) fn remove(&mut self, count: usize) {
        self.start += count;
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.start = 0;
        } else if self.start > KEPT && self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Puts the messages of another queue before all others; commands among its frames are left out.
    pub(super) fn put_back(&mut self, mut frames: &[u8]) {
        let mut messages = Vec::with_capacity(frames.len());
        while !frames.is_empty() {
            let (frame, rest) = frames.split_at(first(frames));
            if !zmtp::is_command(frame) {
                messages.extend_from_slice(frame);
            }
            frames = rest;
        }
        self.bytes.splice(..self.start, messages);
        self.start = 0;
    }
}

/// The size of the first frame, at most all there is.
#[inline]
fn first(frames: &[u8]) -> usize {
    zmtp::frame_size(frames).unwrap_or(usize::MAX).min(frames.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(messages: &[&[u8]]) -> Frames {
        let mut frames = Frames::default();
        messages.iter().for_each(|message| frames.push(message));
        frames
    }

    #[test]
    fn as_many_frames_are_taken_as_fit_but_always_one() {
        let all = frames(&[b"12345678", b"12345678", &[0; 300], b"1"]);
        assert_eq!(
            [0, 10, 19, 20, 328, 329, 331, 332, 999].map(|room| all.front(room)),
            [10, 10, 10, 20, 20, 329, 329, 332, 332]
        );
        assert_eq!(Frames::default().front(100), 0);
    }

    #[test]
    fn a_frame_stays_until_its_last_byte_is_gone() {
        let mut all = frames(&[b"one", b"two", b"three"]);
        assert_eq!(all.remove_whole(4), 0);
        assert_eq!(all.remove_whole(6), 5);
        assert_eq!(all.bytes(), frames(&[b"two", b"three"]).bytes());
        assert_eq!(all.remove_whole(12), 12);
        assert!(all.is_empty());
    }

    #[test]
    fn what_is_put_back_comes_first_and_without_commands() {
        let mut all = frames(&[b"gone", b"3", b"4"]);
        all.remove(6);
        let mut back = frames(&[b"1"]);
        back.push_pong(b"");
        back.push(b"2");
        all.put_back(back.bytes());
        assert_eq!(all.bytes(), frames(&[b"1", b"2", b"3", b"4"]).bytes());
    }

    #[test]
    fn room_does_not_grow_with_what_has_passed() {
        let mut all = Frames::default();
        let message = [7; 1000];
        for _ in 0..10 {
            all.push(&message);
        }
        for _ in 0..100_000 {
            all.push(&message);
            all.remove(all.front(0));
        }
        assert_eq!(all.len(), 10 * 1009);
        assert!(all.bytes.capacity() < 8 * KEPT);
    }
}
