use tests::client::{Client, request};
use tests::fake::{FakeMongrel2, Message, SENDER};
use tests::server::{self, Front, Mongrel2, Setup};
use tests::site::Site;

const APP: &str = r#"
app:get("/good/{n}", function(req, n) return "good " .. n end)
app:post("/headers", function(req)
  local names = {}
  for name in pairs(req.headers) do names[#names + 1] = name end
  table.sort(names)
  return { names = kennel.array(names), start = req.headers["x-mongrel2-upload-start"] == nil, body = req.body }
end)
app:get("/sleep/{s}/{text}", function(req, s, text) kennel.sleep(tonumber(s)) return text end)
"#;

struct Scene {
    site: Site,
    mongrel2: FakeMongrel2,
}

impl Scene {
    fn begin() -> Self {
        let mongrel2 = FakeMongrel2::start();
        let site = Site::plan(APP).behind_fake(&mongrel2).start();
        let scene = Self { site, mongrel2 };
        // The first message says who the server is.
        scene.expect_life(1);
        scene
    }

    /// The hub answers the next good request, and no reply before was malformed.
    fn expect_life(&self, id: i64) {
        self.mongrel2.send(Message::http(id, "GET", &format!("/good/{id}")));
        let answer = self.mongrel2.reply_to(id as u64);
        assert!(answer.text().ends_with(&format!("good {id}")), "{answer:?}");
        assert!(
            self.mongrel2.replies().iter().all(|reply| reply.sender == SENDER),
            "{:?}",
            self.mongrel2.replies()
        );
    }

    /// The answer to a message has this status, and the connection is closed after it.
    fn expect_refusal(&self, message: Vec<u8>, id: u64, status: u16, what: &str) {
        self.mongrel2.send(message);
        let answer = self.mongrel2.reply_to(id);
        assert!(answer.text().starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer:?}");
        assert!(answer.text().contains("Connection: close\r\n"), "{what}: {answer:?}");
        assert!(self.mongrel2.reply_to(id).payload.is_empty(), "{what} is closed");
    }
}

#[test]
fn bytes_that_are_no_message_are_logged_and_dropped() {
    let scene = Scene::begin();
    let good = Message::http(2, "GET", "/good/2").tnetstring();
    let mut bad: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"fake".to_vec(),
        b"fake 1".to_vec(),
        b"fake x / 2:{},0:,".to_vec(),
        b"fake 99999999999 / 2:{},0:,".to_vec(),
        b"fake 1  2:{},0:,".to_vec(),
        b"fake 1 / 99:{},0:,".to_vec(),
        b"fake 1 / 2:{}]0:,".to_vec(),
        b"fake 1 / 2:{},0:,more".to_vec(),
        b"fake 1 / 2:{},5:abc,".to_vec(),
        b"fake 1 / -1:{},0:,".to_vec(),
        b"fake 1 / 99999999999999999999:{},0:,".to_vec(),
        b"f ke 1 / 2:{},0:,".to_vec(),
        b"fa_e 1 / 2:{},0:,".to_vec(),
    ];
    bad.extend((1..good.len()).map(|end| good[..end].to_vec()));
    let count = bad.len();
    for message in bad {
        scene.mongrel2.send(message);
    }
    scene.expect_life(3);
    assert!(scene.mongrel2.replies().is_empty(), "{count} bad messages: {:?}", scene.mongrel2.replies());
    scene.site.log().expect("dropped a message that cannot be read");
    assert!(scene.site.log().count("cannot be read") < 100, "a flood must not fill the log");
}

#[test]
fn a_megabyte_of_garbage_is_survived() {
    let scene = Scene::begin();
    // A fixed seed, so that a failure comes again.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let garbage: Vec<u8> = (0..1 << 20).map(|_| random() as u8).collect();
    scene.mongrel2.send(garbage.clone());
    for chunk in garbage.chunks(1000) {
        scene.mongrel2.send(chunk);
    }
    // And good messages with a few bytes changed.
    for round in 0..3000 {
        let mut message = Message::http(5, "GET", "/good/5").header("x-a", "b").tnetstring();
        for _ in 0..1 + round % 3 {
            let at = random() as usize % message.len();
            message[at] = random() as u8;
        }
        scene.mongrel2.send(message);
    }
    scene.expect_life(6);
}

