//! All live connections, small: a hundred thousand idle ones are the usual case.
//!
//! The [stage](Stage) of one, and what moves it:
//!
//! | from | what happens | to |
//! | --- | --- | --- |
//! | – | a handshake on a channel whose script decides | `Asked` |
//! | – | any other handshake, a socket's first message, a new session, a frame that another hub's WebSocket sends | `Open` |
//! | `Asked` | the script accepts | `Open` |
//! | `Asked` | the script refuses or closes, nobody decides in time, two workers die over it, the client leaves | `Over` |
//! | `Open` | more waits for its client than its channel bears, and something was dropped | `CutOff` |
//! | `Open`, `CutOff` | we close, and the client has to hear of it or to answer | `Closing` |
//! | `Open`, `CutOff`, `Closing` | the client has closed, is gone or breaks the protocol, or does not answer our close in time | `Over` |
//! | `Over` | its script's `close` has run, or need not | – |

use crate::channel::framing::Framing;
use crate::channel::opening::Kept;
use crate::hub::ids::{AppId, ConnKey, LinkId, LiveId, NO_LINK, WorkerId};
use crate::hub::ledger::traffic::ChannelMeterId;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::pending::Work;
use crate::hub::outbox::connection::Conn;
use crate::hub::outbox::pacing::Pacer;
use mongrel2_wire::ConnId;
use rustc_hash::FxHashMap;
use slab::Slab;
use std::time::{Duration, Instant};

/// How long a client has to answer our close.
pub(in crate::hub::live) const PATIENCE: Duration = Duration::from_secs(5);

/// How far a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub::live) enum Stage {
    /// The script is asked whether it begins.
    Asked,
    /// Both sides speak.
    Open,
    /// Its client does not read, so it is about to be closed: nothing more is queued for it.
    CutOff,
    /// We said the last word and wait for the client's.
    Closing,
    /// It is over; the script has yet to hear of it.
    Over,
}

/// The worker that has a connection, or none, in half of what an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub::live) struct Attached(u32);

impl Attached {
    pub const NONE: Self = Self(u32::MAX);

    pub fn to(worker: WorkerId) -> Self {
        Self(worker.0 as u32)
    }

    pub fn worker(self) -> Option<WorkerId> {
        (self != Self::NONE).then_some(WorkerId(self.0 as usize))
    }
}

/// A live connection.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(super) key: ConnKey,
    pub(super) app: AppId,
    /// Which of the app's channels; none when it is gone.
    pub(super) route: u16,
    /// Where its channel is counted, also when that is gone.
    pub(super) meter: ChannelMeterId,
    /// Its number for workers: no other connection ever has it in the life of the hub.
    pub(super) number: u64,
    /// The second in which its client last said something.
    pub(super) heard: u32,
    pub(super) carrier: Carrier,
    pub(super) stage: Stage,
    /// Its handshake waits for the script's decision, or ended without one.
    pub(super) asked: bool,
    /// The script's `open` has run, or is not to run again.
    pub(super) opened: bool,
    /// It comes from another worker, or from another life of the hub.
    pub(super) resumed: bool,
    /// It is on its app's list of connections without a worker.
    pub(super) orphan: bool,
    pub(super) worker: Attached,
    /// What its worker has to do, or does. Nothing for an idle one.
    pub(super) work: Option<Box<Work>>,
    pub(super) opening: Kept,
}

/// What was sent to a connection in the current window, where Mongrel2 does not say when a message was
/// written. Apart from the connection itself, so that a room's message touches twelve bytes of each member.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::hub::live) struct Lane {
    /// The window, counted from the start.
    pub window: u32,
    /// Messages in it.
    pub sent: u8,
    /// Bytes since its client last proved that those before them have arrived.
    pub unproven: u32,
    /// It has an entry among the connections that wait for something, whose pacer counts.
    pub waits: bool,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    slab: Slab<Channel>,
    by_key: FxHashMap<ConnKey, LiveId>,
    /// The number of keys in `by_key` of each link.
    held: Vec<usize>,
    pub(super) lanes: Vec<Lane>,
    /// Makes numbers unique though places are used again.
    generation: u64,
    epoch: Option<Instant>,
}

