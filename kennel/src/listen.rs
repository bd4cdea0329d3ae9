//! Addresses to listen on, and words for why one cannot.

use crate::exit::{unreachable, wrong_input};
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

/// Where the server that Kennel starts listens unless told otherwise.
pub(crate) const MONGREL2: &str = "127.0.0.1:6767";

/// An address for the metrics, as an example: the port is the usual one of such exporters.
pub(crate) const METRICS: &str = "127.0.0.1:9464";

/// The address that was typed. `example` shows what one looks like.
///
/// # Errors
///
/// When it is not one.
pub(crate) fn parse(typed: &str, example: &str) -> anyhow::Result<SocketAddr> {
    spelled(typed, example).map_err(wrong_input)?;
    let unknown = || wrong_input(format!("`{typed}`: this machine does not know an address of that name"));
    typed.to_socket_addrs().map_err(|_| unknown())?.next().ok_or_else(unknown)
}

/// The address that was typed for the server that Kennel starts.
///
/// # Errors
///
/// When it is not one, or has no port of its own.
pub(crate) fn parse_for_mongrel2(typed: &str) -> anyhow::Result<SocketAddr> {
    let address = parse(typed, MONGREL2)?;
    if address.port() == 0 {
        return Err(wrong_input(no_port(typed)));
    }
    Ok(address)
}

/// Whether it is written as an address is; whether there is one of that name is not looked up.
///
/// # Errors
///
/// What is wrong with it, and what to write.
pub(crate) fn spelled(typed: &str, example: &str) -> Result<(), String> {
    let usual = example.rsplit_once(':').map_or("6767", |(_, port)| port);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(port) = Some(typed.strip_prefix(':').unwrap_or(typed)).filter(|port| is_number(port)) {
        return Err(format!(
            "`{typed}` has a port and no address; write 127.0.0.1:{port} for this machine alone, or 0.0.0.0:{port} for \
             all networks"
        ));
    }
    if typed.contains("://") {
        return Err(format!("`{typed}` is a URL; write ADDRESS:PORT, as in {example}"));
    }
    let wrong = || format!("`{typed}` is not an address to listen on; write ADDRESS:PORT, as in {example}");
    let bare: Option<Ipv6Addr> = typed.parse().ok();
    if bare.is_some() {
        return Err(format!("`{typed}` has no port; write [{typed}]:{usual}"));
    }
    let Some((host, port)) = typed.rsplit_once(':') else {
        let is_host = !typed.is_empty() && !typed.contains(char::is_whitespace);
        return Err(match is_host {
            true => format!("`{typed}` has no port; write {typed}:{usual} (an example: {example})"),
            false => wrong(),
        });
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("`{typed}`: an IPv6 address stands in brackets; write [{host}]:{port}"));
    }
    if host.is_empty() || !is_number(port) {
        return Err(wrong());
    }
    match port.parse::<u16>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("`{typed}`: a port is a number up to 65535, as in {example}")),
    }
}

/// The same of an address for the server that Kennel starts.
///
/// # Errors
///
/// What is wrong with it, and what to write.
pub(crate) fn spelled_for_mongrel2(typed: &str) -> Result<(), String> {
    match typed.rsplit_once(':') {
        Some((_, port)) if port.parse() == Ok(0u16) => Err(no_port(typed)),
        _ => spelled(typed, MONGREL2),
    }
}

fn no_port(typed: &str) -> String {
    format!("`{typed}`: the server does not choose a port by itself; write one, as in {MONGREL2}")
}

/// Listens there. `flag` is the one by which another address can be chosen.
///
/// # Errors
///
/// When the system does not let us.
pub(crate) fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|problem| taken(address, flag, &problem))
}

fn taken(address: SocketAddr, flag: &str, problem: &io::Error) -> anyhow::Error {
    match problem.kind() {
        io::ErrorKind::AddrInUse => unreachable(format!(
            "port {} of {} is taken by another program; choose another with {flag}",
            address.port(),
            address.ip()
        )),
        io::ErrorKind::PermissionDenied => unreachable(format!(
            "this user may not listen on port {}; ports below 1024 need more rights, or choose another with {flag}",
            address.port()
        )),
        io::ErrorKind::AddrNotAvailable => wrong_input(format!(
            "{} is not an address of this machine; choose another with {flag}",
            address.ip()
        )),
        _ => unreachable(format!("cannot listen on {address}: {problem}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_address_is_answered_with_what_to_write() {
        for (typed, said) in [
            ("8080", "write 127.0.0.1:8080 for this machine alone, or 0.0.0.0:8080"),
            (":8080", "write 127.0.0.1:8080 for this machine alone"),
            ("127.0.0.1", "has no port; write 127.0.0.1:6767"),
            ("localhost", "has no port; write localhost:6767"),
            ("::1", "has no port; write [::1]:6767"),
            ("fe80::x:80", "write [fe80::x]:80"),
            ("127.0.0.1:99999", "up to 65535"),
            ("http://127.0.0.1:80", "is a URL"),
            ("127.0.0.1:x", "is not an address"),
            (":x", "is not an address"),
            ("", "is not an address"),
        ] {
            let problem = parse(typed, "127.0.0.1:6767").unwrap_err().to_string();
            assert!(problem.contains(said) && problem.contains(&format!("`{typed}`")), "{problem}");
        }
        for typed in ["127.0.0.1:0", "[::1]:80", "0.0.0.0:65535"] {
            assert!(parse(typed, "127.0.0.1:6767").is_ok(), "{typed}");
        }
    }
}
