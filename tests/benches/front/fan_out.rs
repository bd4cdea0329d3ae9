//! Many messages in one callback to 1,000 WebSockets: none that reads is cut off, each that does not read is.

use super::aim::Aims;
use std::time::{Duration, Instant};
use tests::cpu;
use tests::crowd::Crowd;
use tests::server::Front;
use tests::site::Site;
use tests::websocket::WebSocket;
use tests::{process, wait};

const MEMBERS: usize = 1_000;
const MESSAGES: usize = 10_000;
/// Those that do not read.
const DEAF: usize = 10;
const PATIENCE: Duration = Duration::from_secs(240);
/// How long a front waits for a client that does not read, and some more.
const WRITE_TIME: Duration = Duration::from_secs(150);

/// Crowds expect message N to consist of the byte N modulo 128.
const APP: &str = r#"
local open = 0
app:channel("/room", { ping = 0 }, {
  open = function(conn) open = open + 1 conn:join("all") end,
  close = function() open = open - 1 end,
})
app:get("/send/{count}/{size}", function(req, count, size)
  local room = kennel.room("all")
  for n = 0, tonumber(count) - 1 do room:send(string.char(n % 128):rep(tonumber(size))) end
  return "sent"
end)
app:get("/open", function() return tostring(open) end)
"#;

pub(super) fn run(aims: &mut Aims) {
    send(aims, 64, 0);
    send(aims, 1024, DEAF);
}

fn send(aims: &mut Aims, size: usize, deaf: usize) {
    let site = Site::plan(APP).workers(1).argument("--front=kennel").start();
    let front = process::children(site.hub()).into_iter().find(|pid| Front::Kennel.is_server(*pid)).unwrap();
    let mut crowd = Crowd::open(site.port(), "/room", MEMBERS - deaf);
    let silent: Vec<WebSocket> = (0..deaf).map(|_| WebSocket::open(site.port(), "/room")).collect();
    silent.iter().for_each(WebSocket::hold_little);
    wait::until("all are in the room", || site.get("/open").text() == MEMBERS.to_string());
    let (begin, before) = (Instant::now(), cpu::used_by(front));
    let port = site.port();
    let report = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut client = tests::client::Client::connect(port);
            client.set_patience(PATIENCE);
            assert_eq!(client.get(&format!("/send/{MESSAGES}/{size}")).text(), "sent");
        });
        crowd.read(&vec![size; MESSAGES], PATIENCE)
    });
    let clock = begin.elapsed();
    let each = (cpu::used_by(front) - before).as_secs_f64() * 1e6 / (MESSAGES * (MEMBERS - deaf)) as f64;
    println!("  {MESSAGES} messages of {size} bytes to {MEMBERS}, {deaf} deaf: {clock:.1?}");
    if let Some(first) = report.broken.first() {
        println!("  the first one cut off: {first}");
    }
    aims.at_most("cut off of those that read", (report.broken.len() + report.waiting) as f64, 0.0);
    // A client that reads nothing is cut off after `front.write_seconds`, 120 by default.
    let open = || site.get("/open").text().parse::<usize>().unwrap();
    let end = Instant::now() + WRITE_TIME;
    while deaf > 0 && open() > MEMBERS - deaf && Instant::now() < end {
        std::thread::sleep(Duration::from_secs(1));
    }
    let cut = MEMBERS.saturating_sub(open() + report.broken.len());
    aims.at_least("cut off of those that do not read", cut as f64, deaf as f64);
    aims.at_most("µs of CPU of the front for a delivery", each, 3.0);
}
