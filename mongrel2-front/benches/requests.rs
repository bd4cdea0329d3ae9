//! What an HTTP request costs the front, from the client's bytes to those of the response, without sockets.
//!
//! ```text
//! cargo bench -p mongrel2-front --bench requests
//! ```
//!
//! The figures are the least of many rounds, since other load only adds to them. With a number, so many requests are done
//! once and nothing is printed: for `valgrind --tool=callgrind`.

use mongrel2_front::fuzzing::Exchange;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 300;
const REQUESTS: usize = 1000;

const REQUEST: &[u8] =
    b"GET /hello?name=world HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench/1.0 (X11; Linux x86_64)\r\n\
    Accept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\n\
    Cookie: session=0123456789abcdef\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\n\r\n";

fn main() {
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 37\r\n\r\n{}",
        "x".repeat(37)
    );
    let count = std::env::args().filter_map(|word| word.parse().ok()).next();
    for (name, is_json) in [("tnetstring", false), ("json", true)] {
        let mut exchange = Exchange::new(is_json, &[]);
        exchange.set_reply(response.as_bytes());
        assert_eq!(exchange.turn(REQUEST).1, response.len(), "the client gets the response");
        if let Some(count) = count {
            for _ in 0_usize..count {
                black_box(exchange.turn(black_box(REQUEST)));
            }
            continue;
        }
        let mut round = || {
            let begun = Instant::now();
            for _ in 0..REQUESTS {
                black_box(exchange.turn(black_box(REQUEST)));
            }
            begun.elapsed()
        };
        let best = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
        println!(
            "a GET with 8 headers, message in {name:<11} {:>8.0} ns",
            best.as_nanos() as f64 / REQUESTS as f64
        );
    }
}
