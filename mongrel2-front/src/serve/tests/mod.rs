//! The whole server: a handler on libzmq behind it, and real clients before it.

mod bench;
mod tls;

use bench::{Bench, Client, PATIENCE, handler};
use mongrel2_conf::model::Route;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let bench = Bench::new(&[]);
    let messages = bench.answer(|peer, message| peer.respond(message, message.path.as_bytes()));
    let mut client = bench.client();
    for path in ["/a", "/b"] {
        let response = client.get(path);
        assert_eq!((response.status, &response.body[..]), (200, path.as_bytes()));
    }
    let (first, second) = (messages.recv().unwrap(), messages.recv().unwrap());
    assert_eq!((first.id, &*first.sender), (second.id, "app-1"));
    assert_eq!(first.header("REMOTE_ADDR"), Some("127.0.0.1"));
    drop(client);
    assert!(messages.recv_timeout(PATIENCE).unwrap().is_disconnect());
}

#[test]
fn a_large_reply_arrives_whole_at_a_client_that_reads_late() {
    let bench = Bench::new(&[]);
    let body: Vec<u8> = (0..10 << 20).map(|at: u32| (at % 251) as u8).collect();
    let sent = body.clone();
    let messages = bench.answer(move |peer, message| peer.respond(message, &sent));
    let (mut slow, mut other) = (bench.client(), bench.client());
    slow.send(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
    messages.recv_timeout(PATIENCE).unwrap();
    // Another client is served while the first one does not read.
    assert_eq!(other.get("/other").body.len(), body.len());
    let response = slow.response();
    assert!(response.body == body);
}

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    let bench = Bench::new(&[]);
    let _messages = bench.answer(|peer, message| peer.respond(message, message.path.as_bytes()));
    let mut client = bench.client();
    let mut writer = client.stream.try_clone().unwrap();
    let thread = std::thread::spawn(move || {
        for number in 0..1000 {
            write!(writer, "GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        }
    });
    for number in 0..1000 {
        assert_eq!(client.response().body, format!("/{number}").as_bytes());
    }
    thread.join().unwrap();
}

#[test]
fn a_client_that_has_shut_its_side_down_gets_its_response() {
    let bench = Bench::new(&[]);
    let peer = bench.peer();
    let mut client = bench.client();
    client.send(b"GET /half HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    let request = peer.next();
    peer.respond(&request, b"whole");
    assert_eq!(client.response().body, b"whole");
    client.assert_end();
}

#[test]
fn a_client_that_is_refused_while_it_sends_can_read_why() {
    let bench = Bench::new(&[]);
    let mut client = bench.client();
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n");
    // The server has answered and closed long before the end of this.
    for _ in 0..80 {
        client.send(&vec![b'x'; 100_000]);
    }
    assert_eq!(client.response().status, 413);
    client.assert_end();
}

#[test]
fn a_client_that_is_gone_is_told_of() {
    let bench = Bench::new(&[]);
    let peer = bench.peer();
    let mut client = bench.client();
    client.send(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let request = peer.next();
    // A reset, as of a client that is killed.
    rustix::net::sockopt::set_socket_linger(&client.stream, Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let notice = peer.next();
    assert!(notice.is_disconnect() && notice.id == request.id, "{notice:?}");
}

#[test]
fn a_handler_closes_a_connection_behind_its_response() {
    let bench = Bench::new(&[]);
    let _messages = bench.answer(|peer, message| {
        peer.respond(message, b"last");
        peer.reply(message, b"");
    });
    let mut client = bench.client();
    assert_eq!(client.get("/").body, b"last");
    client.assert_end();
}

#[test]
fn a_large_body_becomes_a_file_that_the_handler_owns() {
    let settings = [("upload.temp_store", "FOLDER/up.XXXXXX"), ("upload.temp_store_mode", "0640")];
    let bench = Bench::new(&settings);
    let peer = bench.peer();
    let mut client = bench.client();
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
    client.send(
        format!("POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
    );
    client.send(&body);
    let start = peer.next();
    let name = start.header("x-mongrel2-upload-start").unwrap().to_owned();
    assert!(start.header("x-mongrel2-upload-done").is_none());
    let done = peer.next();
    assert_eq!(done.header("x-mongrel2-upload-done"), Some(&*name));
    assert!(std::fs::read(&name).unwrap() == body);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&name).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o640);
    peer.respond(&done, b"thanks");
    assert_eq!(client.response().body, b"thanks");

    // A client that leaves in the middle leaves nothing behind.
    client.send(b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\nhalf");
    let start = peer.next();
    let half = std::path::PathBuf::from(start.header("x-mongrel2-upload-start").unwrap());
    drop(client);
    assert!(peer.next().is_disconnect());
    bench.await_that("the file is removed", || !half.exists());
    assert!(std::path::Path::new(&name).exists());
}

#[test]
fn a_large_file_is_sent_to_clients_that_read_late() {
    let bench = Bench::new(&[]);
    let content: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 247) as u8).collect();
    std::fs::write(bench.path("files/large.bin"), &content).unwrap();
    std::fs::write(bench.path("files/index.html"), "index").unwrap();
    let (mut slow, mut client) = (bench.client(), bench.client());
    slow.send(b"GET /files/large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.get("/files/").body, b"index");
    assert_eq!(client.get("/files/nothing").status, 404);
    assert!(slow.response().body == content);
    // The connection is kept.
    assert_eq!(slow.get("/files/").body, b"index");
}

#[test]
fn a_stop_takes_no_more_clients_and_finishes_what_runs() {
    let mut bench = Bench::new(&[]);
    let peer = bench.peer();
    let (mut busy, mut idle) = (bench.client(), bench.client());
    idle.send(b"GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let first = peer.next();
    peer.respond(&first, b"1");
    assert_eq!(idle.response().body, b"1");
    busy.send(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let request = peer.next();
    assert!(bench.path("server.pid").exists());
    bench.stop();
    idle.assert_end();
    assert!(TcpStream::connect(("127.0.0.1", bench.port)).is_err());
    // The notice about the idle one.
    assert!(peer.next().is_disconnect());
    peer.respond(&request, b"finished");
    assert_eq!(busy.response().body, b"finished");
    busy.assert_end();
    drop((busy, idle));
    assert_eq!(bench.join(), Ok(()));
    assert!(!bench.path("server.pid").exists());
}

#[test]
fn a_reload_replaces_routes_without_touching_a_connection() {
    let mut bench = Bench::new(&[]);
    let _messages = bench.answer(|peer, message| peer.respond(message, b"old"));
    let mut client = bench.client();
    assert_eq!(client.get("/new/x").body, b"old");
    bench.reload(|config, folder| {
        config.servers[0].hosts[0].routes.push(Route::new("/new/", handler(folder, "new")));
    });
    let peer = bench.peer_of("new");
    client.send(b"GET /new/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let request = peer.next();
    assert_eq!(request.sender, "new-1");
    peer.respond(&request, b"new");
    assert_eq!(client.response().body, b"new");
    assert_eq!(client.get("/").body, b"old");

    // What does not load changes nothing.
    std::fs::write(bench.path("config.sqlite"), b"not a database").unwrap();
    bench.hang_up();
    assert_eq!(client.get("/").body, b"old");
    client.send(b"GET /new/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    peer.respond(&peer.next(), b"still new");
    assert_eq!(client.response().body, b"still new");
}

#[test]
fn requests_are_in_the_access_log_which_can_be_rotated() {
    let mut bench = Bench::new(&[]);
    let _messages = bench.answer(|peer, message| peer.respond(message, b""));
    let mut client = bench.client();
    let lines = |name: &str| std::fs::read_to_string(bench.path(name)).unwrap_or_default();
    assert_eq!(client.get("/one").status, 200);
    bench.await_that("a line", || lines("access.log").contains("4:/one,"));
    std::fs::rename(bench.path("access.log"), bench.path("access.old")).unwrap();
    bench.hang_up();
    let lines = |name: &str| std::fs::read_to_string(bench.path(name)).unwrap_or_default();
    bench.await_that("a new file", || bench.path("access.log").exists());
    assert_eq!(client.get("/two").status, 200);
    bench.await_that("another line", || lines("access.log").contains("4:/two,"));
    assert!(!lines("access.old").contains("/two"));
}

#[test]
fn the_control_port_tells_of_connections_and_ends_them() {
    let bench = Bench::new(&[]);
    let messages = bench.answer(|peer, message| peer.respond(message, b"hi"));
    let mut client = bench.client();
    client.get("/");
    let id = messages.recv_timeout(PATIENCE).unwrap().id;
    let control = zmq::Context::new().socket(zmq::REQ).unwrap();
    control.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    control.connect(&format!("ipc://{}/control-port", bench.folder.display())).unwrap();
    let ask = |request: &str| {
        control.send(request, 0).unwrap();
        String::from_utf8(control.recv_bytes(0).unwrap()).unwrap()
    };
    let status = ask("26:6:status,13:4:what,3:net,}]");
    assert!(status.contains("13:bytes_written,") && status.contains(&format!("1:{id}#")), "{status}");
    assert!(id < 10, "it has one digit below");
    let answer = ask(&format!("19:4:kill,9:2:id,1:{id}#}}]"));
    assert_eq!(answer, "40:7:headers,9:6:status,]4:rows,8:5:2:OK,]]}");
    client.assert_end();
}

#[test]
fn clients_come_by_a_unix_socket_too() {
    let bench = Bench::with(|config, folder| {
        config.servers[0].bind_addr = format!("unix:{}/http", folder.display());
    });
    let messages = bench.answer(|peer, message| peer.respond(message, b"hi"));
    let stream = UnixStream::connect(bench.path("http")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = Client::new(stream);
    assert_eq!(client.get("/").body, b"hi");
    assert_eq!(messages.recv().unwrap().header("REMOTE_ADDR"), Some("127.0.0.1"));
    drop(client);
    assert!(messages.recv_timeout(PATIENCE).unwrap().is_disconnect());
}

#[test]
fn bytes_of_a_client_that_left_never_reach_the_next_one() {
    let bench = Bench::new(&[]);
    let secret = vec![b's'; 8 << 20];
    let _messages = bench.answer(move |peer, message| match &*message.path {
        "/secret" => peer.respond(message, &secret),
        "@*" => {}
        _ => peer.respond(message, b"public"),
    });
    for _ in 0..50 {
        let mut leaving = bench.client();
        leaving.send(b"GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n");
        // Something has come, more waits in the server.
        leaving.stream.read_exact(&mut [0; 100]).unwrap();
        drop(leaving);
        assert_eq!(bench.client().get("/public").body, b"public");
    }
}
