//! Host names that a site answers to, where it does not answer to all: under `kennel dev`.
//!
//! A page of another site may name its own host, let that name lead to 127.0.0.1 (DNS rebinding), and would then be of the
//! same origin as the site that is being written. Addresses cannot be led elsewhere, so they are always allowed.

use kennel_http::host;
use mongrel2_wire::{Envelope, Text};
use std::net::Ipv4Addr;

/// Names beside those of this machine; behind a leading dot, all names that end so.
#[derive(Debug)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect())
    }

    /// Whether a message may name the host that it names. One without a Host header does not come from a browser.
    pub fn allow(&self, envelope: &Envelope<'_>) -> bool {
        let named = envelope.headers.get(b"host").and_then(|values| values.first()).map(Text::bytes);
        named.is_none_or(|named| self.allow_name(&named))
    }

    fn allow_name(&self, authority: &[u8]) -> bool {
        let Some((host, _)) = host::split(authority) else { return false };
        let Ok(host) = std::str::from_utf8(host) else { return false };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
        let is_local = host == "localhost" || host.ends_with(".localhost");
        let is_named =
            |name: &String| *name == host || (name.starts_with('.') && host.ends_with(name.as_str()));
        is_address || is_local || self.0.iter().any(is_named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_addresses_and_those_that_are_allowed_are_taken() {
        let hosts = Hosts::new(&["Dev.Example".to_owned(), ".test".to_owned()]);
        for host in ["localhost", "LOCALHOST:6767", "a.localhost", "127.0.0.1:80", "192.168.0.7", "[::1]:80"]
        {
            assert!(hosts.allow_name(host.as_bytes()), "{host}");
        }
        for host in ["dev.example", "DEV.example.:6767", "a.test", "a.b.test"] {
            assert!(hosts.allow_name(host.as_bytes()), "{host}");
        }
        for host in
            ["evil.example", "a.dev.example", "localhost.evil", "test", "127.0.0.1.evil", "1.2.3", "", "a b"]
        {
            assert!(!hosts.allow_name(host.as_bytes()), "{host}");
        }
    }
}
