//! How many connections a Mongrel2 holds before replies stall: its descriptors, divided as its settings say.

use crate::args::Front;
use handler_core::hub::Capacity;
use mongrel2_conf::deployed::{Deployment, is_front};
use mongrel2_conf::model::Server;
use rustix::process::{Resource, getrlimit};
use std::fs;

/// Mongrel2's defaults.
const MAX_FD: u64 = 10_240;
const HOT_DIVIDEND: u64 = 4;

/// The smallest divisor with which Mongrel2 starts. It keeps `1 / OWN_DIVIDEND` of the descriptors for clients.
pub(crate) const OWN_DIVIDEND: u64 = 2;

/// What decides how many connections a server holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    /// Descriptors that the process may have, or `superpoll.max_fd` where that is not known.
    pub(crate) descriptors: u64,
    /// `superpoll.hot_dividend`; 1 for Kennel's front, which keeps all descriptors for clients.
    pub(crate) dividend: u64,
    /// `superpoll.max_fd`.
    pub(crate) max_fd: u64,
}

impl Places {
    /// The places of a server that Kennel starts: as many as the hard limit of descriptors allows and the server can use.
    pub(crate) fn own(front: Front) -> Self {
        let dividend = match front {
            Front::Kennel => 1,
            Front::Mongrel2 => OWN_DIVIDEND,
        };
        let most = dividend * Capacity::MAX as u64;
        let max_fd = getrlimit(Resource::Nofile).maximum.unwrap_or(most).min(most);
        Self { descriptors: max_fd, dividend, max_fd }
    }

    /// The places of a server of a database. If it runs, its process tells how many descriptors it has: Mongrel2 keeps
    /// its soft limit when the hard one is below `superpoll.max_fd`, and a front uses them all.
    pub(crate) fn of(deployment: &Deployment, server: &Server) -> Self {
        let number = |key, default| {
            let value = deployment.setting(key).and_then(|value| value.trim().parse::<u64>().ok());
            value.filter(|value| *value > 0).unwrap_or(default)
        };
        let max_fd = number("superpoll.max_fd", MAX_FD);
        let process = deployment.process(server).pid();
        let known = process.and_then(descriptors_of);
        if let (Some(_), Some(descriptors)) = (process.filter(|pid| is_front(*pid)), known) {
            return Self { descriptors, dividend: 1, max_fd: descriptors };
        }
        let descriptors = known.unwrap_or(max_fd);
        Self { descriptors, dividend: number("superpoll.hot_dividend", HOT_DIVIDEND), max_fd }
    }

    /// How many connections the server holds without harm.
    pub(crate) fn capacity(self) -> Capacity {
        Capacity::of_places((self.descriptors / self.dividend) as usize)
    }
}

/// The soft limit of a process's descriptors, if that may be read.
fn descriptors_of(pid: i32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_a_process_are_its_soft_limit() {
        let ours = getrlimit(Resource::Nofile).current;
        assert_eq!(descriptors_of(std::process::id() as i32), ours);
        assert_eq!(descriptors_of(0), None);
    }

    #[test]
    fn kennels_front_keeps_all_descriptors_for_clients() {
        let places = |front| Places::own(front).capacity().places() as u64;
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(places(Front::Kennel), hard.min(Capacity::MAX as u64));
        assert_eq!(places(Front::Mongrel2), (hard / 2).min(Capacity::MAX as u64));
    }

    #[test]
    fn a_capacity_is_the_descriptors_divided() {
        let places = Places { descriptors: 10_240, dividend: 4, max_fd: 10_240 };
        assert_eq!(places.capacity().places(), 2560);
        assert_eq!(places.capacity().live(), 2400);
        let many = Places { descriptors: 1 << 20, dividend: 2, max_fd: 1 << 20 };
        assert_eq!(many.capacity().places(), 65_536);
    }
}
