//! What a message to 10,000 members of a room costs the hub's process, sockets included.
//!
//! ```text
//! cargo build --release -p kennel
//! cargo bench -p tests --bench room
//! ```
//!
//! A fake Mongrel2 opens 10,000 WebSockets (it has no clients, only their ids) and one more, whose frames make the
//! script send to the room, or leave and join and send, or do nothing: what the last costs is taken off.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::fs;
use std::time::{Duration, Instant};
use tests::fake::{FakeMongrel2, Message};
use tests::site::Site;
use tests::websocket::{FIN, TEXT};

const MEMBERS: i64 = 10_000;
const TURNS: u32 = 300;
/// Beyond what one window of the hub's pacing takes, messages would wait; a room is not that lively.
const PAUSE: Duration = Duration::from_millis(12);

const SCRIPT: &str = r#"
local payload = ("x"):rep(100)
local one
app:channel("/room", { ping = 0 }, { open = function(conn) conn:join("all") one = conn end })
app:channel("/tick", { ping = 0 }, { message = function(conn, what)
  if what == "changed" then one:leave("all") one:join("all") end
  if what ~= "nothing" then kennel.room("all"):send(payload) end
  conn:send("done")
end })
"#;

fn main() {
    // `cargo test --benches` only wants to know whether it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let fake = FakeMongrel2::start();
    let site = Site::plan(SCRIPT).workers(1).behind_fake(&fake).start();
    for id in 1..=MEMBERS {
        fake.send(Message::handshake(id, "/room"));
    }
    let ticker = MEMBERS + 1;
    fake.send(Message::handshake(ticker, "/tick"));
    let _ = fake.reply_to(ticker as u64);

    let tick = |what: &str| {
        fake.send(Message::frame(ticker, "/tick", FIN | TEXT, what));
        fake.reply_to(ticker as u64);
        fake.forget();
        std::thread::sleep(PAUSE);
    };
    let measure = |what: &str| {
        let (before, begin) = (on_cpu(site.hub()), Instant::now());
        (0..TURNS).for_each(|_| tick(what));
        let cpu = on_cpu(site.hub()) - before;
        println!(
            "{what:>8}: {:>7.1} µs of CPU a turn, {TURNS} turns in {:.1?}",
            micros(cpu),
            begin.elapsed()
        );
        micros(cpu)
    };
    (0..50).for_each(|_| tick("send"));
    let nothing = measure("nothing");
    let each = |cost: f64| (cost - nothing) * 1000.0 / MEMBERS as f64;
    let cached = each(measure("send"));
    let uncached = each(measure("changed"));
    println!("each of {MEMBERS} members: {cached:.1} ns, {uncached:.1} ns when the membership has changed");
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0 / f64::from(TURNS)
}

/// The first field of `schedstat` is nanoseconds on CPU.
fn on_cpu(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    Duration::from_nanos(text.split_ascii_whitespace().next().unwrap().parse().unwrap())
}
