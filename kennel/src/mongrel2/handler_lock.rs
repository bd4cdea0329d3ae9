//! One kennel for one handler of a Mongrel2.
//!
//! Mongrel2 would deal messages to two kennels in turn: a request to one, the end of its client to the other. So each
//! kennel listens on an abstract Unix socket that is named after the handler's address. The socket ends with its process,
//! however that ends, and the kernel says whose it is. It is seen by all processes with the same network: a kennel on
//! another machine, or in a container with a network of its own, is not noticed.

use crate::exit::unreachable;
use handler_core::transport::Endpoint;
use mongrel2_wire::address::Address;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use tracing::warn;

/// The sockets. Nothing is ever said there.
#[derive(Debug)]
pub(crate) struct HandlerLocks {
    _sockets: Vec<UnixListener>,
}

impl HandlerLocks {
    /// Takes those of all handlers.
    ///
    /// # Errors
    ///
    /// When another process has one of them.
    pub(crate) fn take(endpoints: &[Endpoint]) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for endpoint in endpoints {
            let handler = &endpoint.send_spec;
            let name = name(handler);
            let taken = SocketAddr::from_abstract_name(&name).and_then(|address| {
                UnixListener::bind_addr(&address).map_err(|problem| match problem.kind() {
                    io::ErrorKind::AddrInUse => io::Error::new(problem.kind(), holder(&name)),
                    _ => problem,
                })
            });
            match taken {
                Ok(socket) => sockets.push(socket),
                Err(problem) if problem.kind() == io::ErrorKind::AddrInUse => {
                    return Err(unreachable(format!(
                        "{problem} already serves {handler}, and mongrel2 would deal its messages to the two in turn; \
                         stop that one, or name another handler"
                    )));
                }
                Err(problem) => warn!("cannot see whether another kennel serves {handler}: {problem}"),
            }
        }
        Ok(Self { _sockets: sockets })
    }
}

/// Who has a lock, in words. Nothing is accepted there, so once many have asked, a connection would wait for ever.
fn holder(name: &str) -> String {
    let ask = || {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
        socket_peercred(&socket)
    };
    let process = ask().ok();
    match process.map(|peer| peer.pid.as_raw_nonzero().get()).filter(|pid| *pid > 0) {
        Some(pid) => format!("a kennel (process {pid})"),
        None => "another kennel".to_owned(),
    }
}

/// The lock's name: the same for all texts that mean one address on this machine, as far as that can be seen.
fn name(address: &Address) -> String {
    let text = match address {
        Address::Ipc(path) => match path.strip_prefix('@') {
            Some(name) => format!("@{name}"),
            None => file(Path::new(path)),
        },
        Address::Tcp { host, port } => match &*host.to_ascii_lowercase() {
            "*" | "0.0.0.0" | "localhost" | "::1" => format!("127.0.0.1:{port}"),
            host => format!("{host}:{port}"),
        },
    };
    format!("kennel-handler-{:016x}", fnv(text.as_bytes()))
}

/// A file by its folder's number, which links and mounts do not change. A folder that is not there has no number yet.
fn file(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (folder, name) = (absolute.parent(), absolute.file_name().unwrap_or_default());
    match folder.and_then(|folder| folder.metadata().ok()) {
        Some(folder) => format!("{}:{}:{}", folder.dev(), folder.ino(), name.display()),
        None => absolute.display().to_string(),
    }
}

/// FNV-1a: the same in all versions of the program.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        name(&text.parse().unwrap())
    }

    #[test]
    fn one_handler_has_one_lock_however_it_is_written() {
        let folder = std::env::temp_dir().join(format!("kennel-lock-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("run")).unwrap();
        std::os::unix::fs::symlink(folder.join("run"), folder.join("link")).unwrap();
        let ipc = |path: &str| of(&format!("ipc://{}/{path}", folder.display()));
        assert_eq!(ipc("run/requests"), ipc("link/requests"));
        assert_eq!(ipc("run/requests"), ipc("run/../run/requests"));
        assert_ne!(ipc("run/requests"), ipc("run/others"));
        assert_ne!(ipc("run/requests"), ipc("requests"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(of("tcp://*:9999"), of("tcp://LOCALHOST:9999"));
        assert_ne!(of("tcp://*:9999"), of("tcp://*:9998"));
        assert_ne!(of("tcp://a.example:9999"), of("tcp://b.example:9999"));
    }

    #[test]
    fn the_second_is_refused_and_the_first_named_until_that_has_ended() {
        let send_spec: Address = format!("ipc://@kennel-lock-test-{}", std::process::id()).parse().unwrap();
        let endpoint = Endpoint {
            recv_spec: send_spec.clone(),
            send_spec,
            recv_ident: None,
            upload_store: None,
            control_port: None,
            is_sole: false,
            places: None,
        };
        let first = HandlerLocks::take(std::slice::from_ref(&endpoint)).unwrap();
        let problem = HandlerLocks::take(std::slice::from_ref(&endpoint)).unwrap_err().to_string();
        assert!(
            problem.starts_with(&format!("a kennel (process {}) already serves", std::process::id())),
            "{problem}"
        );
        drop(first);
        HandlerLocks::take(&[endpoint]).unwrap();
    }
}
