use tests::client::{Client, get};
use tests::fake::{FakeMongrel2, Message, SENDER};
use tests::server::{Mongrel2, Setup};
use tests::site::Site;

/// Answers like a handler of old: whole HTTP responses, by its own hand.
const OLD_STYLE: &str = r#"
app:get("/routed", function() return "routed" end)
app:raw(function(msg)
  if msg.headers.METHOD == "JSON" and msg.path == "@*" then print("notice " .. msg.body) return end
  local body = msg.path .. " " .. msg.headers.METHOD .. " " .. msg.body
  kennel.deliver(msg.sender, { msg.conn_id }, "HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body)
  if msg.headers.connection == "close" then kennel.disconnect(msg.sender, { msg.conn_id }) end
end)
"#;

#[test]
fn an_old_handler_gets_what_no_route_takes_and_writes_the_bytes_itself() {
    let site = Site::lua(OLD_STYLE);
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

#[test]
fn json_sockets_and_websockets_reach_an_old_handler() {
    let server = Mongrel2::start(Setup::default().tnetstring().routes(&["/", "@chat"]));
    let site = Site::plan(
        r#"
        app:raw(function(msg)
          if msg.path == "@*" then return end
          if msg.headers.METHOD == "WEBSOCKET_HANDSHAKE" then
            kennel.deliver(msg.sender, { msg.conn_id },
              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
              .. msg.body .. "\r\n\r\n")
          elseif msg.headers.METHOD == "WEBSOCKET" then
            kennel.deliver(msg.sender, { msg.conn_id }, "\129" .. string.char(#msg.body) .. msg.body)
          else
            kennel.deliver(msg.sender, { msg.conn_id }, msg.path .. msg.body .. "\0")
          end
        end)
        "#,
    )
    .behind(&server)
    .start();
    let mut socket = site.client();
    socket.send(b"@chat {\"hi\":1}\0");
    assert_eq!(socket.read_bytes(14), b"@chat{\"hi\":1}\0");

    let mut websocket = site.client();
    websocket.send(
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let response = websocket.read_head();
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    websocket.send(b"\x81\x83\0\0\0\0abc");
    assert_eq!(websocket.read_bytes(5), b"\x81\x03abc");
}

#[test]
fn bytes_reach_many_connections_in_lists_of_at_most_128() {
    let fake = FakeMongrel2::start();
    let site = Site::plan(
        r#"
        app:get("/all", function(req)
          local ids = {}
          for id = 1, 300 do ids[id] = id end
          kennel.deliver(req.mongrel2.sender, ids, "to all")
          kennel.disconnect(req.mongrel2.sender, { 7, 8 })
          return "done"
        end)
        "#,
    )
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

#[test]
fn what_cannot_be_addressed_is_an_error_at_the_scripts_line_or_counted() {
    let site = Site::lua(
        r#"
        app:get("/negative", function(req) kennel.deliver(req.mongrel2.sender, { -1 }, "x") return "sent" end)
        app:get("/huge", function(req) kennel.deliver(req.mongrel2.sender, { 2147483648 }, "x") return "sent" end)
        app:get("/text", function(req) kennel.deliver(req.mongrel2.sender, { "1" }, "x") return "sent" end)
        app:get("/sender", function(req) kennel.deliver("a b", { 1 }, "x") return "sent" end)
        app:get("/nil", function(req) kennel.deliver(req.mongrel2.sender, { 1 }, nil) return "sent" end)
        app:get("/stranger", function(req) kennel.deliver("stranger", { 1 }, "x") return "sent" end)
        app:get("/nobody", function(req) kennel.deliver(req.mongrel2.sender, { 99999 }, "x") return "sent" end)
        app:get("/empty", function(req) kennel.deliver(req.mongrel2.sender, { req.mongrel2.conn_id }, "") return "sent" end)
        "#,
    );
    for (path, line) in [("/negative", 3), ("/huge", 4), ("/text", 5), ("/sender", 6), ("/nil", 7)] {
        assert_eq!(site.get(path).status, 500, "{path}");
        site.log().expect(&format!("GET {path} failed: app.lua:{line}: "));
    }
    assert_eq!(site.get("/stranger").text(), "sent");
    site.log().expect("`stranger`");
    assert_eq!(site.get("/nobody").text(), "sent");
    assert_eq!(site.get("/empty").text(), "sent", "an empty write is not a close");
}

#[test]
fn a_broadcast_reaches_every_open_connection() {
    let site = Site::lua(
        r#"
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
    );
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
