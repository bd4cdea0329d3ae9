//! What a worker asks the system for, since the code that it gives it to asks for nothing itself: the time of day, and
//! bytes by chance.

use rustix::rand::{GetRandomFlags, getrandom};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 when the clock is before that.
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Bytes that nobody can guess.
///
/// # Errors
///
/// When the system has none to give.
pub fn entropy<const N: usize>() -> io::Result<[u8; N]> {
    let (mut bytes, mut filled) = ([0; N], 0);
    while filled < N {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes)
}
