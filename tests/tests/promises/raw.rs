use serde_json::json;
use tests::client::{Client, get};
use tests::fake::{FakeMongrel2, Message, SENDER};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::server::{Mongrel2, Setup};
use tests::socket::Socket;
use tests::websocket::{CONTINUATION, FIN, PING, Received, TEXT};

/// Answers like a handler of old: whole HTTP responses, by its own hand.
const OLD_STYLE: Scripts<'_> = Scripts {
    lua: r#"
app:get("/routed", function() return "routed" end)
app:raw(function(msg)
  if msg.headers.METHOD == "JSON" and msg.path == "@*" then print("notice " .. msg.body) return end
  local body = msg.path .. " " .. msg.headers.METHOD .. " " .. msg.body
  kennel.deliver(msg.sender, { msg.conn_id }, "HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body)
  if msg.headers.connection == "close" then kennel.disconnect(msg.sender, { msg.conn_id }) end
end)
"#,
    python: r#"
@app.get("/routed")
def routed(req): return "routed"
@app.raw
def old(msg):
    method = msg.headers["METHOD"]
    if method == "JSON" and msg.path == "@*":
        print("notice " + msg.body.decode())
        return
    body = f"{msg.path} {method} ".encode() + msg.body
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
    kennel.deliver(msg.sender, [msg.conn_id], head.encode() + body)
    if msg.headers.get("connection") == "close":
        kennel.disconnect(msg.sender, [msg.conn_id])
"#,
};

