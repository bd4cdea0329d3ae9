use serde_json::Value;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tests::client::{Client, get};
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::server::{Mongrel2, Setup};
use tests::{binary, process, wait};

/// A server whose control port is there: that comes half a second after its HTTP port.
fn started() -> Mongrel2 {
    let server = Mongrel2::start(Setup::default());
    let control = server.folder().path().join("control");
    wait::until("the control port is there", || UnixStream::connect(&control).is_ok());
    server
}

/// `kennel ctl` in the folder of the server, whose database is the default one.
fn ctl(server: &Mongrel2, arguments: &[&str]) -> Finished {
    command::run(server.folder().path(), [&["ctl"], arguments].concat())
}

fn text(server: &Mongrel2, arguments: &[&str]) -> String {
    let finished = ctl(server, arguments);
    assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
    finished.stdout
}

fn json(server: &Mongrel2, arguments: &[&str]) -> Value {
    let text = text(server, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|problem| panic!("{problem}: {text}"))
}

/// Runs a command that fails, within two seconds; the program's start is part of them.
fn failure(folder: &Path, arguments: &[&str], code: i32) -> String {
    // Its building is not meant.
    binary::kennel();
    let begin = Instant::now();
    let finished = command::run(folder, arguments);
    assert!(begin.elapsed() < Duration::from_secs(2), "{arguments:?} took {:?}", begin.elapsed());
    assert_eq!(finished.code, Some(code), "{arguments:?}: {}", finished.stderr);
    assert!(finished.stderr.starts_with("error: "), "{}", finished.stderr);
    assert!(!finished.stderr.contains("os error"), "{}", finished.stderr);
    finished.stderr
}

#[test]
fn what_a_server_says_of_itself_is_shown_and_is_json() {
    let server = started();
    let info = json(&server, &["info"]);
    assert_eq!(info["uuid"], "site");
    assert_eq!(info["port"].to_string().trim_matches('"'), server.port().to_string());
    let lines = text(&server, &["info"]);
    assert!(lines.lines().any(|line| line.starts_with("uuid ") && line.ends_with(" site")), "{lines}");
    assert_eq!(text(&server, &["uuid"]), "site\n");
    assert_eq!(json(&server, &["uuid"])["uuid"], "site");
    let time: u64 = text(&server, &["time"]).trim().parse().expect("seconds");
    assert!(time > 1_700_000_000, "{time}");
    let help = json(&server, &["help"]);
    assert!(help.as_array().expect("a listing").iter().any(|row| row["name"] == "control_stop"), "{help}");
    assert!(text(&server, &["help"]).starts_with("NAME "));
}

#[test]
fn tasks_and_connections_are_listed() {
    let server = started();
    let tasks = json(&server, &["status", "tasks"]);
    assert!(tasks.as_array().expect("a listing").iter().any(|row| row["name"] == "control"), "{tasks}");
    assert!(text(&server, &["status", "tasks"]).starts_with("ID  SYSTEM  NAME"));
    let before = json(&server, &["status", "net"]).as_array().expect("a listing").len();
    let _client = Client::connect(server.port());
    wait::until("the client is in the list", || {
        json(&server, &["status", "net"]).as_array().expect("a listing").len() > before
    });
    assert!(text(&server, &["status", "net"]).contains("FD"));
}

#[test]
fn a_connection_is_killed_by_its_id() {
    let server = started();
    let mut client = Client::connect(server.port());
    // No handler runs, so it waits.
    client.send(get("/"));
    let id = wait::until_some("the request is in the list", || {
        let rows = json(&server, &["status", "net"]);
        let with_id = |row: &Value| row["id"].as_i64().filter(|id| *id >= 0);
        rows.as_array().expect("a listing").iter().find_map(with_id)
    });
    assert!(text(&server, &["status", "net"]).contains("http"));
    assert_eq!(text(&server, &["kill", &id.to_string()]), "OK\n");
    assert_eq!(client.read_to_end(), b"");
    let problem = failure(server.folder().path(), &["ctl", "kill", "60000"], 1);
    assert!(problem.contains("no connection 60000"), "{problem}");
}

