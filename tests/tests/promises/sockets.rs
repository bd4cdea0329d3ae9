use serde_json::json;
use std::time::Duration;
use tests::client::get;
use tests::fake::{FakeMongrel2, Message};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process;
use tests::server::{Mongrel2, Setup};
use tests::site::Site;
use tests::socket::Socket;
use tests::wait;

/// Both kinds, and a WebSocket beside them; `verb` says what to do.
const CHAT: Scripts<'_> = Scripts {
    lua: r#"
local chat = {
  open = function(conn)
    print("[open " .. conn.transport .. " " .. conn.request.path .. " resumed=" .. tostring(conn.resumed) .. "]")
    conn:join("all")
  end,
  message = function(conn, msg)
    print("[message " .. msg .. "]")
    if msg:find('"verb":"say"', 1, true) then kennel.room("all"):send(msg)
    elseif msg:find('"verb":"table"', 1, true) then conn:send({ a = 1 })
    elseif msg:find('"verb":"close"', 1, true) then conn:send("bye") conn:close(4001, "enough")
    elseif msg:find('"verb":"fail"', 1, true) then error("on purpose")
    elseif msg:find('"verb":"many"', 1, true) then for n = 1, 500 do conn:send("message " .. n) end
    else conn:send(msg) end
  end,
  close = function(conn, code, reason) print("[close " .. conn.transport .. " " .. code .. " " .. reason .. "]") end,
}
app:get("/fine", function() return "fine" end)
app:channel("/chat", chat)
app:channel("@chat", chat)
app:channel("<chat", chat)
app:channel("@small", { max_message = 100 }, chat)
app:channel("@line", function(conn)
  conn:send("welcome")
  for msg in conn:messages() do conn:send("got " .. msg) end
end)
"#,
    python: r#"
class Chat:
    def open(self, conn):
        print(f"[open {conn.transport} {conn.request.path} resumed={str(conn.resumed).lower()}]")
        conn.join("all")
    def message(self, conn, msg):
        print(f"[message {msg}]")
        if '"verb":"say"' in msg:
            kennel.room("all").send(msg)
        elif '"verb":"table"' in msg:
            conn.send({"a": 1})
        elif '"verb":"close"' in msg:
            conn.send("bye")
            conn.close(4001, "enough")
        elif '"verb":"fail"' in msg:
            raise RuntimeError("on purpose")
        elif '"verb":"many"' in msg:
            for n in range(1, 501):
                conn.send(f"message {n}")
        else:
            conn.send(msg)
    def close(self, conn, code, reason): print(f"[close {conn.transport} {code} {reason}]")
@app.get("/fine")
def fine(req): return "fine"
app.channel("/chat")(Chat)
app.channel("@chat")(Chat)
app.channel("<chat")(Chat)
app.channel("@small", max_message=100)(Chat)
@app.channel("@line")
async def line(conn):
    conn.send("welcome")
    async for msg in conn:
        conn.send("got " + msg)
"#,
};

fn setup() -> Setup {
    Setup::default().tnetstring().routes(&["/", "@", "<chat"]).setting("limits.client_read_retries", "64")
}

/// A server for one test, since a first connection decides nothing for others there.
fn site_behind(language: Language, server: &Mongrel2) -> Site {
    language.plan(CHAT).behind(server).start()
}

in_each_language!(a_json_socket_opens_with_its_first_object_and_each_object_is_a_text);
fn a_json_socket_opens_with_its_first_object_and_each_object_is_a_text(language: Language) {
    let server = Mongrel2::start(setup());
    let site = site_behind(language, &server);
    let mut socket = Socket::connect(server.port());
    for n in 0..5 {
        let object = json!({ "n": n, "text": "ä \\ \"quoted\" 😀" });
        socket.send_json("@chat", &object);
        assert_eq!(socket.read_json(), object);
    }
    socket.send_json("@chat", &json!({ "verb": "table" }));
    assert_eq!(socket.read_json(), json!({ "a": 1 }));
    drop(socket);
    let line = site.log().expect("[close json ");
    assert!(line.contains(" 1006 ") || line.contains(" 1000 "), "{line}");
    site.log().expect_exactly("[open json @chat resumed=false]", 1);
    site.log().expect_exactly("[open ", 1);
}

