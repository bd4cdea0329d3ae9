use mongrel2_conf::model::{Config, Handler, Host, Protocol, Route, Server, Target};
use mongrel2_conf::{mimetypes, store};
use serde_json::json;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tests::client::Client;
use tests::fake::{FakeMongrel2, Message};
use tests::folder::Folder;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::server::{Mongrel2, Setup};
use tests::socket::Socket;
use tests::websocket::{FIN, PONG, Received};

const APP: Scripts<'_> = Scripts {
    lua: r#"
local chat = {
  message = function(conn, msg)
    conn:send(msg == "number" and tostring(conn.request.mongrel2.conn_id) or msg)
  end,
  close = function(conn, code) print("[close " .. conn.transport .. " " .. code .. "]") end,
}
app:channel("/chat", chat)
app:channel("/pings", { ping = 0.3 }, chat)
app:channel("/quiet", { ping = 0 }, chat)
app:channel("@chat", chat)
app:get("/fine", function() return "fine" end)
"#,
    python: r#"
class Chat:
    def message(self, conn, msg):
        conn.send(str(conn.request.mongrel2.conn_id) if msg == "number" else msg)
    def close(self, conn, code, reason): print(f"[close {conn.transport} {code}]")
app.channel("/chat")(Chat)
app.channel("/pings", ping=0.3)(Chat)
app.channel("/quiet", ping=0)(Chat)
app.channel("@chat")(Chat)
@app.get("/fine")
def fine(req): return "fine"
"#,
};

const KEEP_ALIVE: &str = "[limits]\nkeep_alive = \"500ms\"\n";

/// A Mongrel2 that ends connections from which it has not heard for two seconds.
fn impatient() -> Mongrel2 {
    let setup = Setup::default().tnetstring().routes(&["/", "@chat"]);
    Mongrel2::start(setup.setting("limits.min_ping", "2").setting("limits.tick_timer", "1"))
}

in_each_language!(idle_connections_stay_open_where_mongrel2_ends_the_silent);
fn idle_connections_stay_open_where_mongrel2_ends_the_silent(language: Language) {
    let server = impatient();
    let site = language.plan(APP).config(KEEP_ALIVE).behind(&server).start();
    let mut clients: Vec<_> = (0..10).map(|_| site.websocket("/chat")).collect();
    let mut socket = Socket::connect(server.port());
    socket.send_json("@chat", &json!({ "n": 1 }));
    assert_eq!(socket.read_json(), json!({ "n": 1 }));
    let begin = Instant::now();
    // One that says nothing at all shows that the server does as it is told.
    let mut nobody = Client::connect(server.port());
    assert_eq!(nobody.read_to_end(), b"");
    if let Some(left) = Duration::from_secs(6).checked_sub(begin.elapsed()) {
        assert!(socket.is_silent_for(left));
    }
    for ws in &mut clients {
        assert_eq!(ws.ask("still here"), "still here");
    }
    socket.send_json("@chat", &json!({ "n": 2 }));
    assert_eq!(socket.read_json(), json!({ "n": 2 }));
    assert_eq!(site.log().count("[close "), 0);
}

in_each_language!(connections_that_ended_without_a_notice_are_found_and_closed_with_1006);
/// An operator's `kill`, Mongrel2's own sweep: no notice tells of them.
fn connections_that_ended_without_a_notice_are_found_and_closed_with_1006(language: Language) {
    let server = impatient();
    let site = language.plan(APP).config(KEEP_ALIVE).behind(&server).start();
    let mut clients: Vec<_> = (0..3).map(|_| site.websocket("/chat")).collect();
    let numbers: Vec<u32> =
        clients.iter_mut().map(|ws| ws.ask("number").parse().expect("a number")).collect();
    server.kill_connection(numbers[1]);
    site.log().expect("[close websocket 1006]");
    assert_eq!(clients.remove(1).read(), Received::End);
    for ws in &mut clients {
        assert_eq!(ws.ask("still here"), "still here");
    }
    site.log().expect_exactly("[close ", 1);
    assert_eq!(site.get("/fine").text(), "fine");
}

