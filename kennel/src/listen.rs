//! Addresses to listen on, and words for why one cannot.

use crate::exit::{unreachable, wrong_input};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

/// The address that was typed. `example` shows what one looks like.
///
/// # Errors
///
/// When it is none.
pub(crate) fn parse(typed: &str, example: &str) -> anyhow::Result<SocketAddr> {
    let wrong =
        || wrong_input(format!("`{typed}` is no address to listen on; write ADDRESS:PORT, as in {example}"));
    typed.to_socket_addrs().map_err(|_| wrong())?.next().ok_or_else(wrong)
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
        io::ErrorKind::AddrNotAvailable => {
            wrong_input(format!("{} is no address of this machine; choose another with {flag}", address.ip()))
        }
        _ => unreachable(format!("cannot listen on {address}: {problem}")),
    }
}
