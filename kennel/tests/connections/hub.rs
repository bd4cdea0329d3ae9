//! A worker process of either language, and the hub that the test plays.

use handler_core::worker::process::{WorkerCommand, WorkerProcess};
use handler_core::worker::protocol::{
    Action, Handler, Open, Order, Params, Registration, Start, encode_close, encode_detach, encode_job,
    encode_message, encode_open, encode_start, encode_stop, split_batch, split_frame,
};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

/// The message that opens every connection.
const OPENING: &[u8] = b"m2 7 / 21:6:METHOD,3:GET,4:PATH,1:/,}0:,";

/// How long the worker may say nothing that it should.
const PATIENCE: Duration = Duration::from_secs(20);

/// A worker that has loaded its app.
pub(crate) struct Hub {
    worker: WorkerProcess,
    inbox: Vec<u8>,
    /// Actions that were read and not looked at.
    actions: VecDeque<String>,
    registration: Option<Registration>,
    /// What the numbers of the case that is played count from.
    serial: u64,
    conn: u64,
    /// The last that were used.
    last_serial: u64,
    last_conn: u64,
}

impl Hub {
    /// Starts a worker.
    pub(crate) fn start(command: &WorkerCommand, source: &Path) -> Self {
        let worker = command.spawn().expect("the worker starts");
        worker.socket.set_nonblocking(false).unwrap();
        worker.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut hub = Self {
            worker,
            inbox: Vec::new(),
            actions: VecDeque::new(),
            registration: None,
            serial: 0,
            conn: 0,
            last_serial: 0,
            last_conn: 0,
        };
        let source = source.to_string_lossy().into_owned();
        let start = Start { number: 1, source, mount: "/".into(), load_time: 60.0, ..Start::default() };
        let mut out = Vec::new();
        encode_start(&mut out, &start);
        hub.worker.socket.write_all(&out).unwrap();
        while hub.registration.is_none() {
            assert!(hub.read(), "the worker ended while it loaded");
        }
        hub
    }

    /// From here on, serials and connections count from 1 again.
    pub(crate) fn begin_case(&mut self) {
        (self.serial, self.conn) = (self.last_serial, self.last_conn);
    }

    /// Takes back what has a serial up to this one.
    pub(crate) fn revoke(&self, serial: u64) {
        self.worker.page.revoke(self.serial + serial);
    }

    /// Writes orders.
    pub(crate) fn order(&mut self, orders: &[Vec<&str>]) {
        let mut out = Vec::new();
        for order in orders {
            self.encode(order, &mut out);
        }
        self.worker.socket.write_all(&out).unwrap();
    }

    fn encode(&mut self, order: &[&str], out: &mut Vec<u8>) {
        let conn = self.conn + order[1].parse::<u64>().expect("the number of a connection");
        self.last_conn = self.last_conn.max(conn);
        if order[0] == "detach" {
            return encode_detach(out, conn);
        }
        self.last_serial += 1;
        let serial = self.last_serial;
        match order {
            ["open", _, how, channel] => self.encode_open(out, serial, conn, *how == "fresh", channel),
            ["message", _, text @ ..] => encode_message(out, serial, conn, false, text.join(" ").as_bytes()),
            ["close", _, code, reason @ ..] => {
                encode_close(out, serial, conn, code.parse().unwrap(), reason.join(" ").as_bytes());
            }
            other => panic!("no order: {other:?}"),
        }
    }

    fn encode_open(&self, out: &mut Vec<u8>, serial: u64, conn: u64, fresh: bool, channel: &str) {
        let channels = &self.registration.as_ref().unwrap().channels;
        let channel = channels.iter().find(|known| known.path == channel);
        let mut job = Vec::new();
        encode_job(&mut job, 1, Handler::Raw, "", [].into_iter(), b"", b"");
        let (kind, payload, _) = split_frame(&job).unwrap();
        let Ok(Order::Job { params: none, .. }) = Order::read(kind, payload) else { unreachable!() };
        let none: Params<'_> = none;
        let name = format!("id-{conn}");
        let open = Open {
            serial,
            conn,
            handler: channel.expect("the app has this channel").handler,
            fresh,
            resumed: !fresh,
            asked: false,
            transport: "websocket",
            name: name.as_bytes(),
            data: b"",
            rooms: none,
            params: none,
            message: OPENING,
        };
        encode_open(out, &open, [].into_iter(), [].into_iter());
    }

    /// The next action in words; `None`: the worker has ended.
    pub(crate) fn next(&mut self) -> Option<String> {
        while self.actions.is_empty() {
            if !self.read() {
                return None;
            }
        }
        self.actions.pop_front()
    }

    /// Tells the worker to stop: it says nothing more, and ends.
    pub(crate) fn stop(mut self) {
        let mut out = Vec::new();
        encode_stop(&mut out, PATIENCE, PATIENCE);
        self.worker.socket.write_all(&out).unwrap();
        assert_eq!(self.next(), None);
        assert!(self.worker.child.wait().unwrap().success());
    }

    /// Reads actions; `false`: the worker has ended.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 64 << 10];
        let count = self.worker.socket.read(&mut chunk).expect("the worker says something in time");
        self.inbox.extend_from_slice(&chunk[..count]);
        while let Some((_, mut frames, rest)) = split_batch(&self.inbox).unwrap() {
            while let Some((kind, payload, after)) = split_frame(frames) {
                match Action::read(kind, payload).unwrap() {
                    Action::Ready(registration) => self.registration = Some(registration),
                    Action::Failed(failure) => panic!("the app does not load: {failure:?}"),
                    action => self.actions.push_back(in_words(&action, self.serial, self.conn)),
                }
                frames = after;
            }
            self.inbox = rest.to_vec();
        }
        count > 0
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.worker.child.kill();
        let _ = self.worker.child.wait();
    }
}

fn in_words(action: &Action<'_>, serials: u64, conns: u64) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let words = match action {
        Action::Done { serial } => format!("done {}", serial.wrapping_sub(serials)),
        Action::Skipped { serial } => format!("skipped {}", serial.wrapping_sub(serials)),
        Action::Send { conn, payload, .. } => format!("send {} {}", conn.wrapping_sub(conns), text(payload)),
        Action::CloseConn { conn, code, reason } => {
            format!("close {} {code} {}", conn.wrapping_sub(conns), text(reason))
        }
        Action::Publish { room, payload, .. } => format!("publish {} {}", text(room), text(payload)),
        Action::Log { text: line, .. } => format!("log {}", text(line)),
        other => format!("{other:?}"),
    };
    words.trim_end().to_owned()
}
