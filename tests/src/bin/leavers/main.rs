//! Clients that leave in the middle of a response, and others that connect in the same moment.
//!
//! `leavers ADDRESS:PORT PATH COUNT STOP_AT` prints one JSON object when COUNT clients have left, or when STOP_AT of the
//! newcomers have received bytes that were meant for others. `leaving` has the clients that leave, `newcomer` those that
//! connect, and `group` brings them together.
//!
//! All bytes of a body that is meant for a client that leaves are repetitions of [`LEAVER`]. A newcomer asks for
//! `/own/TAG` with a tag of its own and must receive exactly that response.

mod group;
mod leaving;
mod newcomer;
mod socket;

use group::{Counts, Group};
use serde_json::json;
use std::net::SocketAddrV4;
use std::sync::Mutex;

/// What every body for a client that leaves is made of.
const LEAVER: &str = "LEAVER__";

/// Groups at a time. With large responses, and on the same machine, fewer: the hub and Mongrel2 hold what waits for each
/// client.
const GROUPS: usize = 6;
const GROUPS_OF_LARGE: usize = 2;
/// Responses of this size are large.
const LARGE: usize = 5_000_000;

fn main() {
    // Without its test it is of no use.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [server, path, count, stop_at] = &arguments[..] else {
        eprintln!("usage: leavers ADDRESS:PORT PATH COUNT STOP_AT");
        std::process::exit(2);
    };
    let (Ok(server), Ok(count), Ok(stop_at)) =
        (server.parse::<SocketAddrV4>(), count.parse::<u32>(), stop_at.parse::<u32>())
    else {
        eprintln!("leavers: an address, a path and two numbers are needed");
        std::process::exit(2);
    };
    let counts = Mutex::new(Counts::default());
    let is_large = size(path) >= LARGE || server.ip().is_loopback();
    let groups = if is_large { GROUPS_OF_LARGE } else { GROUPS };
    std::thread::scope(|scope| {
        for number in 0..groups {
            let counts = &counts;
            scope.spawn(move || {
                let mut group = Group::new(server, path, number);
                while begin_round(&mut lock(counts), count, stop_at) {
                    let round = group.round();
                    lock(counts).add(round);
                }
            });
        }
    });
    let counts = lock(&counts);
    let report = json!({
        "leavings": counts.leavings, "newcomers": counts.newcomers, "leaks": counts.leaks, "wrong": counts.wrong,
        "unanswered": counts.unanswered, "samples": counts.samples,
    });
    println!("{report}");
}

/// The size of the response to a path, if the path says it.
fn size(path: &str) -> usize {
    path.strip_prefix("/whole/").and_then(|size| size.parse().ok()).unwrap_or(1_000_000)
}

/// Whether another round is needed beside those that run.
fn begin_round(counts: &mut Counts, count: u32, stop_at: u32) -> bool {
    let is_needed = counts.leavings + counts.attempts - counts.finished < count
        && counts.leaks < stop_at
        && counts.attempts < 4 * count;
    if is_needed {
        counts.attempts += group::SIZE as u32;
    }
    is_needed
}

fn lock(counts: &Mutex<Counts>) -> std::sync::MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
