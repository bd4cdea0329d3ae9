//! Messages to live connections: to one, and to all in a room.
//!
//! A message to one grows in its connection's buffer until the turn ends, like an answer. A room's message is
//! written once for each form that its members have, and goes out in replies of up to 128 ids to all who are
//! free; those who wait for something get it behind that. Several in a row to one room leave as one.

use super::table::Stage;
use crate::channel::framing::Framing;
use crate::channel::mailbox::Letter;
use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LinkId, LiveId, NO_LINK};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::ledger::taps::Passing;
use crate::hub::live::Live;
use crate::hub::live::carrier::element_of;
use crate::hub::outbox::connection::Conn;
use crate::hub::outbox::output::{Bound, Pushed, Shared};
use crate::rooms::{MemberId, Place};
use crate::worker::protocol::Slow;
use kennel_http::websocket::Deflate;
use mongrel2_wire::{ConnId, Sender};
use std::sync::Arc;
use std::time::Instant;

/// Bytes of a room's messages that leave as one.
const TOGETHER: usize = 64 << 10;

/// A room's messages that have not been handed to its members yet.
#[derive(Debug, Default)]
pub(crate) struct Publishing {
    room: Vec<u8>,
    except: Option<LiveId>,
    messages: Vec<(bool, Vec<u8>)>,
    bytes: usize,
}

/// The form of members that get each message by itself.
const LETTER: u8 = 31;
/// The same, each as an element.
const ELEMENT: u8 = 32;

/// The forms that members can have, as the rooms' plans know them.
fn class_of(framing: Framing) -> u8 {
    match framing {
        Framing::WebSocket(None) => 0,
        Framing::WebSocket(Some(deflate)) => deflate.window_bits(),
        Framing::Nul => 30,
        Framing::Letter => LETTER,
        Framing::Element => ELEMENT,
    }
}

fn framing_of(class: u8) -> Framing {
    match class {
        0 => Framing::WebSocket(None),
        30 => Framing::Nul,
        LETTER => Framing::Letter,
        ELEMENT => Framing::Element,
        bits => Framing::WebSocket(Deflate::new(bits)),
    }
}

impl Live {
    /// A script's message to one connection.
    pub(in crate::hub) fn send_live(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        binary: bool,
        payload: &[u8],
        now: Instant,
    ) {
        self.flush_publishing(cx, now);
        let Some(channel) = self.lives.get(id) else { return };
        if channel.stage != Stage::Open {
            if channel.stage == Stage::Asked {
                self.refuse_order(cx, id, "dropped a message: its handshake is not accepted yet", now);
            }
            return;
        }
        self.note(cx, id, Passing::Out { binary, payload });
        if let Some(meter) = self.meter_of(id).and_then(|meter| cx.ledger.traffic.channel(meter)) {
            meter.sent += 1;
        }
        let Some(channel) = self.lives.get(id) else { return };
        let framing = channel.framing();
        if framing == Framing::Letter {
            self.post(cx, id, Letter { binary, payload: payload.into() }, None, now);
            return;
        }
        if framing == Framing::Element {
            self.post_element(cx, id, element_of(binary, payload), now);
            return;
        }
        let mut framed = Vec::with_capacity(payload.len() + 10);
        framing.encode(binary, payload, &mut self.codec, &mut framed);
        self.send_bytes(cx, id, &framed, now);
    }

    /// Bytes that are framed already, to one connection.
    pub(in crate::hub::live) fn send_bytes(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        framed: &[u8],
        now: Instant,
    ) {
        let Some(conn) = self.live_conn(cx, id, now).filter(|conn| !conn.is_ending()) else { return };
        if conn.out.has_room_in_buffer(framed.len()) {
            conn.out.extend(framed);
            let Some(key) = self.key_of(id) else { return };
            cx.outbox.mark_dirty(key);
        } else {
            self.wait_behind(cx, id, Shared::message(framed.into(), None), now);
        }
    }

