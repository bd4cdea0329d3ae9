//! Who a message is from and whom a reply is for.
//!
//! Mongrel2 answers a malformed reply with silence: it stalls that handler's replies for 100 to
//! 500 ms and tells nobody. So the parts of an address are types that hold valid values only.

use std::fmt;
use thiserror::Error;

/// Why something cannot be a part of a reply's address. The text says what Mongrel2 would accept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdError {
    /// A sender outside `[A-Za-z0-9-]+`.
    #[error("`{sender}` is no sender ident: letters, digits and `-` only, at least one")]
    BadSender {
        /// What was given.
        sender: String,
    },
    /// A conn id that the reply grammar cannot write, or that would be cut to 32 bits.
    #[error("{id} is no conn id: 0 to {max} can be addressed", max = ConnId::MAX)]
    BadConnId {
        /// What was given.
        id: i64,
    },
    /// None, or more than Mongrel2 takes in one reply.
    #[error("a reply needs 1 to {max} targets, got {count}")]
    BadTargetCount {
        /// How many were given.
        count: usize,
        /// The bound in force.
        max: usize,
    },
}

/// A Mongrel2 Handler's `send_ident`: the first word of its messages and of every reply to them.
///
/// Mongrel2's reply grammar takes `[A-Za-z0-9-]+`; nothing else can be held here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sender(Box<str>);

impl Sender {
    /// Checks and copies `ident`.
    ///
    /// # Errors
    ///
    /// [`IdError::BadSender`] when it is empty or has a byte outside `[A-Za-z0-9-]`.
    pub fn new(ident: &str) -> Result<Self, IdError> {
        if is_sender(ident.as_bytes()) {
            Ok(Self(ident.into()))
        } else {
            Err(IdError::BadSender { sender: ident.to_owned() })
        }
    }

    /// The ident as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `bytes` can be a sender.
pub(crate) fn is_sender(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// A connection's number inside one run of one Mongrel2, 0 to 2147483647.
///
/// Mongrel2 counts from 1 in 32 bits and prints larger ones as negative numbers, which its reply
/// grammar cannot express: those are no `ConnId`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u32);

impl ConnId {
    /// The largest id that can be addressed.
    pub const MAX: u32 = i32::MAX as u32;

    /// The id as a number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for ConnId {
    type Error = IdError;

    fn try_from(id: i64) -> Result<Self, IdError> {
        match u32::try_from(id) {
            Ok(n) if n <= Self::MAX => Ok(Self(n)),
            _ => Err(IdError::BadConnId { id }),
        }
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The targets of one reply: at least one, at most what Mongrel2 accepts.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a>(&'a [ConnId]);

impl<'a> Targets<'a> {
    /// Mongrel2's `limits.handler_targets`, unless its configuration says otherwise. A reply
    /// with more is dropped whole.
    pub const DEFAULT_MAX: usize = 128;

    /// Takes `ids` as the targets of one reply.
    ///
    /// # Errors
    ///
    /// [`IdError::BadTargetCount`] when there are none or more than `max`.
    pub fn new(ids: &'a [ConnId], max: usize) -> Result<Self, IdError> {
        if ids.is_empty() || ids.len() > max {
            return Err(IdError::BadTargetCount { count: ids.len(), max });
        }
        Ok(Self(ids))
    }

    /// A reply to one connection.
    pub fn one(id: &'a ConnId) -> Self {
        Self(std::slice::from_ref(id))
    }

    /// Splits any number of ids into the fewest replies of at most `max` targets.
    pub fn split(ids: &'a [ConnId], max: usize) -> impl Iterator<Item = Self> {
        ids.chunks(max.max(1)).map(Self)
    }

    /// The ids.
    pub fn ids(&self) -> &'a [ConnId] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_letters_digits_and_dashes() {
        assert_eq!(Sender::new("34f9ceee-CD52").unwrap().as_str(), "34f9ceee-CD52");
        for bad in ["", "a b", "a_b", "caf\u{e9}", "a\0", "a.b"] {
            assert!(Sender::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_that_mongrel2_would_misread_are_refused() {
        assert_eq!(ConnId::try_from(0).unwrap().get(), 0);
        assert!(ConnId::try_from(i64::from(ConnId::MAX)).is_ok());
        for bad in [-1, 1 << 31, 4_294_967_297, i64::MAX] {
            assert_eq!(ConnId::try_from(bad), Err(IdError::BadConnId { id: bad }));
        }
    }

    #[test]
    fn no_reply_has_129_targets() {
        let ids: Vec<_> = (0..300).map(|n| ConnId::try_from(n).unwrap()).collect();
        assert!(Targets::new(&ids[..128], 128).is_ok());
        assert!(Targets::new(&ids[..129], 128).is_err());
        assert!(Targets::new(&[], 128).is_err());
        let sizes: Vec<_> = Targets::split(&ids, 128).map(|t| t.ids().len()).collect();
        assert_eq!(sizes, [128, 128, 44]);
    }
}