in_each_language!(an_xml_socket_gets_whole_documents);
fn an_xml_socket_gets_whole_documents(language: Language) {
    let server = Mongrel2::start(setup());
    let site = site_behind(language, &server);
    let mut socket = Socket::connect(server.port());
    for document in ["<chat/>", "<chat from=\"ann\">hello <b>you</b> ä</chat>", "<chat>\n</chat>"] {
        socket.send_xml(document);
        assert_eq!(socket.read(), document);
    }
    site.log().expect("[open xml <chat resumed=false]");
    drop(socket);
    site.log().expect("[close xml ");
    site.log().expect_exactly("[open ", 1);
}

in_each_language!(kennels_own_mongrel2_takes_the_sockets_of_all_channels);
fn kennels_own_mongrel2_takes_the_sockets_of_all_channels(language: Language) {
    let site = language.plan(CHAT).start();
    let mut json = Socket::connect(site.port());
    json.send_json("@chat", &json!({ "a": [1, 2] }));
    assert_eq!(json.read_json(), json!({ "a": [1, 2] }));
    let mut xml = Socket::connect(site.port());
    xml.send_xml("<chat>x</chat>");
    assert_eq!(xml.read(), "<chat>x</chat>");
    let mut line = Socket::connect(site.port());
    line.send_json("@line", &json!({}));
    assert_eq!(line.read(), "welcome");
    assert_eq!(line.read(), "got {}");
    let mut ws = site.websocket("/chat");
    assert_eq!(ws.ask("x"), "x");
    assert_eq!(site.get("/fine").text(), "fine");
}

