use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::client::{Client, get, request};
use tests::crowd::Crowd;
use tests::events::Events;
use tests::process::{peak_memory, resident_memory};
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

const SESSIONS: &str = r#"
app:channel("/events", { open = function(conn) conn:join("all") end })
app:get("/send/{count}", function(req, count)
  for n = 1, tonumber(count) do kennel.room("all"):send(("%d "):format(n) .. ("x"):rep(96)) end
  return "sent"
end)
"#;

/// What a client of a session shall get: the numbers in front of the messages, from 1 on.
fn numbers<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<usize> {
    texts.filter_map(|text| text.split(' ').next()?.parse().ok()).collect()
}

/// Event streams and long polls that wait when a callback sends much to all of them: each poll is answered, and each client
/// has every message.
#[test]
fn every_poll_is_answered_and_every_stream_complete_when_a_room_is_flooded() {
    let (streams, polls) = if is_long() { (3000, 6000) } else { (300, 600) };
    let messages = 200;
    let site = Site::plan(SESSIONS).config("[limits]\nsessions = 10000\npoll_wait = \"5m\"").start();
    let mut streams: Vec<_> = (0..streams).map(|_| Events::open(site.port(), "/events", &[])).collect();
    streams.iter_mut().for_each(|events| assert_eq!(events.read().name, "open"));
    let mut opener = site.client();
    let open = |_| {
        opener.send(request("POST", "/events", &[], b""));
        let session = opener.read().json()["session"].as_str().expect("it has a name").to_owned();
        let mut client = site.client();
        client.set_patience(Duration::from_secs(60));
        client.send(get(&format!("/events?session={session}&after=0")));
        (session, client)
    };
    let held: Vec<_> = (0..polls).map(open).collect();

    let begin = Instant::now();
    assert_eq!(site.get(&format!("/send/{messages}")).text(), "sent");
    let expected: Vec<usize> = (1..=messages).collect();
    for (session, mut client) in held {
        let mut texts = Vec::new();
        let mut after = 0;
        while texts.len() < messages {
            let answer = client.read();
            assert_eq!(answer.status, 200, "{answer:?}");
            let answer = answer.json();
            let new = answer["messages"].as_array().expect("there are messages").clone();
            assert!(!new.is_empty(), "an empty answer after {} messages", texts.len());
            texts.extend(new);
            after = answer["after"].as_u64().unwrap_or(after);
            if texts.len() < messages {
                client.send(get(&format!("/events?session={session}&after={after}")));
            }
        }
        assert_eq!(numbers(texts.iter().filter_map(|text| text.as_str())), expected);
    }
    println!("{polls} polls after {:.1?}", begin.elapsed());
    for events in &mut streams {
        let texts: Vec<_> = (0..messages).map(|_| events.read().data).collect();
        assert_eq!(numbers(texts.iter().map(String::as_str)), expected);
    }
    let peak = peak_memory(site.hub()) >> 20;
    println!("{} streams after {:.1?}, hub {peak} MiB", streams.len(), begin.elapsed());
    assert_eq!(site.log().count("dropped"), 0);
}

/// Clients that leave in the middle of a large response leave nothing behind.
#[test]
fn memory_does_not_grow_with_the_clients_that_leave() {
    let script = r#"
        local page = ("x"):rep(3000000)
        app:get("/page", function() return page end)
    "#;
    let site = Site::plan(script).start();
    let leave = |time: Duration| {
        let (begin, mut count, mut most) = (Instant::now(), 0, 0);
        while begin.elapsed() < time {
            let mut clients: Vec<_> = (0..10).map(|_| site.client()).collect();
            clients.iter_mut().for_each(|client| client.send(get("/page")));
            clients.iter_mut().for_each(|client| {
                client.read_head();
            });
            count += clients.len();
            most = most.max(resident_memory(site.hub()));
        }
        println!("{count} clients have left");
        most
    };
    // The hub asks about clients after half a second or more: after some seconds it frees as much as it takes.
    let first = leave(Duration::from_secs(4));
    let last = leave(Duration::from_secs(if is_long() { 60 } else { 12 }));
    println!("hub {} MiB, then {} MiB", first >> 20, last >> 20);
    assert!(last <= first * 3 / 2, "{} MiB became {} MiB", first >> 20, last >> 20);
}
