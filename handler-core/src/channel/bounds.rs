//! What scripts may say to live connections: names of rooms, close codes with their reasons, data. Workers in every
//! language ask here, so that one mistake has one text.

use kennel_http::websocket::CloseCode;
use kennel_http::websocket::close::MAX_REASON;
use thiserror::Error;

/// The most bytes of a room's name.
pub const MAX_ROOM: usize = 255;
/// The most bytes of a connection's data, as JSON. The hub keeps it for the next worker.
pub const MAX_DATA: usize = 4096;

/// What is wrong with what a script says to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BoundError {
    /// A room's name that is empty or too long.
    #[error("a room's name has 1 to {MAX_ROOM} bytes, not {size}")]
    Room {
        /// Its bytes.
        size: usize,
    },
    /// A close code that a server may not send (RFC 6455, 7.4).
    #[error("a close code is {}, not {code}", CloseCode::SENDABLE)]
    Code {
        /// What was given.
        code: i64,
    },
    /// A reason that does not fit into a close frame (RFC 6455, 5.5).
    #[error("a reason has at most {MAX_REASON} bytes, not {size}")]
    Reason {
        /// Its bytes.
        size: usize,
    },
    /// More data than the hub keeps.
    #[error("conn.data holds at most {MAX_DATA} bytes of JSON, and this is {size}")]
    Data {
        /// The bytes of the JSON.
        size: usize,
    },
}

/// Checks the size of a room's name.
///
/// # Errors
///
/// [`BoundError::Room`].
pub fn check_room(size: usize) -> Result<(), BoundError> {
    if (1..=MAX_ROOM).contains(&size) { Ok(()) } else { Err(BoundError::Room { size }) }
}

/// Checks a close code, and the size of the reason that goes with it.
///
/// # Errors
///
/// [`BoundError::Code`], [`BoundError::Reason`].
pub fn check_close(code: i64, reason: usize) -> Result<u16, BoundError> {
    let sendable = u16::try_from(code).ok().filter(|code| CloseCode(*code).may_be_sent());
    let sendable = sendable.ok_or(BoundError::Code { code })?;
    if reason > MAX_REASON { Err(BoundError::Reason { size: reason }) } else { Ok(sendable) }
}

/// Checks the size of a connection's data as JSON.
///
/// # Errors
///
/// [`BoundError::Data`].
pub fn check_data(size: usize) -> Result<(), BoundError> {
    if size <= MAX_DATA { Ok(()) } else { Err(BoundError::Data { size }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_has_its_last_good_value_and_its_words() {
        assert_eq!((check_room(1), check_room(255)), (Ok(()), Ok(())));
        assert_eq!(check_room(0).unwrap_err().to_string(), "a room's name has 1 to 255 bytes, not 0");
        assert_eq!(check_close(4999, 123), Ok(4999));
        for code in [-1, 0, 999, 1004, 1005, 1006, 1010, 1015, 2999, 5000, 66_536] {
            let expected = "1000 to 1003, 1007 to 1014 but not 1010, or 3000 to 4999";
            let text = format!("a close code is {expected}, not {code}");
            assert_eq!(check_close(code, 0).unwrap_err().to_string(), text);
        }
        assert_eq!(check_close(1000, 124), Err(BoundError::Reason { size: 124 }));
        assert_eq!((check_data(4096), check_data(4097)), (Ok(()), Err(BoundError::Data { size: 4097 })));
    }
}
