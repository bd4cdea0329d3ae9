//! Live connections: those that stay and speak, WebSockets and JSON and XML sockets, and sessions of those who only ask.
//!
//! From the ground up, each uses only those before it:
//!
//! * `carrier`: what carries a conversation; `pending`: what its worker has to do; `table`: all of them, small
//! * `glimpse`, `about`, `watched`: what others may see of one; `admission`: whether one more may begin
//! * `work`: its messages to the worker that has it, in order, and to another one when that dies
//! * `session`: what waits for those who only ask, by event streams, long polls, BOSH and WebSockets of `kennel.js`
//! * `sending`: messages to it, and to all in a room, within what Mongrel2 and the client bear
//! * `ending`: every way to end, and `close` exactly once; `session_limits`: sessions that make room for others
//! * `heartbeat`: pings that are planned; `deciding`: handshakes that the script accepts or refuses
//! * `closing`: closing from our side; `opening`: how one begins; `deaths`: what becomes of it when its worker dies
//! * `requests`: what requests and WebSockets do to sessions
//! * `beat`, `handshake`, `receive`, `orders`, `roll_call`: time, clients, workers and Mongrel2 have something to say

mod about;
mod admission;
mod beat;
mod carrier;
mod closing;
mod deaths;
mod deciding;
mod ending;
mod glimpse;
mod handshake;
mod heartbeat;
mod opening;
mod orders;
mod pending;
mod receive;
mod requests;
mod roll_call;
mod sending;
mod session;
mod session_limits;
mod table;
#[cfg(test)]
mod tests;
mod watched;
mod work;

pub(super) use deciding::Decisions;
pub(super) use heartbeat::Heartbeat;
pub(super) use pending::Pending;
pub(super) use roll_call::RollCall;
pub(super) use sending::Publishing;
pub(super) use table::Lives;

use crate::channel::opening::Keeper;
use crate::hub::ids::LiveId;
use crate::rooms::Rooms;
use kennel_http::websocket::Codec;
use rustc_hash::FxHashMap;
use session::Sessions;

/// All that the hub keeps for live connections.
#[derive(Debug)]
pub(super) struct Live {
    pub lives: Lives,
    pub rooms: Rooms,
    pub codec: Codec,
    pub keeper: Keeper,
    pub heartbeat: Heartbeat,
    pub roll_call: RollCall,
    pub decisions: Decisions,
    pub publishing: Publishing,
    pub sessions: Sessions,
    /// `conn.data` as JSON, of those that have some.
    pub data: FxHashMap<LiveId, Box<[u8]>>,
    /// Closes of our own, code and reason, until those conversations are over. Apart from them, since few have one.
    pub our_closes: FxHashMap<LiveId, (u16, Box<str>)>,
}

impl Live {
    pub fn new(max_rooms: usize) -> Self {
        Self {
            lives: Lives::default(),
            rooms: Rooms::new(max_rooms),
            codec: Codec::default(),
            keeper: Keeper::default(),
            heartbeat: Heartbeat::default(),
            roll_call: RollCall::default(),
            decisions: Decisions::default(),
            publishing: Publishing::default(),
            sessions: Sessions::default(),
            data: FxHashMap::default(),
            our_closes: FxHashMap::default(),
        }
    }
}
