//! How much may be sent to one connection now.
//!
//! Mongrel2 holds at most 16 undelivered replies for a connection, whatever their size, and cuts it
//! off at the seventeenth; its queue drains only while it reads no replies. It does not say when
//! one was delivered, so we send at most [`MESSAGES`](Pacer::MESSAGES) in a
//! [`WINDOW`](Pacer::WINDOW) and let the rest grow together in the connection's buffer: two
//! adjacent windows stay within the 16, as long as Mongrel2 is not held up for longer. A WebSocket's client can tell
//! us more: a ping behind the last message that may go, and its pong proves that all before it have arrived.
//!
//! Under `download.flow_control` the limit is bytes, 102,400 of them, and every written reply comes
//! back as a notice: then the sum is exact and the window does not matter.

use std::time::{Duration, Instant};

/// What one connection was sent lately.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Pacer {
    window_start: Option<Instant>,
    sent_in_window: u8,
    /// Messages since the ping whose pong will prove that those before it have arrived.
    since_ping: Option<u8>,
    /// Bytes sent under flow control and not yet reported as written.
    outstanding: usize,
    last_use: Option<Instant>,
}

/// What may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    /// One message of at most this many bytes.
    Send(usize),
    /// Nothing before this time.
    Wait(Instant),
    /// Nothing before a notice says that bytes were written.
    WaitForCredits,
}

impl Pacer {
    /// Messages to one connection within a window.
    pub const MESSAGES: u8 = 8;
    /// The window, in which Mongrel2 gets round to writing: 16 in 10 ms always passed on an idle machine; on a busy
    /// one it was held up for longer.
    pub const WINDOW: Duration = Duration::from_millis(50);
    /// The window while a ping is under way whose pong will tell sooner: a server that is held up gets no more meanwhile.
    const ASKED: Duration = Duration::from_millis(250);
    /// So few messages in a window are soon forgotten.
    const FEW: u8 = 2;
    /// How soon: a connection that is idle for so long after them has them.
    pub const SHORT: Duration = Duration::from_millis(10);
    /// What the ping says by which delivery is asked about.
    pub const PING: &[u8] = b"arrived?";
    /// The least time from an answer to the next request (measured: 78 µs is the median on loopback).
    const ROUND_TRIP: Duration = Duration::from_micros(50);
    /// How often idle connections are looked at.
    pub const SWEEP: Duration = Duration::from_secs(1);
    /// Mongrel2's allowance under flow control, bytes.
    pub const CREDITS: usize = 102_400;
    /// How long a closed connection is remembered: messages that were under way still arrive.
    const CLOSED: Duration = Duration::from_secs(2);
    /// A client that has read nothing for this time, or has left without a notice, is given up: Mongrel2's own
    /// `limits.min_ping` and a tick.
    const LOST: Duration = Duration::from_secs(150);
    /// After this time without credits the server is asked whether the client is still there.
    pub const SILENCE: Duration = Duration::from_millis(500);

    /// Says what may be sent now.
    pub fn allowance(&self, flow_control: bool, now: Instant) -> Allowance {
        if flow_control {
            return match Self::CREDITS - self.outstanding.min(Self::CREDITS) {
                0 => Allowance::WaitForCredits,
                bytes => Allowance::Send(bytes),
            };
        }
        match self.window_start {
            Some(start) if now < start + self.window() && self.sent_in_window >= Self::MESSAGES => {
                Allowance::Wait(start + self.window())
            }
            _ => Allowance::Send(usize::MAX),
        }
    }

    fn window(&self) -> Duration {
        if self.since_ping.is_some() { Self::ASKED } else { Self::WINDOW }
    }

    /// Counts a message of so many bytes; 0 is a close.
    pub fn sent(&mut self, bytes: usize, flow_control: bool, now: Instant) {
        self.last_use = Some(now);
        if flow_control {
            self.outstanding += bytes;
        }
        if let Some(since) = &mut self.since_ping {
            *since = since.saturating_add(1);
        }
        match self.window_start {
            Some(start) if now < start + self.window() => {
                // Under flow control any number may leave.
                self.sent_in_window = self.sent_in_window.saturating_add(1);
            }
            _ => {
                self.window_start = Some(now);
                self.sent_in_window = 1;
            }
        }
    }

    /// Goes on counting for a connection that was sent so many messages in its current window.
    pub fn resume(&mut self, sent: u8, now: Instant) {
        if sent > 0 {
            self.window_start = Some(now);
            self.sent_in_window = sent;
            self.last_use = Some(now);
        }
    }

    /// The client sent a request while it had no other under way: it has what it was sent before. One
    /// that comes sooner than an answer can go out and be answered was pipelined and proves nothing.
    pub fn heard(&mut self, now: Instant) {
        if self.last_use.is_some_and(|at| now.saturating_duration_since(at) >= Self::ROUND_TRIP) {
            self.sent_in_window = 0;
        }
    }

    /// Whether the next message, without flow control, should ask whether it has arrived.
    pub fn wants_ping(&self, now: Instant) -> bool {
        let in_window = self.window_start.is_some_and(|start| now < start + self.window());
        in_window && self.since_ping.is_none() && self.sent_in_window + 2 >= Self::MESSAGES
    }