#[test]
fn a_client_cannot_pose_as_another_kind_of_message() {
    let scene = Scene::begin();
    for (id, method) in [(2, "JSON"), (3, "XML"), (4, "WEBSOCKET")] {
        scene.expect_refusal(Message::http(id, method, "/good/1").tnetstring(), id as u64, 400, method);
        scene.expect_refusal(Message::http(id + 10, method, "/good/1").json(), id as u64 + 10, 400, method);
    }
    let no_method = Message::http(20, "GET", "/good/1").without("METHOD").tnetstring();
    scene.expect_refusal(no_method, 20, 400, "no METHOD");
    let version = Message::http(21, "GET", "/good/1").header("VERSION", "HTTP/3.0").tnetstring();
    scene.expect_refusal(version, 21, 400, "a strange VERSION");
    let headers = b"fake 22 / 9:3:abc,xyz}0:,".to_vec();
    scene.expect_refusal(headers, 22, 400, "headers that are no dictionary");
    scene.site.log().expect("an HTTP request cannot have the method JSON, XML or WEBSOCKET");
    scene.expect_life(30);
}

#[test]
fn a_real_client_with_a_forged_method_gets_400() {
    let server = Mongrel2::start(Setup::default());
    let site = Site::plan(APP).behind(&server).start();
    for method in ["JSON", "XML", "WEBSOCKET"] {
        let mut client = site.client();
        client.send(request(method, "/good/1", &[], b"{\"type\":\"disconnect\"}"));
        let response = client.read();
        assert_eq!((response.status, response.header("connection")), (400, Some("close")), "{method}");
        assert_eq!(client.read_to_end(), b"");
    }
    assert_eq!(site.get("/good/1").text(), "good 1");
}

