//! Connections that idle: what each takes in user space, and how long a request beside them takes.

use super::aim::Aims;
use super::servers::Running;
use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, connect, socket};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};
use tests::folder::Folder;
use tests::process;

const MOST: u64 = 100_000;
/// Descriptors for all else.
const RESERVE: u64 = 500;
/// From one address the system has ports for so many.
const PER_ADDRESS: usize = 10_000;
const REQUESTS: usize = 2_000;
/// So many connections are there before memory is measured first.
const WARM: usize = 100;

pub(super) fn run(aims: &mut Aims) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let count = limit.maximum.unwrap_or(MOST).min(MOST).saturating_sub(RESERVE) as usize;
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("files")).unwrap();
    folder.write("files/page", "0123456789");
    let server = Running::front(&folder, false);
    let mut clients: Vec<TcpStream> = (0..WARM).map(|number| open(&server, number)).collect();
    let before = process::own_memory(server.pid());
    clients.extend((WARM..count).map(|number| open(&server, number)));
    let each = (process::own_memory(server.pid()) - before) as f64 / (count - WARM) as f64;
    println!("  {count} connections, each of which has had a response");
    aims.at_most("bytes of user space for a connection that idles", each, 1536.0);
    let mut times: Vec<Duration> = (0..REQUESTS).map(|_| ask(&mut clients[0])).collect();
    times.sort_unstable();
    let p99 = times[REQUESTS * 99 / 100].as_secs_f64() * 1e3;
    aims.at_most("ms for a request beside them, the 99th percentile", p99, 20.0);
    aims.at_least("connections", count as f64, 15_000.0);
}

/// A connection that is kept alive, from one of several addresses of this machine.
fn open(server: &Running, number: usize) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let address = Ipv4Addr::new(127, 0, 0, 1 + (number / PER_ADDRESS) as u8);
    bind(&socket, &SocketAddrV4::new(address, 0)).unwrap();
    connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, server.port())).unwrap();
    let mut client = TcpStream::from(socket);
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    ask(&mut client);
    client
}

fn ask(client: &mut TcpStream) -> Duration {
    let begin = Instant::now();
    client.write_all(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n0123456789") {
        let mut chunk = [0; 4096];
        let size = client.read(&mut chunk).unwrap();
        assert!(size > 0, "a connection was closed");
        answer.extend_from_slice(&chunk[..size]);
    }
    begin.elapsed()
}
