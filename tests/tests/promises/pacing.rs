use tests::client::request;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::resident_memory;
use tests::server::{Mongrel2, Setup};
use tests::site::Site;
use tests::wait;
use tests::websocket::{Received, WebSocket};

/// `/N/SIZE`: so many messages of that size at once, numbered from 1, when the client says `go`.
const BURST: Scripts<'_> = Scripts {
    lua: r#"
local function burst(options)
  return options, {
    open = function(conn) conn:send(conn.id .. " " .. conn.request.mongrel2.conn_id) end,
    message = function(conn, msg)
      if msg ~= "go" then conn:send(msg) return end
      local size = tonumber(conn.request.params.size)
      for n = 1, tonumber(conn.request.params.count) do
        local text = tostring(n)
        conn:send(text .. string.rep(" ", size - #text))
      end
      print("[all sent]")
    end,
    close = function(conn, code, reason) print("[close " .. code .. " " .. reason .. "]") end,
  }
end
app:channel("/plain/{count}/{size}", burst({}))
app:channel("/wait/{count}/{size}", burst({ slow = "wait" }))
app:channel("/drop/{count}/{size}", burst({ slow = "drop_oldest", buffer = 1000000 }))
app:channel("/close/{count}/{size}", burst({ slow = "close", buffer = 1000000 }))
app:channel("/default/{count}/{size}", burst({ slow = "drop_oldest" }))
app:get("/fine", function() return "fine" end)
app:channel("/room", { open = function(conn) conn:join("r") conn:send("joined") end })
app:post("/room/{count}", function(req, count)
  for n = 1, tonumber(count) do kennel.room("r"):send(n .. string.rep(" ", 100000)) end
  return "said"
end)
"#,
    python: r#"
class Burst:
    def open(self, conn): conn.send(f"{conn.id} {conn.request.mongrel2.conn_id}")
    def message(self, conn, msg):
        if msg != "go":
            conn.send(msg)
            return
        size = int(conn.request.params["size"])
        for n in range(1, int(conn.request.params["count"]) + 1):
            conn.send(str(n).ljust(size))
        print("[all sent]")
    def close(self, conn, code, reason): print(f"[close {code} {reason}]")
app.channel("/plain/{count}/{size}")(Burst)
app.channel("/wait/{count}/{size}", slow="wait")(Burst)
app.channel("/drop/{count}/{size}", slow="drop_oldest", buffer=1000000)(Burst)
app.channel("/close/{count}/{size}", slow="close", buffer=1000000)(Burst)
app.channel("/default/{count}/{size}", slow="drop_oldest")(Burst)
@app.get("/fine")
def fine(req): return "fine"
@app.channel("/room")
class Member:
    def open(self, conn):
        conn.join("r")
        conn.send("joined")
@app.post("/room/{count}")
async def say(req, count):
    for n in range(1, int(count) + 1):
        kennel.room("r").send(str(n) + " " * 100000)
    return "said"
"#,
};

fn number(text: &str) -> u32 {
    text.trim_end().parse().expect("a number")
}

/// A site behind a server that says what clients have read.
fn under_flow_control(language: Language, toml: &str) -> (Mongrel2, Site) {
    let server = Mongrel2::start(Setup::default().tnetstring().flow_control());
    let site = language.plan(BURST).config(toml).behind(&server).start();
    (server, site)
}

/// Opens a channel; what the log may call it is returned too.
fn open(site: &Site, path: &str) -> (WebSocket, [String; 2]) {
    let mut ws = site.websocket(path);
    ws.hold_little();
    let names = ws.read_text();
    let (id, number) = names.split_once(' ').expect("two names");
    let names = [format!("conn={number} "), id.to_owned()];
    (ws, names)
}

/// The line that tells of it names the connection.
fn expect_named(site: &Site, text: &str, names: &[String; 2]) {
    wait::until(&format!("a line with `{text}` and one of {names:?}"), || {
        site.log().text().lines().any(|line| {
            line.contains(text)
                && line.contains("conn=")
                && names.iter().any(|name| format!("{line} ").contains(name.as_str()))
        })
    });
}

in_each_language!(any_number_of_messages_in_one_callback_arrives_in_order_and_complete);
fn any_number_of_messages_in_one_callback_arrives_in_order_and_complete(language: Language) {
    for flow_control in [true, false] {
        let site = language.plan(BURST).config(&format!("flow_control = {flow_control}\n")).start();
        for (count, size) in [(500, 8), (10_000, 8), (17, 60_000), (300, 20_000)] {
            let (mut ws, _) = open(&site, &format!("/plain/{count}/{size}"));
            ws.send("go");
            for n in 1..=count {
                let text = ws.read_text();
                assert_eq!(number(&text), n, "{count} of {size} bytes, flow_control = {flow_control}");
                assert_eq!(text.len(), size);
            }
            assert_eq!(ws.ask("mark"), "mark");
            ws.close(1000, "");
        }
        assert_eq!(site.log().count("dropped"), 0, "{}", site.log().text());
    }
}

in_each_language!(many_clients_get_their_bursts_at_the_same_time);
fn many_clients_get_their_bursts_at_the_same_time(language: Language) {
    for flow_control in [true, false] {
        let site = language.plan(BURST).config(&format!("flow_control = {flow_control}\n")).start();
        let mut clients: Vec<WebSocket> = (0..50).map(|_| open(&site, "/plain/500/100").0).collect();
        for ws in &mut clients {
            ws.send("go");
        }
        for (client, ws) in clients.iter_mut().enumerate() {
            for n in 1..=500 {
                assert_eq!(number(&ws.read_text()), n, "client {client}, flow_control = {flow_control}");
            }
        }
    }
}

in_each_language!(what_is_sent_before_a_close_arrives_before_it);
fn what_is_sent_before_a_close_arrives_before_it(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/", { message = function(conn, msg)
          for n = 1, 3000 do conn:send("message " .. n) end
          conn:close(4000, "that was all")
        end })
    "#,
        python: r#"
        @app.channel("/")
        class Last:
            async def message(self, conn, msg):
                for n in range(1, 3001):
                    conn.send(f"message {n}")
                conn.close(4000, "that was all")
    "#,
    };
    for flow_control in [true, false] {
        let site = language.plan(body).config(&format!("flow_control = {flow_control}\n")).start();
        let mut ws = site.websocket("/");
        ws.send("go");
        for n in 1..=3000 {
            assert_eq!(ws.read_text(), format!("message {n}"));
        }
        assert_eq!(ws.read_close(), (4000, "that was all".into()));
    }
}

