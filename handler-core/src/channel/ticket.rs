//! The names of sessions that plain HTTP carries, which nobody can guess: whoever knows one is the client.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// Bytes of the connection's number, and of what proves that we gave it away.
const NUMBER: usize = 8;
const PROOF: usize = 16;
/// Letters of a ticket.
const LETTERS: usize = (NUMBER + PROOF) / 3 * 4;

/// Makes tickets and reads them: a ticket is a connection's number and 128 bits of an HMAC-SHA256 over it, as base64url.
#[derive(Clone)]
pub struct Tickets(Hmac<Sha256>);

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(..)")
    }
}

impl Tickets {
    /// `key`: bytes that nobody else knows, new for each start of the hub.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(key).expect("a key of any size will do"))
    }

    /// The ticket of the connection with this number.
    pub fn write(&self, number: u64) -> String {
        let number = number.to_be_bytes();
        let proof = self.0.clone().chain_update(number).finalize().into_bytes();
        let mut bytes = [0; NUMBER + PROOF];
        bytes[..NUMBER].copy_from_slice(&number);
        bytes[NUMBER..].copy_from_slice(&proof[..PROOF]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The number in a ticket of ours.
    pub fn read(&self, ticket: &[u8]) -> Option<u64> {
        let mut bytes = [0; NUMBER + PROOF];
        if ticket.len() != LETTERS || URL_SAFE_NO_PAD.decode_slice(ticket, &mut bytes) != Ok(bytes.len()) {
            return None;
        }
        let (number, proof) = bytes.split_first_chunk::<NUMBER>()?;
        self.0.clone().chain_update(number).verify_truncated_left(proof).ok()?;
        Some(u64::from_be_bytes(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_says_its_number_and_no_other_text_does() {
        let tickets = Tickets::new(&[7; 32]);
        for number in [0, 1, 1 << 40, u64::MAX] {
            let ticket = tickets.write(number);
            assert_eq!(ticket.len(), LETTERS);
            assert_eq!(tickets.read(ticket.as_bytes()), Some(number));
            for at in 0..LETTERS {
                let mut forged = ticket.clone().into_bytes();
                forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
                assert_eq!(tickets.read(&forged), None);
            }
            assert_eq!(Tickets::new(&[8; 32]).read(ticket.as_bytes()), None);
            assert_eq!(tickets.read(&ticket.as_bytes()[1..]), None);
        }
        assert_eq!(tickets.read(b""), None);
    }
}