    /// The connection's entry among those that wait for something; its pacer counts from now on.
    pub(in crate::hub) fn live_conn<'a>(
        &mut self,
        cx: &'a mut Context,
        id: LiveId,
        now: Instant,
    ) -> Option<&'a mut Conn> {
        let key = self.lives.get(id)?.key;
        let conn = cx.outbox.conns.map.entry(key).or_default();
        self.lives.enter_as(id, conn, now);
        Some(conn)
    }

    /// A message that has to wait its turn, within what the channel bears.
    fn wait_behind(&mut self, cx: &mut Context, id: LiveId, message: Shared, now: Instant) {
        let Some(channel) = self.lives.get(id) else { return };
        let (key, app, route) = (channel.key, channel.app, channel.route);
        let limit = cx.limits.connection_output;
        let spec = cx.apps.channel(app, route);
        let (slow, buffer) = spec.map_or((Slow::Wait, limit), |spec| (spec.slow, spec.buffer));
        let bound = Bound { slow, bytes: if slow == Slow::Wait { limit } else { buffer.min(limit) } };
        let Some(conn) = self.live_conn(cx, id, now).filter(|conn| !conn.is_ending()) else { return };
        match conn.out.push(message, bound) {
            Pushed::Kept => {}
            Pushed::Dropped { count, first } => {
                cx.ledger.counters.dropped += count;
                // Those that follow are counted, and told of together when the client reads again.
                if let Some(room) = first
                    && cx.ledger.complaints.pass(Complaint::Overflow, now)
                {
                    let room = room.as_deref().map(|room| String::from_utf8_lossy(room).into_owned());
                    log_about!(
                        warn,
                        self.about_by(cx, id, key),
                        room,
                        "dropped a message: the client does not read, and more than the channel's buffer waits"
                    );
                }
            }
            Pushed::TooMuch { waiting } => {
                self.cut_off(cx, id, waiting, now);
                return;
            }
        }
        cx.outbox.mark_dirty(key);
    }

    /// Ends a connection whose client does not read. A message of which the client has a part is still sent whole: the
    /// client could not read the close behind a part.
    fn cut_off(&mut self, cx: &mut Context, id: LiveId, waiting: usize, now: Instant) {
        let Some(key) = self.key_of(id) else { return };
        cx.ledger.counters.overflowed += 1;
        if cx.ledger.complaints.pass(Complaint::Overflow, now) {
            log_about!(
                warn,
                self.about_by(cx, id, key),
                waiting,
                "dropped and closed: the client does not read what is sent to it"
            );
        }
        if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
            conn.out.drop_unbegun();
        }
        self.queue_no_more(id);
        self.to_close(cx, id, 1008, "too slow");
        self.to_end(cx, id, 1008, "too slow");
    }

    /// A script's message to a room.
    pub(in crate::hub) fn publish(
        &mut self,
        cx: &mut Context,
        room: &[u8],
        except: Option<LiveId>,
        binary: bool,
        payload: &[u8],
        now: Instant,
    ) {
        let publishing = &self.publishing;
        let same = publishing.room == room && publishing.except == except;
        if !same || publishing.bytes + payload.len() > TOGETHER {
            self.flush_publishing(cx, now);
        }
        let publishing = &mut self.publishing;
        publishing.room.clear();
        publishing.room.extend_from_slice(room);
        publishing.except = except;
        publishing.bytes += payload.len();
        publishing.messages.push((binary, payload.to_vec()));
        cx.ledger.counters.published += 1;
        self.note_publish(cx, room, binary, payload);
    }

    /// Hands a room's messages to its members. Before anything else that a member could notice, so that the
    /// order is the same for all.
    pub(in crate::hub) fn flush_publishing(&mut self, cx: &mut Context, now: Instant) {
        if self.publishing.messages.is_empty() {
            return;
        }
        let messages = std::mem::take(&mut self.publishing.messages);
        self.publishing.bytes = 0;
        let room = std::mem::take(&mut self.publishing.room);
        let except = self.publishing.except;
        self.multicast_room(cx, &room, except, &messages, now);
        self.publishing.room = room;
        let mut messages = messages;
        messages.clear();
        self.publishing.messages = messages;
    }

    fn multicast_room(
        &mut self,
        cx: &mut Context,
        room: &[u8],
        except: Option<LiveId>,
        messages: &[(bool, Vec<u8>)],
        now: Instant,
    ) {
        let window = self.lives.window(now);
        let (live, links, outgoing) = (&mut *self, &mut cx.servers.links, &mut cx.outbox.outgoing);
        let lives = &live.lives;
        let describe = |member: MemberId| {
            let channel = lives.get(member).filter(|channel| channel.stage == Stage::Open)?;
            let class = class_of(channel.framing());
            Some(Place { link: channel.key.link.0, class, id: channel.key.id })
        };
        let nobody = Sender::new("-").expect("a dash is a sender");
        let sender = |link: u16| match LinkId(link) {
            NO_LINK => Some(&nobody),
            _ => links[usize::from(link)].sender.as_ref(),
        };
        let max = cx.limits.handler_targets;
        let Some(plan) = live.rooms.plan(room, max, describe, sender) else { return };
        let mut behind: Vec<(LiveId, Arc<[u8]>)> = Vec::new();
        let mut recipients = 0;
        let (mut in_mailboxes, mut in_bodies): (Vec<LiveId>, Vec<LiveId>) = Default::default();
        for group in plan.groups() {
            if matches!(group.class(), LETTER | ELEMENT) {
                let list = if group.class() == LETTER { &mut in_mailboxes } else { &mut in_bodies };
                for chunk in group.chunks() {
                    recipients += chunk.members().len();
                    list.extend(chunk.members().iter().filter(|member| Some(**member) != except));
                }
                continue;
            }
            let number = LinkId(group.link());
            let link = &mut links[usize::from(group.link())];
            let Some(sender) = link.sender.clone() else { continue };
            let mut framed = Vec::new();
            for (binary, payload) in messages {
                framing_of(group.class()).encode(*binary, payload, &mut live.codec, &mut framed);
            }
            let mut shared: Option<Arc<[u8]>> = None;
            let mut share = |framed: &[u8]| Arc::clone(shared.get_or_insert_with(|| framed.into()));
            for chunk in group.chunks() {
                let mut held_back = 0;
                if link.flow_control || link.is_full(outgoing.fresh(number), cx.limits.spill) {
                    // Each has credits of its own, or waits for the server: its entry says how far it is.
                    behind.extend(
                        chunk.members().iter().filter(|m| Some(**m) != except).map(|m| (*m, share(&framed))),
                    );
                    recipients += chunk.members().len();
                    continue;
                }
                let before = behind.len();
                for member in chunk.members() {
                    if Some(*member) == except {
                        held_back += 1;
                    } else if !live.lives.lanes[*member as usize].take(window, framed.len()) {
                        held_back += 1;
                        behind.push((*member, share(&framed)));
                    }
                }
                recipients += chunk.members().len();
                outgoing.reply(number, |out| {
                    if held_back == 0 {
                        out.extend_from_slice(chunk.address());
                    } else {
                        let waits = &behind[before..];
                        let leave_out =
                            |m: MemberId| Some(m) == except || waits.iter().any(|(id, _)| *id == m);
                        if chunk.encode_without(out, &sender, leave_out) == 0 {
                            return;
                        }
                    }
                    out.extend_from_slice(&framed);
                });
            }
        }
        cx.ledger.counters.recipients += (recipients * messages.len()) as u64;
        if !in_bodies.is_empty() {
            let elements: Vec<_> =
                messages.iter().map(|(binary, payload)| element_of(*binary, payload)).collect();
            for id in in_bodies {
                elements.iter().for_each(|element| self.post_element(cx, id, Arc::clone(element), now));
            }
        }
        if !in_mailboxes.is_empty() {
            let letter =
                |(binary, payload): &(bool, Vec<u8>)| Letter { binary: *binary, payload: payload[..].into() };
            let letters: Vec<Letter> = messages.iter().map(letter).collect();
            self.post_to_all(cx, &in_mailboxes, &letters, room, now);
        }
        let room = Arc::from(room);
        self.send_to_waiting(cx, behind, Some(&room), now);
    }

    /// The same bytes to many that have entries of their own; those that are free share replies.
    fn send_to_waiting(
        &mut self,
        cx: &mut Context,
        targets: Vec<(LiveId, Arc<[u8]>)>,
        room: Option<&Arc<[u8]>>,
        now: Instant,
    ) {
        let mut free: Vec<(ConnKey, Arc<[u8]>)> = Vec::new();
        for (id, framed) in targets {
            let Some(channel) = self.lives.get(id) else { continue };
            let key = channel.key;
            let has_room = cx.outbox.has_room(&mut cx.servers, key.link, now);
            let flow_control = cx.servers[key.link].flow_control;
            let Some(conn) = self.live_conn(cx, id, now) else { continue };
            let is_free = has_room
                && (flow_control || !conn.pacer.wants_ping(framed.len(), now))
                && conn.is_free_for(framed.len(), flow_control, now);
            if is_free {
                conn.sent(framed.len(), flow_control, now);
                cx.servers[key.link].sent(framed.len(), now);
                cx.outbox.conns.list_if_idle(key, now);
                free.push((key, framed));
            } else {
                self.wait_behind(cx, id, Shared::message(framed, room.cloned()), now);
            }
        }
        let max = cx.limits.handler_targets;
        let is_same = |a: &(ConnKey, Arc<[u8]>), b: &(ConnKey, Arc<[u8]>)| {
            a.0.link == b.0.link && Arc::ptr_eq(&a.1, &b.1)
        };
        for group in free.chunk_by(is_same) {
            let (first, framed) = &group[0];
            let ids: Vec<ConnId> = group.iter().map(|(key, _)| key.id).collect();
            let state = &cx.servers[first.link];
            cx.outbox.outgoing.multicast(first.link, state, &ids, max, framed);
        }
    }

    /// The same bytes to many connections, each in its turn.
    pub(in crate::hub::live) fn send_same(
        &mut self,
        cx: &mut Context,
        ids: &[LiveId],
        framed: &[u8],
        now: Instant,
    ) {
        let framed: Arc<[u8]> = framed.into();
        let targets = ids.iter().map(|id| (*id, Arc::clone(&framed))).collect();
        self.send_to_waiting(cx, targets, None, now);
    }
}
