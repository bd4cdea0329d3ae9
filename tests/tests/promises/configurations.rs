use mongrel2_conf::model::{Config, Host, Server, Target};
use mongrel2_conf::routing::{Reached, Router, host_for};
use mongrel2_conf::store;
use rusqlite::Connection;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use tests::client::Client;
use tests::command;
use tests::folder::Folder;
use tests::port::Port;
use tests::server::{Front, Mongrel2, needs_mongrel2};
use tests::wait;

/// Where Debian puts the configurations that come with Mongrel2.
const SHIPPED: &str = "/usr/share/doc/mongrel2-core/examples";

/// Ours and those that come with Mongrel2.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../mongrel2-conf/tests/valid"), &mut found);
    assert!(found.len() >= 20, "the valid files are missing");
    match Path::new(SHIPPED).is_dir() {
        true => collect(Path::new(SHIPPED), &mut found),
        false => eprintln!("the examples of mongrel2-core are not tried: there is no {SHIPPED}"),
    }
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "conf") {
            found.push(path);
        }
    }
}

#[test]
fn a_real_mongrel2_starts_on_every_valid_file_and_each_route_leads_where_it_says() {
    if !needs_mongrel2() {
        return;
    }
    let files = Mutex::new(files());
    let backend = backend();
    let (servers, routes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Mongrel2 accepts nobody in its first half second, which is most of what this takes.
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let Some(file) = files.lock().expect("no panic").pop() else { return };
                    let _about = About(&file);
                    for number in 0..servers_of(&file) {
                        let asked = serve(&file, number, backend);
                        assert!(asked > 0, "no route of server {number} of {} can be asked", file.display());
                        servers.fetch_add(1, Ordering::Relaxed);
                        routes.fetch_add(asked, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (servers, routes) = (servers.into_inner(), routes.into_inner());
    assert!(servers >= 30 && routes >= 60, "{servers} servers, {routes} routes");
}

/// Says which file a failure is about.
struct About<'a>(&'a Path);

impl Drop for About<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("that was about {}", self.0.display());
        }
    }
}

fn load(file: &Path) -> (Folder, Config) {
    let folder = Folder::new();
    let finished = command::run(folder.path(), [Path::new("conf"), Path::new("load"), file]);
    assert_eq!(finished.code, Some(0), "{}: {}", file.display(), finished.stderr);
    let config = store::read(&folder.path().join("config.sqlite")).expect("a database").config;
    (folder, config)
}

fn servers_of(file: &Path) -> usize {
    load(file).1.servers.len()
}

/// Starts one server of a file and asks for all that can be asked for; says how much that was.
fn serve(file: &Path, number: usize, backend: u16) -> usize {
    let (folder, config) = load(file);
    let (port, uuid) = (Port::free(), config.servers[number].uuid.clone());
    let database = folder.path().join("config.sqlite");
    let db = Connection::open(&database).expect("a database");
    db.execute_batch(&format!(
        // What this machine has only once, or in another place. Nothing may be written outside of the folder.
        "UPDATE server SET chroot = './', bind_addr = '127.0.0.1', port = {};
        UPDATE handler SET send_spec = replace(send_spec, 'tcp://127.0.0.1:', 'ipc://run/'),
            recv_spec = replace(recv_spec, 'tcp://127.0.0.1:', 'ipc://run/');
        UPDATE proxy SET addr = '127.0.0.1', port = {backend};
        UPDATE filter SET name = replace(name, '/usr/local/', '/usr/');
        -- Debian's only module for them cannot be loaded: it lacks a symbol.
        DELETE FROM xrequest;
        UPDATE setting SET value = 'certs/' WHERE key = 'certdir';
        DELETE FROM setting WHERE key = 'server.daemonize';
        INSERT INTO setting (key, value) VALUES ('server.daemonize', '0');",
        port.number()
    ))
    .expect("an edit");
    drop(db);
    let server = store::read(&database).expect("a database").config.servers.swap_remove(number);
    furnish(folder.path(), &server);
    let handlers = Handlers::of(folder.path(), &server);
    let number = port.number();
    let mut mongrel2 = Mongrel2::on_database(folder, port, &uuid, Vec::new()).by(Front::Mongrel2);
    mongrel2.start_again();
    handlers.until_ready();

    let mut asked = 0;
    for (host_number, host) in server.hosts.iter().enumerate() {
        let end = host.matching.rsplit(')').next().unwrap_or_default();
        let name = if end == host.matching { end.to_owned() } else { format!("www{end}") };
        if host_for(&server, name.as_bytes()) != Some(host_number) {
            eprintln!("{}: `{name}` does not lead to {}", file.display(), host.matching);
            continue;
        }
        for (route_number, route) in host.routes.iter().enumerate() {
            let Some(path) = path_to(host, route_number) else { continue };
            let expected = match &*route.target {
                Target::Handler(handler) => handler.send_ident.clone(),
                Target::Dir(dir) => dir.base.clone(),
                // The Filter that comes with Mongrel2 makes it end requests for a Proxy without a word.
                Target::Proxy(_) if !server.filters.is_empty() => continue,
                Target::Proxy(_) => "backend".to_owned(),
            };
            let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n");
            let (status, body) = ask(number, server.use_ssl, &request);
            assert_eq!((status, body), (200, expected), "{}: {request}", file.display());
            asked += 1;
        }
    }
    asked
}