in_each_language!(a_slow_reader_gets_everything_that_fits_into_its_bound);
fn a_slow_reader_gets_everything_that_fits_into_its_bound(language: Language) {
    let (_server, site) = under_flow_control(language, "[limits]\nconnection_output = \"16MiB\"\n");
    for path in ["/plain/120/100000", "/wait/120/100000"] {
        let (mut ws, _) = open(&site, path);
        let sent = site.log().count("[all sent]");
        ws.send("go");
        site.log().expect_times("[all sent]", sent + 1);
        // The others are served while this one does not read.
        for _ in 0..50 {
            assert_eq!(site.get("/fine").text(), "fine");
        }
        for n in 1..=120 {
            assert_eq!(number(&ws.read_text()), n, "{path}");
        }
        assert_eq!(ws.ask("mark"), "mark");
    }
    assert_eq!(site.log().count("dropped"), 0, "{}", site.log().text());
}

in_each_language!(a_reader_too_slow_for_its_bound_is_closed_with_1008_and_named_in_the_log);
fn a_reader_too_slow_for_its_bound_is_closed_with_1008_and_named_in_the_log(language: Language) {
    let (_server, site) = under_flow_control(language, "[limits]\nconnection_output = \"1MiB\"\n");
    for (round, path) in ["/wait/500/100000", "/close/500/100000"].into_iter().enumerate() {
        let (mut ws, names) = open(&site, path);
        ws.send("go");
        site.log().expect_times("[close 1008 ", round + 1);
        expect_named(&site, "", &names);
        // What had been written before is in order and whole; the close may be among it.
        let mut last = 0;
        loop {
            match ws.read() {
                Received::Text(text) => {
                    assert_eq!(number(&text), last + 1, "{path}");
                    last += 1;
                }
                Received::Close(code, _) => assert_eq!(code, Some(1008), "{path}"),
                Received::End => break,
                other => panic!("{path}: {other:?}"),
            }
        }
        assert!(last < 500, "{path}: all of it arrived");
    }
    assert_eq!(site.get("/fine").text(), "fine");
}

