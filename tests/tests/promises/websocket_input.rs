use std::io::Write;
use std::time::{Duration, Instant};
use tests::fake::{FakeMongrel2, Message, SENDER};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::resident_memory;
use tests::server::{Mongrel2, Setup};
use tests::site::Site;
use tests::wait;
use tests::websocket::{
    BINARY, CLOSE, CONTINUATION, DEFLATE, Deflater, FIN, PING, PONG, RSV1, Received, TEXT, WebSocket,
    close_payload, frame, frame_head, handshake,
};

/// Opens are logged, so that a test can see that none was; texts and bytes come back.
const ECHO: Scripts<'_> = Scripts {
    lua: r#"
local echo = {
  open = function(conn) print("[open " .. conn.request.path .. "]") end,
  message = function(conn, msg)
    if conn.binary then conn:send_binary(msg) else conn:send(msg) end
  end,
  close = function(conn, code, reason) print("[close " .. code .. " " .. reason .. "]") end,
}
app:get("/fine", function() return "fine" end)
app:channel("/echo", echo)
app:channel("/deflate", { deflate = true }, echo)
app:channel("/small", { max_message = 1000 }, echo)
app:channel("/spoken", { protocols = { "chat.v2", "chat.v1" } }, echo)
app:channel("/friends", { origins = { "https://app.example", "http://other.example:8080" } }, echo)
"#,
    python: r#"
class Echo:
    def open(self, conn): print(f"[open {conn.request.path}]")
    def message(self, conn, msg): conn.send(msg)
    def close(self, conn, code, reason): print(f"[close {code} {reason}]")
@app.get("/fine")
def fine(req): return "fine"
app.channel("/echo")(Echo)
app.channel("/deflate", deflate=True)(Echo)
app.channel("/small", max_message=1000)(Echo)
app.channel("/spoken", protocols=["chat.v2", "chat.v1"])(Echo)
app.channel("/friends", origins=["https://app.example", "http://other.example:8080"])(Echo)
"#,
};

const LARGEST: usize = 1 << 20;

/// What the frames bring on a new connection: its close code, after the client has answered it.
fn close_code_of(site: &Site, path: &str, bytes: &[u8]) -> u16 {
    let mut ws = site.websocket(path);
    ws.send_bytes(bytes);
    ws.skip_to_close().0
}

#[test]
fn a_handshake_that_cannot_be_met_is_refused_with_the_right_status() {
    let site = Site::lua(ECHO.lua);
    for version in ["8", "12", "14", "0", "x", "13, 8"] {
        let refusal = site.refusal("/echo", &[("Sec-WebSocket-Version", version)]);
        assert_eq!(
            (refusal.status, refusal.header("sec-websocket-version")),
            (426, Some("13")),
            "{version:?}"
        );
    }
    let not_16_bytes = "dG9vIHNob3J0";
    let no_base64 = "!!!!IHNhbXBsZSBub25jZQ==";
    for key in ["x", not_16_bytes, no_base64, "dGhlIHNhbXBsZSBub25jZQ", &"A".repeat(64)] {
        assert_eq!(site.refusal("/echo", &[("Sec-WebSocket-Key", key)]).status, 400, "{key:?}");
    }
    for path in ["/", "/echo/", "/echo/x", "/ech", "/Echo", "/fine"] {
        assert_eq!(site.refusal(path, &[]).status, 404, "{path}");
    }
    assert_eq!(site.log().count("[open"), 0, "{}", site.log().text());
    assert_eq!(site.websocket("/echo").ask("x"), "x");
}

#[test]
fn a_request_without_an_upgrade_on_a_channels_path_gets_426() {
    let site = Site::lua(ECHO.lua);
    let mut client = site.client();
    let answer = client.get("/echo");
    assert_eq!(answer.status, 426);
    let upgrade = answer.header("upgrade").unwrap_or_default();
    assert!(upgrade.eq_ignore_ascii_case("websocket"), "{answer:?}");
    // Mongrel2 takes these for ordinary requests too.
    for headers in [[("Upgrade", "websocket, foo")], [("Upgrade", "h2c")], [("Connection", "keep-alive")]] {
        let mut client = site.client();
        client.send(handshake("/echo", &headers));
        assert_eq!(client.read().status, 426, "{headers:?}");
    }
    assert_eq!(site.get("/fine").text(), "fine");
    assert_eq!(site.log().count("[open"), 0);
}