/// Folders for logs and sockets, a file for each Dir, a certificate.
fn furnish(folder: &Path, server: &Server) {
    let below = |name: &str| folder.join(name.trim_start_matches('/'));
    for file in ["run/x", &server.access_log, &server.error_log, &server.pid_file] {
        fs::create_dir_all(below(file).parent().expect("a folder")).expect("a folder");
    }
    for host in &server.hosts {
        for (number, route) in host.routes.iter().enumerate() {
            let Target::Dir(dir) = &*route.target else { continue };
            let path = path_to(host, number);
            let rest = path.as_deref().map_or("", |path| &path[route.prefix().len()..]);
            let name = if rest.is_empty() { &dir.index_file } else { rest };
            let file = below(&dir.base).join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, &dir.base).expect("a file");
        }
    }
    if server.use_ssl {
        fs::create_dir_all(below("certs")).expect("a folder");
        let file = |end: &str| below("certs").join(format!("{}.{end}", server.uuid));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout"])
            .args([file("key").as_path(), Path::new("-out"), &file("crt")])
            .output()
            .expect("this test needs openssl");
        assert!(made.status.success(), "{made:?}");
    }
}

/// A path that leads to a route of a host and to no other, if one of some obvious ones does.
fn path_to(host: &Host, route: usize) -> Option<String> {
    let prefix = host.routes[route].prefix();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.'".contains(c);
    if !prefix.starts_with('/') || !prefix.chars().all(plain) {
        return None;
    }
    let router = Router::new(host);
    // A Dir has an index only where the path ends with a slash.
    let first = if prefix.ends_with('/') { "" } else { "a.json" };
    let paths = [first, "a.json", "a.js", "12", "aabcd", "(x)x", "X", ""].map(|end| format!("{prefix}{end}"));
    let leads_there =
        |path: &String| router.reach(path.as_bytes()) == Reached::Route { route, partial: false };
    paths.into_iter().find(leads_there)
}

/// Status and body of one request on a connection of its own.
fn ask(port: u16, tls: bool, request: &str) -> (u16, String) {
    if !tls {
        let mut client = Client::connect(port);
        client.send(request);
        let response = client.read();
        return (response.status, response.text());
    }
    const SCRIPT: &str = "import socket, ssl, sys
context = ssl._create_unverified_context()
tls = context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1])), 20))
tls.sendall(sys.argv[2].encode())
while data := tls.recv(65536): sys.stdout.write(data.decode())";
    let request = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let output = Command::new("python3").args(["-c", SCRIPT, &port.to_string(), &request]).output();
    let output = output.expect("this test needs python3");
    let text = String::from_utf8_lossy(&output.stdout);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
    (status.unwrap_or_else(|| panic!("{output:?}")), body.to_owned())
}

/// What Proxies lead to: an HTTP server that says `backend`. It lives as long as the process.
fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nbackend");
        }
    });
    port
}

/// The programs behind a server's Handlers: each answers with its send_ident. They end when dropped.
struct Handlers {
    stop: std::sync::Arc<AtomicBool>,
    ready: std::sync::Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Handlers {
    fn of(folder: &Path, server: &Server) -> Self {
        let mut handlers = Self { stop: Default::default(), ready: Default::default(), threads: Vec::new() };
        let mut known = Vec::new();
        let routes = server.hosts.iter().flat_map(|host| &host.routes);
        for route in routes {
            let Target::Handler(handler) = &*route.target else { continue };
            if known.contains(&&handler.send_spec) {
                continue;
            }
            known.push(&handler.send_spec);
            let here = |spec: &str| match spec.strip_prefix("ipc://") {
                Some(path) => format!("ipc://{}", folder.join(path).display()),
                None => spec.to_owned(),
            };
            let (send, recv) = (here(&handler.send_spec), here(&handler.recv_spec));
            let (stop, ready) = (handlers.stop.clone(), handlers.ready.clone());
            handlers.threads.push(thread::spawn(move || answer(&send, &recv, &stop, &ready)));
        }
        handlers
    }

    /// Mongrel2 has subscribed to all of them.
    fn until_ready(&self) {
        wait::until("the handlers hear Mongrel2", || {
            self.ready.load(Ordering::Relaxed) == self.threads.len()
        });
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn answer(send_spec: &str, recv_spec: &str, stop: &AtomicBool, ready: &AtomicUsize) {
    let context = zmq::Context::new();
    let socket = |kind, address| {
        let socket = context.socket(kind).expect("a socket");
        socket.set_linger(0).expect("an option that sockets have");
        socket.set_rcvtimeo(20).expect("an option that sockets have");
        socket.connect(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        socket
    };
    let (replies, requests) = (socket(zmq::XPUB, recv_spec), socket(zmq::PULL, send_spec));
    while !stop.load(Ordering::Relaxed) {
        if replies.recv_bytes(zmq::DONTWAIT).is_ok() {
            ready.fetch_add(1, Ordering::Relaxed);
        }
        let Ok(request) = requests.recv_bytes(0) else { continue };
        let request = String::from_utf8_lossy(&request);
        let (mut words, end) = (request.split(' '), "HTTP/1.1 200 OK\r\nContent-Length:");
        let (Some(ident), Some(id)) = (words.next(), words.next()) else { continue };
        let reply = format!("{ident} {}:{id}, {end} {}\r\n\r\n{ident}", id.len(), ident.len());
        let _ = replies.send(&reply, 0);
    }
}