in_each_language!(an_old_handler_gets_what_no_route_takes_and_writes_the_bytes_itself);
fn an_old_handler_gets_what_no_route_takes_and_writes_the_bytes_itself(language: Language) {
    let site = language.site(OLD_STYLE);
    let mut client = site.client();
    assert_eq!(client.get("/any/path").text(), "/any/path GET ");
    assert_eq!(client.get("/routed").text(), "routed");
    client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.read().text(), "/x POST abc");
    client.send("GET /y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(client.read().text(), "/y GET ");
    assert_eq!(client.read_to_end(), b"");
    let client = site.client();
    drop({
        let mut client = client;
        client.get("/left");
        client
    });
    site.log().expect(r#"notice {"type":"disconnect"}"#);
}

/// What handlers of old do for JSON sockets and WebSockets: everything.
const OLD_SOCKETS: Scripts<'_> = Scripts {
    lua: r#"
app:raw(function(msg)
  local to = { msg.conn_id }
  if msg.path == "@*" then print("[gone " .. msg.conn_id .. "]") return end
  if msg.headers.METHOD == "WEBSOCKET_HANDSHAKE" then
    kennel.deliver(msg.sender, to,
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
      .. msg.body .. "\r\n\r\n")
  elseif msg.headers.METHOD == "WEBSOCKET" then
    local body = msg.body == "number" and tostring(msg.conn_id) or msg.body
    kennel.deliver(msg.sender, to, string.char(tonumber(msg.headers.FLAGS), #body) .. body)
    if msg.headers.FLAGS == "0x88" then kennel.disconnect(msg.sender, to) end
  else
    kennel.deliver(msg.sender, to, msg.path .. msg.body .. "\0")
  end
end)
"#,
    python: r#"
@app.raw
async def old(msg):
    to = [msg.conn_id]
    method = msg.headers["METHOD"]
    if msg.path == "@*":
        print(f"[gone {msg.conn_id}]")
    elif method == "WEBSOCKET_HANDSHAKE":
        kennel.deliver(msg.sender, to, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + msg.body + b"\r\n\r\n")
    elif method == "WEBSOCKET":
        body = str(msg.conn_id).encode() if msg.body == b"number" else msg.body
        flags = int(msg.headers["FLAGS"], 16)
        kennel.deliver(msg.sender, to, bytes([flags, len(body)]) + body)
        if flags == 0x88:
            kennel.disconnect(msg.sender, to)
    else:
        kennel.deliver(msg.sender, to, msg.path.encode() + msg.body + b"\0")
"#,
};

in_each_language!(json_and_xml_sockets_and_websockets_reach_an_old_handler);
fn json_and_xml_sockets_and_websockets_reach_an_old_handler(language: Language) {
    let setup = Setup::default().tnetstring().routes(&["/", "@", "<chat"]);
    for setup in [setup.clone(), setup.base64()] {
        let server = Mongrel2::start(setup.clone());
        let site = language.plan(OLD_SOCKETS).behind(&server).start();
        let (mut json, mut xml) = (Socket::connect(server.port()), Socket::connect(server.port()));
        for n in 0..3 {
            json.send_json("@chat", &json!({ "n": n }));
            xml.send_xml("<chat>x</chat>");
            let (answer, document) = (format!("@chat{{\"n\":{n}}}"), "<chat<chat>x</chat>");
            if setup.raw_payload {
                assert_eq!((json.read(), xml.read()), (answer, document.to_owned()));
            } else {
                assert_eq!(json.read_base64(answer.len()), answer.as_bytes());
                assert_eq!(xml.read_base64(document.len()), document.as_bytes());
            }
        }
        let mut ws = site.websocket("/chat");
        assert_eq!(ws.ask("hello"), "hello");
        ws.send_frame(TEXT, "in ");
        ws.send_frame(CONTINUATION, "fragments");
        ws.send_frame(FIN | CONTINUATION, "");
        assert_eq!(ws.read_text(), "in fragments");
        ws.answer_no_pings();
        ws.send_frame(FIN | PING, "p");
        assert_eq!(ws.read(), Received::Ping(b"p".to_vec()), "all frames come back");
        ws.close(4000, "bye");
        // One that an operator ends, of which nothing is told, and one that goes without a word.
        let mut killed = site.websocket("/chat");
        let number = killed.ask("number");
        server.kill_connection(number.parse().expect("a number"));
        assert_eq!(killed.read(), Received::End);
        let mut gone = site.websocket("/chat");
        let number = gone.ask("number");
        gone.vanish();
        site.log().expect(&format!("[gone {number}]"));
    }
}

in_each_language!(bytes_reach_many_connections_in_lists_of_at_most_128);
fn bytes_reach_many_connections_in_lists_of_at_most_128(language: Language) {
    let fake = FakeMongrel2::start();
    let site = language
        .plan(Scripts {
            lua: r#"
        app:get("/all", function(req)
          local ids = {}
          for id = 1, 300 do ids[id] = id end
          kennel.deliver(req.mongrel2.sender, ids, "to all")
          kennel.disconnect(req.mongrel2.sender, { 7, 8 })
          return "done"
        end)
        "#,
            python: r#"
        @app.get("/all")
        def to_all(req):
            kennel.deliver(req.mongrel2.sender, range(1, 301), b"to all")
            kennel.disconnect(req.mongrel2.sender, [7, 8])
            return "done"
        "#,
        })
        .behind_fake(&fake)
        .start();
    fake.send(Message::http(1000, "GET", "/all"));
    let mut reached = Vec::new();
    while reached.len() < 300 {
        let reply = fake.reply_that("to all", |reply| reply.payload == b"to all");
        assert!(reply.ids.len() <= 128, "{} ids in a reply", reply.ids.len());
        assert_eq!(reply.sender, SENDER);
        reached.extend(reply.ids);
    }
    assert_eq!(reached, (1..=300).collect::<Vec<_>>(), "each once");
    for id in [7, 8] {
        let close = fake.reply_to(id);
        assert!(close.payload.is_empty());
    }
    assert!(fake.reply_to(1000).text().ends_with("done"));
    drop(site);
}

in_each_language!(what_cannot_be_addressed_is_an_error_at_the_scripts_line_or_counted);
fn what_cannot_be_addressed_is_an_error_at_the_scripts_line_or_counted(language: Language) {
    let site = language.site(
        Scripts { lua: r#"
        app:get("/negative", function(req) kennel.deliver(req.mongrel2.sender, { -1 }, "x") return "sent" end)
        app:get("/huge", function(req) kennel.deliver(req.mongrel2.sender, { 2147483648 }, "x") return "sent" end)
        app:get("/text", function(req) kennel.deliver(req.mongrel2.sender, { "1" }, "x") return "sent" end)
        app:get("/sender", function(req) kennel.deliver("a b", { 1 }, "x") return "sent" end)
        app:get("/nil", function(req) kennel.deliver(req.mongrel2.sender, { 1 }, nil) return "sent" end)
        app:get("/stranger", function(req) kennel.deliver("stranger", { 1 }, "x") return "sent" end)
        app:get("/nobody", function(req) kennel.deliver(req.mongrel2.sender, { 99999 }, "x") return "sent" end)
        app:get("/empty", function(req) kennel.deliver(req.mongrel2.sender, { req.mongrel2.conn_id }, "") return "sent" end)
        "#, python: r#"
        def deliver(sender, ids, payload):
            kennel.deliver(sender, ids, payload)
            return "sent"
        @app.get("/negative")
        def negative(req): return deliver(req.mongrel2.sender, [-1], b"x")
        @app.get("/huge")
        def huge(req): return deliver(req.mongrel2.sender, [2147483648], b"x")
        @app.get("/text")
        async def text(req): return deliver(req.mongrel2.sender, ["1"], b"x")
        @app.get("/sender")
        def sender(req): return deliver("a b", [1], b"x")
        @app.get("/nil")
        async def nil(req): return deliver(req.mongrel2.sender, [1], None)
        @app.get("/stranger")
        def stranger(req): return deliver("stranger", [1], b"x")
        @app.get("/nobody")
        def nobody(req): return deliver(req.mongrel2.sender, [99999], b"x")
        @app.get("/empty")
        def empty(req): return deliver(req.mongrel2.sender, [req.mongrel2.conn_id], b"")
        "# },
    );
    for (path, line) in [("/negative", 3), ("/huge", 4), ("/text", 5), ("/sender", 6), ("/nil", 7)] {
        assert_eq!(site.get(path).status, 500, "{path}");
        // The Python script has one line for all of them.
        site.log().expect(&format!("GET {path} failed: {}: ", language.place(line, 4)));
    }
    assert_eq!(site.get("/stranger").text(), "sent");
    site.log().expect("`stranger`");
    assert_eq!(site.get("/nobody").text(), "sent");
    assert_eq!(site.get("/empty").text(), "sent", "an empty write is not a close");
}

in_each_language!(a_broadcast_reaches_every_open_connection);
fn a_broadcast_reaches_every_open_connection(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        local members = {}
        app:raw(function(msg)
          if msg.path == "@*" then return end
          if msg.path == "/join" then
            kennel.deliver(msg.sender, { msg.conn_id }, "joined\n")
            return
          end
          local ids = {}
          for id in msg.body:gmatch("%d+") do ids[#ids + 1] = tonumber(id) end
          kennel.deliver(msg.sender, ids, "news\n")
          kennel.disconnect(msg.sender, ids)
          kennel.deliver(msg.sender, { msg.conn_id }, "HTTP/1.1 204 No Content\r\n\r\n")
        end)
        app:get("/id", function(req) return tostring(req.mongrel2.conn_id) end)
        "#,
        python: r#"
        @app.raw
        def publish(msg):
            if msg.path == "@*":
                return
            if msg.path == "/join":
                kennel.deliver(msg.sender, [msg.conn_id], b"joined\n")
                return
            ids = [int(id) for id in msg.body.split()]
            kennel.deliver(msg.sender, ids, b"news\n")
            kennel.disconnect(msg.sender, ids)
            kennel.deliver(msg.sender, [msg.conn_id], b"HTTP/1.1 204 No Content\r\n\r\n")
        @app.get("/id")
        async def id_of(req): return str(req.mongrel2.conn_id)
        "#,
    });
    let mut clients: Vec<Client> = (0..150).map(|_| site.client()).collect();
    let mut ids = String::new();
    for client in &mut clients {
        ids.push_str(&client.get("/id").text());
        ids.push(' ');
        client.send(get("/join"));
    }
    // Several workers run what comes from several connections in any order: all have to be in first.
    for client in &mut clients {
        assert_eq!(client.read_bytes(7), b"joined\n");
    }
    assert_eq!(site.send(tests::client::request("POST", "/publish", &[], ids.as_bytes())).status, 204);
    for client in &mut clients {
        assert_eq!(client.read_to_end(), b"news\n");
    }
}
