//! What a client that comes and goes has still to get.
//!
//! Messages are numbered from 1. What was handed to a carrier stays until the client says that it has it, by the number
//! from which on it wants to go on; so an answer that is lost on its way is written again, and nothing is told twice to
//! who counts. A stream's client says nothing while it reads: of what it was sent, the newest is kept for the case that it
//! comes back.

use crate::channel::Slow;
use std::collections::VecDeque;
use std::sync::Arc;

/// A message of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Not a text.
    pub binary: bool,
    /// Its bytes, shared by all that get it.
    pub payload: Arc<[u8]>,
}

/// How much may lie in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Messages.
    pub letters: usize,
    /// Bytes of messages.
    pub bytes: usize,
    /// What becomes of more.
    pub slow: Slow,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It waits for the client.
    Kept,
    /// It does, and so many that waited longest were dropped for it.
    Dropped(usize),
    /// There is no room for it.
    Full,
}

/// A place in the mailbox from which nobody can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// What comes next was dropped already, or the client said that it had it.
    Past,
    /// So many messages were never sent.
    Future,
}

/// The messages to one client.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    letters: VecDeque<Letter>,
    /// How many came before the first of `letters`.
    before: u64,
    /// The number of the last one that was handed out.
    sent: u64,
    bytes: usize,
    /// Those of `bytes` that were not handed out.
    unsent: usize,
}

impl Mailbox {
    /// Puts a message behind the others.
    pub(crate) fn post(&mut self, letter: Letter, bounds: Bounds) -> Posted {
        let size = letter.payload.len();
        self.letters.push_back(letter);
        self.bytes += size;
        self.unsent += size;
        // One message alone, however large, says nothing about how its client reads.
        if self.waiting() == 1 {
            return Posted::Kept;
        }
        if bounds.slow != Slow::DropOldest {
            return if self.is_beyond(bounds) { Posted::Full } else { Posted::Kept };
        }
        let mut dropped = 0;
        while self.is_beyond(bounds) && self.waiting() > 1 {
            dropped += usize::from(self.sent == self.before);
            self.drop_first();
        }
        if dropped == 0 { Posted::Kept } else { Posted::Dropped(dropped) }
    }

    /// What was handed out has its own bounds, and says nothing about how its client reads.
    fn is_beyond(&self, bounds: Bounds) -> bool {
        self.waiting() > bounds.letters || self.unsent > bounds.bytes
    }

    fn drop_first(&mut self) {
        if let Some(letter) = self.letters.pop_front() {
            self.bytes -= letter.payload.len();
            self.before += 1;
            if self.sent < self.before {
                self.sent = self.before;
                self.unsent -= letter.payload.len();
            }
        }
    }

    /// The client has all up to number `after`, and wants what follows. `None`: it has all that was handed out.
    ///
    /// # Errors
    ///
    /// [`Lost`] when what follows is not known, or not any more. Nothing has changed then.
    pub(crate) fn go_on(&mut self, after: Option<u64>) -> Result<(), Lost> {
        let after = after.unwrap_or(self.sent);
        if after > self.sent {
            return Err(Lost::Future);
        }
        if after < self.before {
            return Err(Lost::Past);
        }
        while self.before < after {
            self.drop_first();
        }
        self.sent = after;
        self.unsent = self.bytes;
        Ok(())
    }

    /// The client has all up to number `after`, while what carries its messages goes on.
    pub(crate) fn acknowledge(&mut self, after: u64) {
        while self.before < after.min(self.sent) {
            self.drop_first();
        }
    }

    /// Messages and bytes that were handed out and are kept until the client has them.
    pub(crate) fn unacknowledged(&self) -> (u64, usize) {
        (self.sent - self.before, self.bytes - self.unsent)
    }

    /// The next message to hand out, with its number.
    pub(crate) fn hand_out(&mut self) -> Option<(u64, &Letter)> {
        let at = usize::try_from(self.sent - self.before).ok()?;
        let letter = self.letters.get(at)?;
        self.sent += 1;
        self.unsent -= letter.payload.len();
        Some((self.sent, letter))
    }

    /// The bytes of the message that is next.
    pub(crate) fn peek(&self) -> Option<usize> {
        let at = usize::try_from(self.sent - self.before).ok()?;
        self.letters.get(at).map(|letter| letter.payload.len())
    }

    /// The number of the last message that was handed out.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// The number behind which messages are there.
    pub(crate) fn before(&self) -> u64 {
        self.before
    }

    /// Whether everything was handed out.
    pub(crate) fn is_all_sent(&self) -> bool {
        self.waiting() == 0
    }

    /// How many messages were not handed out.
    pub(crate) fn waiting(&self) -> usize {
        self.letters.len() - (self.sent - self.before) as usize
    }

