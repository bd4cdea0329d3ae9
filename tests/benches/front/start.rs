//! From the start of `kennel front` to its first response.

use super::aim::{Aims, median};
use super::servers::Running;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;
use tests::folder::Folder;

const STARTS: usize = 11;

pub(super) fn run(aims: &mut Aims) {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("files")).unwrap();
    folder.write("files/page", "0123456789");
    let times = (0..STARTS).map(|_| {
        let begin = Instant::now();
        let server = Running::front(&folder, false);
        let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        client.write_all(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut first = [0; 12];
        client.read_exact(&mut first).unwrap();
        assert_eq!(first, *b"HTTP/1.1 200");
        begin.elapsed().as_secs_f64() * 1e3
    });
    // Writing the database is part of it, so it is a little less.
    aims.at_most("ms from the start to the first response", median(times.collect()), 100.0);
}
