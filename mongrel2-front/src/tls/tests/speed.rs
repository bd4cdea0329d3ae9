//! How many full handshakes a core does, counting the server's side only.

use std::time::{Duration, Instant};

use super::client::{BOTH, client};
use super::files::{Files, UUID};
use crate::tls::Session;

#[test]
#[ignore = "a measurement: run it by hand with --release --nocapture"]
fn full_handshakes_per_second() {
    for (name, key) in
        [("ECDSA P-256", "-newkey ec -pkeyopt ec_paramgen_curve:P-256"), ("RSA 2048", "-newkey rsa:2048")]
    {
        let files = Files::new("speed");
        files.make_with(UUID, "localhost", key);
        let certificates = files.load(&[]).unwrap();
        let (mut spent, mut count) = (Duration::ZERO, 0);
        while spent < Duration::from_secs(2) {
            // A new client each time has nothing to resume.
            let host = "localhost".try_into().unwrap();
            let mut client = rustls::ClientConnection::new(client(BOTH[1], None), host).unwrap();
            let mut session: Option<Session> = None;
            loop {
                let mut to_server = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut to_server).unwrap();
                }
                let mut to_client = Vec::new();
                let begin = Instant::now();
                let session = session.get_or_insert_with(|| Session::new(&certificates).unwrap());
                let progress = session.read(&mut to_server.as_slice(), &mut Vec::new()).unwrap();
                session.send(&mut to_client).unwrap();
                spent += begin.elapsed();
                if progress.handshake_done {
                    break;
                }
                let mut left = to_client.as_slice();
                while !left.is_empty() {
                    client.read_tls(&mut left).unwrap();
                    client.process_new_packets().unwrap();
                }
            }
            count += 1;
        }
        eprintln!("{name}: {:.0} full handshakes per second", f64::from(count) / spent.as_secs_f64());
    }
}
