use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::client::{Client, Response, get, request};
use tests::events::Events;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::server::{Mongrel2, Setup};
use tests::site::Site;
use tests::wait;

/// Echoes; `count N` sends N numbers, a hundred every ten milliseconds.
const APP: Scripts<'_> = Scripts {
    lua: r#"
local function count(conn, last)
  for n = 1, last do
    conn:send(tostring(n))
    if n % 100 == 0 then kennel.sleep(0.01) end
  end
end
app:channel("/chat", {
  open = function(conn) conn:join("all") conn:send("hello by " .. conn.transport) end,
  message = function(conn, msg)
    if msg == "close" then conn:send("last") conn:close(4001, "enough") return end
    if msg == "size" then kennel.room("all"):send(tostring(kennel.room("all"):count())) return end
    local last = not conn.binary and msg:match("^count (%d+)$")
    if last then kennel.spawn(function() count(conn, tonumber(last)) end)
    elseif conn.binary then conn:send_binary(msg)
    elseif #msg > 1000 then conn:send(tostring(#msg))
    else conn:send(msg) end
  end,
  close = function(conn, code, reason) print("[close " .. conn.transport .. " " .. code .. " " .. reason .. "]") end,
})
app:get("/chat", function() return "the page" end)
"#,
    python: r#"
import asyncio
async def count(conn, last):
    for n in range(1, last + 1):
        conn.send(str(n))
        if n % 100 == 0:
            await asyncio.sleep(0.01)
@app.channel("/chat")
class Chat:
    def open(self, conn):
        conn.join("all")
        conn.send("hello by " + conn.transport)
    async def message(self, conn, msg):
        if msg == "close":
            conn.send("last")
            conn.close(4001, "enough")
        elif msg == "size":
            kennel.room("all").send(str(kennel.room("all").count()))
        elif isinstance(msg, str) and msg.startswith("count "):
            app.counting = asyncio.get_running_loop().create_task(count(conn, int(msg[6:])))
        elif isinstance(msg, str) and len(msg) > 1000:
            conn.send(str(len(msg)))
        else:
            conn.send(msg)
    def close(self, conn, code, reason): print(f"[close {conn.transport} {code} {reason}]")
@app.get("/chat")
def page(req): return "the page"
"#,
};

/// A session by long polls, with a connection for each request.
struct Polls {
    port: u16,
    session: String,
    after: u64,
}

impl Polls {
    fn open(site: &Site) -> Self {
        let opened = site.send(request("POST", "/chat", &[], b""));
        assert_eq!((opened.status, opened.header("cache-control")), (201, Some("no-store")), "{opened:?}");
        let session = opened.json()["session"].as_str().expect("a session has a name").to_owned();
        Self { port: site.port(), session, after: 0 }
    }

    fn path(&self, more: &str) -> String {
        format!("/chat?session={}{more}", self.session)
    }

    fn ask(&self, method: &str, more: &str, body: &[u8]) -> Response {
        let mut client = Client::connect(self.port);
        client.send(request(method, &self.path(more), &[], body));
        client.read()
    }

    fn send(&self, text: &str) {
        let answer = self.ask("POST", "", text.as_bytes());
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// The next messages, without those that came before.
    fn poll(&mut self) -> Vec<Value> {
        let answer = self.ask("GET", &format!("&after={}", self.after), b"");
        self.take(&answer)
    }

    fn take(&mut self, answer: &Response) -> Vec<Value> {
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        let mut messages = answer["messages"].as_array().expect("there are messages, or none").clone();
        let after = answer["after"].as_u64().expect("it says how far it goes");
        let known = (self.after + messages.len() as u64).saturating_sub(after) as usize;
        self.after = self.after.max(after);
        messages.drain(..known.min(messages.len()));
        messages
    }

    /// Polls until so many messages have come.
    fn read(&mut self, count: usize) -> Vec<Value> {
        let mut all = Vec::new();
        let deadline = Instant::now() + wait::PATIENCE;
        while all.len() < count {
            assert!(Instant::now() < deadline, "only {all:?}");
            all.extend(self.poll());
        }
        all
    }
}

/// Numbers that look as if by chance, the same in each run.
struct Chance(u64);

impl Chance {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.is_multiple_of(n)
    }
}