in_each_language!(a_page_of_another_origin_is_refused_with_403_unless_the_channel_names_it);
fn a_page_of_another_origin_is_refused_with_403_unless_the_channel_names_it(language: Language) {
    let site = language.site(ECHO);
    for origin in [
        "http://evil.example",
        "https://localhost.evil.example",
        "http://evil.example/localhost",
        "http://localhost:81",
        "http://localhos",
        "localhost",
        "null",
        "file://",
    ] {
        assert_eq!(site.refusal("/echo", &[("Origin", origin)]).status, 403, "{origin:?}");
    }
    for (host, origin) in [
        ("localhost", "http://localhost"),
        ("localhost", "http://LOCALHOST"),
        ("localhost:6767", "http://localhost:6767"),
        ("a.example", "http://a.example"),
    ] {
        let mut ws = site.websocket_with("/echo", &[("Host", host), ("Origin", origin)]);
        assert_eq!(ws.ask("x"), "x", "{origin}");
    }
    // Programs that are no browsers send none.
    assert_eq!(site.websocket("/echo").ask("x"), "x");

    for origin in ["https://app.example", "http://other.example:8080"] {
        assert_eq!(site.websocket_with("/friends", &[("Origin", origin)]).ask("x"), "x", "{origin}");
    }
    for origin in
        ["http://app.example", "https://app.example:444", "https://app.example.evil", "http://evil.example"]
    {
        assert_eq!(site.refusal("/friends", &[("Origin", origin)]).status, 403, "{origin}");
    }
}

/// Mongrel2 hands frames over that came with the handshake, whatever becomes of it.
#[test]
fn frames_behind_a_refused_handshake_are_not_heard() {
    let site = Site::lua(ECHO.lua);
    for _ in 0..20 {
        let mut client = site.client();
        let handshake = handshake("/echo", &[("Origin", "http://evil.example")]);
        client.send([handshake, frame(FIN | TEXT, "one"), frame(FIN | TEXT, "two")].concat());
        assert_eq!(client.read().status, 403);
        let rest = client.read_to_end();
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
    }
    assert_eq!(site.websocket("/echo").ask("x"), "x");
    site.log().expect_exactly("[open", 1);
}

in_each_language!(frames_before_the_101_are_heard_after_open);
fn frames_before_the_101_are_heard_after_open(language: Language) {
    let site = language.site(ECHO);
    for _ in 0..20 {
        let early = [frame(FIN | TEXT, "one"), frame(FIN | TEXT, "two")].concat();
        let mut ws = WebSocket::open_and_send(site.port(), "/echo", &[], &early);
        assert_eq!(ws.read_text(), "one");
        assert_eq!(ws.read_text(), "two");
        assert_eq!(ws.ask("three"), "three");
    }
    let leave = frame(FIN | CLOSE, close_payload(4001, "just looking"));
    let mut ws = WebSocket::open_and_send(site.port(), "/echo", &[], &leave);
    assert_eq!(ws.read(), Received::Close(Some(4001), String::new()));
    site.log().expect("[close 4001 just looking]");
}

in_each_language!(of_the_offered_subprotocols_one_that_the_channel_speaks_is_chosen);
fn of_the_offered_subprotocols_one_that_the_channel_speaks_is_chosen(language: Language) {
    let site = language.site(ECHO);
    let chosen = |path: &str, offer: &str| {
        let ws = site.websocket_with(path, &[("Sec-WebSocket-Protocol", offer)]);
        ws.response().header("sec-websocket-protocol").map(str::to_owned)
    };
    assert_eq!(chosen("/spoken", "chat.v1").as_deref(), Some("chat.v1"));
    assert_eq!(chosen("/spoken", "unknown, chat.v1").as_deref(), Some("chat.v1"));
    assert!(
        ["chat.v1", "chat.v2"].contains(&chosen("/spoken", "chat.v1, chat.v2").unwrap_or_default().as_str())
    );
    assert_eq!(chosen("/spoken", "unknown"), None);
    assert_eq!(chosen("/spoken", "CHAT.V1"), None, "names are compared byte by byte");
    assert_eq!(chosen("/echo", "chat.v1"), None);
}

