//! Sockets in the file system that nobody but this user can open.

use crate::exit::{plain, wrong_input};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The longest path of a socket, bytes: Linux's `sun_path` has 108, and one ends it.
const MAX_PATH: usize = 107;

/// Makes one, with the mode 0600. `what` it is, and what to do when it cannot be at this place.
///
/// # Errors
///
/// In words: the path is too long, or the system refuses.
pub(crate) fn listen(path: &Path, what: &str, advice: &str) -> anyhow::Result<UnixListener> {
    let size = path.as_os_str().len();
    let shown = path.display();
    if size > MAX_PATH {
        return Err(wrong_input(format!(
            "{what} cannot be made at {shown}: the path has {size} bytes, and that of a socket has {MAX_PATH} at most; {advice}"
        )));
    }
    // The mode has to be right from the first moment on. No other thread makes files yet.
    let usual = rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(usual);
    bound.map_err(|problem| {
        wrong_input(format!("{what} cannot be made at {shown}: {}; {advice}", plain(&problem)))
    })
}

/// Whether a socket is there, and whether somebody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, or no socket.
    None,
    /// One whose maker has ended.
    Dead,
    /// One that is in use.
    Alive,
}

/// Looks whether a socket is there.
pub(crate) fn look(path: &Path) -> Found {
    match path.symlink_metadata() {
        Ok(file) if file.file_type().is_socket() => match UnixStream::connect(path) {
            Ok(_) => Found::Alive,
            Err(_) => Found::Dead,
        },
        _ => Found::None,
    }
}
