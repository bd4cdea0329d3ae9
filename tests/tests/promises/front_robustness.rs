//! The front among slow and broken clients, with too few descriptors, and at its start.

use rustix::net::sockopt::set_socket_linger;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::binary::kennel;
use tests::client::{Client, get, request};
use tests::folder::Folder;
use tests::server::{Front, Mongrel2, Setup};
use tests::site::Site;
use tests::websocket::WebSocket;
use tests::{process, wait};

fn setup() -> Setup {
    Setup::default().by(Front::Kennel)
}

/// A front whose patience is short, with a site behind it.
fn impatient() -> (Mongrel2, Site) {
    let seconds = [("front.head_seconds", "2"), ("front.write_seconds", "2"), ("limits.tick_timer", "1")];
    let setup = seconds.iter().fold(setup(), |setup, (key, value)| setup.setting(key, value));
    let server = Mongrel2::start(setup.setting("upload.stream", "1"));
    let app = r#"
app:get("/", function() return "here" end)
app:post("/", function(req) return tostring(#req.body) end)
app:get("/much", function() return ("x"):rep(50000000) end)
app:channel("/echo", function(conn) for text in conn:messages() do conn:send(text) end end)
"#;
    let site = Site::plan(app).behind(&server).start();
    (server, site)
}

/// Sends bytes one by one, until the other side has had enough. How many it took.
fn trickle(port: u16, bytes: &[u8], pause: Duration) -> (Client, usize) {
    let mut client = Client::connect(port);
    for (at, byte) in bytes.iter().enumerate() {
        if client.try_send([*byte]).is_err() {
            return (client, at);
        }
        std::thread::sleep(pause);
    }
    (client, bytes.len())
}

#[test]
fn clients_that_send_byte_by_byte_are_served_when_they_are_in_time() {
    let (server, _site) = impatient();
    let wanted = [
        (request("POST", "/", &[], &[b'x'; 100]), "100"),
        (get("/"), "here"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec(), "5"),
    ];
    for (bytes, body) in wanted {
        let (mut client, taken) = trickle(server.port(), &bytes, Duration::from_millis(1));
        assert_eq!(taken, bytes.len());
        assert_eq!(client.read().text(), body);
    }
}

#[test]
fn clients_that_are_too_slow_are_disconnected_and_others_do_not_notice() {
    let (server, site) = impatient();
    let port = server.port();
    let mut socket = WebSocket::open(port, "/echo");
    let mut silent = Client::connect(port);
    assert_eq!(socket.ask("x"), "x");
    let before = process::descriptors(server.process());
    let late = |begin: &[u8]| {
        let mut client = Client::connect(port);
        client.send(begin);
        client
    };
    let mut stalled: Vec<_> = [
        &b"GET / HTT"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        b"@chat {\"a\":",
        b"<msg>",
    ]
    .into_iter()
    .map(late)
    .collect();
    let readers: Vec<_> = (0..3).map(|_| Client::connect(port)).collect();
    let mut readers: Vec<_> = readers
        .into_iter()
        .map(|mut client| {
            client.hold_little();
            client.send(get("/much"));
            client
        })
        .collect();
    // Never silent, and never done either: the time counts from the first byte of a head.
    let dripping = std::thread::spawn(move || {
        let begun = Instant::now();
        let (_, taken) = trickle(
            port,
            &[b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 2000]].concat(),
            Duration::from_millis(20),
        );
        (taken, begun.elapsed())
    });
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        assert_eq!(site.get("/").text(), "here");
        assert_eq!(socket.ask("x"), "x");
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    let (taken, time) = dripping.join().unwrap();
    assert!(taken < 2000 && time < Duration::from_secs(20), "{taken} bytes in {time:?}");
    wait::until("all are disconnected", || process::descriptors(server.process()) <= before + 1);
    for (number, client) in stalled.iter_mut().enumerate() {
        let said = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        // Messages of JSON and XML sockets are not requests.
        let is_told = said.starts_with("HTTP/1.1 408 ") && said.contains("\r\nConnection: close\r\n");
        assert!(if number < 3 { is_told } else { said.is_empty() }, "{number}: {said}");
    }
    for client in &mut readers {
        // What the kernel holds can be read; the rest does not come.
        assert!(client.read_to_end().len() < 50_000_000);
    }
    // A client that has asked nothing yet is not slow.
    assert_eq!(silent.get("/").text(), "here");
    assert_eq!(socket.ask("still here"), "still here");
}

#[test]
fn a_client_that_has_shut_down_its_sending_side_gets_its_response() {
    let (server, _site) = impatient();
    let mut client = Client::connect(server.port());
    client.send(request("GET", "/", &[("Connection", "close")], b""));
    client.shut_down_sending();
    assert_eq!(client.read().text(), "here");
    assert_eq!(client.read_to_end(), b"");
    // One that vanishes takes nobody with it.
    for _ in 0..50 {
        let mut client = Client::connect(server.port());
        client.send(get("/much"));
        client.vanish();
    }
    assert_eq!(Client::connect(server.port()).get("/").text(), "here");
}

#[test]
fn without_descriptors_clients_are_told_so_and_those_that_are_there_are_served_on() {
    let server = Mongrel2::start(setup());
    let app = r#"
app:get("/", function() return "here" end)
app:channel("/echo", function(conn) for text in conn:messages() do conn:send(text) end end)
"#;
    let site = Site::plan(app).behind(&server).start();
    let mut socket = site.websocket("/echo");
    assert_eq!(socket.ask("a"), "a");
    let open = process::descriptors(server.process()) as u64;
    limit_descriptors(server.process(), open + 20);
    let (mut served, mut refused) = (Vec::new(), 0);
    for _ in 0..60 {
        let mut client = Client::connect(server.port());
        client.send(get("/"));
        let response = client.read();
        match response.status {
            200 => served.push(client),
            503 => {
                assert!(response.text().contains("no descriptor left"), "{response:?}");
                assert_eq!(response.header("connection"), Some("close"));
                refused += 1;
            }
            other => panic!("{other}: {response:?}"),
        }
    }
    assert!(served.len() >= 15 && refused >= 35, "{} served, {refused} refused", served.len());
    assert_eq!(socket.ask("b"), "b");
    for client in &mut served {
        assert_eq!(client.get("/").text(), "here");
    }
    let log = std::fs::read_to_string(server.folder().path().join("output.log")).unwrap();
    assert!(log.contains("cannot accept clients"), "{log}");
    // Places that become free are given to the next ones.
    served.clear();
    wait::until("there is room again", || {
        let mut client = Client::connect(server.port());
        client.try_send(get("/")).is_ok() && client.try_read().is_ok_and(|response| response.status == 200)
    });
    assert_eq!(socket.ask("c"), "c");
}

/// So many descriptors are allowed to another process from now on.
fn limit_descriptors(pid: u32, count: u64) {
    let limit = format!("--nofile={count}:{count}");
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(status.expect("prlimit is installed").success());
}

#[test]
fn a_tls_handshake_that_stalls_holds_up_no_other_client() {
    let folder = Folder::new();
    let certificate = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .status();
    assert!(certificate.expect("openssl is installed").success());
    let at = folder.path().display();
    let site = Site::plan(r#"app:get("/", function() return "here" end)"#)
        .argument("--front=kennel")
        .argument(&format!("--tls={at}/cert.pem,{at}/key.pem"))
        .start();
    // A first part of a ClientHello, a plain request, noise, and nothing at all.
    let begins: [&[u8]; 4] = [b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n", &[0xff; 300], b""];
    let mut stalled: Vec<_> = begins
        .iter()
        .cycle()
        .take(40)
        .map(|begin| {
            let mut client = TcpStream::connect(("127.0.0.1", site.port())).expect("it listens");
            client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
            client.write_all(begin).expect("a few bytes are taken");
            client
        })
        .collect();
    // Without `Connection: close` it would wait for more.
    let mut other = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{}", site.port())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    let ask = request("GET", "/", &[("Connection", "close")], b"");
    other.stdin.as_mut().expect("a pipe").write_all(&ask).expect("a few bytes are taken");
    let output = other.wait_with_output().expect("it ends with the response");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with("here"), "{said}");
    // Who does not speak TLS hears it, in the language that it spoke.
    let mut said = String::new();
    let _ = stalled[1].read_to_string(&mut said);
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("HTTPS"), "{said}");
    let mut alert = Vec::new();
    let _ = stalled[2].read_to_end(&mut alert);
    assert!(alert.first().is_none_or(|first| *first == 0x15), "an alert, or the end: {alert:?}");
}

/// Starts `kennel front` by hand: how long until the first response, of a file of the server's own.
fn start_to_first_response(server: &mut Mongrel2) -> Duration {
    server.kill();
    let folder = server.folder().path().to_owned();
    let _ = std::fs::remove_file(folder.join("mongrel2.pid"));
    let begin = Instant::now();
    let front = Command::new(kennel())
        .args(["front", "config.sqlite"])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _front = Ended(front.expect("kennel can be started"));
    loop {
        assert!(begin.elapsed() < wait::PATIENCE, "it does not start");
        // Answered by the front alone: no route leads there.
        if let Ok(mut client) = Client::try_connect(server.port()) {
            client.send("BAD\r\n\r\n");
            if client.try_read().is_ok_and(|response| response.status == 400) {
                return begin.elapsed();
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A process that ends with this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_front_responds_a_tenth_of_a_second_after_its_start() {
    let mut server = Mongrel2::start(setup());
    let mut times: Vec<_> = (0..5).map(|_| start_to_first_response(&mut server)).collect();
    times.sort();
    println!("from the start to the first response: {times:.1?}");
    // The best, since others may have the processor.
    assert!(times[0] < Duration::from_millis(100), "{times:?}");
}

#[test]
fn connections_that_are_reset_at_any_moment_leave_nothing_behind() {
    let (server, site) = impatient();
    assert_eq!(site.get("/").text(), "here");
    let before = process::descriptors(server.process());
    let whole = request("POST", "/", &[], &[b'x'; 200]);
    for number in 0..whole.len() {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
        stream.write_all(&whole[..number]).expect("a few bytes are taken");
        if number % 2 == 0 {
            let _ = set_socket_linger(&stream, Some(Duration::ZERO));
        }
    }
    wait::until("all are gone", || process::descriptors(server.process()) <= before + 1);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let waits = stream.read(&mut [0]).expect_err("nothing is said unasked").kind();
    assert!(matches!(waits, ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert_eq!(site.get("/").text(), "here");
}