    /// The message that is about to be sent has a ping at its end.
    pub fn pings(&mut self) {
        self.since_ping = Some(0);
    }

    /// The pong came.
    pub fn arrived(&mut self) {
        // The first message after the ping is the one that carried it.
        if let Some(since) = self.since_ping.take() {
            self.sent_in_window = self.sent_in_window.min(since.saturating_sub(1));
        }
    }

    /// A notice said that so many bytes were written.
    pub fn credited(&mut self, bytes: u64, now: Instant) {
        self.last_use = Some(now);
        self.outstanding = self.outstanding.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// Whether nothing is under way that a notice will report.
    pub fn is_all_written(&self) -> bool {
        self.outstanding == 0
    }

    /// Whether bytes are unreported for so long that the client is given up.
    pub fn is_lost(&self, now: Instant) -> bool {
        self.outstanding > 0 && self.silence(now) >= Self::LOST
    }

    /// The time since something was sent, or reported as written.
    pub fn silence(&self, now: Instant) -> Duration {
        self.last_use.map_or(Duration::MAX, |at| now.saturating_duration_since(at))
    }

    /// Whether an idle connection's past no longer matters.
    pub fn is_settled(&self, closed: bool, now: Instant) -> bool {
        let age = self.silence(now);
        // Who was sent hardly anything need not be remembered for a whole window.
        let window = if self.sent_in_window <= Self::FEW { Self::SHORT } else { Self::WINDOW };
        if closed { age >= Self::CLOSED } else { self.outstanding == 0 && age >= window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ninth_message_of_a_window_waits() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        for _ in 0..8 {
            assert_eq!(pacer.allowance(false, start), Allowance::Send(usize::MAX));
            pacer.sent(1, false, start);
        }
        let end = start + Pacer::WINDOW;
        assert_eq!(pacer.allowance(false, start), Allowance::Wait(end));
        assert_eq!(pacer.allowance(false, end), Allowance::Send(usize::MAX));
        pacer.sent(1, false, end);
        assert_eq!(pacer.allowance(false, end), Allowance::Send(usize::MAX));
    }

    #[test]
    fn a_pong_proves_that_what_was_sent_before_its_ping_has_arrived() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        for sent in 0..7 {
            assert_eq!(pacer.wants_ping(now), sent == 6);
            if pacer.wants_ping(now) {
                pacer.pings();
            }
            pacer.sent(1, false, now);
        }
        pacer.sent(1, false, now);
        assert!(matches!(pacer.allowance(false, now), Allowance::Wait(_)));
        pacer.arrived();
        assert_eq!(pacer.sent_in_window, 1, "the one behind the ping");
        pacer.arrived();
        assert_eq!(pacer.sent_in_window, 1, "a second pong proves nothing more");
    }

    #[test]
    fn a_client_that_asks_again_after_each_answer_never_waits() {
        let mut now = Instant::now();
        let mut pacer = Pacer::default();
        for _ in 0..100 {
            pacer.heard(now);
            assert_eq!(pacer.allowance(false, now), Allowance::Send(usize::MAX));
            pacer.sent(1, false, now);
            now += Pacer::ROUND_TRIP;
        }
        for _ in 0..7 {
            pacer.heard(now - Pacer::ROUND_TRIP / 2);
            pacer.sent(1, false, now);
        }
        assert!(
            matches!(pacer.allowance(false, now), Allowance::Wait(_)),
            "pipelined requests prove nothing"
        );
    }

    #[test]
    fn flow_control_never_lets_more_out_than_was_granted() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        pacer.sent(102_000, true, now);
        assert_eq!(pacer.allowance(true, now), Allowance::Send(400));
        pacer.sent(400, true, now);
        assert_eq!(pacer.allowance(true, now), Allowance::WaitForCredits);
        pacer.credited(1000, now);
        assert_eq!(pacer.allowance(true, now), Allowance::Send(1000));
        pacer.credited(u64::MAX, now);
        assert_eq!(pacer.allowance(true, now), Allowance::Send(102_400));
        (0..1000).for_each(|_| pacer.sent(1, true, now));
        assert_eq!(pacer.allowance(true, now), Allowance::Send(101_400));
    }

    #[test]
    fn an_idle_past_is_forgotten_when_it_is_over() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        pacer.sent(1, false, now);
        assert!(!pacer.is_settled(false, now));
        assert!(pacer.is_settled(false, now + Pacer::SHORT));
        for _ in 0..3 {
            pacer.sent(1, false, now);
        }
        assert!(!pacer.is_settled(false, now + Pacer::SHORT));
        assert!(pacer.is_settled(false, now + Pacer::WINDOW));
        assert!(!pacer.is_settled(true, now + Pacer::WINDOW));
        assert!(pacer.is_settled(true, now + Duration::from_secs(2)));
        pacer.sent(1, true, now);
        assert!(!pacer.is_settled(false, now + Duration::from_secs(100)));
    }
}
