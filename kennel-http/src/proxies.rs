//! Proxies that are trusted to name the client of a request: its address, scheme and host (`Forwarded`, RFC 7239, and
//! `X-Forwarded-For`, `-Proto` and `-Host`).
//!
//! Each proxy adds the address of its own peer at the end of the list. So the list is read from its end, for as long as
//! the address that names the next one is trusted: the first address that is not trusted is the client's. What stands
//! before it was written by the client itself.

use super::{host, parameters};
use ipnet::IpNet;
use mongrel2_wire::rewrite::{self, Change};
use mongrel2_wire::{Envelope, Headers};
use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;
use thiserror::Error;

/// Mongrel2 keeps the first five of the header lines with one name. The line of the nearest proxy may be missing then.
const KEPT: usize = 5;

/// Headers that name the client. From a peer that is not trusted, scripts do not get them.
const FORWARDING: [&[u8]; 5] =
    [b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"];

/// Addresses and networks whose forwarding headers are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not an IP address or a network; write `127.0.0.1`, `10.0.0.0/8` or `fd00::/8`")]
pub struct NotANetwork(pub String);

impl TrustedProxies {
    /// Reads a list of addresses and networks.
    ///
    /// ```
    /// use kennel_http::proxies::TrustedProxies;
    ///
    /// let proxies = TrustedProxies::parse(["127.0.0.1", "10.0.0.0/8"]).unwrap();
    /// assert!(proxies.trust("10.1.2.3".parse().unwrap()));
    /// assert!(TrustedProxies::parse(["localhost"]).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// The first text that is neither an address nor a network.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NotANetwork> {
        let network = |text: &str| {
            let address = IpAddr::from_str(text).map(|address| IpNet::from(address.to_canonical()));
            address.or_else(|_| IpNet::from_str(text)).map_err(|_| NotANetwork(text.to_owned()))
        };
        texts.into_iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an address is one of them.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The message as Mongrel2 would have written it if the client had asked it directly: with the client's REMOTE_ADDR,
    /// URL_SCHEME and host. From a peer that is not trusted: without forwarding headers but Mongrel2's own
    /// `x-forwarded-for`. `None`: the message stays as it is.
    pub fn restate(&self, envelope: &Envelope<'_>) -> Option<Vec<u8>> {
        let headers = envelope.headers;
        let peer_text = headers.get(b"REMOTE_ADDR")?.first()?.bytes();
        let peer = address(&peer_text)?;
        let mut changes: Vec<Change<'_>> = Vec::new();
        if !self.trust(peer) {
            for name in FORWARDING {
                match headers.get(name) {
                    Some(values) if name == b"x-forwarded-for" => {
                        let is_own = values.single().is_some_and(|value| value.bytes() == peer_text);
                        changes.extend((!is_own).then_some((name, Some(&*peer_text))));
                    }
                    Some(_) => changes.push((name, None)),
                    None => {}
                }
            }
            return rewrite::with_headers(envelope, &changes);
        }
        let client = self.client_of(peer, &headers);
        let text = client.address.to_string();
        if client.address != peer {
            changes.push((b"REMOTE_ADDR", Some(text.as_bytes())));
        }
        changes.extend(client.scheme.map(|scheme| (&b"URL_SCHEME"[..], Some(scheme))));
        changes.extend(client.host.as_deref().map(|host| (&b"host"[..], Some(host))));
        rewrite::with_headers(envelope, &changes)
    }

    fn client_of<'h>(&self, peer: IpAddr, headers: &Headers<'h>) -> Client<'h> {
        let unnamed = Client { address: peer, scheme: None, host: None };
        let is_full = |name: &[u8]| headers.get(name).is_some_and(|values| values.iter().count() >= KEPT);
        if FORWARDING.into_iter().any(is_full) {
            return unnamed;
        }
        let x_forwarded = Chain::of_x_forwarded(headers).map(|chain| self.walk(peer, chain));
        let forwarded = Chain::of_forwarded(headers).map(|chain| self.walk(peer, chain));
        match (x_forwarded, forwarded) {
            // A proxy that knows only one of them passes the other on as the client has written it. Which one that
            // is cannot be seen, so neither is believed unless they agree.
            (Some(one), Some(other)) if one.address != other.address => unnamed,
            (Some(one), Some(other)) => Client {
                scheme: one.scheme.or(other.scheme),
                host: one.host.or(other.host),
                address: one.address,
            },
            (Some(client), None) | (None, Some(client)) => client,
            (None, None) => unnamed,
        }
    }

    fn walk<'h>(&self, peer: IpAddr, chain: Chain<'h>) -> Client<'h> {
        let mut address = peer;
        let mut hops = 0;
        for named in &chain.addresses {
            hops += 1;
            let Some(named) = *named else { break };
            address = named;
            if !self.trust(address) {
                break;
            }
        }
        // What the trusted proxy that is nearest to the client has said, or the next one behind it.
        let said = |values: &[Option<Cow<'h, [u8]>>]| {
            let known = values.get(..hops.max(1)).unwrap_or(values);
            known.iter().rev().flatten().next().cloned()
        };
        let scheme = said(&chain.schemes).and_then(|scheme| {
            [&b"https"[..], b"http"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))
        });
        let is_host =
            |host: &Cow<'_, [u8]>| host::split(host).is_some() && host.iter().all(u8::is_ascii_graphic);
        Client { address, scheme, host: said(&chain.hosts).filter(is_host) }
    }
}