#[test]
fn a_server_reloads_and_stops() {
    let server = started();
    assert_eq!(text(&server, &["reload"]), "signal sent to server\n");
    assert_eq!(text(&server, &["uuid"]), "site\n", "it serves on");
    assert_eq!(text(&server, &["stop"]), "signal sent to server\n");
    wait::until("it ends", || !process::is_alive(server.process()));
    let problem = failure(server.folder().path(), &["ctl", "uuid"], 3);
    assert!(problem.contains("does not run"), "{problem}");
}

#[test]
fn a_server_is_terminated() {
    let server = started();
    let finished = ctl(&server, &["terminate"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    wait::until("it ends", || !process::is_alive(server.process()));
}

#[test]
fn the_control_port_closes_for_good() {
    for name in ["control-stop", "control_stop"] {
        let server = started();
        assert_eq!(text(&server, &[name]), "stopping the control port\n");
        let problem = failure(server.folder().path(), &["ctl", "uuid"], 3);
        assert!(problem.contains(&format!("runs as process {}", server.process())), "{problem}");
        assert!(process::is_alive(server.process()));
    }
}

#[test]
fn a_port_is_asked_by_its_address_too() {
    let server = started();
    let address = format!("ipc://{}/control", server.folder().path().display());
    let elsewhere = Folder::new();
    let finished = command::run(elsewhere.path(), ["ctl", "uuid", "--address", &address]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "site\n"), "{}", finished.stderr);
    let both = command::run(elsewhere.path(), ["ctl", "uuid", "--address", &address, "--name", "site"]);
    assert_eq!(both.code, Some(2));
    let problem = failure(elsewhere.path(), &["ctl", "uuid", "--address", "somewhere"], 2);
    assert!(problem.contains("tcp://HOST:PORT"), "{problem}");
}

#[test]
fn every_server_of_a_database_is_asked() {
    let server = started();
    let list = json(&server, &["uuid", "--every"]);
    assert_eq!(list[0]["answer"]["uuid"], "site");
    assert_eq!(text(&server, &["uuid", "--every"]), "site:\nsite\n");
}

#[test]
fn a_dead_or_silent_or_lying_port_is_an_error_within_two_seconds() {
    let folder = Folder::new();
    let ask = |address: &str| failure(folder.path(), &["ctl", "status", "net", "--address", address], 3);
    assert!(ask("ipc://nowhere").contains("no such socket"));

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("tcp://{}", listener.local_addr().expect("its address"));
    assert!(ask(&address).contains("has not answered within a second"), "a queue that nobody serves");

    let lies: [&[u8]; 3] = [b"HTTP/1.1 200 OK\r\n\r\n", b"", &[0xff; 4096]];
    thread::spawn(move || {
        let lies = std::iter::once(&lies[0]).chain(&lies);
        for (client, lie) in listener.incoming().zip(lies) {
            let mut client = client.expect("a client");
            let _ = std::io::Write::write_all(&mut client, lie);
            // The first is the one that nobody served.
            let _ = client.shutdown(std::net::Shutdown::Write);
            let _ = client.read_to_end(&mut Vec::new());
        }
    });
    for expected in ["does not speak ZeroMQ", "without an answer", "is no control port"] {
        let problem = ask(&address);
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn a_wrong_database_or_server_is_told() {
    let folder = Folder::new();
    let problem = failure(folder.path(), &["ctl", "time"], 2);
    assert!(problem.contains("no database `config.sqlite`"), "{problem}");
    folder.write("notes.txt", "these are no tables, and there are more than a hundred bytes of them");
    let problem = failure(folder.path(), &["ctl", "time", "--db", "notes.txt"], 2);
    assert!(problem.contains("`notes.txt` is not a database"), "{problem}");
    let server = Mongrel2::prepare(Setup::default());
    let problem = failure(server.folder().path(), &["ctl", "time", "--name", "sit"], 2);
    assert!(problem.contains("no server with name `sit`") && problem.contains("name `site`"), "{problem}");
}

#[test]
fn kennel_needs_no_m2sh() {
    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("sources").filter_map(Result::ok) {
            match entry.path() {
                path if path.is_dir() => sources(&path, found),
                path => found.push(std::fs::read_to_string(path).unwrap_or_default()),
            }
        }
    }
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../kennel/src"), &mut found);
    assert!(found.len() > 20);
    for source in &found {
        assert!(!source.contains("\"m2sh") && !source.contains("/m2sh"), "it would be started");
    }
}