/// Bits of a number that say the place.
const PLACE_BITS: u32 = 22;

impl Lives {
    /// The most live connections: Mongrel2 itself has at most 65,536 descriptors.
    pub const MAX: usize = 1 << PLACE_BITS;

    /// Takes in a connection; `make` gets its number, and the key that one has which no server holds. `None`: the table
    /// is full.
    pub(in crate::hub::live) fn insert(
        &mut self,
        make: impl FnOnce(u64, ConnKey) -> Channel,
    ) -> Option<LiveId> {
        if self.slab.len() >= Self::MAX {
            return None;
        }
        let entry = self.slab.vacant_entry();
        let id = entry.key();
        self.generation += 1;
        let place = ConnId::try_from(id as i64).expect("places are below 2^22");
        let own = ConnKey { link: NO_LINK, incarnation: self.generation as u32, id: place };
        let channel = make(self.generation << PLACE_BITS | id as u64, own);
        let key = channel.key;
        entry.insert(channel);
        if self.by_key.insert(key, id as LiveId).is_none() {
            self.count(key.link, 1);
        }
        if self.lanes.len() <= id {
            self.lanes.resize(id + 1, Lane::default());
        }
        self.lanes[id] = Lane::default();
        Some(id as LiveId)
    }

    /// Forgets it altogether.
    pub(in crate::hub::live) fn remove(&mut self, id: LiveId) {
        if let Some(channel) = self.slab.try_remove(id as usize) {
            self.forget_key(channel.key, id);
        }
    }

    /// Its key may mean another connection from now on.
    pub(in crate::hub::live) fn forget_key(&mut self, key: ConnKey, id: LiveId) {
        if self.by_key.get(&key) == Some(&id) {
            self.by_key.remove(&key);
            self.count(key.link, -1);
        }
    }

    /// The number of live connections that a server holds, of which the client is there as far as the hub knows.
    pub(in crate::hub) fn held_by(&self, link: LinkId) -> usize {
        self.held.get(usize::from(link.0)).copied().unwrap_or(0)
    }

    fn count(&mut self, link: LinkId, change: isize) {
        if link == NO_LINK {
            return;
        }
        let at = usize::from(link.0);
        if self.held.len() <= at {
            self.held.resize(at + 1, 0);
        }
        self.held[at] = self.held[at].saturating_add_signed(change);
    }

    pub(crate) fn at(&self, key: ConnKey) -> Option<LiveId> {
        self.by_key.get(&key).copied()
    }

    pub(in crate::hub::live) fn get(&self, id: LiveId) -> Option<&Channel> {
        self.slab.get(id as usize)
    }

    pub(in crate::hub::live) fn get_mut(&mut self, id: LiveId) -> Option<&mut Channel> {
        self.slab.get_mut(id as usize)
    }

    /// The connection that a worker calls by this number, if it is not over.
    pub(in crate::hub::live) fn by_number(&self, number: u64) -> Option<LiveId> {
        let id = (number & (Self::MAX as u64 - 1)) as LiveId;
        let channel = self.get(id)?;
        (channel.number == number && channel.stage != Stage::Over).then_some(id)
    }

    pub(in crate::hub::live) fn iter(&self) -> impl Iterator<Item = (LiveId, &Channel)> {
        self.slab.iter().map(|(id, channel)| (id as LiveId, channel))
    }