/// What is known of the client of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Client<'h> {
    address: IpAddr,
    scheme: Option<&'static [u8]>,
    host: Option<Cow<'h, [u8]>>,
}

/// What the proxies have said, the nearest first. `None`: that proxy did not say it.
struct Chain<'h> {
    addresses: Vec<Option<IpAddr>>,
    schemes: Vec<Option<Cow<'h, [u8]>>>,
    hosts: Vec<Option<Cow<'h, [u8]>>>,
}

impl<'h> Chain<'h> {
    fn of_x_forwarded(headers: &Headers<'h>) -> Option<Self> {
        let list = |name: &[u8]| {
            let mut items: Vec<_> = headers.get(name).map_or_else(Vec::new, |values| {
                values.iter().flat_map(|value| split_list(value.bytes())).map(Some).collect()
            });
            items.reverse();
            items
        };
        let addresses: Vec<_> = list(b"x-forwarded-for").into_iter().map(|item| address(&item?)).collect();
        let (schemes, hosts) = (list(b"x-forwarded-proto"), list(b"x-forwarded-host"));
        let is_named = !addresses.is_empty() || !schemes.is_empty() || !hosts.is_empty();
        is_named.then_some(Self { addresses, schemes, hosts })
    }

    fn of_forwarded(headers: &Headers<'h>) -> Option<Self> {
        let values = headers.get(b"forwarded")?;
        let mut elements: Vec<_> = values.iter().flat_map(|value| split_list(value.bytes())).collect();
        elements.reverse();
        let mut chain = Self { addresses: Vec::new(), schemes: Vec::new(), hosts: Vec::new() };
        for element in elements {
            let said = |name: &[u8]| {
                // The first pair of an element is one like the others.
                let pairs = [b"; ", &*element].concat();
                let (_, pairs) = parameters::split(&pairs);
                pairs.only(name).ok().flatten().map(|value| Cow::Owned(value.into_owned()))
            };
            let named: Option<Cow<'_, [u8]>> = said(b"for");
            chain.addresses.push(named.and_then(|named| address(&named)));
            chain.schemes.push(said(b"proto"));
            chain.hosts.push(said(b"host"));
        }
        Some(chain)
    }
}

/// The items of a list that is separated by commas outside quotes, without spaces around them; empty ones are left out
/// (RFC 9110, section 5.6.1).
fn split_list(value: Cow<'_, [u8]>) -> Vec<Cow<'_, [u8]>> {
    let (mut items, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in value.iter().copied().chain([b',']).enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted || at == value.len() => {
                items.push((start, at));
                start = at + 1;
            }
            _ => {}
        }
    }
    let trimmed = items.into_iter().map(|(start, end)| value[start..end].trim_ascii().to_vec());
    trimmed.filter(|item| !item.is_empty()).map(Cow::Owned).collect()
}

