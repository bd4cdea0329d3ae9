//! The smallest handler that libzmq allows: the yardstick of the whole-way benchmark.
//!
//! `bare_handler SEND_SPEC RECV_SPEC [REPLY_BYTES]` pulls a request, finds its sender, connection id and `x-seq`
//! header by searching for them, and publishes one fixed HTTP response that echoes the header. It is written as one
//! would write it in C: no parser, no connection table, no error pages, libzmq's default options, one buffer that is
//! used again. A WebSocket frame (no `x-seq`) is answered with a text frame that holds its body. What it costs is what libzmq costs, so every other handler is measured as a ratio to it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a yardstick has nobody to report to: it stops with the reason"
)]

use std::io::Write as _;

use memchr::{memchr, memmem};

/// What comes before the value in a tnetstring: the rest of the header's name, and its comma.
const NAME: &[u8] = b":x-seq,";
/// The feeder's tokens have as many digits, so the response can be a constant but for them.
const TOKEN_BYTES: usize = 10;
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 10\r\n";

fn main() {
    // A yardstick that outlives its benchmark would disturb the next one.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM)).expect("prctl");

    let mut arguments = std::env::args().skip(1);
    let usage = "usage: bare_handler SEND_SPEC RECV_SPEC [REPLY_BYTES]";
    let send_spec = arguments.next().expect(usage);
    let recv_spec = arguments.next().expect(usage);
    let reply_bytes = arguments.next().map_or(0, |number| number.parse().expect(usage));
    let head = head_of(reply_bytes);

    let context = zmq::Context::new();
    let replies = context.socket(zmq::XPUB).expect("XPUB");
    replies.connect(&recv_spec).expect("RECV_SPEC");
    let requests = context.socket(zmq::PULL).expect("PULL");

    // What is published before Mongrel2's subscription has arrived is lost.
    let mut message = zmq::Message::new();
    replies.recv(&mut message, 0).expect("the subscription");
    requests.connect(&send_spec).expect("SEND_SPEC");
    eprintln!("ready: bare");

    let name = memmem::Finder::new(NAME);
    let mut reply = Vec::with_capacity(1024);
    loop {
        requests.recv(&mut message, 0).expect("recv");
        if answer(&message, &name, head.as_bytes(), &mut reply) {
            replies.send(&reply[..], 0).expect("send");
        }
    }
}

/// Writes the reply to `message` into `reply`; false for what is no request of the feeder (a disconnect notice).
fn answer(message: &[u8], name: &memmem::Finder<'_>, head: &[u8], reply: &mut Vec<u8>) -> bool {
    let Some(sender_end) = memchr(b' ', message) else {
        return false;
    };
    let (sender, rest) = (&message[..sender_end], &message[sender_end + 1..]);
    let Some(id_end) = memchr(b' ', rest) else {
        return false;
    };
    let (id, rest) = (&rest[..id_end], &rest[id_end + 1..]);
    let Some(at) = name.find(rest) else {
        let Some(body) = rest.strip_suffix(b",").and_then(|rest| rest.last_chunk::<TOKEN_BYTES>()) else {
            return false;
        };
        if rest.starts_with(b"@*") {
            return false;
        }
        reply.clear();
        reply.extend_from_slice(sender);
        write!(reply, " {}:", id.len()).unwrap();
        reply.extend_from_slice(id);
        reply.extend_from_slice(b", \x81\x0a");
        reply.extend_from_slice(body);
        return true;
    };
    let value = &rest[at + NAME.len()..];
    let Some(colon) = memchr(b':', value) else {
        return false;
    };
    let Some(token) = value.get(colon + 1..colon + 1 + TOKEN_BYTES) else {
        return false;
    };

    reply.clear();
    reply.extend_from_slice(sender);
    write!(reply, " {}:", id.len()).unwrap();
    reply.extend_from_slice(id);
    reply.extend_from_slice(b", ");
    reply.extend_from_slice(head);
    reply.extend_from_slice(token);
    true
}

/// The response's head, padded so that the whole response is `reply_bytes` long, like that of the handler which it
/// is compared with. Smaller numbers than the least possible mean no padding.
fn head_of(reply_bytes: usize) -> String {
    const PAD: &str = "x-pad: \r\n";
    let least = HEAD.len() + "\r\n".len() + TOKEN_BYTES;
    match reply_bytes.checked_sub(least + PAD.len()) {
        Some(padding) => format!("{HEAD}x-pad: {}\r\n\r\n", "-".repeat(padding)),
        None => format!("{HEAD}\r\n"),
    }
}
