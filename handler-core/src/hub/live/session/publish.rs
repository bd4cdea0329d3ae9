//! Messages of a room to sessions: into the mailbox of each, and at once to the WebSockets of `kennel.js` that wait for
//! nothing, up to 128 with one reply.
//!
//! A frame has no number in it, so the WebSockets of all members that are up to date get the same bytes. Whatever hinders
//! one of them, its messages lie in its mailbox and leave when the turn ends, as for any other session.

use crate::channel::line;
use crate::channel::mailbox::Letter;
use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LiveId};
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::session::LEAST_WINDOW;
use crate::hub::live::table::Stage;
use kennel_http::websocket::Deflate;
use mongrel2_wire::ConnId;
use std::sync::Arc;
use std::time::Instant;

/// The frames of the messages, for WebSockets of one kind.
type Framed = (Option<Deflate>, Arc<[u8]>);

impl Live {
    /// Hands messages of a room to these members.
    pub(in crate::hub::live) fn post_to_all(
        &mut self,
        cx: &mut Context,
        members: &[LiveId],
        letters: &[Letter],
        room: &[u8],
        now: Instant,
    ) {
        let mut framed: Vec<Framed> = Vec::new();
        let mut free: Vec<(ConnKey, Arc<[u8]>)> = Vec::new();
        for id in members {
            for letter in letters {
                self.post(cx, *id, letter.clone(), Some(room), now);
            }
            free.extend(self.hand_to_line(cx, *id, letters, &mut framed, now));
        }
        free.sort_unstable_by_key(|(key, frames)| (key.link.0, frames.as_ptr()));
        let max = cx.limits.handler_targets;
        let is_same = |a: &(ConnKey, Arc<[u8]>), b: &(ConnKey, Arc<[u8]>)| {
            a.0.link == b.0.link && Arc::ptr_eq(&a.1, &b.1)
        };
        for group in free.chunk_by(is_same) {
            let (first, frames) = &group[0];
            let ids: Vec<ConnId> = group.iter().map(|(key, _)| key.id).collect();
            let state = &cx.servers[first.link];
            cx.outbox.outgoing.multicast(first.link, state, &ids, max, frames);
        }
    }

    /// Takes messages that were just posted out of the mailbox again, if the session's WebSocket can have them now: the
    /// connection and what it is to get.
    fn hand_to_line(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        letters: &[Letter],
        framed: &mut Vec<Framed>,
        now: Instant,
    ) -> Option<(ConnKey, Arc<[u8]>)> {
        let channel = self.lives.get(id).filter(|channel| channel.stage == Stage::Open)?;
        let Carrier::Http(session) = &channel.carrier else { return None };
        let (key, line) = (session.stream?, session.line.as_ref()?);
        let (waiting, bytes) = session.mailbox.unacknowledged();
        let count = letters.len() as u64;
        let is_up_to_date =
            session.mailbox.waiting() == letters.len() && line.handed == session.mailbox.sent();
        let has_room = bytes < cx.limits.resume.max(LEAST_WINDOW)
            && waiting + count <= (cx.limits.mailbox as u64 / 2).max(1);
        if !is_up_to_date || !has_room || !line.socket.is_open() {
            return None;
        }
        let deflate = line.socket.deflate();
        let frames = match framed.iter().find(|(other, _)| *other == deflate) {
            Some((_, frames)) => Arc::clone(frames),
            None => {
                let mut frames = Vec::new();
                for letter in letters {
                    line::message(letter, deflate, &mut self.codec, &mut frames);
                }
                let frames: Arc<[u8]> = frames.into();
                framed.push((deflate, Arc::clone(&frames)));
                frames
            }
        };
        if !cx.outbox.has_room(&mut cx.servers, key.link, now) {
            return None;
        }
        let flow_control = cx.servers[key.link].flow_control;
        let conn = cx.outbox.conns.map.get_mut(&key)?;
        let is_free = !conn.is_ending()
            && conn.out.is_empty()
            && (flow_control || !conn.pacer.wants_ping(frames.len(), now))
            && conn.is_free_for(frames.len(), flow_control, now);
        if !is_free {
            return None;
        }
        conn.sent(frames.len(), flow_control, now);
        cx.servers[key.link].sent(frames.len(), now);
        cx.outbox.conns.list_if_idle(key, now);
        let Carrier::Http(session) = &mut self.lives.get_mut(id)?.carrier else { return None };
        while session.mailbox.hand_out().is_some() {}
        session.line.as_mut()?.handed = session.mailbox.sent();
        Some((key, frames))
    }
}
