//! How a message is written for a carrier.

use kennel_http::websocket::{Codec, Deflate, encode_message};

/// The form in which a connection gets messages. Connections of one form get the same bytes, so a room's
/// message is written once for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// WebSocket frames, compressed or not.
    WebSocket(Option<Deflate>),
    /// A NUL behind each message, as Flash's XMLSocket has it. A Mongrel2 Handler without `raw_payload` takes the
    /// last NUL of a reply off and sends the rest in base64, so the same bytes serve both.
    Nul,
    /// The message as it is, for whoever writes each by itself.
    Letter,
    /// The message as an element of its own, or in one, the same.
    Element,
}

impl Framing {
    /// Appends a message.
    pub(crate) fn encode(self, binary: bool, payload: &[u8], codec: &mut Codec, out: &mut Vec<u8>) {
        match self {
            Self::WebSocket(deflate) => encode_message(out, binary, payload, deflate, codec),
            Self::Nul => {
                out.extend_from_slice(payload);
                out.push(0);
            }
            Self::Letter | Self::Element => out.extend_from_slice(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_ends_a_message_in_its_own_way() {
        let mut codec = Codec::default();
        let mut written = |framing: Framing| {
            let mut out = Vec::new();
            framing.encode(false, b"hi", &mut codec, &mut out);
            out
        };
        assert_eq!(written(Framing::Nul), b"hi\0");
        assert_eq!(written(Framing::WebSocket(None)), b"\x81\x02hi");
    }
}
