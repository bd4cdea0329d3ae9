//! Answers as Mongrel2 1.12.2 gives them, and what Kennel's own client makes of them.

use super::*;
use mongrel2_conf::control::{ConnectionKind, Control, ControlError, Refusal};
use mongrel2_conf::model::Server;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const NOW: i64 = 1_796_075_322;

struct Site {
    server: Server,
    connections: Vec<ConnectionRow>,
}

impl Running for Site {
    fn server(&self) -> &Server {
        &self.server
    }

    fn connections(&self) -> Vec<ConnectionRow> {
        self.connections.clone()
    }

    fn kill(&mut self, id: u32) -> bool {
        let before = self.connections.len();
        self.connections.retain(|row| row.id != i64::from(id));
        self.connections.len() < before
    }
}

fn site() -> Site {
    let server = Server {
        uuid: "site".into(),
        access_log: "logs/access.log".into(),
        error_log: "logs/error.log".into(),
        pid_file: "run/mongrel2.pid".into(),
        port: 17799,
        ..Server::default()
    };
    let row = |id, fd, kind, bytes_read| ConnectionRow {
        id,
        fd,
        kind,
        last_ping: 0,
        last_read: 0,
        last_write: 0,
        bytes_read,
        bytes_written: 0,
    };
    Site { server, connections: vec![row(58, 21, 1, 29), row(-1, 22, 0, 0)] }
}

fn asked(request: &str) -> (String, Option<Order>) {
    let (reply, order) = answer(request.as_bytes(), &mut site(), NOW);
    (String::from_utf8(reply).unwrap(), order)
}

#[test]
fn tables_are_those_of_mongrel2() {
    for (request, reply) in [
        ("10:4:time,0:}]", "49:7:headers,7:4:time,]4:rows,18:14:10:1796075322,]]}"),
        ("10:4:uuid,0:}]", "41:7:headers,7:4:uuid,]4:rows,10:7:4:site,]]}"),
        (
            "10:4:info,0:}]",
            "221:7:headers,92:4:port,9:bind_addr,4:uuid,6:chroot,10:access_log,9:error_log,8:pid_file,\
             16:default_hostname,]4:rows,103:99:5:17799#9:127.0.0.1,4:site,0:,15:logs/access.log,\
             14:logs/error.log,16:run/mongrel2.pid,9:localhost,]]}",
        ),
        (
            "26:6:status,13:4:what,3:net,}]",
            "188:7:headers,86:2:id,2:fd,4:type,9:last_ping,9:last_read,10:last_write,10:bytes_read,\
             13:bytes_written,]4:rows,77:35:2:58#2:21#1:1#1:0#1:0#1:0#2:29#1:0#]\
             34:2:-1#2:22#1:0#1:0#1:0#1:0#1:0#1:0#]]}",
        ),
        (
            "28:6:status,15:4:what,5:tasks,}]",
            "167:7:headers,38:2:id,6:system,4:name,5:state,6:status,]4:rows,103:\
             47:1:1#4:true!6:server,16:one loop for all,4:runs,]\
             48:1:2#4:true!7:control,16:one loop for all,4:runs,]]}",
        ),
        ("21:4:kill,10:2:id,2:58#}]", "40:7:headers,9:6:status,]4:rows,8:5:2:OK,]]}"),
        (
            "10:4:help,0:}]",
            "416:7:headers,14:4:name,4:help,]4:rows,376:35:4:stop,24:stop the server (SIGINT),]\
             30:6:reload,17:reload the server,]23:4:help,12:this command,]\
             37:12:control_stop,17:stop control port,]28:4:kill,17:kill a connection,]\
             41:6:status,28:status, what=['net'|'tasks'],]\
             46:9:terminate,30:terminate the server (SIGTERM),]28:4:time,17:the server's time,]\
             28:4:uuid,17:the server's uuid,]40:4:info,29:information about this server,]]}",
        ),
    ] {
        assert_eq!(asked(request), (reply.to_owned(), None), "{request}");
    }
}

#[test]
fn orders_are_answered_and_handed_over() {
    let signalled = "59:7:headers,6:3:msg,]4:rows,29:25:21:signal sent to server,]]}";
    assert_eq!(asked("12:6:reload,0:}]"), (signalled.into(), Some(Order::Reload)));
    assert_eq!(asked("10:4:stop,0:}]"), (signalled.into(), Some(Order::Stop)));
    assert_eq!(asked("15:9:terminate,0:}]"), (signalled.into(), Some(Order::Terminate)));
    let stopping = "63:7:headers,6:3:msg,]4:rows,33:29:25:stopping the control port,]]}";
    assert_eq!(asked("19:12:control_stop,0:}]"), (stopping.into(), Some(Order::CloseControlPort)));
}