    /// Messages and bytes that are kept.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.letters.len(), self.bytes)
    }

    /// Forgets what was handed out, but for the newest within these bounds.
    pub(crate) fn forget_sent(&mut self, letters: usize, bytes: usize) {
        let unsent = self.waiting();
        let is_beyond = |mailbox: &Self| {
            mailbox.letters.len() - unsent > letters || mailbox.bytes - mailbox.unsent > bytes
        };
        while self.before < self.sent && is_beyond(self) {
            self.drop_first();
        }
        if self.letters.is_empty() {
            self.letters.shrink_to(16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Bounds = Bounds { letters: 100, bytes: 1000, slow: Slow::Wait };

    fn letter(text: &str) -> Letter {
        Letter { binary: false, payload: text.as_bytes().into() }
    }

    fn read(mailbox: &mut Mailbox) -> Vec<(u64, String)> {
        std::iter::from_fn(|| {
            mailbox
                .hand_out()
                .map(|(number, letter)| (number, String::from_utf8_lossy(&letter.payload).into_owned()))
        })
        .collect()
    }

    #[test]
    fn what_was_handed_out_comes_again_until_the_client_has_it() {
        let mut mailbox = Mailbox::default();
        for text in ["a", "b", "c"] {
            assert_eq!(mailbox.post(letter(text), WIDE), Posted::Kept);
        }
        let all = [(1, "a".to_owned()), (2, "b".to_owned()), (3, "c".to_owned())];
        assert_eq!(read(&mut mailbox), all);
        assert!(mailbox.is_all_sent());
        mailbox.go_on(Some(1)).unwrap();
        assert_eq!(read(&mut mailbox), all[1..]);
        assert_eq!(mailbox.go_on(Some(0)), Err(Lost::Past));
        assert_eq!(mailbox.go_on(Some(4)), Err(Lost::Future));
        mailbox.go_on(None).unwrap();
        assert_eq!(read(&mut mailbox), []);
        assert_eq!(mailbox.size(), (0, 0));
        mailbox.post(letter("d"), WIDE);
        assert_eq!(read(&mut mailbox), [(4, "d".to_owned())]);
    }

    #[test]
    fn what_the_client_has_goes_while_the_rest_waits() {
        let mut mailbox = Mailbox::default();
        for text in ["a", "bc", "d"] {
            mailbox.post(letter(text), WIDE);
        }
        mailbox.hand_out();
        mailbox.hand_out();
        assert_eq!(mailbox.unacknowledged(), (2, 3));
        mailbox.acknowledge(1);
        assert_eq!((mailbox.unacknowledged(), mailbox.before()), ((1, 2), 1));
        mailbox.acknowledge(0);
        mailbox.acknowledge(99);
        assert_eq!(
            (mailbox.unacknowledged(), mailbox.before()),
            ((0, 0), 2),
            "what was not sent it cannot have"
        );
        assert_eq!(read(&mut mailbox), [(3, "d".to_owned())]);
    }

    #[test]
    fn a_full_mailbox_says_so_or_drops_the_oldest() {
        let mut mailbox = Mailbox::default();
        let narrow = Bounds { letters: 2, bytes: 5, slow: Slow::Wait };
        assert_eq!(mailbox.post(letter("much too large"), narrow), Posted::Kept, "one alone is no jam");
        assert_eq!(mailbox.post(letter("b"), narrow), Posted::Full);
        let mut mailbox = Mailbox::default();
        let newest = Bounds { slow: Slow::DropOldest, ..narrow };
        for text in ["a", "b"] {
            assert_eq!(mailbox.post(letter(text), newest), Posted::Kept);
        }
        assert_eq!(mailbox.post(letter("c"), newest), Posted::Dropped(1));
        assert_eq!(mailbox.post(letter("12345"), newest), Posted::Dropped(2));
        assert_eq!(mailbox.before(), 3);
        assert_eq!(read(&mut mailbox), [(4, "12345".to_owned())]);
    }

    #[test]
    fn a_client_that_reads_is_not_slow_whatever_is_kept_for_its_return() {
        for slow in [Slow::Wait, Slow::Close, Slow::DropOldest] {
            let mut mailbox = Mailbox::default();
            let narrow = Bounds { letters: 2, bytes: 5, slow };
            for _ in 0..100 {
                assert_eq!(mailbox.post(letter("abc"), narrow), Posted::Kept, "{slow:?}");
                mailbox.hand_out();
            }
            assert!(mailbox.is_all_sent());
        }
        // Where the oldest make room, those that were sent already go first, and are not missing.
        let mut mailbox = Mailbox::default();
        let newest = Bounds { letters: 2, bytes: 5, slow: Slow::DropOldest };
        mailbox.post(letter("a"), newest);
        mailbox.hand_out();
        let posted = ["b", "c", "d"].map(|text| mailbox.post(letter(text), newest));
        assert_eq!(posted, [Posted::Kept, Posted::Kept, Posted::Dropped(1)]);
        assert_eq!(read(&mut mailbox), [(3, "c".to_owned()), (4, "d".to_owned())]);
    }

    #[test]
    fn of_what_a_stream_was_sent_the_newest_stays() {
        let mut mailbox = Mailbox::default();
        for n in 0..10 {
            mailbox.post(letter(&n.to_string()), WIDE);
        }
        for _ in 0..8 {
            mailbox.hand_out();
        }
        mailbox.forget_sent(3, 1000);
        assert_eq!((mailbox.before(), mailbox.size().0), (5, 5));
        mailbox.forget_sent(3, 2);
        assert_eq!(mailbox.before(), 6);
        mailbox.forget_sent(0, 0);
        assert_eq!(mailbox.before(), 8, "what was not sent is never forgotten");
        assert_eq!(read(&mut mailbox).len(), 2);
    }
}
