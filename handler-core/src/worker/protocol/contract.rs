//! The bytes of every frame, as workers in other languages read and write them: `snapshots/worker-protocol.txt`.
//!
//! A difference breaks workers that are not ours. `docs/worker-protocol.md` describes the same bytes.

use super::*;
use crate::sessions::{Keys, Secret};
use kennel_http::forms::FormLimits;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Frames by name, and their kinds.
#[derive(Default)]
struct Frames {
    text: String,
    kinds: BTreeSet<u8>,
}

impl Frames {
    fn add(&mut self, name: &str, bytes: &[u8]) {
        let (kind, _, rest) = split_frame(bytes).expect("it is a frame");
        assert!(rest.is_empty(), "{name} is one frame");
        self.kinds.insert(kind);
        writeln!(self.text, "{name}\n    {}", bytes.escape_ascii()).expect("a string takes everything");
    }

    /// A new kind takes the next number, so kinds have no gaps: a missing one is missing here.
    fn finish(self, last: u8) -> String {
        assert!(self.kinds.into_iter().eq(1..=last), "one of each kind");
        self.text
    }
}

fn start() -> Start {
    Start {
        number: 2,
        source: "shop.py".into(),
        object: "application".into(),
        interface: "wsgi".into(),
        threads: 8,
        mount: "/shop".into(),
        version: "1.2.3".into(),
        config: json!({ "currency": "EUR" }),
        dev: true,
        memory: 1 << 28,
        load_time: 30.0,
        conversations: 1000,
        conversations_per_address: 100,
        counts_local: true,
        keys: Keys::of(&[Secret::new(b"0123456789abcdef").expect("it is long enough")]),
        form: FormLimits::default(),
        scratch: "/run/kennel/scratch".into(),
    }
}

fn registration() -> Registration {
    let route = RouteSpec {
        methods: vec!["GET".into(), "HEAD".into()],
        path: "/users/{id}".into(),
        handler: 3,
        place: "shop.lua:12".into(),
        streams: true,
    };
    let channel = ChannelSpec {
        path: "/chat".into(),
        handler: 4,
        place: "shop.lua:20".into(),
        straight: true,
        origins: vec!["https://example.com".into()],
        protocols: vec!["chat".into()],
        max_message: 65_536,
        ping: 20.5,
        deflate: true,
        slow: Slow::DropOldest,
        buffer: 4096,
        asks: true,
    };
    Registration {
        routes: vec![route],
        channels: vec![channel],
        hooks: true,
        not_found: true,
        raw: true,
        streams: true,
        provisional: true,
        interface: Interface::Asgi,
    }
}

