//! What the supervisor is told that started the server: systemd's socket, which a chroot would hide.

use sd_notify::NotifyState;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The environment variable that names the supervisor's socket: a path, or behind `@` a name without a file.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The supervisor, if there is one.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
}

impl Supervisor {
    /// Finds the supervisor in the environment. A server without one, or that cannot reach it, serves all the same.
    pub(super) fn from_environment() -> Self {
        Self { socket: std::env::var_os(VARIABLE).and_then(|name| connect(&name)) }
    }

    /// Tells it these states.
    pub(super) fn tell(&self, states: &[NotifyState<'_>]) {
        if let Some(socket) = &self.socket {
            let text: String = states.iter().map(|state| format!("{state}\n")).collect();
            let _ = socket.send(text.as_bytes());
        }
    }
}

fn connect(name: &OsStr) -> Option<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect_addr(&address.ok()?).ok()?;
    // A supervisor that does not read must not hold the server up.
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hears(listener: &UnixDatagram, name: &OsStr) -> String {
        let supervisor = Supervisor { socket: connect(name) };
        supervisor.tell(&[NotifyState::Ready, NotifyState::Status("serves")]);
        let mut buffer = [0; 100];
        let size = listener.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..size]).into_owned()
    }

    #[test]
    fn a_supervisor_is_told_by_path_or_by_name() {
        let path = std::env::temp_dir().join(format!("front-supervisor-{}", std::process::id()));
        let by_path = UnixDatagram::bind(&path).unwrap();
        assert_eq!(hears(&by_path, path.as_os_str()), "READY=1\nSTATUS=serves\n");
        std::fs::remove_file(&path).unwrap();

        let name = format!("front-supervisor-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        assert_eq!(hears(&by_name, OsStr::new(&format!("@{name}"))), "READY=1\nSTATUS=serves\n");
    }

    #[test]
    fn without_a_supervisor_there_is_none_to_tell() {
        Supervisor { socket: connect(OsStr::new("/nowhere/at/all")) }.tell(&[NotifyState::Ready]);
    }
}