#[test]
fn a_client_of_any_habits_is_understood() {
    let site = Site::lua(ECHO.lua);
    for headers in [
        &[("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket")][..],
        &[("connection", "upgrade"), ("UPGRADE", "WEBSOCKET")],
        &[("Sec-WebSocket-Extensions", "x-webkit-deflate-frame, foo; bar=\"baz\"")],
    ] {
        let mut ws = site.websocket_with("/echo", headers);
        assert_eq!(ws.response().header("sec-websocket-extensions"), None);
        assert_eq!(ws.ask("x"), "x", "{headers:?}");
    }
    // Every byte alone.
    let mut ws = site.websocket("/echo");
    for byte in frame(FIN | TEXT, "Hällo") {
        ws.send_bytes([byte]);
    }
    assert_eq!(ws.read_text(), "Hällo");
}

in_each_language!(a_message_in_fragments_is_one_message);
fn a_message_in_fragments_is_one_message(language: Language) {
    let site = language.site(ECHO);
    let mut ws = site.websocket("/echo");
    ws.send_frame(TEXT, "one ");
    ws.send_frame(CONTINUATION, "");
    ws.send_frame(CONTINUATION, "two ");
    ws.send_frame(FIN | PING, "between");
    assert_eq!(ws.read(), Received::Pong(b"between".to_vec()), "at once, not after the message");
    ws.send_frame(FIN | CONTINUATION, "three");
    assert_eq!(ws.read_text(), "one two three");
    ws.send_frame(BINARY, [0, 255]);
    ws.send_frame(FIN | CONTINUATION, [1]);
    assert_eq!(ws.read_binary(), [0, 255, 1]);
    // A character may lie in two fragments, and a fragment may have one byte.
    for (n, byte) in "ä😀".bytes().enumerate() {
        ws.send_frame(if n == 0 { TEXT } else { CONTINUATION }, [byte]);
    }
    ws.send_frame(FIN | CONTINUATION, "");
    assert_eq!(ws.read_text(), "ä😀");
}

#[test]
fn a_ping_is_answered_with_its_own_payload() {
    let site = Site::lua(ECHO.lua);
    let mut ws = site.websocket("/echo");
    for payload in [&b""[..], b"x", b"\0\xff\xfe", &[b'p'; 125]] {
        ws.send_frame(FIN | PING, payload);
        assert_eq!(ws.read(), Received::Pong(payload.to_vec()));
    }
    // An answer that nobody asked for is nothing.
    ws.send_frame(FIN | PONG, "unasked");
    assert_eq!(ws.ask("x"), "x");
}

in_each_language!(texts_that_are_no_utf8_are_closed_with_1007);
fn texts_that_are_no_utf8_are_closed_with_1007(language: Language) {
    let site = language.site(ECHO);
    for bad in [
        &b"\xff"[..],
        b"caf\xe9",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"cut off \xf0\x9f\x98",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    ] {
        assert_eq!(close_code_of(&site, "/echo", &frame(FIN | TEXT, bad)), 1007, "{}", bad.escape_ascii());
        let (one, two) = bad.split_at(bad.len() / 2);
        let fragments = [frame(TEXT, one), frame(FIN | CONTINUATION, two)].concat();
        assert_eq!(close_code_of(&site, "/echo", &fragments), 1007, "in fragments: {}", bad.escape_ascii());
        let mut ws = site.websocket("/echo");
        ws.send_binary(bad);
        assert_eq!(ws.read_binary(), bad, "bytes may be anything");
    }
    let reason = [&close_payload(1000, "")[..], b"\xff"].concat();
    assert_eq!(close_code_of(&site, "/echo", &frame(FIN | CLOSE, reason)), 1007);
    site.log().expect_times("[close 1007 ", 15);
    assert_eq!(site.log().count("ERROR"), 0, "clients' mistakes are no errors of the script");
}

