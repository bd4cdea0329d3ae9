//! Clients leave while something is written to them, others connect in the same moment: each newcomer must receive exactly
//! its own response.
//!
//! Without the guard, Mongrel2 writes the rest of a message to a client that connects next (docs/deploying.md). On a slow
//! network every kind of response is affected, on loopback only whole ones that do not fit into the kernel's buffers.
//! `LEAVINGS=20000` lets that many clients leave in all on the slow network, behind the server of this run (a Mongrel2 has
//! its guard); `make test-long` does. Each test prints what it counted:
//! `cargo test -p tests --test leavings -- --nocapture`.

use serde_json::Value;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tests::process::resident_memory;
use tests::server::{Front, needs_mongrel2};
use tests::site::{Plan, Site};
use tests::slow_network::{self, Line, SlowNetwork};

/// All bodies but those of newcomers are repetitions of one word, by which they are recognized.
const APP: &str = r#"
local text = ("LEAVER__"):rep(10 * 1024 * 1024 / 8)
local piece, message = text:sub(1, 16384), text:sub(1, 65536)
app:get("/own/{tag}", function(req, tag) return tag:rep(40) end)
app:get("/whole/{size}", function(req, size) return text:sub(1, tonumber(size)) end)
app:get("/file", function() return kennel.file("file.bin") end)
app:get("/stream", function()
  return kennel.stream(function(send) for _ = 1, 200 do send(piece) end end)
end)
app:get("/events", function()
  return kennel.events(function(send) for _ = 1, 200 do send{ data = piece } end end)
end)
app:channel("/room", {
  message = function(conn, name)
    conn:join(name)
    for _ = 1, 4 do kennel.room(name):send(message) end
  end,
})
app:raw(function(msg)
  if msg.path ~= "/raw" then return end
  local head = "HTTP/1.1 200 OK\r\nContent-Length: " .. 1048576 .. "\r\n\r\n"
  kennel.deliver(msg.sender, { msg.conn_id }, head .. text:sub(1, 1048576))
end)
"#;

/// What the clients that leave ask for.
const KINDS: [&str; 9] = [
    "/whole/20000",
    "/whole/80000",
    "/whole/3000000",
    "/whole/10000000",
    "/file",
    "/stream",
    "/events",
    "/room",
    "/raw",
];

/// A usual line into a house, to another continent.
const LINE: Line = Line { delay_ms: 50.0, loss_percent: 0.5, mbit_per_s: 20.0 };

/// One test at a time, since the machine shall be busy with nothing else.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many clients leave in all on the slow network, and whether that was asked for.
fn wanted() -> (u32, bool) {
    let asked = std::env::var("LEAVINGS").ok().and_then(|number| number.parse().ok());
    (asked.unwrap_or(2_000), asked.is_some())
}

fn plan(flow_control: bool, guarded: bool) -> Plan {
    let plan = Site::plan(APP)
        .file("file.bin", &"LEAVER__".repeat(250_000))
        .config(&format!("flow_control = {flow_control}\n"));
    if guarded { plan } else { plan.by(Front::Mongrel2).variable("KENNEL_GUARD", "off") }
}

/// What one run of the clients counted.
#[derive(Debug, Clone, Default)]
struct Counts {
    leavings: u64,
    newcomers: u64,
    leaks: u64,
    wrong: u64,
    unanswered: u64,
    samples: Vec<String>,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.leavings += other.leavings;
        self.newcomers += other.newcomers;
        self.leaks += other.leaks;
        self.wrong += other.wrong;
        self.unanswered += other.unanswered;
        self.samples.extend(other.samples.iter().cloned());
    }

    /// A busy machine may leave some without a response in time, but no client receives anything else.
    fn assert_right(&self) {
        assert_eq!((self.leaks, self.wrong), (0, 0), "{:#?}", self.samples);
        assert!(self.unanswered * 20 <= self.newcomers, "{self:#?}");
    }
}

/// Lets `count` clients leave, or fewer when `stop_at` newcomers have received what is not theirs.
fn leave(site: &Site, network: Option<&SlowNetwork>, path: &str, count: u32, stop_at: u32) -> Counts {
    let address = network.map_or(Ipv4Addr::LOCALHOST, |_| SlowNetwork::SERVER);
    let mut command = Command::new(env!("CARGO_BIN_EXE_leavers"));
    command.args([&format!("{address}:{}", site.port()), path, &count.to_string(), &stop_at.to_string()]);
    if let Some(network) = network {
        command = slow_network::inside(network.client_side(), &command);
    }
    let begun = Instant::now();
    let output =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("clients can be started");
    assert!(output.status.success(), "the clients failed");
    let report: Value = serde_json::from_slice(&output.stdout).expect("the clients print JSON");
    let number = |name: &str| report[name].as_u64().expect("a number");
    let samples = report["samples"].as_array().expect("a list");
    let counts = Counts {
        leavings: number("leavings"),
        newcomers: number("newcomers"),
        leaks: number("leaks"),
        wrong: number("wrong"),
        unanswered: number("unanswered"),
        samples: samples
            .iter()
            .map(|sample| format!("{path}: {}", sample.as_str().unwrap_or_default()))
            .collect(),
    };
    println!(
        "  {path:16} {:6} leavings, {:6} newcomers: {} leaks, {} wrong, {} unanswered; {:.1} s",
        counts.leavings,
        counts.newcomers,
        counts.leaks,
        counts.wrong,
        counts.unanswered,
        begun.elapsed().as_secs_f64()
    );
    counts
}

