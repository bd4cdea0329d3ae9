//! XEP-0124 1.11.2, sentence by sentence: a test for each that says what a connection manager must, should or may
//! do, named by its section. What does not apply and why:
//!
//! | section | | |
//! | --- | --- | --- |
//! | 1 to 4 | introduction | no rules of its own |
//! | 5 | HTTP | of the hub, which holds the requests: POST, no chunks, `Content-Encoding`, ignored `Content-Type`s |
//! | 6 | the wrapper | `wrapper.rs` |
//! | 7.1 | opening, what the client sends | `opening.rs`; `route` MAY be ignored and is; nothing says what `xml:lang` and `from` do here |
//! | 7.2 | opening, what we answer | `opening.rs`; a unique `sid` is the caller's; `accept` and `charsets` are MAY and not offered |
//! | 8 | payloads | `payloads.rs` |
//! | 9.1, 9.2 | acknowledgements | `acknowledging.rs`; what a client does with `ack` and `report` is its own |
//! | 10 | inactivity and pauses | `inactivity.rs`; when a client comes again is its own |
//! | 11 | overactivity | `overactivity.rs` |
//! | 12 | polling sessions | `overactivity.rs`; that we MAY force polling by `requests='1'` is not done |
//! | 13 | the end | `ending.rs`; what the client concludes is its own |
//! | 14.1 | first `rid` | `numbers.rs`: a client MUST NOT count beyond 2^53 - 1 |
//! | 14.2, 14.3 | order, repeats | `numbers.rs`; in what order a client reads answers is its own |
//! | 15 | keys | `keys.rs`; how a client makes them is its own |
//! | 16 | several streams | not offered; the two sentences on who does not offer them are in `opening.rs` |
//! | 17.1 to 17.3 | errors | `errors.rs`; what a client does after one is its own |
//! | 17.4 | errors of payloads | they are messages |
//! | 18 to 21 | pipelining, TLS, the link to the application, registrars | no part of the session |
//!
//! XEP-0206 (XMPP over BOSH) is no part: `xmpp:restart`, `xmpp:version` and such are attributes that are ignored.

mod wrapper;
