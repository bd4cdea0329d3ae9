//! What is on its way to the clients of a Mongrel2 that reports what it has written.
//!
//! A Mongrel2 with flow control sends a notice for each message that it has written to a client. From these the hub
//! knows how much work the server has left. A room's messages are handed to it in portions, so that the response to
//! a request never waits behind ten thousand deliveries. Clients that do not read hold their notices back; what was
//! sent long ago is theirs and counts no more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The work that a server has left, in bytes.
#[derive(Debug)]
pub(in crate::hub) struct UnderWay {
    /// What was sent when, oldest first.
    recent: VecDeque<(Instant, u64)>,
    sum: u64,
    has_room: bool,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self { recent: VecDeque::new(), sum: 0, has_room: true }
    }
}

impl UnderWay {
    /// Room messages wait while this much is on its way: Mongrel2 writes it in about 20 ms.
    pub const WINDOW: u64 = 8 << 20;
    /// What a message costs besides its bytes, as bytes: Mongrel2 takes about 20 µs for it and its notice, in which it
    /// writes 8 KiB.
    const MESSAGE: u64 = 8 << 10;
    /// After this time without its notice a message waits for its client, not for the server.
    const AGE: Duration = Duration::from_millis(100);

    /// Counts a message to one client.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        let cost = bytes as u64 + Self::MESSAGE;
        self.sum += cost;
        match self.recent.back_mut().filter(|(at, _)| *at == now) {
            Some((_, sum)) => *sum += cost,
            None => self.recent.push_back((now, cost)),
        }
    }

    /// A notice said that a message of this many bytes was written.
    pub fn credited(&mut self, bytes: u64) {
        let mut cost = bytes.saturating_add(Self::MESSAGE);
        while let Some((_, oldest)) = self.recent.front_mut().filter(|_| cost > 0) {
            let part = cost.min(*oldest);
            *oldest -= part;
            self.sum -= part;
            cost -= part;
            if *oldest == 0 {
                self.recent.pop_front();
            }
        }
    }

    /// Whether a room's next portion may go. Once the window was full, half of it has to be written first: that makes
    /// few large replies of many small ones.
    pub fn has_room(&mut self, now: Instant) -> bool {
        while let Some((at, cost)) = self.recent.front().copied()
            && now.saturating_duration_since(at) >= Self::AGE
        {
            self.recent.pop_front();
            self.sum -= cost;
        }
        self.has_room = self.sum < if self.has_room { Self::WINDOW } else { Self::WINDOW / 2 };
        self.has_room
    }

    /// When there may be room though no notice comes.
    pub fn next_room(&self) -> Option<Instant> {
        self.recent.front().map(|(at, _)| *at + Self::AGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_opens_when_half_of_it_is_written() {
        let (mut under_way, now) = (UnderWay::default(), Instant::now());
        let mut sent = 0;
        while under_way.has_room(now) {
            under_way.sent(100_000, now);
            sent += 1;
        }
        assert_eq!(sent, 78, "8 MiB in messages of 100,000 bytes");
        let mut written = 0;
        while !under_way.has_room(now) {
            under_way.credited(100_000);
            written += 1;
        }
        assert_eq!(written, 40);
    }

    #[test]
    fn what_clients_do_not_read_does_not_count_for_long() {
        let (mut under_way, now) = (UnderWay::default(), Instant::now());
        under_way.sent(100 << 20, now);
        assert!(!under_way.has_room(now + Duration::from_millis(99)));
        assert_eq!(under_way.next_room(), Some(now + UnderWay::AGE));
        assert!(under_way.has_room(now + UnderWay::AGE));
        under_way.credited(100 << 20);
        assert!(under_way.has_room(now + UnderWay::AGE), "a late notice changes nothing");
        assert_eq!(under_way.next_room(), None);
    }
}