/// Runs all kinds of responses, with flow control and without it. `stop_at`: leaks after which it is enough.
fn all_kinds(network: &SlowNetwork, guarded: bool, count: u32, stop_at: u32) -> Counts {
    let each = count.div_ceil(2 * KINDS.len() as u32);
    let mut sum = Counts::default();
    for flow_control in [true, false] {
        let site = plan(flow_control, guarded).in_network(network).start();
        println!("guard: {guarded}, flow control: {flow_control}");
        for path in KINDS {
            if sum.leaks < u64::from(stop_at) {
                sum.add(&leave(&site, Some(network), path, each, stop_at));
            }
        }
    }
    println!("in all: {} leavings, {} newcomers, {} leaks", sum.leavings, sum.newcomers, sum.leaks);
    sum
}

/// The network, unless this machine cannot have one.
fn network(test: &str) -> Option<SlowNetwork> {
    match SlowNetwork::new(LINE) {
        Ok(network) => Some(network),
        Err(why) => {
            slow_network::say_not_run(test, &why);
            None
        }
    }
}

#[test]
fn no_client_of_a_slow_network_receives_bytes_of_another_one() {
    let _alone = alone();
    let Some(network) = network("no_client_of_a_slow_network_receives_bytes_of_another_one") else { return };
    let (wanted, _) = wanted();
    let counts = all_kinds(&network, true, wanted, u32::MAX);
    counts.assert_right();
    assert!(counts.leavings >= u64::from(wanted), "only {} clients have left", counts.leavings);
}

#[test]
fn without_the_guard_the_same_clients_find_leaks() {
    if !needs_mongrel2() {
        return;
    }
    let _alone = alone();
    let Some(network) = network("without_the_guard_the_same_clients_find_leaks") else { return };
    // Some are enough, unless somebody wants to know how many there are.
    let (wanted, was_asked) = wanted();
    let counts = all_kinds(&network, false, wanted.min(4_000), if was_asked { u32::MAX } else { 3 });
    assert!(counts.leaks > 0, "{counts:#?}");
}

/// The least that the hub occupies in the 5 s after a crowd has left. It hears of the last ones only when Mongrel2 has seen
/// that they are gone, and has 3 MB for each until then.
fn memory_at_rest(hub: u32) -> u64 {
    let samples = (0..50).map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        resident_memory(hub)
    });
    samples.min().expect("there are samples")
}

/// What waits for clients that have left is freed, so many of them in turn take no more memory than some do.
#[test]
fn memory_does_not_grow_with_the_clients_that_leave_whole_responses() {
    let _alone = alone();
    let Some(network) = network("memory_does_not_grow_with_the_clients_that_leave_whole_responses") else {
        return;
    };
    let (wanted, was_asked) = wanted();
    let site = plan(true, true).in_network(&network).start();
    leave(&site, Some(&network), "/whole/3000000", 200, u32::MAX).assert_right();
    let first = memory_at_rest(site.hub());
    let rest = if was_asked { wanted.min(1_800) } else { 600 };
    leave(&site, Some(&network), "/whole/3000000", rest, u32::MAX).assert_right();
    let last = memory_at_rest(site.hub());
    println!("hub {} MiB after 200, {} MiB after {rest} more", first >> 20, last >> 20);
    assert!(last <= first * 3 / 2, "{} MiB became {} MiB", first >> 20, last >> 20);
}

#[test]
fn no_client_on_this_machine_receives_bytes_of_another_one() {
    let _alone = alone();
    for flow_control in [true, false] {
        let site = plan(flow_control, true).start();
        println!("loopback, guard: true, flow control: {flow_control}");
        for path in ["/whole/3000000", "/whole/5000000"] {
            leave(&site, None, path, 300, u32::MAX).assert_right();
        }
    }
}

#[test]
fn without_the_guard_clients_on_this_machine_find_leaks_too() {
    if !needs_mongrel2() {
        return;
    }
    let _alone = alone();
    let site = plan(false, false).start();
    println!("loopback, guard: false, flow control: false");
    let counts = leave(&site, None, "/whole/5000000", 2_000, 3);
    assert!(counts.leaks > 0, "{counts:#?}");
}
