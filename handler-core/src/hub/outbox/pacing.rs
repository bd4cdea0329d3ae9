//! How much may be sent to one connection now.
//!
//! Mongrel2 holds at most 16 undelivered replies for a connection, whatever their size, and cuts it
//! off at the seventeenth; its queue drains only while it reads no replies. It does not say when
//! one was delivered, so we send at most [`MESSAGES`](Pacer::MESSAGES) in a
//! [`WINDOW`](Pacer::WINDOW) and let the rest grow together in the connection's buffer: two
//! adjacent windows stay within the 16, as long as Mongrel2 is not held up for longer.
//!
//! A WebSocket's client can tell us more: behind the last message that may go, or behind many bytes, there is a ping,
//! and its pong proves that all before it have arrived. Until the pong comes the windows do not count. Eight messages
//! that are not proven may be under way; then single ones follow in intervals that double, up to the 15th, and the
//! next one after [`PATIENCE`](Pacer::PATIENCE). A client that reads nothing for so long may lose its connection.
//!
//! Under `download.flow_control` the limit is bytes, 102,400 of them, and every written reply comes
//! back as a notice: then the sum is exact and the window does not matter.

use std::time::{Duration, Instant};

/// What one connection was sent lately.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::hub) struct Pacer {
    window_start: Option<Instant>,
    sent_in_window: u8,
    /// What may not have arrived yet, without flow control. A pause proves messages, only a pong proves bytes.
    unproven: Unproven,
    asked: Option<Asked>,
    /// Bytes sent under flow control and not yet reported as written.
    outstanding: usize,
    last_use: Option<Instant>,
}

/// Messages, and the sum of their bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Unproven {
    messages: u8,
    bytes: u32,
}

