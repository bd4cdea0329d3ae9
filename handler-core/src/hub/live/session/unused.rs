//! Sessions that no client has come back to: they make room when there are too many, of all clients or of one address.
//!
//! Opening a session costs a client one small request. Without this, one client could take all places within seconds, and
//! keep them until they are given up.

use crate::hub::context::Context;
use crate::hub::ids::LiveId;
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::table::{Lives, Stage};
use kennel_http::client_address::ClientAddress;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Sessions for polls with their numbers, in the order of their openings. Some are used or over by now.
#[derive(Debug, Default)]
pub(in crate::hub::live) struct Unused(VecDeque<(LiveId, u64)>);

impl Unused {
    /// Adds a session. `most`: how many there can be, so that there is more to forget when there are twice as many.
    fn add(&mut self, session: (LiveId, u64), most: usize, lives: &Lives) {
        if self.0.len() >= most.saturating_mul(2) {
            self.0.retain(|session| is_unused(*session, lives));
        }
        self.0.push_back(session);
    }

    /// Takes the oldest that is still unused.
    pub(in crate::hub::live) fn take_oldest(&mut self, lives: &Lives) -> Option<LiveId> {
        while let Some(session) = self.0.pop_front() {
            if is_unused(session, lives) {
                return Some(session.0);
            }
        }
        None
    }
}

fn is_unused((id, number): (LiveId, u64), lives: &Lives) -> bool {
    lives.get(id).is_some_and(|channel| {
        channel.number == number
            && channel.stage != Stage::Over
            && matches!(&channel.carrier, Carrier::Http(session) if !session.used)
    })
}

/// The sessions of one client's address.
#[derive(Debug, Default)]
pub(in crate::hub::live) struct Share {
    pub(in crate::hub::live) open: usize,
    pub(in crate::hub::live) unused: Unused,
}

/// The sessions of each client's address that is counted.
#[derive(Debug, Default)]
pub(in crate::hub::live) struct Shares {
    clients: FxHashMap<LiveId, ClientAddress>,
    pub(in crate::hub::live) shares: FxHashMap<ClientAddress, Share>,
}

impl Shares {
    /// A session begins.
    pub fn begin(&mut self, id: LiveId, client: ClientAddress) {
        self.clients.insert(id, client);
        self.shares.entry(client).or_default().open += 1;
    }

    /// A session is over.
    pub fn end(&mut self, id: LiveId) {
        let Some(client) = self.clients.remove(&id) else { return };
        if let Some(share) = self.shares.get_mut(&client) {
            share.open -= 1;
            if share.open == 0 {
                self.shares.remove(&client);
            }
        }
    }
}

impl Live {
    /// A session was opened, and its client has not come back yet.
    pub(in crate::hub::live) fn note_unused(&mut self, cx: &mut Context, id: LiveId) {
        let lives = &self.lives;
        let Some(number) = lives.get(id).map(|channel| channel.number) else { return };
        let sessions = &mut self.sessions;
        sessions.unused.add((id, number), cx.limits.sessions, lives);
        let shares = &mut sessions.shares;
        if let Some(share) = shares.clients.get(&id).and_then(|client| shares.shares.get_mut(client)) {
            share.unused.add((id, number), cx.limits.sessions_per_address, lives);
        }
    }
}
