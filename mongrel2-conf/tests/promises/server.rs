use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use mongrel2_conf::model::{Config, Host, Route, Server};
use mongrel2_conf::{mimetypes, store};

const DEADLINE: Duration = Duration::from_secs(10);

/// An empty folder, gone with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("mongrel2-conf-{}-{count}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether a test that needs a real Mongrel2 can run. If not, it returns at once, and `scripts/run-tests` prints its name;
/// the crate `tests` has the same for its tests.
pub(crate) fn needs_mongrel2() -> bool {
    let is_hidden = env::var_os("KENNEL_NO_MONGREL2").is_some_and(|value| !value.is_empty());
    let path = env::var_os("PATH").unwrap_or_default();
    let is_installed = !is_hidden && env::split_paths(&path).any(|folder| folder.join("mongrel2").is_file());
    if !is_installed {
        // libtest gives a test's name to its thread.
        let thread = thread::current();
        let name = thread.name().unwrap_or("a test");
        println!("skipped, since there is no mongrel2: {name}");
        if let Some(file) = env::var_os("KENNEL_TEST_SKIPPED") {
            let mut file = fs::File::options().append(true).create(true).open(file).unwrap();
            file.write_all(format!("{name}\n").as_bytes()).unwrap();
        }
    }
    is_installed
}

/// A Mongrel2 in a folder of its own, killed with the value.
pub(crate) struct Mongrel2 {
    child: Child,
    port: u16,
}

impl Mongrel2 {
    pub(crate) fn start(folder: &Folder, routes: &[Route]) -> Self {
        fs::create_dir_all(folder.path().join("run")).unwrap();
        fs::create_dir_all(folder.path().join("logs")).unwrap();
        // Between our asking for a free port and Mongrel2's binding it, somebody may take it.
        for _ in 0..5 {
            if let Some(server) = Self::try_start(folder, routes) {
                return server;
            }
        }
        panic!("mongrel2 does not start: {}", printed(folder));
    }

    fn try_start(folder: &Folder, routes: &[Route]) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Server {
            uuid: "main".into(),
            port,
            hosts: vec![Host::new("localhost", routes.to_vec())],
            ..Server::default()
        };
        let config = Config {
            servers: vec![server],
            settings: vec![("server.daemonize".into(), "0".into())],
            mimetypes: mimetypes::defaults(),
        };
        store::write(&config, &folder.path().join("config.sqlite")).unwrap();
        let output = fs::File::create(folder.path().join("printed")).unwrap();
        let child = Command::new("mongrel2")
            .args(["config.sqlite", "main"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|err| {
                panic!("this test needs `mongrel2` in the PATH (Debian: mongrel2-core): {err}")
            });
        let mut server = Self { child, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if server.child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(start.elapsed() < DEADLINE, "mongrel2 does not listen: {}", printed(folder));
            thread::sleep(Duration::from_millis(2));
        }
        Some(server)
    }

    /// One request on a connection of its own: status and body.
    pub(crate) fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask_with(method, path, "");
        (status, body)
    }

    /// As [`Self::ask`], with more header lines; gives status, header and body.
    pub(crate) fn ask_with(&self, method: &str, path: &str, lines: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let header = loop {
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8(answer.drain(..end + 4).collect()).unwrap();
            }
            more(&mut stream, &mut answer, path);
        };
        let length = header.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = if method == "HEAD" { 0 } else { length.unwrap().parse().unwrap() };
        while answer.len() < length {
            more(&mut stream, &mut answer, path);
        }
        let status = header.split(' ').nth(1).unwrap().parse().unwrap();
        (status, header, String::from_utf8(answer).unwrap())
    }
}

impl Drop for Mongrel2 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn more(stream: &mut TcpStream, answer: &mut Vec<u8>, path: &str) {
    let mut piece = [0; 4096];
    let size = stream.read(&mut piece).unwrap_or_else(|err| panic!("no answer to {path}: {err}"));
    assert_ne!(size, 0, "mongrel2 closed the connection that asked for {path}");
    answer.extend_from_slice(&piece[..size]);
}

fn printed(folder: &Folder) -> String {
    fs::read_to_string(folder.path().join("printed")).unwrap_or_default()
}