fn orders() -> String {
    let mut frames = Frames::default();
    let mut add = |name: &str, encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        frames.add(name, &bytes);
    };
    let values = || [&b"a%20b"[..], b""].into_iter();
    let none = || [].into_iter();
    add("Start", &|out| encode_start(out, &start()));
    add("Start, nothing set", &|out| encode_start(out, &Start::default()));
    add("Job", &|out| {
        encode_job(out, 7, Handler::Route(3), "boot-0.1.9", values(), b"/spool/a", b"message");
    });
    add("Job, nothing set", &|out| encode_job(out, 0, Handler::Route(0), "", none(), b"", b""));
    let handlers = [
        ("NotFound", Handler::NotFound),
        ("MethodNotAllowed", Handler::MethodNotAllowed),
        ("Options", Handler::Options),
        ("Raw", Handler::Raw),
    ];
    for (name, handler) in handlers {
        add(&format!("Job, {name}"), &|out| encode_job(out, 1, handler, "c", none(), b"", b"m"));
    }
    add("Lead", &encode_lead);
    add("Stop", &|out| encode_stop(out, Duration::from_secs(10), Duration::from_millis(1500)));
    add("Stop, nothing set", &|out| encode_stop(out, Duration::ZERO, Duration::ZERO));
    let open = Open {
        serial: 4,
        conn: 1 << 40,
        handler: 2,
        fresh: true,
        resumed: true,
        asked: true,
        transport: "websocket",
        name: b"boot-0.1.9",
        data: b"{\"a\":1}",
        rooms: Params::EMPTY,
        params: Params::EMPTY,
        message: b"message",
    };
    let empty = Open {
        serial: 0,
        conn: 0,
        handler: 0,
        fresh: false,
        resumed: false,
        asked: false,
        transport: "",
        name: b"",
        data: b"",
        message: b"",
        ..open
    };
    add("Open", &|out| encode_open(out, &open, [&b"lobby"[..], b"x"].into_iter(), values()));
    add("Open, fresh", &|out| encode_open(out, &Open { fresh: true, ..empty }, none(), none()));
    add("Open, resumed", &|out| encode_open(out, &Open { resumed: true, ..empty }, none(), none()));
    add("Open, asked", &|out| encode_open(out, &Open { asked: true, ..empty }, none(), none()));
    add("Open, nothing set", &|out| encode_open(out, &empty, none(), none()));
    add("Message", &|out| encode_message(out, 5, 9, true, b"\xff"));
    add("Message, nothing set", &|out| encode_message(out, 0, 0, false, b""));
    add("Close", &|out| encode_close(out, 6, 9, 1001, b"going away"));
    add("Close, nothing set", &|out| encode_close(out, 0, 0, 0, b""));
    add("Detach", &|out| encode_detach(out, 9));
    add("Answer", &|out| encode_answer(out, 1, b"[]"));
    add("Answer, nothing set", &|out| encode_answer(out, 0, b""));
    add("Taken", &|out| encode_taken(out, 1 << 40, u32::MAX));
    add("Gone", &|out| encode_gone(out, 7));
    add("Evaluate", &|out| encode_evaluate(out, 3, b"1 + 1"));
    add("Evaluate, nothing set", &|out| encode_evaluate(out, 0, b""));
    add("Part", &|out| encode_part(out, 8, true, b"abc"));
    add("Part, nothing set", &|out| encode_part(out, 0, false, b""));
    add("Grown", &|out| encode_grown(out, 9, true, 1 << 40));
    add("Grown, nothing set", &|out| encode_grown(out, 0, false, 0));
    frames.finish(14)
}

