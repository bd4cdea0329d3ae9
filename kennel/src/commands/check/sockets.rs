//! Who listens on an address and who is connected to it, as the kernel lists it. Nothing is connected to:
//! a handler's socket would take a stranger for a consumer, and deal messages to it.

use mongrel2_wire::address::Address;
use std::collections::HashSet;
use std::fs;

/// What the kernel knows of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Somebody has bound it.
    pub(super) listening: bool,
    /// How many are connected to it.
    pub(super) connected: usize,
}

/// Looks at an address of a server. `spec` is as the server writes it, `address` as seen from here. `None`: it
/// cannot be known, since names of Unix sockets are those of who bound them, and may be relative.
pub(super) fn look(spec: &str, address: &Address, pid: Option<i32>) -> Option<Seen> {
    let owned = pid.and_then(descriptors);
    match address {
        Address::Tcp { port, .. } => {
            let mut lines = fs::read_to_string("/proc/net/tcp").ok()?;
            lines.push_str(&fs::read_to_string("/proc/net/tcp6").unwrap_or_default());
            Some(tcp(&lines, *port, owned.as_ref()))
        }
        Address::Ipc(path) => {
            let lines = fs::read("/proc/net/unix").ok()?;
            let name = spec.strip_prefix("ipc://").unwrap_or(spec);
            let is_certain =
                owned.is_some() || name.starts_with('@') || (name.starts_with('/') && name == path);
            is_certain.then(|| unix(&String::from_utf8_lossy(&lines), name, owned.as_ref()))
        }
    }
}

/// The inodes of a process's sockets, if we may know them.
fn descriptors(pid: i32) -> Option<HashSet<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Some(entries.filter_map(|entry| inode(entry.ok()?)).collect())
}

/// `Num RefCount Protocol Flags Type St Inode Path`; a socket that was accepted has the name of the one that
/// accepted it.
fn unix(lines: &str, name: &str, owned: Option<&HashSet<u64>>) -> Seen {
    const LISTENS: &str = "00010000";
    const CONNECTED: &str = "03";
    let mut seen = Seen { listening: false, connected: 0 };
    for line in lines.lines() {
        let Some((fields, path)) = head_and_path(line) else { continue };
        let [_, _, _, flags, _, state, inode] = fields;
        let is_its =
            |inode: &str| owned.is_none_or(|inodes| inode.parse().is_ok_and(|inode| inodes.contains(&inode)));
        if path != name || !is_its(inode) {
            continue;
        }
        seen.listening |= flags == LISTENS;
        seen.connected += usize::from(state == CONNECTED);
    }
    seen
}

/// Seven fields, and a path that may hold blanks.
fn head_and_path(line: &str) -> Option<([&str; 7], &str)> {
    let mut fields = [""; 7];
    let mut rest = line;
    for field in &mut fields {
        (*field, rest) = rest.trim_start().split_once(' ')?;
    }
    Some((fields, rest))
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...`
fn tcp(lines: &str, port: u16, owned: Option<&HashSet<u64>>) -> Seen {
    const LISTENS: &str = "0A";
    const CONNECTED: &str = "01";
    let mut seen = Seen { listening: false, connected: 0 };
    for line in lines.lines() {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..] else { continue };
        let local = local.rsplit_once(':').and_then(|(_, hex)| u16::from_str_radix(hex, 16).ok());
        let is_its = owned.is_none_or(|inodes| inode.parse().is_ok_and(|inode| inodes.contains(&inode)));
        if local != Some(port) || !is_its {
            continue;
        }
        seen.listening |= state == LISTENS;
        seen.connected += usize::from(state == CONNECTED);
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX: &str = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01   101 run/requests
0000000000000000: 00000003 00000000 00000000 0001 03   102 run/requests
0000000000000000: 00000003 00000000 00000000 0001 03   103 run/requests
0000000000000000: 00000003 00000000 00000000 0001 03   104
0000000000000000: 00000003 00000000 00000000 0001 03 99105 /a path/with blanks
";

    #[test]
    fn unix_sockets_are_counted_by_the_name_of_who_bound_them() {
        assert_eq!(unix(UNIX, "run/requests", None), Seen { listening: true, connected: 2 });
        assert_eq!(unix(UNIX, "/a path/with blanks", None), Seen { listening: false, connected: 1 });
        assert_eq!(unix(UNIX, "run/other", None), Seen { listening: false, connected: 0 });
    }

    #[test]
    fn sockets_of_the_same_name_belong_to_different_processes() {
        let owned = HashSet::from([101, 102]);
        assert_eq!(unix(UNIX, "run/requests", Some(&owned)), Seen { listening: true, connected: 1 });
    }

    #[test]
    fn tcp_sockets_are_counted_by_the_local_port() {
        let lines = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:270F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0 100 0 0 10 0
   1: 0100007F:270F 0100007F:8D3A 01 00000000:00000000 00:00000000 00000000     0        0 8 1 0 20 4 30 10 -1
   2: 0100007F:8D3A 0100007F:270F 01 00000000:00000000 00:00000000 00000000     0        0 9 1 0 20 4 30 10 -1
";
        assert_eq!(tcp(lines, 9999, None), Seen { listening: true, connected: 1 });
        assert_eq!(tcp(lines, 9999, Some(&HashSet::new())), Seen { listening: false, connected: 0 });
    }

    #[test]
    fn a_live_socket_is_seen() {
        let path = std::env::temp_dir().join(format!("kennel-seen-{}", std::process::id()));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let accepted = listener.accept().unwrap();
        let spec = format!("ipc://{}", path.display());
        let seen = look(&spec, &spec.parse().unwrap(), Some(std::process::id() as i32));
        fs::remove_file(&path).unwrap();
        drop((client, accepted));
        assert_eq!(seen, Some(Seen { listening: true, connected: 1 }));
        assert_eq!(look("ipc://run/x", &"ipc:///srv/run/x".parse().unwrap(), None), None);
    }
}
