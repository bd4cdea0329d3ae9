//! What is counted, logged and shown of what passes.

pub(in crate::hub) mod about;
pub(in crate::hub) mod counters;
pub(in crate::hub) mod taps;
pub(in crate::hub) mod traffic;

use counters::{Complaints, Counters};
use taps::Taps;
use traffic::Traffic;

/// All that is counted, and who looks on.
#[derive(Debug)]
pub(in crate::hub) struct Ledger {
    pub counters: Counters,
    pub complaints: Complaints,
    pub traffic: Traffic,
    pub taps: Taps,
}

impl Ledger {
    pub fn new(apps: u16) -> Self {
        Self {
            counters: Counters::default(),
            complaints: Complaints::default(),
            traffic: Traffic::new(apps),
            taps: Taps::default(),
        }
    }
}