/// The name of an action. A new one has to be named here, and then to be added to [`actions`].
fn name(action: &Action<'_>) -> &'static str {
    match action {
        Action::Ready(_) => "Ready",
        Action::Failed(_) => "Failed",
        Action::Respond { .. } => "Respond",
        Action::Done { .. } => "Done",
        Action::Skipped { .. } => "Skipped",
        Action::Pass { .. } => "Pass",
        Action::Deliver { .. } => "Deliver",
        Action::Disconnect { .. } => "Disconnect",
        Action::Send { .. } => "Send",
        Action::CloseConn { .. } => "CloseConn",
        Action::Join { .. } => "Join",
        Action::Leave { .. } => "Leave",
        Action::Publish { .. } => "Publish",
        Action::CloseRoom { .. } => "CloseRoom",
        Action::SetData { .. } => "SetData",
        Action::Query { .. } => "Query",
        Action::Evaluated { .. } => "Evaluated",
        Action::Begin { .. } => "Begin",
        Action::Piece { .. } => "Piece",
        Action::End { .. } => "End",
        Action::Abort { .. } => "Abort",
        Action::Accept { .. } => "Accept",
        Action::Refuse { .. } => "Refuse",
        Action::Want { .. } => "Want",
        Action::Log { .. } => "Log",
    }
}

/// One action of each kind, with everything set.
pub(super) fn full_actions(ids: Ids<'_>) -> [Action<'_>; 25] {
    let failure = LoadFailure {
        message: "no such module".into(),
        file: Some("shop.lua".into()),
        line: Some(3),
        traceback: "stack\n".into(),
    };
    [
        Action::Ready(registration()),
        Action::Failed(failure),
        Action::Respond { serial: 1, status: 200, head: b"a: b\r\n", body: b"body" },
        Action::Done { serial: u64::MAX },
        Action::Skipped { serial: 2 },
        Action::Deliver { sender: "m2", ids, payload: b"x" },
        Action::Disconnect { sender: "m2", ids },
        Action::Log { level: Level::Error, serial: 7, text: b"\xff", fields: b"{}" },
        Action::Send { conn: 1 << 40, binary: true, payload: b"hi" },
        Action::CloseConn { conn: 1, code: 4001, reason: b"bye" },
        Action::Join { conn: 3, room: b"lobby" },
        Action::Leave { conn: 3, room: b"lobby" },
        Action::Publish { except: 5, binary: true, room: b"lobby", payload: b"hi" },
        Action::CloseRoom { code: 1001, room: b"lobby", reason: b"over" },
        Action::SetData { conn: 3, json: b"{}" },
        Action::Query { query: 9, question: Question::Rooms, subject: b"3" },
        Action::Begin { serial: 4, status: 206, head: b"a: b\r\n" },
        Action::Piece { serial: 4, bytes: b"piece" },
        Action::End { serial: 4 },
        Action::Abort { serial: 4 },
        Action::Accept { conn: 3, protocol: "chat", head: b"a: b\r\n" },
        Action::Refuse { conn: 3, status: 401, head: b"a: b\r\n", body: b"who?" },
        Action::Evaluated { query: 3, ok: true, text: b"2" },
        Action::Want { serial: 4, bytes: 1 << 20 },
        Action::Pass { serial: 4, worker: 2, status: 410, head: b"a: b\r\n", body: b"over" },
    ]
}

fn actions() -> String {
    let ids = encode_ids([1, -1, i64::MAX]);
    let ids = Ids::new(&ids);
    let no_ids = Ids::new(b"");
    let full = full_actions(ids);
    let bare = [
        Action::Ready(Registration::default()),
        Action::Ready(Registration { channels: vec![ChannelSpec::default()], ..Registration::default() }),
        Action::Failed(LoadFailure::default()),
        Action::Respond { serial: 0, status: 0, head: b"", body: b"" },
        Action::Deliver { sender: "", ids: no_ids, payload: b"" },
        Action::Disconnect { sender: "", ids: no_ids },
        Action::Log { level: Level::Debug, serial: 0, text: b"", fields: b"" },
        Action::Send { conn: 0, binary: false, payload: b"" },
        Action::CloseConn { conn: 0, code: 0, reason: b"" },
        Action::Join { conn: 0, room: b"" },
        Action::Leave { conn: 0, room: b"" },
        Action::Publish { except: 0, binary: false, room: b"", payload: b"" },
        Action::CloseRoom { code: 0, room: b"", reason: b"" },
        Action::SetData { conn: 0, json: b"" },
        Action::Query { query: 0, question: Question::Count, subject: b"" },
        Action::Evaluated { query: 0, ok: false, text: b"" },
        Action::Begin { serial: 0, status: 0, head: b"" },
        Action::Piece { serial: 0, bytes: b"" },
        Action::Accept { conn: 0, protocol: "", head: b"" },
        Action::Refuse { conn: 0, status: 0, head: b"", body: b"" },
        Action::Want { serial: 0, bytes: 0 },
        Action::Pass { serial: 0, worker: 0, status: 0, head: b"", body: b"" },
    ];
    let questions = [
        ("Count", Question::Count),
        ("Members", Question::Members),
        ("Connection", Question::Connection),
        ("Data", Question::Data),
        ("Rooms", Question::Rooms),
    ];
    let levels =
        [("Debug", Level::Debug), ("Info", Level::Info), ("Warn", Level::Warn), ("Error", Level::Error)];
    let asks = questions.map(|(name, question)| (name, Action::Query { query: 1, question, subject: b"s" }));
    let logs = levels.map(|(name, level)| (name, Action::Log { level, serial: 1, text: b"t", fields: b"" }));
    let mut frames = Frames::default();
    let mut add = |name: &str, action: &Action<'_>| {
        let mut bytes = Vec::new();
        encode_action(&mut bytes, action);
        frames.add(name, &bytes);
    };
    full.iter().for_each(|action| add(name(action), action));
    bare.iter().for_each(|action| add(&format!("{}, nothing set", name(action)), action));
    for (what, action) in asks.iter().chain(&logs) {
        add(&format!("{}, {what}", name(action)), action);
    }
    frames.finish(25)
}

#[test]
fn bytes_of_the_worker_protocol_stay() {
    let numbers = format!(
        "FRAME_HEAD {FRAME_HEAD}\nBATCH_HEAD {BATCH_HEAD}\nMAX_BATCH {MAX_BATCH}\nSTREAM_WINDOW {STREAM_WINDOW}\n\
         BODY_WINDOW {BODY_WINDOW}\n"
    );
    let (orders, actions) = (orders(), actions());
    let text = format!(
        "# Frames between the hub and workers: kind, size, payload. See docs/worker-protocol.md.\n\n# Numbers\n\n{numbers}\n\
         # Hub to worker\n\n{orders}\n# Worker to hub\n\n{actions}"
    );
    snapshot::check!("worker-protocol.txt", &text);
}
