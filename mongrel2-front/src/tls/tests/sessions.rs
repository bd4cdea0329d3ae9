//! Sessions: handshakes, data, bounds, ends and client certificates.

use std::io::{self, Write};

use rustls::HandshakeKind;
use rustls::crypto::ring;

use super::client::{BOTH, Connection, client, client_with};
use super::files::Files;
use crate::tls::{CertDigests, Session, SessionError};

#[test]
fn a_request_and_a_response_go_through_with_both_versions_in_any_pieces() {
    let files = Files::with_server("pieces");
    let certificates = files.load(&[]).unwrap();
    for version in BOTH {
        for step in [usize::MAX, 1000, 7, 1] {
            let mut connection = Connection::new(&certificates, &client(version, None), "localhost");
            connection.step = step;
            connection.serve().unwrap();
            assert_eq!(connection.client.protocol_version(), Some(version.version));
            assert_eq!(connection.session.certificate(), None);
        }
    }
}

#[test]
fn the_strongest_cipher_is_chosen_whichever_the_client_names_first() {
    let files = Files::with_server("ciphers");
    let certificates = files.load(&[]).unwrap();
    for version in BOTH {
        let mut provider = ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| format!("{:?}", suite.suite()).contains("AES_256"));
        let config = client_with(provider, version, None);
        let mut connection = Connection::new(&certificates, &config, "localhost");
        connection.serve().unwrap();
        let chosen = format!("{:?}", connection.client.negotiated_cipher_suite().unwrap().suite());
        assert!(chosen.contains("AES_256"), "{chosen}");
    }
}

#[test]
fn sessions_are_resumed_also_after_a_reload() {
    let files = Files::with_server("resumed");
    let certificates = files.load(&[]).unwrap();
    for version in BOTH {
        let config = client(version, None);
        let kind = |certificates| {
            let mut connection = Connection::new(certificates, &config, "localhost");
            connection.serve().unwrap();
            connection.client.handshake_kind()
        };
        assert_eq!(kind(&certificates), Some(HandshakeKind::Full));
        assert_eq!(kind(&certificates), Some(HandshakeKind::Resumed));
        files.make(super::files::UUID, "localhost");
        assert!(certificates.reload().unwrap());
        assert_eq!(kind(&certificates), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_client_without_tls_is_told_apart_and_none_of_its_bytes_are_taken() {
    let files = Files::with_server("plain");
    let certificates = files.load(&[]).unwrap();
    for length in [1, 18] {
        let mut session = Session::new(&certificates).unwrap();
        let mut bytes = &b"GET / HTTP/1.1\r\n\r\n"[..length];
        let problem = session.read(&mut bytes, &mut Vec::new()).unwrap_err();
        assert!(matches!(problem, SessionError::PlainHttp), "{problem}");
        assert_eq!(bytes.len(), length);
        assert!(!session.pending());
    }
}

#[test]
fn rubbish_is_an_error_with_an_alert() {
    let files = Files::with_server("rubbish");
    let certificates = files.load(&[]).unwrap();
    let mut session = Session::new(&certificates).unwrap();
    let mut bytes: &[u8] = &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0, 0, 0];
    assert!(matches!(session.read(&mut bytes, &mut Vec::new()), Err(SessionError::Protocol(_))));
    let mut alert = Vec::new();
    session.send(&mut alert).unwrap();
    assert_eq!(alert[0], 0x15);
    // Once broken, it stays so.
    assert!(session.read(&mut &[0x16, 3, 1][..], &mut Vec::new()).is_err());
}

#[test]
fn any_bytes_are_survived() {
    let files = Files::with_server("any-bytes");
    let certificates = files.load(&[]).unwrap();
    let mut chance = fastrand::Rng::with_seed(11);
    for _ in 0..500 {
        let mut session = Session::new(&certificates).unwrap();
        let mut bytes = vec![0; chance.usize(0..400)];
        chance.fill(&mut bytes);
        if chance.bool() && bytes.len() > 5 {
            bytes[..5].copy_from_slice(&[0x16, 3, 1, 0, chance.u8(..)]);
        }
        for part in bytes.chunks(chance.usize(1..50)) {
            let mut part = part;
            if session.read(&mut part, &mut Vec::new()).is_err() {
                break;
            }
        }
    }
}

#[test]
fn no_more_than_64_kib_wait_for_a_client_that_does_not_read() {
    let files = Files::with_server("bounded");
    let certificates = files.load(&[]).unwrap();
    for version in BOTH {
        let mut connection = Connection::new(&certificates, &client(version, None), "localhost");
        assert_eq!(connection.session.write(b"early"), 0, "before the handshake");
        connection.serve().unwrap();
        let content: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        let mut taken = connection.session.write(&content);
        assert!((60_000..=65_536).contains(&taken), "{taken}");
        assert_eq!(connection.session.write(&content[taken..]), 0);
        let mut received = Vec::new();
        while taken < content.len() || connection.session.pending() {
            received.extend(connection.exchange().unwrap().0);
            taken += connection.session.write(&content[taken..]);
        }
        assert!(received == content);
    }
}

#[test]
fn a_writer_that_takes_little_gets_all_in_the_end() {
    struct Slow<'a>(&'a mut Vec<u8>, usize);
    impl Write for Slow<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1 == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..count]);
            self.1 -= count;
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let files = Files::with_server("slow");
    let certificates = files.load(&[]).unwrap();
    let mut connection = Connection::new(&certificates, &client(BOTH[1], None), "localhost");
    connection.serve().unwrap();
    assert_eq!(connection.session.write(&[b'x'; 5000]), 5000);
    let mut cipher = Vec::new();
    assert_eq!(
        connection.session.send(&mut Slow(&mut cipher, 0)).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    while connection.session.pending() {
        assert!(connection.session.send(&mut Slow(&mut cipher, 3)).unwrap() > 0);
    }
    let mut left = cipher.as_slice();
    while !left.is_empty() {
        connection.client.read_tls(&mut left).unwrap();
        connection.client.process_new_packets().unwrap();
    }
    assert_eq!(connection.exchange().unwrap().0, b"");
    let mut plain = Vec::new();
    let _ = io::Read::read_to_end(&mut connection.client.reader(), &mut plain);
    assert_eq!(plain, [b'x'; 5000]);
}

