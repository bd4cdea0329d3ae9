//! Certificates: the choice by name, what is wrong with files, and reloads.

use std::fs;

use mongrel2_conf::model::Server;

use super::client::{BOTH, Connection, client};
use super::files::{Files, UUID};
use crate::tls::{Certificates, TlsError, inspect};

fn shown(certificates: &Certificates, host: &str) -> Vec<u8> {
    let mut connection = Connection::new(certificates, &client(BOTH[1], None), host);
    connection.serve().unwrap();
    connection.shown()
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let files = Files::with_server("names");
    files.make("www.example.org", "www.example.org");
    files.make("_.example.org", "*.example.org");
    files.make("authority", "authority");
    fs::remove_file(files.path("authority.key")).unwrap();
    let certificates = files.load(&[]).unwrap();
    for (host, file) in [
        ("www.example.org", "www.example.org.crt"),
        ("WWW.Example.ORG", "www.example.org.crt"),
        ("blog.example.org", "_.example.org.crt"),
        ("a.blog.example.org", "f400bf85.crt"),
        ("example.org", "f400bf85.crt"),
        ("localhost", "f400bf85.crt"),
        ("authority", "f400bf85.crt"),
        ("127.0.0.1", "f400bf85.crt"),
    ] {
        assert!(shown(&certificates, host) == files.der(file), "{host}");
    }
}

#[test]
fn the_chroot_stands_before_the_certdir() {
    let files = Files::with_server("chroot");
    let server =
        Server { uuid: UUID.into(), chroot: format!("{}", files.root().display()), ..Server::default() };
    let settings = [("certdir".to_owned(), "/certs/".to_owned())];
    let certificates = Certificates::load(&server, &settings, "/nowhere".as_ref()).unwrap();
    assert!(shown(&certificates, "localhost") == files.der("f400bf85.crt"));
}

#[test]
fn inside_the_chroot_files_are_found_by_their_names_there_and_the_authorities_stay() {
    let files = Files::with_server("inside");
    files.make_client("authority", "jane");
    // A chroot to the root folder has the same files inside.
    let server = Server { uuid: UUID.into(), chroot: "/.".into(), ..Server::default() };
    let certdir = format!("{}/certs/", files.root().display());
    let chain = "certs/authority.pem";
    let settings = [("certdir", certdir.as_str()), ("ssl.verify_required", "1"), ("ssl.ca_chain", chain)];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let certificates = Certificates::load(&server, &settings, files.root()).unwrap();
    certificates.enter_chroot();
    assert!(!certificates.changed());
    assert!(!certificates.reload().unwrap());
    fs::remove_file(files.path("authority.pem")).unwrap();
    files.make(UUID, "localhost");
    assert!(certificates.changed());
    assert!(certificates.reload().unwrap());
    let mut connection =
        Connection::new(&certificates, &client(BOTH[1], Some((&files, "jane"))), "localhost");
    connection.serve().unwrap();
    assert!(connection.shown() == files.der("f400bf85.crt"));
    assert!(connection.session.certificate().is_some());
    let mut stranger = Connection::new(&certificates, &client(BOTH[1], None), "localhost");
    assert!(stranger.serve().is_err());
}

#[test]
fn two_files_are_enough() {
    let files = Files::with_server("two-files");
    let (certificate, key) = (files.path("f400bf85.crt"), files.path("f400bf85.key"));
    let certificates = Certificates::load_pair(&certificate, &key).unwrap();
    assert!(shown(&certificates, "example.org") == files.der("f400bf85.crt"));
    files.make(UUID, "localhost");
    assert!(certificates.changed());
    assert!(certificates.reload().unwrap());
    assert!(shown(&certificates, "example.org") == files.der("f400bf85.crt"));
}

#[test]
fn all_kinds_of_keys_that_are_in_use_work() {
    let files = Files::new("kinds");
    for key in ["-newkey rsa:2048", "-newkey ec -pkeyopt ec_paramgen_curve:P-384", "-newkey ed25519"] {
        files.make_with(UUID, "localhost", key);
        assert!(shown(&files.load(&[]).unwrap(), "localhost") == files.der("f400bf85.crt"), "{key}");
    }
    // As old scripts write keys, and certificates of version 1.
    files.openssl("genrsa -traditional -out f400bf85.key 2048");
    files.openssl("req -new -key f400bf85.key -subj /CN=localhost -out csr");
    files.openssl("x509 -req -in csr -signkey f400bf85.key -days 30 -out f400bf85.crt");
    files.load(&[]).unwrap();
}

