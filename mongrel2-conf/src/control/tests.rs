//! The client against ports that answer, are dead, are silent, or lie.

use super::fake_port::{answering, await_request, framed, opening, port};
use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Instant;

const TIME: &[u8] = b"49:7:headers,7:4:time,]4:rows,18:14:10:1795290051,]]}";

/// Asks for the time, which must not take 2 s, whatever the port does.
fn ask(address: Address) -> Result<i64, ControlError> {
    let begin = Instant::now();
    let control = Control::new(address);
    let result = control.time();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    result
}

fn complaint(address: Address) -> String {
    ask(address).unwrap_err().to_string()
}

/// Writes until the client has enough.
fn pour(mut client: impl Write, bytes: &[u8]) {
    while client.write_all(bytes).is_ok() {}
}

#[test]
fn a_port_that_answers_is_understood() {
    assert_eq!(ask(answering(framed(TIME))).unwrap(), 1_795_290_051);
}

#[test]
fn an_answer_that_comes_in_pieces_is_understood() {
    let address = port(|mut client| {
        client.set_nodelay(true).unwrap();
        opening("REP").iter().for_each(|byte| client.write_all(&[*byte]).unwrap());
        await_request(&mut client);
        framed(TIME).iter().for_each(|byte| client.write_all(&[*byte]).unwrap());
    });
    assert_eq!(ask(address).unwrap(), 1_795_290_051);
}

#[test]
fn a_large_answer_is_understood() {
    let row = "8:1:7#1:x,]";
    let content = format!("7:headers,9:2:id,1:x,]4:rows,{}:{}]", row.len() * 90_000, row.repeat(90_000));
    let answer = format!("{}:{content}}}", content.len());
    let control = Control::new(answering(framed(answer.as_bytes())));
    assert_eq!(control.ask(&Request::Info).unwrap().rows.len(), 90_000);
}

#[test]
fn a_dead_port_is_told() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = complaint(format!("tcp://{port}").parse().unwrap());
    assert_eq!(text, format!("no control port at `tcp://{port}`: nobody listens there"));
    let text = complaint("ipc:///nowhere/control".parse().unwrap());
    assert_eq!(text, "no control port at `ipc:///nowhere/control`: there is no such socket");
}

#[test]
fn a_socket_file_that_a_dead_server_left_is_told() {
    let path = std::env::temp_dir().join(format!("kennel-control-{}", std::process::id()));
    drop(UnixListener::bind(&path).unwrap());
    let text = complaint(format!("ipc://{}", path.display()).parse().unwrap());
    std::fs::remove_file(&path).unwrap();
    assert!(text.ends_with("nobody listens there"), "{text}");
}

#[test]
fn a_silent_port_is_told() {
    let text = complaint(port(|mut client| drop(client.read_to_end(&mut Vec::new()))));
    assert!(text.ends_with("has not answered within a second"), "{text}");
    let text = complaint(port(|mut client| {
        client.write_all(&opening("REP")).unwrap();
        let _ = client.read_to_end(&mut Vec::new());
    }));
    assert!(text.ends_with("has not answered within a second"), "{text}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = complaint(format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap());
    assert!(text.ends_with("has not answered within a second"), "{text}");
}

/// A Unix socket with a full queue refuses at once to be connected to, rather than to wait.
#[test]
fn a_port_that_accepts_nobody_any_more_is_told() {
    let path = std::env::temp_dir().join(format!("kennel-full-{}", std::process::id()));
    let _listener = UnixListener::bind(&path).unwrap();
    let address: Address = format!("ipc://{}", path.display()).parse().unwrap();
    let mut waiting = Vec::new();
    while let Ok(socket) = connect::connect(&address) {
        waiting.push(socket);
    }
    let text = complaint(address);
    std::fs::remove_file(&path).unwrap();
    assert!(text.ends_with("has not answered within a second"), "{text}");
}

#[test]
fn a_port_that_closes_is_told() {
    let text = complaint(port(drop));
    assert!(text.ends_with("closed the connection without an answer"), "{text}");
    let half = framed(TIME)[..20].to_vec();
    let address = port(move |mut client| {
        client.write_all(&opening("REP")).unwrap();
        await_request(&mut client);
        client.write_all(&half).unwrap();
    });
    assert!(matches!(ask(address), Err(ControlError::Closed { asked: true, .. })));
}

#[test]
fn a_port_of_another_kind_is_told() {
    let http = complaint(port(|mut client| {
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = client.read_to_end(&mut Vec::new());
    }));
    assert!(http.ends_with("is no control port: it does not speak ZeroMQ"), "{http}");
    let publisher = complaint(port(|mut client| {
        client.write_all(&opening("PUB")).unwrap();
        let _ = client.read_to_end(&mut Vec::new());
    }));
    assert!(publisher.ends_with("it is a ZeroMQ socket of type PUB, not REP"), "{publisher}");
}

#[test]
fn a_lying_port_is_told() {
    for (answer, reason) in [
        (framed(b"5:hello,"), "expected a dict"),
        (framed(b"99:x,"), "size says 99 bytes"),
        (framed(b"\xff\xfe"), "digits"),
        (framed(b""), "digits"),
        (b"\0\x05hello".to_vec(), "without the empty part"),
        (vec![0xff; 100], "malformed frame"),
        ([&b"\x01\0\x02"[..], &u64::MAX.to_be_bytes()].concat(), "no control port"),
        ([&b"\x01\0\x02"[..], &(100_u64 << 20).to_be_bytes()].concat(), "more than 8388608 bytes"),
    ] {
        let text = complaint(answering(answer));
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn an_endless_stream_is_cut_off() {
    // By its size: a busy machine may need longer than usual to send that much.
    let ask = |address| Control::new(address).with_patience(Duration::from_secs(20)).time();
    let address = port(|mut client| {
        client.write_all(&opening("REP")).unwrap();
        await_request(&mut client);
        // Commands, which are skipped.
        pour(client, &[4, 5, 4, b'P', b'I', b'N', b'G'].repeat(5000));
    });
    assert!(matches!(ask(address), Err(ControlError::TooLarge { .. })));
    let address = port(|client| pour(client, &[b'x'; 65536]));
    assert!(matches!(ask(address), Err(ControlError::NoControlPort { .. })));
    let address = port(|mut client| {
        client.write_all(&opening("REP")).unwrap();
        await_request(&mut client);
        // An answer of many parts, none of which is its beginning.
        pour(client, &[1, 1, b'x'].repeat(5000));
    });
    assert!(matches!(ask(address), Err(ControlError::Nonsense { .. })));
}

#[test]
fn a_refusal_is_no_nonsense() {
    let refusal = b"61:4:code,16:INVALID_ARGUMENT,5:error,22:Invalid argument type.,}";
    let problem = Control::new(answering(framed(refusal))).kill(7).unwrap_err();
    assert_eq!(problem.to_string(), "mongrel2 refuses: Invalid argument type. (INVALID_ARGUMENT)");
}

#[test]
fn terminate_is_answered_by_the_end() {
    let ends = || {
        port(|mut client| {
            client.write_all(&opening("REP")).unwrap();
            await_request(&mut client);
        })
    };
    Control::new(ends()).terminate().unwrap();
    assert!(Control::new(ends()).stop().is_err());
    assert!(Control::new(port(drop)).terminate().is_err(), "it was not asked");
}