    pub(in crate::hub::live) fn iter_mut(&mut self) -> impl Iterator<Item = (LiveId, &mut Channel)> {
        self.slab.iter_mut().map(|(id, channel)| (id as LiveId, channel))
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// The number of the window that `now` lies in.
    pub(in crate::hub::live) fn window(&mut self, now: Instant) -> u32 {
        let epoch = *self.epoch.get_or_insert(now);
        (now.saturating_duration_since(epoch).as_millis() / Pacer::WINDOW.as_millis()) as u32
    }

    /// Seconds since the first look at the clock.
    pub(in crate::hub::live) fn second(&mut self, now: Instant) -> u32 {
        let epoch = *self.epoch.get_or_insert(now);
        now.saturating_duration_since(epoch).as_secs() as u32
    }

    /// The moment from which seconds and windows are counted.
    pub(in crate::hub::live) fn epoch(&self) -> Option<Instant> {
        self.epoch
    }

    /// Counts a ping that the caller is about to send, so that its pong is not held against the client. `false`: this
    /// is not a WebSocket, or not an open one, and takes no pings.
    pub(crate) fn begin_ping(&mut self, id: LiveId) -> bool {
        let Some(channel) = self.get_mut(id).filter(|channel| channel.stage == Stage::Open) else {
            return false;
        };
        match &mut channel.carrier {
            Carrier::WebSocket(session) => {
                session.asks();
                true
            }
            Carrier::Http(session) => session.asks(),
            Carrier::Json | Carrier::Xml | Carrier::Bosh(_) => false,
        }
    }

    /// What a connection has been sent without an entry of its own is counted by its entry from now on.
    pub(in crate::hub) fn enter(&mut self, key: ConnKey, conn: &mut Conn, now: Instant) {
        if let Some(id) = self.at(key) {
            self.enter_as(id, conn, now);
        }
    }

    /// The same for a live connection that is known.
    pub(in crate::hub::live) fn enter_as(&mut self, id: LiveId, conn: &mut Conn, now: Instant) {
        let window = self.window(now);
        let Some(channel) = self.get(id) else { return };
        let sockets = matches!(channel.carrier, Carrier::Json | Carrier::Xml);
        let lane = &mut self.lanes[id as usize];
        if !lane.waits {
            lane.waits = true;
            conn.live = Some(id);
            conn.is_socket = sockets;
            conn.pacer.resume(lane.sent_in(window), lane.unproven, now);
        }
    }

    /// Its entry among the waiting connections is gone: the lane counts again, from an empty window and from this many
    /// bytes that may not have arrived.
    pub(crate) fn stop_waiting(&mut self, id: LiveId, unproven: u32) {
        if let Some(lane) = self.lanes.get_mut(id as usize) {
            *lane = Lane { unproven, ..Lane::default() };
        }
    }
}

impl Lane {
    /// Counts one message of this size, if there is room for it in this window and nothing has to be proved first.
    #[inline]
    pub fn take(&mut self, window: u32, bytes: usize) -> bool {
        let unproven = self.unproven as usize + bytes;
        if self.waits || unproven > Pacer::UNPROVEN {
            return false;
        }
        if self.window != window {
            self.window = window;
            self.sent = 0;
        }
        let free = self.sent < Pacer::WITHOUT_ENTRY;
        if free {
            self.sent += 1;
            self.unproven = unproven as u32;
        }
        free
    }

    /// Messages sent in this window.
    pub fn sent_in(&self, window: u32) -> u8 {
        if self.window == window { self.sent } else { 0 }
    }
}

impl Channel {
    /// Tells it from others that had its place.
    pub(in crate::hub::live) fn generation(&self) -> u32 {
        (self.number >> PLACE_BITS) as u32
    }

    /// Whether some worker has heard of it.
    pub(in crate::hub::live) fn is_known(&self) -> bool {
        self.opened || self.work.as_ref().is_some_and(|work| !work.flight.is_empty())
    }

    /// The form of messages to it.
    pub(in crate::hub::live) fn framing(&self) -> Framing {
        match &self.carrier {
            Carrier::WebSocket(session) => Framing::WebSocket(session.deflate()),
            Carrier::Json | Carrier::Xml => Framing::Nul,
            Carrier::Http(_) => Framing::Letter,
            Carrier::Bosh(_) => Framing::Element,
        }
    }
}

const _: () = assert!(size_of::<Channel>() <= 80, "a hundred thousand of them are the usual case");