#[test]
fn refusals_are_those_of_mongrel2() {
    let data = "97:4:code,12:INVALID_DATA,5:error,62:Invalid data, expecting a list with a string and a hash in it.,}";
    let list = "101:4:code,15:INVALID_REQUEST,5:error,63:Invalid request format, must be a list with two elements in it.,}";
    let argument = "61:4:code,16:INVALID_ARGUMENT,5:error,22:Invalid argument type.,}";
    let unknown = "74:4:code,18:CALLBACK_NOT_FOUND,5:error,33:Callback requested was not found.,}";
    for (request, reply) in [
        ("24:6:status,11:4:what,1:x,}]", "51:5:error,39:Expected argument what=['net'|'tasks'].,}"),
        ("12:6:status,0:}]", argument),
        ("24:6:status,11:4:what,1:1#}]", argument),
        ("21:4:kill,10:2:id,2:77#}]", argument),
        ("21:4:kill,10:2:id,2:-1#}]", argument),
        ("30:4:kill,19:2:id,10:4294967354#}]", argument),
        ("19:4:kill,9:2:id,1:1,}]", argument),
        ("10:4:kill,0:}]", argument),
        ("22:4:kill,11:2:id,3:1.0^}]", data),
        ("10:4:nope,0:}]", unknown),
        ("13:7:version,0:}]", unknown),
        ("7:4:time,]", data),
        ("10:0:}4:time,]", data),
        ("0:]", data),
        ("10:4:time,0:]]", data),
        ("0:~", data),
        ("junk", data),
        ("", data),
        ("\0", data),
        ("5:abc,", data),
        ("1:5#", list),
        ("1:x,", list),
        ("0:}", list),
    ] {
        assert_eq!(asked(request), (reply.to_owned(), None), "{request:?}");
    }
}

#[test]
fn what_follows_a_request_means_nothing() {
    let time = asked("10:4:time,0:}]");
    for request in ["10:4:time,0:}]\0", "10:4:time,0:}]junk", "14:4:time,0:}1:1#]"] {
        assert_eq!(asked(request), time, "{request:?}");
    }
}

/// A REP on a port of its own, which answers `count` requests for a site, each on a connection of its own.
fn port(count: usize) -> Control {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut site = site();
        for _ in 0..count {
            serve(listener.accept().unwrap().0, &mut site);
        }
    });
    Control::new(address.parse().unwrap())
}

fn serve(mut client: TcpStream, site: &mut Site) {
    let mut opening = vec![0; 64];
    (opening[0], opening[9], opening[10], opening[11]) = (0xff, 0x7f, 3, 1);
    opening[12..16].copy_from_slice(b"NULL");
    opening.extend_from_slice(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03REP");
    client.write_all(&opening).unwrap();
    // Greeting, and READY of a REQ.
    client.read_exact(&mut [0; 64 + 2 + 6 + 12 + 4 + 3]).unwrap();
    let mut head = [0; 4];
    client.read_exact(&mut head).unwrap();
    assert_eq!(head[..3], [1, 0, 0], "an empty part, then a short frame");
    let mut request = vec![0; head[3].into()];
    client.read_exact(&mut request).unwrap();
    let (reply, _) = answer(&request, site, NOW);
    let mut framed = vec![1, 0, 2];
    framed.extend_from_slice(&(reply.len() as u64).to_be_bytes());
    framed.extend_from_slice(&reply);
    client.write_all(&framed).unwrap();
}

#[test]
fn our_own_client_reads_every_answer() {
    let control = port(13);
    assert_eq!(control.help().unwrap().len(), 10);
    let info = control.info().unwrap();
    assert_eq!((info.port, info.uuid.as_str(), info.default_hostname.as_str()), (17799, "site", "localhost"));
    assert_eq!(control.uuid().unwrap(), "site");
    assert_eq!(control.time().unwrap(), NOW);
    let rows = control.status_net().unwrap();
    assert_eq!((rows[0].id, rows[0].kind, rows[0].bytes_read), (Some(58), ConnectionKind::Http, 29));
    assert_eq!((rows[1].id, rows[1].kind), (None, ConnectionKind::New));
    let tasks = control.status_tasks().unwrap();
    assert_eq!(tasks.iter().map(|task| &*task.name).collect::<Vec<_>>(), ["server", "control"]);
    control.kill(58).unwrap();
    let again = control.kill(58).unwrap_err();
    assert!(
        matches!(again, ControlError::Refused { refusal: Some(Refusal::InvalidArgument), .. }),
        "{again}"
    );
    assert_eq!(control.status_net().unwrap().len(), 1);
    control.reload().unwrap();
    control.stop().unwrap();
    control.terminate().unwrap();
    control.control_stop().unwrap();
}