#[test]
fn reserved_bits_and_opcodes_are_closed_with_1002() {
    let site = Site::lua(ECHO.lua);
    for path in ["/echo", "/deflate"] {
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            assert_eq!(close_code_of(&site, path, &frame(FIN | opcode, "x")), 1002, "opcode {opcode}");
        }
        for bits in [0x10, 0x20, 0x30, RSV1, 0x70] {
            for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
                let payload = if opcode == CLOSE { close_payload(1000, "") } else { b"x".to_vec() };
                let code = close_code_of(&site, path, &frame(FIN | bits | opcode, payload));
                assert_eq!(code, 1002, "{path}: bits {bits:#x} with opcode {opcode}");
            }
        }
    }
}

#[test]
fn a_close_that_breaks_the_rules_is_answered_with_1002() {
    let site = Site::lua(ECHO.lua);
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        let bytes = frame(FIN | CLOSE, close_payload(code, ""));
        assert_eq!(close_code_of(&site, "/echo", &bytes), 1002, "code {code}");
    }
    assert_eq!(close_code_of(&site, "/echo", &frame(FIN | CLOSE, [3])), 1002, "half a code");
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        site.websocket("/echo").close(code, "fine");
    }
}

/// What Mongrel2 itself does not let pass: it ends the connection, and the script hears of it.
#[test]
fn framing_that_mongrel2_refuses_ends_the_connection() {
    let server = Mongrel2::start(Setup::default());
    let site = Site::plan(ECHO.lua).behind(&server).start();
    let bad = [
        ("no mask", b"\x81\x01x".to_vec()),
        ("nothing to continue", frame(FIN | CONTINUATION, "x")),
        ("a message within a message", [frame(TEXT, "a"), frame(FIN | TEXT, "b")].concat()),
        ("a ping in fragments", frame(PING, "x")),
        ("a long ping", frame(FIN | PING, [b'x'; 126])),
        ("2 GiB", frame_head(FIN | BINARY, 1 << 31)),
        ("2^63 bytes", frame_head(FIN | BINARY, 1 << 63)),
    ];
    for (n, (what, bytes)) in bad.iter().enumerate() {
        let mut ws = site.websocket("/echo");
        assert_eq!(ws.ask("x"), "x");
        ws.send_bytes(bytes);
        assert_eq!(ws.read(), Received::End, "{what}");
        site.log().expect_times("[close 1006 ", n + 1);
    }
    assert_eq!(site.websocket("/echo").ask("x"), "x");
}

in_each_language!(a_message_beyond_the_channels_bound_is_closed_with_1009);
fn a_message_beyond_the_channels_bound_is_closed_with_1009(language: Language) {
    let site = language.site(ECHO);
    let mut ws = site.websocket("/echo");
    let largest = "x".repeat(LARGEST);
    assert!(ws.ask(&largest) == largest, "the largest is taken");
    ws.send(format!("{largest}y"));
    assert_eq!(ws.read_close().0, 1009);
    let mut ws = site.websocket("/small");
    assert_eq!(ws.ask("x".repeat(1000)).len(), 1000);
    ws.send_frame(TEXT, "x".repeat(600));
    ws.send_frame(FIN | CONTINUATION, "x".repeat(401));
    assert_eq!(ws.read_close().0, 1009);
    let mut ws = site.websocket("/small");
    ws.send_binary([0; 1001]);
    assert_eq!(ws.read_close().0, 1009);
    site.log().expect_times("[close 1009 ", 3);
}

