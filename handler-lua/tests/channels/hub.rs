//! The hub that tests play.

use handler_core::worker::link;
use handler_core::worker::page::Page;
use handler_core::worker::protocol::{
    Action, Handler, LoadFailure, Open, Order, Params, Registration, Start, encode_answer, encode_close,
    encode_detach, encode_job, encode_message, encode_open, encode_start, encode_stop, split_batch,
    split_frame,
};
use handler_core::worker::pulse::Pulse;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The message that opens every connection.
const OPENING: &[u8] = b"m2 7 /chat/a%20b 51:6:METHOD,3:GET,4:PATH,11:/chat/a%20b,5:x-one,3:two,}0:,";

/// A worker, and the other end of its socket pair.
pub(crate) struct Hub {
    socket: UnixStream,
    page: Page,
    worker: Option<JoinHandle<()>>,
    inbox: Vec<u8>,
    /// Actions that were read and not looked at.
    actions: std::collections::VecDeque<String>,
    loaded: Option<Result<Registration, LoadFailure>>,
    serial: u64,
    folder: PathBuf,
}

/// How a connection comes to a worker.
pub(crate) struct Opening<'a> {
    pub fresh: bool,
    pub resumed: bool,
    pub data: &'a str,
    pub rooms: &'a [&'a str],
    pub params: &'a [&'a str],
}

pub(crate) const FRESH: Opening<'static> =
    Opening { fresh: true, resumed: false, data: "", rooms: &[], params: &[] };
pub(crate) const RESUMED: Opening<'static> = Opening { fresh: false, resumed: true, ..FRESH };

impl Hub {
    /// A worker with this script, whose app is `app`.
    pub(crate) fn new(script: &str) -> Self {
        Self::with_memory(script, 0)
    }

    /// The same with a limit in bytes, 0 for none.
    pub(crate) fn with_memory(script: &str, memory: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("kennel-channels-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let source = folder.join("app.lua");
        // In one line, so that a script's lines count from 1.
        let text = format!("local kennel = require 'kennel' local app = kennel.app() {script}\nreturn app\n");
        std::fs::write(&source, text).unwrap();

        let (socket, other) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (page, descriptor) = Page::create().unwrap();
        let worker = std::thread::spawn(move || {
            let (orders, actions) = link::open(other, Page::map(&descriptor).unwrap()).unwrap();
            // A test that is over goes away without a word.
            let _ = handler_lua::serve(orders, actions);
        });
        let mut hub = Self {
            socket,
            page,
            worker: Some(worker),
            inbox: Vec::new(),
            actions: Default::default(),
            loaded: None,
            serial: 0,
            folder,
        };
        let source = source.to_string_lossy().into_owned();
        let start = Start { number: 1, source, memory, ..Start::default() };
        hub.order(|out| encode_start(out, &start));
        while hub.loaded.is_none() {
            hub.read();
        }
        hub
    }

    /// What the script registered.
    pub(crate) fn registration(&self) -> &Registration {
        self.loaded.as_ref().unwrap().as_ref().unwrap()
    }

    /// Why the script did not load.
    pub(crate) fn failure(&self) -> &LoadFailure {
        self.loaded.as_ref().unwrap().as_ref().unwrap_err()
    }

    pub(crate) fn order(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        self.socket.write_all(&out).unwrap();
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Opens connection `conn`, whose id is `id-CONN`, on channel `handler`.
    pub(crate) fn open(&mut self, handler: u32, conn: u64, how: &Opening<'_>) -> u64 {
        assert!(self.loaded.as_ref().unwrap().is_ok(), "{}", self.failure());
        let serial = self.next_serial();
        let mut job = Vec::new();
        encode_job(&mut job, 1, Handler::Raw, "", [].into_iter(), b"", b"");
        let (kind, payload, _) = split_frame(&job).unwrap();
        let Ok(Order::Job { params: none, .. }) = Order::read(kind, payload) else { unreachable!() };
        let none: Params<'_> = none;
        let name = format!("id-{conn}");
        let open = Open {
            serial,
            conn,
            handler,
            fresh: how.fresh,
            resumed: how.resumed,
            asked: false,
            transport: "websocket",
            name: name.as_bytes(),
            data: how.data.as_bytes(),
            rooms: none,
            params: none,
            message: OPENING,
        };
        let mut out = Vec::new();
        let rooms = how.rooms.iter().map(|room| room.as_bytes());
        encode_open(&mut out, &open, rooms, how.params.iter().map(|value| value.as_bytes()));
        self.socket.write_all(&out).unwrap();
        serial
    }

    pub(crate) fn message(&mut self, conn: u64, text: &str) -> u64 {
        let serial = self.next_serial();
        self.order(|out| encode_message(out, serial, conn, false, text.as_bytes()));
        serial
    }

    pub(crate) fn binary(&mut self, conn: u64, bytes: &[u8]) -> u64 {
        let serial = self.next_serial();
        self.order(|out| encode_message(out, serial, conn, true, bytes));
        serial
    }

    pub(crate) fn close(&mut self, conn: u64, code: u16, reason: &str) -> u64 {
        let serial = self.next_serial();
        self.order(|out| encode_close(out, serial, conn, code, reason.as_bytes()));
        serial
    }

    pub(crate) fn detach(&mut self, conn: u64) {
        self.order(|out| encode_detach(out, conn));
    }

    pub(crate) fn answer(&mut self, query: u64, json: &str) {
        self.order(|out| encode_answer(out, query, json.as_bytes()));
    }

    /// Runs the first route.
    pub(crate) fn job(&mut self) -> u64 {
        let serial = self.next_serial();
        self.order(|out| encode_job(out, serial, Handler::Route(0), "http", [].into_iter(), b"", OPENING));
        serial
    }

    /// Takes back the jobs up to `serial`.
    pub(crate) fn revoke(&mut self, serial: u64) {
        self.page.revoke(serial);
    }

    pub(crate) fn pulse(&self) -> Pulse {
        self.page.pulse()
    }

    /// Tells the worker to stop.
    pub(crate) fn order_stop(&mut self) {
        self.order(|out| encode_stop(out, Duration::from_secs(10), Duration::from_secs(3)));
    }

    /// The worker is told to stop, has nothing more to say, and ends.
    pub(crate) fn stop(mut self) {
        self.order_stop();
        self.ended();
    }

    /// The worker has nothing more to say, and ends.
    pub(crate) fn ended(mut self) {
        self.worker.take().unwrap().join().unwrap();
        let mut rest = Vec::new();
        self.socket.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty() && self.actions.is_empty(), "{rest:?} {:?}", self.actions);
    }

    /// The next actions are these.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &[&str]) {
        for (at, expected) in expected.iter().enumerate() {
            assert_eq!(self.next(), *expected, "action {at}; then come {:?}", self.actions);
        }
    }