in_each_language!(a_channel_serves_clients_that_only_poll);
fn a_channel_serves_clients_that_only_poll(language: Language) {
    let site = language.site(APP);
    assert_eq!(site.get("/chat").text(), "the page");
    let mut session = Polls::open(&site);
    assert_eq!(session.poll(), [json!("hello by poll")]);
    session.send("say \"hi\" ✓\r\n");
    assert_eq!(session.read(1), [json!("say \"hi\" ✓\r\n")]);
    let binary = ("Content-Type", "application/octet-stream");
    assert_eq!(site.send(request("POST", &session.path(""), &[binary], b"\0\xff")).status, 204);
    assert_eq!(session.read(1), [json!({"base64": "AP8="})]);
    // One that is held is answered when something comes.
    let mut held = Client::connect(site.port());
    held.send(get(&session.path("&after=3")));
    let mut other = site.websocket("/chat");
    assert_eq!(other.read_text(), "hello by websocket");
    other.send("size");
    let answer = held.read();
    assert_eq!(session.take(&answer), [json!("2")]);
    session.send("close");
    let answer = session.ask("GET", "&after=4", b"").json();
    let close = json!({"code": 4001, "reason": "enough"});
    assert_eq!((&answer["messages"], &answer["close"]), (&json!(["last"]), &close));
    // That answer may have been lost.
    assert_eq!(session.ask("GET", "&after=5", b"").json()["close"], close);
    site.log().expect("[close poll 4001 enough]");
    assert_eq!(session.ask("GET", "&after=5", b"").status, 410);
}