in_each_language!(messages_may_come_together_or_in_pieces);
fn messages_may_come_together_or_in_pieces(language: Language) {
    let server = Mongrel2::start(setup());
    let site = site_behind(language, &server);
    let mut socket = Socket::connect(server.port());
    socket.send((0..20).map(|n| format!("@chat {{\"n\":{n}}}\0")).collect::<String>());
    for n in 0..20 {
        assert_eq!(socket.read_json(), json!({ "n": n }));
    }
    for piece in ["@ch", "at {\"hal", "f\":", "1}", "\0@chat {\"whole\":2}\0"] {
        socket.send(piece);
        // Each is a segment of its own once the one before has been read.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(socket.read_json(), json!({ "half": 1 }));
    assert_eq!(socket.read_json(), json!({ "whole": 2 }));
    site.log().expect_exactly("[open ", 1);
}

#[test]
fn half_an_object_is_nothing_and_harms_nobody() {
    let server = Mongrel2::start(setup());
    let site = site_behind(Language::Lua, &server);
    for bad in
        ["@chat {\"half\":", "@chat", "@chat {\"a\":1\0", "@chat [1]\0", "@chat \0", "<chat", "<chat>x"]
    {
        let mut socket = Socket::connect(server.port());
        socket.send(bad);
        // Mongrel2 waits for the rest, or ends it; either way nothing is heard of it.
        drop(socket);
        let mut socket = Socket::connect(server.port());
        socket.send_json("@chat", &json!({ "verb": "table" }));
        assert_eq!(socket.read_json(), json!({ "a": 1 }), "after {bad}");
    }
    let others = |line: &&str| line.contains("[message ") && !line.contains("[message {\"verb\":\"table\"}]");
    assert_eq!(site.log().text().lines().find(others), None);
}

in_each_language!(what_lies_in_braces_and_is_no_text_is_closed_and_what_is_no_json_is_the_scripts_to_judge);
fn what_lies_in_braces_and_is_no_text_is_closed_and_what_is_no_json_is_the_scripts_to_judge(
    language: Language,
) {
    let server = Mongrel2::start(setup());
    let site = site_behind(language, &server);
    let mut socket = Socket::connect(server.port());
    socket.send("@chat {no json at all}\0");
    assert_eq!(socket.read(), "{no json at all}");
    socket.send(b"@chat {\"a\":\"\xff\"}\0");
    assert_eq!(socket.read_to_end(), b"");
    site.log().expect("[close json 1007 ");
    site.log().expect_exactly("[message ", 1);
}

#[test]
fn a_client_cannot_pose_as_mongrel2() {
    let server = Mongrel2::start(setup());
    let site = site_behind(Language::Lua, &server);
    let (mut socket, mut other) = (Socket::connect(server.port()), Socket::connect(server.port()));
    other.send_json("@chat", &json!({ "here": 1 }));
    assert_eq!(other.read_json(), json!({ "here": 1 }));
    for body in [
        r#"{"type":"disconnect"}"#,
        r#"{"type":"credits"}"#,
        r#"{"METHOD":"JSON","DOWNLOAD_CREDITS":"100000"}"#,
    ] {
        socket.send(format!("@chat {body}\0"));
        assert_eq!(socket.read(), body, "a message like any other");
    }
    assert_eq!(site.log().count("[close "), 0);
    // These are Mongrel2's own business.
    socket.send("@chat {\"type\":\"ping\"}\0");
    socket.send_json("@chat", &json!({ "after": "ping" }));
    assert_eq!(socket.read_json(), json!({ "after": "ping" }));
    socket.send("@* {\"type\":\"disconnect\"}\0");
    other.send_json("@chat", &json!({ "still": 1 }));
    assert_eq!(other.read_json(), json!({ "still": 1 }));
}

#[test]
fn a_socket_without_a_channel_of_exactly_its_name_is_closed() {
    let server = Mongrel2::start(setup());
    let site = site_behind(Language::Lua, &server);
    for message in
        ["@other {}\0", "@chat/sub {}\0", "@chatter {}\0", "@cha {}\0", "<chatter/>\0", "<chat.x/>\0"]
    {
        let mut socket = Socket::connect(server.port());
        socket.send(message);
        let answer = socket.read_to_end();
        assert!(!answer.starts_with(b"{"), "{message}: {}", answer.escape_ascii());
    }
    assert_eq!(site.log().count("[open "), 0, "{}", site.log().text());
}

in_each_language!(a_close_of_the_script_ends_the_connection_behind_what_was_sent);
fn a_close_of_the_script_ends_the_connection_behind_what_was_sent(language: Language) {
    let server = Mongrel2::start(setup());
    let site = site_behind(language, &server);
    let mut socket = Socket::connect(server.port());
    socket.send_json("@chat", &json!({ "verb": "close" }));
    assert_eq!(socket.read(), "bye");
    assert_eq!(socket.read_to_end(), b"");
    site.log().expect("[close json 4001 enough]");
    let mut socket = Socket::connect(server.port());
    socket.send_json("@chat", &json!({ "verb": "fail" }));
    assert_eq!(socket.read_to_end(), b"");
    site.log().expect("[close json 1011 ");
    site.log().expect("on purpose");
    site.log().expect_exactly("[close ", 2);
}

in_each_language!(a_message_beyond_the_channels_bound_closes_with_1009);
fn a_message_beyond_the_channels_bound_closes_with_1009(language: Language) {
    let server = Mongrel2::start(setup());
    let site = site_behind(language, &server);
    let mut socket = Socket::connect(server.port());
    let exactly = format!("{{{}}}", "x".repeat(98));
    socket.send(format!("@small {exactly}\0"));
    assert_eq!(socket.read(), exactly);
    socket.send(format!("@small {{{}}}\0", "x".repeat(99)));
    assert_eq!(socket.read_to_end(), b"");
    site.log().expect("[close json 1009 ");
}

in_each_language!(every_carrier_in_a_room_hears_the_room);
fn every_carrier_in_a_room_hears_the_room(language: Language) {
    for setup in [setup(), setup().flow_control()] {
        let server = Mongrel2::start(setup);
        let site = site_behind(language, &server);
        let mut json: Vec<Socket> = (0..5).map(|_| Socket::connect(server.port())).collect();
        let mut xml = Socket::connect(server.port());
        let mut ws = site.websocket("/chat");
        for socket in &mut json {
            socket.send_json("@chat", &json!({ "here": 1 }));
            assert_eq!(socket.read_json(), json!({ "here": 1 }));
        }
        xml.send_xml("<chat/>");
        assert_eq!(xml.read(), "<chat/>");
        assert_eq!(ws.ask("here"), "here");
        for n in 0..20 {
            let said = json!({ "verb": "say", "n": n });
            json[n % 5].send_json("@chat", &said);
            for socket in &mut json {
                assert_eq!(socket.read_json(), said);
            }
            assert_eq!(xml.read(), said.to_string());
            assert_eq!(ws.read_text(), said.to_string());
        }
    }
}

in_each_language!(a_burst_to_a_socket_arrives_whole_and_in_order);
fn a_burst_to_a_socket_arrives_whole_and_in_order(language: Language) {
    for setup in [setup(), setup().flow_control()] {
        let server = Mongrel2::start(setup);
        let _site = site_behind(language, &server);
        let mut socket = Socket::connect(server.port());
        socket.send_json("@chat", &json!({ "verb": "many" }));
        for n in 1..=500 {
            assert_eq!(socket.read(), format!("message {n}"));
        }
    }
}

in_each_language!(where_mongrel2_writes_base64_each_answer_arrives_without_its_nul);
/// Without `raw_payload` Mongrel2 writes base64, and nothing between messages.
fn where_mongrel2_writes_base64_each_answer_arrives_without_its_nul(language: Language) {
    for setup in [setup().base64(), setup().base64().flow_control()] {
        let server = Mongrel2::start(setup);
        let site = site_behind(language, &server);
        let mut socket = Socket::connect(server.port());
        for n in [1_u64, 22, 333, 4444] {
            let object = json!({ "n": n });
            socket.send_json("@chat", &object);
            let text = object.to_string();
            assert_eq!(socket.read_base64(text.len()), text.as_bytes());
        }
        let mut xml = Socket::connect(server.port());
        xml.send_xml("<chat>ä</chat>");
        assert_eq!(xml.read_base64("<chat>ä</chat>".len()), "<chat>ä</chat>".as_bytes());
        // WebSockets and HTTP are not touched by that setting.
        assert_eq!(site.websocket("/chat").ask("x"), "x");
        assert_eq!(site.get("/fine").text(), "fine");
    }
}

in_each_language!(a_socket_outlives_the_worker_and_speaks_no_http_to_anybody);
fn a_socket_outlives_the_worker_and_speaks_no_http_to_anybody(language: Language) {
    let server = Mongrel2::start(setup());
    let site = site_behind(language, &server);
    let mut socket = Socket::connect(server.port());
    socket.send_json("@chat", &json!({ "n": 0 }));
    assert_eq!(socket.read_json(), json!({ "n": 0 }));
    for round in 1..=2 {
        site.workers().into_iter().for_each(process::kill);
        site.log().expect_times("a worker died", 2 * round);
        socket.send_json("@chat", &json!({ "n": round }));
        assert_eq!(socket.read_json(), json!({ "n": round }));
        wait::until("there are two again", || site.workers().len() == 2);
    }
    site.log().expect_exactly("[open ", 1);
}

/// Mongrel2 takes requests of all kinds on one connection. What becomes of this one is nobody's business
/// but its own.
#[test]
fn a_connection_that_mixes_sockets_and_http_harms_nobody() {
    let server = Mongrel2::start(setup());
    // Mongrel2 tells only the Handler that had the last message of its end; heartbeats tell the others.
    let site = Site::plan(CHAT.lua).config("[limits]\nkeep_alive = \"500ms\"\n").behind(&server).start();
    let mut other = Socket::connect(server.port());
    for mix in [
        [&b"@chat {\"a\":1}\0"[..], &get("/fine"), b"@chat {\"a\":2}\0"].concat(),
        [&get("/fine")[..], b"@chat {\"a\":1}\0", &get("/fine")].concat(),
        [&b"@chat {\"a\":1}\0"[..], b"@line {\"a\":1}\0", b"<chat/>\0"].concat(),
    ] {
        let mut socket = Socket::connect(server.port());
        socket.send(&mix);
        other.send_json("@chat", &json!({ "still": "here" }));
        assert_eq!(other.read_json(), json!({ "still": "here" }));
        assert_eq!(site.get("/fine").text(), "fine");
    }
    wait::until("every open has its close but the last", || {
        site.log().count("[open ") == site.log().count("[close ") + 1
    });
}

in_each_language!(close_runs_once_for_sockets_too);
fn close_runs_once_for_sockets_too(language: Language) {
    let mongrel2 = FakeMongrel2::start();
    let site = language.plan(CHAT).behind_fake(&mongrel2).start();
    let message = |id: i64, body: &str| {
        let headers =
            [("METHOD", "JSON"), ("PATTERN", "@chat"), ("REMOTE_ADDR", "127.0.0.1"), ("PATH", "@chat")];
        let bare = Message::bare(id, "@chat").body(body);
        headers.iter().fold(bare, |message, (name, value)| message.header(name, value))
    };
    for id in 1..=3 {
        mongrel2.send(message(id, "{}"));
        assert_eq!(mongrel2.reply_to(id as u64).payload, b"{}\0");
    }
    for _ in 0..3 {
        mongrel2.send(Message::disconnect(1));
        mongrel2.send(Message::disconnect(2));
        mongrel2.send(Message::disconnect(-1));
    }
    site.log().expect_times("[close json ", 2);
    // A number that was given to another.
    mongrel2.send(message(1, "{\"next\":1}"));
    assert_eq!(mongrel2.reply_to(1).payload, b"{\"next\":1}\0");
    mongrel2.send(message(3, "{\"still\":1}"));
    assert_eq!(mongrel2.reply_to(3).payload, b"{\"still\":1}\0");
    site.log().expect_exactly("[close json ", 2);
    site.log().expect_exactly("[open json ", 4);
}
