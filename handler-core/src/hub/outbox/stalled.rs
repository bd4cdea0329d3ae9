//! Connections whose client takes nothing: asked about, and given up in the end.
//!
//! When a client leaves while a response is being written to it, Mongrel2 often sends no notice. What waits for such a
//! client would wait for minutes. So every connection that has had no credits for a moment is named to Mongrel2 in a
//! keep-alive, which brings a notice if it is gone. A keep-alive also resets Mongrel2's idle clock, so a client that is
//! there and never reads is dropped by the hub itself.

use super::Outbox;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::servers::Servers;
use mongrel2_wire::ConnId;
use mongrel2_wire::reply::Control;
use std::time::Instant;

/// A client that is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) struct GivenUp {
    pub key: ConnKey,
    /// Bytes that waited for it.
    pub waiting: usize,
    pub why: Why,
}

/// Why a client is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Why {
    /// It has read nothing for minutes.
    ReadsNothing,
    /// Too much waits for all clients of its server, and it does not read.
    ServerIsFull,
}

impl Outbox {
    /// Looks at connections that were idle or stalled a moment ago: drops what is not needed any more, and returns the
    /// clients that are to be given up. They have been told, as far as Mongrel2 tells them.
    pub fn look_at_idle(&mut self, servers: &Servers, now: Instant) -> Vec<GivenUp> {
        let swept = self.conns.sweep(now);
        let mut given_up = Vec::new();
        for key in swept.lost {
            let waiting = self.conns.map.get(&key).map_or(0, |conn| conn.out.len());
            if waiting > 0 {
                self.control(servers, key.link, &[key.id], Control::Cancel);
            }
            given_up.push(GivenUp { key, waiting, why: Why::ReadsNothing });
        }
        if !swept.stalled.is_empty() {
            self.ask_for(servers, &swept.stalled);
            self.relieve_servers(servers, &swept.stalled, &mut given_up, now);
        }
        given_up
    }

    /// Names connections to their servers, which send a notice for each that is gone.
    fn ask_for(&mut self, servers: &Servers, keys: &[ConnKey]) {
        for number in 0..servers.links.len() {
            let link = LinkId(number as u16);
            let incarnation = servers[link].incarnation;
            let is_there = |key: &&ConnKey| key.link == link && key.incarnation == incarnation;
            let ids: Vec<ConnId> = keys.iter().filter(is_there).map(|key| key.id).collect();
            self.control(servers, link, &ids, Control::KeepAlive);
        }
    }

    /// While more waits for all clients of a server together than the limit allows, gives up those that have read
    /// nothing for longest.
    fn relieve_servers(
        &mut self,
        servers: &Servers,
        stalled: &[ConnKey],
        given_up: &mut Vec<GivenUp>,
        now: Instant,
    ) {
        for number in 0..servers.links.len() {
            let link = LinkId(number as u16);
            let of_link = self.conns.map.iter().filter(|(key, _)| key.link == link);
            let mut held: usize = of_link.map(|(_, conn)| conn.memory()).sum();
            if held <= self.bounds.server {
                continue;
            }
            let mut slow: Vec<_> = stalled
                .iter()
                .filter(|key| key.link == link)
                .filter_map(|key| Some((*key, self.conns.map.get(key)?)))
                .map(|(key, conn)| (conn.pacer.silence(now), key, conn.memory()))
                .collect();
            slow.sort_unstable_by_key(|(silence, ..)| std::cmp::Reverse(*silence));
            for (_, key, memory) in slow {
                if held <= self.bounds.server {
                    break;
                }
                held -= memory;
                self.control(servers, link, &[key.id], Control::Cancel);
                given_up.push(GivenUp { key, waiting: memory, why: Why::ServerIsFull });
            }
        }
    }
}
