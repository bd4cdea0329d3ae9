//! The same with TLS.

use super::bench::{Bench, Client, PATIENCE};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

fn make_certificate(folder: &Path) {
    std::fs::create_dir_all(folder.join("certs")).unwrap();
    let line = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout main.key -out main.crt -days 30 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    let output = Command::new("openssl")
        .args(line.split_whitespace())
        .current_dir(folder.join("certs"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn bench() -> Bench {
    Bench::with(|config, folder| {
        make_certificate(folder);
        config.servers[0].use_ssl = true;
        config.settings.push(("certdir".into(), format!("{}/certs/", folder.display())));
    })
}

fn client(bench: &Bench) -> Client<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(bench.path("certs/main.crt")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    Client::new(StreamOwned::new(connection, bench.client().stream))
}

#[test]
fn requests_large_replies_and_files_go_through_tls() {
    let bench = bench();
    let body: Vec<u8> = (0..10 << 20).map(|at: u32| (at % 251) as u8).collect();
    std::fs::write(bench.path("files/large.bin"), &body[5..]).unwrap();
    let sent = body.clone();
    let messages = bench.answer(move |peer, message| match &*message.path {
        "/large" => peer.respond(message, &sent),
        "/last" => {
            peer.respond(message, &sent);
            peer.reply(message, b"");
        }
        _ => peer.respond(message, message.path.as_bytes()),
    });
    let mut client = client(&bench);
    assert_eq!(client.get("/a").body, b"/a");
    let message = messages.recv_timeout(PATIENCE).unwrap();
    assert_eq!(message.header("URL_SCHEME"), Some("https"));
    client.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // The socket is full by the time that the client reads.
    messages.recv_timeout(PATIENCE).unwrap();
    assert!(client.response().body == body);
    assert!(client.get("/files/large.bin").body == body[5..]);
    // The last bytes and the end of the session arrive, too.
    client.send(b"GET /last HTTP/1.1\r\nHost: localhost\r\n\r\n");
    messages.recv_timeout(PATIENCE).unwrap();
    assert!(client.response().body == body);
    client.assert_end();
}

#[test]
fn a_client_without_tls_is_told_so() {
    let bench = bench();
    let mut client = bench.client();
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, &response.body[..]), (400, &b"This port serves HTTPS.\r\n"[..]));
    client.assert_end();
}

#[test]
fn a_client_that_leaves_during_the_handshake_leaves_nothing_behind() {
    let mut bench = bench();
    let idle = bench.client();
    let mut half = bench.client();
    half.send(&[22, 3, 1, 0, 200, 1]);
    drop(half);
    assert_eq!(
        {
            let _messages = bench.answer(|peer, message| peer.respond(message, b"hi"));
            client(&bench).get("/").body
        },
        b"hi"
    );
    drop(idle);
    bench.stop();
    assert_eq!(bench.join(), Ok(()));
}