#[test]
fn large_uploads_arrive_whole() {
    let files = Files::with_server("upload");
    let certificates = files.load(&[]).unwrap();
    let mut connection = Connection::new(&certificates, &client(BOTH[1], None), "localhost");
    connection.step = 5000;
    connection.exchange().unwrap();
    for _ in 0..20 {
        connection.client.writer().write_all(&[b'u'; 50_000]).unwrap();
        connection.exchange().unwrap();
    }
    assert_eq!(connection.plain.len(), 1_000_000);
}

#[test]
fn a_client_that_ended_its_side_still_gets_its_response() {
    let files = Files::with_server("half-closed");
    let certificates = files.load(&[]).unwrap();
    for version in BOTH {
        let mut connection = Connection::new(&certificates, &client(version, None), "localhost");
        connection.exchange().unwrap();
        connection.client.writer().write_all(b"request").unwrap();
        connection.client.send_close_notify();
        let mut cipher = Vec::new();
        while connection.client.wants_write() {
            connection.client.write_tls(&mut cipher).unwrap();
        }
        cipher.extend_from_slice(b"and nothing that counts");
        let progress = connection.session.read(&mut cipher.as_slice(), &mut connection.plain).unwrap();
        assert!(progress.closed && progress.handshake_done);
        assert_eq!(connection.plain, b"request");
        assert_eq!(connection.session.write(b"response"), 8);
        connection.session.close_notify();
        assert_eq!(connection.exchange().unwrap().0, b"response");
        let state = connection.client.process_new_packets().unwrap();
        assert!(state.peer_has_closed());
    }
}

#[test]
fn an_optional_client_certificate_is_named_by_its_digests() {
    let files = Files::with_server("optional");
    files.make_client("authority", "jane");
    files.make_client("stranger", "john");
    let settings = [("ssl.verify_optional", "1"), ("ssl.ca_chain", "certs/authority.pem")];
    let certificates = files.load(&settings).unwrap();
    let fingerprint = |digest: &str| {
        let line = files.openssl(&format!("x509 -in jane.pem -noout -fingerprint -{digest}"));
        line.trim().split('=').nth(1).unwrap().replace(':', "")
    };
    let expected = CertDigests { sha1: fingerprint("sha1") + "00", sha256: fingerprint("sha256") };
    assert_eq!((expected.sha1.len(), expected.sha256.len()), (42, 64));
    for version in BOTH {
        let config = client(version, Some((&files, "jane")));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut connection = Connection::new(&certificates, &config, "localhost");
            connection.serve().unwrap();
            assert_eq!(connection.client.handshake_kind(), Some(kind));
            assert_eq!(connection.session.certificate(), Some(&expected));
        }
        for own in [None, Some((&files, "john"))] {
            let mut connection = Connection::new(&certificates, &client(version, own), "localhost");
            connection.serve().unwrap();
            assert_eq!(connection.session.certificate(), None);
        }
    }
    // Without a chain, every certificate counts.
    let certificates = files.load(&settings[..1]).unwrap();
    let mut connection =
        Connection::new(&certificates, &client(BOTH[1], Some((&files, "john"))), "localhost");
    connection.serve().unwrap();
    assert_eq!(connection.session.certificate(), Some(&CertDigests::of(&files.der("john.pem"))));
}

#[test]
fn a_required_client_certificate_is_required() {
    let files = Files::with_server("required");
    files.make_client("authority", "jane");
    files.make_client("stranger", "john");
    let certificates =
        files.load(&[("ssl.verify_required", "1"), ("ssl.ca_chain", "certs/authority.pem")]).unwrap();
    for version in BOTH {
        let mut connection =
            Connection::new(&certificates, &client(version, Some((&files, "jane"))), "localhost");
        connection.serve().unwrap();
        assert!(connection.session.certificate().is_some());
        for own in [None, Some((&files, "john"))] {
            let mut connection = Connection::new(&certificates, &client(version, own), "localhost");
            assert!(connection.serve().is_err());
            assert_eq!(connection.session.certificate(), None);
        }
    }
}

#[test]
fn a_certificate_that_the_chain_lists_itself_is_trusted() {
    let files = Files::with_server("pinned");
    let key = "-nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256";
    files.openssl(&format!("req -x509 {key} -keyout own.key -out own.pem -days 30 -subj /CN=own"));
    let certificates =
        files.load(&[("ssl.verify_required", "1"), ("ssl.ca_chain", "certs/own.pem")]).unwrap();
    let mut connection = Connection::new(&certificates, &client(BOTH[0], Some((&files, "own"))), "localhost");
    connection.serve().unwrap();
    assert_eq!(connection.session.certificate(), Some(&CertDigests::of(&files.der("own.pem"))));
}
