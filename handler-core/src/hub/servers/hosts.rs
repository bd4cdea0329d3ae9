//! Host names that a site answers to, where it does not answer to all.
//!
//! A client may write any name into `Host`, and scripts build links from it (`req.url`): those of a password reset, or of a
//! page that a cache keeps for others. So a site may name its hosts, and is asked by no others.
//!
//! Under `kennel dev` there are always hosts. A page of another site may name its own host, let that name lead to 127.0.0.1
//! (DNS rebinding), and would then be of the same origin as the site that is being written. Addresses cannot be led
//! elsewhere, so there they are always allowed.

use kennel_http::host;
use mongrel2_wire::{Envelope, Text};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use thiserror::Error;

/// A host, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// In lower case, without a dot at its end.
    name: String,
    /// All names that end with a dot and this one.
    below: bool,
}

/// Why a text does not name hosts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{typed}` is not a host name; write it without scheme and port, as in example.com, or *.example.com for all names below"
)]
pub struct HostError {
    typed: String,
}

impl FromStr for HostPattern {
    type Err = HostError;

    /// `example.com`, `*.example.com` (also `.example.com`), `192.0.2.7`, `[::1]`.
    fn from_str(typed: &str) -> Result<Self, HostError> {
        let below = typed.strip_prefix('*').unwrap_or(typed).strip_prefix('.');
        let name = plain(below.unwrap_or(typed));
        let is_v6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
        let inside = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !name.is_empty() && name.bytes().all(is_plain);
        match below {
            None if is_v6(&name) => Ok(Self { name: format!("[{name}]"), below: false }),
            None if is_name || inside.is_some_and(is_v6) => Ok(Self { name, below: false }),
            Some(_) if is_name => Ok(Self { name, below: true }),
            _ => Err(HostError { typed: typed.to_owned() }),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

impl HostPattern {
    /// Whether a name is meant, which is [`plain`].
    fn fits(&self, host: &str) -> bool {
        match self.below {
            true => host.strip_suffix(&self.name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            false => host == self.name,
        }
    }
}

/// A host as it is compared.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The hosts that a site answers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// These.
    Only(Vec<HostPattern>),
    /// These, addresses, and names of this machine: those of `kennel dev`.
    AlsoThisMachine(Vec<HostPattern>),
}

impl Hosts {
    /// Whether a message may name the host that it names. One without a Host header does not come from a browser.
    pub(in crate::hub) fn allow(&self, envelope: &Envelope<'_>) -> bool {
        let named = envelope.headers.get(b"host").and_then(|values| values.first()).map(Text::bytes);
        named.is_none_or(|named| self.allow_name(&named))
    }

    fn allow_name(&self, authority: &[u8]) -> bool {
        let Some((host, _)) = host::split(authority) else { return false };
        let Ok(host) = std::str::from_utf8(host) else { return false };
        let host = plain(host);
        let (Self::Only(patterns) | Self::AlsoThisMachine(patterns)) = self;
        let is_of_this_machine = || {
            let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
            is_address || host == "localhost" || host.ends_with(".localhost")
        };
        patterns.iter().any(|pattern| pattern.fits(&host))
            || (matches!(self, Self::AlsoThisMachine(_)) && is_of_this_machine())
    }

    /// The text of the page for a client that asks by another name.
    pub(in crate::hub) fn page(&self) -> &'static str {
        match self {
            Self::Only(_) => "421 Misdirected Request: this server does not answer to this host name.\n",
            Self::AlsoThisMachine(_) => {
                "421 Misdirected Request: `kennel dev` does not answer to this host name; --allow-host NAME allows it.\n"
            }
        }
    }

    /// What the log says of such a client.
    pub(in crate::hub) fn complaint(&self) -> &'static str {
        match self {
            Self::Only(_) => {
                "a foreign Host: it is not among `hosts` of kennel.toml, or those of --only-host"
            }
            Self::AlsoThisMachine(_) => "a foreign Host; --allow-host NAME allows it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(names: &[&str]) -> Vec<HostPattern> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn names_of_this_machine_addresses_and_those_that_are_allowed_are_taken() {
        let hosts = Hosts::AlsoThisMachine(patterns(&["Dev.Example", ".test"]));
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

    #[test]
    fn of_a_site_with_hosts_no_others_are_taken() {
        let hosts = Hosts::Only(patterns(&["example.com", "*.Example.com.", "192.0.2.7", "::1"]));
        for host in [
            "example.com",
            "EXAMPLE.com:8080",
            "example.com.",
            "a.example.com",
            "a.b.example.com",
            "192.0.2.7",
            "[::1]:80",
        ] {
            assert!(hosts.allow_name(host.as_bytes()), "{host}");
        }
        for host in [
            "evil.example",
            "example.com.evil.example",
            "evilexample.com",
            ".example.com",
            "localhost",
            "127.0.0.1",
            "192.0.2.8",
            "[::2]",
            "",
            "example.com/",
        ] {
            assert!(!hosts.allow_name(host.as_bytes()), "{host}");
        }
        assert!(!Hosts::Only(patterns(&["*.example.com"])).allow_name(b"example.com"));
    }

    #[test]
    fn what_is_not_a_host_is_an_error() {
        for typed in [
            "",
            "*",
            "*.",
            "http://a.example",
            "a.example:80",
            "a.*.example",
            "*a.example",
            "[::1",
            "a b",
            "*.::1",
        ] {
            assert!(typed.parse::<HostPattern>().is_err(), "{typed}");
        }
        for (typed, shown) in [
            ("A.Example.", "a.example"),
            (".example", "*.example"),
            ("*.example", "*.example"),
            ("::1", "[::1]"),
        ] {
            assert_eq!(typed.parse::<HostPattern>().unwrap().to_string(), shown);
        }
    }
}