    /// Nothing was said that a test has not looked at, as far as a message and its end tell.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self) {
        let serial = self.message(u64::MAX >> 12, "");
        self.expect(&[&format!("done {serial}")]);
    }

    /// The next action in words.
    #[track_caller]
    pub(crate) fn next(&mut self) -> String {
        loop {
            match self.actions.pop_front() {
                Some(action) => return action,
                None => self.read(),
            }
        }
    }

    #[track_caller]
    fn read(&mut self) {
        let mut chunk = [0; 64 << 10];
        let count = self.socket.read(&mut chunk).expect("the worker says something");
        assert!(count > 0, "the worker has ended");
        self.inbox.extend_from_slice(&chunk[..count]);
        while let Some((_, mut frames, rest)) = split_batch(&self.inbox).unwrap() {
            while let Some((kind, payload, after)) = split_frame(frames) {
                match Action::read(kind, payload).unwrap() {
                    Action::Ready(registration) => self.loaded = Some(Ok(registration)),
                    Action::Failed(failure) => self.loaded = Some(Err(failure)),
                    action => self.actions.push_back(in_words(&action)),
                }
                frames = after;
            }
            self.inbox = rest.to_vec();
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn in_words(action: &Action<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match action {
        Action::Respond { serial, status, body, .. } => format!("respond {serial} {status} {}", text(body)),
        Action::Done { serial } => format!("done {serial}"),
        Action::Skipped { serial } => format!("skipped {serial}"),
        Action::Send { conn, binary: false, payload } => format!("send {conn} {}", text(payload)),
        Action::Send { conn, payload, .. } => format!("send {conn} bytes {payload:?}"),
        Action::CloseConn { conn, code, reason } => format!("close {conn} {code} {}", text(reason)),
        Action::Join { conn, room } => format!("join {conn} {}", text(room)),
        Action::Leave { conn, room } => format!("leave {conn} {}", text(room)),
        Action::Publish { except, binary: false, room, payload } => {
            format!("publish {} but {except} {}", text(room), text(payload))
        }
        Action::Publish { except, room, payload, .. } => {
            format!("publish {} but {except} bytes {payload:?}", text(room))
        }
        Action::CloseRoom { code, room, reason } => {
            format!("close room {} {code} {}", text(room), text(reason))
        }
        Action::SetData { conn, json } => format!("data {conn} {}", text(json)),
        Action::Query { query, question, subject } => format!("query {query} {question:?} {}", text(subject)),
        Action::Log { text: line, .. } => format!("log {}", text(line)),
        other => format!("{other:?}"),
    }
}
