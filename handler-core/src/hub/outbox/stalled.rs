//! Connections whose client takes nothing: asked about, and given up in the end.
//!
//! When a client leaves while a response is being written to it, Mongrel2 often sends no notice. What waits for such a
//! client would wait for minutes. So every connection that has had no credits for a moment is named to Mongrel2 in a
//! keep-alive, which brings a notice if it is gone. A keep-alive also resets Mongrel2's idle clock, so a client that is
//! there and never reads is dropped by the hub itself.

use crate::hub::Hub;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use mongrel2_wire::reply::{self, Control};
use mongrel2_wire::{ConnId, Targets};
use std::time::Instant;

impl Hub {
    /// Looks at connections that were idle or stalled a moment ago: drops what is not needed any more.
    pub(in crate::hub) fn look_at_idle(&mut self, now: Instant) {
        let swept = self.cx.outbox.conns.sweep(now);
        for key in swept.lost {
            self.give_up_client(key, now);
        }
        if !swept.stalled.is_empty() {
            self.ask_for(&swept.stalled);
            self.relieve_servers(&swept.stalled, now);
        }
        for (id, unproven) in self.cx.outbox.conns.released.drain(..) {
            self.live.lives.stop_waiting(id, unproven);
        }
    }

    /// Names connections to their servers, which send a notice for each that is gone.
    fn ask_for(&mut self, keys: &[ConnKey]) {
        for number in 0..self.cx.servers.links.len() {
            let link = LinkId(number as u16);
            let incarnation = self.cx.servers.links[number].incarnation;
            let is_there = |key: &&ConnKey| key.link == link && key.incarnation == incarnation;
            let ids: Vec<ConnId> = keys.iter().filter(is_there).map(|key| key.id).collect();
            self.control(link, &ids, Control::KeepAlive);
        }
    }

    /// Sends an extended reply to connections of one server.
    pub(in crate::hub) fn control(&mut self, link: LinkId, ids: &[ConnId], control: Control) {
        let state = &self.cx.servers[link];
        let Some(sender) = state.sender.as_ref().filter(|_| state.up) else { return };
        for targets in Targets::split(ids, self.cx.limits.handler_targets) {
            self.cx.outbox.outgoing.reply(link, |out| reply::encode_control(out, sender, targets, control));
        }
    }

    /// A client has read nothing for minutes.
    fn give_up_client(&mut self, key: ConnKey, now: Instant) {
        let waiting = self.cx.outbox.conns.map.get(&key).map_or(0, |conn| conn.out.len());
        if waiting > 0 {
            self.cx.ledger.counters.overflowed += 1;
            if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
                log_about!(
                    warn,
                    self.about_connection(key),
                    waiting,
                    "dropped and closed: the client has read nothing for minutes"
                );
            }
            self.control(key.link, &[key.id], Control::Cancel);
        }
        self.live_disconnected(key, now);
        self.drop_connection(key);
    }

    /// While more waits for all clients of a server together than the limit allows, gives up those that have read
    /// nothing for longest.
    fn relieve_servers(&mut self, stalled: &[ConnKey], now: Instant) {
        for number in 0..self.cx.servers.links.len() {
            let link = LinkId(number as u16);
            let of_link = self.cx.outbox.conns.map.iter().filter(|(key, _)| key.link == link);
            let mut held: usize = of_link.map(|(_, conn)| conn.memory()).sum();
            if held <= self.cx.limits.server_output {
                continue;
            }
            let mut slow: Vec<_> = stalled
                .iter()
                .filter(|key| key.link == link)
                .filter_map(|key| Some((*key, self.cx.outbox.conns.map.get(key)?)))
                .map(|(key, conn)| (conn.pacer.silence(now), key, conn.memory()))
                .collect();
            slow.sort_unstable_by_key(|(silence, ..)| std::cmp::Reverse(*silence));
            for (_, key, memory) in slow {
                if held <= self.cx.limits.server_output {
                    break;
                }
                held -= memory;
                self.cx.ledger.counters.overflowed += 1;
                if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
                    let about = self.about_connection(key);
                    log_about!(
                        warn,
                        about,
                        waiting = memory,
                        "dropped and closed: too much waits for this server's clients, and this one does not read"
                    );
                }
                self.control(link, &[key.id], Control::Cancel);
                self.live_disconnected(key, now);
                self.drop_connection(key);
            }
        }
    }
}