#[test]
fn a_client_that_announces_a_gigabyte_harms_nobody() {
    let server = Mongrel2::start(Setup::default());
    let site = Site::plan(ECHO.lua).behind(&server).start();
    let before = resident_memory(site.hub());
    let mut ws = site.websocket("/echo");
    ws.send_bytes(frame_head(FIN | BINARY, 1 << 30));
    for _ in 0..50 {
        ws.send_bytes([b'x'; 100_000]);
        assert_eq!(site.get("/fine").text(), "fine");
        assert_eq!(site.websocket("/echo").ask("x"), "x");
    }
    assert!(resident_memory(site.hub()) < before + (8 << 20), "the hub holds none of it");
    let closed = site.log().count("[close 1006 ");
    ws.vanish();
    site.log().expect_times("[close 1006 ", closed + 1);
}

#[test]
fn a_flood_of_pings_is_closed_with_1008() {
    let server = Mongrel2::start(Setup::default().tnetstring().flow_control());
    let site = Site::plan(ECHO.lua).behind(&server).start();
    let mut ws = site.websocket("/echo");
    let mut other = site.websocket("/echo");
    let mut writer = ws.writer();
    let pings: Vec<u8> = (0..1000).flat_map(|_| frame(FIN | PING, [b'p'; 125])).collect();
    let flood = std::thread::spawn(move || {
        // It ends when the connection does; at most 25 MB are sent.
        let _ = (0..200).try_for_each(|_| writer.write_all(&pings));
    });
    let end = loop {
        match ws.read() {
            Received::Pong(_) => {}
            other => break other,
        }
    };
    // What is sent on meanwhile may make the system drop the close before it is read.
    assert!(matches!(end, Received::Close(Some(1008), _) | Received::End), "{end:?}");
    flood.join().expect("it ends");
    site.log().expect("[close 1008 ");
    assert_eq!(other.ask("x"), "x");
    assert_eq!(site.get("/fine").text(), "fine");
}

#[test]
fn a_ping_now_and_then_is_no_flood() {
    let site = Site::lua(ECHO.lua);
    let mut ws = site.websocket("/echo");
    for round in 0..100 {
        ws.send_frame(FIN | PING, round.to_string());
        assert_eq!(ws.read(), Received::Pong(round.to_string().into_bytes()));
        if round % 10 == 0 {
            assert_eq!(ws.ask("x"), "x");
        }
        // More often than any decent client asks.
        std::thread::sleep(Duration::from_millis(10));
    }
}

in_each_language!(a_client_that_sends_and_never_reads_is_closed_and_costs_a_bounded_amount_of_memory);
fn a_client_that_sends_and_never_reads_is_closed_and_costs_a_bounded_amount_of_memory(language: Language) {
    let server = Mongrel2::start(Setup::default().tnetstring().flow_control());
    let site = language.plan(ECHO).config("[limits]\nconnection_output = \"1MiB\"\n").behind(&server).start();
    let before = resident_memory(site.hub());
    let never = site.websocket("/echo");
    never.hold_little();
    let mut other = site.websocket("/echo");
    let mut writer = never.writer();
    let messages: Vec<u8> = (0..10).flat_map(|_| frame(FIN | BINARY, [0; 100_000])).collect();
    let sender = std::thread::spawn(move || {
        let _ = (0..200).try_for_each(|_| writer.write_all(&messages));
    });
    let begin = Instant::now();
    while site.log().count("[close ") == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it stays open");
        assert_eq!(other.ask("x"), "x");
        assert_eq!(site.get("/fine").text(), "fine");
        let grown = resident_memory(site.hub()).saturating_sub(before);
        assert!(grown < 64 << 20, "the hub grew by {} MiB", grown >> 20);
    }
    site.log().expect("[close 1008 ");
    drop(never);
    sender.join().expect("it ends");
    assert_eq!(other.ask("x"), "x");
}

