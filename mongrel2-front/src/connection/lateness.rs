//! Clients that are too slow: what they are told, and that they are closed.

use super::state::Connection;
use crate::context::Context;
use std::time::Instant;

impl Connection {
    /// Looks whether the client is too slow, or nothing came for too long.
    pub(crate) fn check_time(&mut self, cx: &mut Context, now: Instant) {
        let limits = cx.site.limits();
        let is_late =
            !self.is_waiting() && self.late_since.is_some_and(|since| now - since > limits.head_time);
        let is_stuck = !self.output.is_empty() && now - self.activity.wrote > limits.write_time;
        let since = |then: Instant| now.saturating_duration_since(then);
        let is_slow = |bytes: u64, then: Instant, least: u64| {
            let seconds = since(then).as_secs();
            least > 0 && seconds > 0 && bytes / seconds < least
        };
        let faults = [
            !limits.min_ping.is_zero() && since(self.activity.heard) > limits.min_ping,
            is_slow(self.activity.bytes_in, self.activity.read, limits.min_read_rate),
            is_slow(self.activity.bytes_out, self.activity.wrote, limits.min_write_rate),
        ];
        let faults = faults.iter().filter(|fault| **fault).count() as u64;
        if is_stuck || faults > limits.kill_limit || (is_late && !self.can_be_told()) {
            cx.counters.timed_out += 1;
            self.lose(cx);
        } else if is_late {
            cx.counters.timed_out += 1;
            self.refuse(cx, 408, now);
        }
    }

    /// Whether a client whose request is late understands a response of HTTP, and waits for no other one.
    fn can_be_told(&self) -> bool {
        self.is_http() && self.progress.is_done() && !matches!(self.input.first(), Some(b'@' | b'<'))
    }
}
