//! Clients that leave together, and as many that connect in the same moment.

use crate::leaving::{Leaver, Way};
use crate::newcomer::{Newcomer, Outcome};
use crate::size;
use crate::socket::Socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tests::slow_network::SlowNetwork;

/// Clients of each kind in a group.
pub(crate) const SIZE: usize = 10;
/// How long clients wait for what they want before they leave.
const APPETITE_PATIENCE: Duration = Duration::from_secs(3);
/// How long a newcomer waits for its response: some losses one after the other, each with a longer pause.
const RESPONSE_PATIENCE: Duration = Duration::from_secs(30);
/// Most that a client wants to have received before it leaves.
const APPETITE: usize = 60_000;

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Clients that were to leave.
    pub(crate) attempts: u32,
    /// Those of rounds that are over.
    pub(crate) finished: u32,
    /// Clients that left while something was written to them.
    pub(crate) leavings: u32,
    pub(crate) newcomers: u32,
    pub(crate) leaks: u32,
    pub(crate) wrong: u32,
    pub(crate) unanswered: u32,
    /// What some of those received that did not get their response.
    pub(crate) samples: Vec<String>,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.finished += other.finished;
        self.leavings += other.leavings;
        self.newcomers += other.newcomers;
        self.leaks += other.leaks;
        self.wrong += other.wrong;
        self.unanswered += other.unanswered;
        let room = 10_usize.saturating_sub(self.samples.len());
        self.samples.extend(other.samples.into_iter().take(room));
    }
}

/// The clients' addresses and their path.
pub(crate) struct Group<'a> {
    server: SocketAddrV4,
    path: &'a str,
    number: usize,
    rounds: u32,
    /// A generator of numbers that look like chance, the same in each run.
    seed: u32,
    buffer: Vec<u8>,
}

impl<'a> Group<'a> {
    pub(crate) fn new(server: SocketAddrV4, path: &'a str, number: usize) -> Self {
        Self { server, path, number, rounds: 0, seed: 7 + number as u32, buffer: vec![0; 64 << 10] }
    }

    /// Lets a group connect, receive something and leave while newcomers connect, and judges what these have received.
    pub(crate) fn round(&mut self) -> Counts {
        self.rounds += 1;
        let mut counts = Counts { finished: SIZE as u32, ..Counts::default() };
        let leavers = (0..SIZE).map(|at| self.leaver(at)).collect();
        let newcomers = match self.server.ip().is_loopback() {
            true => self.follow(leavers, &mut counts),
            false => self.meet(leavers, &mut counts),
        };
        counts.newcomers = newcomers.len() as u32;
        for newcomer in newcomers {
            let (number, text) = match newcomer.finish(&mut self.buffer) {
                Outcome::Right => continue,
                Outcome::Leak(text) => (&mut counts.leaks, format!("leak: {text}")),
                Outcome::Wrong(text) => (&mut counts.wrong, format!("wrong: {text}")),
                Outcome::Unanswered(text) => (&mut counts.unanswered, format!("unanswered: {text}")),
            };
            *number += 1;
            counts.samples.push(text);
        }
        counts
    }

    /// On the same machine, a connection comes about at once: two newcomers connect right behind each one that leaves, which
    /// it does as soon as it has received something.
    fn follow(&mut self, mut leavers: Vec<Leaver>, counts: &mut Counts) -> Vec<Newcomer> {
        let mut newcomers = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < RESPONSE_PATIENCE
            && !(leavers.iter().all(Leaver::has_left) && newcomers.iter().all(Newcomer::is_done))
        {
            self.wait_and_advance(&mut leavers, &mut newcomers);
            for leaver in leavers.iter_mut().filter(|leaver| leaver.may_leave()) {
                leaver.leave();
                counts.leavings += 1;
                for _ in 0..2 {
                    newcomers.push(self.newcomer(newcomers.len()));
                }
            }
        }
        newcomers
    }

    /// On a slow network, a connection takes longer than a reset: each one leaves at the moment when a newcomer's connection
    /// has come about, so that both reach the server together.
    fn meet(&mut self, mut leavers: Vec<Leaver>, counts: &mut Counts) -> Vec<Newcomer> {
        // In each second round newcomers connect so early that the first bytes for the others are under way meanwhile.
        let early = self.rounds.is_multiple_of(2);
        let begun = Instant::now();
        let is_ready = |leaver: &Leaver| if early { leaver.is_under_way() } else { leaver.is_content() };
        while !leavers.iter().all(is_ready) && begun.elapsed() < APPETITE_PATIENCE {
            self.wait_and_advance(&mut leavers, &mut []);
        }
        let mut newcomers: Vec<_> = (0..SIZE).map(|at| self.newcomer(at)).collect();
        let begun = Instant::now();
        // Who has nothing yet when newcomers are connected, leaves as soon as it has something.
        let mut owed = 0;
        while begun.elapsed() < RESPONSE_PATIENCE && !newcomers.iter().all(Newcomer::is_done) {
            owed += self.wait_and_advance(&mut leavers, &mut newcomers);
            for leaver in leavers.iter_mut().filter(|leaver| leaver.may_leave()).take(owed) {
                leaver.leave();
                counts.leavings += 1;
                owed -= 1;
            }
        }
        newcomers
    }

    fn leaver(&mut self, at: usize) -> Leaver {
        let way = Way::ALL[(self.rounds as usize + at) % Way::ALL.len()];
        // Of a small response, half at most.
        let appetite = 1 + self.random() as usize % APPETITE.min(size(self.path) / 2);
        let room = format!("room-{}", self.number);
        Leaver::new(self.address(at), self.server, self.path, &room, way, appetite)
    }

    fn newcomer(&self, at: usize) -> Newcomer {
        let tag = format!("own-{}-{}-{at};", self.number, self.rounds);
        Newcomer::new(self.address(SIZE + at), self.server, tag)
    }

    /// Each client has an address of its own, and so a line of its own.
    fn address(&self, at: usize) -> Ipv4Addr {
        let number = (self.number * 3 * SIZE + at + 1) as u8;
        match self.server.ip().is_loopback() {
            true => Ipv4Addr::new(127, 0, 1, number),
            false => SlowNetwork::client(number),
        }
    }

    /// Waits until a socket is ready and does what can be done. Returns how many newcomers are connected now that were not.
    fn wait_and_advance(&mut self, leavers: &mut [Leaver], newcomers: &mut [Newcomer]) -> usize {
        let watched: Vec<_> = leavers
            .iter()
            .map(Leaver::watched)
            .chain(newcomers.iter().map(Newcomer::watched))
            .enumerate()
            .filter_map(|(at, socket)| Some((at, socket?)))
            .collect();
        let mut items: Vec<_> = watched.iter().map(|(_, (socket, writing))| item(socket, *writing)).collect();
        let step = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        if poll(&mut items, Some(&step)).is_err() {
            return 0;
        }
        let ready: Vec<_> = items
            .iter()
            .zip(&watched)
            .filter(|(item, _)| !item.revents().is_empty())
            .map(|(_, (at, _))| *at)
            .collect();
        let mut connected = 0;
        for at in ready {
            match at.checked_sub(leavers.len()) {
                None => leavers[at].advance(&mut self.buffer),
                Some(at) => connected += usize::from(newcomers[at].advance(&mut self.buffer)),
            }
        }
        connected
    }

    fn random(&mut self) -> u32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.seed >> 8
    }
}

fn item(socket: &Socket, writing: bool) -> PollFd<'_> {
    PollFd::from_borrowed_fd(
        socket.descriptor().as_fd(),
        if writing { PollFlags::OUT } else { PollFlags::IN },
    )
}