in_each_language!(messages_that_the_script_is_too_slow_for_wait_in_bounds);
fn messages_that_the_script_is_too_slow_for_wait_in_bounds(language: Language) {
    let body = Scripts {
        lua: r#"
        app:get("/fine", function() return "fine" end)
        app:channel("/", {
          message = function(conn, msg) kennel.sleep(30) end,
          close = function(conn, code) print("[close " .. code .. "]") end,
        })
    "#,
        python: r#"
        import asyncio
        @app.get("/fine")
        def fine(req): return "fine"
        @app.channel("/")
        class Slow:
            async def message(self, conn, msg): await asyncio.sleep(30)
            def close(self, conn, code, reason): print(f"[close {code}]")
    "#,
    };
    let server = Mongrel2::start(Setup::default().tnetstring());
    let site = language.plan(body).behind(&server).start();
    let before = resident_memory(site.hub());
    let ws = site.websocket("/");
    let mut writer = ws.writer();
    let messages: Vec<u8> = (0..10).flat_map(|_| frame(FIN | BINARY, [0; 100_000])).collect();
    let sender = std::thread::spawn(move || {
        let _ = (0..200).try_for_each(|_| writer.write_all(&messages));
    });
    sender.join().expect("all is sent, or the connection is closed");
    assert_eq!(site.get("/fine").text(), "fine");
    let grown = resident_memory(site.hub()).saturating_sub(before);
    assert!(grown < 100 << 20, "200 MB were sent, and the hub grew by {} MiB", grown >> 20);
}

in_each_language!(compression_is_agreed_to_only_where_the_channel_says_so);
fn compression_is_agreed_to_only_where_the_channel_says_so(language: Language) {
    let site = language.site(ECHO);
    assert_eq!(site.websocket_with("/echo", &[DEFLATE]).response().header(DEFLATE.0), None);
    assert_eq!(site.websocket("/deflate").response().header(DEFLATE.0), None, "not offered");
    let agreed = |offer: &str| {
        let ws = site.websocket_with("/deflate", &[(DEFLATE.0, offer)]);
        ws.response().header(DEFLATE.0).map(str::to_owned)
    };
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "foo, permessage-deflate",
        "permessage-deflate; unknown=1, permessage-deflate",
    ] {
        let answer = agreed(offer).unwrap_or_default();
        assert!(answer.starts_with("permessage-deflate"), "{offer}: {answer:?}");
    }
    let answer = agreed("permessage-deflate; server_no_context_takeover").unwrap_or_default();
    assert!(answer.contains("server_no_context_takeover"), "what is asked must be met: {answer:?}");
    for offer in [
        "x-webkit-deflate-frame",
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits=99",
    ] {
        assert_eq!(agreed(offer), None, "{offer}");
    }
}

in_each_language!(compressed_messages_come_and_go);
fn compressed_messages_come_and_go(language: Language) {
    let site = language.site(ECHO);
    for offer in ["permessage-deflate", "permessage-deflate; server_no_context_takeover"] {
        let mut ws = site.websocket_with("/deflate", &[(DEFLATE.0, offer)]);
        let answer = ws.response().header(DEFLATE.0).unwrap_or_default().to_owned();
        let client_forgets = answer.contains("client_no_context_takeover");
        let mut deflater = Deflater::new();
        let noise: String = (0..20_000_u32)
            .map(|n| char::from(33 + (n.wrapping_mul(2_654_435_761) >> 20) as u8 % 90))
            .collect();
        for text in ["", "hello", "hello", "x", "ä😀", &"hello ".repeat(100_000), &noise, "hello"] {
            if client_forgets {
                deflater = Deflater::new();
            }
            ws.send_frame(FIN | RSV1 | TEXT, deflater.deflate(text));
            assert!(ws.read_text() == text, "{} bytes, {offer}", text.len());
            // Uncompressed ones may come between.
            assert_eq!(ws.ask("plain"), "plain");
        }
        if client_forgets {
            deflater = Deflater::new();
        }
        ws.send_frame(FIN | RSV1 | BINARY, deflater.deflate([0, 255]));
        assert_eq!(ws.read_binary(), [0, 255]);
        // In fragments only the first has the bit, and a character may be cut anywhere.
        if client_forgets {
            deflater = Deflater::new();
        }
        let payload = deflater.deflate("fragments ".repeat(50));
        ws.send_frame(RSV1 | TEXT, &payload[..3]);
        ws.send_frame(FIN | PING, "between");
        ws.send_frame(CONTINUATION, &payload[3..7]);
        ws.send_frame(FIN | CONTINUATION, &payload[7..]);
        assert_eq!(ws.read(), Received::Pong(b"between".to_vec()));
        assert_eq!(ws.read_text(), "fragments ".repeat(50));
        ws.close(1000, "");
    }
}