#[test]
fn what_is_wrong_is_said_with_the_file_and_the_next_step() {
    let files = Files::with_server("wrong");
    let (certificate, key) = (files.path("f400bf85.crt"), files.path("f400bf85.key"));
    let problem = |settings: &[(&str, &str)]| files.load(settings).unwrap_err().to_string();
    let good_key = fs::read(&key).unwrap();

    files.openssl("pkey -in f400bf85.key -aes128 -passout pass:secret -out f400bf85.key2");
    fs::rename(files.path("f400bf85.key2"), &key).unwrap();
    assert!(
        problem(&[]).contains("has a passphrase; write it without one: `openssl pkey -in "),
        "{}",
        problem(&[])
    );

    files.openssl("genpkey -algorithm ed25519 -out f400bf85.key");
    let text = problem(&[]);
    assert!(
        text.contains("f400bf85.key` does not belong to the certificate in `") && text.contains(".crt"),
        "{text}"
    );

    files.openssl("genrsa -out f400bf85.key 1024");
    assert!(problem(&[]).contains("cannot be used; use RSA with 2048"), "{}", problem(&[]));

    fs::write(&key, "rubbish").unwrap();
    assert!(problem(&[]).contains("f400bf85.key` holds no private key"), "{}", problem(&[]));
    fs::remove_file(&key).unwrap();
    assert!(problem(&[]).contains("no private key at `"), "{}", problem(&[]));

    fs::write(&key, good_key).unwrap();
    let bad_chain = [("ssl.verify_optional", "1"), ("ssl.ca_chain", "certs/none.pem")];
    assert!(problem(&bad_chain).contains("certs/none.pem"), "{}", problem(&bad_chain));
    assert!(matches!(files.load(&[("ssl.verify_required", "1")]), Err(TlsError::NoChain)));

    fs::write(&certificate, vec![b'x'; 2_000_000]).unwrap();
    assert!(problem(&[]).contains("longer than 1048576 bytes"), "{}", problem(&[]));
    fs::write(&certificate, "rubbish").unwrap();
    assert!(problem(&[]).contains("f400bf85.crt` holds no certificate"), "{}", problem(&[]));
    fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(problem(&[]).contains("f400bf85.crt` is damaged"), "{}", problem(&[]));
    fs::remove_file(&certificate).unwrap();
    assert!(problem(&[]).contains("no certificate at `"), "{}", problem(&[]));

    let server = Server { uuid: UUID.into(), ..Server::default() };
    let load =
        |certdir: &str| Certificates::load(&server, &[("certdir".into(), certdir.into())], files.root());
    assert!(matches!(load(""), Err(TlsError::NoCertdir { .. })));
    assert!(matches!(load("certs"), Err(TlsError::NoSlash { .. })));
}

#[test]
fn a_reload_replaces_all_or_nothing_and_no_connection_notices() {
    let files = Files::with_server("reload");
    files.make("example.org", "example.org");
    let certificates = files.load(&[]).unwrap();
    let (first, other) = (files.der("f400bf85.crt"), files.der("example.org.crt"));
    let mut old = Connection::new(&certificates, &client(BOTH[1], None), "localhost");
    old.serve().unwrap();
    let mut in_handshake = Connection::new(&certificates, &client(BOTH[1], None), "localhost");
    assert!(!certificates.changed());
    assert!(!certificates.reload().unwrap());

    // One of two is wrong: both stay.
    files.make(UUID, "localhost");
    fs::write(files.path("example.org.key"), "rubbish").unwrap();
    assert!(certificates.changed());
    let problem = certificates.reload().unwrap_err().to_string();
    assert!(problem.contains("example.org.key"), "{problem}");
    assert!(!certificates.changed(), "the same fault is not told again and again");
    assert!(shown(&certificates, "localhost") == first && shown(&certificates, "example.org") == other);

    files.make("example.org", "example.org");
    assert!(certificates.reload().unwrap());
    assert!(!certificates.reload().unwrap());
    assert!(shown(&certificates, "localhost") == files.der("f400bf85.crt"));
    assert!(shown(&certificates, "example.org") == files.der("example.org.crt"));
    old.serve().unwrap();
    in_handshake.serve().unwrap();
    assert!(old.shown() == first && in_handshake.shown() == first);

    // A name that is gone gets the server's own.
    fs::remove_file(files.path("example.org.crt")).unwrap();
    assert!(certificates.reload().unwrap());
    assert!(shown(&certificates, "example.org") == files.der("f400bf85.crt"));
}

