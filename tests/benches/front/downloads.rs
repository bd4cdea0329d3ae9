//! A file of 1 GB from the page cache, in turns with nginx.

use super::aim::{Aims, median};
use super::servers::Running;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tests::folder::Folder;

const SIZE: u64 = 1 << 30;
const ROUNDS: usize = 5;

/// One download: megabytes a second, and CPU of the server.
fn download(server: &Running, buffer: &mut [u8]) -> (f64, Duration) {
    let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let (begin, cpu) = (Instant::now(), server.on_cpu());
    client.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut first = [0; 12];
    client.read_exact(&mut first).unwrap();
    assert_eq!(first, *b"HTTP/1.1 200");
    let mut size = 0;
    loop {
        match client.read(buffer).unwrap() {
            0 => break,
            step => size += step as u64,
        }
    }
    assert!(size > SIZE, "the file was cut off");
    (SIZE as f64 / 1e6 / begin.elapsed().as_secs_f64(), server.on_cpu() - cpu)
}

pub(super) fn run(aims: &mut Aims) {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("files")).unwrap();
    let mut file = File::create(folder.path().join("files/large")).unwrap();
    (0..SIZE >> 20).for_each(|_| file.write_all(&[b'x'; 1 << 20]).unwrap());
    drop(file);
    let servers: Vec<Running> = [Some(Running::front(&folder, false)), Running::nginx(&folder, false)]
        .into_iter()
        .flatten()
        .collect();
    let mut buffer = vec![0; 1 << 20];
    let mut speeds = vec![Vec::new(); servers.len()];
    let mut costs = vec![Vec::new(); servers.len()];
    servers.iter().for_each(|server| _ = download(server, &mut buffer));
    for _ in 0..ROUNDS {
        for (at, server) in servers.iter().enumerate() {
            let (speed, cpu) = download(server, &mut buffer);
            speeds[at].push(speed);
            costs[at].push(cpu.as_secs_f64() * 1e3);
        }
    }
    let speeds: Vec<f64> = speeds.into_iter().map(median).collect();
    for ((server, speed), cost) in servers.iter().zip(&speeds).zip(costs) {
        println!("  {}: {speed:.0} MB/s, {:.0} ms of CPU for 1 GB", server.name, median(cost));
    }
    if let [front, nginx] = speeds[..] {
        aims.at_least("1 GB from the page cache, times nginx's MB/s", front / nginx, 0.9);
    }
}
