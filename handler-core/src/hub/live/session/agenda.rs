//! What is due when, of many sessions: each changes its mind with every request, so entries are put in when something is
//! due earlier than they say, and looked at again when it turned out to be later.

use crate::hub::context::Context;
use crate::hub::ids::LiveId;
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Sessions by when to look at them.
#[derive(Debug, Default)]
pub(in crate::hub::live) struct Agenda(BinaryHeap<Reverse<(Instant, LiveId, u64)>>);

impl Agenda {
    /// The session with this number is to be looked at then. `planned` is what it knows of its entry here.
    pub fn plan(&mut self, due: Instant, id: LiveId, number: u64, planned: &mut Option<Instant>) {
        if planned.is_none_or(|planned| due < planned) {
            *planned = Some(due);
            self.0.push(Reverse((due, id, number)));
        }
    }

    /// The next one to look at, with the time that was planned.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, LiveId, u64)> {
        self.0.peek().filter(|entry| entry.0.0 <= now)?;
        self.0.pop().map(|Reverse(entry)| entry)
    }

    /// How many entries there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// When to look.
    pub fn next(&self) -> Option<Instant> {
        self.0.peek().map(|entry| entry.0.0)
    }
}

/// The shortest time between two signs of life, seconds: what a script sets below is this.
const LEAST: f64 = 0.05;

impl Live {
    /// There may be something to do for a session then.
    pub(in crate::hub::live) fn look_at(&mut self, id: LiveId, due: Instant) {
        let Some(channel) = self.lives.get_mut(id) else { return };
        let number = channel.number;
        let Carrier::Http(session) = &mut channel.carrier else { return };
        self.sessions.agenda.plan(due, id, number, &mut session.planned);
    }

    /// How often the client of a stream gets a sign of life.
    pub(in crate::hub::live) fn ping_of(&self, cx: &Context, id: LiveId) -> Option<Duration> {
        let channel = self.lives.get(id)?;
        let ping = cx.apps.channel(channel.app, channel.route)?.ping;
        (ping > 0.0).then(|| Duration::from_secs_f64(ping.clamp(LEAST, 86_400.0)))
    }
}