/// An address, also with a port behind it: `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`. `None`: it is none, such as
/// `unknown` or a name that hides it (RFC 7239, section 6.3).
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(address, _)| address)?,
        None => match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => address,
            _ => text,
        },
    };
    bare.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_wire::netstring;

    fn message(peer: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let own = [("METHOD", "GET"), ("URL_SCHEME", "http"), ("REMOTE_ADDR", peer), ("host", "inner")];
        let mut block = Vec::new();
        for (name, value) in own.iter().chain(more) {
            netstring::encode(&mut block, name.as_bytes());
            netstring::encode(&mut block, value.as_bytes());
        }
        let mut out = format!("m2 7 / {}:", block.len()).into_bytes();
        out.extend_from_slice(&block);
        out.extend_from_slice(b"}0:,");
        out
    }

    /// Address, scheme and host of a request by this peer, as scripts see them.
    fn seen(peer: &str, more: &[(&str, &str)]) -> [String; 3] {
        let proxies = TrustedProxies::parse(["127.0.0.1", "10.0.0.0/8", "fd00::/8"]).unwrap();
        let message = message(peer, more);
        let restated = proxies.restate(&Envelope::parse(&message).unwrap());
        let message = restated.unwrap_or(message);
        let envelope = Envelope::parse(&message).unwrap();
        ["REMOTE_ADDR", "URL_SCHEME", "host"].map(|name| {
            let value = envelope.headers.get(name.as_bytes()).unwrap().single().unwrap();
            String::from_utf8(value.bytes().into_owned()).unwrap()
        })
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        let xff = |list| ("x-forwarded-for", list);
        for (more, expected) in [
            (&[][..], ["127.0.0.1", "http", "inner"]),
            (&[xff("203.0.113.7")], ["203.0.113.7", "http", "inner"]),
            // What the client wrote stands before what the proxy wrote.
            (&[xff("198.51.100.1, 203.0.113.7")], ["203.0.113.7", "http", "inner"]),
            // Two proxies: the nearer one names the other one.
            (&[xff("6.6.6.6, 203.0.113.7, 10.0.0.1")], ["203.0.113.7", "http", "inner"]),
            (&[xff("203.0.113.7:4711")], ["203.0.113.7", "http", "inner"]),
            (&[xff("2001:db8::1")], ["2001:db8::1", "http", "inner"]),
            (&[xff("10.0.0.2, 10.0.0.1")], ["10.0.0.2", "http", "inner"]),
            (&[xff("203.0.113.7, unknown")], ["127.0.0.1", "http", "inner"]),
            (&[xff(" ,, ")], ["127.0.0.1", "http", "inner"]),
            (
                &[xff("203.0.113.7"), ("x-forwarded-proto", "HTTPS"), ("x-forwarded-host", "example.org")],
                ["203.0.113.7", "https", "example.org"],
            ),
            // A scheme without an address; one that does not exist; a host that is not one.
            (&[("x-forwarded-proto", "https")], ["127.0.0.1", "https", "inner"]),
            (&[("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a/b")], ["127.0.0.1", "http", "inner"]),
            // The proxy's own word stands last.
            (
                &[
                    xff("203.0.113.7"),
                    ("x-forwarded-proto", "http, https"),
                    ("x-forwarded-host", "evil, good"),
                ],
                ["203.0.113.7", "https", "good"],
            ),
            (
                &[xff("203.0.113.7, 10.0.0.1"), ("x-forwarded-proto", "https, http")],
                ["203.0.113.7", "https", "inner"],
            ),
        ] {
            assert_eq!(seen("127.0.0.1", more), expected, "{more:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for (value, expected) in [
            ("for=192.0.2.60;proto=https;host=example.org", ["192.0.2.60", "https", "example.org"]),
            ("For=\"[2001:db8:cafe::17]:4711\"", ["2001:db8:cafe::17", "http", "inner"]),
            ("for=192.0.2.43, for=198.51.100.17", ["198.51.100.17", "http", "inner"]),
            ("for=192.0.2.43;proto=https, for=10.1.1.1;proto=http", ["192.0.2.43", "https", "inner"]),
            ("for=192.0.2.43, for=10.1.1.1;proto=https", ["192.0.2.43", "https", "inner"]),
            ("for=unknown;proto=https", ["127.0.0.1", "https", "inner"]),
            ("for=_hidden", ["127.0.0.1", "http", "inner"]),
            ("for=\"192.0.2.43, for=6.6.6.6\"", ["127.0.0.1", "http", "inner"]),
            ("for=\"192.0.2.43", ["127.0.0.1", "http", "inner"]),
            ("secret=\"a,b\";for=192.0.2.43", ["192.0.2.43", "http", "inner"]),
        ] {
            assert_eq!(seen("127.0.0.1", &[("forwarded", value)]), expected, "{value}");
        }
    }

    /// A proxy that adds a line of its own adds it behind those of the client.
    #[test]
    fn a_line_that_mongrel2_may_have_dropped_makes_the_others_worthless() {
        let line = ("x-forwarded-for", "6.6.6.6");
        let seen = |lines: usize| {
            let proxies = TrustedProxies::parse(["127.0.0.1"]).unwrap();
            let mut list = Vec::new();
            (0..lines).for_each(|_| netstring::encode(&mut list, line.1.as_bytes()));
            let mut block = Vec::new();
            netstring::encode(&mut block, b"REMOTE_ADDR");
            netstring::encode(&mut block, b"127.0.0.1");
            netstring::encode(&mut block, line.0.as_bytes());
            netstring::encode_marked(&mut block, &list, b']');
            let mut message = b"m2 7 / ".to_vec();
            netstring::encode_marked(&mut message, &block, b'}');
            message.extend_from_slice(b"0:,");
            proxies.restate(&Envelope::parse(&message).unwrap()).is_some()
        };
        assert!(seen(4));
        assert!(!seen(5));
    }

    #[test]
    fn two_headers_that_disagree_are_not_believed() {
        let other = ("forwarded", "for=6.6.6.6;proto=https;host=evil");
        assert_eq!(
            seen("127.0.0.1", &[("x-forwarded-for", "203.0.113.7"), other]),
            ["127.0.0.1", "http", "inner"]
        );
        assert_eq!(seen("127.0.0.1", &[("x-forwarded-for", "6.6.6.6"), other]), ["6.6.6.6", "https", "evil"]);
    }

    #[test]
    fn a_stranger_names_nothing_and_scripts_do_not_see_what_it_wrote() {
        let more = [
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("x-real", "kept"),
        ];
        assert_eq!(seen("203.0.113.9", &more), ["203.0.113.9", "http", "inner"]);
        let message = message("203.0.113.9", &more);
        let proxies = TrustedProxies::parse(["127.0.0.1"]).unwrap();
        let restated = proxies.restate(&Envelope::parse(&message).unwrap()).unwrap();
        let envelope = Envelope::parse(&restated).unwrap();
        let names: Vec<_> = envelope.headers.iter().map(|header| header.unwrap().0).collect();
        assert_eq!(
            names,
            [&b"METHOD"[..], b"URL_SCHEME", b"REMOTE_ADDR", b"host", b"x-forwarded-for", b"x-real"]
        );
        let own = envelope.headers.get(b"x-forwarded-for").unwrap().single().unwrap();
        assert_eq!(&*own.bytes(), b"203.0.113.9");
        // Mongrel2's own value stays, and nothing is written again.
        let plain = self::message("203.0.113.9", &[("x-forwarded-for", "203.0.113.9")]);
        assert_eq!(proxies.restate(&Envelope::parse(&plain).unwrap()), None);
    }
}
