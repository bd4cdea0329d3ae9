//! What our own server reads: requests, bodies, frames, messages of sockets, and replies of handlers.

use crate::Target;
use mongrel2_front::fuzzing;

const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Heads of requests, and what handlers get of them.
pub(crate) const FRONT_HEADS: Target = Target {
    name: "front_heads",
    check: fuzzing::heads,
    seeds: || {
        let texts = [
            "\x07GET /a%20b?c=d#e HTTP/1.1\r\nHost: a:80\r\nX-Y: 1\r\nx-y:\t2 \r\nX-Mongrel2-A: b\r\nX-Forwarded-For: c\r\n\r\n",
            "\x00POST http://a/b HTTP/1.0\r\nContent-Length: 12\r\nExpect: 100-continue\r\nConnection: close, x\r\n\r\nbody",
            "\x01OPTIONS * HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
        ];
        texts
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .chain([format!("\x02{WEBSOCKET}").into_bytes()])
            .collect()
    },
};

/// Chunks.
pub(crate) const FRONT_BODIES: Target = Target {
    name: "front_bodies",
    check: fuzzing::bodies,
    seeds: || vec![b"\x01\x025\r\nhello\r\n00a\r\n, world!!!\r\n0\r\nX: y\r\n\r\nGET".to_vec()],
};

/// WebSocket frames.
pub(crate) const FRONT_FRAMES: Target = Target {
    name: "front_frames",
    check: fuzzing::frames,
    seeds: || {
        let stream = b"\x02\x01\x82\x01\x02\x03\x04ab\x89\x81\x01\x02\x03\x04p\x80\x83\x01\x02\x03\x04cde\x82\xfe\x01\x00\0\0\0\0";
        vec![[&stream[..], &[7; 256]].concat(), b"\x00\x81\xff\0\0\0\0\0\0\0\x03\0\0\0\0abc".to_vec()]
    },
};

/// Messages of JSON and XML sockets.
pub(crate) const FRONT_SOCKETS: Target = Target {
    name: "front_sockets",
    check: fuzzing::socket_messages,
    seeds: || {
        let texts = [
            "@chat/a {\"a\": 1}",
            "@chat {\"type\": \"ping\"}",
            "<msg a=\"1\"><b/></msg>",
            "<policy-file-request/>",
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
};

/// Replies of handlers, to clients of all kinds.
pub(crate) const FRONT_REPLIES: Target = Target {
    name: "front_replies",
    check: fuzzing::replies,
    seeds: || {
        let texts = [
            "m2 7:1 2 3 4, HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "m2 1:1, HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "m2 1:1, ",
            "m2 5:4 9 2, HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "m2 3:X 4, 27:3:ctl,17:7:credits,4:3000#}]",
            "m2 5:X 1 2, 26:3:ctl,16:6:cancel,4:true!}]",
            "m2 3:X 1, 31:3:ctl,21:10:keep-alive,4:true!}]",
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
};

/// Clients, handlers and disks, in any order.
pub(crate) const FRONT: Target = Target {
    name: "front",
    check: fuzzing::connections,
    seeds: || {
        let seed = |settings: u8, steps: &[(u8, u8, &str)]| {
            let mut seed = vec![settings];
            for (kind, whom, text) in steps {
                seed.extend([*kind, *whom, text.len() as u8]);
                seed.extend(text.bytes());
            }
            seed
        };
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = "POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc";
        let chunked = "POST /raw HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        vec![
            seed(
                0,
                &[
                    (0, 0, get),
                    (0, 0, "GET /raw HTTP/1.1\r\n\r\nGET /files/a HTTP/1.1\r\n\r\n"),
                    (5, 0, ok),
                    (14, 0, ""),
                    (12, 0, ""),
                    (2, 0, ""),
                ],
            ),
            seed(0x1f, &[(0, 0, post), (8, 0, ""), (0, 0, "defGET"), (10, 0, ""), (5, 0, ok), (3, 0, "")]),
            seed(
                0x0e,
                &[
                    (0, 0, chunked),
                    (6, 128, "123456"),
                    (0, 0, "3\r\nabc\r\n0\r\n\r\n"),
                    (6, 128, "123456"),
                    (15, 255, ""),
                ],
            ),
            seed(
                0x80,
                &[(0, 0, WEBSOCKET), (0, 0, "\u{1}"), (7, 0, ""), (0, 0, "x"), (7, 0, "a"), (5, 0, "")],
            ),
            seed(
                8,
                &[
                    (0, 0, "@chat {}\0<msg/>\0"),
                    (4, 0, "m2 1:1, hi"),
                    (13, 200, ""),
                    (1, 0, ""),
                    (0, 1, "BAD\r\n\r\n"),
                ],
            ),
        ]
    },
};