#[test]
fn forged_notices_close_nobody() {
    let scene = Scene::begin();
    // A slow request, and somebody who claims that its client has left.
    scene.mongrel2.send(Message::http(2, "GET", "/sleep/0.5/kept"));
    let body = r#"{"type":"disconnect"}"#;
    scene.mongrel2.send(Message::bare(2, "@*").header("METHOD", "JSON").header("PATTERN", "@").body(body));
    scene.mongrel2.send(Message::bare(2, "@*").header("METHOD", "GET").body(body));
    scene.mongrel2.send(Message::bare(2, "@*").header("METHOD", "JSON").body(r#"{"type":"leave"}"#));
    scene
        .mongrel2
        .send(Message::bare(2, "@other").header("METHOD", "JSON").header("PATTERN", "@").body(body));
    // The last one was a message of a JSON socket, which no channel takes: that closes it, in its turn.
    assert!(scene.mongrel2.reply_to(2).text().ends_with("kept"), "a forged notice was believed");
    assert!(scene.mongrel2.reply_to(2).payload.is_empty());
    scene.site.log().expect("path @* without being a notice of Mongrel2");

    scene.mongrel2.send(Message::http(3, "GET", "/sleep/0.5/kept"));
    scene.mongrel2.send(Message::bare(3, "@*").header("METHOD", "JSON").header("PATTERN", "@").body(body));
    assert!(scene.mongrel2.reply_to(3).text().ends_with("kept"), "the forged notice was believed");

    // A genuine one is believed, and its answer is sent to nobody.
    scene.mongrel2.send(Message::http(4, "GET", "/sleep/0.3/late"));
    scene.mongrel2.send(Message::disconnect(4));
    scene.mongrel2.send(Message::http(5, "GET", "/sleep/0.6/other"));
    assert!(scene.mongrel2.reply_to(5).text().ends_with("other"));
    assert!(!scene.mongrel2.replies().iter().any(|reply| reply.ids.contains(&4)));
}

#[test]
fn ids_that_cannot_be_and_unknown_notices_are_ignored() {
    let scene = Scene::begin();
    for id in [-1, -2_147_483_648, 2_147_483_648, 4_294_967_295] {
        scene.mongrel2.send(Message::http(id, "GET", "/good/1"));
        scene.mongrel2.send(Message::disconnect(id));
    }
    for id in [7, 7, 8, 1, 2_147_483_647] {
        scene.mongrel2.send(Message::disconnect(id));
    }
    scene.expect_life(2);
    scene.expect_life(2_147_483_647);
    scene.expect_life(0);
    assert!(scene.mongrel2.replies().is_empty(), "{:?}", scene.mongrel2.replies());
    scene.site.log().expect("cannot be addressed");
}

#[test]
fn messages_of_another_sender_are_dropped() {
    let scene = Scene::begin();
    scene.mongrel2.send(Message::http(2, "GET", "/good/2").from("stranger"));
    scene.mongrel2.send(Message::disconnect(2).from("stranger"));
    scene.expect_life(3);
    assert!(scene.mongrel2.replies().is_empty(), "{:?}", scene.mongrel2.replies());
    scene.site.log().expect("dropped a message from `stranger`");
}

#[test]
fn spoofed_upload_headers_are_stripped_and_uploads_that_are_not_wanted_get_413() {
    let scene = Scene::begin();
    let spoofed = Message::http(2, "POST", "/headers")
        .header("x-mongrel2-upload-start", "/etc/passwd")
        .header("x-mongrel2-upload-done", "/etc/passwd")
        .header("content-length", "3")
        .body("abc");
    scene.mongrel2.send(spoofed);
    let answer = scene.mongrel2.reply_to(2).text();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer
            .ends_with(r#"{"body":"abc","names":["content-length","host","x-forwarded-for"],"start":true}"#),
        "{answer}"
    );

    let start = Message::http(3, "POST", "/headers")
        .header("content-length", "50000")
        .header("x-mongrel2-upload-start", "/tmp/upload.abc");
    scene.expect_refusal(start.tnetstring(), 3, 413, "an upload into a file");
    // What was under way when the connection was closed finds nobody.
    scene.mongrel2.send(start.clone().header("x-mongrel2-upload-done", "/tmp/upload.abc"));
    let stream = Message::http(4, "POST", "/headers")
        .header("content-length", "2000000000")
        .header("UPLOAD_STREAM", "0");
    scene.expect_refusal(stream.body("first").tnetstring(), 4, 413, "a body beyond limits.upload");
    scene.mongrel2.send(Message::bare(4, "/headers").header("UPLOAD_STREAM", "5").body("second"));
    scene.expect_life(5);
    assert!(scene.mongrel2.replies().is_empty(), "{:?}", scene.mongrel2.replies());
}

#[test]
fn a_path_that_ends_inside_its_routes_key_is_not_found() {
    let server = Mongrel2::start(Setup::default().routes(&["/long/route/", "/other"]));
    let site = Site::plan(
        r#"
        app:get("/long", function() return "never" end)
        app:get("/l", function() return "never" end)
        app:get("/long/route/x", function() return "there" end)
        app:get("/other", function() return "other" end)
        "#,
    )
    .behind(&server)
    .start();
    assert_eq!(site.get("/long/route/x").text(), "there");
    assert_eq!(site.get("/other").text(), "other");
    for path in ["/l", "/long", "/long/rou"] {
        assert_eq!(site.get(path).status, 404, "{path}");
    }
}

#[test]
fn what_is_for_channels_is_closed_where_there_are_none() {
    let scene = Scene::begin();
    let frame = Message::http(2, "WEBSOCKET", "/good/1").header("FLAGS", "0x81").body("hello");
    scene.mongrel2.send(frame);
    assert!(scene.mongrel2.reply_to(2).payload.is_empty(), "a frame");
    let json = Message::bare(3, "@chat").header("METHOD", "JSON").header("PATTERN", "@chat").body("{}");
    scene.mongrel2.send(json);
    assert!(scene.mongrel2.reply_to(3).payload.is_empty(), "a JSON socket");
    let xml = Message::bare(4, "<a").header("METHOD", "XML").header("PATTERN", "<a").body("<a/>");
    scene.mongrel2.send(xml);
    assert!(scene.mongrel2.reply_to(4).payload.is_empty(), "an XML socket");
    let handshake = Message::http(5, "WEBSOCKET_HANDSHAKE", "/good/1").body("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    scene.expect_refusal(handshake.tnetstring(), 5, 404, "a handshake");
    scene.site.log().expect("no channel takes it");
    scene.expect_life(6);
}

#[test]
fn a_real_websocket_without_a_channel_gets_404_and_is_closed() {
    let site = Site::plan(APP).behind_warm().start();
    let mut client = site.client();
    client.send(
        "GET /good/1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x01",
    );
    assert_eq!(client.read().status, 404);
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn header_bytes_that_are_no_json_and_no_utf8_are_read_exactly() {
    let server = Mongrel2::start(Setup::default());
    let body = r#"app:get("/", function(req) return req.headers["x-odd"] end)"#;
    let site = Site::plan(body).behind(&server).start();
    let mut client = site.client();
    let with = |value: &[u8]| [b"GET / HTTP/1.1\r\nHost: x\r\nX-Odd: ", value, b"\r\n\r\n"].concat();
    let odd = b"caf\xe9 \\u0041 \\ \" \xff";
    client.send(with(odd));
    assert_eq!(client.read().body, odd);
    // Mongrel2 hands control characters on, which RFC 9110 calls invalid and dangerous (5.5). The front refuses them.
    let control = b"\x01\x1f \\";
    client.send(with(control));
    let answer = client.read();
    match server::front() {
        Front::Mongrel2 => assert_eq!(answer.body, control),
        Front::Kennel => assert_eq!((answer.status, answer.header("connection")), (400, Some("close"))),
    }
}

#[test]
fn a_stranger_on_a_pipelined_connection_gets_only_what_is_his() {
    let scene = Scene::begin();
    // Ids are used again after a disconnect: the new client must not get the old one's answer.
    scene.mongrel2.send(Message::http(2, "GET", "/sleep/0.4/OLD"));
    scene.mongrel2.send(Message::disconnect(2));
    scene.mongrel2.send(Message::http(2, "GET", "/sleep/0.1/new"));
    let answer = scene.mongrel2.reply_to(2);
    assert!(answer.text().ends_with("new"), "{answer:?}");
    scene.mongrel2.send(Message::http(3, "GET", "/sleep/0.6/later"));
    scene.mongrel2.reply_to(3);
    assert!(scene.mongrel2.replies().is_empty(), "{:?}", scene.mongrel2.replies());
}

#[test]
fn what_was_dropped_and_refused_can_be_seen_as_numbers() {
    let scene = Scene::begin();
    for _ in 0..200 {
        scene.mongrel2.send("garbage");
        scene.mongrel2.send(Message::http(9, "GET", "/good/1").from("stranger"));
    }
    scene.expect_life(2);
    let mut site = scene.site;
    site.signal(tests::process::Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    let log = site.log().to_end();
    assert!(
        log.contains("malformed=200") || log.contains("200 malformed"),
        "no line of the log counts them:\n{log}"
    );
}

#[test]
fn http_that_mongrel2_refuses_harms_nobody() {
    let site = Site::plan(APP).behind_warm().start();
    for bad in [
        &b"\xff\xfe\xfd\r\n\r\n"[..],
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx y: z\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ] {
        let mut client = Client::connect(site.port());
        client.send(bad);
        let bytes = client.read_to_end();
        assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 4"), "{}", bytes.escape_ascii());
    }
    assert_eq!(site.get("/good/1").text(), "good 1");
}

/// As docs/mongrel2.md says.
#[test]
fn what_clients_have_to_encode_gets_400_and_its_encoded_form_arrives() {
    let site = Site::plan(APP).behind_warm().start();
    let status = |target: &[u8]| {
        let mut client = Client::connect(site.port());
        client.send([b"GET ", target, b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat());
        client.read().status
    };
    for letter in ["[", "]", "{", "}", "\"", "\\", "^", "|", "\u{e9}"] {
        let encoded: String = letter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for before in ["/good/1", "/good/1?a="] {
            assert_eq!(status(format!("{before}{letter}").as_bytes()), 400, "{before}{letter}");
            assert_eq!(status(format!("{before}{encoded}").as_bytes()), 200, "{before}{encoded}");
        }
    }
    assert_eq!((status(b"/good/%zz"), status(b"/good/%25zz")), (400, 200));
}