impl Unproven {
    fn add(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

/// A ping that no pong has answered.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    /// Messages up to the one that carries the ping.
    before: u8,
    /// What was sent behind it.
    behind: Unproven,
}

/// What may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Allowance {
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
    /// After this time without a pong one more message may follow the first eight, then after twice the time.
    const PROBE: Duration = Duration::from_millis(250);
    /// After this time without a pong the ping counts as answered.
    pub const PATIENCE: Duration = Duration::from_secs(32);
    /// Bytes that are sent without a proof that they arrived: about what the system holds for a slow client.
    pub const UNPROVEN: usize = 64 << 10;
    /// Messages to one connection without an entry: the next one carries a ping.
    pub const WITHOUT_ENTRY: u8 = Self::MESSAGES - 2;
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
        let due = match (self.asked, self.window_start) {
            (Some(asked), _) => match self.unproven.messages.checked_sub(Self::MESSAGES) {
                Some(probes) => asked.at + (Self::PROBE * (1 << probes.min(7))).min(Self::PATIENCE),
                None => now,
            },
            (None, Some(start)) if self.sent_in_window >= Self::MESSAGES => start + Self::WINDOW,
            (None, _) => now,
        };
        if now < due { Allowance::Wait(due) } else { Allowance::Send(usize::MAX) }
    }

    /// Counts a message of so many bytes; 0 is a close.
    pub fn sent(&mut self, bytes: usize, flow_control: bool, now: Instant) {
        if flow_control {
            self.outstanding += bytes;
        } else {
            self.forget_old(now);
            self.unproven.add(bytes);
        }
        match &mut self.asked {
            Some(asked) if asked.before > 0 => asked.before -= 1,
            Some(asked) => asked.behind.add(bytes),
            None => {}
        }
        self.last_use = Some(now);
        match self.window_start {
            Some(start) if now < start + Self::WINDOW => {
                // Under flow control any number may leave.
                self.sent_in_window = self.sent_in_window.saturating_add(1);
            }
            _ => {
                self.window_start = Some(now);
                self.sent_in_window = 1;
            }
        }
    }

    /// Messages before a pause count as arrived, and so does all that was sent before a ping that was not answered for long.
    fn forget_old(&mut self, now: Instant) {
        match self.asked {
            Some(asked) if now.saturating_duration_since(asked.at) >= Self::PATIENCE => {
                self.asked = None;
                self.unproven = Unproven::default();
            }
            None if self.silence(now) >= 2 * Self::WINDOW => self.unproven.messages = 0,
            _ => {}
        }
    }

    /// Goes on counting for a connection: `sent` messages in its current window, and `bytes` since its client last proved
    /// that they arrived.
    pub fn resume(&mut self, sent: u8, bytes: u32, now: Instant) {
        self.unproven = Unproven { messages: sent, bytes };
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

    /// Whether a ping should follow the next message, which has `bytes`, without flow control.
    pub fn wants_ping(&self, bytes: usize, now: Instant) -> bool {
        let messages = match self.silence(now) {
            pause if pause >= 2 * Self::WINDOW => 0,
            _ => self.unproven.messages,
        };
        self.asked.is_none()
            && (messages >= Self::WITHOUT_ENTRY || self.unproven.bytes as usize + bytes > Self::UNPROVEN)
    }

    /// The message that carries the ping is the next one, or the one behind it.
    pub fn pings(&mut self, before: u8, now: Instant) {
        self.asked = Some(Asked { at: now, before, behind: Unproven::default() });
    }

    /// This client takes no pings.
    pub fn takes_no_ping(&mut self) {
        self.unproven = Unproven::default();
    }

    /// The pong came.
    pub fn arrived(&mut self) {
        if let Some(asked) = self.asked.take_if(|asked| asked.before == 0) {
            self.unproven = asked.behind;
            self.sent_in_window = self.sent_in_window.min(asked.behind.messages);
        }
    }

    /// Bytes that may not have arrived.
    pub fn unproven(&self) -> u32 {
        self.unproven.bytes
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
        let window = match self.asked {
            Some(_) => Self::PATIENCE,
            None if self.sent_in_window <= Self::FEW => Self::SHORT,
            None => Self::WINDOW,
        };
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
            assert_eq!(pacer.wants_ping(1, now), sent == 6);
            if pacer.wants_ping(1, now) {
                pacer.pings(1, now);
                pacer.arrived();
                assert!(pacer.asked.is_some(), "a pong before the ping proves nothing");
            }
            pacer.sent(1, false, now);
        }
        pacer.sent(1, false, now);
        assert!(matches!(pacer.allowance(false, now), Allowance::Wait(_)));
        pacer.arrived();
        assert_eq!(pacer.unproven.messages, 1, "the one behind the ping");
        assert_eq!(pacer.allowance(false, now), Allowance::Send(usize::MAX));
        pacer.arrived();
        assert_eq!(pacer.unproven.messages, 1, "a second pong proves nothing more");
    }

    #[test]
    fn without_a_pong_at_most_fifteen_messages_leave_in_half_a_minute() {
        let start = Instant::now();
        let (mut pacer, mut now) = (Pacer::default(), start);
        let mut times = Vec::new();
        for _ in 0..16 {
            while let Allowance::Wait(due) = pacer.allowance(false, now) {
                now = due;
            }
            if pacer.wants_ping(1, now) {
                pacer.pings(1, now);
            }
            pacer.sent(1, false, now);
            times.push((now - start).as_millis());
        }
        assert_eq!(times[7..], [0, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000]);
        assert_eq!(pacer.unproven.messages, 1, "and then it counts anew");
    }

    #[test]
    fn many_bytes_are_followed_by_a_ping() {
        let now = Instant::now();
        let later = |n: u32| now + Duration::from_secs(1) * n;
        let mut pacer = Pacer::default();
        pacer.sent(60_000, false, now);
        assert!(!pacer.wants_ping(5000, later(1)));
        assert!(pacer.wants_ping(6000, later(1)), "a pause does not prove that they were read");
        pacer.pings(2, later(1));
        pacer.sent(6000, false, later(1));
        pacer.sent(11, false, later(1));
        pacer.sent(100, false, later(1));
        assert!(!pacer.is_settled(false, later(2)));
        pacer.arrived();
        assert_eq!(pacer.unproven(), 100);
        assert!(pacer.is_settled(false, later(2)));
        pacer.resume(0, 70_000, now);
        assert!(pacer.wants_ping(1, now));
        pacer.takes_no_ping();
        assert!(!pacer.wants_ping(1, now));
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
