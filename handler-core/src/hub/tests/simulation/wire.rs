//! What Mongrel2 has of the messages to one client, and how much of that it bears.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Sizes of messages that Mongrel2 has not reported as written, under flow control.
    pub unreported: VecDeque<usize>,
    recent: VecDeque<Instant>,
}

impl Wire {
    /// A message of the hub, of so many bytes as Mongrel2 counts them; 0 is a close.
    pub fn take(&mut self, size: usize, flow_control: bool, now: Instant) {
        if flow_control {
            if size > 0 {
                self.unreported.push_back(size);
            }
            let outstanding: usize = self.unreported.iter().sum();
            assert!(outstanding <= 102_400, "{outstanding} bytes outstanding");
            return;
        }
        self.recent.push_back(now);
        while now - self.recent[0] >= Duration::from_millis(10) {
            self.recent.pop_front();
        }
        assert!(self.recent.len() <= 16, "{} messages within 10 ms", self.recent.len());
    }

    /// The client has said something that it can have said only after it got everything, unless that was
    /// sooner than can be.
    pub fn heard(&mut self, now: Instant) {
        if self.recent.back().is_none_or(|at| now - *at >= Duration::from_micros(50)) {
            self.recent.clear();
        }
    }
}
