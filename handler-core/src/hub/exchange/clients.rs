//! Which client a message comes from, and how much of what all clients share one address may take.

use crate::hub::Hub;
use crate::hub::exchange::receive::{Asked, Planned, own_answer};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use crate::hub::ledger::traffic::MeterId;
use kennel_http::client_address::ClientAddress;
use kennel_http::proxies::TrustedProxies;
use mongrel2_wire::{Envelope, Headers};
use std::time::Instant;

/// The setting that turns requests of a proxy into requests of its clients.
#[derive(Debug, Default)]
pub(in crate::hub) struct Clients {
    proxies: Option<TrustedProxies>,
}

impl Hub {
    /// Believes these proxies when they name a client: its address, scheme and host. From now on, limits per client
    /// address count all addresses. Without proxies, they do not count addresses of this machine and of private networks.
    pub fn set_trusted_proxies(&mut self, proxies: TrustedProxies) {
        self.cx.clients.proxies = Some(proxies);
    }

    /// A message as its client would have sent it without proxies; `None`: it is so already.
    pub(in crate::hub) fn restated(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.cx.clients.proxies.as_ref()?.restate(&Envelope::parse(message).ok()?)
    }

    /// The same for a message whose headers are looked at. Those of a frame are the headers of its handshake, and only the
    /// raw handler looks at them again.
    pub(in crate::hub) fn restated_request(&self, message: &[u8]) -> Option<Vec<u8>> {
        let proxies = self.cx.clients.proxies.as_ref()?;
        let envelope = Envelope::parse(message).ok()?;
        if self.raw_app().is_none() && envelope.headers.get(b"FLAGS").is_some() {
            return None;
        }
        proxies.restate(&envelope)
    }

    /// The address that limits per client address count for this message; `None`: they do not count it.
    pub(in crate::hub) fn client_of(&self, headers: &Headers<'_>) -> Option<ClientAddress> {
        let client = ClientAddress::parse(&headers.get(b"REMOTE_ADDR")?.first()?.bytes())?;
        (self.cx.clients.proxies.is_some() || !client.is_local()).then_some(client)
    }

    /// Refuses a body that is too large, one that would be too much beside the others, or one too many for its client's
    /// address.
    pub(in crate::hub) fn refuse_at_start(&mut self, asked: &Asked<'_>, now: Instant) -> Option<Planned> {
        let link = asked.key.link;
        let announced = asked.head.spool_size.map_or(0, u64::from);
        if self.is_too_large(announced) {
            self.refuse(link, asked.envelope, "a body beyond limits.upload", now);
            return Some(Planned::own(own_answer(413, None), MeterId::NOBODY));
        }
        let client = self.client_of(&asked.envelope.headers);
        if let Some(bound) = self.bound_of_bodies(announced, client) {
            self.cx.ledger.counters.overloaded += 1;
            self.complain_of_overload(|_| About::message(asked.key, asked.envelope), bound, now);
            return Some(Planned::own(self.own_page(503), MeterId::NOBODY));
        }
        let client = client?;
        let most = self.cx.limits.bodies_per_address;
        if self.bodies.streamed.of_client(client) + self.bodies.spooled.of_client(client, asked.key) < most {
            return None;
        }
        self.cx.ledger.counters.overloaded += 1;
        if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
            let about = About::message(asked.key, asked.envelope);
            log_about!(
                warn,
                about,
                %client,
                status = 503,
                "{most} bodies of this address are arriving, one more gets 503: limits.bodies_per_address"
            );
        }
        Some(Planned::own(self.own_page(503), MeterId::NOBODY))
    }
}