in_each_language!(where_the_oldest_are_dropped_the_newest_arrive_and_the_log_says_how_many_did_not);
fn where_the_oldest_are_dropped_the_newest_arrive_and_the_log_says_how_many_did_not(language: Language) {
    for path in ["/drop/400/100000", "/default/400/100000"] {
        let (_server, site) = under_flow_control(language, "");
        let (mut ws, names) = open(&site, path);
        ws.send("go");
        site.log().expect("[all sent]");
        expect_named(&site, "dropped", &names);
        let mut numbers = vec![number(&ws.read_text())];
        while numbers.last() != Some(&400) {
            numbers.push(number(&ws.read_text()));
        }
        assert_eq!(numbers[0], 1, "{path}: what was written already stays");
        assert!(numbers.is_sorted() && numbers.len() < 400, "{path}: {numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{path}: {numbers:?}");
        // At least half of the buffer, whose bounds need not be exact, is the newest without a gap.
        let newest = numbers.iter().rev().zip((1..=400).rev()).take_while(|(a, b)| **a == *b).count();
        assert!((5..=20).contains(&newest), "{path}: {newest} of the newest: {numbers:?}");
        assert_eq!(ws.ask("mark"), "mark", "{path}: the connection goes on");
        ws.close(1000, "");
    }
}

in_each_language!(a_slow_member_of_a_room_holds_up_nobody);
fn a_slow_member_of_a_room_holds_up_nobody(language: Language) {
    let (_server, site) = under_flow_control(language, "");
    let mut clients: Vec<WebSocket> = (0..5).map(|_| site.websocket("/room")).collect();
    for ws in &mut clients {
        ws.hold_little();
        assert_eq!(ws.read_text(), "joined");
    }
    // 15 MB, within what may wait.
    let said = site.send(request("POST", "/room/150", &[], b""));
    assert_eq!(said.text(), "said");
    for ws in &mut clients[1..] {
        for n in 1..=150 {
            assert_eq!(number(&ws.read_text()), n);
        }
    }
    for n in 1..=150 {
        assert_eq!(number(&clients[0].read_text()), n, "the slow one");
    }
}

in_each_language!(clients_that_do_not_read_cost_a_bounded_amount_of_memory);
/// Twenty clients that never read cost what their bounds say, not what is sent.
fn clients_that_do_not_read_cost_a_bounded_amount_of_memory(language: Language) {
    let (_server, site) = under_flow_control(language, "[limits]\nconnection_output = \"1MiB\"\n");
    let before = resident_memory(site.hub());
    let mut clients: Vec<WebSocket> = (0..20).map(|_| open(&site, "/drop/400/100000").0).collect();
    for ws in &mut clients {
        ws.send("go");
    }
    site.log().expect_times("[all sent]", 20);
    assert_eq!(site.get("/fine").text(), "fine");
    let grown = resident_memory(site.hub()).saturating_sub(before);
    assert!(grown < 200 << 20, "800 MB were sent, 20 MB may wait, and the hub grew by {} MiB", grown >> 20);
    for ws in &mut clients {
        while number(&ws.read_text()) != 400 {}
        assert_eq!(ws.ask("mark"), "mark");
    }
}

in_each_language!(without_flow_control_a_client_that_never_reads_ends_too);
/// Without flow control nobody knows what a client has read, and Mongrel2 itself cuts it off; the hub notices.
fn without_flow_control_a_client_that_never_reads_ends_too(language: Language) {
    let server = Mongrel2::start(Setup::default().tnetstring());
    let site = language.plan(BURST).behind(&server).start();
    let (mut never, _) = open(&site, "/wait/1000/100000");
    let (mut other, _) = open(&site, "/plain/200/1000");
    never.send("go");
    site.log().expect("[close ");
    other.send("go");
    for n in 1..=200 {
        assert_eq!(number(&other.read_text()), n);
    }
}