in_each_language!(a_channel_serves_clients_of_event_streams);
fn a_channel_serves_clients_of_event_streams(language: Language) {
    let site = language.site(APP);
    let mut events = Events::open(site.port(), "/chat", &[]);
    assert_eq!(events.head().header("content-type"), Some("text/event-stream"));
    let open = events.read();
    let opened: Value = serde_json::from_str(&open.data).expect("the first event is JSON");
    let session =
        Polls { port: site.port(), session: opened["session"].as_str().expect("a name").into(), after: 0 };
    assert_eq!((open.name.as_str(), &opened["resumed"]), ("open", &json!(false)));
    assert_eq!(events.read().data, "hello by sse");
    session.send("two\nlines");
    let event = events.read();
    assert_eq!((event.data.as_str(), event.id), ("two\nlines", format!("{}.2", session.session)));
    session.send("a\rb");
    let event = events.read();
    assert_eq!((event.name.as_str(), event.data.as_str()), ("encoded", "\"a\\rb\""));
    assert_eq!(session.ask("DELETE", "&close=4000&reason=bye", b"").status, 204);
    assert_eq!(events.read().data, r#"{"code":4000,"reason":"bye"}"#);
    assert!(events.try_read().is_err(), "the stream has ended");
    site.log().expect("[close sse 4000 bye]");
    let mut client = Client::connect(site.port());
    client.send(request(
        "GET",
        "/chat",
        &[("Accept", "text/event-stream"), ("Last-Event-ID", &event.id)],
        b"",
    ));
    assert_eq!(client.read().status, 410);
}

/// How many messages a session gets while its requests break.
const MANY: usize = 10_000;

in_each_language!(polls_that_break_lose_and_repeat_nothing);
fn polls_that_break_lose_and_repeat_nothing(language: Language) {
    let site = language.site(APP);
    let mut session = Polls::open(&site);
    session.read(1);
    session.send(&format!("count {MANY}"));
    let mut all: Vec<Value> = Vec::new();
    let (mut chance, mut broken) = (Chance(7), 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while all.len() < MANY {
        assert!(Instant::now() < deadline, "{} of {MANY}", all.len());
        let path = session.path(&format!("&after={}", session.after));
        let mut client = Client::connect(site.port());
        client.send(get(&path));
        if chance.one_in(3) {
            // Gone before the answer, or without a look at it.
            broken += 1;
            client.vanish();
            continue;
        }
        if chance.one_in(5) {
            // A second one takes the place of the first.
            let mut second = Client::connect(site.port());
            second.send(get(&path));
            for client in [&mut client, &mut second] {
                let answer = client.read();
                all.extend(session.take(&answer));
            }
            continue;
        }
        let answer = client.read();
        all.extend(session.take(&answer));
    }
    let expected: Vec<Value> = (1..=MANY).map(|n| json!(n.to_string())).collect();
    assert!(all == expected, "out of order, lost or doubled");
    assert!(broken > 5, "{broken} polls were broken");
}

in_each_language!(streams_that_break_lose_and_repeat_nothing);
fn streams_that_break_lose_and_repeat_nothing(language: Language) {
    let site = language.site(APP);
    let mut events = Events::open(site.port(), "/chat", &[]);
    let opened: Value = serde_json::from_str(&events.read().data).expect("the first event is JSON");
    let session =
        Polls { port: site.port(), session: opened["session"].as_str().expect("a name").into(), after: 0 };
    let mut last = events.read().id;
    session.send(&format!("count {MANY}"));
    let mut all: Vec<String> = Vec::new();
    let (mut chance, mut broken) = (Chance(11), 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while all.len() < MANY {
        assert!(Instant::now() < deadline, "{} of {MANY}", all.len());
        if chance.one_in(400) {
            broken += 1;
            events.vanish();
            events = Events::open(site.port(), "/chat", &[("Last-Event-ID", &last)]);
            assert_eq!(events.head().status, 200);
            continue;
        }
        let event = events.read();
        if event.name.is_empty() {
            all.push(event.data);
            last = event.id;
        }
    }
    let expected: Vec<String> = (1..=MANY).map(|n| n.to_string()).collect();
    assert!(all == expected, "out of order, lost or doubled");
    assert!(broken > 5, "{broken} streams were broken");
}

in_each_language!(a_websocket_gets_as_many_in_order);
fn a_websocket_gets_as_many_in_order(language: Language) {
    let site = language.site(APP);
    let mut socket = site.websocket("/chat");
    assert_eq!(socket.read_text(), "hello by websocket");
    socket.send(format!("count {MANY}"));
    for n in 1..=MANY {
        assert_eq!(socket.read_text(), n.to_string());
    }
}

in_each_language!(what_a_client_repeats_reaches_the_script_once);
fn what_a_client_repeats_reaches_the_script_once(language: Language) {
    let site = language.site(APP);
    let mut session = Polls::open(&site);
    let mut chance = Chance(3);
    for n in 1..=500 {
        let request = request("POST", &session.path(&format!("&number={n}")), &[], n.to_string().as_bytes());
        while chance.one_in(3) {
            // The answer is lost, perhaps the request as well.
            let mut client = Client::connect(site.port());
            client.send(&request);
            client.vanish();
        }
        assert_eq!(site.send(&request).status, 204);
    }
    let expected: Vec<Value> = (1..=500).map(|n| json!(n.to_string())).collect();
    assert_eq!(session.read(501)[1..], expected);
}

in_each_language!(messages_larger_than_mongrel2_takes_at_once_arrive);
fn messages_larger_than_mongrel2_takes_at_once_arrive(language: Language) {
    for way in ["file", "stream"] {
        let config = format!("uploads = \"{way}\"\n");
        let site = language.plan(APP).config(&config).workers(1).start();
        let mut session = Polls::open(&site);
        session.send(&"x".repeat(300_000));
        assert_eq!(session.read(2)[1], json!("300000"), "{way}");
        let answer = session.ask("POST", "", &vec![b'x'; (1 << 20) + 1]);
        assert_eq!(answer.status, 413, "{way}: {answer:?}");
        session.send("still there");
        assert_eq!(session.read(1), [json!("still there")]);
    }
}

#[test]
fn sessions_outlive_their_mongrel2() {
    let mut server = Mongrel2::start(Setup::default().tnetstring());
    let site = Language::Lua.plan(APP).behind(&server).start();
    let mut session = Polls::open(&site);
    session.read(1);
    session.send("before");
    server.kill();
    site.log().expect("server is gone");
    server.start_again();
    assert_eq!(site.get("/chat").text(), "the page");
    session.send("after");
    assert_eq!(session.read(2), [json!("before"), json!("after")]);
}

#[test]
fn a_client_that_does_not_come_back_is_gone_after_a_while() {
    let config = "[limits]\ninactivity = \"500ms\"\npoll_wait = \"200ms\"\n";
    let site = Language::Lua.plan(APP).config(config).behind_warm().start();
    let mut session = Polls::open(&site);
    session.read(1);
    let begin = Instant::now();
    assert_eq!(session.poll(), Vec::<Value>::new());
    assert!(begin.elapsed() >= Duration::from_millis(190));
    site.log().expect("[close poll 1006 ]");
    assert_eq!(session.ask("GET", "", b"").status, 410);
}