#[test]
fn an_expired_certificate_is_used_at_the_start_but_replaces_none() {
    let files = Files::new("expired");
    files.make_expired(UUID, "localhost");
    let certificates = files.load(&[]).unwrap();
    let expired = files.der("f400bf85.crt");
    assert!(shown(&certificates, "localhost") == expired);
    // Unchanged, it does not keep others from being replaced.
    files.make("example.org", "example.org");
    assert!(certificates.reload().unwrap());
    assert!(shown(&certificates, "example.org") == files.der("example.org.crt"));

    files.make(UUID, "localhost");
    assert!(certificates.reload().unwrap());
    let good = files.der("f400bf85.crt");
    files.make_expired(UUID, "localhost");
    let problem = certificates.reload().unwrap_err().to_string();
    assert!(problem.contains("f400bf85.crt` expired on 2021-01-01; the one before stays"), "{problem}");
    assert!(shown(&certificates, "localhost") == good);
}

#[test]
fn at_the_start_a_name_with_broken_files_gets_the_servers_own_certificate() {
    let files = Files::with_server("broken-name");
    files.make("example.org", "example.org");
    fs::write(files.path("example.org.key"), "rubbish").unwrap();
    let certificates = files.load(&[]).unwrap();
    assert!(shown(&certificates, "example.org") == files.der("f400bf85.crt"));
    assert!(!certificates.reload().unwrap());
    // It does not keep the server's own from being replaced.
    files.make(UUID, "localhost");
    assert!(certificates.reload().unwrap());
    files.make("example.org", "example.org");
    assert!(certificates.reload().unwrap());
    assert!(shown(&certificates, "example.org") == files.der("example.org.crt"));
}

#[test]
fn another_authority_ends_what_the_old_one_vouched_for() {
    let files = Files::with_server("authority");
    files.make_client("authority", "jane");
    let certificates =
        files.load(&[("ssl.verify_optional", "1"), ("ssl.ca_chain", "certs/authority.pem")]).unwrap();
    let config = client(BOTH[1], Some((&files, "jane")));
    let has_certificate = || {
        let mut connection = Connection::new(&certificates, &config, "localhost");
        connection.serve().unwrap();
        connection.session.certificate().is_some()
    };
    assert!(has_certificate());
    files.make_client("authority", "john");
    assert!(certificates.changed());
    assert!(certificates.reload().unwrap());
    assert!(!has_certificate());
}

#[test]
fn a_certificate_is_inspected_before_a_server_uses_it() {
    let files = Files::with_server("inspect");
    let (certificate, key) = (files.path("f400bf85.crt"), files.path("f400bf85.key"));
    let found = inspect(&certificate, &key).unwrap();
    let until = files.openssl("x509 -in f400bf85.crt -noout -enddate -dateopt iso_8601");
    assert_eq!(found.until, until["notAfter=".len()..][..10]);
    assert_eq!(found.problem, None);
    files.make_expired("old", "localhost");
    let found = inspect(&files.path("old.crt"), &files.path("old.key")).unwrap();
    assert_eq!(found.until, "2021-01-01");
    assert_eq!(found.problem.as_deref(), Some("expired on 2021-01-01"));
    for (certificate, key, words) in [
        (&key, &key, "holds no certificate"),
        (&certificate, &certificate, "holds no private key"),
        (&files.path("old.crt"), &key, "does not belong to the certificate"),
        (&files.path(""), &key, "is a folder; name the file of the certificate"),
        (&certificate, &files.path("none"), "no private key at `"),
    ] {
        let problem = inspect(certificate, key).unwrap_err();
        assert!(problem.contains(words), "{problem}");
    }
}
