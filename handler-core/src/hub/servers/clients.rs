//! Which client a message comes from.

use kennel_http::client_address::ClientAddress;
use kennel_http::proxies::TrustedProxies;
use mongrel2_wire::{Envelope, Headers};

/// The setting that turns requests of a proxy into requests of its clients.
#[derive(Debug, Default)]
pub(in crate::hub) struct Clients {
    proxies: Option<TrustedProxies>,
}

impl Clients {
    /// Believes these proxies when they name a client.
    pub fn trust(&mut self, proxies: TrustedProxies) {
        self.proxies = Some(proxies);
    }

    /// A message as its client would have sent it without proxies; `None`: it is so already.
    pub fn restated(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.proxies.as_ref()?.restate(&Envelope::parse(message).ok()?)
    }

    /// The same for a message whose headers are looked at. Those of a frame are the headers of its handshake, and only the
    /// raw handler looks at them again.
    pub fn restated_request(&self, message: &[u8], has_raw: impl FnOnce() -> bool) -> Option<Vec<u8>> {
        let proxies = self.proxies.as_ref()?;
        let envelope = Envelope::parse(message).ok()?;
        if envelope.headers.get(b"FLAGS").is_some() && !has_raw() {
            return None;
        }
        proxies.restate(&envelope)
    }

    /// The address that limits per client address count for this message; `None`: they do not count it.
    pub fn address(&self, headers: &Headers<'_>) -> Option<ClientAddress> {
        let client = ClientAddress::parse(&headers.get(b"REMOTE_ADDR")?.first()?.bytes())?;
        (self.proxies.is_some() || !client.is_local()).then_some(client)
    }
}