in_each_language!(large_answers_travel_compressed);
fn large_answers_travel_compressed(language: Language) {
    let site = language.site(ECHO);
    let mut ws = site.websocket_with("/deflate", &[DEFLATE]);
    let text = "hello ".repeat(100_000);
    ws.send(&text);
    let frame = ws.read_frame();
    assert!(
        frame.has(RSV1) && frame.payload.len() < 20_000,
        "{:#x}, {} bytes",
        frame.first,
        frame.payload.len()
    );
}

in_each_language!(a_room_speaks_to_each_as_it_understands);
/// A room's message to clients with and without compression.
fn a_room_speaks_to_each_as_it_understands(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:channel("/", { deflate = true }, { open = function(conn) conn:join("r") conn:send("joined") end })
        app:get("/say", function()
          for n = 1, 20 do kennel.room("r"):send(n .. string.rep(" the same again", 100)) end
          return "said"
        end)
        "#,
        python: r#"
        @app.channel("/", deflate=True)
        class Listener:
            def open(self, conn):
                conn.join("r")
                conn.send("joined")
        @app.get("/say")
        def say(req):
            for n in range(1, 21):
                kennel.room("r").send(str(n) + " the same again" * 100)
            return "said"
        "#,
    });
    let offers = [&[][..], &[DEFLATE], &[(DEFLATE.0, "permessage-deflate; server_no_context_takeover")]];
    let mut clients: Vec<WebSocket> = (0..9).map(|n| site.websocket_with("/", offers[n % 3])).collect();
    for ws in &mut clients {
        assert_eq!(ws.read_text(), "joined");
    }
    assert_eq!(site.get("/say").text(), "said");
    for (n, ws) in clients.iter_mut().enumerate() {
        for k in 1..=20 {
            assert_eq!(ws.read_text(), format!("{k}{}", " the same again".repeat(100)), "client {n}");
        }
    }
}

#[test]
fn a_compressed_message_that_unpacks_beyond_the_bound_is_closed_with_1009() {
    let server = Mongrel2::start(Setup::default().tnetstring());
    let site = Site::plan(ECHO.lua).behind(&server).start();
    let bomb = Deflater::new().deflate(vec![b'x'; 200 << 20]);
    assert!(bomb.len() < LARGEST, "{} bytes", bomb.len());
    let before = resident_memory(site.hub());
    let mut other = site.websocket("/echo");
    for _ in 0..10 {
        let mut ws = site.websocket_with("/deflate", &[DEFLATE]);
        ws.send_frame(FIN | RSV1 | TEXT, &bomb);
        assert_eq!(ws.read_close().0, 1009);
        assert_eq!(other.ask("x"), "x");
    }
    let grown = resident_memory(site.hub()).saturating_sub(before);
    assert!(grown < 32 << 20, "the hub grew by {} MiB", grown >> 20);
    // A control frame is never compressed, not even where messages are.
    let mut ws = site.websocket_with("/deflate", &[DEFLATE]);
    ws.send_frame(FIN | RSV1 | PING, "x");
    assert_eq!(ws.read_close().0, 1002);
    // Exactly at the bound it is a message.
    let mut ws = site.websocket_with("/deflate", &[DEFLATE]);
    ws.send_frame(FIN | RSV1 | TEXT, Deflater::new().deflate(vec![b'x'; LARGEST]));
    assert_eq!(ws.read_text().len(), LARGEST);
}

