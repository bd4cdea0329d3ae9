use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::client::{Client, get};
use tests::crowd::Crowd;
use tests::process::peak_memory;
use tests::site::Site;

const APP: &str = r#"
app:channel("/room", { ping = 0 }, {
  open = function(conn) conn:join("all") end,
  message = function(conn) conn:send("\0") end,
})
app:get("/send/{count}/{size}", function(req, count, size)
  for n = 0, tonumber(count) - 1 do kennel.room("all"):send(string.char(n):rep(tonumber(size))) end
  return "sent"
end)
app:get("/", function() return "hello" end)
"#;

fn is_long() -> bool {
    std::env::var_os("KENNEL_LONG").is_some()
}

/// Asks for a page as often as possible until it is told to stop; how long each answer took, the longest last.
fn ask_meanwhile(port: u16, stop: &AtomicBool) -> Vec<Duration> {
    let mut client = Client::connect(port);
    client.set_patience(Duration::from_secs(60));
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        client.send(get("/"));
        assert_eq!(client.read().text(), "hello");
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    times
}

/// Rooms of a thousand clients that read, and messages of any size: every client gets each message whole, once and in
/// order, and can still speak afterwards.
fn large_messages_reach_all(flow_control: bool, members: usize) {
    let config = format!("flow_control = {flow_control}");
    let site = Site::plan(APP).config(&config).start();
    let mut crowd = Crowd::open(site.port(), "/room", members);
    let many = if is_long() { 100 } else { 10 };
    for (count, size) in [(1, 1 << 20), (5, 70_000), (many, 100_000), (100, 100)] {
        let stop = AtomicBool::new(false);
        let begin = Instant::now();
        let (report, times) = std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask_meanwhile(site.port(), &stop));
            assert_eq!(site.get(&format!("/send/{count}/{size}")).text(), "sent");
            let report = crowd.read(&vec![size; count], Duration::from_secs(120));
            stop.store(true, Ordering::Relaxed);
            (report, asking.join().expect("every answer comes"))
        });
        let p99 = times[times.len() * 99 / 100];
        let peak = peak_memory(site.hub()) >> 20;
        println!(
            "flow control {flow_control}, {members} clients, {count} x {size}: {:.1?}, hub {peak} MiB, {} requests p99 {p99:.1?}",
            begin.elapsed(),
            times.len()
        );
        assert!(report.broken.is_empty(), "{} broken: {}", report.broken.len(), report.broken[0]);
        assert_eq!((report.complete, report.waiting), (members, 0), "{count} x {size}");
        assert!(peak < 150, "the hub took {peak} MiB for {count} x {size}");
    }
    (0..members).for_each(|member| crowd.say(member, "do you hear me?"));
    let report = crowd.read(&[1], Duration::from_secs(60));
    assert_eq!((report.complete, report.waiting), (members, 0), "some are deaf");
}

#[test]
fn large_room_messages_reach_a_thousand_clients_whole_under_flow_control() {
    large_messages_reach_all(true, 1000);
}

#[test]
fn large_room_messages_reach_a_thousand_clients_whole_without_flow_control() {
    large_messages_reach_all(false, 1000);
}
