//! TCP ports that no other test uses.
//!
//! They lie below the range from which the system takes the ports of outgoing connections, and a
//! lock in the file system keeps two test processes from choosing the same one.

use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

const FIRST: u32 = 20_000;
const COUNT: u32 = 10_000;

/// A port of 127.0.0.1 that is the test's own until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Default for Port {
    fn default() -> Self {
        Self::free()
    }
}

impl Port {
    /// Finds one on which nobody listens.
    ///
    /// # Panics
    ///
    /// When all are taken.
    pub fn free() -> Self {
        let folder = std::env::temp_dir().join("kennel-test-ports");
        std::fs::create_dir_all(&folder).expect("a folder for locks");
        let start = std::process::id().wrapping_mul(31) % COUNT;
        (0..COUNT)
            .map(|step| (FIRST + (start + step) % COUNT) as u16)
            .find_map(|number| {
                let lock = File::create(folder.join(number.to_string())).ok()?;
                flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
                TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                Some(Self { number, _lock: lock })
            })
            .expect("a free port")
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