#[test]
fn what_cannot_be_inflated_closes_its_connection_alone() {
    let site = Site::lua(ECHO.lua);
    let mut other = site.websocket_with("/deflate", &[DEFLATE]);
    let half = Deflater::new().deflate("something longer than a byte");
    for bad in [&b"\xff\xff\xff\xff"[..], b"\x06", b"\x07garbage", &half[..half.len() / 2]] {
        let mut ws = site.websocket_with("/deflate", &[DEFLATE]);
        ws.send_frame(FIN | RSV1 | TEXT, bad);
        let (code, _) = ws.read_close();
        assert!([1002, 1007].contains(&code), "{code} for {}", bad.escape_ascii());
        assert_eq!(other.ask("x"), "x");
    }
    let mut ws = site.websocket_with("/deflate", &[DEFLATE]);
    ws.send_frame(FIN | RSV1 | TEXT, Deflater::new().deflate(b"no utf8 \xff"));
    assert_eq!(ws.read_close().0, 1007);
}

/// Frames that no WebSocket of a real server would bring in this order.
#[test]
fn frames_of_nobody_and_handshakes_twice_are_survived() {
    let mongrel2 = FakeMongrel2::start();
    let _site = Site::plan(ECHO.lua).behind_fake(&mongrel2).start();
    let open = |id: i64| {
        mongrel2.send(Message::handshake(id, "/echo"));
        let answer = mongrel2.reply_to(id as u64);
        assert!(answer.text().starts_with("HTTP/1.1 101 "), "{answer:?}");
    };
    open(1);
    // A second handshake on an open connection, a frame without FLAGS, with strange ones, and for a plain path.
    mongrel2.send(Message::handshake(1, "/echo"));
    mongrel2.send(Message::frame(2, "/echo", FIN | TEXT, "x").without("FLAGS"));
    for flags in ["", "x", "0x", "0xFFFFFFFFFFFFFFFFFF", "129", "-1", "0x1"] {
        mongrel2.send(Message::frame(3, "/echo", FIN | TEXT, "x").header("FLAGS", flags));
    }
    mongrel2.send(Message::frame(4, "/fine", FIN | TEXT, "x"));
    mongrel2.send(Message::frame(5, "/echo", FIN | TEXT, "x").header("origin", "http://evil.example"));
    mongrel2.reply_that("a foreign page is closed", |reply| reply.ids == [5] && reply.payload.is_empty());
    mongrel2.send(Message::handshake(6, "/echo").body(""));
    open(7);
    mongrel2.send(Message::frame(7, "/echo", FIN | TEXT, "alive"));
    mongrel2.reply_that("the echo", |reply| reply.ids == [7] && reply.text().ends_with("alive"));
    mongrel2.send(Message::http(8, "GET", "/fine"));
    assert!(mongrel2.reply_to(8).text().ends_with("fine"));
    assert!(mongrel2.replies().iter().all(|reply| reply.sender == SENDER));
}

#[test]
fn a_thousand_half_handshakes_and_sudden_ends_leave_nothing_behind() {
    // Of some ends Mongrel2 does not tell: they are found by asking.
    let site = Site::plan(ECHO.lua).config("[limits]\nkeep_alive = \"2s\"\n").start();
    let bytes =
        [handshake("/echo", &[]), frame(FIN | TEXT, "x"), frame(FIN | CLOSE, close_payload(1000, ""))]
            .concat();
    for n in 0..1000 {
        let mut client = site.client();
        // Cut at every place once and at most ones several times.
        client.send(&bytes[..n % (bytes.len() + 1)]);
        match n % 3 {
            0 => client.vanish(),
            1 => client.shut_down_sending(),
            _ => {}
        }
    }
    // What this one says comes behind all that.
    let mut last = site.websocket("/echo");
    assert_eq!(last.ask("x"), "x");
    wait::until("every open has its close", || {
        site.log().count("[open /echo]") == site.log().count("[close ") + 1
    });
    assert!(site.log().count("[close 1000 ") > 0 && site.log().count("[close 1006 ") > 0);
    assert_eq!(site.log().count("ERROR"), 0, "{}", site.log().text());
}
