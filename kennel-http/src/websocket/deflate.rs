//! `permessage-deflate` agreed upon (RFC 7692, section 7.1).
//!
//! The server keeps no compression state of a connection: it always answers with
//! `server_no_context_takeover; client_no_context_takeover`. So a room's message is compressed once
//! for all its members, and an idle connection costs nothing. What remains to agree on is the window.

use super::extensions::Extension;
use std::num::NonZeroU8;

const NAME: &str = "permessage-deflate";
const SERVER_NO_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";

/// What a conversation's two sides agreed on: one byte, also in an `Option`.
///
/// The order is that of windows: what was compressed for the smaller one, the larger one inflates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deflate {
    window_bits: NonZeroU8,
}

impl Default for Deflate {
    fn default() -> Self {
        Self { window_bits: const { NonZeroU8::new(15).expect("15 is not 0") } }
    }
}

impl Deflate {
    /// The smallest window that deflate implementations offer. The RFC knows 8 too, which zlib cannot do
    /// in a raw stream: it would take 9, and the other side could not inflate that.
    pub const MIN_BITS: u8 = 9;
    /// The largest window, 32 KiB.
    pub const MAX_BITS: u8 = 15;

    /// Messages with a window of 2 to the power of `window_bits`, 9 to 15.
    pub fn new(window_bits: u8) -> Option<Self> {
        let bits = NonZeroU8::new(window_bits)?;
        (Self::MIN_BITS..=Self::MAX_BITS).contains(&window_bits).then_some(Self { window_bits: bits })
    }

    /// The window of what this side sends: 9 to 15. What it receives may always use the largest.
    pub fn window_bits(self) -> u8 {
        self.window_bits.get()
    }

    /// Takes the first offer that can be honoured to the letter, and says what to answer. An offer with
    /// a parameter that is unknown, comes twice or has a wrong value is declined; other extensions are
    /// passed over.
    pub fn negotiate(offers: &[Extension<'_>]) -> Option<(Self, String)> {
        offers.iter().filter(|offer| offer.name == NAME).find_map(|offer| {
            let asked = Parameters::read(offer, false)?;
            let deflate = match asked.server_bits {
                Some(bits) => Self::new(bits)?,
                None => Self::default(),
            };
            let mut answer = format!("{NAME}; {SERVER_NO_TAKEOVER}; {CLIENT_NO_TAKEOVER}");
            if let Some(bits) = asked.server_bits {
                answer.push_str(&format!("; {SERVER_BITS}={bits}"));
            }
            Some((deflate, answer))
        })
    }

    /// What a client offers that, like this server, keeps no state between messages.
    pub(super) fn offer() -> String {
        format!("{NAME}; {SERVER_NO_TAKEOVER}; {CLIENT_NO_TAKEOVER}")
    }

    /// Reads the answer to [`offer`](Self::offer); `None` when it is no legal one.
    pub(super) fn of_answer(answer: &Extension<'_>) -> Option<Self> {
        let told = Parameters::read(answer, true)?;
        // The client's window was not offered for limiting, and the server's takeover was ruled out.
        (answer.name == NAME && told.server_no_takeover && told.client_bits.is_none()).then(Self::default)
    }
}

/// The four parameters of an offer or answer.
#[derive(Debug, Default)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    /// The inner `None`: "limit it as you like", in an offer only.
    client_bits: Option<Option<u8>>,
}

impl Parameters {
    fn read(extension: &Extension<'_>, is_answer: bool) -> Option<Self> {
        let mut all = Self::default();
        for (name, value) in &extension.parameters {
            let bits = value.as_deref().map(window_bits);
            let fresh = match (*name, bits) {
                (SERVER_NO_TAKEOVER, None) => !std::mem::replace(&mut all.server_no_takeover, true),
                (CLIENT_NO_TAKEOVER, None) => !std::mem::replace(&mut all.client_no_takeover, true),
                (SERVER_BITS, Some(Some(bits))) => all.server_bits.replace(bits).is_none(),
                (CLIENT_BITS, Some(Some(bits))) => all.client_bits.replace(Some(bits)).is_none(),
                (CLIENT_BITS, None) if !is_answer => all.client_bits.replace(None).is_none(),
                _ => false,
            };
            if !fresh {
                return None;
            }
        }
        Some(all)
    }
}

/// 8 to 15 in decimal, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::extensions;
    use super::*;

    fn negotiated(offer: &str) -> Option<(u8, String)> {
        let offers = extensions::parse(offer.as_bytes()).unwrap();
        let (deflate, answer) = Deflate::negotiate(&offers)?;
        let always = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        Some((deflate.window_bits(), answer.strip_prefix(always).unwrap().to_owned()))
    }

    #[test]
    fn offers_are_taken_or_declined_whole() {
        let taken = |bits, more: &str| Some((bits, more.to_owned()));
        for (offer, expected) in [
            ("permessage-deflate", taken(15, "")),
            ("permessage-deflate; client_max_window_bits", taken(15, "")),
            ("permessage-deflate; client_max_window_bits=8", taken(15, "")),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", taken(15, "")),
            ("permessage-deflate; server_max_window_bits=15", taken(15, "; server_max_window_bits=15")),
            ("permessage-deflate; server_max_window_bits=\"10\"", taken(10, "; server_max_window_bits=10")),
            ("permessage-deflate; server_max_window_bits=9", taken(9, "; server_max_window_bits=9")),
            ("permessage-deflate; server_max_window_bits=8", None),
            ("permessage-deflate; server_max_window_bits=8, permessage-deflate", taken(15, "")),
            ("x-webkit-deflate-frame, permessage-deflate", taken(15, "")),
            ("x-webkit-deflate-frame", None),
            ("PERMESSAGE-DEFLATE", None),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=7", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=010", None),
            ("permessage-deflate; server_max_window_bits=+9", None),
            ("permessage-deflate; client_max_window_bits=16", None),
            ("permessage-deflate; client_max_window_bits=x", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; client_no_context_takeover=true", None),
            ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
            ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", None),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits=9", None),
            ("permessage-deflate; unknown", None),
            ("permessage-deflate; unknown, permessage-deflate; server_max_window_bits=12", {
                taken(12, "; server_max_window_bits=12")
            }),
        ] {
            assert_eq!(negotiated(offer), expected, "{offer}");
        }
    }

    #[test]
    fn an_agreement_is_one_byte() {
        assert_eq!(size_of::<Option<Deflate>>(), 1);
        assert!((0..=u8::MAX).filter(|bits| Deflate::new(*bits).is_some()).eq(9..=15));
        assert!(Deflate::new(9) < Some(Deflate::default()));
    }

    #[test]
    fn a_client_takes_only_what_it_offered() {
        let legal = |answer: &str| {
            let answer = extensions::parse(answer.as_bytes()).unwrap();
            Deflate::of_answer(&answer[0]).is_some()
        };
        assert!(legal("permessage-deflate; server_no_context_takeover"));
        assert!(legal("permessage-deflate; server_no_context_takeover; server_max_window_bits=8"));
        assert!(!legal("permessage-deflate"));
        assert!(!legal("permessage-deflate; server_no_context_takeover; client_max_window_bits=15"));
        assert!(!legal("permessage-deflate; server_no_context_takeover; client_max_window_bits"));
        assert!(!legal("permessage-bzip2; server_no_context_takeover"));
    }
}
