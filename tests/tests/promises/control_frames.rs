use std::time::{Duration, Instant};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::websocket::{FIN, PING, PONG, Received, frame};

const ECHO: Scripts<'_> = Scripts {
    lua: r#"
app:channel("/echo", {
  message = function(conn, msg) conn:send(msg) end,
  close = function(conn, code, reason) print("[close " .. code .. " " .. reason .. "]") end,
})
"#,
    python: r#"
@app.channel("/echo")
class Echo:
    def message(self, conn, msg): conn.send(msg)
    def close(self, conn, code, reason): print(f"[close {code} {reason}]")
"#,
};

/// Sends a message as soon as the one before has come back, for a minute with `KENNEL_LONG`. The client sets TCP_NODELAY,
/// as browsers do, and answers each ping of the hub.
fn echo_without_pauses(language: Language, flow_control: bool) {
    let long = std::env::var_os("KENNEL_LONG").is_some();
    let time = Duration::from_secs(if long { 60 } else { 4 });
    let site = language.plan(ECHO).config(&format!("flow_control = {flow_control}\n")).start();
    let mut ws = site.websocket("/echo");
    let begin = Instant::now();
    let mut count: u64 = 0;
    while begin.elapsed() < time {
        // One by one, and then several at a time.
        let at_once = if begin.elapsed() < time / 2 { 1 } else { 32 };
        (count..count + at_once).for_each(|n| ws.send(n.to_string()));
        for n in count..count + at_once {
            assert_eq!(ws.read_text(), n.to_string(), "flow_control = {flow_control}: {}", site.log().text());
        }
        count += at_once;
    }
    println!("{count} messages in {time:?}, flow_control = {flow_control}");
    assert_eq!(site.log().count("[close "), 0);
    ws.close(1000, "");
}

in_each_language!(an_echo_without_pauses_stays_open);
fn an_echo_without_pauses_stays_open(language: Language) {
    echo_without_pauses(language, false);
}

in_each_language!(an_echo_without_pauses_stays_open_under_flow_control);
fn an_echo_without_pauses_stays_open_under_flow_control(language: Language) {
    echo_without_pauses(language, true);
}

#[test]
fn pings_that_a_dead_line_held_back_may_come_at_once() {
    let site = Language::Lua.site(ECHO);
    let mut ws = site.websocket("/echo");
    let bundle: Vec<u8> = (0..300).flat_map(|n: u32| frame(FIN | PING, n.to_be_bytes())).collect();
    ws.send_bytes(bundle);
    for n in 0..300_u32 {
        assert_eq!(ws.read(), Received::Pong(n.to_be_bytes().to_vec()));
    }
    assert_eq!(ws.ask("still open"), "still open");
}

#[test]
fn a_client_that_floods_with_control_frames_is_closed() {
    let site = Language::Lua.site(ECHO);
    for first in [FIN | PING, FIN | PONG] {
        let mut ws = site.websocket("/echo");
        // Pongs that look like answers are none, as long as the hub has not asked.
        ws.send_bytes(frame(first, "arrived?").repeat(1300));
        assert_eq!(ws.skip_to_close(), (1008, "too many control frames".into()));
    }
    site.log().expect_exactly("[close 1008 too many control frames]", 2);
}