in_each_language!(a_client_that_answers_no_ping_is_closed);
fn a_client_that_answers_no_ping_is_closed(language: Language) {
    let site = language.site(APP);
    let mut dead = site.websocket("/pings");
    dead.answer_no_pings();
    let begin = Instant::now();
    let mut pings = 0;
    loop {
        match dead.read() {
            Received::Ping(_) => pings += 1,
            Received::Close(..) => {}
            Received::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((2..=3).contains(&pings), "{pings} pings");
    assert!(begin.elapsed() >= Duration::from_millis(600), "{:?}", begin.elapsed());
    site.log().expect("[close websocket 1006]");
}

in_each_language!(a_client_that_answers_its_pings_stays_open);
fn a_client_that_answers_its_pings_stays_open(language: Language) {
    let site = language.site(APP);
    let mut ws = site.websocket("/pings");
    ws.answer_no_pings();
    let mut seen = HashSet::new();
    for n in 0..8 {
        let Received::Ping(payload) = ws.read() else { panic!("no ping") };
        ws.send_frame(FIN | PONG, &payload);
        seen.insert(payload);
        if n % 3 == 0 {
            ws.send("between");
            assert_eq!(ws.read_text(), "between");
        }
    }
    assert_eq!(site.log().count("[close "), 0);
    let mut quiet = site.websocket("/quiet");
    assert!(quiet.is_silent_for(Duration::from_secs(1)), "no pings where none are wanted");
}

in_each_language!(heartbeats_are_told_to_mongrel2_in_batches);
fn heartbeats_are_told_to_mongrel2_in_batches(language: Language) {
    let mongrel2 = FakeMongrel2::start();
    let site = language.plan(APP).config("[limits]\nkeep_alive = \"300ms\"\n").behind_fake(&mongrel2).start();
    for id in 1..=300 {
        mongrel2.send(Message::handshake(id, "/chat"));
    }
    for id in 1..=300 {
        assert!(mongrel2.reply_to(id).text().starts_with("HTTP/1.1 101 "), "{id}");
    }
    let (mut kept, mut batches) = (HashSet::new(), 0);
    while kept.len() < 300 {
        let beat = mongrel2.reply_that("a heartbeat", |reply| reply.extended);
        assert!(beat.ids.len() <= 128, "{} ids", beat.ids.len());
        assert!(beat.text().contains("3:ctl,") && beat.text().contains("10:keep-alive,"), "{}", beat.text());
        kept.extend(beat.ids);
        batches += 1;
    }
    assert!(batches < 30, "{batches} batches for 300 connections");
    // Mongrel2's answer for those that it does not have.
    for id in 1..=10 {
        mongrel2.send(Message::disconnect(id));
        mongrel2.send(Message::disconnect(id));
    }
    site.log().expect_times("[close websocket 1006]", 10);
    site.log().expect_exactly("[close ", 10);
}

/// A control port that answers every question with a list of these connections.
fn control_port(address: &str, present: &[u32]) {
    let row = |id: &u32| {
        let row = format!("{}:{id}#2:28#1:3#1:0#1:0#1:0#2:36#1:0#", id.to_string().len());
        format!("{}:{row}]", row.len())
    };
    let rows: String = present.iter().map(row).collect();
    let table = format!(
        "7:headers,86:2:id,2:fd,4:type,9:last_ping,9:last_read,10:last_write,10:bytes_read,13:bytes_written,]\
         4:rows,{}:{rows}]",
        rows.len()
    );
    let answer = format!("{}:{table}}}", table.len());
    let socket = zmq::Context::new().socket(zmq::REP).expect("a socket");
    socket.bind(address).expect("an address of its own");
    // It ends with the test.
    std::thread::spawn(move || {
        while let Ok(question) = socket.recv_bytes(0) {
            assert!(question.windows(11).any(|word| word == b"4:what,3:ne"), "{}", question.escape_ascii());
            socket.send(answer.as_bytes(), 0).expect("an answer");
        }
    });
}

in_each_language!(the_dead_are_found_by_asking_where_mongrel2_tells_nothing);
fn the_dead_are_found_by_asking_where_mongrel2_tells_nothing(language: Language) {
    let mongrel2 = FakeMongrel2::start();
    let folder = Folder::new();
    let control = format!("ipc://{}/control", folder.path().display());
    control_port(&control, &[1, 3]);
    let (send_spec, recv_spec) = mongrel2.specs();
    let handler = Handler {
        send_spec,
        recv_spec,
        send_ident: "fake".into(),
        recv_ident: String::new(),
        raw_payload: false,
        protocol: Protocol::Tnetstring,
    };
    let server = Server {
        uuid: "fake".into(),
        port: 1,
        control_port: control,
        hosts: vec![Host::new("localhost", vec![Route::new("/", Target::Handler(handler))])],
        ..Server::default()
    };
    let config = Config { servers: vec![server], mimetypes: mimetypes::defaults(), ..Config::default() };
    let database = folder.path().join("config.sqlite");
    store::write(&config, &database).expect("a configuration that can be written");
    let site = language
        .plan(APP)
        .config("[limits]\nkeep_alive = \"300ms\"\n")
        .behind_named(1)
        .argument(&format!("--mongrel2={}", database.display()))
        .start();
    for id in 1..=3 {
        mongrel2.send(Message::handshake(id, "/chat"));
    }
    site.log().expect("1 connection is gone, of which the server has not told");
    site.log().expect("[close websocket 1006]");
    site.log().expect_exactly("[close ", 1);
}
