//! Reads a reply of a handler: `SENDER SIZE:IDS, PAYLOAD`.
//!
//! The grammar is Mongrel2's, with one difference: it cuts an id that does not fit to 32 bits and so may address another
//! connection; here such a reply is malformed.

use crate::ids::is_sender;
use crate::netstring;
use std::iter::FusedIterator;
use thiserror::Error;

/// A reply, as slices of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// The sender that the handler writes: the `send_ident` of the messages that it answers.
    pub sender: &'a str,
    /// The ids began with `X`: the payload is an [`Order`](super::Order).
    pub is_extended: bool,
    /// Whom the reply is for: at least one, in order, each as often as it was written.
    pub ids: Ids<'a>,
    /// What the targets get. Empty: they are closed once everything queued for them is written.
    pub payload: &'a [u8],
}

/// Why bytes are not a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The first word is missing or has other bytes than `[A-Za-z0-9-]`.
    #[error("a reply begins with a sender of letters, digits and `-`, and a space")]
    BadSender,
    /// The ids are not a netstring of the size that it announces.
    #[error("the ids must be a netstring, `SIZE:IDS,`")]
    BadSize,
    /// No space between the ids and the payload.
    #[error("a space must follow the ids")]
    NoSpace,
    /// No id at all.
    #[error("no connection id")]
    NoIds,
    /// Anything but decimal numbers with one space between them.
    #[error("connection ids are decimal numbers with one space between them (byte {at} of the ids)")]
    BadIds {
        /// The offset of the byte that broke the rule, after the mark `X `.
        at: usize,
    },
    /// An id beyond 32 bits.
    #[error("a connection id beyond {} (byte {at} of the ids)", u32::MAX)]
    IdTooLarge {
        /// The offset of the digit that is too many.
        at: usize,
    },
}

/// Reads one reply. The number of ids has no bound here.
///
/// ```
/// use mongrel2_wire::reply;
///
/// let reply = reply::parse(b"m2 3:7 9, hi")?;
/// assert_eq!((reply.sender, reply.is_extended, reply.payload), ("m2", false, &b"hi"[..]));
/// assert_eq!(reply.ids.collect::<Vec<_>>(), [7, 9]);
/// # Ok::<(), reply::ReplyError>(())
/// ```
///
/// # Errors
///
/// [`ReplyError`] says which rule the message broke.
pub fn parse(message: &[u8]) -> Result<Reply<'_>, ReplyError> {
    let end = memchr::memchr(b' ', message).ok_or(ReplyError::BadSender)?;
    let (sender, rest) = (&message[..end], &message[end + 1..]);
    if !is_sender(sender) {
        return Err(ReplyError::BadSender);
    }
    let sender = std::str::from_utf8(sender).expect("a sender is ASCII");

    // Zeros before a size are allowed here.
    let zeros = rest.iter().take_while(|byte| **byte == b'0').count();
    let sized =
        if rest.get(zeros) == Some(&b':') { &rest[zeros.saturating_sub(1)..] } else { &rest[zeros..] };
    let (list, rest) = netstring::parse(sized).map_err(|_| ReplyError::BadSize)?;
    let payload = rest.strip_prefix(b" ").ok_or(ReplyError::NoSpace)?;

    let (is_extended, list) = match list.strip_prefix(b"X ") {
        Some(list) => (true, list),
        None => (false, list),
    };
    let ids = Ids { text: list, left: check(list)? };
    Ok(Reply { sender, is_extended, ids, payload })
}

/// Checks a list of ids and counts them.
fn check(list: &[u8]) -> Result<usize, ReplyError> {
    if list.is_empty() {
        return Err(ReplyError::NoIds);
    }
    let (mut count, mut at) = (0, 0);
    while at < list.len() {
        let start = at;
        let mut id = 0_u64;
        while let Some(byte @ b'0'..=b'9') = list.get(at) {
            id = id * 10 + u64::from(byte - b'0');
            if id > u64::from(u32::MAX) {
                return Err(ReplyError::IdTooLarge { at });
            }
            at += 1;
        }
        if at == start || list.get(at).is_some_and(|byte| *byte != b' ') {
            return Err(ReplyError::BadIds { at });
        }
        count += 1;
        at += 1;
    }
    Ok(count)
}

/// The ids of a reply, read from their digits one by one.
#[derive(Debug, Clone, Copy)]
pub struct Ids<'a> {
    /// Checked: decimal numbers of 32 bits, one space after each but perhaps the last.
    text: &'a [u8],
    left: usize,
}

