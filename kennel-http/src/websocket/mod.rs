//! WebSockets (RFC 6455) and their compression (RFC 7692), as bytes in and bytes out.
//!
//! * [`frame`]: opcodes, and frames written for either side; [`mask`] beside it;
//! * [`decoder`]: frames from a byte stream, and [`assembler`]: messages from fragments. Both are for
//!   use without Mongrel2, which does their work itself;
//! * [`close`]: codes and reasons;
//! * [`extensions`]: the grammar of headers that list things, and [`deflate`]: `permessage-deflate`
//!   agreed upon;
//! * [`codec`]: messages compressed and inflated;
//! * [`origin`]: whose page may connect, [`handshake`]: what a client has to say, or its refusal, and
//!   [`upgrade`]: the server's 101;
//! * [`client`]: the other side's handshake, for tests and tools;
//! * [`session`]: one conversation on the server's side. Mongrel2 answers nothing, neither ping nor
//!   close, and lets nearly everything pass, so all rules about what arrives are here.
//!
//! ```
//! use mongrel2_wire::{Headers, Protocol};
//! use kennel_http::websocket::{Codec, Event, Policy, Session, encode_message, handshake};
//!
//! let block = br#"{"host":"a.example","upgrade":"websocket","connection":"Upgrade",
//! "sec-websocket-version":"13","sec-websocket-key":"dGhlIHNhbXBsZSBub25jZQ=="}"#;
//! # let block: Vec<u8> = block.iter().copied().filter(|b| *b != b'\n').collect();
//! let headers = Headers::new(Protocol::Json, &block);
//! let policy = Policy { origins: &[], protocols: &[], deflate: true };
//! let accepted = handshake::accept(&headers, b"GET", b"", &policy)?;
//! assert!(accepted.response.starts_with(b"HTTP/1.1 101 "));
//!
//! let mut session = Session::new(accepted.deflate);
//! let (mut codec, mut out) = (Codec::new(), Vec::new());
//! if let Event::Text(text) = session.receive(0x81, b"hello", 1 << 20, &mut codec, 0, &mut out) {
//!     encode_message(&mut out, false, text.as_bytes(), session.deflate(), &mut codec);
//! }
//! assert_eq!(out, b"\x81\x05hello");
//! # Ok::<(), kennel_http::websocket::Refusal>(())
//! ```

pub mod assembler;
pub mod client;
pub mod close;
pub mod codec;
pub mod decoder;
pub mod deflate;
pub mod extensions;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod origin;
pub mod session;
pub mod upgrade;

pub use assembler::Assembler;
pub use close::{CloseCode, Violation};
pub use codec::{Codec, InflateError};
pub use decoder::{Decoder, Masking};
pub use deflate::Deflate;
pub use frame::{Frame, Opcode};
pub use handshake::{Policy, Refusal};
pub use session::{Event, Session, encode_message};
pub use upgrade::{Accepted, Offer};

#[cfg(test)]
mod tests;
