//! A control port in the hands of a test: a socket, and a thread that says whatever it is told to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use mongrel2_wire::address::Address;

/// The greeting and READY of a socket of this type, as libzmq sends them.
pub(super) fn opening(socket_type: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    (bytes[0], bytes[9], bytes[10], bytes[11]) = (0xff, 0x7f, 3, 1);
    bytes[12..16].copy_from_slice(b"NULL");
    let mut ready = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
    ready.push(socket_type.len() as u8);
    ready.extend_from_slice(socket_type.as_bytes());
    ready.extend_from_slice(b"\x08Identity\0\0\0\0");
    bytes.extend_from_slice(&[4, ready.len() as u8]);
    bytes.extend_from_slice(&ready);
    bytes
}

/// An answer as a REP frames it.
pub(super) fn framed(answer: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    match u8::try_from(answer.len()) {
        Ok(size) => bytes.extend_from_slice(&[0, size]),
        Err(_) => {
            bytes.push(2);
            bytes.extend_from_slice(&(answer.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(answer);
    bytes
}

/// Listens, and hands the first client to `play`, in a thread that ends with it.
pub(super) fn port(play: impl FnOnce(TcpStream) + Send + 'static) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || play(listener.accept().unwrap().0));
    format!("tcp://127.0.0.1:{port}").parse().unwrap()
}

/// A REP that sends these bytes when it has been asked, and returns the request by `heard`.
pub(super) fn answering(answer: Vec<u8>) -> Address {
    port(move |mut client| {
        client.write_all(&opening("REP")).unwrap();
        await_request(&mut client);
        client.write_all(&answer).unwrap();
        let _ = client.read(&mut [0]);
    })
}

/// Reads the client's opening, then its request.
pub(super) fn await_request(client: &mut TcpStream) -> Vec<u8> {
    // Greeting, READY of a REQ.
    let mut start = [0; 64 + 2 + 6 + 12 + 4 + 3];
    client.read_exact(&mut start).unwrap();
    assert!(start.ends_with(b"REQ"));
    let mut head = [0; 4];
    client.read_exact(&mut head).unwrap();
    assert_eq!(head[..3], [1, 0, 0], "an empty part, then a short frame");
    let mut request = vec![0; head[3].into()];
    client.read_exact(&mut request).unwrap();
    request
}