impl Iterator for Ids<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let mut id = 0_u32;
        while let Some((&byte, rest)) = self.text.split_first() {
            self.text = rest;
            if byte == b' ' {
                break;
            }
            id = id * 10 + u32::from(byte - b'0');
        }
        Some(id)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Ids<'_> {}
impl FusedIterator for Ids<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply;
    use crate::{ConnId, Sender, Targets};

    fn ids(message: &str) -> Vec<u32> {
        let reply = parse(message.as_bytes()).unwrap_or_else(|e| panic!("{message}: {e}"));
        assert_eq!(reply.ids.len(), reply.ids.count(), "{message}");
        reply.ids.collect()
    }

    #[test]
    fn what_mongrel2_accepts_is_accepted() {
        assert_eq!(ids("m2 1:7, hi"), [7]);
        assert_eq!(ids("m2 003:7 9, hi"), [7, 9]);
        assert_eq!(ids("m2 0000000000003:7 9, hi"), [7, 9]);
        assert_eq!(ids("m2 5:007 9, "), [7, 9]);
        assert_eq!(ids("m2 4:7 9 , hi"), [7, 9]);
        assert_eq!(ids("m2 5:7 7 7, hi"), [7, 7, 7]);
        assert_eq!(ids("m2 12:0 4294967295, hi"), [0, u32::MAX]);
        assert_eq!(ids("m2 5:X 7 9, hi"), [7, 9]);
        let reply = parse(b"34f9ceee-CD52 3:X 7, \0").unwrap();
        assert_eq!((reply.sender, reply.is_extended, reply.payload), ("34f9ceee-CD52", true, &b"\0"[..]));
        assert!(parse(b"m2 1:7, ").unwrap().payload.is_empty());
    }

    #[test]
    fn what_mongrel2_calls_malformed_is_an_error() {
        let problem = |message: &str| parse(message.as_bytes()).unwrap_err();
        for message in ["", "m2", " 1:7, hi", "a_b 1:7, hi", "caf\u{e9} 1:7, hi"] {
            assert_eq!(problem(message), ReplyError::BadSender, "{message}");
        }
        for message in
            ["m2 ", "m2 7, hi", "m2 2:7, hi", "m2 1:7 9, hi", "m2 :7, hi", "m2 99:7, hi", "m2  1:7, hi"]
        {
            assert!(matches!(problem(message), ReplyError::BadSize | ReplyError::NoSpace), "{message}");
        }
        assert_eq!(problem("m2 1:7,hi"), ReplyError::NoSpace);
        assert_eq!(problem("m2 0:, hi"), ReplyError::NoIds);
        assert_eq!(problem("m2 00:, hi"), ReplyError::NoIds);
        assert_eq!(problem("m2 2:X , hi"), ReplyError::NoIds);
        for (message, at) in [
            ("m2 1: , hi", 0),
            ("m2 2: 7, hi", 0),
            ("m2 4:7  9, hi", 2),
            ("m2 3:7,9, hi", 1),
            ("m2 2:-1, hi", 0),
            ("m2 1:X, hi", 0),
            ("m2 2:X7, hi", 0),
            ("m2 5:X X 7, hi", 0),
            ("m2 3:7 X, hi", 2),
            ("m2 3:x 7, hi", 0),
        ] {
            assert_eq!(problem(message), ReplyError::BadIds { at }, "{message}");
        }
        for id in ["4294967296", "4294967297", "18446744073709551617", "99999999999999999999999999"] {
            let message = format!("m2 {}:{id}, hi", id.len());
            assert!(matches!(problem(&message), ReplyError::IdTooLarge { .. }), "{message}");
        }
    }

    #[test]
    fn what_handlers_write_is_read() {
        let sender = Sender::new("m2").unwrap();
        let some: Vec<_> = (0..2000).map(|n| ConnId::try_from(n * 1_000_003).unwrap()).collect();
        let mut out = Vec::new();
        reply::encode(&mut out, &sender, Targets::new(&some, 2000).unwrap(), b"x");
        let expected: Vec<_> = some.iter().map(|id| id.get()).collect();
        assert_eq!(parse(&out).unwrap().ids.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_prefix_of_a_reply_and_no_flipped_byte_panics() {
        let whole = b"m2 9:X 7 9 123, 27:3:ctl,17:7:credits,4:3000#}]";
        for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = whole.to_vec();
            changed[at] ^= 1 << bit;
            if let Ok(reply) = parse(&changed) {
                assert!(reply.ids.len() > 0 && reply.ids.count() == reply.ids.len());
                let _ = reply::Order::parse(reply.payload);
            }
        }
        for end in 0..16 {
            assert!(parse(&whole[..end]).is_err(), "{end} bytes");
        }
        assert!(parse(whole).is_ok());
    }
}
